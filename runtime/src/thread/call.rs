use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use async_channel::{Receiver, unbounded};
use futures_lite::Stream;

use super::from_thread::{Callback, Host, HostJob, Worker};
use super::pool::{CALLS, NAME};
use crate::cause::Cancelled;
use crate::checkpoint;
use crate::error::Result;
use crate::executor::{Core, Foreign, Here, current, runtime_handle, watch};
use crate::scope::Hold;
use crate::sync::{CapacityLimiter, LimiterToken};

/// How many calls of a runtime run at once, unless it is said otherwise.
pub const DEFAULT_LIMIT: usize = 40;

/// Runs a blocking function in a thread of the pool. A checkpoint.
///
/// When the scope is cancelled meanwhile, the call is waited for nevertheless, and what it gives
/// is the result.
///
/// # Errors
///
/// [`Cancelled`] if the scope was before the function was begun; then it was not run. That there is
/// no thread for it.
///
/// # Panics
///
/// When `f` does.
pub async fn run_sync<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    Call::new().run(f).await
}

/// What limits the calls of this runtime that name no limiter of their own.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn default_limiter() -> CapacityLimiter {
    let core = current();
    let limiter = core
        .thread_limiter
        .get_or_init(|| CapacityLimiter::new(DEFAULT_LIMIT));
    limiter.clone()
}

/// How to run a blocking function in a thread.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{move_on_after, run, thread};
///
/// let outcome = run(async || {
///     let nap = || std::thread::sleep(Duration::from_millis(50));
///     let call = thread::Call::new().abandon_on_cancel(true).run(nap);
///     move_on_after(Duration::from_millis(1), call).await
/// });
/// assert!(outcome.unwrap().timed_out());
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a call does nothing until it is run"]
pub struct Call {
    abandon: bool,
    limiter: Option<CapacityLimiter>,
    name: Option<String>,
}

impl Call {
    /// As [`run_sync`] does it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a cancellation is not to wait for the function. It then goes on, and what it gives
    /// is discarded; it counts against its limiter until it is done.
    pub fn abandon_on_cancel(mut self, abandon: bool) -> Self {
        self.abandon = abandon;
        self
    }

    /// What limits how many such calls run at once.
    pub fn limiter(mut self, limiter: &CapacityLimiter) -> Self {
        self.limiter = Some(limiter.clone());
        self
    }

    /// What the thread is called meanwhile. The system keeps 15 bytes of it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Runs `f` in a thread of the pool. A checkpoint.
    ///
    /// If this future is dropped before it is done, the function is abandoned.
    ///
    /// # Errors
    ///
    /// Those of [`run_sync`]; [`Cancelled`] also later if the call may be abandoned.
    ///
    /// # Panics
    ///
    /// When `f` does.
    pub async fn run<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        checkpoint().await?;
        let limiter = self.limiter.unwrap_or_else(default_limiter);
        let token = limiter.acquire_on_behalf_of("a call in a thread").await?;
        let cancelled = Arc::new(OnceLock::new());
        let (result, done) = async_channel::bounded(1);
        let (host, calls) = if self.abandon {
            (Host::Runtime(runtime_handle()), None)
        } else {
            let (sender, calls) = unbounded();
            (Host::Task(sender), Some(Box::pin(calls)))
        };
        let worker = Worker {
            runtime: runtime_handle(),
            host,
            cancelled: cancelled.clone(),
        };
        let name = self.name;
        CALLS.call(move || {
            let ended = {
                let _named = name.as_deref().map(Named::new);
                catch_unwind(AssertUnwindSafe(|| worker.enter(f)))
            };
            move || drop(result.try_send(ended))
        })?;
        let core = current();
        let waiting = Waiting {
            outside: Some(Outside::new(core.clone())),
            core,
            done: Box::pin(done),
            calls,
            callback: None,
            hold: None,
            foreign: None,
            cancelled,
            token: Some(token),
        };
        match waiting.await? {
            Ok(value) => Ok(value),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// The task that waits for a call, and runs what that calls back.
struct Waiting<T: Send + 'static> {
    core: Rc<Core>,
    done: Pin<Box<Receiver<std::thread::Result<T>>>>,
    /// What the function calls back; `None` if it may be abandoned.
    calls: Option<Pin<Box<Receiver<HostJob>>>>,
    callback: Option<Callback>,
    hold: Option<Hold>,
    foreign: Option<Foreign>,
    cancelled: Arc<OnceLock<Cancelled>>,
    /// Kept until the function is done.
    token: Option<LimiterToken>,
    outside: Option<Outside>,
}

impl<T: Send + 'static> Future for Waiting<T> {
    type Output = std::result::Result<std::thread::Result<T>, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.calls.is_some() {
            let hold = this
                .hold
                .get_or_insert_with(|| Hold::here(this.core.clone()));
            hold.follow();
        }
        if Here::is_cancelled() {
            let _ = this.cancelled.set(this.core.cancelled_here());
        }
        loop {
            if let Some(callback) = &mut this.callback {
                if callback.as_mut().poll(cx).is_pending() {
                    break;
                }
                this.callback = None;
                this.outside = Some(Outside::new(this.core.clone()));
            }
            if let Poll::Ready(result) = this.done.as_mut().poll_next(cx) {
                this.token = None;
                this.hold = None;
                return Poll::Ready(Ok(result.expect("a call in a thread ends with a result")));
            }
            match this
                .calls
                .as_mut()
                .map(|calls| calls.as_mut().poll_next(cx))
            {
                Some(Poll::Ready(Some(call))) => {
                    this.callback = Some(call());
                    // The thread waits for us now, and not we for it.
                    this.outside = None;
                }
                _ => break,
            }
        }
        if this.calls.is_none() && Here::is_cancelled() {
            return Poll::Ready(Err(this.core.cancelled_here()));
        }
        watch(&mut this.foreign, cx);
        Poll::Pending
    }
}

impl<T: Send + 'static> Drop for Waiting<T> {
    /// The function is abandoned if it is not done. It keeps its token.
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let done = std::mem::replace(&mut self.done, Box::pin(async_channel::bounded(1).1));
            self.core.spawn_system(async move {
                let _ = done.recv().await;
                drop(token);
            });
        }
    }
}

/// While there is one, a virtual clock does not jump: what a thread brings may be due before.
struct Outside(Rc<Core>);

impl Outside {
    fn new(core: Rc<Core>) -> Self {
        core.in_threads.set(core.in_threads.get() + 1);
        Self(core)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.in_threads.set(self.0.in_threads.get() - 1);
    }
}

/// This thread has another name until this is dropped.
struct Named;

impl Named {
    fn new(name: &str) -> Self {
        set_name(name);
        Self
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        set_name(NAME);
    }
}

/// The system keeps 15 bytes, and nothing behind a zero.
#[cfg(target_os = "linux")]
fn set_name(name: &str) {
    let mut kept = Vec::new();
    for c in name.chars().filter(|&c| c != '\0') {
        if kept.len() + c.len_utf8() > 15 {
            break;
        }
        kept.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    let _ = std::ffi::CString::new(kept).map(|name| rustix::thread::set_name(&name));
}

#[cfg(not(target_os = "linux"))]
fn set_name(_: &str) {}
