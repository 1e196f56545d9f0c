//! Streams of typed items, both ways, inside of a context.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use futures_lite::future::or;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::{Result, checkpoint_if_cancelled};

use crate::context::Half;
use crate::dialog::{SendRefused, SendVerdict};
use crate::error::{MsgTypeError, StreamClosed};
use crate::transport::SendError;

/// One side's end of a context's stream: sends `S`, receives `R`.
///
/// Items arrive in order, each once. A peer that does not receive makes the sender wait after
/// 64 items (with another implementation of the protocol, the dialog fails with an overrun instead).
///
/// Each side closes its own end, by [`close`](Self::close) or by dropping it; the other side then
/// receives what was sent before, and `None`. What this side has not received by then is thrown
/// away. Any number of tasks may use one end at once; each item goes to one of them.
pub struct MsgStream<S, R> {
    half: Rc<Half>,
    _types: PhantomData<fn(S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> MsgStream<S, R> {
    /// Sends an item. Waits while the other side has 64 items that it did not receive yet, or the
    /// connection is slower than its users. A checkpoint; if it is cancelled, the item was not
    /// sent.
    ///
    /// # Errors
    ///
    /// [`StreamClosed`] if either side has closed its end, or what became of the context;
    /// [`MsgTypeError`] if the item cannot be encoded or is too large, which leaves the stream
    /// open; and cancellation.
    pub async fn send(&self, item: &S) -> Result<()> {
        checkpoint_if_cancelled().await?;
        loop {
            match self.half.may_send() {
                SendVerdict::Go => match self.half.send_item(item) {
                    Ok(()) => return Ok(()),
                    Err(SendError::Encode(error)) => {
                        let what = format!("an item of {}", self.half.path());
                        return Err(MsgTypeError::new(what, error).into());
                    }
                    // The dialog may end before a peer that does not read makes room.
                    Err(SendError::Full) => {
                        or(self.half.conn().link().room(), self.half.changed()).await?;
                    }
                    // The loss is declared by who reads, after all that came was delivered.
                    Err(_) if self.half.conn().is_lost() => return Err(self.half.ended()),
                    Err(_) => self.half.changed().await?,
                },
                SendVerdict::Wait => self.half.changed().await?,
                SendVerdict::Refused(refused) => {
                    return Err(match refused {
                        SendRefused::NotOpen => StreamClosed::Here.into(),
                        SendRefused::PeerStopped => StreamClosed::ByPeer.into(),
                        SendRefused::Ended => self.half.ended(),
                    });
                }
            }
        }
    }

    /// The next item; `None` when the other side has closed its end, or the context was cancelled
    /// by this side. A checkpoint; if it is cancelled, no item is lost.
    ///
    /// # Errors
    ///
    /// What the context failed with; [`MsgTypeError`] for an item of another type, which is then
    /// gone; and cancellation.
    pub async fn receive(&self) -> Result<Option<R>> {
        checkpoint_if_cancelled().await?;
        loop {
            if let Some(item) = self.half.take_item() {
                return item.decode().map(Some).map_err(|error| {
                    MsgTypeError::new(format!("an item of {}", self.half.path()), error).into()
                });
            }
            if let Some(error) = self.half.raised() {
                return Err(error);
            }
            if self.half.items_ended() || self.half.is_resolved() || self.is_closed() {
                return Ok(None);
            }
            self.half.changed().await?;
        }
    }

    /// Closes this end, as dropping it does. Nothing more is sent or received.
    pub fn close(&self) {
        self.half.close_stream();
    }

    fn is_closed(&self) -> bool {
        matches!(
            self.half.may_send(),
            SendVerdict::Refused(SendRefused::NotOpen)
        )
    }
}

impl<S, R> MsgStream<S, R> {
    pub(crate) fn new(half: Rc<Half>) -> Self {
        Self {
            half,
            _types: PhantomData,
        }
    }
}

impl<S, R> Drop for MsgStream<S, R> {
    fn drop(&mut self) {
        self.half.close_stream();
    }
}

impl<S, R> fmt::Debug for MsgStream<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsgStream({:?})", self.half)
    }
}
