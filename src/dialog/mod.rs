//! The state machine of one dialog: a context, or a call of a plain function.
//!
//! A dialog has two halves, [`Parent`] at the side that opened it and [`Child`] at the
//! side that runs the endpoint. Each is a plain value: what happens goes in, what to do comes
//! out as a list of [`Effect`]s. There is no I/O in it, no clock and no task, so both halves can be
//! driven against each other through every order of events. The code around it keeps
//! queues and wakers and carries the effects out, in order; it decides nothing.
//!
//! # Promises
//!
//! * Each half resolves exactly once, and an ended half sends nothing.
//! * Nothing follows a terminal message (`Return`, `Error`) of the child.
//! * A body or endpoint is never left running, uncancelled, once its peer is known to be gone.
//! * Both halves agree on who cancelled. The first cause is kept.
//! * A message that the state does not allow is answered by an error that names both.
//!   What belongs to a dialog that has ended is not an error: it was on the way.
//!
#![doc = include_str!("table.md")]

mod child;
mod effect;
mod parent;
mod stream;

#[cfg(test)]
mod tests;

#[cfg(test)]
use child::ChildState;
pub(crate) use child::{Child, ChildEvent, EndpointEnd, StartedRefused, Told};
pub(crate) use effect::{
    Cancel, Cause, Effect, Effects, Exit, LinkState, Loss, Resolution, Setup, Violation,
};
pub(crate) use parent::{BodyEnd, Kind, Parent, ParentEvent, ParentState};
pub use stream::Overruns;
pub(crate) use stream::{Buffering, OpenRefused, SendRefused, SendVerdict, Streaming};

/// How many items of a stream may wait at the receiver before its user takes one.
pub(crate) const WINDOW: u32 = 64;
