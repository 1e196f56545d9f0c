//! A context as an operator reads it.

use std::fmt;

use super::half::{Half, Machine};
use crate::dialog::{ParentState, Resolution, Told};

/// What is known of a context, in a word.
pub(super) fn state_name(half: &Half) -> &'static str {
    match half.resolution() {
        Some(Resolution::Returned(_)) => return "result-returned",
        Some(Resolution::Cancelled(_) | Resolution::Withdrawn) => return "self-cancelled",
        Some(Resolution::Expired(_)) => return "timed-out",
        Some(Resolution::Failed(msg)) if msg.is_cancellation() => return "peer-cancelled",
        Some(Resolution::Failed(_) | Resolution::Violated(_) | Resolution::WrongKind(_)) => {
            return "errored";
        }
        Some(Resolution::PeerLost(_)) => return "peer-lost",
        Some(Resolution::Unreachable(_)) => return "unreachable",
        Some(Resolution::Unanswered) => return "unanswered",
        None => {}
    }
    match half.local_error() {
        Some(error) if error.is_cancelled() => return "actor-cancelled",
        Some(_) => return "errored",
        None => {}
    }
    let (is_started, before) = match &*half.machine() {
        Machine::Parent(machine) => {
            let before = matches!(machine.state(), ParentState::Opening | ParentState::Acked);
            (!before, "syncing-to-child")
        }
        Machine::Child(machine) => match machine.outcome() {
            Some(Told::Result) => return "result-returned",
            Some(Told::Cancellation) => return "actor-cancelled",
            Some(Told::Error) => return "errored",
            None if machine.is_over() => return "peer-lost",
            None => (machine.is_started(), "pre-started"),
        },
    };
    match (half.stream_is_open(), half.stream_was_opened()) {
        _ if !is_started => before,
        (true, _) => "streaming",
        (false, true) => "streaming-finished",
        (false, false) => "started",
    }
}

/// How it ended, in a line; nothing while it has not.
fn outcome(half: &Half) -> Option<String> {
    if let Some(error) = half.remote_error().or_else(|| half.raised()) {
        return Some(error.to_string());
    }
    Some(match half.resolution() {
        Some(Resolution::Returned(value)) => format!("a value of {} bytes", value.as_bytes().len()),
        Some(Resolution::Unreachable(loss)) => loss.reason.to_string(),
        Some(_) => String::from("nothing is known"),
        None => half.local_error()?.to_string(),
    })
}

fn side(half: &Half) -> &'static str {
    match &*half.machine() {
        Machine::Parent(_) => "parent",
        Machine::Child(_) => "child",
    }
}

/// One line.
pub(super) fn line(half: &Half, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (path, peer, transport) = (half.path(), half.conn().peer(), half.conn().link().kind());
    write!(
        f,
        "{path} ({}, with {peer} over {transport}): {}",
        side(half),
        state_name(half)
    )?;
    match outcome(half) {
        Some(outcome) => write!(f, ", {outcome}"),
        None => Ok(()),
    }
}

/// Field by field. `signature` are the types of the dialog.
pub(super) fn fields(half: &Half, signature: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut shown = f.debug_struct("Context");
    shown
        .field("endpoint", &format_args!("{}", half.path()))
        .field("dialog", &format_args!("{signature}"))
        .field("side", &format_args!("{}", side(half)))
        .field("peer", &format_args!("{}", half.conn().peer()))
        .field("transport", &format_args!("{}", half.conn().link().kind()))
        .field("cid", &format_args!("{}", half.cid()))
        .field("state", &format_args!("{}", state_name(half)));
    if let Some(canceller) = half.canceller() {
        shown.field("canceller", &format_args!("{canceller}"));
    }
    if let Some(outcome) = outcome(half) {
        shown.field("outcome", &format_args!("{outcome}"));
    }
    shown.finish()
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(self, f)
    }
}
