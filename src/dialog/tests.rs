//! The tables of the documentation against the code, the crossings that deserve a name, and both
//! halves against each other.

mod against_anything;
mod against_each_other;
mod crossings;
mod tables;

use super::stream::UNLIMITED;
use super::*;
use crate::wire::{CauseKind, Cid, ErrorMsg, Features, FuncType, Message, Payload, Uid};

/// How many cases a property is tried with.
fn cases() -> u32 {
    let cases = std::env::var("TRACTOR_CASES").ok();
    cases.map_or(10_000, |cases| {
        cases.parse().expect("TRACTOR_CASES is a number")
    })
}

fn parent_uid() -> Uid {
    Uid::new("parent", "11111111-0000-4000-8000-000000000000")
}

fn child_uid() -> Uid {
    Uid::new("child", "22222222-0000-4000-8000-000000000000")
}

fn third_uid() -> Uid {
    Uid::new("third", "33333333-0000-4000-8000-000000000000")
}

fn cid() -> Cid {
    Cid::parse("cccccccc-0000-4000-8000-000000000000")
}

fn parent_setup(features: Features) -> Setup {
    Setup {
        cid: cid(),
        own: parent_uid(),
        peer: child_uid(),
        features,
    }
}

fn child_setup(features: Features) -> Setup {
    Setup {
        cid: cid(),
        own: child_uid(),
        peer: parent_uid(),
        features,
    }
}

fn requested(by: Uid) -> Cause {
    Cause::new(CauseKind::Requested, by)
}

fn value(number: u32) -> Payload {
    Payload::encode(&number).expect("a number can be encoded")
}

fn failure(at: Uid) -> Box<ErrorMsg> {
    Box::new(ErrorMsg::new(at, "ValueError", "it failed"))
}

fn wrong_type(at: Uid) -> Box<ErrorMsg> {
    Box::new(ErrorMsg::new(at, ErrorMsg::MSG_TYPE_ERROR, "it is a text"))
}

/// What a child sends that was cancelled by `canceller`.
fn cancellation(canceller: Uid) -> Message {
    let mut error = ErrorMsg::new(child_uid(), ErrorMsg::CONTEXT_CANCELLED, "");
    error.canceller = Some(canceller);
    Message::Error(Box::new(error.for_dialog(cid())))
}

fn loss() -> Loss {
    Loss::new("end of file")
}

/// A parent after these events, of which the effects are forgotten.
fn parent_after(events: impl IntoIterator<Item = ParentEvent>) -> Parent {
    let mut parent = Parent::new(parent_setup(Features::ours()), Kind::Context);
    for event in events {
        parent.handle(event, &mut Vec::new());
    }
    parent
}

fn child_after(events: impl IntoIterator<Item = ChildEvent>) -> Child {
    let mut child = Child::new(child_setup(Features::ours()));
    for event in events {
        child.handle(event, &mut Vec::new());
    }
    child
}

fn handle(parent: &mut Parent, event: ParentEvent) -> Effects {
    let mut out = Vec::new();
    parent.handle(event, &mut out);
    out
}

fn handle_child(child: &mut Child, event: ChildEvent) -> Effects {
    let mut out = Vec::new();
    child.handle(event, &mut out);
    out
}

fn start_ack() -> Message {
    Message::StartAck {
        cid: cid(),
        functype: FuncType::Context,
    }
}

fn started() -> Message {
    Message::Started {
        cid: cid(),
        pld: value(0),
    }
}

fn item(number: u32) -> Message {
    Message::Yield {
        cid: cid(),
        pld: value(number),
    }
}

fn stop() -> Message {
    Message::Stop { cid: cid() }
}

fn credit() -> Message {
    Message::Credit {
        cid: cid(),
        items: 1,
    }
}

fn deadline() -> Message {
    Message::Deadline {
        cid: cid(),
        ms: 1_000,
    }
}

fn shielded() -> Message {
    Message::Shielded {
        cid: cid(),
        ms: 1_000,
    }
}

/// What a child sends that was cancelled because the time was over which its parent gave it.
fn expiry() -> Message {
    let mut error = ErrorMsg::new(child_uid(), ErrorMsg::CONTEXT_CANCELLED, "");
    error.canceller = Some(parent_uid());
    error.cause = Some(Cause::new(CauseKind::Deadline, parent_uid()).info());
    Message::Error(Box::new(error.for_dialog(cid())))
}

fn returned() -> Message {
    Message::Return {
        cid: cid(),
        pld: value(7),
    }
}

fn cancel_ack() -> Message {
    Message::CancelAck {
        cid: cid(),
        pld: true,
    }
}

fn error(at: Uid) -> Message {
    Message::Error(Box::new(failure(at).for_dialog(cid())))
}
