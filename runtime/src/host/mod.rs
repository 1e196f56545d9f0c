//! The ways to run a runtime.

mod future;
mod guest;
mod run;
mod running;

pub use guest::{Guest, Progress};
pub use run::{Runtime, RuntimeBuilder, in_runtime, run};
