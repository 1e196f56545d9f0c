//! Deterministic tests: a virtual clock, seeded order, waiting until nothing moves, and counting
//! checkpoints.

#[cfg(feature = "testing")]
mod before_main;
mod checkpoints;
mod clock;
mod idle;
mod seed;

#[cfg(feature = "testing")]
pub use before_main::BEFORE_MAIN;
pub use checkpoints::{assert_checkpoints, assert_no_checkpoints, checkpoint_counts};
pub use clock::VirtualClock;
pub use idle::{AllBlocked, wait_all_tasks_blocked, wait_all_tasks_blocked_for};
pub use seed::{run, run_seeded};

pub(crate) use idle::{Idle, Quiet, Wait};
pub(crate) use seed::Rng;
