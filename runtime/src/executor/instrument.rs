//! Hooks for whoever wants to watch a runtime.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use super::waker::Key;
use super::{Core, Dump, DumpEntry, TaskId, current};
use crate::cause::CancelCause;
use crate::nursery::BODY;
use crate::scope::tree::NodeId;
use crate::time::Instant;

/// Is told what happens in a runtime, on its thread. All hooks do nothing by default.
///
/// Given to a runtime with [`RuntimeBuilder::instrument`](crate::RuntimeBuilder::instrument), or to
/// the running one with [`add_instrument`]. A runtime without instruments pays nothing for them. A
/// hook that panics is logged, and its instrument taken away.
///
/// A task that opened a nursery polls the children: their polls are inside of its own.
pub trait Instrument {
    /// The runtime begins to run.
    fn run_started(&self) {}

    /// The main task has ended, and everything with it.
    fn run_ended(&self) {}

    /// A child was put into a nursery.
    fn task_spawned(&self, _task: &TaskInfo) {}

    /// A task was woken that was not about to run yet.
    fn task_scheduled(&self, _task: &TaskInfo) {}

    /// A task is about to be polled.
    fn before_poll(&self, _task: &TaskInfo) {}

    /// It was. Also if it panicked.
    fn after_poll(&self, _task: &TaskInfo) {}

    /// A task was polled and waits now, in this operation of the runtime or, if `None`, for a
    /// nursery or in a future of another library.
    fn task_blocked(&self, _task: &TaskInfo, _operation: Option<&'static str>) {}

    /// A task has ended.
    fn task_exited(&self, _task: &TaskInfo) {}

    /// A scope was cancelled that was made there.
    fn scope_cancelled(&self, _cause: &CancelCause, _location: &'static Location<'static>) {}

    /// Nothing is ready: the runtime waits for something to come from outside, at most until then
    /// by its own clock.
    fn before_wait(&self, _until: Option<Instant>) {}

    /// It does no longer.
    fn after_wait(&self) {}

    /// Everything is blocked in operations of the runtime, none of which is a sleep, readiness of a
    /// descriptor, or a call in a thread, and no deadline is set: only a wake from elsewhere can
    /// help. Also logged, as a warning.
    fn deadlocked(&self, _dump: &Dump) {}
}

/// A task, as instruments are told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Which it is.
    pub id: TaskId,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where it was started.
    pub location: &'static Location<'static>,
}

impl std::fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task `{name}`"),
            None => write!(f, "the task of {}", self.location),
        }
    }
}

/// Has the runtime that this code runs in tell this instrument from now on. False if it does
/// already.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn add_instrument(instrument: Rc<dyn Instrument>) -> bool {
    current().add_instrument(instrument)
}

/// Tells this instrument nothing any more. False if it was not told before.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn remove_instrument(instrument: &Rc<dyn Instrument>) -> bool {
    current().remove_instrument(instrument)
}

const TARGET: &str = "tractor::executor";

impl Core {
    pub(crate) fn add_instrument(&self, instrument: Rc<dyn Instrument>) -> bool {
        let mut instruments = self.instruments.borrow_mut();
        if instruments.iter().any(|one| same(one, &instrument)) {
            return false;
        }
        instruments.push(instrument);
        if !self.instrumented.get() {
            self.set_instrumented(true);
            let mut seats = self.seats.borrow_mut();
            let tree = self.tree.borrow();
            tree.walk(self.main.get(), |_, node, view| {
                seats.extend(view.task.map(|key| (key, node)));
            });
        }
        true
    }

    pub(crate) fn remove_instrument(&self, instrument: &Rc<dyn Instrument>) -> bool {
        let mut instruments = self.instruments.borrow_mut();
        let before = instruments.len();
        instruments.retain(|one| !same(one, instrument));
        if instruments.is_empty() && self.instrumented.get() {
            self.set_instrumented(false);
            self.seats.borrow_mut().clear();
        }
        instruments.len() < before
    }

    fn set_instrumented(&self, on: bool) {
        self.instrumented.set(on);
        self.tree.borrow_mut().record_cancels(on);
    }

    /// Whether there is anybody to tell.
    #[inline]
    pub(crate) fn is_instrumented(&self) -> bool {
        self.instrumented.get()
    }

    /// Tells all instruments, with nothing borrowed.
    #[cold]
    pub(crate) fn tell(&self, hook: impl Fn(&dyn Instrument)) {
        let instruments = self.instruments.borrow().clone();
        for instrument in instruments {
            let told = catch_unwind(AssertUnwindSafe(|| hook(&*instrument)));
            if told.is_err() {
                log::error!(
                    target: "tractor::instrument",
                    "an instrument panicked, and is told nothing any more"
                );
                self.remove_instrument(&instrument);
            }
        }
    }

    /// Tells of a task; not of bodies, which are part of one.
    #[cold]
    pub(crate) fn tell_of(
        &self,
        key: Key,
        node: NodeId,
        hook: impl Fn(&dyn Instrument, &TaskInfo),
    ) {
        let member = self.slots.borrow().member(key);
        if member.is_some_and(|member| member != BODY)
            && let Some(info) = self.info(node)
        {
            self.tell(|instrument| hook(instrument, &info));
        }
    }

    /// Tells of a new task, whose key is to be known when it is woken.
    #[cold]
    pub(crate) fn tell_spawned(&self, key: Key, node: NodeId) {
        self.seats.borrow_mut().insert(key, node);
        self.tell_of(key, node, |instrument, task| instrument.task_spawned(task));
    }

    #[cold]
    pub(crate) fn tell_exited(&self, key: Key, node: NodeId) {
        self.tell_of(key, node, |instrument, task| instrument.task_exited(task));
        self.seats.borrow_mut().remove(&key);
    }

    pub(crate) fn tell_run_started(&self, key: Key, main: NodeId) {
        if self.is_instrumented() {
            self.tell(|instrument| instrument.run_started());
            self.tell_spawned(key, main);
        }
    }

    pub(crate) fn tell_run_ended(&self, key: Key, main: NodeId) {
        if self.is_instrumented() {
            self.tell_exited(key, main);
            self.tell(|instrument| instrument.run_ended());
        }
    }

    /// Says that nothing is left that could go on by itself, if that is so. `worked`: something has
    /// gone on since this was asked last.
    pub(crate) fn report_deadlock(&self, worked: bool) {
        let heard = self.is_instrumented() || log::log_enabled!(target: TARGET, log::Level::Warn);
        let worked_for = self.in_threads.get() > 0;
        if !worked || !heard || worked_for || self.next_deadline().is_some() {
            return;
        }
        // To look is dear when there are many tasks, and of no use if some wait for a descriptor,
        // say.
        let vain = self.looked_in_vain.get();
        self.looked_in_vain.set(vain.saturating_add(1));
        if vain > 0 && !vain.is_power_of_two() {
            return;
        }
        let dump = Dump::of(self);
        if dump.entries().iter().any(DumpEntry::may_go_on) {
            return;
        }
        self.looked_in_vain.set(0);
        log::warn!(
            target: TARGET,
            "every task is blocked, and neither a timer nor anybody outside is known that could \
             wake one:\n{dump}"
        );
        self.tell(|instrument| instrument.deadlocked(&dump));
    }

    #[cold]
    pub(crate) fn tell_polled(&self, key: Key, node: NodeId, pending: bool) {
        self.tell_of(key, node, |instrument, task| instrument.after_poll(task));
        if pending && !self.slots.borrow().is_queued(key) {
            let operation = self.tree.borrow().operation(node).map(|name| name());
            self.tell_of(key, node, |instrument, task| {
                instrument.task_blocked(task, operation);
            });
        }
    }

    #[cold]
    pub(crate) fn tell_scheduled(&self, key: Key) {
        let node = self.seats.borrow().get(&key).copied();
        if let Some(node) = node {
            self.tell_of(key, node, |instrument, task| {
                instrument.task_scheduled(task)
            });
        }
    }

    /// Tells of the cancellations that a change of the tree brought.
    #[cold]
    pub(crate) fn tell_of_cancels(&self) {
        let cancels = self.tree.borrow_mut().take_cancels();
        for (cause, location) in cancels {
            self.tell(|instrument| instrument.scope_cancelled(&cause, location));
        }
    }

    fn info(&self, node: NodeId) -> Option<TaskInfo> {
        let label = self.label(node)?;
        Some(TaskInfo {
            id: TaskId {
                executor: self.id(),
                node,
            },
            name: label.name,
            location: label.location,
        })
    }
}

fn same(one: &Rc<dyn Instrument>, other: &Rc<dyn Instrument>) -> bool {
    std::ptr::addr_eq(Rc::as_ptr(one), Rc::as_ptr(other))
}
