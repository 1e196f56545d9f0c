//! How a task-like frame is polled: the main future, and the bodies and children of nurseries.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::waker::Key;
use super::{Core, Here};
use crate::cause::Cancelled;
use crate::scope::tree::{MayDrop, NodeId};

/// What came of polling a task-like frame.
pub(crate) enum Polled<T> {
    Pending,
    Ready(T),
    /// Cancelled before this poll began, and still pending with nothing that holds it.
    Cancelled(Cancelled),
    Panicked(Box<dyn Any + Send>),
}

/// Polls a task-like frame in its own place, with its own waker.
pub(crate) fn poll_task<T>(
    core: &Rc<Core>,
    key: Key,
    node: NodeId,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Polled<T> {
    let waker = key.waker();
    let mut cx = Context::from_waker(&waker);
    let cancelled = core.tree(|tree| tree.is_effective(node));
    if core.is_instrumented() {
        core.tell_of(key, node, |instrument, task| instrument.before_poll(task));
    }
    let (polled, operation) = {
        let _visit = Here::visit_task(node, key, cancelled);
        let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut cx)));
        (polled, Here::operation())
    };
    if let Ok(Poll::Pending) = polled {
        core.tree_mut(|tree| tree.set_operation(node, operation));
    }
    if core.is_instrumented() {
        core.tell_polled(key, node, matches!(polled, Ok(Poll::Pending)));
    }
    match polled {
        Err(panic) => Polled::Panicked(panic),
        Ok(Poll::Ready(value)) => Polled::Ready(value),
        Ok(Poll::Pending) if !cancelled => Polled::Pending,
        Ok(Poll::Pending) => match core.may_drop(node) {
            MayDrop::Yes => Polled::Cancelled(core.cancelled_at(node)),
            MayDrop::NextBatch => {
                core.wake(key);
                Polled::Pending
            }
            MayDrop::Held => Polled::Pending,
        },
    }
}
