use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Actor;

thread_local! {
    /// The actor whose tasks are being polled. Several may take turns on one thread.
    static CURRENT: RefCell<Option<Rc<Actor>>> = const { RefCell::new(None) };
}

pub(super) fn current() -> Option<Rc<Actor>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Polls `work` as the work of `actor`, and drops it so.
pub(super) fn within<F: Future>(actor: Rc<Actor>, work: F) -> Within<F> {
    Within {
        actor,
        work: Some(Box::pin(work)),
    }
}

pub(super) struct Within<F> {
    actor: Rc<Actor>,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = Entered::new(self.actor.clone());
        let work = self.work.as_mut().expect("it is there until it is dropped");
        work.as_mut().poll(cx)
    }
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        let _entered = Entered::new(self.actor.clone());
        self.work = None;
    }
}

/// Puts back what was before when dropped, also while a panic passes.
struct Entered {
    before: Option<Rc<Actor>>,
}

impl Entered {
    fn new(actor: Rc<Actor>) -> Self {
        Self {
            before: CURRENT.replace(Some(actor)),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}
