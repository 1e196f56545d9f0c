//! Other threads: blocking calls and `Send` futures off the runtime's thread, and the way back in.
//!
//! [`run_sync`] runs a blocking function in a thread of a pool. Such a call cannot be cut short: when
//! its scope is cancelled it is waited for nevertheless, unless it was [allowed to be
//! abandoned](Call::abandon_on_cancel). The function can ask whether it should end with
//! [`from_thread::check_cancelled`], and call back into the runtime with [`from_thread::run`].
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{Result, move_on_after, run, thread, time::sleep};
//!
//! let outcome = run(async || {
//!     let work = thread::run_sync(|| -> Result<u64> {
//!         let mut rounds = 0;
//!         loop {
//!             // A piece of hard work, and then:
//!             thread::from_thread::check_cancelled()?;
//!             rounds += 1;
//!         }
//!     });
//!     move_on_after(Duration::from_millis(5), async { work.await? }).await
//! });
//! assert!(outcome.unwrap().timed_out());
//! ```
//!
//! How many calls run at once is limited: by the runtime's [`default_limiter`] of
//! [`DEFAULT_LIMIT`], or by a limiter that the call [names](Call::limiter). The threads are kept for
//! the next call, and end when they had nothing to do for 10 s.
//!
//! [`spawn`] polls a `Send` future in the pool until it is done.
//!
//! Threads that the runtime did not start use a [`RuntimeHandle`](crate::RuntimeHandle) to have it run
//! something.

mod call;
pub mod from_thread;
mod future;
mod handle;
mod pool;

pub use call::{Call, DEFAULT_LIMIT, default_limiter, run_sync};
pub use future::{Spawned, spawn};
pub use pool::{active_threads, wait_all_threads_completed};
