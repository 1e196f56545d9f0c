//! Structured concurrency that does not stop at the process boundary.
#![forbid(unsafe_code)]
