use bytes::Bytes;
use serde::Serialize;

use super::payload::encode_into;
use super::{Carrier, Cid, EncodeError, ErrorMsg, Limits, Message, Payload, WireError, codec};

/// Bytes of a frame's length.
const HEADER: usize = 4;

/// A frame with at least this many bytes is received into a buffer of its own, and
/// its payload is a part of that. Payloads of smaller ones are copied out of the common
/// buffer, once, so that an item which is kept does not keep its neighbours.
const LARGE: usize = 16 << 10;

/// How much of a large frame is made room for before any of it came.
const LARGE_STEP: usize = 256 << 10;

/// Appends `message` as one frame.
///
/// # Errors
/// If the frame would be over the limit; `buf` is then as it was.
pub(crate) fn append_message(
    buf: &mut Vec<u8>,
    message: &Message,
    limits: &Limits,
) -> Result<(), EncodeError> {
    append(buf, limits, |buf| {
        message.encode_into(buf);
        Ok(())
    })
}

/// Appends an `Error` that has overtaken so many messages of its dialog, without its source if that
/// is over the limits.
///
/// # Errors
/// If the frame would be over the limit; `buf` is then as it was.
pub(crate) fn append_error(
    buf: &mut Vec<u8>,
    error: &ErrorMsg,
    discarded: Option<u64>,
    limits: &Limits,
) -> Result<(), EncodeError> {
    // The rest of it tells the same to people.
    let text = error.tb_str.len() + error.message.as_deref().map_or(0, str::len);
    let sourceless = match &error.source {
        Some(source) if !source.is_within(limits, text) => Some(ErrorMsg {
            source: None,
            ..error.clone()
        }),
        _ => None,
    };
    let error = sourceless.as_ref().unwrap_or(error);
    append(buf, limits, |buf| {
        codec::encode_error(buf, error, discarded);
        Ok(())
    })
}

/// Appends a message that carries `value`, encoded in place.
///
/// # Errors
/// If `value` cannot be encoded or the frame would be over the limit; `buf` is then as it was,
/// as it is when encoding panics.
pub(crate) fn append_value<T: Serialize + ?Sized>(
    buf: &mut Vec<u8>,
    carrier: Carrier,
    cid: &Cid,
    value: &T,
    limits: &Limits,
) -> Result<(), EncodeError> {
    append(buf, limits, |buf| {
        codec::encode_carrier(buf, carrier, cid);
        encode_into(buf, value, limits)
    })
}

fn append(
    buf: &mut Vec<u8>,
    limits: &Limits,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut unfinished = Unfinished {
        start: buf.len(),
        buf,
    };
    let (start, buf) = (unfinished.start, &mut *unfinished.buf);
    buf.extend_from_slice(&[0; HEADER]);
    body(buf)?;
    let size = buf.len() - start - HEADER;
    let len = match u32::try_from(size) {
        Ok(len) if size <= limits.frame => len,
        _ => {
            return Err(EncodeError::FrameTooLarge {
                size,
                limit: limits.frame,
            });
        }
    };
    buf[start..start + HEADER].copy_from_slice(&len.to_le_bytes());
    unfinished.start = buf.len();
    Ok(())
}

/// A frame that is taken back when this is dropped, also while a panic of a user's `Serialize`
/// passes: half of one would be the end of the connection.
struct Unfinished<'a> {
    start: usize,
    buf: &'a mut Vec<u8>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.buf.truncate(self.start);
    }
}

/// The body of one frame.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A part of the decoder's buffer.
    Small(&'a [u8]),
    /// A buffer of its own.
    Large(Bytes),
}

impl Frame<'_> {
    /// Reads the message in it.
    pub(crate) fn decode(&self, limits: &Limits) -> Result<Message, WireError> {
        match self {
            Self::Small(body) => Message::decode(body, limits),
            Self::Large(body) => codec::decode(body, limits, &|range| Payload::shared(body, range)),
        }
    }
}

/// Finds the frames in a stream of bytes that comes in any pieces.
///
/// Bytes are put in by appending to [`spare`](Self::spare); then
/// [`next_frame`](Self::next_frame) is called until it has none. An error is final: where the next frame would begin is not known.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    limits: Limits,
    /// Received, and from `start` on not yet given out.
    buf: Vec<u8>,
    start: usize,
    /// The body of a large frame that is being received. Nothing else is received until it is
    /// complete, so `buf` is empty or holds what came behind it.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    body: Vec<u8>,
    size: usize,
}

impl FrameDecoder {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            buf: Vec::new(),
            start: 0,
            large: None,
        }
    }

    /// A buffer with room for some bytes, up to `room`, to which what was received is to be
    /// appended. What it holds already must stay.
    pub(crate) fn spare(&mut self, room: usize) -> &mut Vec<u8> {
        match &mut self.large {
            // Once it is complete, what follows it goes to the common buffer.
            Some(large) if large.body.len() < large.size => {
                let missing = large.size - large.body.len();
                if large.body.capacity() == large.body.len() {
                    let step = large.body.len().max(LARGE_STEP);
                    large.body.reserve_exact(missing.min(step));
                }
                &mut large.body
            }
            _ => {
                if self.start > 0 {
                    self.buf.drain(..self.start);
                    self.start = 0;
                }
                if self.buf.capacity() - self.buf.len() < room {
                    self.buf.reserve(room);
                }
                &mut self.buf
            }
        }
    }

    /// Frames are refused by this limit from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// If a frame is longer than the limit.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        if self.large.is_some() {
            return Ok(self.finish_large());
        }
        let Some(size) = self.announced() else {
            return Ok(None);
        };
        if size > self.limits.frame {
            return Err(WireError::FrameTooLarge {
                size,
                limit: self.limits.frame,
            });
        }
        let body = self.start + HEADER;
        if size >= LARGE {
            self.begin_large(size);
            return Ok(self.finish_large());
        }
        if self.buf.len() < body + size {
            return Ok(None);
        }
        self.start = body + size;
        Ok(Some(Frame::Small(&self.buf[body..body + size])))
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// If it came inside a frame.
    pub(crate) fn finish(&self) -> Result<(), WireError> {
        let (have, want) = match &self.large {
            Some(large) => (HEADER + large.body.len(), Some(HEADER + large.size)),
            None => (
                self.buf.len() - self.start,
                self.announced().map(|size| HEADER + size),
            ),
        };
        if have == 0 {
            return Ok(());
        }
        Err(WireError::CutFrame { have, want })
    }

    /// The length of the frame at `start`, if that much of it came.
    fn announced(&self) -> Option<usize> {
        let header = self.buf.get(self.start..self.start + HEADER)?;
        let header: [u8; HEADER] = header.try_into().ok()?;
        Some(u32::from_le_bytes(header) as usize)
    }

    /// Moves what came of the large frame at `start` into a buffer of its own.
    fn begin_large(&mut self, size: usize) {
        let from = self.start + HEADER;
        let to = self.buf.len().min(from + size);
        let mut body = Vec::new();
        body.reserve_exact(size.min((to - from).max(LARGE_STEP)));
        body.extend_from_slice(&self.buf[from..to]);
        self.start = to;
        self.large = Some(Large { body, size });
    }

    fn finish_large(&mut self) -> Option<Frame<'_>> {
        let large = self.large.take_if(|large| large.body.len() >= large.size)?;
        let mut body = large.body;
        if body.len() > large.size {
            // A buffer may have more room than was asked for. What came behind the frame
            // stands before anything that was received since.
            let behind = body.drain(large.size..);
            self.buf.splice(..self.start, behind);
            self.start = 0;
        }
        Some(Frame::Large(body.into()))
    }
}
