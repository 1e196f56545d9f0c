use std::cell::RefCell;

use crate::error::Result;
use crate::io::{PipeReceiver, ReceiveStream};

/// A line that is longer than this goes to the log in parts.
const LONGEST_LINE: usize = 64 * 1024;

/// Where what a program writes to one of its streams goes: it is kept, or told line by line, or
/// both.
pub(super) struct Outlet {
    stream: PipeReceiver,
    kept: Option<RefCell<Vec<u8>>>,
    relay: Option<RefCell<Relay>>,
}

impl Outlet {
    pub(super) fn new(stream: PipeReceiver, keeps: bool, relay: Option<Relay>) -> Self {
        Self {
            stream,
            kept: keeps.then(RefCell::default),
            relay: relay.map(RefCell::new),
        }
    }

    /// Takes all that comes. Nothing of it is lost where this is cancelled, and it may go on.
    pub(super) async fn drain(&self) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = self.stream.receive_some(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            if let Some(kept) = &self.kept {
                kept.borrow_mut().extend_from_slice(&buffer[..count]);
            }
            if let Some(relay) = &self.relay {
                relay.borrow_mut().feed(&buffer[..count]);
            }
        }
    }

    /// What was kept. A last line without an end is told.
    pub(super) fn finish(self) -> Vec<u8> {
        if let Some(relay) = self.relay {
            relay.into_inner().finish();
        }
        self.kept.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// Tells the log what a program writes, by lines.
pub(super) struct Relay {
    /// `[label:out]`, or `err`.
    prefix: String,
    /// What has come of a line.
    line: Vec<u8>,
}

impl Relay {
    pub(super) fn new(label: &str, stream: &str) -> Self {
        Self {
            prefix: format!("[{label}:{stream}]"),
            line: Vec::new(),
        }
    }

    fn feed(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            while self.line.len() > LONGEST_LINE {
                let cut = boundary(&self.line, LONGEST_LINE);
                self.tell(&self.line[..cut]);
                self.line.drain(..cut);
            }
            if self.line.ends_with(b"\n") {
                let line = &self.line[..self.line.len() - 1];
                self.tell(line.strip_suffix(b"\r").unwrap_or(line));
                self.line.clear();
            }
        }
    }

    fn finish(self) {
        if !self.line.is_empty() {
            self.tell(&self.line);
        }
    }

    fn tell(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        log::info!(target: "tractor::process", "{} {line}", self.prefix);
    }
}

/// The greatest place up to `at` where no character is cut in two, if that is text.
fn boundary(text: &[u8], at: usize) -> usize {
    let continues = |place: &usize| text[*place] & 0b1100_0000 == 0b1000_0000;
    let longest = 4;
    (at + 1 - longest..=at)
        .rev()
        .find(|place| !continues(place))
        .unwrap_or(at)
}
