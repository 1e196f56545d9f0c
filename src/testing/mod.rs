//! Trees of actors in tests.
//!
//! # Processes
//!
//! A child is the program of its parent started again, and a test's program is its runner, whose
//! `main` knows nothing of actors. With the feature `testing` a child becomes its actor before
//! that `main`. So tests start actors as programs do, under any runner, with nothing to prepare:
//!
//! ```toml
//! [dev-dependencies]
//! tractor = { git = "...", features = ["testing"] }
//! ```
//!
//! ```
//! use tractor::SpawnOptions;
//!
//! async fn double(x: u64) -> tractor::Result<u64> {
//!     Ok(2 * x)
//! }
//! tractor::endpoint!(double);
//!
//! // In a `#[test]`:
//! fn doubles_in_another_process() {
//!     tractor::run(async || {
//!         tractor::nursery(async |an| {
//!             let portal = an.start_actor("doubler", SpawnOptions::new().enable(double)).await?;
//!             assert_eq!(portal.run(double, 21).await?, 42);
//!             an.cancel();
//!             Ok(())
//!         })
//!         .await
//!     })
//!     .unwrap();
//! }
//! # doubles_in_another_process();
//! ```
//!
//! The feature is not for programs: what stands before [`run`](fn@crate::run) in their `main`, a
//! logger say, is skipped in children then; static constructors of C++ have not run; `SIGPIPE` has
//! its default action; and a panic ends the process.
//!
//! # Memory
//!
//! [`run`] and [`run_seeded`] run the root of a tree whose actors are
//! [in memory](crate::SpawnOptions::in_memory), under a virtual clock and in a seeded order: an
//! hour takes no time, and a test that failed can be repeated.
//!
//! ```
//! use std::time::Duration;
//! use tractor::{SpawnOptions, runtime::time};
//!
//! async fn wait((): ()) -> tractor::Result<()> {
//!     Ok(time::sleep(Duration::from_secs(3600)).await?)
//! }
//! tractor::endpoint!(wait);
//!
//! tractor::testing::run(async || {
//!     tractor::nursery(async |an| {
//!         let options = SpawnOptions::new().in_memory().enable(wait);
//!         let portal = an.start_actor("waiter", options).await?;
//!         let start = time::now();
//!         portal.run(wait, ()).await?;
//!         assert!(time::now() - start >= Duration::from_secs(3600));
//!         an.cancel();
//!         Ok(())
//!     })
//!     .await
//! })
//! # .unwrap();
//! ```
//!
//! [`Faults`] are what goes wrong with such actors, by a seed too.
//!
//! What tests are made of inside of an actor is in [`runtime::testing`](crate::runtime::testing).

pub(crate) mod faults;

pub use faults::{Fault, Faults, Happening};

use crate::error::Result;
use crate::run::RunOptions;

/// Runs `main` as the root of a tree under a virtual clock, in an order decided by a seed, which is
/// random unless the environment variable `TRACTOR_SEED` gives one. If the test fails, the seed
/// is printed. No signal is taken.
///
/// # Errors
///
/// Those of [`run`](fn@crate::run).
///
/// # Panics
///
/// As [`run`](fn@crate::run) does.
#[track_caller]
pub fn run<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let options = RunOptions::new().without_signals();
    tractor_runtime::testing::run(async || options.host(main).await)
}

/// [`run`] with a given seed: equal seeds give equal orders. With other options for the root it is
/// [`RunOptions::run_seeded`].
///
/// # Errors
///
/// Those of [`run`](fn@crate::run).
///
/// # Panics
///
/// As [`run`](fn@crate::run) does.
#[track_caller]
pub fn run_seeded<T>(seed: u64, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    RunOptions::new().run_seeded(seed, main)
}
