mod links;
mod memories;
mod outboxes;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tractor_runtime as runtime;

use super::{Link, LinkReader, Received, SendError};
use crate::wire::{Carrier, Cid, ErrorMsg, FrameDecoder, Limits, Message, Payload, Uid};

/// Runs a test in a runtime of its own, and fails it if it hangs.
fn trial(main: impl AsyncFnOnce() -> runtime::Result<()> + Send + 'static) {
    guarded(|| runtime::run(main));
}

/// Fails a test if it hangs.
fn guarded(test: impl FnOnce() -> runtime::Result<()> + Send + 'static) {
    const HANG: Duration = Duration::from_secs(30);
    let (done, finished) = channel();
    let thread = thread::spawn(move || {
        let result = test();
        // The guard below may have given up.
        let _ = done.send(());
        result
    });
    if let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(HANG) {
        panic!("still running after {HANG:?}");
    }
    thread
        .join()
        .expect("the test does not panic")
        .expect("the test does not fail");
}

/// Queues items until there is no room for more, and says how many.
fn fill(link: &Link, cid: &Cid, text: &str) -> runtime::Result<usize> {
    let mut sent = 0;
    loop {
        match link.send_value(Carrier::Yield, cid, text) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => return Ok(sent),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn next_message(reader: &mut LinkReader) -> runtime::Result<Message> {
    match reader.next().await? {
        Received::Message(message) => Ok(message),
        end => panic!("the link ended: {end:?}"),
    }
}

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
