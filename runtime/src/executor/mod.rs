//! The executor: one thread, a run queue of slots, and `turn()`, the one place that runs tasks.

mod calls;
mod dump;
mod event_log;
mod here;
mod instrument;
mod leaf;
pub(crate) mod remote;
pub(crate) mod slots;
pub(crate) mod sync;
mod system;
mod task;
pub(crate) mod waker;
mod watchdog;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use calls::Calls;
pub use calls::{RunFinished, RuntimeHandle, Trigger, runtime_handle};
pub(crate) use dump::Operation;
pub use dump::{Dump, DumpEntry, DumpKind, TaskState, dump};
pub use event_log::EventLog;
pub(crate) use here::{Here, Place};
pub use instrument::{Instrument, TaskInfo, add_instrument, remove_instrument};
pub(crate) use leaf::{Leaf, watch};
pub(crate) use task::{Polled, poll_task};
pub use watchdog::Watchdog;

use crate::cause::{CancelCause, CancelKind, Cancelled, TaskLabel};
use crate::reactor::Reactor;
use crate::scope::tree::{MayDrop, NodeId, Tree, Woken};
use crate::sync::CapacityLimiter;
use crate::testing::{Idle, Rng};
use crate::time::Instant;
use crate::time::clock::Clock;
use slots::{ListId, ROOT_LIST, Slots};
use system::Systems;
use waker::{Key, Registration};

/// How many polls of tasks one turn makes before it gives the host, and readiness of I/O, a
/// chance.
pub(crate) const POLLS_PER_TURN: u32 = 256;

/// How long a turn goes on before it does so, where its polls take long. The clock is read with every
/// few of them only.
const TURN_LIMIT: Duration = Duration::from_millis(1);
const POLLS_PER_LOOK: u32 = 8;

/// How many batches in a row a nursery runs in one poll, while nothing else in the runtime is ready.
/// More would hardly be faster, and what is polled beside it by the same task comes no sooner than
/// after them.
pub(crate) const BATCHES_PER_POLL: u32 = 16;

/// How many operations that need not wait a task may do in one poll before one of them yields.
pub(crate) const OPERATIONS_PER_POLL: u32 = 128;

/// How many cancellations a task may be told in one poll. A loop that swallows them would never
/// come back otherwise.
pub(crate) const DELIVERIES_PER_POLL: u32 = 1024;

/// How many scopes or nurseries begun in a cancelled scope count as much as one delivery.
pub(crate) const PATIENCE_PER_DELIVERY: u32 = 64;

/// What one runtime is, shared by everything that lives in it.
pub(crate) struct Core {
    registration: Registration,
    slots: RefCell<Slots>,
    tree: RefCell<Tree<Key, Waker>>,
    woken: RefCell<Vec<Woken<Key>>>,
    /// Kept for the next keys from the mailbox.
    posted: RefCell<Vec<u64>>,
    calls: Arc<Calls>,
    /// The first panic of a call from outside.
    panic: Cell<Option<Box<dyn Any + Send>>>,
    /// Wakers that leaves registered with scopes, because they are not their task's own.
    foreign: RefCell<HashMap<NodeId, Slab<Waker>>>,
    /// The names of tasks that have one.
    names: RefCell<HashMap<NodeId, Arc<str>>>,
    main: Cell<NodeId>,
    /// The values of variables of this runtime, by their addresses.
    pub(crate) vars: RefCell<HashMap<usize, Rc<dyn Any>>>,
    instrumented: Cell<bool>,
    instruments: RefCell<Vec<Rc<dyn Instrument>>>,
    /// The nodes of tasks by their keys, while there are instruments.
    seats: RefCell<HashMap<Key, NodeId>>,
    clock: Clock,
    /// Where readiness is told, if not by `async-io`.
    reactor: OnceCell<Arc<Reactor>>,
    /// What the clock said when deadlines were last looked at.
    looked_at: Cell<Instant>,
    in_turn: Cell<bool>,
    polls_left: Cell<u32>,
    /// When the turn began, by the real clock.
    turn_began: Cell<Option<Instant>>,
    closed: Cell<bool>,
    rng: RefCell<Option<Rng>>,
    pub(crate) idle: Idle,
    systems: Systems,
    /// How many calls of this runtime are in other threads.
    pub(crate) in_threads: Cell<isize>,
    /// How often it was looked for a deadlock in vain, because some task waits for what may come.
    looked_in_vain: Cell<u32>,
    /// What limits them if nothing else does.
    pub(crate) thread_limiter: OnceCell<CapacityLimiter>,
}

/// What a turn found.
pub(crate) enum Turn<T> {
    /// The main future is done.
    Done(T),
    /// There is more to run at once.
    More,
    /// Nothing to do until a wake, or until then.
    Idle(Option<Instant>),
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The runtime that this code runs in.
#[track_caller]
#[inline]
pub(crate) fn current() -> Rc<Core> {
    try_current().expect("this needs a running tractor runtime: call it inside of `run`")
}

#[inline]
pub(crate) fn try_current() -> Option<Rc<Core>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Which task it is, for as long as its runtime runs: equal for the same task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    executor: u16,
    node: NodeId,
}

/// The task that this code runs in: a child of a nursery, or the main task. The body of a
/// nursery runs in the task that opened it. `None` outside of a runtime.
///
/// ```
/// use tractor_runtime::{current_task, nursery, run};
///
/// run(async || {
///     let outer = current_task();
///     nursery(async |n| {
///         assert_eq!(current_task(), outer);
///         n.start_soon(async { Ok(assert_ne!(current_task(), outer)) });
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// assert_eq!(current_task(), None);
/// ```
pub fn current_task() -> Option<TaskId> {
    let core = try_current()?;
    let node = core.task(Here::node())?;
    let executor = core.registration.id();
    Some(TaskId { executor, node })
}

impl TaskId {
    /// The task that opened the nursery which this one is a child of. `None` for the main task, and
    /// for a task that is gone or of another runtime than this code runs in.
    pub fn parent(self) -> Option<Self> {
        let core = try_current().filter(|core| core.id() == self.executor)?;
        let parent = core.tree.borrow().parent(self.node)?;
        let node = core.task(parent)?;
        Some(Self { node, ..self })
    }
}

/// How much there is in a runtime, and what it is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// The main task, and the children of all nurseries.
    pub tasks: usize,
    /// How many of them, and of the bodies of nurseries, are about to be polled: those that were
    /// woken, and those around them.
    pub ready: usize,
    /// The next deadline or end of a sleep.
    pub next_deadline: Option<Instant>,
    /// How many calls of other threads wait to be made.
    pub calls: usize,
}

/// Counts what is in the runtime that this code runs in.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn statistics() -> Statistics {
    let core = current();
    let slots = core.slots.borrow();
    let tasks = || slots.tasks();
    Statistics {
        tasks: tasks()
            .filter(|(member, _)| *member != crate::nursery::BODY)
            .count(),
        ready: tasks().filter(|(_, ready)| *ready).count(),
        next_deadline: core.next_deadline(),
        calls: core.calls.len(),
    }
}

/// The label of the task that runs, for causes.
pub(crate) fn current_label() -> Option<TaskLabel> {
    try_current().and_then(|core| core.label(Here::node()))
}

/// Wakes a task of the runtime that runs on this thread now. False if the key is another's.
#[inline]
fn wake_here(key: Key) -> bool {
    let foreign = CURRENT.try_with(|current| match &*current.borrow() {
        Some(core) if core.registration.id() == key.executor() => Some(core.wake_slot(key)),
        _ => None,
    });
    match foreign {
        Ok(Some(waker)) => {
            if let Some(waker) = waker {
                waker.wake();
            }
            true
        }
        _ => false,
    }
}

/// A runtime is current, and no scope is, until this is dropped; then what was before.
pub(crate) struct Entered {
    before: Option<Rc<Core>>,
    place: Place,
    changes: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let ours = CURRENT.with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        Here::restore(self.place);
        // Whoever ran may have cancelled the scope that this goes back to.
        Here::look_again(self.changes);
        drop(ours);
    }
}

impl Core {
    pub(crate) fn new(clock: Clock, rng: Option<Rng>) -> Rc<Self> {
        let registration = Registration::new();
        Rc::new(Self {
            slots: RefCell::new(Slots::new(registration.id())),
            tree: RefCell::new(Tree::new()),
            woken: RefCell::new(Vec::new()),
            posted: RefCell::new(Vec::new()),
            calls: Calls::new(registration.id()),
            panic: Cell::new(None),
            registration,
            foreign: RefCell::default(),
            names: RefCell::default(),
            main: Cell::new(NodeId::NONE),
            vars: RefCell::default(),
            instrumented: Cell::new(false),
            instruments: RefCell::default(),
            seats: RefCell::default(),
            looked_at: Cell::new(clock.now()),
            clock,
            reactor: OnceCell::new(),
            in_turn: Cell::new(false),
            polls_left: Cell::new(0),
            turn_began: Cell::new(None),
            closed: Cell::new(false),
            rng: RefCell::new(rng),
            idle: Idle::default(),
            systems: Systems::default(),
            in_threads: Cell::new(0),
            looked_in_vain: Cell::new(0),
            thread_limiter: OnceCell::new(),
        })
    }

    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        let before = CURRENT.with(|current| current.borrow_mut().replace(self.clone()));
        Entered {
            before,
            place: Here::replace(Place::NOWHERE),
            changes: Here::changes(),
        }
    }

    /// Runs what is ready, and what is due, until nothing is or the turn's share is used up.
    /// `poll` polls the main future. The runtime must have been entered.
    pub(crate) fn turn<T>(self: &Rc<Self>, poll: impl FnMut(Key) -> Poll<T>) -> (Turn<T>, bool) {
        self.in_turn.set(true);
        let turn = self.run_turn(poll);
        self.in_turn.set(false);
        turn
    }

    fn run_turn<T>(self: &Rc<Self>, mut poll: impl FnMut(Key) -> Poll<T>) -> (Turn<T>, bool) {
        self.polls_left.set(POLLS_PER_TURN);
        self.turn_began.set(None);
        let mut worked = self.take_posted();
        loop {
            worked |= self.next_batch();
            let ready = self.slots.borrow_mut().pop(ROOT_LIST);
            let Some((key, _)) = ready else {
                return (Turn::Idle(self.next_deadline()), worked);
            };
            worked = true;
            self.take_poll();
            if let Poll::Ready(value) = poll(key) {
                return (Turn::Done(value), worked);
            }
            if self.polls_left.get() == 0 {
                return (Turn::More, worked);
            }
        }
    }

    /// Fires what is due before the next batch; whether anything was.
    fn next_batch(&self) -> bool {
        let fired = self.look_at_the_clock();
        self.tree.borrow_mut().next_batch();
        fired
    }

    /// Whether whoever polls a list may go on with one more batch of it at once: as if all those
    /// had been polled that polled it, since nothing else is ready.
    #[inline]
    pub(crate) fn goes_on(&self, list: ListId) -> bool {
        let is_alone = || self.with_slots(|slots| slots.is_alone(list));
        is_alone() && (!self.next_batch() || is_alone())
    }

    /// Wakes whom other threads woke. Not those that come meanwhile: threads that never stop to
    /// wake would stop the turn.
    #[inline]
    fn take_posted(&self) -> bool {
        let mailbox = self.registration.mailbox();
        if mailbox.is_empty() {
            return false;
        }
        let mut posted = self.posted.take();
        mailbox.take_all(&mut posted);
        let mut calls = false;
        for message in posted.drain(..) {
            match Key::unpack(message) {
                Some(key) => self.wake(key),
                None => calls = true,
            }
        }
        self.posted.replace(posted);
        if calls {
            self.make_calls();
        }
        true
    }

    /// Makes the calls that wait now, and not those that these ask for.
    #[cold]
    fn make_calls(&self) {
        for _ in 0..self.calls.len() {
            let Some(call) = self.calls.take() else { break };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
                self.call_panicked(panic);
            }
        }
    }

    fn call_panicked(&self, panic: Box<dyn Any + Send>) {
        let cause = CancelCause::new(CancelKind::SiblingFailed)
            .with_reason("a call from outside of the tasks panicked");
        let main = self.main.get();
        self.change(|tree, woken| tree.cancel(main, &cause, woken));
        match self.panic.take() {
            None => self.panic.set(Some(panic)),
            Some(first) => {
                self.panic.set(Some(first));
                log::error!(target: "tractor::executor", "one more call from outside panicked");
            }
        }
    }

    /// Takes no more calls from outside, and makes those that were taken. The panic of one of
    /// them, now or before, is to go on in whoever runs this.
    pub(crate) fn finish_calls(&self) -> Result<(), Box<dyn Any + Send>> {
        self.calls.close();
        self.make_calls();
        self.panic.take().map_or(Ok(()), Err)
    }

    pub(crate) fn handle(&self) -> RuntimeHandle {
        RuntimeHandle::new(self.calls.clone())
    }

    /// Ends the runtime: nothing can be spawned or cancelled any more.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.registration.mailbox().close();
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Asks for `waker` to be called at the next wake from outside of a turn. False if there
    /// has been one already.
    pub(crate) fn call_me(&self, waker: &Waker) -> bool {
        self.registration.mailbox().hang_up(waker)
    }

    /// What wakers call this runtime.
    #[inline]
    pub(crate) fn id(&self) -> u16 {
        self.registration.id()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What the clock said when deadlines were last looked at: everything due then has fired.
    #[inline]
    pub(crate) fn looked_at(&self) -> Instant {
        self.looked_at.get()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The reactor on this runtime's thread.
    pub(crate) fn reactor(&self) -> Option<&Arc<Reactor>> {
        self.reactor.get()
    }

    /// Says where readiness is told, before anything runs.
    pub(crate) fn set_reactor(&self, reactor: Arc<Reactor>) {
        let set = self.reactor.set(reactor);
        debug_assert!(set.is_ok(), "a runtime has one reactor");
    }

    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.tree.borrow().next_deadline()
    }

    /// Takes one poll from the turn's share. False if it is used up.
    #[inline]
    pub(crate) fn take_poll(&self) -> bool {
        let left = self.polls_left.get();
        self.polls_left.set(left.saturating_sub(1));
        if left > 0 && left.is_multiple_of(POLLS_PER_LOOK) {
            self.end_long_turn();
        }
        left > 0
    }

    /// Makes this poll the turn's last if it has gone on for long. Under a virtual clock nothing is to
    /// depend on the real one.
    fn end_long_turn(&self) {
        if !matches!(self.clock, Clock::Real) {
            return;
        }
        let now = Instant::real_now();
        match self.turn_began.get() {
            None => self.turn_began.set(Some(now)),
            Some(began) if now - began >= TURN_LIMIT => self.polls_left.set(0),
            Some(_) => {}
        }
    }

    #[inline]
    pub(crate) fn with_slots<R>(&self, f: impl FnOnce(&mut Slots) -> R) -> R {
        f(&mut self.slots.borrow_mut())
    }

    /// Makes everything in a list that is ready now one batch; how many that are.
    #[inline]
    pub(crate) fn begin_batch(&self, list: ListId) -> u32 {
        let mut slots = self.slots.borrow_mut();
        match &mut *self.rng.borrow_mut() {
            None => slots.begin_batch(list),
            Some(rng) => slots.begin_shuffled_batch(list, |below| rng.below(below)),
        }
    }

    #[inline]
    pub(crate) fn wake(&self, key: Key) {
        if let Some(waker) = self.wake_slot(key) {
            waker.wake();
        }
        self.call_host();
    }

    /// Has the host take a turn, if this is not one: code of the host changed something.
    #[inline]
    pub(crate) fn call_host(&self) {
        if !self.in_turn.get() {
            self.registration.mailbox().ring();
        }
    }

    #[inline]
    fn wake_slot(&self, key: Key) -> Option<Waker> {
        if self.is_instrumented() && !self.slots.borrow().is_queued(key) {
            self.tell_scheduled(key);
        }
        self.slots.borrow_mut().wake(key)
    }

    /// Reads the tree.
    #[inline]
    pub(crate) fn tree<R>(&self, f: impl FnOnce(&Tree<Key, Waker>) -> R) -> R {
        f(&self.tree.borrow())
    }

    /// Changes the tree in a way that wakes nobody.
    #[inline]
    pub(crate) fn tree_mut<R>(&self, f: impl FnOnce(&mut Tree<Key, Waker>) -> R) -> R {
        f(&mut self.tree.borrow_mut())
    }

    /// Changes the tree, and then wakes whom it concerns, with nothing borrowed.
    #[inline]
    pub(crate) fn change<R>(
        &self,
        f: impl FnOnce(&mut Tree<Key, Waker>, &mut Vec<Woken<Key>>) -> R,
    ) -> R {
        let mut woken = self.woken.take();
        let (result, changed) = {
            let mut tree = self.tree.borrow_mut();
            let before = tree.changes();
            let result = f(&mut tree, &mut woken);
            (result, tree.changes() != before)
        };
        if changed {
            Here::tree_changed();
            self.refresh_here();
        }
        self.wake_all(woken);
        if self.is_instrumented() {
            self.tell_of_cancels();
        }
        result
    }

    #[inline]
    fn wake_all(&self, mut woken: Vec<Woken<Key>>) {
        for woken in woken.drain(..) {
            match woken {
                Woken::Task(key) => self.wake(key),
                Woken::Foreign(node) => self.wake_foreign(node),
            }
        }
        // The vector is kept for the next change.
        *self.woken.borrow_mut() = woken;
    }

    /// The flag of the place where we are may have changed under us. If that is a place of another
    /// runtime, its node is none of this tree.
    #[inline]
    pub(crate) fn refresh_here(&self) {
        if Here::executor() == Some(self.id()) {
            Here::set_cancelled(self.tree.borrow().is_effective(Here::node()));
        }
    }

    #[inline]
    fn look_at_the_clock(&self) -> bool {
        let Some(next) = self.next_deadline() else {
            return false;
        };
        let now = self.clock.now();
        self.looked_at.set(now);
        if next > now {
            return false;
        }
        let mut fired = Vec::new();
        self.change(|tree, woken| tree.expire(now, woken, |waker| fired.push(waker)));
        for waker in fired {
            waker.wake();
        }
        true
    }

    /// The cancellation of the scope where we are.
    #[inline]
    pub(crate) fn cancelled_here(&self) -> Cancelled {
        self.cancelled_at(Here::node())
    }

    #[inline]
    pub(crate) fn cancelled_at(&self, node: NodeId) -> Cancelled {
        let tree = self.tree.borrow();
        Cancelled::new(
            tree.cause(node).cloned().unwrap_or_else(|| {
                CancelCause::at(CancelKind::Requested, None, Location::caller())
            }),
        )
    }

    #[inline]
    pub(crate) fn may_drop(&self, node: NodeId) -> MayDrop {
        self.tree.borrow_mut().may_drop(node)
    }

    pub(crate) fn register_foreign(self: &Rc<Self>, waker: &Waker) -> Foreign {
        let node = Here::node();
        let token = {
            let mut foreign = self.foreign.borrow_mut();
            foreign.entry(node).or_default().insert(waker.clone())
        };
        self.tree.borrow_mut().add_foreign(node);
        Foreign {
            core: self.clone(),
            node,
            token,
        }
    }

    fn wake_foreign(&self, node: NodeId) {
        let wakers: Vec<Waker> = match self.foreign.borrow().get(&node) {
            Some(wakers) => wakers.iter().map(|(_, waker)| waker.clone()).collect(),
            None => return,
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Says which node is the main task's.
    pub(crate) fn set_main(&self, node: NodeId) {
        self.main.set(node);
    }

    /// Takes a node out of the tree.
    #[inline]
    pub(crate) fn remove_node(&self, node: NodeId) {
        let left = self.tree.borrow_mut().remove_childless(node);
        if !left {
            self.change(|tree, woken| tree.remove(node, woken));
        }
    }

    /// Names a task. The others are called by the place where they were started.
    pub(crate) fn name_task(&self, node: NodeId, name: Arc<str>) {
        self.names.borrow_mut().insert(node, name);
    }

    #[inline]
    pub(crate) fn forget_name(&self, node: NodeId) {
        let mut names = self.names.borrow_mut();
        if !names.is_empty() {
            names.remove(&node);
        }
    }

    /// The task that this node belongs to: a child of a nursery, or the main task. The body of
    /// a nursery is part of the task that opened it.
    fn task(&self, mut node: NodeId) -> Option<NodeId> {
        let tree = self.tree.borrow();
        let slots = self.slots.borrow();
        loop {
            let (frame, key) = tree.frame(node)?;
            if slots.member(key)? != crate::nursery::BODY {
                return Some(frame);
            }
            node = tree.parent(frame)?;
        }
    }

    /// What the task that polls this node is called.
    pub(crate) fn label(&self, node: NodeId) -> Option<TaskLabel> {
        let (task, location) = self.tree.borrow().task_node(node)?;
        let name = if task == self.main.get() {
            Some("main".into())
        } else {
            self.names.borrow().get(&task).cloned()
        };
        Some(TaskLabel { name, location })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // It may never have run.
        self.calls.close();
        while self.calls.take().is_some() {}
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("id", &self.registration.id())
            .finish_non_exhaustive()
    }
}

/// A waker that is registered with a scope until this is dropped.
#[derive(Debug)]
pub(crate) struct Foreign {
    core: Rc<Core>,
    node: NodeId,
    token: usize,
}

impl Foreign {
    /// Whether it still is the right registration for a poll here and now with `waker`.
    pub(crate) fn serves(&self, waker: &Waker) -> bool {
        self.node == Here::node()
            && self
                .core
                .foreign
                .borrow()
                .get(&self.node)
                .and_then(|wakers| wakers.get(self.token))
                .is_some_and(|registered| registered.will_wake(waker))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let waker = {
            let mut foreign = self.core.foreign.borrow_mut();
            let Some(wakers) = foreign.get_mut(&self.node) else {
                return;
            };
            let waker = wakers.try_remove(self.token);
            if wakers.is_empty() {
                foreign.remove(&self.node);
            }
            waker
        };
        self.core.tree.borrow_mut().remove_foreign(self.node);
        drop(waker);
    }
}
