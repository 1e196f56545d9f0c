use crate::error::{ContextCancelled, PeerLost};

/// What became of an endpoint that did not fail.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome<T> {
    /// It returned this.
    Returned(T),
    /// It was cancelled because this side asked.
    Cancelled(ContextCancelled),
    /// This side asked, and the endpoint did not answer in time. It is abandoned.
    Unanswered,
    /// This side asked, and the connection was lost before there was an answer.
    Unreachable(PeerLost),
}

impl<T> Outcome<T> {
    /// The value, if the endpoint returned.
    pub fn returned(self) -> Option<T> {
        match self {
            Self::Returned(value) => Some(value),
            _ => None,
        }
    }

    /// Whether this side asked to cancel and there is no value: in whatever way it ended.
    pub fn is_cancelled(&self) -> bool {
        !matches!(self, Self::Returned(_))
    }
}
