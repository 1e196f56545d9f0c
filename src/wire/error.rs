use std::error::Error;
use std::fmt;

use super::Payload;

/// Why bytes from a peer are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The stream ended inside a frame.
    CutFrame {
        /// Bytes of the frame that came, with its length.
        have: usize,
        /// Bytes that were announced, with the length; `None` if the length itself was cut.
        want: Option<usize>,
    },
    /// A frame announced more than the limit.
    FrameTooLarge { size: usize, limit: usize },
    /// The body is not msgpack, from this byte on.
    Malformed { at: usize },
    /// The message is followed by more bytes in its frame.
    TrailingBytes { at: usize },
    /// Arrays and maps inside each other beyond the limit.
    TooDeep { limit: usize },
    /// Decoded, the message would take more than the limit.
    TooBig { limit: usize },
    /// The body is a value, but not a map.
    NotAMap { found: &'static str },
    /// There is no `msg_type`.
    MissingTag,
    /// A `msg_type` that this side does not know.
    UnknownTag(String),
    /// A field without a default is not there.
    MissingField {
        message: &'static str,
        field: &'static str,
    },
    /// A field is there twice.
    DuplicateField {
        message: &'static str,
        field: &'static str,
    },
    /// A field holds something else than it should.
    WrongType {
        message: &'static str,
        field: &'static str,
        expected: &'static str,
        found: &'static str,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutFrame { have, want: None } => {
                write!(
                    f,
                    "the stream ended after {have} of the 4 bytes of a frame's length"
                )
            }
            Self::CutFrame {
                have,
                want: Some(want),
            } => write!(
                f,
                "the stream ended after {have} of the {want} bytes of a frame"
            ),
            Self::FrameTooLarge { size, limit } => {
                write!(f, "a frame of {size} bytes is over the limit of {limit}")
            }
            Self::Malformed { at } => write!(f, "not msgpack from byte {at} of the frame on"),
            Self::TrailingBytes { at } => {
                write!(f, "the message ends at byte {at}, its frame does not")
            }
            Self::TooDeep { limit } => write!(f, "nested deeper than the limit of {limit}"),
            Self::TooBig { limit } => {
                write!(
                    f,
                    "would take more than the limit of {limit} bytes when decoded"
                )
            }
            Self::NotAMap { found } => write!(f, "a message is a map, not {found}"),
            Self::MissingTag => f.write_str("a message without msg_type"),
            Self::UnknownTag(tag) => write!(f, "unknown msg_type {tag:?}"),
            Self::MissingField { message, field } => {
                write!(f, "{message} without its field {field}")
            }
            Self::DuplicateField { message, field } => {
                write!(f, "{message} has its field {field} twice")
            }
            Self::WrongType {
                message,
                field,
                expected,
                found,
            } => write!(f, "{message}.{field} is {found}, not {expected}"),
        }
    }
}

impl Error for WireError {}

/// Why a value of the user's is not what a payload holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadError {
    pub(super) value: Payload,
    pub(super) wanted: &'static str,
    /// Where in it, if not as a whole.
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a {}: ", self.value.shown(), self.wanted)?;
        if let Some(field) = &self.field {
            write!(f, "its field `{field}`: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Error for PayloadError {}

/// Why a value or message could not be put on the wire. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum EncodeError {
    /// The value's `Serialize` failed, or it nests too deeply.
    Value {
        type_name: &'static str,
        reason: String,
    },
    /// The frame would be over the limit.
    FrameTooLarge { size: usize, limit: usize },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { type_name, reason } => {
                write!(f, "a {type_name} cannot be encoded: {reason}")
            }
            Self::FrameTooLarge { size, limit } => {
                write!(f, "a frame of {size} bytes is over the limit of {limit}")
            }
        }
    }
}

impl Error for EncodeError {}
