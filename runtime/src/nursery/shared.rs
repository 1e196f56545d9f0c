use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::task::{Place, TaskHandle, told};
use crate::cause::CancelCause;
use crate::error::Result;
use crate::executor::Leaf;

impl<'scope, T: Clone> TaskHandle<'scope, T> {
    /// Makes it a handle that can be cloned, for several tasks to await one value.
    ///
    /// This is how to share a future: an operation of the runtime belongs to the scope of whoever
    /// polls it, so a future that is polled by several tasks in turn would be cancelled with any of
    /// them. As a child it is in the scope of its nursery, and whoever awaits it can be cancelled
    /// without harm to it.
    ///
    /// ```
    /// use tractor_runtime::{nursery, run};
    ///
    /// run(async || {
    ///     nursery(async |n| {
    ///         let answer = n.start_soon(async { Ok(42) }).shared();
    ///         for _ in 0..3 {
    ///             let answer = answer.clone();
    ///             n.start_soon(async move { Ok(assert_eq!(answer.await?, 42)) });
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// })
    /// # .unwrap();
    /// ```
    pub fn shared(self) -> SharedTask<'scope, T> {
        SharedTask {
            shared: Rc::new(Shared {
                handle: self,
                result: RefCell::new(None),
            }),
            place: None,
            leaf: Leaf::default(),
        }
    }
}

/// A [`TaskHandle`] that several tasks may await. Made by [`TaskHandle::shared`].
///
/// As a future it is a checkpoint that gives a clone of the value of the child. Dropping the last
/// one changes nothing for the child.
///
/// # Errors
///
/// Those of awaiting a [`TaskHandle`].
pub struct SharedTask<'scope, T> {
    shared: Rc<Shared<'scope, T>>,
    place: Place,
    leaf: Leaf,
}

struct Shared<'scope, T> {
    handle: TaskHandle<'scope, T>,
    result: RefCell<Option<Result<T>>>,
}

impl<T> SharedTask<'_, T> {
    /// Cancels the child, for all who await it. Its nursery and its siblings go on.
    #[track_caller]
    pub fn cancel(&self) {
        self.shared.handle.cancel();
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        self.shared.handle.cancel_because(cause);
    }

    /// Whether the child has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.shared.handle.is_finished()
    }
}

impl<T> Clone for SharedTask<'_, T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            place: None,
            leaf: Leaf::default(),
        }
    }
}

impl<T: Clone> Future for SharedTask<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Self {
            shared,
            place,
            leaf,
        } = self.get_mut();
        let polled = leaf.poll(cx, |cx| {
            if shared.result.borrow().is_none() {
                match shared.handle.poll_end(place, cx) {
                    Poll::Ready(result) => shared.result.replace(Some(result)),
                    Poll::Pending => return Poll::Pending,
                };
            }
            let result = shared.result.borrow();
            Poll::Ready(result.clone().expect("set above"))
        });
        polled.map(|result| told(result?))
    }
}

impl<T> Unpin for SharedTask<'_, T> {}

impl<T> Drop for SharedTask<'_, T> {
    fn drop(&mut self) {
        self.shared.handle.leave(&mut self.place);
    }
}

impl<T> fmt::Debug for SharedTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedTask")
            .field(&self.shared.handle)
            .finish()
    }
}
