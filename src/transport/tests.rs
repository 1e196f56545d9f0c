mod links;
mod outboxes;

use crate::wire::{Cid, ErrorMsg, FrameDecoder, Limits, Message, Payload, Uid};

fn item(cid: &Cid, value: &str) -> Message {
    Message::Yield {
        cid: cid.clone(),
        pld: Payload::encode(value).expect("text can be encoded"),
    }
}

fn credit(items: u32) -> Message {
    Message::Credit {
        cid: Cid::parse("control"),
        items,
    }
}

fn error(cid: &Cid) -> Message {
    let error = ErrorMsg::new(Uid::new("a", "b"), "ValueError", "it failed");
    Message::Error(Box::new(error.for_dialog(cid.clone())))
}

/// All messages in some bytes, of which none may be left.
fn messages_in(bytes: &[u8]) -> Vec<Message> {
    let limits = Limits::default();
    let mut decoder = FrameDecoder::new(limits);
    decoder.spare(bytes.len()).extend_from_slice(bytes);
    let mut messages = Vec::new();
    while let Some(frame) = decoder.next_frame().expect("frames are within the limit") {
        messages.push(frame.decode(&limits).expect("frames are messages"));
    }
    decoder.finish().expect("the last frame is whole");
    messages
}
