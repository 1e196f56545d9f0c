//! Deadlines, what comes of them, and work that must not be cut short.
//!
//! No operation has a timeout parameter. A timeout is a scope around as many of them as it is to
//! cover, whether they are of this crate or not.
//!
//! | when the time is over | for so long | until a moment |
//! | --- | --- | --- |
//! | go on with what comes next | [`move_on_after`] | [`move_on_at`] |
//! | fail | [`fail_after`] | [`fail_at`] |
//! | go on, but only if nothing moved for so long | [`move_on_when_stalled`] | |
//! | fail, but only if nothing moved for so long | [`fail_when_stalled`] | |
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{fail_after, move_on_after, run, time::sleep};
//!
//! # run(async || {
//! # let quick = Duration::from_millis(1);
//! # let patience = Duration::from_millis(20);
//! // All three sleeps together may take so long.
//! let outcome = move_on_after(patience, async {
//!     for _ in 0..3 {
//!         sleep(quick).await?;
//!     }
//!     Ok("done")
//! })
//! .await?;
//! assert_eq!(outcome.completed(), Some("done"));
//!
//! let error = fail_after(quick, async { Ok(sleep(patience).await?) }).await.unwrap_err();
//! assert!(error.is_timeout());
//! println!("{error}"); // says which timeout it was
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # They nest
//!
//! The earliest deadline counts, so a caller's timeout holds whatever timeouts are further in. When
//! two have passed, the outer one says so: the inner scope lets the cancellation pass. An error of
//! `fail_after` therefore means that its own time was over, and not that somebody's was.
//!
//! [`current_effective_deadline`] says when the code that asks will be cut short, to pass it on to
//! a server, say.
//!
//! # They can be moved
//!
//! [`ScopeHandle::set_deadline`] and [`ScopeHandle::set_timeout`] change the deadline of a scope
//! that runs, until somebody has seen it pass. That is all that [`Progress::made`] does:
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{run, sync::channel, time::fail_when_stalled};
//!
//! # run(async || {
//! # let (sender, pieces) = channel(3);
//! # for piece in [1, 2, 3] { sender.try_send(piece)?; }
//! # drop(sender);
//! // However many pieces there are: one every 30 seconds will do.
//! let total = fail_when_stalled(Duration::from_secs(30), async |progress| {
//!     let mut total = 0;
//!     while let Some(piece) = pieces.next().await? {
//!         progress.made();
//!         total += piece;
//!     }
//!     Ok(total)
//! })
//! .await?;
//! # assert_eq!(total, 6);
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # What is cut short, and what is not
//!
//! When the time is over, the operations in the scope answer [`Cancelled`], and what does not come
//! back after that is dropped: that needs no help from the code inside. Two things take longer:
//!
//! * code that does not await. A loop that computes can ask [`check_cancelled`], which looks at the
//!   clock;
//! * what is shielded, because it must be done: [`shield_for`] for as long as one is ready to wait,
//!   [`finally`] for a cleanup.
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{finally, move_on_after, run, time::{sleep, sleep_forever}};
//!
//! # run(async || {
//! let limit = Duration::from_millis(5);
//! let mut cleaned = false;
//! let work = async { Ok(sleep_forever().await?) };
//! move_on_after(limit, finally(work, limit, async || {
//!     cleaned = sleep(Duration::from_millis(1)).await.is_ok();
//! }))
//! .await?;
//! assert!(cleaned);
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # Never early, and in tests at once
//!
//! A timeout never passes before its time. How late it is depends on the code of its thread alone.
//! Tests do not wait: under [`testing::run`] an hour passes as soon as all tasks wait for it.
//!
//! [`move_on_after`]: crate::move_on_after
//! [`move_on_at`]: crate::move_on_at
//! [`fail_after`]: crate::fail_after
//! [`fail_at`]: crate::fail_at
//! [`move_on_when_stalled`]: crate::time::move_on_when_stalled
//! [`fail_when_stalled`]: crate::time::fail_when_stalled
//! [`current_effective_deadline`]: crate::current_effective_deadline
//! [`ScopeHandle::set_deadline`]: crate::ScopeHandle::set_deadline
//! [`ScopeHandle::set_timeout`]: crate::ScopeHandle::set_timeout
//! [`Progress::made`]: crate::time::Progress::made
//! [`Cancelled`]: crate::Cancelled
//! [`check_cancelled`]: crate::check_cancelled
//! [`shield_for`]: crate::shield_for
//! [`finally`]: crate::finally
//! [`testing::run`]: crate::testing::run
