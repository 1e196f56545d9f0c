//! What code that opted in sees of a soft cancel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::cause::Cancelled;
use crate::executor::{Foreign, Here, Leaf, current, try_current, watch};

/// Waits until the current scope, or one around it that no shield hides, is asked to
/// [stop](crate::ScopeHandle::stop). A checkpoint, also if it was asked already.
///
/// # Errors
///
/// [`Cancelled`] if the scope is: also if it was asked to stop before, and the grace is over.
///
/// # Panics
///
/// When polled outside of a runtime.
pub fn stopping() -> Stopping {
    Stopping {
        leaf: Leaf::default(),
    }
}

/// Runs `work` until it is done, or until the current scope is asked to
/// [stop](crate::ScopeHandle::stop): then `work` is dropped where it waits, and the answer is
/// `None`. A value that is there already when the scope is asked is given.
///
/// Nothing is begun in a scope that was asked before: so a loop around this ends.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{CancelScope, checkpoint, nursery, run, sync::channel, until_stopping};
///
/// run(async || {
///     let scope = CancelScope::new();
///     let handle = scope.handle();
///     let (sender, receiver) = channel(8);
///     let served = scope
///         .run(async {
///             let mut served = 0;
///             while let Some(request) = until_stopping(receiver.recv()).await {
///                 request?; // it is served whole, also when the scope is asked to stop meanwhile
///                 served += 1;
///                 handle.stop(Duration::from_secs(5));
///                 checkpoint().await?;
///             }
///             Ok(served)
///         });
///     sender.try_send("one").unwrap();
///     sender.try_send("two").unwrap();
///     assert_eq!(served.await?.completed(), Some(1));
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// A cancellation is none of its business: `work` sees that itself.
///
/// # Panics
///
/// When polled outside of a runtime.
pub fn until_stopping<F: Future>(work: F) -> UntilStopping<F> {
    UntilStopping {
        work: Some(work),
        begun: false,
        foreign: None,
    }
}

/// Whether the current scope, or one around it that no shield hides, was asked to stop or is
/// cancelled. False outside of a runtime.
pub fn is_stopping() -> bool {
    Here::is_cancelled() || asked()
}

fn asked() -> bool {
    try_current().is_some_and(|core| core.tree(|tree| tree.is_stopping(Here::node())))
}

/// The future of [`stopping`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Stopping {
    leaf: Leaf,
}

impl Future for Stopping {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let core = current();
        self.get_mut().leaf.poll(cx, |_| {
            // Who is cancelled has no grace left, and must not be told otherwise.
            if !Here::is_cancelled() && core.tree(|tree| tree.is_stopping(Here::node())) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

pin_project! {
    /// The future of [`until_stopping`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct UntilStopping<F> {
        #[pin]
        work: Option<F>,
        begun: bool,
        foreign: Option<Foreign>,
    }
}

impl<F: Future> Future for UntilStopping<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let begun = std::mem::replace(this.begun, true);
        if begun || Here::is_cancelled() || !asked() {
            let work = this.work.as_mut().as_pin_mut();
            let work = work.expect("an `until_stopping` was polled after it was done");
            if let Poll::Ready(value) = work.poll(cx) {
                this.work.set(None);
                *this.foreign = None;
                return Poll::Ready(Some(value));
            }
            // Work that is cancelled has its own chance to end.
            if Here::is_cancelled() || !asked() {
                watch(this.foreign, cx);
                return Poll::Pending;
            }
        }
        this.work.set(None);
        *this.foreign = None;
        Poll::Ready(None)
    }
}
