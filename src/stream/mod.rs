//! Streams of typed items, both ways, inside of a context.

mod combinators;
mod options;
mod subscription;

use std::cell::OnceCell;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use futures_lite::future::or;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::{Cancelled, Result, checkpoint_if_cancelled};

use crate::context::Half;
pub use crate::dialog::Overruns;
use crate::dialog::{SendRefused, SendVerdict};
use crate::error::{MsgTypeError, StreamClosed};
use crate::transport::SendError;
use crate::wire::Payload;

use combinators::Waiting;
pub use options::StreamOptions;
use subscription::Seat;
pub use subscription::Subscription;

/// A stream that only sends: what an endpoint of one way is given.
pub type SendStream<T> = MsgStream<T, Infallible>;

/// A stream that only receives: what [`open_stream_from`](crate::Portal::open_stream_from) gives.
pub type ReceiveStream<T> = MsgStream<Infallible, T>;

/// One side's end of a context's stream: sends `S`, receives `R`.
///
/// Items arrive in order, each once. A peer that does not receive makes the sender wait after
/// 64 items (with another implementation of the protocol, the dialog fails with an overrun instead).
///
/// Each side closes its own end, by [`close`](Self::close) or by dropping it; the other side then
/// receives what was sent before, and `None`. What this side has not received by then is thrown
/// away. Any number of tasks may use one end at once; each item goes to one of them.
///
/// It is a [`Stream`](futures_core::Stream) of `Result<R>`, whose end is the first error or the
/// stream's own end, and a [`Sink`](futures_sink::Sink) for `S` too.
pub struct MsgStream<S, R> {
    half: Rc<Half>,
    /// Set when there are other receivers.
    shared: OnceCell<Seat>,
    /// Of the `Stream`.
    receiving: Waiting,
    has_ended: bool,
    /// Of the `Sink`.
    sending: Waiting,
    _types: PhantomData<fn(S) -> R>,
}

impl<S: Serialize, R> MsgStream<S, R> {
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
            match self.try_send_item(item)? {
                Sent::Yes => return Ok(()),
                sent => wait_for_room(&self.half, &sent).await?,
            }
        }
    }

    fn try_send_item(&self, item: &S) -> Result<Sent> {
        self.try_send_with(|half| half.send_item(item))
    }

    fn try_send_with(
        &self,
        send: impl FnOnce(&Half) -> std::result::Result<(), SendError>,
    ) -> Result<Sent> {
        match self.half.may_send() {
            SendVerdict::Go => match send(&self.half) {
                Ok(()) => Ok(Sent::Yes),
                Err(SendError::Encode(error)) => {
                    let what = format!("an item of {}", self.half.path());
                    Err(MsgTypeError::new(what, error).into())
                }
                Err(SendError::Full) => Ok(Sent::NoRoom),
                // The loss is declared by who reads, after all that came was delivered.
                Err(_) if self.half.conn().is_lost() => Err(self.half.ended()),
                Err(_) => Ok(Sent::NotNow),
            },
            SendVerdict::Wait => Ok(Sent::NotNow),
            SendVerdict::Refused(refused) => Err(match refused {
                SendRefused::NotOpen => StreamClosed::Here.into(),
                SendRefused::PeerStopped => StreamClosed::ByPeer.into(),
                SendRefused::Ended => self.half.ended(),
            }),
        }
    }
}

/// What came of trying to send an item.
enum Sent {
    Yes,
    /// The connection is slower than its users.
    NoRoom,
    /// The peer has enough, or the end of the dialog is on its way.
    NotNow,
}

/// Waits until it may be worth while to try again.
async fn wait_for_room(half: &Half, sent: &Sent) -> std::result::Result<(), Cancelled> {
    match sent {
        // The dialog may end before a peer that does not read makes room.
        Sent::NoRoom => or(half.conn().link().room(), half.changed()).await,
        Sent::Yes | Sent::NotNow => half.changed().await,
    }
}

impl<S, R: DeserializeOwned> MsgStream<S, R> {
    /// The next item; `None` when the other side has closed its end, or the context was cancelled
    /// by this side. A checkpoint; if it is cancelled, no item is lost.
    ///
    /// # Errors
    ///
    /// What the context failed with; [`StreamClosed`] to an endpoint whose context is over, as it is
    /// to one that cleans up behind a shield; [`MsgTypeError`] for an item of another type, with which the
    /// context fails and which its sender is told; [`Lagged`](crate::Lagged) if the stream is [shared](Self::subscribe); and
    /// cancellation.
    pub async fn receive(&self) -> Result<Option<R>> {
        checkpoint_if_cancelled().await?;
        loop {
            if let Some(next) = self.look() {
                return next;
            }
            self.half.changed().await?;
        }
    }

    /// The next item, if it is there already: `None` if none is, and `Some(None)` if none will be.
    ///
    /// # Errors
    ///
    /// Those of [`receive`](Self::receive), but cancellation.
    pub fn try_receive(&self) -> Option<Result<Option<R>>> {
        self.look()
    }

    /// Gives each item from now on to every subscription, and to this stream's
    /// [`receive`](Self::receive), which becomes one of them.
    ///
    /// As many items are kept as the stream's buffer holds. Who lags behind farther is told so, and
    /// goes on with the oldest that is kept. Items are decoded for each on its own.
    ///
    /// # Errors
    ///
    /// [`StreamClosed`] if this end was closed.
    pub fn subscribe(&self) -> Result<Subscription<R>> {
        if !self.half.stream_is_open() {
            return Err(StreamClosed::Here.into());
        }
        let shared = self.shared.get_or_init(|| Seat::first(&self.half));
        Ok(Subscription::new(shared.another()))
    }

    /// What `receive` is to answer; `None` if it is to wait.
    fn look(&self) -> Option<Result<Option<R>>> {
        match self.shared.get() {
            Some(seat) => seat.look().map(|next| decoded(&self.half, next)),
            None => {
                look(&self.half, || self.half.take_item()).map(|next| decoded(&self.half, next))
            }
        }
    }
}

/// What to give to who receives, given what `take` takes out of the queue; `None` if it is to wait.
fn look(half: &Half, take: impl FnOnce() -> Option<Payload>) -> Option<Result<Option<Payload>>> {
    if let Some(item) = take() {
        return Some(Ok(Some(item)));
    }
    if let Some(error) = half.raised() {
        return Some(Err(error));
    }
    if half.items_ended() || half.is_resolved() || !half.stream_is_open() {
        return Some(Ok(None));
    }
    half.endpoint_is_over().then(|| Err(half.ended()))
}

fn decoded<R: DeserializeOwned>(
    half: &Rc<Half>,
    next: Result<Option<Payload>>,
) -> Result<Option<R>> {
    let Some(item) = next? else {
        return Ok(None);
    };
    item.decode()
        .map(Some)
        .map_err(|error| half.undecodable("an item", error))
}

impl<S, R> MsgStream<S, R> {
    pub(crate) fn new(half: Rc<Half>) -> Self {
        Self {
            half,
            shared: OnceCell::new(),
            receiving: Waiting::default(),
            has_ended: false,
            sending: Waiting::default(),
            _types: PhantomData,
        }
    }

    /// Closes this end, as dropping it does. Nothing more is sent or received.
    pub fn close(&self) {
        self.half.close_stream();
    }

    /// How many items were thrown away here, because they came faster than they were received:
    /// none, unless that was chosen with [`Overruns::DropOldest`].
    pub fn dropped(&self) -> u64 {
        self.half.items_dropped()
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
