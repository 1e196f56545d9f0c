use std::error::Error;
use std::fmt;
use std::io;

/// Another task is in the middle of the same operation, or of one that excludes it.
///
/// A stream has one task that receives and one that sends. That is a mistake in the program: what
/// two tasks received, or sent, at once would be in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    _private: (),
}

/// It was closed on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    _private: (),
}

impl Busy {
    /// Whether this is what an [`io::Error`] says.
    pub fn is(error: &io::Error) -> bool {
        carries::<Self>(error)
    }

    pub(crate) fn error() -> io::Error {
        io::Error::new(io::ErrorKind::ResourceBusy, Self { _private: () })
    }
}

impl Closed {
    /// Whether this is what an [`io::Error`] says.
    pub fn is(error: &io::Error) -> bool {
        carries::<Self>(error)
    }

    pub(crate) fn error() -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, Self { _private: () })
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another task is using it in the same direction")
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was closed on this side")
    }
}

impl Error for Busy {}

impl Error for Closed {}

fn carries<E: Error + 'static>(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<E>())
}
