//! What every operation of the library has in common: when it looks whether it is cancelled, when
//! it yields, and who is woken when it has to look again.

use std::task::{Context, Poll};

use super::{Foreign, Here, current};
use crate::cause::Cancelled;

/// The state of one operation as a cancel point.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    begun: bool,
    foreign: Option<Foreign>,
}

impl Leaf {
    /// Attempts an operation: not at all if it is cancelled before the first attempt, or has to
    /// yield to others first; then a result that is there beats a cancellation.
    ///
    /// After `Err` the caller undoes what a pending attempt left behind.
    #[inline]
    pub(crate) fn poll<T, A: FnMut(&mut Context<'_>) -> Poll<T>>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: A,
    ) -> Poll<Result<T, Cancelled>> {
        if !self.begun {
            match Self::begin(cx) {
                Poll::Ready(Ok(())) => self.begun = true,
                Poll::Ready(Err(cancelled)) => return Poll::Ready(Err(cancelled)),
                Poll::Pending => {
                    self.watch(cx);
                    return Poll::Pending;
                }
            }
        }
        match attempt(cx) {
            Poll::Ready(value) => {
                self.foreign = None;
                Poll::Ready(Ok(value))
            }
            Poll::Pending if Here::is_cancelled() => {
                self.foreign = None;
                Poll::Ready(Err(current().cancelled_here()))
            }
            Poll::Pending => {
                Here::waits_in(std::any::type_name::<A>);
                self.watch(cx);
                Poll::Pending
            }
        }
    }

    /// The check before a first attempt. Pending if the task has to yield first, or if it was
    /// told so often that it is cancelled that it has to be dropped instead.
    #[inline]
    pub(crate) fn begin(cx: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
        if Here::cancel_point() {
            return Self::deliver();
        }
        if Here::schedule_point() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[cold]
    fn deliver() -> Poll<Result<(), Cancelled>> {
        if Here::deliver() {
            Poll::Ready(Err(current().cancelled_here()))
        } else {
            Poll::Pending
        }
    }

    /// Has a waker that is not the task's own called when the scope is cancelled.
    #[inline]
    pub(crate) fn watch(&mut self, cx: &Context<'_>) {
        watch(&mut self.foreign, cx);
    }
}

/// Registers the waker of `cx` with the current scope, if that is needed and not done yet.
#[inline]
pub(crate) fn watch(registered: &mut Option<Foreign>, cx: &Context<'_>) {
    if !Here::owns(cx.waker()) {
        register(registered, cx);
    } else if registered.is_some() {
        *registered = None;
    }
}

#[cold]
fn register(registered: &mut Option<Foreign>, cx: &Context<'_>) {
    if !registered
        .as_ref()
        .is_some_and(|foreign| foreign.serves(cx.waker()))
        && Here::node() != crate::scope::tree::NodeId::NONE
    {
        *registered = Some(current().register_foreign(cx.waker()));
    }
}
