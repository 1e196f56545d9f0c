use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::Actor;

thread_local! {
    /// The actor whose tasks are being polled. Several may take turns on one thread.
    static CURRENT: RefCell<Option<Rc<Actor>>> = const { RefCell::new(None) };
}

pub(super) fn current() -> Option<Rc<Actor>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Polls `work` as the work of `actor`.
pub(super) async fn within<F: Future>(actor: Rc<Actor>, work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| -> Poll<F::Output> {
        let _entered = Entered::new(actor.clone());
        work.as_mut().poll(cx)
    })
    .await
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
