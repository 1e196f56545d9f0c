use std::fmt;
use std::sync::Arc;

use crate::wire::{
    CauseInfo, CauseKind, Cid, ErrorMsg, Features, FuncType, Message, Origin, Payload, Uid,
};

/// What the code around a half has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Put this on the link.
    Send(Message),
    /// Put the `Start` on the link that the opener made.
    SendStart,
    /// Ask the peer's actor to cancel its half: `self:_cancel_task`, with a cid of its
    /// own, whose answer comes back as [`ParentEvent::CancelAnswered`](super::ParentEvent).
    RequestCancel(Cause),
    /// Begin to count the time that a cancellation may take; when it is over say
    /// [`ParentEvent::CancelBoundOver`](super::ParentEvent).
    ArmBound,
    /// Cancel the scope of the body or the endpoint.
    CancelScope(Cause),
    /// Run the body with this first value.
    DeliverStarted(Payload),
    /// Queue this item for whoever receives. Each that is taken out again is to be told with `item_taken`.
    DeliverItem(Payload),
    /// Drop the first of the items that are queued.
    DropOldest,
    /// Drop the items that are queued.
    Discard,
    /// No item will follow those that are queued.
    EndOfStream,
    /// Ask again for whoever waits to send.
    WakeSender,
    /// The peer cannot be cancelled for so long, from now: its answer is waited for.
    Shielded { ms: u64 },
    /// So much time is left for the endpoint; then say that it is cancelled by its deadline.
    Deadline { ms: u64 },
    /// What became of the dialog is known; see `resolution`. Wake whoever waits for that.
    Resolved,
    /// The block that opened the dialog may end, this way. Only from a parent.
    Exit(Exit),
    /// The half has no more use: it may leave the table.
    Forget,
    /// A message came too late to matter. For the log.
    Ignored {
        message: &'static str,
        state: &'static str,
    },
    /// The peer broke the protocol. For the log; what is to be done stands beside it.
    Violated(Violation),
}

/// Where effects are put.
pub(crate) type Effects = Vec<Effect>;

/// What both halves know from the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) cid: Cid,
    /// This actor.
    pub(crate) own: Uid,
    /// The actor at the other end.
    pub(crate) peer: Uid,
    /// What the peer announced.
    pub(crate) features: Features,
}

/// Who asked for a cancellation, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) kind: CauseKind,
    pub(crate) by: Uid,
    pub(crate) reason: Option<String>,
    /// Where it began, as far as that is known. Who asks here may only pass it on.
    pub(crate) origin: Option<Origin>,
}

impl Cause {
    pub(crate) fn new(kind: CauseKind, by: Uid) -> Self {
        Self {
            kind,
            by,
            reason: None,
            origin: None,
        }
    }

    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The cause of a request to cancel, or of a cancellation that was reported.
    pub(crate) fn received(info: Option<&CauseInfo>, by: Uid) -> Self {
        match info {
            Some(info) => Self {
                kind: info.kind,
                by,
                reason: info.reason.clone(),
                origin: info.origin.clone(),
            },
            None => Self::new(CauseKind::Requested, by),
        }
    }

    /// What it is to be cancelled by an error of the peer's.
    pub(crate) fn of_error(error: &ErrorMsg) -> Self {
        if error.is_cancellation() {
            let by = error.canceller.as_ref().unwrap_or(&error.src_uid);
            return Self::received(error.cause.as_ref(), by.clone());
        }
        let kind = match error.is_overrun() {
            true => CauseKind::Overrun,
            false => CauseKind::SiblingFailed,
        };
        Self::new(kind, error.src_uid.clone()).because(error.to_string())
    }

    /// As it travels, beside who asked.
    pub(crate) fn info(&self) -> CauseInfo {
        CauseInfo {
            kind: self.kind,
            reason: self.reason.clone(),
            origin: self.origin.clone(),
        }
    }
}

/// How far a cancellation has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cancel {
    #[default]
    None,
    /// It was asked for. At a child this is all there is: its scope is cancelled.
    Asked(Cause),
    /// The peer's actor said that it will.
    Accepted(Cause),
    /// The time for it is over.
    Unanswered(Cause),
}

impl Cancel {
    pub(crate) fn cause(&self) -> Option<&Cause> {
        match self {
            Self::None => None,
            Self::Asked(cause) | Self::Accepted(cause) | Self::Unanswered(cause) => Some(cause),
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self != Self::None
    }
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
    #[default]
    Up,
    /// Writing failed. What the peer sent before may still be there to be read, so nothing is lost yet.
    WriteDead,
    Down,
}

/// How a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) reason: Arc<str>,
}

impl Loss {
    pub(crate) fn new(reason: impl Into<Arc<str>>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// A message that the state of its dialog does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) message: &'static str,
    pub(crate) state: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not allowed while the dialog is {}",
            self.message, self.state
        )
    }
}

/// What became of the other half, as a parent knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolution {
    /// The endpoint returned.
    Returned(Payload),
    /// It was cancelled because this side asked through this dialog. Not an error.
    Cancelled(Box<ErrorMsg>),
    /// It was cancelled when the time was over that this side gave it. Not an error: whoever set
    /// that deadline is cancelled by it.
    Expired(Box<ErrorMsg>),
    /// It failed, or was cancelled by somebody else.
    Failed(Box<ErrorMsg>),
    /// The connection was lost.
    PeerLost(Loss),
    /// The connection was lost after this side had asked to cancel. Not an error.
    Unreachable(Loss),
    /// The answer to a cancellation did not come in time. What comes later is swallowed. Not an
    /// error of the block's, but there is no result either.
    Unanswered,
    /// Cancelled before anything was sent.
    Withdrawn,
    /// The peer sent what it must not.
    Violated(Violation),
    /// The endpoint is of another kind than the one that was asked for.
    WrongKind(FuncType),
}

impl Resolution {
    /// Whether a block raises this at its end, though its body did not.
    pub(crate) fn is_raised(&self) -> bool {
        matches!(
            self,
            Self::Failed(_) | Self::PeerLost(_) | Self::Violated(_) | Self::WrongKind(_)
        )
    }
}

/// How the block that opened a dialog ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As the body ended: its value, its error, or its cancellation passes.
    Body,
    /// With what became of the dialog. Also where there was no body: before `Started`, and of a plain function.
    Remote,
    /// With the body's error, and what became of the dialog as a second one.
    Both,
    /// The body was cut short by the dialog's own cancellation, which ends here.
    Caught,
}
