//! Structured concurrency that does not stop at the process boundary.
#![forbid(unsafe_code)]

mod dialog;
mod wire;

pub use wire::Uid;
