use crate::wire::{Features, Message};

use super::{Effect, Effects, LinkState, Setup, WINDOW};

/// A grant of credit that never ends: the receiver throws away what comes.
pub(super) const UNLIMITED: u32 = u32::MAX;

/// One direction of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// Never opened.
    #[default]
    Closed,
    Open,
    /// Its sender sent `Stop`.
    Stopped,
}

/// Why a stream cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenRefused {
    /// A child must call `started` first, and a plain function has no stream.
    NotStarted,
    /// The dialog was cancelled.
    Cancelled,
    /// The dialog has ended; see its resolution.
    Ended,
    /// A dialog has one stream, once.
    AlreadyOpened,
}

/// Whether an item may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendVerdict {
    /// Send it, and say so with `item_sent`.
    Go,
    /// Not now; [`Effect::WakeSender`](super::Effect) says when to ask again.
    Wait,
    Refused(SendRefused),
}

/// Why an item will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendRefused {
    /// This side has not opened its stream, or has closed it.
    NotOpen,
    /// The peer has left its stream: it takes no more.
    PeerStopped,
    /// The dialog has ended; see its resolution.
    Ended,
}

/// What becomes of the items of a stream that come faster than they are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overruns {
    /// The sender waits, once the buffer is full. A peer that cannot be made to wait, one of another
    /// implementation, is told of an overrun instead, as with [`Error`](Self::Error).
    #[default]
    Wait,
    /// The sender is told, and its side of the context fails.
    Error,
    /// So many more are kept than the buffer holds. Beyond that it is an error.
    Keep(u32),
    /// The oldest that was not received yet is thrown away, and counted.
    DropOldest,
}

/// How this side receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffering {
    /// How many items may wait, at least one.
    pub(crate) buffer: u32,
    pub(crate) overruns: Overruns,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            buffer: WINDOW,
            overruns: Overruns::default(),
        }
    }
}

/// What to do with an item that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Deliver,
    /// Deliver it, and drop the oldest that waits.
    Replace,
    Drop,
    /// There is no room. To be reported the first time only.
    Overrun {
        first: bool,
    },
    /// The peer said before that no more would come.
    Violation,
}

/// Both directions of a dialog's stream, and the credit for each.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    outgoing: Way,
    incoming: Way,
    /// Items this side may still send; `None` if the peer does not say.
    credit: Option<u64>,
    buffering: Buffering,
    /// Items beyond the first window that the peer may send, or [`UNLIMITED`].
    extended: u32,
    /// Items that are not to be granted again when they are taken: the buffer is smaller than the
    /// window that every peer begins with.
    withheld: u32,
    /// Items that were delivered and not taken.
    queued: u32,
    /// Items that were taken and not yet granted again.
    taken: u32,
    /// Nobody receives any more.
    discarding: bool,
    /// An overrun was reported, and no room has been made since.
    overrun: bool,
    /// Items that were thrown away for newer ones.
    dropped: u64,
}

impl Stream {
    pub(super) fn new(features: &Features) -> Self {
        Self {
            outgoing: Way::Closed,
            incoming: Way::Closed,
            credit: features.credit.map(u64::from),
            buffering: Buffering::default(),
            extended: 0,
            withheld: 0,
            queued: 0,
            taken: 0,
            discarding: false,
            overrun: false,
            dropped: 0,
        }
    }

    pub(super) fn open(&mut self) -> Result<(), OpenRefused> {
        if self.outgoing != Way::Closed {
            return Err(OpenRefused::AlreadyOpened);
        }
        self.outgoing = Way::Open;
        if self.incoming == Way::Closed {
            self.incoming = Way::Open;
        }
        Ok(())
    }

    /// Ends this side's use of the stream. Says whether the peer must hear of it.
    fn close(&mut self) -> bool {
        if self.outgoing != Way::Open {
            return false;
        }
        self.outgoing = Way::Stopped;
        // A peer that left first does not wait for an answer.
        self.incoming != Way::Stopped
    }

    #[inline]
    fn may_send(&self) -> SendVerdict {
        if self.outgoing != Way::Open {
            return SendVerdict::Refused(SendRefused::NotOpen);
        }
        if self.incoming == Way::Stopped {
            return SendVerdict::Refused(SendRefused::PeerStopped);
        }
        match self.credit {
            Some(0) => SendVerdict::Wait,
            _ => SendVerdict::Go,
        }
    }

    #[inline]
    fn item_sent(&mut self) {
        if let Some(credit) = &mut self.credit
            && *credit != u64::MAX
        {
            *credit = credit.saturating_sub(1);
        }
    }

    #[inline]
    pub(super) fn item_came(&mut self) -> Incoming {
        // What crosses this side's own `Stop`, or comes while nobody receives, is no offence.
        if self.discarding {
            return Incoming::Drop;
        }
        if self.incoming == Way::Stopped {
            return Incoming::Violation;
        }
        if self.queued < self.limit() {
            self.queued += 1;
            return Incoming::Deliver;
        }
        if self.buffering.overruns == Overruns::DropOldest {
            self.dropped += 1;
            return Incoming::Replace;
        }
        let first = !std::mem::replace(&mut self.overrun, true);
        Incoming::Overrun { first }
    }

    /// How many items may wait here.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        let Buffering { buffer, overruns } = self.buffering;
        match overruns {
            // The peer may have sent its first window before it knew.
            Overruns::Wait if self.credit.is_some() => buffer.max(WINDOW),
            Overruns::Wait | Overruns::Error | Overruns::DropOldest => buffer,
            Overruns::Keep(more) => buffer.saturating_add(more),
        }
    }

    /// An item was taken out of the queue. Says how much credit to grant, if any.
    #[inline]
    fn item_taken(&mut self) -> Option<u32> {
        // After `discard` the count is no longer of interest.
        self.queued = self.queued.saturating_sub(1);
        self.overrun = false;
        let has_enough = self.discarding || self.extended == UNLIMITED;
        if self.credit.is_none() || has_enough || self.incoming == Way::Stopped {
            return None;
        }
        if self.withheld > 0 {
            self.withheld -= 1;
            return None;
        }
        self.taken += 1;
        // Often enough that a sender need not stop, and not for each item.
        let enough = self.taken >= (self.buffering.buffer / 2).max(1);
        enough.then(|| std::mem::take(&mut self.taken))
    }

    /// This side will receive in this way. Says how much credit to grant, if any.
    fn buffer(&mut self, buffering: Buffering) -> Option<u32> {
        self.buffering = buffering;
        self.buffering.buffer = buffering.buffer.max(1);
        if self.credit.is_none() || self.extended == UNLIMITED || self.discarding {
            return None;
        }
        let wanted = match buffering.overruns {
            Overruns::Wait => {
                self.withheld = WINDOW.saturating_sub(self.buffering.buffer);
                self.buffering.buffer.saturating_sub(WINDOW)
            }
            Overruns::Error | Overruns::Keep(_) | Overruns::DropOldest => UNLIMITED,
        };
        let more = match wanted {
            UNLIMITED => UNLIMITED,
            _ => wanted.saturating_sub(self.extended),
        };
        self.extended = self.extended.max(wanted);
        (more > 0).then_some(more)
    }

    /// Nobody will receive any more. Says how much credit to grant, if any, so that a peer
    /// that waits to send comes free.
    fn discard(&mut self) -> Option<u32> {
        if std::mem::replace(&mut self.discarding, true) {
            return None;
        }
        self.queued = 0;
        let is_wanted = self.credit.is_some() && self.incoming != Way::Stopped;
        let is_new = std::mem::replace(&mut self.extended, UNLIMITED) != UNLIMITED;
        (is_wanted && is_new).then_some(UNLIMITED)
    }

    /// The peer says that no more will come. Says whether that is news.
    pub(super) fn peer_stopped(&mut self) -> bool {
        std::mem::replace(&mut self.incoming, Way::Stopped) != Way::Stopped
    }

    /// The peer takes more. Says whether it may do so at all.
    pub(super) fn granted(&mut self, items: u32) -> bool {
        let Some(credit) = &mut self.credit else {
            return false;
        };
        *credit = match items {
            UNLIMITED => u64::MAX,
            _ => credit.saturating_add(u64::from(items)),
        };
        true
    }

    /// Whether this side has opened its end, at some time.
    pub(crate) fn ever_opened(&self) -> bool {
        self.outgoing != Way::Closed
    }

    /// Whether this side has its end open.
    pub(crate) fn is_open(&self) -> bool {
        self.outgoing == Way::Open
    }
}

/// A half, as far as its stream goes.
pub(crate) trait Streaming {
    fn stream(&self) -> &Stream;

    fn stream_mut(&mut self) -> &mut Stream;

    fn setup(&self) -> &Setup;

    fn link(&self) -> LinkState;

    /// Why no item may be sent, whatever the stream says.
    fn send_refused(&self) -> Option<SendRefused>;

    /// Whether the state allows the stream to be opened.
    fn may_open(&self) -> Result<(), OpenRefused>;

    /// Whether there is a stream to close.
    fn has_stream(&self) -> bool;

    /// Whether the peer of this half is told that its stream was closed.
    fn says_stop(&self) -> bool;

    /// Whether a message of this dialog may still be sent.
    fn may_write(&self) -> bool;

    /// Opens this side's end of the stream, to receive in this way if one is given.
    fn open_stream(
        &mut self,
        buffering: Option<Buffering>,
        out: &mut Effects,
    ) -> Result<(), OpenRefused> {
        self.may_open()?;
        self.stream_mut().open()?;
        if let Some(buffering) = buffering {
            self.buffer(buffering, out);
        }
        Ok(())
    }

    /// Closes it: nothing more is sent or received.
    fn close_stream(&mut self, out: &mut Effects) {
        if !self.has_stream() {
            return;
        }
        let tell = self.stream_mut().close() && self.says_stop();
        if tell && self.may_write() {
            out.push(Effect::Send(Message::Stop {
                cid: self.setup().cid.clone(),
            }));
        }
        self.discard(out);
    }

    /// Whether an item may be sent now.
    #[inline]
    fn may_send(&self) -> SendVerdict {
        if let Some(refused) = self.send_refused() {
            return SendVerdict::Refused(refused);
        }
        match (self.stream().may_send(), self.link()) {
            // Whether the peer is gone the other direction will say.
            (SendVerdict::Go, LinkState::WriteDead) => SendVerdict::Wait,
            (verdict, _) => verdict,
        }
    }

    #[inline]
    fn item_sent(&mut self) {
        self.stream_mut().item_sent();
    }

    /// A delivered item was taken out of the queue.
    #[inline]
    fn item_taken(&mut self, out: &mut Effects) {
        if let Some(items) = self.stream_mut().item_taken() {
            self.grant(items, out);
        }
    }

    /// How many items were thrown away for newer ones.
    fn items_dropped(&self) -> u64 {
        self.stream().dropped
    }

    /// How many items may wait to be received before the sender has to wait.
    fn items_buffer(&self) -> u32 {
        self.stream().buffering.buffer
    }

    fn buffer(&mut self, buffering: Buffering, out: &mut Effects) {
        if let Some(items) = self.stream_mut().buffer(buffering) {
            self.grant(items, out);
        }
    }

    /// Nobody receives any more.
    fn discard(&mut self, out: &mut Effects) {
        out.push(Effect::Discard);
        if let Some(items) = self.stream_mut().discard() {
            self.grant(items, out);
        }
    }

    fn grant(&self, items: u32, out: &mut Effects) {
        if self.may_write() {
            out.push(Effect::Send(Message::Credit {
                cid: self.setup().cid.clone(),
                items,
            }));
        }
    }
}
