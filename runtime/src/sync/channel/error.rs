use std::fmt;

use crate::cause::Cancelled;
use crate::error::Error;

/// An item that was not sent by [`Sender::send`](super::Sender::send), and why.
///
/// Converts into [`Error`] with `?`; a cancellation is recognised, the item is dropped then.
pub struct SendError<T> {
    pub(super) kind: SendErrorKind,
    pub(super) item: T,
}

/// Why an item was not sent.
#[derive(Clone, Debug)]
pub enum SendErrorKind {
    /// There is no receiver.
    Closed,
    /// The end that it was to be sent from was closed.
    EndClosed,
    /// The scope is cancelled.
    Cancelled(Cancelled),
}

impl<T> SendError<T> {
    /// Why it was not sent.
    pub fn kind(&self) -> &SendErrorKind {
        &self.kind
    }

    /// Whether it was not sent because of a cancellation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, SendErrorKind::Cancelled(_))
    }

    /// The item.
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.kind).finish()
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error.kind {
            SendErrorKind::Closed => Closed::Channel.into(),
            SendErrorKind::EndClosed => Closed::End.into(),
            SendErrorKind::Cancelled(cancelled) => cancelled.into(),
        }
    }
}

/// An item that was not sent by [`Sender::try_send`](super::Sender::try_send), and why.
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// There is no receiver.
    Closed(T),
    /// The end that it was to be sent from was closed.
    EndClosed(T),
}

impl<T> TrySendError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) | Self::EndClosed(item) => item,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
            Self::EndClosed(_) => "EndClosed(..)",
        })
    }
}

impl<T> From<TrySendError<T>> for Error {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::msg("the channel is full"),
            TrySendError::Closed(_) => Closed::Channel.into(),
            TrySendError::EndClosed(_) => Closed::End.into(),
        }
    }
}

#[derive(Debug)]
enum Closed {
    Channel,
    End,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channel => "the channel has no receiver any more",
            Self::End => END_CLOSED,
        })
    }
}

impl std::error::Error for Closed {}

/// Why [`Receiver::recv`](super::Receiver::recv) gave no item.
#[derive(Clone, Debug)]
pub enum RecvError {
    /// The channel is empty and has no sender.
    Closed,
    /// The receiving end was closed.
    EndClosed,
    /// The scope is cancelled.
    Cancelled(Cancelled),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(NO_SENDER),
            Self::EndClosed => f.write_str(END_CLOSED),
            Self::Cancelled(cancelled) => write!(f, "{cancelled}"),
        }
    }
}

impl std::error::Error for RecvError {}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) gave no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing is in the channel now.
    Empty,
    /// The channel is empty and has no sender.
    Closed,
    /// The receiving end was closed.
    EndClosed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty",
            Self::Closed => NO_SENDER,
            Self::EndClosed => END_CLOSED,
        })
    }
}

impl std::error::Error for TryRecvError {}

const NO_SENDER: &str = "the channel is empty and has no sender any more";
const END_CLOSED: &str = "this end of the channel was closed";
