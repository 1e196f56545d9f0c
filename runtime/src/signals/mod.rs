//! Signals of the operating system, as a stream and as a way to end a program in steps.
//!
//! Nothing of the process is touched before a receiver is opened. While one is open its signals no
//! longer do what they do by default; afterwards they do again. A handler that the host has for
//! such a signal is called all the same. A signal that was ignored before is ignored again
//! afterwards, but a program that is started from then on finds the default.

mod disposition;
mod escalation;
mod receiver;

/// For `tractor`, which takes signals too: one table for both.
#[doc(hidden)]
pub use disposition::User;
pub use escalation::{Escalation, Press};
pub use receiver::{NotASignal, SignalReceiver};
