//! Cancel scopes: what a cancellation is, how far it reaches, and where it ends.
//!
//! A [`CancelScope`] is run around some work. Its [`ScopeHandle`] can be kept, passed on, and asked
//! afterwards. Cancelling it reaches everything inside: nested scopes, nurseries, their children.
//!
//! ```
//! use tractor_runtime::{CancelScope, nursery, run, time::sleep_forever};
//!
//! # run(async || {
//! let scope = CancelScope::new();
//! let handle = scope.handle();
//! let outcome = scope
//!     .run(nursery(async |n| {
//!         n.start_soon(async { Ok(sleep_forever().await?) });
//!         handle.cancel();
//!         Ok(())
//!     }))
//!     .await?;
//! assert!(outcome.is_cancelled());
//! println!("{}", outcome.cause().unwrap()); // who asked, and where
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # Two chances
//!
//! First, every operation of this crate under the scope answers [`Cancelled`], again and again for
//! as long as the scope is cancelled. So `?` leaves, and cleanup code knows. Second, what is still
//! waiting after that, in a future that knows nothing of scopes, is dropped: the innermost scope,
//! child or body around it goes on with [`Cancelled`].
//!
//! # Where it ends
//!
//! The outermost cancelled scope that can be seen from where the cancellation was told absorbs it:
//! its outcome is [`Outcome::Cancelled`]. Scopes further in pass it on, and other errors pass
//! everywhere. So never turn a [`Cancelled`] into something else: pass it on. One that became the source
//! of another error is no cancellation any more; [`Error`] says how it stays one.
//!
//! # Shields
//!
//! A scope with [`CancelScope::shield`] hides what is cancelled around it, and so do [`shield`] and
//! [`shield_for`]. Its own `cancel()` and deadline still count. See [cleanup](super::cleanup).
//!
//! # Asking to stop
//!
//! [`ScopeHandle::stop`] asks first and cancels when the grace is over. Code that cares waits with
//! [`stopping`], runs what it does between two requests in [`until_stopping`], or asks
//! [`is_stopping`]. Everything else need not know.
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{CancelScope, run, stopping, time::sleep};
//!
//! # run(async || {
//! let scope = CancelScope::new();
//! scope.handle().stop(Duration::from_secs(30));
//! let outcome = scope
//!     .run(async {
//!         stopping().await?;
//!         sleep(Duration::from_millis(1)).await?; // there is time to say goodbye
//!         Ok("said goodbye")
//!     })
//!     .await?;
//! assert_eq!(outcome.completed(), Some("said goodbye"));
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # Asking without waiting
//!
//! Code that computes for long asks [`check_cancelled`], which looks at the clock too.
//!
//! [`CancelScope`]: crate::CancelScope
//! [`CancelScope::shield`]: crate::CancelScope::shield
//! [`ScopeHandle`]: crate::ScopeHandle
//! [`ScopeHandle::stop`]: crate::ScopeHandle::stop
//! [`Cancelled`]: crate::Cancelled
//! [`Error`]: crate::Error
//! [`Outcome::Cancelled`]: crate::Outcome::Cancelled
//! [`shield`]: crate::shield()
//! [`shield_for`]: crate::shield_for
//! [`stopping`]: crate::stopping()
//! [`until_stopping`]: crate::until_stopping
//! [`is_stopping`]: crate::is_stopping
//! [`check_cancelled`]: crate::check_cancelled
