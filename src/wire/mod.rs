//! The wire protocol: messages, their encoding, and frames.
//!
//! A connection is one byte stream in each direction. A *frame* is a 4-byte
//! little-endian length and that many bytes of msgpack: one map, whose first pair
//! is the tag `"msg_type": NAME`. All fields are written, in a fixed order, `nil`
//! where there is nothing; a reader takes them in any order, fills in what has a
//! default and ignores what it does not know. What this library adds to the
//! protocol are fields whose names begin with `x_` and the message `Credit`; both
//! are sent only to a peer that announced them in its [`Aid`].
//!
//! Nothing here does I/O. Every byte may come from a hostile peer: decoding never
//! panics, never recurses, allocates no more than it received, and answers
//! a [`WireError`] that says what was wrong and where.

mod codec;
mod cursor;
mod error;
mod frame;
mod ident;
mod message;
mod payload;
mod raw;
mod shown;

#[cfg(test)]
pub(crate) mod recordings;
#[cfg(test)]
mod tests;

pub(crate) use error::{EncodeError, PayloadError, WireError};
pub(crate) use frame::{FrameDecoder, append_error, append_message, append_value};
pub(crate) use ident::Cid;
pub use ident::Uid;
pub(crate) use message::{
    Aid, Carrier, CauseInfo, CauseKind, ErrorMsg, Features, FuncType, Message, SpawnSpec, Start,
    WireAddr,
};
pub(crate) use payload::Payload;
pub use raw::Raw;

/// What a peer may make this side hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes in the body of one frame, both ways.
    pub(crate) frame: usize,
    /// Arrays and maps inside each other in one payload.
    pub(crate) depth: usize,
    /// What a frame may grow to when it is decoded into a tree of values: its
    /// text and bytes, and [`Limits::VALUE`] for each value.
    pub(crate) decoded: usize,
    /// Bytes of stream items and results that wait to be written to one peer.
    pub(crate) buffered: usize,
    /// Bytes of everything else that waits, in room of its own.
    pub(crate) buffered_control: usize,
    /// Dialogs that one peer may have open at once with what this side runs.
    pub(crate) dialogs: usize,
}

impl Limits {
    /// What one decoded value is reckoned to take, besides its text or bytes.
    pub(crate) const VALUE: usize = 32;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 16 << 20,
            depth: 64,
            decoded: 256 << 20,
            buffered: 1 << 20,
            buffered_control: 4 << 20,
            dialogs: 1 << 14,
        }
    }
}
