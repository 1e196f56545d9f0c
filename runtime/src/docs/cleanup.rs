//! Cleanup that waits, also when it is a cancellation that it cleans up after.
//!
//! In a cancelled scope every operation answers [`Cancelled`], and so does the farewell to the
//! other side. There are three ways to do it all the same.
//!
//! | | the cleanup runs | for how long |
//! | --- | --- | --- |
//! | [`finally`] | after the work, whatever became of that, but a panic | as long as its limit |
//! | [`shield_for`] | where it is awaited | as long as its limit, if the scope is cancelled |
//! | [`shield`] | where it is awaited | as long as it takes |
//!
//! Use [`finally`] where the work may be in a future that knows nothing of scopes: that is dropped
//! by a cancellation, and code behind it would not run.
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{finally, move_on_after, run, time::sleep};
//!
//! # run(async || {
//! let mut cleaned = false;
//! let work = std::future::pending::<tractor_runtime::Result<()>>();
//! let outcome = move_on_after(
//!     Duration::from_millis(1),
//!     finally(work, Duration::from_secs(5), async || {
//!         sleep(Duration::from_millis(1)).await.ok();
//!         cleaned = true;
//!     }),
//! )
//! .await?;
//! assert!(outcome.timed_out() && cleaned);
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! Whoever cancels waits for shields, and for nothing else but code that does not yield. So give
//! every shield a limit that its users can live with.
//!
//! What need not wait belongs in `Drop`: values are dropped in any case, also when a combinator of
//! another crate or a panic takes the future away. Files, sockets and locks of this crate need no
//! more than that.
//!
//! [`Cancelled`]: crate::Cancelled
//! [`finally`]: crate::finally
//! [`shield`]: crate::shield()
//! [`shield_for`]: crate::shield_for
