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
//! * [`RuntimeHandle`]: from other threads.
//! * [`dump`], [`statistics`], [`Instrument`]: what there is, and what happens.
//! * [`race`], [`first_ok`], [`gather`], [`join_all`]: several futures at once; [`CancelToken`]: one
//!   cancellation for many places.
//! * [`Cancelled`], [`CancelCause`], [`Outcome`], [`Error`]: what came of it.
//! * [`time`], [`sync`], [`io`], [`net`], [`fs`], [`process`], [`signals`]: operations that
//!   wait.
//! * [`thread`]: blocking calls and `Send` futures off this thread, and back.
//! * [`testing`]: virtual time and deterministic order.
//! * [`docs`]: a guide, by topic, and [where to find what you know from trio](docs::trio).
//!
//! # Checkpoints
//!
//! An operation that is a *checkpoint* is a cancel point: if the scope is cancelled before its
//! first attempt, it answers [`Cancelled`] and has had no effect; afterwards a result that is there
//! beats a cancellation. It is also a schedule point: a task that never has to wait yields to the
//! others after every 128 operations. [The list of all operations](docs::checkpoints) says which are,
//! and what is true after each was cancelled.
//!
//! # Guarantees
//!
//! * **No child outlives its nursery.** When a nursery's future is done or has been dropped, every
//!   child has ended and its future has been dropped. If the nursery's future is leaked instead, its
//!   children are never polled again, so what they borrow is safe.
//! * **Level-triggered.** While a scope is cancelled, every checkpoint in it says so, however often
//!   that was swallowed.
//! * **Two chances.** A task, body or scope that was cancelled is polled once more; what is still
//!   pending then, and is held by no shield, unfinished nursery or operation that must finish, is
//!   dropped, and the code around it gets [`Cancelled`]. A loop that swallows cancellations is
//!   stopped after 1,024 of them in one poll.
//! * **The outermost scope absorbs.** A cancellation ends at the outermost cancelled scope that can
//!   be seen from where it was told; scopes further in pass it on. Other errors pass everywhere.
//! * **The first cause stays.** It flows down unchanged to everything below.
//! * **Nothing is lost.** An item or a wake-up that was handed to a waiter that is then cancelled
//!   goes to the next one.
//! * **Never early.** A sleep or timeout never ends before its time, by the clock of its runtime.
//! * **Equal seeds, equal orders.** A test that does no real I/O repeats exactly.
//!
//! # What it does not do
//!
//! It does not spread tasks over threads: a runtime is one thread, which is why tasks may borrow,
//! and share without locks. It has no detached tasks: what is to outlive a function is started in
//! a nursery that was passed to it, or through a [`NurseryHandle`]. It does not abort a task in
//! the middle of code that does not yield; [`check_cancelled`] is for such code to ask.
//!
//! Combinators of other crates that drop futures (`select!`) work, but what they drop gets no chance
//! to clean up; cancel a scope instead.
//!
//! Polling nested futures nests calls, as everywhere in Rust. A level of nested scopes takes about
//! 0.5 KiB of stack in a release build and a level of nested nurseries 1 KiB; four times that in a
//! debug build. Cancelling, deadlines and taking the tree down do not recurse.
//!
//! # Cookbook
//!
//! Clean up, also when cancelled, but not for ever:
//!
//! ```
//! # use std::time::Duration;
//! # use tractor_runtime::{Result, finally, run, time::sleep};
//! # async fn say_goodbye() -> Result<()> { Ok(sleep(Duration::from_millis(1)).await?) }
//! # run(async || {
//! let work = async { Ok(sleep(Duration::from_millis(2)).await?) };
//! finally(work, Duration::from_secs(1), async || {
//!     if let Err(error) = say_goodbye().await {
//!         eprintln!("left without a goodbye: {error}");
//!     }
//! })
//! .await
//! # }).unwrap();
//! ```
//!
//! The first of several answers, with the others cancelled and gone:
//!
//! ```
//! # use std::time::Duration;
//! # use tractor_runtime::{race, run, time::sleep};
//! # let first = run(async || {
//! let first = race([5, 1, 3].map(|wait| async move {
//!     sleep(Duration::from_millis(wait)).await?;
//!     Ok(wait)
//! }))
//! .await?;
//! # Ok(first)
//! # }).unwrap();
//! # assert_eq!(first, 1);
//! ```
//!
//! A helper that is ready when `start` returns, and ends with the block:
//!
//! ```
//! # use std::rc::Rc;
//! # use tractor_runtime::{nursery, run, sync::Event};
//! # run(async || {
//! nursery(async |n| {
//!     let stop = n
//!         .start(async |status| {
//!             let stop = Rc::new(Event::new());
//!             status.started(stop.clone());
//!             Ok(stop.wait().await?)
//!         })
//!         .await?;
//!     stop.set();
//!     Ok(())
//! })
//! .await
//! # }).unwrap();
//! ```
//!
//! An hour in a test:
//!
//! ```
//! # use std::time::Duration;
//! use tractor_runtime::{testing, time::{now, sleep}};
//!
//! testing::run(async || {
//!     let start = now();
//!     sleep(Duration::from_secs(3600)).await?;
//!     assert_eq!(now() - start, Duration::from_secs(3600));
//!     Ok(())
//! })
//! # .unwrap();
//! ```

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("tractor-runtime supports 64-bit Unix systems only: its wakers are 64-bit integers");

mod cause;
mod combine;
pub mod docs;
mod error;
mod executor;
pub mod fs;
mod host;
pub mod io;
pub mod net;
mod nursery;
pub mod process;
mod reactor;
mod scope;
pub mod signals;
pub mod sync;
pub mod testing;
pub mod thread;
pub mod time;

pub use cause::{CancelCause, CancelKind, Cancelled, Origin, Peer};
pub use combine::{
    CancelToken, Competitors, First, Linked, NoCompetitors, first_ok, gather, gather_limited,
    join_all, race, wait_any,
};
pub use error::{Error, ErrorId, Leaves, Result};
pub use executor::{
    Dump, DumpEntry, DumpKind, EventLog, Instrument, RunFinished, RuntimeHandle, Statistics,
    TaskId, TaskInfo, TaskState, Trigger, Watchdog, add_instrument, current_task, dump,
    remove_instrument, runtime_handle, statistics,
};
pub use host::{Guest, Progress, Runtime, RuntimeBuilder, in_runtime, run};
pub use nursery::{
    ChildCancelled, ChildOptions, ChildPanicked, Gone, NotStarted, Nursery, NurseryClosed,
    NurseryHandle, NurseryOptions, SharedTask, TaskHandle, TaskStatus, nursery,
};
pub use scope::{
    CancelScope, Cancellable, Checkpoint, CheckpointIfCancelled, EffectiveDeadline, FailAfter,
    Outcome, RunVar, ScopeHandle, Scoped, Shield, ShieldFor, ShieldedCheckpoint, Stopping, TooSlow,
    TreeVar, TreeVarScope, UntilStopping, cancel_shielded_checkpoint, cancellable, check_cancelled,
    checkpoint, checkpoint_if_cancelled, current_effective_deadline, fail_after, fail_at, finally,
    is_stopping, move_on_after, move_on_at, shield, shield_for, stopping, until_stopping,
};
