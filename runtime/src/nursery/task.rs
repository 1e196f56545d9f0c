//! A child: its future, and what becomes of it, in one allocation shared by nursery and handle.
//!
//! # Invariants
//!
//! * A child's future is polled and dropped by its nursery only, through [`Child`], and the nursery
//!   does so while `'scope` lasts: all children are dropped before the nursery's future is done or
//!   dropped, and if that is leaked instead, nobody ever polls or drops them. This is what makes it
//!   right for [`erase`] to forget the lifetime.
//! * A body gets a reference to its nursery for a `'scope` that it cannot name ([`lend`]). The nursery
//!   is in an `Rc` that its future owns, and the future drops the body and the children first.
//! * `Task::future` is reached by `poll` and `drop_future` only. Neither runs while the other or
//!   itself does: `busy` is set meanwhile, and checked.
//! * The future does not move once it is in its `Rc`; it is dropped in place.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::cause::{CancelCause, CancelKind, Cancelled};
use crate::error::{Error, Result};
use crate::executor::{Core, Here, Leaf, current};
use crate::scope::tree::NodeId;

use super::future::Nursery;
use super::start::StartState;

/// A child as its nursery sees it.
pub(crate) trait Child {
    /// Polls the future. When it is ready it is dropped, and its value is kept for the handle.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Drops the future, if it is still there.
    fn drop_future(&self);

    /// Whether somebody may still ask what became of the child.
    fn is_wanted(&self) -> bool;

    /// Says what became of the child, to whom it may concern.
    fn end(&self, end: End);
}

/// What became of a child.
#[derive(Debug)]
pub(crate) enum End {
    Returned,
    /// Without the error if nobody wants to know.
    Failed(Option<Error>),
    Cancelled(CancelCause),
    Panicked,
    /// Its nursery was closed before the child could be started.
    Refused,
}

pub(crate) struct Task<F, T> {
    future: UnsafeCell<Option<F>>,
    busy: Cell<bool>,
    join: Join<T>,
}

/// What the handle of a child needs.
struct Join<T> {
    value: Cell<Option<T>>,
    end: RefCell<Option<End>>,
    wanted: Cell<bool>,
    /// Those who wait for the end.
    waiting: RefCell<Slab<Waker>>,
}

impl<T, F: Future<Output = Result<T>>> Task<F, T> {
    pub(crate) fn new(future: F) -> Rc<Self> {
        Rc::new(Self {
            future: UnsafeCell::new(Some(future)),
            busy: Cell::new(false),
            join: Join {
                value: Cell::new(None),
                end: RefCell::new(None),
                wanted: Cell::new(true),
                waiting: RefCell::default(),
            },
        })
    }

    /// Runs `f` on the future, which nobody else can reach meanwhile.
    fn with_future<R>(&self, f: impl FnOnce(Pin<&mut Option<F>>) -> R) -> R {
        struct Busy<'a>(&'a Cell<bool>);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        assert!(!self.busy.replace(true), "a child was polled by itself");
        let _busy = Busy(&self.busy);
        // SAFETY: `busy` was false, so no other reference to the cell's content exists (this is
        // the only place that makes one), and none is made until `_busy` is dropped.
        let future = unsafe { &mut *self.future.get() };
        // SAFETY: the task is in an Rc from the beginning (`new` is the only constructor) and the
        // option is only ever changed through this pin, so the future never moves.
        f(unsafe { Pin::new_unchecked(future) })
    }
}

impl<T, F: Future<Output = Result<T>>> Child for Task<F, T> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.with_future(|mut future| {
            let pinned = future.as_mut().as_pin_mut();
            let polled = pinned.expect("a child was polled after its end").poll(cx);
            let Poll::Ready(result) = polled else {
                return Poll::Pending;
            };
            future.set(None);
            Poll::Ready(result.map(|value| {
                if self.join.wanted.get() {
                    self.join.value.set(Some(value));
                }
            }))
        })
    }

    fn drop_future(&self) {
        self.with_future(|mut future| future.set(None));
    }

    fn is_wanted(&self) -> bool {
        self.join.wanted.get()
    }

    fn end(&self, end: End) {
        self.join.end.replace(Some(end));
        for (_, waker) in self.join.waiting.take() {
            waker.wake();
        }
    }
}

/// Forgets how long the child lives.
pub(crate) fn erase<'scope>(child: Rc<dyn Child + 'scope>) -> Rc<dyn Child> {
    // SAFETY: only the lifetime bound of the trait object changes. By this module's invariants
    // the child's future is used while 'scope lasts only; what may be used later is its end, which
    // has no lifetime, and its memory.
    unsafe { std::mem::transmute::<Rc<dyn Child + 'scope>, Rc<dyn Child>>(child) }
}

/// Forgets how long the value lives that a child is to start with: it is kept with the child.
pub(crate) fn erase_start<'scope>(start: Rc<dyn StartState + 'scope>) -> Rc<dyn StartState> {
    // SAFETY: as for `erase`. The nursery drops this with the child.
    unsafe { std::mem::transmute::<Rc<dyn StartState + 'scope>, Rc<dyn StartState>>(start) }
}

/// A reference to the nursery for its body and children.
///
/// The caller must give it to the body alone, and keep the `Rc` until body and children are
/// dropped, or for ever.
pub(crate) fn lend<'env>(nursery: &Rc<Nursery<'static, 'static>>) -> &'env Nursery<'env, 'env> {
    let nursery: *const Nursery<'static, 'static> = Rc::as_ptr(nursery);
    // SAFETY: the pointer is valid while the Rc is kept, which is as long as anybody can use the
    // reference (the caller's duty). The lifetimes are markers that stand for no data.
    unsafe { &*nursery.cast() }
}

/// The place of one who waits for the end of a child, if he does.
pub(super) type Place = Option<u32>;

/// The side of a child that its handle sees.
pub(crate) trait Joinable<T> {
    fn poll_end(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Result<T>>;
    fn poll_gone(&self, place: &mut Place, cx: &Context<'_>) -> Poll<()>;
    /// Gives up a place among those who wait.
    fn leave(&self, place: &mut Place);
    fn is_gone(&self) -> bool;
    fn unwanted(&self);
}

impl<T, F> Joinable<T> for Task<F, T> {
    fn poll_end(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Result<T>> {
        if self.poll_gone(place, cx).is_pending() {
            return Poll::Pending;
        }
        let end = self.join.end.borrow();
        Poll::Ready(Err(match end.as_ref() {
            Some(End::Returned) | None => {
                let value = self.join.value.take();
                return Poll::Ready(Ok(value.expect("a handle was polled after its end")));
            }
            Some(End::Failed(error)) => {
                let error = error
                    .as_ref()
                    .expect("the error of a child is kept for its handle");
                match error.cancelled() {
                    Some(cancelled) if error.is_cancelled() => {
                        ChildCancelled::new(cancelled.cause().clone()).into()
                    }
                    _ => error.clone(),
                }
            }
            Some(End::Cancelled(cause)) => ChildCancelled::new(cause.clone()).into(),
            Some(End::Panicked) => ChildPanicked::new().into(),
            Some(End::Refused) => NurseryClosed { _private: () }.into(),
        }))
    }

    fn poll_gone(&self, place: &mut Place, cx: &Context<'_>) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        let before = {
            let mut waiting = self.join.waiting.borrow_mut();
            match *place {
                None => {
                    *place = Some(waiting.insert(waker.clone()) as u32);
                    None
                }
                Some(key) if waiting[key as usize].will_wake(waker) => None,
                Some(key) => Some(std::mem::replace(&mut waiting[key as usize], waker.clone())),
            }
        };
        drop(before);
        Poll::Pending
    }

    fn leave(&self, place: &mut Place) {
        // At the end all leave.
        if let Some(key) = place.take()
            && !self.is_gone()
        {
            let waker = self.join.waiting.borrow_mut().remove(key as usize);
            drop(waker);
        }
    }

    fn is_gone(&self) -> bool {
        self.join.end.borrow().is_some()
    }

    fn unwanted(&self) {
        self.join.wanted.set(false);
        drop(self.join.value.take());
    }
}

/// A child from outside: await its value, cancel it alone, or wait until it is gone.
///
/// As a future it is a checkpoint that gives the value of the child. Dropping the handle changes
/// nothing for the child; its value is then dropped when it ends.
///
/// # Errors
///
/// The child's own error (shared with the nursery, which fails of it all the same);
/// [`ChildCancelled`] if the child was cancelled; [`ChildPanicked`];
/// [`NurseryClosed`] if it could not be started; and [`Cancelled`] if it is the waiting itself that
/// was cancelled, alone or together with the child.
pub struct TaskHandle<'scope, T> {
    task: Rc<dyn Joinable<T> + 'scope>,
    /// Where the child is; nowhere if it was refused.
    seat: Option<(Rc<Core>, NodeId)>,
    place: Place,
    leaf: Leaf,
}

impl<'scope, T> TaskHandle<'scope, T> {
    pub(crate) fn new(
        task: Rc<dyn Joinable<T> + 'scope>,
        seat: Option<(Rc<Core>, NodeId)>,
    ) -> Self {
        Self {
            task,
            seat,
            place: None,
            leaf: Leaf::default(),
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.seat.as_ref().map_or(NodeId::NONE, |(_, node)| *node)
    }

    /// What became of the child. Once.
    pub(super) fn poll_end(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Result<T>> {
        self.task.poll_end(place, cx)
    }

    pub(super) fn leave(&self, place: &mut Place) {
        self.task.leave(place);
    }

    /// Cancels this child alone. Its nursery and its siblings go on.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::new(CancelKind::Requested));
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        if let Some((core, node)) = &self.seat
            && !core.is_closed()
        {
            core.change(|tree, woken| tree.cancel(*node, &cause, woken));
        }
    }

    /// Asks this child alone to stop within `grace`; then it is cancelled. See
    /// [`ScopeHandle::stop`](crate::ScopeHandle::stop).
    #[track_caller]
    pub fn stop(&self, grace: Duration) {
        let cause = CancelCause::new(CancelKind::Requested);
        if let Some((core, node)) = &self.seat
            && !core.is_closed()
        {
            let until = core.now() + grace;
            core.change(|tree, woken| tree.stop(*node, until, &cause, woken));
        }
    }

    /// Whether the child has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.task.is_gone()
    }

    /// Waits until the child has ended, in whatever way, and leaves its value for later.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the waiting was cancelled.
    pub fn gone(&self) -> Gone<'_, 'scope, T> {
        Gone {
            handle: self,
            place: None,
            leaf: Leaf::default(),
        }
    }

    /// Cancels this child alone and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the waiting was cancelled; the child then still is.
    #[track_caller]
    pub fn cancel_and_wait(&self) -> Gone<'_, 'scope, T> {
        self.cancel();
        self.gone()
    }
}

impl<T> Future for TaskHandle<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Self {
            task, place, leaf, ..
        } = self.get_mut();
        let polled = leaf.poll(cx, |cx| task.poll_end(place, cx));
        polled.map(|result| told(result?))
    }
}

/// Whoever is cancelled together with the child is told that, and does not fail of it.
pub(super) fn told<T>(result: Result<T>) -> Result<T> {
    match result {
        Err(error) if Here::is_cancelled() && error.is::<ChildCancelled>() => {
            Err(current().cancelled_here().into())
        }
        result => result,
    }
}

impl<T> Unpin for TaskHandle<'_, T> {}

impl<T> Drop for TaskHandle<'_, T> {
    fn drop(&mut self) {
        self.task.leave(&mut self.place);
        self.task.unwanted();
    }
}

impl<T> fmt::Debug for TaskHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// The future of [`TaskHandle::gone`] and [`TaskHandle::cancel_and_wait`].
#[must_use = "futures do nothing unless awaited"]
pub struct Gone<'a, 'scope, T> {
    handle: &'a TaskHandle<'scope, T>,
    place: Place,
    leaf: Leaf,
}

impl<T> Future for Gone<'_, '_, T> {
    type Output = std::result::Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            handle,
            place,
            leaf,
        } = self.get_mut();
        leaf.poll(cx, |cx| handle.task.poll_gone(place, cx))
    }
}

impl<T> Drop for Gone<'_, '_, T> {
    fn drop(&mut self) {
        self.handle.leave(&mut self.place);
    }
}

impl<T> fmt::Debug for Gone<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gone").field(self.handle).finish()
    }
}

/// The child whose value was awaited was cancelled.
///
/// Not itself a cancellation: whoever awaits is not the one who was cancelled.
#[derive(Clone, Debug)]
pub struct ChildCancelled {
    cause: CancelCause,
}

impl ChildCancelled {
    pub(crate) fn new(cause: CancelCause) -> Self {
        Self { cause }
    }

    /// Why the child was cancelled.
    pub fn cause(&self) -> &CancelCause {
        &self.cause
    }
}

impl fmt::Display for ChildCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the child was cancelled: {}", self.cause)
    }
}

impl std::error::Error for ChildCancelled {}

/// The child whose value was awaited panicked; the panic goes on in the parent of its nursery.
#[derive(Clone, Debug)]
pub struct ChildPanicked {
    _private: (),
}

impl ChildPanicked {
    pub(crate) fn new() -> Self {
        Self { _private: () }
    }
}

impl fmt::Display for ChildPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the child panicked")
    }
}

impl std::error::Error for ChildPanicked {}

/// The nursery takes no more children: it has been left, or its runtime is gone.
#[derive(Clone, Debug)]
pub struct NurseryClosed {
    pub(crate) _private: (),
}

impl fmt::Display for NurseryClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nursery is closed to new children")
    }
}

impl std::error::Error for NurseryClosed {}
