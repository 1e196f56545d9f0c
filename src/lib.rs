//! Structured concurrency that does not stop at the process boundary.
#![forbid(unsafe_code)]

mod dialog;
mod transport;
mod wire;

pub use wire::Uid;
