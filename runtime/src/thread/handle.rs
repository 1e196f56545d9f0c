//! Threads that wait for what a runtime does for them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;

use crate::error::Result;
use crate::executor::{RunFinished, RuntimeHandle, current};
use crate::in_runtime;

impl RuntimeHandle {
    /// Runs `f` on the runtime's thread, outside of any task, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// [`RunFinished`]; then `f` was not run.
    ///
    /// # Panics
    ///
    /// In a runtime, which would wait for itself; and when `f` panics.
    pub fn run_sync<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, RunFinished> {
        may_block();
        let (reply, answer) = answer();
        self.run_soon(move || reply.with(f))?;
        answer.wait()
    }

    /// Runs an async function on the runtime's thread, as a task of its own, and blocks this
    /// thread meanwhile. No scope is around it; it ends with the runtime.
    ///
    /// # Errors
    ///
    /// Those of `f`; [`RunFinished`] if the runtime ended first.
    ///
    /// # Panics
    ///
    /// In a runtime, which would wait for itself; and when `f` panics.
    pub fn run<T: Send + 'static>(
        &self,
        f: impl AsyncFnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        may_block();
        let (reply, answer) = answer();
        self.run_soon(move || {
            current().spawn_system(async move {
                let result = AssertUnwindSafe(async { f().await }).catch_unwind().await;
                reply.send(result);
            });
        })?;
        answer.wait()?
    }
}

/// Blocking here is for threads that are no runtime's.
#[track_caller]
pub(super) fn may_block() {
    assert!(
        !in_runtime(),
        "a thread that runs a tractor runtime would wait for itself here"
    );
}

/// Where a blocked thread is told what it waits for: a value, or a panic to go on with.
pub(super) fn answer<T>() -> (Reply<T>, Answer<T>) {
    let (reply, answer) = async_channel::bounded(1);
    (Reply(reply), Answer(answer))
}

pub(super) struct Reply<T>(Sender<std::thread::Result<T>>);

pub(super) struct Answer<T>(Receiver<std::thread::Result<T>>);

impl<T> Reply<T> {
    /// What `f` gives, or its panic.
    pub(super) fn with(self, f: impl FnOnce() -> T) {
        self.send(catch_unwind(AssertUnwindSafe(f)));
    }

    pub(super) fn send(self, result: std::thread::Result<T>) {
        let _ = self.0.try_send(result);
    }
}

impl<T> Answer<T> {
    pub(super) fn wait(self) -> std::result::Result<T, RunFinished> {
        match self.0.recv_blocking() {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(RunFinished::new()),
        }
    }
}
