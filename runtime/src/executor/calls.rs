//! Functions that other threads have run on the thread of a runtime.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{current, waker};

/// A handle to a runtime for any thread, to have functions run on the runtime's own.
///
/// Clones are of the same runtime, and equal. Does not keep the runtime alive.
///
/// ```
/// use std::thread;
/// use tractor_runtime::{run, runtime_handle, time::sleep_forever, move_on_after};
///
/// # use std::{sync::mpsc, time::Duration};
/// run(async || {
///     let handle = runtime_handle();
///     let (sender, receiver) = mpsc::channel();
///     thread::spawn(move || handle.run_soon(move || sender.send(thread::current().id())));
///     while receiver.try_recv() != Ok(thread::current().id()) {
///         move_on_after(Duration::from_millis(1), async { Ok(sleep_forever().await?) }).await?;
///     }
///     Ok(())
/// })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct RuntimeHandle {
    calls: Arc<Calls>,
}

/// What other threads want a runtime to call.
pub(crate) struct Calls {
    executor: u16,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Call>,
    closed: bool,
}

pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// What is posted to the mailbox of a runtime that is to look at its calls: the key of no slot.
pub(crate) const LOOK: u64 = 0;

/// A handle to the runtime that this code runs in.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn runtime_handle() -> RuntimeHandle {
    RuntimeHandle::new(current().calls.clone())
}

impl RuntimeHandle {
    pub(crate) fn new(calls: Arc<Calls>) -> Self {
        Self { calls }
    }

    /// Has `call` run on the runtime's thread, between the polls of tasks: in the order of these
    /// calls, never from inside this one, and once. It runs in no task and no scope.
    ///
    /// Once this answered `Ok`, the call is made: also if the main future has ended meanwhile.
    /// A call that panics cancels the main task, and the panic goes on in [`run`](crate::run).
    ///
    /// # Errors
    ///
    /// [`RunFinished`] if the runtime is gone or about to go. `call` is dropped.
    pub fn run_soon<R>(
        &self,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> Result<(), RunFinished> {
        let call: Call = Box::new(move || drop(call()));
        let refused = {
            let mut queue = self.calls.lock();
            if queue.closed {
                Some(call)
            } else {
                queue.calls.push_back(call);
                None
            }
        };
        // Dropped with nothing locked: it is foreign code.
        if refused.is_some() {
            return Err(RunFinished { _private: () });
        }
        waker::post(self.calls.executor, LOOK);
        Ok(())
    }

    /// Something that has `call` run as [`run_soon`](Self::run_soon) does, but once only for
    /// however many times it was fired before that.
    pub fn trigger<R>(&self, call: impl Fn() -> R + Send + Sync + 'static) -> Trigger {
        Trigger {
            handle: self.clone(),
            shared: Arc::new(Shared {
                pending: AtomicBool::new(false),
                call: Box::new(move || drop(call())),
            }),
        }
    }

    /// Whether the runtime takes no more calls.
    pub fn is_finished(&self) -> bool {
        self.calls.lock().closed
    }
}

impl PartialEq for RuntimeHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.calls, &other.calls)
    }
}

impl Eq for RuntimeHandle {}

impl fmt::Debug for RuntimeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// A function that any thread may have run on a runtime's, any number of times; those that come
/// before it ran count once. Made by [`RuntimeHandle::trigger`]. Clones are the same.
#[derive(Clone)]
pub struct Trigger {
    handle: RuntimeHandle,
    shared: Arc<Shared>,
}

struct Shared {
    /// Whether the call is queued and has not begun.
    pending: AtomicBool,
    call: Box<dyn Fn() + Send + Sync>,
}

impl Trigger {
    /// Has the function run soon, unless it is about to be anyway.
    ///
    /// # Errors
    ///
    /// [`RunFinished`] as for [`RuntimeHandle::run_soon`].
    pub fn fire(&self) -> Result<(), RunFinished> {
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let shared = self.shared.clone();
        let queued = self.handle.run_soon(move || {
            shared.pending.store(false, Ordering::Release);
            (shared.call)();
        });
        if queued.is_err() {
            self.shared.pending.store(false, Ordering::Release);
        }
        queued
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger")
            .field("pending", &self.shared.pending.load(Ordering::Acquire))
            .finish_non_exhaustive()
    }
}

/// The runtime is gone, or about to go, and makes no more calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFinished {
    _private: (),
}

impl RunFinished {
    pub(crate) fn new() -> Self {
        Self { _private: () }
    }
}

impl fmt::Display for RunFinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime has finished")
    }
}

impl std::error::Error for RunFinished {}

impl Calls {
    pub(crate) fn new(executor: u16) -> Arc<Self> {
        Arc::new(Self {
            executor,
            queue: Mutex::default(),
        })
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().calls.len()
    }

    pub(crate) fn take(&self) -> Option<Call> {
        self.lock().calls.pop_front()
    }

    /// Refuses further calls.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
