use crate::dialog::{Buffering, Overruns};

/// How a stream is received: see [`open_stream_with`](crate::Context::open_stream_with).
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    buffering: Buffering,
}

impl StreamOptions {
    /// 64 items may wait to be received; then the sender waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many items may wait to be received; 0 is taken as 1.
    ///
    /// A peer may send its first 64 items before it knows.
    #[must_use]
    pub fn buffer(mut self, items: u32) -> Self {
        self.buffering.buffer = items.max(1);
        self
    }

    /// What becomes of items that come when the buffer is full.
    #[must_use]
    pub fn overruns(mut self, overruns: Overruns) -> Self {
        self.buffering.overruns = overruns;
        self
    }

    pub(crate) fn buffering(&self) -> Buffering {
        self.buffering
    }
}
