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
mod limits;
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
pub use limits::Limits;
pub(crate) use message::{
    Aid, Carrier, CauseInfo, CauseKind, ErrorMsg, Features, FuncType, Message, Origin, SpawnSpec,
    Start, WireAddr,
};
pub(crate) use payload::Payload;
pub use raw::Raw;
