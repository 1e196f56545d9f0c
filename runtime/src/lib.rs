//! Cancel scopes and nurseries as part of a single-threaded executor.
//!
//! Tasks are children of a nursery, and may borrow from whatever surrounds it. Every operation
//! that waits is covered by the cancel scopes around it. When a scope is cancelled, the operations
//! under it answer [`Cancelled`], so that `?` unwinds and cleanup code runs; what is still pending
//! after that chance, and not shielded, is dropped. So a cancellation takes effect also on futures
//! that know nothing of scopes, and how long it takes depends on shields and on code that does not
//! yield, and on nothing else.
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{move_on_after, nursery, run, time::sleep};
//!
//! # fn main() -> tractor_runtime::Result<()> {
//! run(async || {
//!     let outcome = move_on_after(Duration::from_millis(20), nursery(async |n| {
//!         n.start_soon(async { Ok(sleep(Duration::from_millis(1)).await?) });
//!         n.start_soon(async { Ok(std::future::pending::<()>().await) });
//!         Ok(())
//!     }))
//!     .await?;
//!     assert!(outcome.timed_out());
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Overview
//!
//! * [`run`] and [`Runtime`]: the ways in.
//! * [`nursery`], [`Nursery`], [`TaskHandle`], [`NurseryHandle`]: tasks.
//! * [`CancelScope`], [`ScopeHandle`], [`move_on_after`], [`fail_after`], [`shield`],
//!   [`shield_for`], [`finally`]: cancellation.
//! * [`Cancelled`], [`CancelCause`], [`Outcome`], [`Error`]: what came of it.
//! * [`time`], [`sync`], [`io`], [`process`]: operations that wait.
//! * [`testing`]: virtual time and deterministic order.
//!
//! # Checkpoints
//!
//! An operation that is a *checkpoint* is a cancel point: if the scope is cancelled before its
//! first attempt, it answers [`Cancelled`] and has had no effect; afterwards a result that is there
//! beats a cancellation. It is also a schedule point: a task that never has to wait yields to the
//! others after every 128 operations.
//!
//! Stack: polling nested futures nests calls, as everywhere in Rust. A level of nested scopes takes
//! about 300 bytes in a release build, a level of nested nurseries about 1.5 KiB; ten times that
//! in a debug build.

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("tractor-runtime supports 64-bit Unix systems only: its wakers are 64-bit integers");

mod cause;
mod error;
mod executor;
mod host;
pub mod io;
mod nursery;
pub mod process;
mod reactor;
mod scope;
pub mod sync;
pub mod testing;
pub mod time;

pub use cause::{CancelCause, CancelKind, Cancelled, Peer};
pub use error::{Error, ErrorId, Leaves, Result};
pub use executor::{TaskId, current_task};
pub use host::{Runtime, RuntimeBuilder, in_runtime, run};
pub use nursery::{
    ChildCancelled, ChildPanicked, Gone, NotStarted, Nursery, NurseryClosed, NurseryHandle,
    NurseryOptions, TaskHandle, TaskStatus, nursery,
};
pub use scope::{
    CancelScope, Cancellable, Checkpoint, CheckpointIfCancelled, EffectiveDeadline, FailAfter,
    Outcome, ScopeHandle, Scoped, Shield, ShieldFor, ShieldedCheckpoint, TooSlow,
    cancel_shielded_checkpoint, cancellable, check_cancelled, checkpoint, checkpoint_if_cancelled,
    current_effective_deadline, fail_after, fail_at, finally, move_on_after, move_on_at, shield,
    shield_for,
};
