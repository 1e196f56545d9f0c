//! Random programs: trees of tasks, scopes, shields, channels, locks, sleeps, cancels and stops.
//! What must always hold is looked at after every step, and each program is run twice with one
//! seed.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use common::Boom;
use proptest::prelude::*;
use tractor_runtime::sync::{Event, Lock, Receiver, Sender, channel};
use tractor_runtime::testing;
use tractor_runtime::time::{Instant, now, sleep};
use tractor_runtime::{
    CancelScope, DumpKind, Error, NurseryOptions, Result, ScopeHandle, TaskState, cancellable,
    checkpoint, dump, move_on_after, statistics, stopping, until_stopping,
};

#[derive(Clone, Debug)]
enum Step {
    Checkpoint,
    Sleep(u8),
    /// Waits in something that knows nothing of scopes.
    Elsewhere,
    Send,
    Receive,
    Set,
    Wait,
    Stopping,
    Cancel(u8),
    Stop(u8, u8),
    Shield(u8, bool),
    Deadline(u8, Option<u8>),
    Fail,
    /// Goes on whatever became of the steps inside.
    Swallow(Vec<Self>),
    Locked(Vec<Self>),
    UntilStopping(Vec<Self>),
    Cancellable(Vec<Self>),
    Scope {
        timeout: Option<u8>,
        /// Shielded scopes always have a timeout, or nothing might end them.
        shield: bool,
        steps: Vec<Self>,
    },
    Nursery {
        children: Vec<(Kind, Vec<Self>)>,
        body: Vec<Self>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Soon,
    Service,
    Started,
    CancelledAlone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Checkpoint),
        3 => (0..20_u8).prop_map(Step::Sleep),
        1 => Just(Step::Elsewhere),
        3 => Just(Step::Send),
        3 => Just(Step::Receive),
        1 => Just(Step::Set),
        1 => Just(Step::Wait),
        1 => Just(Step::Stopping),
        2 => any::<u8>().prop_map(Step::Cancel),
        2 => (any::<u8>(), 0..20_u8).prop_map(|(scope, grace)| Step::Stop(scope, grace)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(scope, on)| Step::Shield(scope, on)),
        1 => (any::<u8>(), proptest::option::of(0..20_u8))
            .prop_map(|(scope, deadline)| Step::Deadline(scope, deadline)),
        1 => Just(Step::Fail),
    ];
    let step = step.prop_recursive(5, 48, 5, |inner| {
        let steps = || proptest::collection::vec(inner.clone(), 0..5);
        let kind = prop_oneof![
            4 => Just(Kind::Soon),
            1 => Just(Kind::Service),
            1 => Just(Kind::Started),
            1 => Just(Kind::CancelledAlone),
        ];
        let children = proptest::collection::vec((kind, steps()), 0..4);
        prop_oneof![
            1 => steps().prop_map(Step::Swallow),
            1 => steps().prop_map(Step::Locked),
            1 => steps().prop_map(Step::UntilStopping),
            1 => steps().prop_map(Step::Cancellable),
            4 => (proptest::option::of(0..30_u8), prop::bool::weighted(0.3), steps()).prop_map(
                |(timeout, shield, steps)| Step::Scope { timeout, shield, steps }
            ),
            4 => (children, steps()).prop_map(|(children, body)| Step::Nursery { children, body }),
        ]
    });
    proptest::collection::vec(step, 1..8)
}

/// How many cases to try: 1,000, or what the environment says.
fn cases() -> ProptestConfig {
    let cases = std::env::var("TRACTOR_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_programs_keep_what_is_promised(steps in steps(), seed in any::<u64>()) {
        let [one, other] = [(), ()].map(|()| World::run(&steps, seed));
        prop_assert_eq!(one, other);
    }
}

/// What the tasks of one program share, and what is counted of it.
struct World {
    sender: Sender<u32>,
    receiver: Receiver<u32>,
    lock: Lock<()>,
    inside_lock: Cell<bool>,
    event: Event,
    scopes: RefCell<Vec<ScopeHandle>>,
    sent: Cell<u32>,
    received: Cell<u32>,
    tasks: Cell<usize>,
    trace: RefCell<Vec<(Instant, &'static str)>>,
}

type Steps<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

impl World {
    /// Runs a program, and gives what happened in it, in order.
    fn run(steps: &[Step], seed: u64) -> Vec<(Instant, &'static str)> {
        testing::run_seeded(seed, async || {
            let (sender, receiver) = channel(2);
            let world = Self {
                sender,
                receiver,
                lock: Lock::new(()),
                inside_lock: Cell::new(false),
                event: Event::new(),
                scopes: RefCell::default(),
                sent: Cell::new(0),
                received: Cell::new(0),
                tasks: Cell::new(0),
                trace: RefCell::default(),
            };
            let ended = move_on_after(Duration::from_secs(1), world.steps(steps)).await;
            world.note(match ended {
                Ok(outcome) if outcome.is_cancelled() => "cut short",
                Ok(_) => "done",
                Err(error) => {
                    assert!(
                        !error.contains_cancelled(),
                        "a cancellation got out: {error}"
                    );
                    "failed"
                }
            });
            world.check_end();
            Ok(world.trace.take())
        })
        .unwrap()
    }

    fn steps<'a>(&'a self, steps: &'a [Step]) -> Steps<'a> {
        Box::pin(async move {
            for step in steps {
                let result = self.step(step).await;
                self.check();
                result?;
            }
            Ok(())
        })
    }

    async fn step(&self, step: &Step) -> Result<()> {
        match step {
            Step::Checkpoint => checkpoint().await?,
            Step::Sleep(ms) => {
                let start = now();
                sleep(self.ms(*ms)).await?;
                assert!(now() - start >= self.ms(*ms), "a sleep ended early");
            }
            Step::Elsewhere => {
                cancellable(pending::<()>()).await?;
                unreachable!("nobody wakes it");
            }
            Step::Send => match self.sender.send(1).await {
                Ok(()) => self.sent.set(self.sent.get() + 1),
                Err(error) => return Err(error.into()),
            },
            Step::Receive => {
                let item = self.receiver.recv().await?;
                self.received.set(self.received.get() + item);
            }
            Step::Set => self.event.set(),
            Step::Wait => self.event.wait().await?,
            Step::Stopping => stopping().await?,
            Step::Cancel(scope) => self.with_scope(*scope, ScopeHandle::cancel),
            Step::Stop(scope, grace) => {
                self.with_scope(*scope, |scope| scope.stop(self.ms(*grace)));
            }
            Step::Shield(scope, on) => self.with_scope(*scope, |scope| {
                // A shield for ever is for scopes that end by themselves.
                scope.set_shield(*on && scope.deadline().is_some());
            }),
            Step::Deadline(scope, deadline) => self.with_scope(*scope, |scope| {
                let deadline = deadline.map(|ms| now() + self.ms(ms));
                scope.set_deadline(deadline.or(scope.deadline()));
            }),
            Step::Fail => return Err(Boom("program").into()),
            Step::Swallow(steps) => {
                let swallowed = self.steps(steps).await.is_err();
                self.note(if swallowed { "swallowed" } else { "went well" });
            }
            Step::Locked(steps) => {
                let guard = self.lock.lock().await?;
                let _inside = Inside::new(&self.inside_lock);
                let result = self.steps(steps).await;
                drop(_inside);
                drop(guard);
                result?;
            }
            Step::UntilStopping(steps) => {
                if let Some(result) = until_stopping(self.steps(steps)).await {
                    result?;
                }
            }
            Step::Cancellable(steps) => cancellable(self.steps(steps)).await??,
            Step::Scope {
                timeout,
                shield,
                steps,
            } => self.scope(*timeout, *shield, steps).await?,
            Step::Nursery { children, body } => self.nursery(children, body).await?,
        }
        self.note("step");
        Ok(())
    }

    async fn scope(&self, timeout: Option<u8>, shield: bool, steps: &[Step]) -> Result<()> {
        let mut scope = CancelScope::new().shield(shield);
        if let Some(ms) = timeout.or(shield.then_some(10)) {
            scope = scope.timeout(self.ms(ms));
        }
        let handle = scope.handle();
        self.scopes.borrow_mut().push(handle.clone());
        let result = scope.run(self.steps(steps)).await;
        if handle.cancelled_caught() {
            assert!(handle.cancel_called(), "a scope caught what nobody called");
            self.note("caught");
        }
        if let Ok(outcome) = &result {
            assert_eq!(outcome.is_cancelled(), handle.cancelled_caught());
        }
        result.map(|_| ())
    }

    async fn nursery(&self, children: &[(Kind, Vec<Step>)], body: &[Step]) -> Result<()> {
        let inside = Cell::new(0);
        let run = NurseryOptions::new().run(async |n| {
            self.scopes.borrow_mut().push(n.scope());
            for (kind, steps) in children {
                let child = self.child(&inside, steps);
                match kind {
                    Kind::Soon => drop(n.start_soon(child)),
                    Kind::Service => drop(n.child().service().start_soon(child)),
                    Kind::CancelledAlone => n.start_soon(child).cancel(),
                    Kind::Started => {
                        n.start(async move |status| {
                            checkpoint().await?;
                            status.started(());
                            child.await
                        })
                        .await?;
                    }
                }
            }
            self.steps(body).await
        });
        let result = run.await.map(|_| ());
        assert_eq!(inside.get(), 0, "a child outlived its nursery");
        result
    }

    async fn child(&self, inside: &Cell<usize>, steps: &[Step]) -> Result<()> {
        let _here = Count::new(inside);
        let _task = Count::new(&self.tasks);
        self.steps(steps).await
    }

    fn with_scope(&self, which: u8, f: impl FnOnce(&ScopeHandle)) {
        let scopes = self.scopes.borrow();
        if !scopes.is_empty() {
            let scope = scopes[usize::from(which) % scopes.len()].clone();
            drop(scopes);
            f(&scope);
            self.check();
        }
    }

    /// What has to hold at any moment.
    fn check(&self) {
        let dump = dump();
        // From the root to the entry at hand.
        let mut path: Vec<usize> = Vec::new();
        let mut next_deadline: Option<Instant> = None;
        for (index, entry) in dump.entries().iter().enumerate() {
            path.truncate(entry.depth);
            let above = path.last().map(|&above| &dump.entries()[above]);
            let inherited = above.is_some_and(|above| above.cancelled && !entry.shielded);
            assert_eq!(entry.cancelled, entry.cancel_called || inherited, "{dump}");
            assert_eq!(entry.cancelled, entry.cause.is_some(), "{dump}");
            let below = &dump.entries()[index + 1..];
            let mut inside = below.iter().take_while(|inner| inner.depth > entry.depth);
            let held = inside.any(|inner| inner.shielded || inner.kind == DumpKind::Nursery);
            if let Some(TaskState::Blocked(operation)) = &entry.state
                && operation != "Nursery::start"
            {
                assert!(
                    !entry.cancelled || held,
                    "blocked though cancelled:\n{dump}"
                );
            }
            if !entry.cancel_called {
                let ends = entry.deadline.into_iter().chain(entry.grace_end);
                next_deadline = next_deadline.into_iter().chain(ends).min();
            }
            path.push(index);
        }
        if let Some(deadline) = next_deadline {
            let watched = statistics().next_deadline;
            assert!(watched.is_some_and(|watched| watched <= deadline), "{dump}");
        }
    }

    /// What has to hold when the program has ended.
    fn check_end(&self) {
        self.check();
        let mut left = 0;
        while let Ok(item) = self.receiver.try_recv() {
            left += item;
        }
        assert_eq!(
            self.sent.get(),
            self.received.get() + left,
            "items were lost"
        );
        assert_eq!(self.tasks.get(), 0);
        assert_eq!(statistics().tasks, 1, "tasks are left");
        assert!(self.lock.try_lock().is_ok(), "the lock is held by nobody");
        assert!(self.scopes.borrow().iter().all(|scope| !scope.is_active()));
        assert_eq!(dump().entries().len(), 1, "scopes are left");
        assert_eq!(statistics().next_deadline, None, "deadlines are left");
    }

    fn note(&self, what: &'static str) {
        self.trace.borrow_mut().push((now(), what));
    }

    fn ms(&self, ms: u8) -> Duration {
        Duration::from_millis(ms.into())
    }
}

/// Counts itself while it lives.
struct Count<'a>(&'a Cell<usize>);

impl<'a> Count<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Somebody has the lock while it lives, and nobody else may.
struct Inside<'a>(&'a Cell<bool>);

impl<'a> Inside<'a> {
    fn new(inside: &'a Cell<bool>) -> Self {
        assert!(!inside.replace(true), "two have the lock");
        Self(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Keeps errors from being taken for something else.
#[test]
fn program_that_fails_fails_with_its_error() {
    let steps = [Step::Fail];
    let trace = World::run(&steps, 1);
    assert_eq!(trace.last().map(|(_, what)| *what), Some("failed"));
    let error: Error = Boom("program").into();
    assert!(!error.contains_cancelled());
}
