//! Nurseries: tasks that borrow, and are all gone when the block is left.
//!
//! [`nursery`] runs a body that may start children, and returns when body and children have ended.
//! So a function that has returned has left nothing running behind, unless it was given a nursery.
//!
//! | to start | with |
//! | --- | --- |
//! | a child | [`Nursery::start_soon`] |
//! | one that says when it is ready | [`Nursery::start`] |
//! | one with a name, or one that ends with the others | [`Nursery::child`] |
//! | one of many, but only so many at a time | [`Nursery::start_soon_limited`] |
//! | one from elsewhere that borrows nothing | [`NurseryHandle::start_soon`] |
//!
//! # When one fails
//!
//! the nursery's scope is cancelled, the others end, and every error that is not this cancellation
//! comes out: one as itself, several as a group. A child whose failure must not cancel the others
//! returns a `Result` as its value.
//!
//! ```
//! use tractor_runtime::{nursery, run, time::sleep_forever};
//!
//! # run(async || {
//! let failed = nursery(async |n| {
//!     n.start_soon(async { Ok(sleep_forever().await?) });
//!     n.start_soon(async {
//!         std::fs::read("/does/not/exist")?;
//!         Ok(())
//!     });
//!     Ok(())
//! })
//! .await;
//! assert!(failed.unwrap_err().is::<std::io::Error>());
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # One child
//!
//! The [`TaskHandle`] that starting gives is a future of the child's value. It cancels that child
//! alone, asks it to stop, or waits until it is gone. Dropping it changes nothing for the child.
//!
//! # Services
//!
//! A child that is there for the others, such as a heartbeat or a cache, would keep the nursery
//! open for ever. As a [service](crate::ChildOptions::service) it is cancelled when all others have
//! ended, after them, and is waited for.
//!
//! # What to look out for
//!
//! A nursery is a future that polls its children. If a combinator of another crate drops it
//! (`select!`), they are dropped at once, without a chance to clean up: cancel a scope instead, or
//! use [`race`](crate::race()).
//!
//! [`nursery`]: crate::nursery()
//! [`Nursery::start_soon`]: crate::Nursery::start_soon
//! [`Nursery::start`]: crate::Nursery::start
//! [`Nursery::child`]: crate::Nursery::child
//! [`Nursery::start_soon_limited`]: crate::Nursery::start_soon_limited
//! [`NurseryHandle::start_soon`]: crate::NurseryHandle::start_soon
//! [`TaskHandle`]: crate::TaskHandle
