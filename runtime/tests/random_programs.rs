//! Random programs of tasks, scopes, channels, locks, permits and cancels, held against what is promised
//! of every program: what is made is used once, given back or there; nobody outlives a nursery; a
//! cancelled scope is left at once; and equal seeds give equal runs.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::time::Duration;

use common::{Boom, guarded};
use futures::future::{Either, select};
use proptest::prelude::*;
use tractor_runtime::sync::{
    Condition, Event, Lock, Receiver, RecvError, Semaphore, Sender, channel,
};
use tractor_runtime::testing;
use tractor_runtime::time::{Instant, now, sleep};
use tractor_runtime::{CancelScope, Result, ScopeHandle, checkpoint, move_on_after, nursery, race};

/// The root scope ends what would wait for ever.
const LIMIT: Duration = Duration::from_secs(1);
const PERMITS: usize = 2;
/// Times are so short that many things happen at the same.
const MILLIS: u8 = 5;

#[derive(Clone, Debug)]
enum Step {
    Checkpoint,
    /// In milliseconds.
    Sleep(u8),
    /// Something that knows nothing of scopes, and never comes.
    Foreign,
    Send(u8),
    Receive(u8),
    TryReceive(u8),
    Locked(u8, Vec<Self>),
    Permit(Vec<Self>),
    /// Waits for a unit, with a lock.
    Await,
    /// Makes a unit, and says so.
    Notify,
    WaitForEvent,
    SetEvent,
    Nursery(Vec<Vec<Self>>),
    Race(Vec<Vec<Self>>),
    Scope {
        timeout: Option<u8>,
        shield: bool,
        steps: Vec<Self>,
    },
    /// Which of the scopes that were entered so far.
    Cancel(u8),
    /// Goes on whatever came of it.
    Try(Vec<Self>),
    /// Drops it after so long, as combinators of other crates do.
    Select(u8, Vec<Self>),
    Fail,
}

impl Step {
    /// Whether it may go on for a while when it is cancelled: for its shield, or because it has to
    /// take a lock again that somebody else has.
    fn may_linger(&self) -> bool {
        match self {
            Self::Await => true,
            Self::Scope { shield: true, .. } => true,
            Self::Scope { steps, .. }
            | Self::Locked(_, steps)
            | Self::Permit(steps)
            | Self::Try(steps)
            | Self::Select(_, steps) => steps.iter().any(Self::may_linger),
            Self::Nursery(tasks) | Self::Race(tasks) => {
                tasks.iter().flatten().any(Self::may_linger)
            }
            _ => false,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let plain = prop_oneof![
        3 => Just(Step::Checkpoint),
        5 => (0..MILLIS).prop_map(Step::Sleep),
        1 => Just(Step::Foreign),
        4 => (0..2_u8).prop_map(Step::Send),
        4 => (0..2_u8).prop_map(Step::Receive),
        1 => (0..2_u8).prop_map(Step::TryReceive),
        3 => Just(Step::Await),
        4 => Just(Step::Notify),
        1 => Just(Step::WaitForEvent),
        1 => Just(Step::SetEvent),
        3 => any::<u8>().prop_map(Step::Cancel),
        1 => Just(Step::Fail),
    ];
    let some = |step: BoxedStrategy<Step>| proptest::collection::vec(step, 1..6);
    let step = plain.boxed().prop_recursive(3, 24, 4, move |inner| {
        let steps = some(inner.clone().boxed());
        let tasks = proptest::collection::vec(steps.clone(), 1..4);
        prop_oneof![
            2 => inner,
            2 => (0..2_u8, steps.clone()).prop_map(|(lock, steps)| Step::Locked(lock, steps)),
            1 => steps.clone().prop_map(Step::Permit),
            4 => tasks.clone().prop_map(Step::Nursery),
            1 => tasks.prop_map(Step::Race),
            3 => (proptest::option::of(0..MILLIS), steps.clone()).prop_map(|(timeout, steps)| {
                Step::Scope { timeout, shield: false, steps }
            }),
            // A shield always has an end: nothing else would reach what is in it.
            1 => (0..MILLIS, steps.clone()).prop_map(|(timeout, steps)| {
                Step::Scope { timeout: Some(timeout), shield: true, steps }
            }),
            1 => steps.clone().prop_map(Step::Try),
            2 => (0..MILLIS, steps).prop_map(|(millis, steps)| Step::Select(millis, steps)),
        ]
    });
    some(step.boxed())
}

/// Several tasks that fail each for itself.
fn program() -> impl Strategy<Value = Vec<Step>> {
    let task = proptest::collection::vec(steps().prop_map(Step::Try), 1..4);
    proptest::collection::vec(task, 2..7).prop_map(|tasks| vec![Step::Nursery(tasks)])
}

/// What the steps of a program work on.
struct World {
    channels: [(Sender<u32>, Receiver<u32>); 2],
    made: Cell<u32>,
    sent: RefCell<Vec<u32>>,
    /// Was to be sent, and nobody was told what became of it.
    in_doubt: RefCell<BTreeSet<u32>>,
    received: RefCell<Vec<u32>>,
    locks: [Lock; 2],
    inside: [Cell<u32>; 2],
    permits: Semaphore,
    with_permit: Cell<u32>,
    units: Lock<u32>,
    changed: Condition,
    notified: Cell<u32>,
    taken: Cell<u32>,
    event: Event,
    scopes: RefCell<Vec<ScopeHandle>>,
    cancelled_at: RefCell<BTreeMap<usize, Instant>>,
    alive: Cell<u32>,
    begin: Instant,
    trace: RefCell<Vec<String>>,
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a Cell<u32>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<u32>, most: u32) -> Self {
        count.set(count.get() + 1);
        assert!(count.get() <= most, "{} where {most} may be", count.get());
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

impl World {
    fn new() -> Self {
        Self {
            channels: [channel(0), channel(2)],
            made: Cell::new(0),
            sent: RefCell::default(),
            in_doubt: RefCell::default(),
            received: RefCell::default(),
            locks: Default::default(),
            inside: Default::default(),
            permits: Semaphore::new(PERMITS),
            with_permit: Cell::new(0),
            units: Lock::new(0),
            changed: Condition::new(),
            notified: Cell::new(0),
            taken: Cell::new(0),
            event: Event::new(),
            scopes: RefCell::default(),
            cancelled_at: RefCell::default(),
            alive: Cell::new(0),
            begin: now(),
            trace: RefCell::default(),
        }
    }

    fn run<'a>(&'a self, name: String, steps: &'a [Step]) -> Running<'a> {
        Box::pin(async move {
            for (number, step) in steps.iter().enumerate() {
                let name = format!("{name}.{number}");
                let result = self.step(&name, step).await;
                let what = match &result {
                    Ok(()) => "ok",
                    Err(error) if error.is_cancelled() => "cancelled",
                    Err(_) => "failed",
                };
                let at = (now() - self.begin).as_millis();
                self.trace.borrow_mut().push(format!("{at} {name} {what}"));
                result?;
            }
            Ok(())
        })
    }

    async fn step(&self, name: &str, step: &Step) -> Result<()> {
        match step {
            Step::Checkpoint => checkpoint().await?,
            Step::Sleep(millis) => sleep(Duration::from_millis((*millis).into())).await?,
            Step::Foreign => pending().await,
            Step::Send(to) => {
                let item = self.made.get();
                self.made.set(item + 1);
                self.in_doubt.borrow_mut().insert(item);
                let result = self.channels[usize::from(*to)].0.send(item).await;
                self.in_doubt.borrow_mut().remove(&item);
                match result {
                    Ok(()) => self.sent.borrow_mut().push(item),
                    Err(error) => {
                        assert!(error.is_cancelled());
                        assert_eq!(error.into_inner(), item);
                        checkpoint().await?;
                    }
                }
            }
            Step::Receive(from) => match self.channels[usize::from(*from)].1.recv().await {
                Ok(item) => self.received.borrow_mut().push(item),
                Err(RecvError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => panic!("{error}"),
            },
            Step::TryReceive(from) => {
                let item = self.channels[usize::from(*from)].1.try_recv();
                self.received.borrow_mut().extend(item.ok());
            }
            Step::Locked(lock, steps) => {
                let lock = usize::from(*lock);
                let _guard = self.locks[lock].lock().await?;
                let _inside = Counted::new(&self.inside[lock], 1);
                self.run(format!("{name}.locked"), steps).await?;
            }
            Step::Permit(steps) => {
                let _permit = self.permits.acquire().await?;
                let _inside = Counted::new(&self.with_permit, PERMITS as u32);
                self.run(format!("{name}.permit"), steps).await?;
            }
            Step::Await => {
                let mut units = self.units.lock().await?;
                while *units == 0 {
                    units = self.changed.wait(units).await?;
                }
                *units -= 1;
                self.taken.set(self.taken.get() + 1);
            }
            Step::Notify => {
                *self.units.lock().await? += 1;
                self.notified.set(self.notified.get() + 1);
                self.changed.notify_one();
            }
            Step::WaitForEvent => self.event.wait().await?,
            Step::SetEvent => self.event.set(),
            Step::Nursery(tasks) => {
                let alive = Cell::new(0);
                let result = nursery(async |n| {
                    for (number, steps) in tasks.iter().enumerate() {
                        n.start_soon(self.task(&alive, format!("{name}.task{number}"), steps));
                    }
                    Ok(())
                });
                let result = result.await;
                assert_eq!(alive.get(), 0, "a child outlived its nursery");
                result?;
            }
            Step::Race(tasks) => {
                let alive = Cell::new(0);
                let tasks = tasks.iter().enumerate().map(|(number, steps)| {
                    self.task(&alive, format!("{name}.racer{number}"), steps)
                });
                let result = race(tasks.collect::<Vec<_>>()).await;
                assert_eq!(alive.get(), 0, "a loser outlived its race");
                result?;
            }
            Step::Scope {
                timeout,
                shield,
                steps,
            } => self.scope(name, step, *timeout, *shield, steps).await?,
            Step::Cancel(which) => {
                let scope = {
                    let scopes = self.scopes.borrow();
                    let which = usize::from(*which) % scopes.len().max(1);
                    scopes.get(which).cloned().map(|scope| (which, scope))
                };
                if let Some((which, scope)) = scope {
                    if scope.is_active() {
                        let mut cancelled_at = self.cancelled_at.borrow_mut();
                        cancelled_at.entry(which).or_insert_with(now);
                    }
                    scope.cancel();
                }
            }
            Step::Try(steps) => drop(self.run(format!("{name}.try"), steps).await),
            Step::Select(millis, steps) => {
                let work = self.run(format!("{name}.select"), steps);
                let limit = sleep(Duration::from_millis((*millis).into()));
                // The limit first: then what came for the work at the same time is not seen.
                match select(pin!(limit), work).await {
                    Either::Left((slept, _)) => slept?,
                    Either::Right((result, _)) => result?,
                }
            }
            Step::Fail => return Err(Boom("random").into()),
        }
        Ok(())
    }

    async fn task(&self, alive: &Cell<u32>, name: String, steps: &[Step]) -> Result<()> {
        let _counted = Counted::new(alive, u32::MAX);
        let _alive = Counted::new(&self.alive, u32::MAX);
        self.run(name, steps).await
    }

    async fn scope(
        &self,
        name: &str,
        step: &Step,
        timeout: Option<u8>,
        shield: bool,
        steps: &[Step],
    ) -> Result<()> {
        let mut scope = CancelScope::new().shield(shield);
        if let Some(millis) = timeout {
            scope = scope.timeout(Duration::from_millis(millis.into()));
        }
        let handle = scope.handle();
        let number = {
            let mut scopes = self.scopes.borrow_mut();
            scopes.push(handle.clone());
            scopes.len() - 1
        };
        let result = scope.run(self.run(format!("{name}.scope"), steps)).await;
        assert!(handle.is_exited());
        if let (Some(at), false) = (
            self.cancelled_at.borrow().get(&number),
            steps.iter().any(Step::may_linger),
        ) {
            assert_eq!(now(), *at, "{step:?} was cancelled, and went on");
        }
        let outcome = result?;
        assert_eq!(outcome.is_cancelled(), handle.cancelled_caught());
        Ok(())
    }

    /// What holds when all who are left wait for each other: nobody waits for what is there.
    fn check_quiet(&self) {
        for (sender, _) in &self.channels {
            let statistics = sender.statistics();
            assert!(statistics.len == 0 || statistics.receivers_waiting == 0);
            assert!(statistics.senders_waiting == 0 || statistics.receivers_waiting == 0);
        }
        for lock in &self.locks {
            assert!(lock.is_locked() || lock.statistics().waiting == 0);
        }
        assert!(self.permits.available() == 0 || self.permits.statistics().waiting == 0);
        let units = *self
            .units
            .try_lock()
            .expect("nobody has this lock for long");
        assert!(
            units == 0 || self.changed.waiting() == 0,
            "a notification was lost"
        );
        assert!(!self.event.is_set() || self.event.waiting() == 0);
    }

    /// What holds when all is over.
    fn check(self) -> Vec<String> {
        assert_eq!(self.alive.get(), 0);
        let mut arrived = self.received.into_inner();
        for (sender, receiver) in &self.channels {
            let statistics = sender.statistics();
            assert_eq!(
                (statistics.senders_waiting, statistics.receivers_waiting),
                (0, 0)
            );
            arrived.extend(std::iter::from_fn(|| receiver.try_recv().ok()));
        }
        let doubtful = self.in_doubt.into_inner();
        arrived.retain(|item| !doubtful.contains(item));
        arrived.sort_unstable();
        let mut sent = self.sent.into_inner();
        sent.sort_unstable();
        assert_eq!(arrived, sent, "arrived and sent");
        for lock in &self.locks {
            assert_eq!(lock.statistics().waiting, 0);
            lock.try_lock().expect("all locks were given back");
        }
        assert_eq!(self.permits.available(), PERMITS);
        assert_eq!(self.permits.statistics().waiting, 0);
        assert_eq!((self.changed.waiting(), self.event.waiting()), (0, 0));
        let left = self.units.into_inner();
        assert_eq!(left + self.taken.get(), self.notified.get(), "units");
        for scope in self.scopes.into_inner() {
            assert!(scope.is_exited());
            assert!(!scope.cancelled_caught() || scope.cause().is_some());
        }
        self.trace.into_inner()
    }
}

fn play(seed: u64, steps: &[Step]) -> Vec<String> {
    testing::run_seeded(seed, async || {
        let world = World::new();
        let result = move_on_after(LIMIT, async {
            let quiet = pin!(sleep(LIMIT - Duration::from_millis(1)));
            match select(world.run("main".to_owned(), steps), quiet).await {
                Either::Left((result, _)) => result,
                Either::Right((_, program)) => {
                    world.check_quiet();
                    program.await
                }
            }
        })
        .await;
        let mut trace = world.check();
        trace.push(match result {
            Ok(outcome) => format!("{:?}", outcome.completed()),
            Err(error) => format!("{} failures", error.leaves().count()),
        });
        Ok(trace)
    })
    .unwrap()
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("TRACTOR_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn promises_hold_in_every_program(steps in program(), seed in any::<u64>()) {
        guarded(move || assert_eq!(play(seed, &steps), play(seed, &steps)));
    }
}
