//! What the fuzz targets of `tests/fuzz` call: arbitrary bytes as frames, as messages, and as a peer
//! that says anything in any order. The tests run their corpus.

mod connection;

use serde::de::IgnoredAny;

use crate::error;
use crate::wire::{FrameDecoder, Limits, Message};

pub use connection::connection;

/// The first byte says in pieces of which size the rest comes.
pub fn frames(data: &[u8]) {
    let limits = Limits {
        frame: 64 << 10,
        decoded: 1 << 20,
        ..Limits::default()
    };
    let [piece, stream @ ..] = data else { return };
    let mut decoder = FrameDecoder::new(limits);
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        decoder.spare(piece.len()).extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Ok(message) = frame.decode(&limits) {
                        comes_back(&message, &limits);
                    }
                }
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
    }
    if let Err(error) = decoder.finish() {
        drop(error.to_string());
    }
}

/// One message.
pub fn messages(data: &[u8]) {
    let limits = Limits::default();
    match Message::decode(data, &limits) {
        Ok(message) => {
            comes_back(&message, &limits);
            use_up(message);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// What was read is what is written.
fn comes_back(message: &Message, limits: &Limits) {
    let mut body = Vec::new();
    message.encode_into(&mut body);
    let again = Message::decode(&body, limits).expect("what this side writes it reads");
    assert_eq!(&again, message);
}

/// Everything that is done with a message without knowing its dialog.
fn use_up(message: Message) {
    drop(format!("{message:?}"));
    match message {
        Message::Started { pld, .. } | Message::Yield { pld, .. } | Message::Return { pld, .. } => {
            // The payload is one well-formed value.
            pld.decode::<IgnoredAny>().expect("a payload can be read");
            let _ = pld.decode::<(String, Vec<Option<u64>>)>();
        }
        Message::Error(msg) => {
            let error = error::from_wire(*msg, Some("fuzz:any"));
            drop(format!("{error} {error:?}"));
            if let Some(remote) = error.downcast_ref::<crate::RemoteActorError>() {
                drop(remote.overrun().cloned());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Runs a target over its corpus, and says of how many files that is.
    fn corpus(target: &str, run: fn(&[u8])) -> usize {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        let files = fs::read_dir(root.join(target)).expect("there is a corpus");
        let inputs = files.map(|file| file.expect("it can be listed").path());
        inputs
            .map(|path| run(&fs::read(path).expect("it can be read")))
            .count()
    }

    #[test]
    fn corpus_of_frames() {
        assert!(corpus("frames", super::frames) > 0);
    }

    #[test]
    fn corpus_of_messages() {
        assert!(corpus("messages", super::messages) > 0);
    }

    #[test]
    fn corpus_of_connections() {
        assert!(corpus("connection", super::connection) > 0);
    }
}
