use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::frame::{Frame, Link};
use crate::cause::Cancelled;
use crate::error::Result;
use crate::executor::current;

/// Runs `work` hidden from every cancellation around it, for as long as it takes.
///
/// That is what it costs: whoever cancels waits until `work` is done, and for ever if this future
/// is leaked after it was polled. Where `work` may be long, use [`shield_for`].
#[track_caller]
pub fn shield<F: Future>(work: F) -> Shield<F> {
    Shield {
        frame: Frame::new(work),
        location: Location::caller(),
    }
}

/// Runs `work` hidden from every cancellation around it for `limit` from now. After that it is
/// cancelled like everything else, if the scope around it is.
///
/// # Errors
///
/// [`Cancelled`] if `work` was still pending when it was, and has been dropped.
#[track_caller]
pub fn shield_for<F: Future>(limit: Duration, work: F) -> ShieldFor<F> {
    ShieldFor {
        frame: Frame::new(work),
        limit,
        location: Location::caller(),
    }
}

/// Runs `work` as a frame of its own: when the scope around is cancelled and `work` is still
/// pending after it had the chance to see that, only `work` is dropped.
///
/// # Errors
///
/// [`Cancelled`] if it was.
#[track_caller]
pub fn cancellable<F: Future>(work: F) -> Cancellable<F> {
    Cancellable {
        frame: Frame::new(work),
        location: Location::caller(),
    }
}

/// Runs `work`, and then `cleanup` in any case but a panic: also if `work` failed, was cancelled,
/// or had to be dropped by a cancellation. The cleanup is shielded for `limit`.
///
/// If a foreign combinator drops this future, `cleanup` does not run.
///
/// # Errors
///
/// Those of `work`. A cleanup that had to be dropped when `limit` was over is logged.
pub async fn finally<T>(
    work: impl Future<Output = Result<T>>,
    limit: Duration,
    cleanup: impl AsyncFnOnce(),
) -> Result<T> {
    let result = cancellable(work).await;
    if let Err(cancelled) = shield_for(limit, cleanup()).await {
        log::warn!(target: "tractor::scope", "a cleanup did not end within {limit:?}: {cancelled}");
    }
    result?
}

pin_project! {
    /// The future of [`shield`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Shield<F> {
        #[pin]
        frame: Frame<F>,
        location: &'static Location<'static>,
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let location = *this.location;
        let mut frame = this.frame;
        let polled = frame.as_mut().poll(cx, || {
            let link = Link::open(current(), location);
            link.core
                .change(|tree, woken| tree.set_shield(link.node, true, woken));
            link
        });
        polled.map(|result| {
            frame.close();
            result.expect("a shield that nobody can cancel was cancelled")
        })
    }
}

pin_project! {
    /// The future of [`shield_for`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct ShieldFor<F> {
        #[pin]
        frame: Frame<F>,
        limit: Duration,
        location: &'static Location<'static>,
    }
}

impl<F: Future> Future for ShieldFor<F> {
    type Output = std::result::Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (location, limit) = (*this.location, *this.limit);
        let mut frame = this.frame;
        let polled = frame.as_mut().poll(cx, || {
            let link = Link::open(current(), location);
            let until = link.core.now() + limit;
            link.core
                .change(|tree, woken| tree.shield_until(link.node, until, woken));
            link
        });
        polled.map(|result| {
            frame.close();
            result
        })
    }
}

pin_project! {
    /// The future of [`cancellable`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Cancellable<F> {
        #[pin]
        frame: Frame<F>,
        location: &'static Location<'static>,
    }
}

impl<F: Future> Future for Cancellable<F> {
    type Output = std::result::Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let location = *this.location;
        let mut frame = this.frame;
        let polled = frame.as_mut().poll(cx, || Link::open(current(), location));
        polled.map(|result| {
            frame.close();
            result
        })
    }
}
