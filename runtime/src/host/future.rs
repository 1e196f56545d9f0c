use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Runtime;
use super::running::{Running, Step};
use crate::error::Result;
use crate::reactor::Alarm;

impl Runtime {
    /// The runtime as a future, for any executor: polled, it takes a turn. It needs neither a thread
    /// of its own nor anything else of the host, as `async-io` tells it of descriptors and time.
    ///
    /// Dropped before it is done, it drops its tasks at once, with nothing cancelled before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tractor_runtime::{Runtime, time::sleep};
    ///
    /// let guest = Runtime::builder().build().run_in(async || {
    ///     sleep(Duration::from_millis(1)).await?;
    ///     Ok(21)
    /// });
    /// let host = async_io::block_on(async { 2 * guest.await.unwrap() });
    /// assert_eq!(host, 42);
    /// ```
    ///
    /// # Errors
    ///
    /// The future gives those of `main`.
    ///
    /// # Panics
    ///
    /// The future panics when `main` does, and when it is polled again after it was done.
    #[track_caller]
    pub fn run_in<T>(
        self,
        main: impl AsyncFnOnce() -> Result<T>,
    ) -> impl Future<Output = Result<T>> {
        RunIn {
            running: Running::new(self, None, Location::caller(), || main()),
            alarm: Alarm::default(),
        }
    }
}

pin_project! {
    struct RunIn<F> {
        #[pin]
        running: Running<F>,
        alarm: Alarm,
    }
}

impl<T, F: Future<Output = Result<T>>> Future for RunIn<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.project();
        let (mut running, alarm) = (this.running, this.alarm);
        loop {
            match running.as_mut().turn(cx.waker()) {
                Step::Done(result) => return Poll::Ready(running.finish(result)),
                Step::More => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Idle(None) => {
                    alarm.unset();
                    return Poll::Pending;
                }
                Step::Idle(Some(when)) => {
                    if alarm.poll(when, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
