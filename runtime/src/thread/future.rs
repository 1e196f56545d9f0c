use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_executor::Task;
use futures_lite::FutureExt;

use super::pool::FUTURES;
use crate::error::Result;
use crate::executor::{Foreign, Here, current, watch};
use crate::scope::Hold;

/// Polls a future in the threads of the pool until it is done, beside this runtime.
///
/// Nothing of this crate that waits works in it: there is no runtime there. It is meant for work
/// that is heavy, or of a library that brings what it needs.
///
/// Awaiting it is a checkpoint. When the scope is cancelled, the future is dropped as soon as it is
/// not being polled, and that is waited for; if it is done by then, its value is the result. Begun
/// at once, and dropped soon if this is dropped.
///
/// # Errors
///
/// That there is no thread for it. Awaiting gives [`Cancelled`](crate::Cancelled).
///
/// # Panics
///
/// Awaiting panics when the future does.
///
/// ```
/// use tractor_runtime::{run, thread};
///
/// let sum = run(async || thread::spawn(async { (1..=10).sum::<u32>() })?.await);
/// assert_eq!(sum.unwrap(), 55);
/// ```
pub fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> io::Result<Spawned<T>> {
    let task = FUTURES.spawn(AssertUnwindSafe(future).catch_unwind())?;
    Ok(Spawned {
        running: Running::Task(task),
        hold: None,
        foreign: None,
    })
}

/// A future in the threads of the pool. Made by [`spawn`].
#[must_use = "the future is dropped with this"]
#[derive(Debug)]
pub struct Spawned<T: 'static> {
    running: Running<T>,
    hold: Option<Hold>,
    foreign: Option<Foreign>,
}

type Ended<T> = std::thread::Result<T>;

enum Running<T: 'static> {
    Task(Task<Ended<T>>),
    /// It is being dropped.
    Ending(Pin<Box<dyn Future<Output = Option<Ended<T>>>>>),
    Over,
}

impl<T: 'static> Future for Spawned<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        loop {
            let ended = match &mut this.running {
                Running::Task(task) => match Pin::new(task).poll(cx) {
                    Poll::Ready(ended) => Some(ended),
                    Poll::Pending if Here::is_cancelled() => {
                        this.hold = Some(Hold::here(current()));
                        this.running = match std::mem::replace(&mut this.running, Running::Over) {
                            Running::Task(task) => Running::Ending(Box::pin(task.cancel())),
                            other => other,
                        };
                        continue;
                    }
                    Poll::Pending => {
                        watch(&mut this.foreign, cx);
                        return Poll::Pending;
                    }
                },
                Running::Ending(ending) => {
                    this.hold.iter_mut().for_each(Hold::follow);
                    match ending.as_mut().poll(cx) {
                        Poll::Ready(ended) => ended,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Running::Over => panic!("a future in threads was polled after it was done"),
            };
            this.running = Running::Over;
            this.hold = None;
            this.foreign = None;
            return Poll::Ready(match ended {
                Some(Ok(value)) => Ok(value),
                Some(Err(panic)) => resume_unwind(panic),
                None => Err(current().cancelled_here().into()),
            });
        }
    }
}

impl<T: 'static> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task(_) => "Task",
            Self::Ending(_) => "Ending",
            Self::Over => "Over",
        })
    }
}
