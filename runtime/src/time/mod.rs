//! Instants and sleeping.

pub(crate) mod clock;
mod instant;
mod sleep;

pub use instant::Instant;
pub use sleep::{Sleep, now, sleep, sleep_forever, sleep_until};
