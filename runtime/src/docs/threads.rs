//! Threads: blocking calls, work for other processors, and ways back.
//!
//! A runtime is one thread, and whatever blocks it blocks every task in it. What has to block, and
//! what computes for long, belongs in another thread.
//!
//! # Blocking calls
//!
//! [`thread::run_sync`](crate::thread::run_sync) runs a function in a thread and waits for what it gives:
//!
//! ```
//! use tractor_runtime::{run, thread};
//!
//! let hosts = run(async || Ok(thread::run_sync(|| std::fs::read_to_string("/etc/hosts")).await??));
//! assert!(hosts.is_ok());
//! ```
//!
//! The first `?` is for the call: it was cancelled before it began, or there was no thread. The
//! second one is the function's own.
//!
//! # Cancellation
//!
//! A thread cannot be cut short. So when the scope of a call is cancelled, there are two ways:
//!
//! * The call is waited for, and what the function gives is the result. This is what happens unless
//!   you say otherwise: nothing that you started goes on behind your back. A function that takes
//!   long should look whether it is still wanted, with
//!   [`check_cancelled`](crate::thread::from_thread::check_cancelled), and return the error, which is the
//!   cancellation that the scope then absorbs.
//! * The call is abandoned, if you [allowed that](crate::thread::Call::abandon_on_cancel): it answers
//!   [`Cancelled`](crate::Cancelled) at once, the function goes on, and what it gives is dropped. This is
//!   for functions that nobody can hurry and whose end does no harm, like asking the resolver.
//!
//! A future that is dropped, by a `select!` say, abandons its call in any case.
//!
//! # Limits
//!
//! Threads are cheap, but not free. Every call takes a token of a
//! [`CapacityLimiter`](crate::sync::CapacityLimiter) first: of the runtime's
//! [own](crate::thread::default_limiter), with 40 of them, or of one that you give for calls of a kind. A call
//! that was abandoned keeps its token until its function is really done, so that there are never
//! more threads than the limiter says.
//!
//! # The way back
//!
//! A function in a thread can have something done by the runtime, and waits for it:
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{Result, run, thread, thread::from_thread, time::sleep};
//!
//! let answer = run(async || {
//!     thread::run_sync(|| -> Result<u32> {
//!         let half = from_thread::run(async || {
//!             sleep(Duration::from_millis(1)).await?;
//!             Ok(21)
//!         })?;
//!         Ok(half * 2)
//!     })
//!     .await?
//! });
//! assert_eq!(answer.unwrap(), 42);
//! ```
//!
//! What is called back runs in the task that waits for the call, in its scopes: cancelled when they
//! are, and the thread gets the error. Only where the call may be abandoned, and the task may be
//! gone, it runs beside all tasks. A panic travels both ways.
//!
//! A thread that the runtime knows nothing of, of a library with callbacks perhaps, uses a
//! [`RuntimeHandle`](crate::RuntimeHandle): [`run_soon`](crate::RuntimeHandle::run_soon) from where it must
//! not block, [`run_sync`](crate::RuntimeHandle::run_sync) and [`run`](crate::RuntimeHandle::run) where it
//! may.
//!
//! # Work for other processors
//!
//! [`thread::spawn`](crate::thread::spawn) polls a `Send` future in threads of the pool, as many as there are processors.
//! Cancelled, the future is dropped there, and that is waited for. Nothing of this crate that
//! waits works inside of it; it is for heavy work, and for libraries that bring their own reactor.
//!
//! # In tests
//!
//! A [virtual clock](crate::testing::VirtualClock) does not jump while a thread works for a task, and does
//! when that thread waits for the runtime.
