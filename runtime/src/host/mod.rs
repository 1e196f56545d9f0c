//! The ways to run a runtime.

mod run;

pub use run::{Runtime, RuntimeBuilder, in_runtime, run};
