//! Instants and sleeping.

pub(crate) mod clock;
mod instant;
mod progress;
mod sleep;

pub use instant::Instant;
pub use progress::{Progress, fail_when_stalled, move_on_when_stalled};
pub use sleep::{Sleep, now, sleep, sleep_forever, sleep_until};
