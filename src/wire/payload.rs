use std::any::type_name;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::{self, MAX_DEPTH};
use super::shown::shown;
use super::{EncodeError, Limits, PayloadError, raw};

/// One value of the user's, as the msgpack that travels.
///
/// It is decoded where its type is known. Structs are maps with names, so that a
/// peer in another language can read them and either side may gain a field. From the
/// wire it is known to be one well-formed value within the limits of its connection. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    bytes: Bytes,
}

impl Payload {
    /// A value of this library's own, or one of which it is not known yet where it will be sent.
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Self::encode_within(&Limits::WIDEST, value)
    }

    /// A value that is to be sent where there are these limits.
    pub(crate) fn encode_within<T: Serialize + ?Sized>(
        limits: &Limits,
        value: &T,
    ) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        encode_into(&mut bytes, value, limits)?;
        Ok(Self {
            bytes: bytes.into(),
        })
    }

    /// The value that is nothing.
    pub(crate) fn nil() -> Self {
        Self {
            bytes: Bytes::from_static(&[0xc0]),
        }
    }

    /// The map without a pair.
    pub(crate) fn empty_map() -> Self {
        Self {
            bytes: Bytes::from_static(&[0x80]),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.try_decode()
            .map_err(|error| self.described::<T>(&error))
    }

    /// The same for whoever may do without the reason.
    pub(crate) fn try_decode<T: DeserializeOwned>(&self) -> Result<T, rmp_serde::decode::Error> {
        match raw::as_it_is(self) {
            Some(raw) => Ok(raw),
            None => T::deserialize(&mut self.deserializer()),
        }
    }

    /// What is to be told of `error`, which came of decoding a `T`.
    pub(crate) fn described<T: DeserializeOwned>(
        &self,
        error: &rmp_serde::decode::Error,
    ) -> PayloadError {
        // Once more, to see how far it comes: this is what is paid for only where it fails.
        let again = serde_path_to_error::deserialize::<_, T>(&mut self.deserializer());
        let path = again.err().map(|error| error.path().to_string());
        PayloadError {
            value: self.clone(),
            wanted: type_name::<T>(),
            field: path.filter(|path| path != "."),
            reason: error.to_string(),
        }
    }

    /// For people, as far as that goes.
    pub(super) fn shown(&self) -> String {
        shown(&mut self.deserializer())
    }

    fn deserializer(&self) -> rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'_, [u8]>> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(&self.bytes[..]);
        // Counted down to zero, which is one level too deep.
        deserializer.set_max_depth(MAX_DEPTH + 1);
        deserializer
    }

    pub(crate) fn is_nil(&self) -> bool {
        self.bytes[..] == [0xc0]
    }

    /// Whether the value is a map, as arguments by name are.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf))
    }

    /// Whether it may be sent where there are these limits, beside so many bytes of text.
    pub(super) fn is_within(&self, limits: &Limits, text: usize) -> bool {
        cursor::check_beside(&self.bytes, limits, Limits::TEXTS + text).is_ok()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `bytes` must be one well-formed value within the limits.
    pub(super) fn checked(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// `bytes` must hold one well-formed value.
    pub(super) fn copied(bytes: &[u8]) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
        }
    }

    /// Part of a frame, which it keeps alive. The part must hold one well-formed value.
    pub(super) fn shared(frame: &Bytes, range: Range<usize>) -> Self {
        Self {
            bytes: frame.slice(range),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        write!(f, "Payload({} bytes:", self.bytes.len())?;
        for byte in self.bytes.iter().take(SHOWN) {
            write!(f, " {byte:02x}")?;
        }
        f.write_str(if self.bytes.len() > SHOWN {
            " ..)"
        } else {
            ")"
        })
    }
}

/// Appends `value`. On an error `buf` holds what was written so far.
#[inline]
pub(super) fn encode_into<T: Serialize + ?Sized>(
    buf: &mut Vec<u8>,
    value: &T,
    limits: &Limits,
) -> Result<(), EncodeError> {
    let start = buf.len();
    let failed = |reason: String| EncodeError::Value {
        type_name: type_name::<T>(),
        reason,
    };
    match raw::encoded(value) {
        Some(raw) => buf.extend_from_slice(&raw),
        None => {
            let mut serializer = rmp_serde::Serializer::new(&mut *buf).with_struct_map();
            value
                .serialize(&mut serializer)
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    // The peer would take what it may not read for an offence, and end the connection. The
    // serializer does not count.
    cursor::check_beside(&buf[start..], limits, Limits::TEXTS)
        .map_err(|error| failed(error.to_string()))
}
