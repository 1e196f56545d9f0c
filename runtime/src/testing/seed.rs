use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::VirtualClock;
use crate::error::Result;
use crate::host::Runtime;

/// The environment variable that fixes the seed of [`run`].
const SEED: &str = "TRACTOR_SEED";

/// Runs a test: with a virtual clock that jumps by itself, and in an order decided by a seed, which
/// is random unless the environment variable `TRACTOR_SEED` gives one. If the test fails, the seed
/// is printed.
///
/// # Errors
///
/// Those of `main`.
///
/// # Panics
///
/// If `main` does.
#[track_caller]
pub fn run<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    run_seeded(
        seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id())),
        main,
    )
}

/// [`run`] with a given seed: equal seeds give equal orders.
///
/// # Errors
///
/// Those of `main`.
///
/// # Panics
///
/// If `main` does.
#[track_caller]
pub fn run_seeded<T>(seed: u64, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let clock = VirtualClock::new();
    clock.set_autojump(Some(Duration::ZERO));
    let runtime = Runtime::builder().clock(clock).seed(seed).build();
    let result = catch_unwind(AssertUnwindSafe(|| runtime.run(main)));
    if !matches!(result, Ok(Ok(_))) {
        eprintln!("to repeat this order: {SEED}={seed}");
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A small generator for orders (xorshift64*).
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that are close give states that are far from each other (splitmix64).
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
        // Zero is the one state that the generator never leaves.
        Self(if state == 0 { 1 } else { state })
    }

    /// A number below `below`, which must not be zero.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * below as u64) >> 32) as usize
    }
}
