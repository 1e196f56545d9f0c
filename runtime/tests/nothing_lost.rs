//! Whatever can be waited for, and a waiter that is cut off at each moment there is: cancelled,
//! dropped, made to panic, or with its end closed. No unit is lost or there twice, and nobody waits
//! while there is one.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};

use common::guarded;
use futures::FutureExt;
use tractor_runtime::sync::{
    Barrier, BroadcastReceiver, BroadcastSender, CapacityLimiter, Condition, Event, LimiterToken,
    Lock, ParkingLot, Receiver, Semaphore, Sender, WatchReceiver, WatchSender, broadcast, channel,
    unbounded, watch,
};
use tractor_runtime::testing::{self, wait_all_tasks_blocked};
use tractor_runtime::{CancelScope, Result, ScopeHandle, checkpoint, nursery, wait_any};

const SEEDS: u64 = 4;
const WAITERS: usize = 3;
const FEEDS: usize = 2;

/// Something for which tasks wait.
trait Object {
    /// How often each task waits.
    const ROUNDS: usize = 1;
    /// Whether an end can be closed under a waiter.
    const CLOSES: bool = false;
    /// Whether what a waiter has, and not told yet, is kept when it is dropped.
    const MAY_BE_DROPPED: bool = true;

    fn new() -> Self;

    /// Waits for a unit; it is this waiter's when it returns `Ok`, and not before.
    async fn take(&self, waiter: usize) -> Result<()>;

    /// Makes a unit.
    async fn feed(&self) -> Result<()>;

    fn close(&self, _waiter: usize) {}

    fn check(&self, tally: &Tally);
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    fed: Cell<usize>,
    taken: [Cell<usize>; WAITERS],
    finished: [Cell<bool>; WAITERS],
    /// How many wait still when all is quiet.
    stuck: Cell<usize>,
    /// Whether a panic ended all of it, so that nobody can have waited to the end.
    panicked: Cell<bool>,
    /// Whether a waiter was dropped at an await, also by a panic.
    dropped: Cell<bool>,
}

impl Tally {
    fn taken(&self) -> usize {
        self.taken.iter().map(Cell::get).sum()
    }

    /// Every unit that was made was taken, or is one of those that are left.
    fn balance(&self, left: usize) {
        assert_eq!(self.taken() + left, self.fed.get(), "units");
        self.nobody_waits_for_one_of(left);
    }

    /// A unit that was there from the beginning, and comes back after use, is back.
    fn round_trip(&self, left: usize) {
        assert_eq!(left, 1, "units");
        self.nobody_waits_for_one_of(left);
    }

    fn nobody_waits_for_one_of(&self, left: usize) {
        assert!(left == 0 || self.stuck.get() == 0, "somebody waits");
    }
}

struct Items<const CAPACITY: usize> {
    sender: Sender<()>,
    receivers: Vec<Receiver<()>>,
}

impl<const CAPACITY: usize> Object for Items<CAPACITY> {
    const CLOSES: bool = true;

    fn new() -> Self {
        let (sender, receiver) = match CAPACITY {
            usize::MAX => unbounded(),
            capacity => channel(capacity),
        };
        let receivers = (0..WAITERS).map(|_| receiver.clone()).collect();
        Self { sender, receivers }
    }

    async fn take(&self, waiter: usize) -> Result<()> {
        Ok(self.receivers[waiter].recv().await?)
    }

    async fn feed(&self) -> Result<()> {
        Ok(self.sender.send(()).await?)
    }

    fn close(&self, waiter: usize) {
        self.receivers[waiter].close();
    }

    fn check(&self, tally: &Tally) {
        let open = self.receivers.iter().find(|end| !end.is_closed());
        let left = std::iter::from_fn(|| open.unwrap().try_recv().ok()).count();
        tally.balance(left);
    }
}

/// The other end: those who send wait for room.
struct Room<const CAPACITY: usize> {
    senders: Vec<Sender<()>>,
    receiver: Receiver<()>,
}

impl<const CAPACITY: usize> Object for Room<CAPACITY> {
    const ROUNDS: usize = 2;
    const CLOSES: bool = true;

    fn new() -> Self {
        let (sender, receiver) = channel(CAPACITY);
        let senders = (0..WAITERS).map(|_| sender.clone()).collect();
        Self { senders, receiver }
    }

    async fn take(&self, waiter: usize) -> Result<()> {
        Ok(self.senders[waiter].send(()).await?)
    }

    async fn feed(&self) -> Result<()> {
        Ok(self.receiver.recv().await?)
    }

    fn close(&self, waiter: usize) {
        self.senders[waiter].close();
    }

    fn check(&self, tally: &Tally) {
        assert!(tally.stuck.get() == 0 || self.receiver.len() == CAPACITY);
        let left = std::iter::from_fn(|| self.receiver.try_recv().ok()).count();
        // Who is dropped may have sent without having been told.
        let untold = tally.fed.get() + left - tally.taken();
        assert!(
            untold <= usize::from(tally.dropped.get()),
            "{untold} too many"
        );
        assert_eq!(self.receiver.statistics().senders_waiting, 0);
    }
}

struct Permits(Semaphore);

impl Object for Permits {
    fn new() -> Self {
        Self(Semaphore::new(0))
    }

    async fn take(&self, _: usize) -> Result<()> {
        self.0.acquire().await?.forget();
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        Ok(self.0.release()?)
    }

    fn check(&self, tally: &Tally) {
        tally.balance(self.0.available());
    }
}

struct PermitsThatReturn(Semaphore);

impl Object for PermitsThatReturn {
    const ROUNDS: usize = 2;

    fn new() -> Self {
        Self(Semaphore::new(1))
    }

    async fn take(&self, _: usize) -> Result<()> {
        let _permit = self.0.acquire().await?;
        Ok(checkpoint().await?)
    }

    async fn feed(&self) -> Result<()> {
        self.take(0).await
    }

    fn check(&self, tally: &Tally) {
        tally.round_trip(self.0.available());
    }
}

struct Tokens {
    limiter: CapacityLimiter,
    out: RefCell<Vec<LimiterToken>>,
}

impl Object for Tokens {
    fn new() -> Self {
        Self {
            limiter: CapacityLimiter::new(0),
            out: RefCell::default(),
        }
    }

    async fn take(&self, _: usize) -> Result<()> {
        let token = self.limiter.acquire().await?;
        self.out.borrow_mut().push(token);
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        let total = self.limiter.total_tokens().unwrap();
        self.limiter.set_total_tokens(total + 1);
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        let statistics = self.limiter.statistics();
        assert_eq!(statistics.borrowers.len(), self.out.borrow().len());
        tally.balance(self.limiter.available_tokens().unwrap());
    }
}

struct TokensThatReturn(CapacityLimiter);

impl Object for TokensThatReturn {
    const ROUNDS: usize = 2;

    fn new() -> Self {
        Self(CapacityLimiter::new(1))
    }

    async fn take(&self, _: usize) -> Result<()> {
        let _token = self.0.acquire().await?;
        Ok(checkpoint().await?)
    }

    async fn feed(&self) -> Result<()> {
        self.take(0).await
    }

    fn check(&self, tally: &Tally) {
        assert_eq!(self.0.statistics().borrowers, []);
        tally.round_trip(self.0.available_tokens().unwrap());
    }
}

struct Exclusion {
    lock: Lock,
    inside: Cell<bool>,
}

impl Object for Exclusion {
    const ROUNDS: usize = 2;

    fn new() -> Self {
        Self {
            lock: Lock::default(),
            inside: Cell::new(false),
        }
    }

    async fn take(&self, _: usize) -> Result<()> {
        struct Leave<'a>(&'a Cell<bool>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let _guard = self.lock.lock().await?;
        assert!(!self.inside.replace(true), "two inside");
        let _leave = Leave(&self.inside);
        Ok(checkpoint().await?)
    }

    async fn feed(&self) -> Result<()> {
        self.take(0).await
    }

    fn check(&self, tally: &Tally) {
        assert_eq!(self.lock.statistics().waiting, 0);
        tally.round_trip(usize::from(self.lock.try_lock().is_ok()));
    }
}

struct Notifications {
    units: Lock<usize>,
    changed: Condition,
}

impl Object for Notifications {
    fn new() -> Self {
        Self {
            units: Lock::new(0),
            changed: Condition::new(),
        }
    }

    async fn take(&self, _: usize) -> Result<()> {
        let mut units = self.units.lock().await?;
        while *units == 0 {
            units = self.changed.wait(units).await?;
        }
        *units -= 1;
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        let mut units = self.units.lock().await?;
        self.changed.notify_one();
        // It has to be in line for the lock for a while.
        let result = checkpoint().await;
        if result.is_ok() {
            *units += 1;
        }
        Ok(result?)
    }

    fn check(&self, tally: &Tally) {
        let left = *self.units.try_lock().unwrap();
        tally.balance(left);
        assert!(tally.panicked.get() || self.changed.waiting() == 0);
    }
}

#[derive(Default)]
struct Parked {
    lot: ParkingLot,
    units: Cell<usize>,
}

impl Object for Parked {
    fn new() -> Self {
        Self::default()
    }

    async fn take(&self, _: usize) -> Result<()> {
        while self.units.get() == 0 {
            self.lot.park().await?;
        }
        self.units.set(self.units.get() - 1);
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        self.units.set(self.units.get() + 1);
        self.lot.unpark(1);
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        assert!(self.lot.is_empty());
        tally.balance(self.units.get());
    }
}

/// As before, but woken in another lot than where they parked.
#[derive(Default)]
struct Reparked {
    parked: Parked,
    other: ParkingLot,
}

impl Object for Reparked {
    fn new() -> Self {
        Self::default()
    }

    async fn take(&self, waiter: usize) -> Result<()> {
        self.parked.take(waiter).await
    }

    async fn feed(&self) -> Result<()> {
        self.parked.lot.repark_all(&self.other);
        self.parked.units.set(self.parked.units.get() + 1);
        self.other.unpark(1);
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        assert!(self.other.is_empty());
        self.parked.check(tally);
    }
}

impl Object for Event {
    fn new() -> Self {
        Self::new()
    }

    async fn take(&self, _: usize) -> Result<()> {
        Ok(self.wait().await?)
    }

    async fn feed(&self) -> Result<()> {
        self.set();
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        assert_eq!((tally.stuck.get(), self.waiting()), (0, 0));
    }
}

/// Opens for two at a time.
impl Object for Barrier {
    const ROUNDS: usize = 2;

    fn new() -> Self {
        Self::new(2)
    }

    async fn take(&self, _: usize) -> Result<()> {
        self.wait().await?;
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        self.take(0).await
    }

    fn check(&self, tally: &Tally) {
        assert!(tally.stuck.get() <= 1, "two wait");
        assert_eq!(self.waiting(), 0);
    }
}

struct Broadcast {
    sender: BroadcastSender<usize>,
    sent: Cell<usize>,
    receivers: [RefCell<BroadcastReceiver<usize>>; WAITERS],
}

impl Object for Broadcast {
    const ROUNDS: usize = FEEDS;

    fn new() -> Self {
        let (sender, _) = broadcast(FEEDS);
        Self {
            receivers: std::array::from_fn(|_| RefCell::new(sender.subscribe())),
            sent: Cell::new(0),
            sender,
        }
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "each waiter has its own")]
    async fn take(&self, waiter: usize) -> Result<()> {
        let mut receiver = self.receivers[waiter].borrow_mut();
        let next = FEEDS - receiver.len() - (FEEDS - self.sent.get());
        assert_eq!(receiver.recv().await?, next);
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        self.sender.send(self.sent.get());
        self.sent.set(self.sent.get() + 1);
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        for (receiver, taken) in self.receivers.iter().zip(&tally.taken) {
            let mut receiver = receiver.borrow_mut();
            let left = std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>();
            let expected = (taken.get()..tally.fed.get()).collect::<Vec<_>>();
            assert_eq!(left, expected);
        }
        assert!(self.sender.is_empty());
        assert_eq!(tally.stuck.get(), 0);
    }
}

struct Watch {
    sender: WatchSender<usize>,
    receivers: [RefCell<WatchReceiver<usize>>; WAITERS],
}

impl Object for Watch {
    fn new() -> Self {
        let (sender, _) = watch(0);
        Self {
            receivers: std::array::from_fn(|_| RefCell::new(sender.subscribe())),
            sender,
        }
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "each waiter has its own")]
    async fn take(&self, waiter: usize) -> Result<()> {
        let mut receiver = self.receivers[waiter].borrow_mut();
        receiver.wait_for(|value| *value == FEEDS).await?;
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        self.sender.modify(|value| *value += 1);
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        assert_eq!(tally.stuck.get(), 0);
        for (receiver, taken) in self.receivers.iter().zip(&tally.taken) {
            assert!(taken.get() == 0 || !receiver.borrow().has_changed());
        }
    }
}

/// Each waiter receives from two channels at once, and both can come through.
struct Raced {
    channels: [(Sender<()>, Receiver<()>); 2],
    late: Cell<usize>,
}

impl Object for Raced {
    const MAY_BE_DROPPED: bool = false;

    fn new() -> Self {
        Self {
            channels: [channel(1), channel(1)],
            late: Cell::new(0),
        }
    }

    async fn take(&self, _: usize) -> Result<()> {
        let receives = self.channels.each_ref();
        let first = wait_any(receives.map(|(_, end)| async { Ok(end.recv().await?) })).await?;
        self.late.set(self.late.get() + first.late.len());
        Ok(())
    }

    async fn feed(&self) -> Result<()> {
        for (sender, _) in &self.channels {
            sender.send(()).await?;
        }
        Ok(())
    }

    fn check(&self, tally: &Tally) {
        let left = self.channels.iter().map(|(_, end)| {
            let left = std::iter::from_fn(|| end.try_recv().ok());
            left.count()
        });
        let left = left.sum::<usize>();
        assert_eq!(tally.taken() + self.late.get() + left, 2 * tally.fed.get());
        tally.nobody_waits_for_one_of(left);
    }
}

macro_rules! table {
    ($($name:ident: $object:ty;)+) => {
        $(
            #[test]
            fn $name() {
                every_moment::<$object>();
            }
        )+
    };
}

table! {
    items_of_a_rendezvous: Items<0>;
    items_of_a_channel: Items<1>;
    items_of_an_unbounded_channel: Items<{ usize::MAX }>;
    room_in_a_rendezvous: Room<0>;
    room_in_a_channel: Room<1>;
    permits_of_a_semaphore: Permits;
    permits_that_return: PermitsThatReturn;
    tokens_of_a_limiter: Tokens;
    tokens_that_return: TokensThatReturn;
    turns_with_a_lock: Exclusion;
    notifications_of_a_condition: Notifications;
    wake_ups_of_a_parking_lot: Parked;
    wake_ups_of_tasks_that_were_moved: Reparked;
    an_event: Event;
    openings_of_a_barrier: Barrier;
    items_of_a_broadcast: Broadcast;
    the_latest_value: Watch;
    items_of_two_channels_at_once: Raced;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Cancel,
    Drop,
    Panic,
    Close,
}

fn every_moment<O: Object>() {
    guarded(|| {
        let mut failures = Vec::new();
        for cut in [Cut::Cancel, Cut::Drop, Cut::Panic, Cut::Close] {
            match cut {
                Cut::Close if !O::CLOSES => continue,
                Cut::Drop | Cut::Panic if !O::MAY_BE_DROPPED => continue,
                _ => {}
            }
            for (seed, victim) in (0..SEEDS).flat_map(|s| (0..WAITERS).map(move |w| (s, w))) {
                for at in 0.. {
                    let reached = std::panic::catch_unwind(|| {
                        testing::run_seeded(seed, async || play::<O>(cut, victim, at).await)
                            .unwrap()
                    });
                    match reached {
                        Ok(true) => {}
                        Ok(false) => {
                            assert!(at > 10, "only {at} moments");
                            break;
                        }
                        Err(panic) => {
                            let text = panic.downcast_ref::<String>().cloned();
                            failures
                                .push(format!("{cut:?} {victim} at {at}, seed {seed}: {text:?}"));
                            break;
                        }
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// Cuts off one waiter at one moment. Whether that moment came.
async fn play<O: Object>(cut: Cut, victim: usize, at: u32) -> Result<bool> {
    let object = O::new();
    let tally = Tally::default();
    let wait = async |waiter: usize| {
        for _ in 0..O::ROUNDS {
            object.take(waiter).await?;
            tally.taken[waiter].set(tally.taken[waiter].get() + 1);
        }
        Ok(())
    };
    let scope = CancelScope::new();
    let moments = Moments {
        left: Cell::new(Some(at)),
        cut,
        scope: scope.handle(),
        close: &|| object.close(victim),
        victim: RefCell::new(Some(Box::pin(async {
            scope.run(wait(victim)).await?;
            Ok(())
        }))),
        waker: RefCell::new(None),
        doomed: Cell::new(false),
    };
    let work = nursery(async |n| {
        for waiter in 0..WAITERS {
            let (moments, tally, wait) = (&moments, &tally, &wait);
            n.start_soon(async move {
                let result = if waiter == victim {
                    moments.victim().await
                } else {
                    moments.in_steps(wait(waiter)).await
                };
                tally.finished[waiter].set(true);
                match result {
                    Err(error) if cut == Cut::Close && !error.contains_cancelled() => Ok(()),
                    result => result,
                }
            });
        }
        n.start_soon(moments.in_steps(async {
            for round in 0..FEEDS {
                if round > 0 {
                    wait_all_tasks_blocked().await?;
                }
                object.feed().await?;
                tally.fed.set(tally.fed.get() + 1);
                moments.step();
            }
            Ok(())
        }));
        // One for each time that the feeder waits for the same, and one for the end.
        for _ in 0..FEEDS {
            wait_all_tasks_blocked().await?;
        }
        let finished = tally.finished.iter().filter(|done| done.get()).count();
        tally.stuck.set(WAITERS - finished);
        n.cancel();
        Ok(())
    });
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        if cut != Cut::Panic || panic.downcast_ref() != Some(&CUT_OFF) {
            std::panic::resume_unwind(panic);
        }
        tally.panicked.set(true);
        tally.stuck.set(0);
    }
    let reached = moments.left.get().is_none();
    drop(moments);
    tally.dropped.set(matches!(cut, Cut::Drop | Cut::Panic));
    object.check(&tally);
    Ok(reached)
}

const CUT_OFF: &str = "cut off";

type Boxed<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Counts the polls of all tasks, before and after, and strikes the victim at one of them.
struct Moments<'a> {
    left: Cell<Option<u32>>,
    cut: Cut,
    scope: ScopeHandle,
    close: &'a dyn Fn(),
    /// Not there while it is polled.
    victim: RefCell<Option<Boxed<'a>>>,
    waker: RefCell<Option<Waker>>,
    doomed: Cell<bool>,
}

impl Moments<'_> {
    fn step(&self) {
        let Some(left) = self.left.get() else { return };
        if left > 0 {
            self.left.set(Some(left - 1));
            return;
        }
        self.left.set(None);
        match self.cut {
            Cut::Cancel => self.scope.cancel(),
            Cut::Close => (self.close)(),
            Cut::Drop | Cut::Panic => {
                self.doomed.set(true);
                if self.cut == Cut::Drop {
                    let victim = self.victim.take();
                    drop(victim);
                }
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    async fn in_steps(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.step();
            let polled = work.as_mut().poll(cx);
            self.step();
            polled
        })
        .await
    }

    async fn victim(&self) -> Result<()> {
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            self.step();
            let Some(mut victim) = self.victim.take() else {
                return Poll::Ready(Ok(()));
            };
            if self.doomed.get() {
                // A panic, but without a report.
                std::panic::resume_unwind(Box::new(CUT_OFF));
            }
            let polled = victim.as_mut().poll(cx);
            self.step();
            if polled.is_ready() {
                return polled;
            }
            if self.doomed.get() && self.cut == Cut::Drop {
                drop(victim);
                return Poll::Ready(Ok(()));
            }
            self.victim.replace(Some(victim));
            Poll::Pending
        })
        .await
    }
}
