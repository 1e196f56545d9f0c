//! Deterministic tests: a virtual clock, seeded order, waiting until nothing moves, and counting
//! checkpoints.

#[cfg(feature = "testing")]
mod before_main;
mod checkpoints;
mod clock;
mod idle;
mod memory_stream;
mod seed;
mod sequencer;
mod stream_checks;

#[cfg(feature = "testing")]
pub use before_main::BEFORE_MAIN;
pub use checkpoints::{assert_checkpoints, assert_no_checkpoints, checkpoint_counts};
pub use clock::VirtualClock;
pub use idle::{AllBlocked, wait_all_tasks_blocked, wait_all_tasks_blocked_for};
pub use memory_stream::{
    MemoryLink, MemoryReceiver, MemorySender, MemoryStream, lockstep_stream_one_way_pair,
    lockstep_stream_pair, memory_stream_one_way_pair, memory_stream_pair,
};
pub use seed::{run, run_seeded};
pub use sequencer::{AwaitTurn, SequenceError, Sequencer, Turn};
pub use stream_checks::{
    check_clogged_stream, check_half_closeable_stream, check_one_way_stream, check_two_way_stream,
};

pub(crate) use idle::{Idle, Quiet, Wait};
pub(crate) use seed::Rng;
