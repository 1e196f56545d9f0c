//! The user's side of a dialog.

mod half;
mod open;
mod outcome;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use tractor_runtime::{CancelCause, CancelKind, Error, Result, checkpoint_if_cancelled, shield};

pub(crate) use half::Half;
pub(crate) use open::{call, open};
pub use outcome::Outcome;

use crate::actor::to_dialog;
use crate::dialog::Resolution;
use crate::endpoint::Dialog;
use crate::error::{self, MsgTypeError};
use crate::stream::MsgStream;
use crate::wire::Uid;

/// One side of a dialog between a task here and a task in another actor.
///
/// The two run in scopes that live and die as one: if either side fails, is cancelled or loses
/// the connection, the other is cancelled with a cause that says who and why.
///
/// An endpoint has the side of the [`Callee`], and the body of
/// [`open_context`](crate::Portal::open_context) that of the [`Caller`].
pub struct Context<D: Dialog, S = Callee> {
    half: Rc<Half>,
    _types: PhantomData<fn() -> (D, S)>,
}

/// The side of a [`Context`] that runs the endpoint: the child.
#[derive(Debug)]
pub struct Callee;

/// The side of a [`Context`] that opened it, the parent, and will have an `R` as the result.
#[derive(Debug)]
pub struct Caller<R>(PhantomData<fn() -> R>);

impl<D: Dialog> Context<D> {
    /// Hands over the first value, with which the parent's body begins. Once, and before a stream
    /// is opened. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`ContextMisuse`](crate::ContextMisuse) the second time, [`MsgTypeError`] if the value
    /// cannot be encoded, and cancellation; then nothing was sent.
    pub async fn started(&self, value: D::Started) -> Result<()> {
        checkpoint_if_cancelled().await?;
        self.half.started(&value)
    }

    /// Opens this side's end of the stream. The other side may send before that.
    ///
    /// # Errors
    ///
    /// [`ContextMisuse`](crate::ContextMisuse) before `started`, the second time, and after a
    /// cancellation.
    pub fn open_stream(&self) -> Result<MsgStream<D::ToParent, D::ToChild>> {
        self.half.open_stream()?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// Cancels this endpoint: its next checkpoint says so, and its caller is told that the
    /// endpoint did it itself.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::new(CancelKind::Requested));
    }

    /// The same for a reason of its own.
    pub fn cancel_because(&self, cause: CancelCause) {
        let own = self.half.conn().own();
        self.half.cancel_endpoint(to_dialog(&cause, own));
    }
}

impl<D: Dialog, R: DeserializeOwned> Context<D, Caller<R>> {
    /// Opens this side's end of the stream. The other side may send before that.
    ///
    /// # Errors
    ///
    /// [`ContextMisuse`](crate::ContextMisuse) the second time, and after this side has asked to
    /// cancel; what became of the endpoint, once that is known, also if it is
    /// [`ContextCancelled`](crate::ContextCancelled).
    pub fn open_stream(&self) -> Result<MsgStream<D::ToChild, D::ToParent>> {
        self.half.open_stream()?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// Asks the other side to cancel its endpoint, and waits for what comes of it: at most
    /// 616 ms, shielded. True if the endpoint has ended. Again has no effect but to wait.
    ///
    /// The body goes on, unless another task than the body's calls this: then the body is
    /// cancelled by the answer.
    #[track_caller]
    pub fn cancel(&self) -> impl Future<Output = bool> {
        self.cancel_because(CancelCause::new(CancelKind::Requested))
    }

    /// The same for a reason of its own.
    pub async fn cancel_because(&self, cause: CancelCause) -> bool {
        let cause = to_dialog(&cause, self.half.conn().own());
        self.half.cancel(cause);
        shield(async {
            while !self.half.is_resolved() {
                // It cannot be cancelled here, so there is nothing to be told.
                let _ = self.half.changed().await;
            }
        })
        .await;
        !matches!(
            self.half.resolution(),
            Some(Resolution::Unanswered | Resolution::Unreachable(_))
        )
    }

    /// Waits for the endpoint's result. Items of the stream that come meanwhile, or have come,
    /// are thrown away. A checkpoint; it can be called again. What became of the endpoint comes
    /// out of it also in a body that was cancelled by just that.
    ///
    /// # Errors
    ///
    /// What the endpoint failed with; [`ContextCancelled`](crate::ContextCancelled) if somebody
    /// else than this side cancelled it; [`PeerLost`](crate::PeerLost); and cancellation, if
    /// there is nothing else to tell.
    pub async fn wait_for_result(&self) -> Result<Outcome<R>> {
        let mut cancelled = checkpoint_if_cancelled().await.err();
        if cancelled.is_none() && !self.half.is_resolved() {
            self.half.await_result();
        }
        loop {
            if let Some(error) = self.half.raised() {
                return Err(error);
            }
            let Some(resolution) = self.half.resolution() else {
                if let Some(cancelled) = cancelled {
                    return Err(cancelled.into());
                }
                cancelled = self.half.changed().await.err();
                continue;
            };
            return Ok(match resolution {
                Resolution::Returned(value) => {
                    Outcome::Returned(value.decode().map_err(|error| {
                        MsgTypeError::new(format!("the result of {}", self.half.path()), error)
                    })?)
                }
                Resolution::Cancelled(msg) => Outcome::Cancelled(error::context_cancelled(*msg)),
                Resolution::Unreachable(loss) => Outcome::Unreachable(self.half.peer_lost(&loss)),
                _ => Outcome::Unanswered,
            });
        }
    }

    /// The error with which the endpoint ended, if it did and sent one: always the same error. It
    /// may be the answer to this side's own request to cancel, which is raised nowhere.
    pub fn remote_error(&self) -> Option<Error> {
        self.half.remote_error()
    }

    /// Whether the endpoint was cancelled because this side asked through this context.
    pub fn cancel_acked(&self) -> bool {
        self.half.cancel_acked()
    }
}

impl<D: Dialog, S> Context<D, S> {
    pub(crate) fn new(half: Rc<Half>) -> Self {
        Self {
            half,
            _types: PhantomData,
        }
    }

    /// Whether this side asked for the context to be cancelled, or at the child whether anybody
    /// did.
    pub fn cancel_called(&self) -> bool {
        self.half.cancel_called()
    }

    /// The actor that asked first, as far as is known.
    pub fn canceller(&self) -> Option<Uid> {
        self.half.canceller()
    }

    /// The actor at the other side.
    pub fn peer(&self) -> &Uid {
        self.half.conn().peer()
    }

    /// The name of the dialog, for logs: the same at both sides.
    pub fn cid(&self) -> String {
        self.half.cid().to_string()
    }
}

impl<D: Dialog, S> fmt::Debug for Context<D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({:?})", self.half)
    }
}
