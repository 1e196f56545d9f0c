use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::IoSlice;
use std::mem;

use serde::Serialize;

use crate::wire::{
    Carrier, Cid, EncodeError, ErrorMsg, Limits, Message, Start, append_error, append_message,
    append_value,
};

/// A segment is written before the next look at what may overtake.
const SEGMENT: usize = 64 << 10;

/// Buffers that are kept for use again.
const SPARE: usize = 4;

/// What waits to be written to one peer, already as bytes.
///
/// There are two lanes. In the *data* lane is what carries values and what must stay behind it:
/// `Started`, `Yield`, `Stop`, `Return`. All else is *control*, and is written first. So a
/// cancellation is not held up by a megabyte of items, and the two are limited apart: data by a
/// limit that whoever sends items waits for, control by one that only a peer that does not read
/// can reach. Calls are control, so that nothing of a dialog comes before its beginning, but they
/// carry values, and are waited for as items are.
///
/// An `Error` that ends a dialog throws out what its dialog has in the data lane and says how much,
/// if the peer understands that; if not it takes its turn behind that.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: Limits,
    overtaking: bool,
    control: Vec<u8>,
    /// Those bytes of it that are calls, which are limited as data is: who calls waits for room.
    calls_len: usize,
    data: VecDeque<Segment>,
    /// Bytes in `data`.
    data_len: usize,
    /// Those of them that are errors, which nobody waits for room to send.
    errors_len: usize,
    batch: Batch,
    spare: Vec<Vec<u8>>,
}

/// Some whole frames of the data lane.
#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    /// Whose each frame is, and where it ends.
    frames: Vec<(Cid, usize)>,
    errors_len: usize,
}

/// What is being written: all of `control`, then all of `data`.
#[derive(Debug, Default)]
struct Batch {
    control: Vec<u8>,
    data: Vec<u8>,
    written: usize,
}

/// Why a message was not queued. Nothing of it was.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum SendError {
    Encode(EncodeError),
    /// As much data waits as may; wait for room.
    Full,
    /// As many control messages wait as a peer that reads would not leave there.
    Stuck {
        limit: usize,
    },
    /// The link was closed, or writing to it failed.
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => fmt::Display::fmt(error, f),
            Self::Full => f.write_str("too many bytes wait to be written to the peer"),
            Self::Stuck { limit } => write!(
                f,
                "the peer does not read: more than {limit} bytes of control messages wait for it"
            ),
            Self::Closed => f.write_str("the link is closed for writing"),
        }
    }
}

impl Error for SendError {}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl Outbox {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            overtaking: false,
            control: Vec::new(),
            calls_len: 0,
            data: VecDeque::new(),
            data_len: 0,
            errors_len: 0,
            batch: Batch::default(),
            spare: Vec::new(),
        }
    }

    /// The peer understands an `Error` that overtakes.
    pub(crate) fn set_overtaking(&mut self, overtaking: bool) {
        self.overtaking = overtaking;
    }

    /// What is queued from now on is limited by these.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(crate) fn push(&mut self, message: &Message) -> Result<(), SendError> {
        match message {
            Message::Yield { .. } if !self.has_room() => Err(SendError::Full),
            Message::Yield { cid, .. }
            | Message::Started { cid, .. }
            | Message::Stop { cid }
            | Message::Return { cid, .. } => {
                self.push_data(cid, |buf, limits| append_message(buf, message, limits))
            }
            Message::Error(error) => self.push_error(error),
            Message::Start(start) if start.ns != Start::SELF => {
                let before = self.control.len();
                append_message(&mut self.control, message, &self.limits)?;
                self.calls_len += self.control.len() - before;
                Ok(())
            }
            _ => self.push_control(|buf, limits| append_message(buf, message, limits)),
        }
    }

    /// Queues a message that carries `value`, which is encoded in its place.
    #[inline]
    pub(crate) fn push_value<T: Serialize + ?Sized>(
        &mut self,
        carrier: Carrier,
        cid: &Cid,
        value: &T,
    ) -> Result<(), SendError> {
        if carrier == Carrier::Yield && !self.has_room() {
            return Err(SendError::Full);
        }
        self.push_data(cid, |buf, limits| {
            append_value(buf, carrier, cid, value, limits)
        })
    }

    /// Whether another item may be queued. The one that goes over the limit is taken whole.
    pub(crate) fn has_room(&self) -> bool {
        self.buffered() < self.limits.buffered
    }

    /// Whether another dialog may be opened. The one that goes over the limit is taken whole.
    pub(crate) fn has_room_for_calls(&self) -> bool {
        self.calls_len < self.limits.buffered
    }

    /// Bytes of the data lane that the kernel has not taken.
    pub(crate) fn buffered(&self) -> usize {
        self.data_len + self.batch.left_of_data()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_written() && self.control.is_empty() && self.data.is_empty()
    }

    /// What to write next, at most two pieces, both of which may be empty.
    pub(crate) fn next_batch(&mut self) -> [IoSlice<'_>; 2] {
        if self.batch.is_written() {
            self.refill();
        }
        self.batch.left()
    }

    /// The kernel took so many bytes of it.
    pub(crate) fn advance(&mut self, written: usize) {
        self.batch.written += written;
    }

    /// Forgets everything that waits.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            overtaking: self.overtaking,
            ..Self::new(self.limits)
        };
    }

    fn push_control(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>, &Limits) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        // The one that goes over the limit is taken, for it may be larger all by itself.
        if self.control.len() - self.calls_len > self.limits.buffered_control {
            return Err(SendError::Stuck {
                limit: self.limits.buffered_control,
            });
        }
        Ok(append(&mut self.control, &self.limits)?)
    }

    fn push_error(&mut self, error: &ErrorMsg) -> Result<(), SendError> {
        let mut discarded = error.discarded;
        if let Some(cid) = &error.cid {
            if self.overtaking {
                let overtaken = self.discard(cid);
                if overtaken > 0 {
                    discarded = Some(overtaken);
                }
            } else if self.has_data_of(cid) {
                // Where nothing is in front of it, no request to cancel is to come before the reason.
                return self.push_error_behind(cid, error);
            }
        }
        self.push_control(|buf, limits| append_error(buf, error, discarded, limits))
    }

    fn has_data_of(&self, cid: &Cid) -> bool {
        let mut frames = self.data.iter().flat_map(|segment| &segment.frames);
        frames.any(|(owner, _)| owner == cid)
    }

    /// To a peer that calls and does not read, as many refusals are queued as it calls.
    fn push_error_behind(&mut self, cid: &Cid, error: &ErrorMsg) -> Result<(), SendError> {
        if self.errors_len > self.limits.buffered_control {
            return Err(SendError::Stuck {
                limit: self.limits.buffered_control,
            });
        }
        let before = self.data_len;
        self.push_data(cid, |buf, limits| {
            append_error(buf, error, error.discarded, limits)
        })?;
        let len = self.data_len - before;
        self.errors_len += len;
        if let Some(segment) = self.data.back_mut() {
            segment.errors_len += len;
        }
        Ok(())
    }

    #[inline]
    fn push_data(
        &mut self,
        cid: &Cid,
        append: impl FnOnce(&mut Vec<u8>, &Limits) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        if self.data.back().is_none_or(Segment::is_full) {
            let bytes = self.spare.pop().unwrap_or_default();
            self.data.push_back(Segment {
                bytes,
                ..Segment::default()
            });
        }
        let segment = self
            .data
            .back_mut()
            .expect("one was pushed if there was none");
        let before = segment.bytes.len();
        let appended = append(&mut segment.bytes, &self.limits);
        match appended {
            Ok(()) => {
                segment.frames.push((cid.clone(), segment.bytes.len()));
                self.data_len += segment.bytes.len() - before;
                Ok(())
            }
            Err(error) => {
                if segment.frames.is_empty() {
                    self.data.pop_back();
                }
                Err(error.into())
            }
        }
    }

    /// Throws out what a dialog has in the data lane, and says how many messages that was.
    fn discard(&mut self, cid: &Cid) -> u64 {
        let mut discarded = 0;
        for segment in &mut self.data {
            if segment.frames.iter().any(|(owner, _)| owner == cid) {
                let before = segment.bytes.len();
                discarded += segment.discard(cid);
                self.data_len -= before - segment.bytes.len();
            }
        }
        self.data.retain(|segment| !segment.frames.is_empty());
        discarded
    }

    fn refill(&mut self) {
        let mut done = mem::take(&mut self.batch);
        done.control.clear();
        // What a large call has taken is not kept.
        done.control.shrink_to(4 * SEGMENT);
        self.batch.control = mem::replace(&mut self.control, done.control);
        self.calls_len = 0;
        self.keep(done.data);
        if let Some(segment) = self.data.pop_front() {
            self.data_len -= segment.bytes.len();
            self.errors_len -= segment.errors_len;
            self.batch.data = segment.bytes;
        }
    }

    fn keep(&mut self, mut buf: Vec<u8>) {
        if self.spare.len() < SPARE && (1..=4 * SEGMENT).contains(&buf.capacity()) {
            buf.clear();
            self.spare.push(buf);
        }
    }
}

impl Segment {
    fn is_full(&self) -> bool {
        self.bytes.len() >= SEGMENT
    }

    fn discard(&mut self, cid: &Cid) -> u64 {
        let before = self.frames.len();
        let mut kept = Self {
            errors_len: self.errors_len,
            ..Self::default()
        };
        let mut start = 0;
        for (owner, end) in self.frames.drain(..) {
            if owner != *cid {
                kept.bytes.extend_from_slice(&self.bytes[start..end]);
                kept.frames.push((owner, kept.bytes.len()));
            }
            start = end;
        }
        *self = kept;
        (before - self.frames.len()) as u64
    }
}

impl Batch {
    fn is_written(&self) -> bool {
        self.written == self.control.len() + self.data.len()
    }

    fn left_of_data(&self) -> usize {
        let written = self.written.saturating_sub(self.control.len());
        self.data.len() - written
    }

    fn left(&self) -> [IoSlice<'_>; 2] {
        let control = &self.control[self.written.min(self.control.len())..];
        let data = &self.data[self.data.len() - self.left_of_data()..];
        [IoSlice::new(control), IoSlice::new(data)]
    }
}
