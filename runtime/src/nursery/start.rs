//! `start()`: a child that its starter waits for until it is ready.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::future::Nursery;
use super::options::Origin;
use super::task::{ChildCancelled, ChildPanicked, End, NurseryClosed};
use crate::cause::{CancelCause, CancelKind};
use crate::error::{Error, Result};
use crate::executor::{Core, Here, current};
use crate::scope::Hold;
use crate::scope::tree::NodeId;

/// What the nursery tells when a child ends that was begun with `start`.
pub(crate) trait StartState {
    /// Gives back the error if it is the nursery's to fail of.
    fn ended(&self, end: &End, error: Option<Error>) -> Option<Error>;
}

struct State<V> {
    phase: RefCell<Phase<V>>,
    waiter: Cell<Option<Waker>>,
    nursery: Rc<Nursery<'static, 'static>>,
    core: Rc<Core>,
    /// The child, and the caller's scope, under which it is until it has started.
    child: Cell<NodeId>,
}

enum Phase<V> {
    /// The child has said nothing yet.
    Silent,
    /// It has started, but under a caller that is cancelled, where it stays.
    Kept(V),
    /// It has started and is the nursery's; the caller has not come for the value yet.
    Adopted(V),
    /// It ended before it was the nursery's.
    Ended(Result<V>),
    /// The caller is gone, or has its answer.
    Over,
}

impl<V> State<V> {
    fn answered(&self, phase: Phase<V>) {
        let before = self.phase.replace(phase);
        drop(before);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// The nursery need not wait for this start any more.
    fn resolved(&self) {
        self.nursery.starting.set(self.nursery.starting.get() - 1);
        self.nursery.nudge();
    }
}

impl<V> StartState for State<V> {
    fn ended(&self, end: &End, error: Option<Error>) -> Option<Error> {
        let result = match self.phase.replace(Phase::Over) {
            phase @ (Phase::Adopted(_) | Phase::Over) => {
                self.phase.replace(phase);
                return error;
            }
            phase @ Phase::Ended(_) => {
                self.phase.replace(phase);
                return None;
            }
            Phase::Silent => None,
            Phase::Kept(value) => Some(value),
        };
        self.answered(Phase::Ended(match (end, error, result) {
            (_, Some(error), _) => Err(error),
            (End::Panicked, None, _) => Err(ChildPanicked::new().into()),
            (End::Cancelled(cause), None, _) => Err(ChildCancelled::new(cause.clone()).into()),
            (End::Returned, None, Some(value)) => Ok(value),
            _ => Err(NotStarted { _private: () }.into()),
        }));
        self.resolved();
        None
    }
}

/// With which a child says that it is ready. Made by [`Nursery::start`].
pub struct TaskStatus<V> {
    state: Option<Rc<State<V>>>,
}

impl<V> TaskStatus<V> {
    /// A status that nobody waits for, to call such a function directly.
    pub fn ignored() -> Self {
        Self { state: None }
    }

    /// Says that the child is ready, and gives `value` to whoever started it. From now on the
    /// child is in the scope of its nursery.
    ///
    /// If the caller is cancelled already, the child stays in the caller's scope, and ends there.
    pub fn started(self, value: V) {
        let Some(state) = self.state else { return };
        if !matches!(&*state.phase.borrow(), Phase::Silent) {
            return;
        }
        let caller_cancelled = state.core.tree(|tree| {
            let caller = tree.parent(state.child.get());
            caller.is_some_and(|caller| tree.is_effective(caller))
        });
        if caller_cancelled {
            let before = state.phase.replace(Phase::Kept(value));
            drop(before);
            return;
        }
        state.answered(Phase::Adopted(value));
        state.nursery.adopt(state.child.get());
        state.resolved();
    }
}

impl<V> fmt::Debug for TaskStatus<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStatus").finish_non_exhaustive()
    }
}

/// The child ended without having said that it was ready.
#[derive(Clone, Debug)]
pub struct NotStarted {
    _private: (),
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the child ended without having called `started`")
    }
}

impl std::error::Error for NotStarted {}

/// The future of [`Nursery::start`].
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Start<'scope, 'env, F, V: 'scope> {
    nursery: &'scope Nursery<'scope, 'env>,
    child: Option<(F, Origin)>,
    waiting: Option<Waiting<V>>,
}

struct Waiting<V> {
    state: Rc<State<V>>,
    hold: Hold,
}

impl<V> Drop for Waiting<V> {
    /// The caller is dropped before it had its answer: the child is left to the nursery, cancelled.
    fn drop(&mut self) {
        let state = &self.state;
        let phase = state.phase.replace(Phase::Over);
        if matches!(phase, Phase::Ended(_) | Phase::Over) {
            return;
        }
        let cause = CancelCause::new(CancelKind::ParentCancelled)
            .with_reason("the call that started it was dropped");
        let child = state.child.get();
        state
            .core
            .change(|tree, woken| tree.cancel(child, &cause, woken));
        if !matches!(phase, Phase::Adopted(_)) {
            state.nursery.adopt(child);
            state.resolved();
        }
    }
}

impl<'scope, 'env, F, V> Start<'scope, 'env, F, V>
where
    F: AsyncFnOnce(TaskStatus<V>) -> Result<()> + 'scope,
{
    pub(crate) fn new(nursery: &'scope Nursery<'scope, 'env>, child: F, origin: Origin) -> Self {
        Self {
            nursery,
            child: Some((child, origin)),
            waiting: None,
        }
    }

    fn begin(&mut self, child: F, mut origin: Origin) -> Waiting<V> {
        let core = current();
        let state = Rc::new(State {
            phase: RefCell::new(Phase::Silent),
            waiter: Cell::new(None),
            nursery: self.nursery.strong(),
            core: core.clone(),
            child: Cell::new(NodeId::NONE),
        });
        let status = TaskStatus {
            state: Some(state.clone()),
        };
        self.nursery.starting.set(self.nursery.starting.get() + 1);
        let start = super::task::erase_start(state.clone());
        origin.start = Some((start, Here::node()));
        let handle = self
            .nursery
            .spawn(async move { child(status).await }, origin);
        state.child.set(handle.node());
        Waiting {
            state,
            hold: Hold::here(core),
        }
    }
}

// Nothing in it is pinned: the child moves into the nursery when it is begun.
impl<F, V> Unpin for Start<'_, '_, F, V> {}

impl<'scope, F, V> Future for Start<'scope, '_, F, V>
where
    F: AsyncFnOnce(TaskStatus<V>) -> Result<()> + 'scope,
{
    type Output = Result<V>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<V>> {
        let this = self.get_mut();
        if let Some((child, origin)) = this.child.take() {
            if this.nursery.is_closed() {
                return Poll::Ready(Err(NurseryClosed { _private: () }.into()));
            }
            assert!(
                this.nursery.is_of_this_runtime(),
                "`start` was awaited outside of the tractor runtime that the nursery is in"
            );
            this.waiting = Some(this.begin(child, origin));
        }
        let waiting = this.waiting.as_mut();
        let waiting = waiting.expect("a start was polled after it was done");
        waiting.hold.follow();
        let result = match waiting.state.phase.replace(Phase::Over) {
            Phase::Adopted(value) => Ok(value),
            Phase::Ended(result) => result,
            phase => {
                waiting.state.phase.replace(phase);
                Here::waits_in(|| "Nursery::start");
                let before = waiting.state.waiter.replace(Some(cx.waker().clone()));
                drop(before);
                return Poll::Pending;
            }
        };
        this.waiting = None;
        Poll::Ready(result)
    }
}
