//! The user's side of a dialog.

mod half;
mod open;
mod options;
mod outcome;
mod show;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tractor_runtime::{
    CancelCause, CancelKind, Error, Result, checkpoint_if_cancelled, shield, shield_for,
};

pub(crate) use half::Half;
use half::cancelled_here;
pub(crate) use open::{call, open, open_one_way};
pub use options::ContextOptions;
pub use outcome::Outcome;

use crate::actor::to_dialog;
use crate::dialog::Resolution;
use crate::endpoint::Dialog;
use crate::error;
use crate::stream::{MsgStream, StreamOptions};
use crate::wire::Uid;

/// One side of a dialog between a task here and a task in another actor.
///
/// The two run in scopes that live and die as one: if either side fails, is cancelled or loses
/// the connection, the other is cancelled with a cause that says who and why.
///
/// An endpoint has the side of the [`Callee`], and the body of
/// [`open_context`](crate::Portal::open_context) that of the [`Caller`].
///
/// A clone is the same side of the same context, for other tasks. It may outlive the block that
/// opened the context, to be asked what became of it.
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
    /// [`ContextMisuse`](crate::ContextMisuse) the second time, [`MsgTypeError`](crate::MsgTypeError) if the value
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
        self.half.open_stream(None)?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// The same, to receive in a way of its own.
    ///
    /// # Errors
    ///
    /// Those of [`open_stream`](Self::open_stream).
    pub fn open_stream_with(
        &self,
        options: StreamOptions,
    ) -> Result<MsgStream<D::ToParent, D::ToChild>> {
        self.half.open_stream(Some(options.buffering()))?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// Runs `work` hidden from every cancellation for `limit` from now, as
    /// [`shield_for`](tractor_runtime::shield_for) does, and tells the other side, so that whoever cancels the context
    /// waits that long for its answer.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) if `work` was still pending then and the context was
    /// cancelled; it has been dropped.
    pub async fn shield_for<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output> {
        self.half.shielded(limit);
        Ok(shield_for(limit, work).await?)
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
        self.half.open_stream(None)?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// The same, to receive in a way of its own.
    ///
    /// # Errors
    ///
    /// Those of [`open_stream`](Self::open_stream).
    pub fn open_stream_with(
        &self,
        options: StreamOptions,
    ) -> Result<MsgStream<D::ToChild, D::ToParent>> {
        self.half.open_stream(Some(options.buffering()))?;
        Ok(MsgStream::new(self.half.clone()))
    }

    /// Asks the other side to cancel its endpoint, and waits for what comes of it, shielded: at most
    /// 616 ms, or what the [`ContextOptions`] say, or until when the endpoint said that it is
    /// shielded. True if the endpoint has ended. Again has no effect but to wait.
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
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if let Some(cancelled) = cancelled {
                return Err(cancelled.into());
            }
            cancelled = self.half.changed().await.err();
        }
    }

    /// What became of the endpoint, as [`wait_for_result`](Self::wait_for_result) tells it; `None`
    /// while that is not known. Errors are the same ones each time.
    pub fn outcome(&self) -> Option<Result<Outcome<R>>> {
        if let Some(error) = self.half.raised() {
            return Some(Err(error));
        }
        Some(Ok(match self.half.resolution()? {
            Resolution::Returned(value) => match value.decode() {
                Ok(value) => Outcome::Returned(value),
                Err(error) => return Some(Err(self.half.wrong_result(error))),
            },
            Resolution::Cancelled(msg) => Outcome::Cancelled(error::context_cancelled(*msg)),
            Resolution::Expired(msg) => match cancelled_here() {
                None => Outcome::Cancelled(error::context_cancelled(*msg)),
                Some(cancelled) => return Some(Err(cancelled.into())),
            },
            Resolution::Unreachable(loss) => Outcome::Unreachable(self.half.peer_lost(&loss)),
            _ => Outcome::Unanswered,
        }))
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

    /// Whether this side's body or endpoint was cut short because the context was cancelled or
    /// failed, and has ended with that.
    pub fn cancelled_caught(&self) -> bool {
        self.half.cancelled_caught()
    }

    /// The error that the other side sent, if it did: always the same error. It may be the answer to
    /// this side's own request to cancel, which is raised nowhere.
    pub fn remote_error(&self) -> Option<Error> {
        self.half.remote_error()
    }

    /// The error with which this side's body or endpoint ended, if it did.
    pub fn local_error(&self) -> Option<Error> {
        self.half.local_error()
    }

    /// The error of this context, if there is one: the other side's before this side's.
    pub fn maybe_error(&self) -> Option<Error> {
        (self.half.remote_error())
            .or_else(|| self.half.raised())
            .or_else(|| self.half.local_error())
    }

    /// What is known of the context, in a word for people: `syncing-to-child`, `pre-started`,
    /// `started`, `streaming`, `streaming-finished`, and when it has ended `result-returned`,
    /// `self-cancelled` (by this side, through the context), `peer-cancelled`, `actor-cancelled`,
    /// `timed-out`, `errored`, `peer-lost`, `unreachable` or `unanswered`.
    pub fn state_name(&self) -> &'static str {
        show::state_name(&self.half)
    }

    /// The endpoint, `namespace:function`.
    pub fn endpoint(&self) -> &str {
        self.half.path()
    }

    /// The actor that asked first, as far as is known. At an endpoint whose whole actor is cancelled,
    /// whoever cancels that.
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

impl<D: Dialog, S> Clone for Context<D, S> {
    fn clone(&self) -> Self {
        Self::new(self.half.clone())
    }
}

/// A line for people: the endpoint, the side, the peer, what connects the two, the state, and how
/// it ended.
impl<D: Dialog, S> fmt::Display for Context<D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::line(&self.half, f)
    }
}

/// The same and more, field by field.
impl<D: Dialog, S> fmt::Debug for Context<D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [dialog, started, to_child, to_parent] = [
            type_name::<D>(),
            type_name::<D::Started>(),
            type_name::<D::ToChild>(),
            type_name::<D::ToParent>(),
        ];
        let signature = format!("{dialog} {{ {started}, down {to_child}, up {to_parent} }}");
        show::fields(&self.half, &signature, f)
    }
}
