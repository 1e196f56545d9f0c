//! Random trees of running scopes under a script of cancels, shields, deadlines and time, against a
//! naive reading of the rules.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proptest::prelude::*;
use tractor_runtime::testing::{VirtualClock, wait_all_tasks_blocked};
use tractor_runtime::time::{Instant, now, sleep, sleep_forever};
use tractor_runtime::{CancelScope, Result, Runtime, ScopeHandle, nursery};

/// A scope with what runs in it.
#[derive(Clone, Debug)]
struct Plan {
    shield: bool,
    timeout: Option<u8>,
    /// Whether what is inside runs as children of a nursery, or polled by the scope's own task.
    tasks: bool,
    leaves: Vec<Leaf>,
    scopes: Vec<Self>,
}

#[derive(Clone, Copy, Debug)]
enum Leaf {
    Forever,
    Foreign,
    Sleep(u8),
}

/// Indices choose among the scopes, times are in seconds.
#[derive(Clone, Copy, Debug)]
enum Step {
    Cancel(u8),
    Shield(u8, bool),
    Deadline(u8, Option<u8>),
    Clock(u8),
}

fn plan() -> impl Strategy<Value = Plan> {
    let leaf = prop_oneof![
        Just(Leaf::Forever),
        Just(Leaf::Foreign),
        (1..20_u8).prop_map(Leaf::Sleep),
    ];
    let leaves = proptest::collection::vec(leaf, 1..3);
    let timeout = || proptest::option::weighted(0.3, 1..20_u8);
    let shield = || prop::bool::weighted(0.2);
    let alone = (shield(), timeout(), any::<bool>(), leaves.clone()).prop_map(
        |(shield, timeout, tasks, leaves)| Plan {
            shield,
            timeout,
            tasks,
            leaves,
            scopes: vec![],
        },
    );
    alone.prop_recursive(4, 12, 3, move |inner| {
        let scopes = proptest::collection::vec(inner, 0..3);
        (shield(), timeout(), any::<bool>(), leaves.clone(), scopes).prop_map(
            |(shield, timeout, tasks, leaves, scopes)| Plan {
                shield,
                timeout,
                tasks,
                leaves,
                scopes,
            },
        )
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Cancel),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(scope, on)| Step::Shield(scope, on)),
        1 => (any::<u8>(), proptest::option::of(1..20_u8))
            .prop_map(|(scope, seconds)| Step::Deadline(scope, seconds)),
        3 => (1..10_u8).prop_map(Step::Clock),
    ]
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("TRACTOR_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn running_scopes_follow_the_rules(
        plan in plan(),
        steps in proptest::collection::vec(step(), 1..12),
        seed in any::<u64>(),
    ) {
        common::guarded(move || {
            let clock = VirtualClock::new();
            let runtime = Runtime::builder().clock(clock.clone()).seed(seed).build();
            runtime.run(async || play(&plan, &steps, &clock).await).unwrap();
        });
    }
}

#[derive(Debug, Default)]
struct World {
    scopes: RefCell<Vec<Scope>>,
    leaves: RefCell<BTreeMap<usize, LeafState>>,
    alive: Cell<usize>,
}

#[derive(Debug)]
struct Scope {
    handle: ScopeHandle,
    parent: Option<usize>,
}

#[derive(Debug)]
struct LeafState {
    scope: usize,
    ends: Option<Instant>,
    /// Dropped or told: it waits no longer.
    ended: bool,
    /// It should have, by the rules.
    should: bool,
}

async fn play(plan: &Plan, steps: &[Step], clock: &VirtualClock) -> Result<()> {
    let world = World::default();
    let done = Cell::new(false);
    nursery(async |n| {
        let (world, done) = (&world, &done);
        n.start_soon(async move {
            run_scope(world, plan, None).await?;
            done.set(true);
            Ok(())
        });
        wait_all_tasks_blocked().await?;
        world.check("at the start");
        for step in steps {
            let pick = |choice: &u8| {
                let scopes = world.scopes.borrow();
                scopes[usize::from(*choice) % scopes.len()].handle.clone()
            };
            match step {
                Step::Cancel(scope) => pick(scope).cancel(),
                Step::Shield(scope, on) => pick(scope).set_shield(*on),
                Step::Deadline(scope, seconds) => {
                    let deadline = seconds.map(|s| now() + Duration::from_secs(s.into()));
                    pick(scope).set_deadline(deadline);
                }
                Step::Clock(seconds) => clock.jump(Duration::from_secs((*seconds).into())),
            }
            wait_all_tasks_blocked().await?;
            world.check(&format!("{step:?}"));
        }
        for scope in &*world.scopes.borrow() {
            scope.handle.set_shield(false);
        }
        let outermost = world.scopes.borrow()[0].handle.clone();
        outermost.cancel();
        wait_all_tasks_blocked().await?;
        world.check("at the end");
        assert!(done.get(), "the tree has ended");
        assert_eq!(world.alive.get(), 0, "nothing of it is alive");
        Ok(())
    })
    .await?;
    for scope in &*world.scopes.borrow() {
        assert!(scope.handle.is_exited());
        assert!(!scope.handle.cancelled_caught() || scope.handle.cancel_called());
    }
    Ok(())
}

fn run_scope<'a>(
    world: &'a World,
    plan: &'a Plan,
    parent: Option<usize>,
) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
    Box::pin(async move {
        let mut scope = CancelScope::new().shield(plan.shield);
        if let Some(timeout) = plan.timeout {
            scope = scope.timeout(Duration::from_secs(timeout.into()));
        }
        let index = world.scopes.borrow().len();
        let handle = scope.handle();
        world.scopes.borrow_mut().push(Scope { handle, parent });
        let inside = || {
            let leaves = plan
                .leaves
                .iter()
                .map(move |leaf| run_leaf(world, *leaf, index));
            let scopes = plan
                .scopes
                .iter()
                .map(move |plan| run_scope(world, plan, Some(index)));
            leaves.chain(scopes)
        };
        let outcome = if plan.tasks {
            let whole = nursery(async |n| {
                for child in inside() {
                    n.start_soon(child);
                }
                Ok(())
            });
            scope.run(whole).await
        } else {
            let whole = async {
                let mut set: FuturesUnordered<_> = inside().collect();
                let mut first = Ok(());
                while let Some(result) = set.next().await {
                    first = first.and(result);
                }
                first
            };
            scope.run(whole).await
        };
        outcome.map(drop)
    })
}

fn run_leaf(
    world: &World,
    leaf: Leaf,
    scope: usize,
) -> Pin<Box<dyn Future<Output = Result<()>> + '_>> {
    /// Says that the leaf has ended, however it did.
    struct Ended<'a>(&'a World, usize);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0
                .leaves
                .borrow_mut()
                .get_mut(&self.1)
                .expect("it is there")
                .ended = true;
            self.0.alive.set(self.0.alive.get() - 1);
        }
    }
    Box::pin(async move {
        let ends = match leaf {
            Leaf::Sleep(seconds) => Some(now() + Duration::from_secs(seconds.into())),
            Leaf::Forever | Leaf::Foreign => None,
        };
        let index = world.leaves.borrow().len();
        let state = LeafState {
            scope,
            ends,
            ended: false,
            should: false,
        };
        world.leaves.borrow_mut().insert(index, state);
        world.alive.set(world.alive.get() + 1);
        let _ended = Ended(world, index);
        // Swallowed, so that what one leaf is told has no effect on the others.
        let _ = match leaf {
            Leaf::Forever => sleep_forever().await,
            Leaf::Sleep(seconds) => sleep(Duration::from_secs(seconds.into())).await,
            Leaf::Foreign => {
                let forever = std::future::pending::<Result<()>>();
                let _ = CancelScope::new().run(forever).await;
                Ok(())
            }
        };
        Ok(())
    })
}

impl World {
    /// What waited under a cancelled scope, or for a time that has come, does not wait any more.
    /// Everything else does.
    fn check(&self, when: &str) {
        let mut leaves = self.leaves.borrow_mut();
        for (index, leaf) in &mut *leaves {
            leaf.should |= self.is_cancelled(leaf.scope) || leaf.ends.is_some_and(|t| t <= now());
            assert_eq!(leaf.ended, leaf.should, "leaf {index} {when}: {leaf:?}");
        }
    }

    fn is_cancelled(&self, scope: usize) -> bool {
        let scopes = self.scopes.borrow();
        let scope = &scopes[scope];
        scope.handle.cancel_called()
            || !scope.handle.shielded() && scope.parent.is_some_and(|up| self.is_cancelled(up))
    }
}
