//! Tests that take no time and repeat exactly.
//!
//! [`testing::run`] is the entry of a test. Its clock stands still, and jumps to the next deadline
//! whenever every task waits: an hour of sleep is over at once, and a timeout fires exactly when it
//! is due. Tasks that are ready at the same time run in an order that a seed decides. If the test
//! fails, the seed is printed; with the environment variable `TRACTOR_SEED` the same order comes
//! again, and [`testing::run_seeded`] tries any.
//!
//! ```
//! use std::time::Duration;
//! use tractor_runtime::{fail_after, testing, time::{now, sleep}};
//!
//! for seed in 0..20 {
//!     testing::run_seeded(seed, async || {
//!         let start = now();
//!         let slow = sleep(Duration::from_secs(7200));
//!         let failed = fail_after(Duration::from_secs(3600), async { Ok(slow.await?) }).await;
//!         assert!(failed.unwrap_err().is_timeout());
//!         assert_eq!(now() - start, Duration::from_secs(3600));
//!         Ok(())
//!     })
//!     .unwrap();
//! }
//! ```
//!
//! # Instead of sleeping
//!
//! [`wait_all_tasks_blocked`] waits until every other task waits for something: whatever was set in
//! motion has come to rest. A [`Sequencer`] has tasks do things in the order of numbers.
//!
//! # The clock
//!
//! A [`VirtualClock`] of one's own, given to [`RuntimeBuilder::clock`], jumps when it is told to,
//! jumps by itself, or goes at a rate. It does not jump while a function runs in a thread for the
//! runtime, for what that brings may be due first.
//!
//! # The outside
//!
//! Streams in memory, with faults ([`memory_stream_pair`]), stand in for sockets, and
//! [`check_two_way_stream`] and its like put a stream of one's own to the test.
//!
//! # Rules
//!
//! [`assert_checkpoints`] and [`assert_no_checkpoints`] hold an operation to what its documentation
//! says.
//!
//! # What hangs
//!
//! [`dump`] is the tree of tasks, with what each waits for. A runtime in which everything waits for
//! something that nobody can bring logs that tree by itself. A [`Watchdog`] warns of tasks that do
//! not yield, and any [`Instrument`] may count.
//!
//! [`testing::run`]: crate::testing::run
//! [`testing::run_seeded`]: crate::testing::run_seeded
//! [`wait_all_tasks_blocked`]: crate::testing::wait_all_tasks_blocked
//! [`Sequencer`]: crate::testing::Sequencer
//! [`VirtualClock`]: crate::testing::VirtualClock
//! [`RuntimeBuilder::clock`]: crate::RuntimeBuilder::clock
//! [`memory_stream_pair`]: crate::testing::memory_stream_pair
//! [`check_two_way_stream`]: crate::testing::check_two_way_stream
//! [`assert_checkpoints`]: crate::testing::assert_checkpoints
//! [`assert_no_checkpoints`]: crate::testing::assert_no_checkpoints
//! [`dump`]: crate::dump()
//! [`Watchdog`]: crate::Watchdog
//! [`Instrument`]: crate::Instrument
