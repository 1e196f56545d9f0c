//! Back into the runtime, from a function that it runs in a thread.
//!
//! What such a function calls back runs in the very task that waits for it, and so in the scopes
//! of that task. If the function [may be abandoned](super::Call::abandon_on_cancel), that task may be
//! gone; then it runs outside of any task, or in one of its own that ends with the runtime.

use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use async_channel::Sender;
use futures_lite::FutureExt;

use super::handle::{answer, may_block};
use crate::cancellable;
use crate::cause::Cancelled;
use crate::error::Result;
use crate::executor::{Core, RunFinished, RuntimeHandle, current};

/// Runs a function on the runtime's thread, and blocks this one meanwhile. What it calls is never
/// cancelled, as it cannot wait.
///
/// # Errors
///
/// [`RunFinished`] if the runtime is over, or the task that waited is gone; `f` was not run then.
///
/// # Panics
///
/// In any thread that does not run a function for a runtime; and when `f` panics.
pub fn run_sync<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, RunFinished> {
    match host() {
        Host::Runtime(runtime) => runtime.run_sync(f),
        Host::Task(task) => {
            let (reply, answer) = answer();
            let job: HostJob = Box::new(move || {
                reply.with(f);
                Box::pin(std::future::ready(()))
            });
            task.try_send(job).map_err(|_| RunFinished::new())?;
            answer.wait()
        }
    }
}

/// Runs an async function on the runtime's thread, and blocks this one until it is done.
///
/// # Errors
///
/// Those of `f`, a cancellation of the task that waits among them. [`RunFinished`] if the runtime is
/// over, or the task that waited is gone.
///
/// # Panics
///
/// In any thread that does not run a function for a runtime; and when `f` panics.
pub fn run<T: Send + 'static>(f: impl AsyncFnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match host() {
        Host::Runtime(runtime) => runtime.run(async || {
            let _inside = Inside::new();
            f().await
        }),
        Host::Task(task) => {
            let (reply, answer) = answer();
            let job: HostJob = Box::new(move || {
                Box::pin(async move {
                    let work = cancellable(async { f().await });
                    let result = AssertUnwindSafe(work).catch_unwind().await;
                    reply.send(result.map(|result| result?));
                })
            });
            task.try_send(job).map_err(|_| RunFinished::new())?;
            answer.wait()?
        }
    }
}

/// Whether the task that waits for this function has been cancelled. Does not block.
///
/// # Errors
///
/// [`Cancelled`] if it has, for the function to end with.
///
/// # Panics
///
/// In any thread that does not run a function for a runtime.
pub fn check_cancelled() -> std::result::Result<(), Cancelled> {
    with_worker(|worker| match worker.cancelled.get() {
        Some(cancelled) => Err(cancelled.clone()),
        None => Ok(()),
    })
}

/// A handle to the runtime that this function runs for.
///
/// # Panics
///
/// In any thread that does not run a function for a runtime.
pub fn handle() -> RuntimeHandle {
    with_worker(|worker| worker.runtime.clone())
}

/// The thread of a call waits for the runtime, and is not to be waited for by a virtual clock.
struct Inside(Rc<Core>);

impl Inside {
    fn new() -> Self {
        let core = current();
        core.in_threads.set(core.in_threads.get() - 1);
        Self(core)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.in_threads.set(self.0.in_threads.get() + 1);
    }
}

/// What the function in this thread may know of who waits for it.
pub(super) struct Worker {
    pub(super) runtime: RuntimeHandle,
    pub(super) host: Host,
    pub(super) cancelled: Arc<OnceLock<Cancelled>>,
}

/// Where that which is called back runs.
#[derive(Clone)]
pub(super) enum Host {
    Task(Sender<HostJob>),
    Runtime(RuntimeHandle),
}

/// What is called back, before and after it has come to the runtime's thread.
pub(super) type HostJob = Box<dyn FnOnce() -> Callback + Send>;
pub(super) type Callback = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

impl Worker {
    /// Runs `f` as the function that somebody waits for.
    pub(super) fn enter<T>(self, f: impl FnOnce() -> T) -> T {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                drop(WORKER.take());
            }
        }
        WORKER.set(Some(self));
        let _leave = Leave;
        f()
    }
}

#[track_caller]
fn host() -> Host {
    may_block();
    with_worker(|worker| worker.host.clone())
}

#[track_caller]
fn with_worker<R>(f: impl FnOnce(&Worker) -> R) -> R {
    WORKER.with_borrow(|worker| {
        let worker = worker.as_ref();
        f(worker.expect("this thread runs no function for a tractor runtime"))
    })
}
