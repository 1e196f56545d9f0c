use std::time::Duration;

use super::half::CANCEL_BOUND;
use crate::dialog::Buffering;
use crate::stream::StreamOptions;

/// How a context is opened: see [`open_context_with`](crate::Portal::open_context_with).
#[derive(Clone, Debug)]
pub struct ContextOptions {
    pub(super) cancel_bound: Duration,
    stream: Option<StreamOptions>,
}

impl ContextOptions {
    /// The endpoint may take 616 ms to answer a cancellation, and the stream is received with the
    /// [`StreamOptions`] that it is opened with.
    pub fn new() -> Self {
        Self {
            cancel_bound: CANCEL_BOUND,
            stream: None,
        }
    }

    /// How long a cancellation may take. After that the endpoint is given up as *unanswered*. An
    /// endpoint that has said until when it is shielded has at least that long.
    #[must_use]
    pub fn cancel_bound(mut self, bound: Duration) -> Self {
        self.cancel_bound = bound;
        self
    }

    /// How this side receives, from the first item on: before its stream is opened, too.
    #[must_use]
    pub fn stream(mut self, options: StreamOptions) -> Self {
        self.stream = Some(options);
        self
    }

    pub(super) fn buffering(&self) -> Option<Buffering> {
        self.stream.as_ref().map(StreamOptions::buffering)
    }
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self::new()
    }
}
