use crate::wire::Features;

use super::WINDOW;

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

/// What to do with an item that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Deliver,
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
pub(super) struct Stream {
    outgoing: Way,
    incoming: Way,
    /// Items this side may still send; `None` if the peer does not say.
    credit: Option<u64>,
    /// Items that were delivered and not taken.
    queued: u32,
    /// Items that were taken and not yet granted again.
    taken: u32,
    /// Nobody receives any more.
    discarding: bool,
    /// An overrun was reported, and no room has been made since.
    overrun: bool,
}

impl Stream {
    pub(super) fn new(features: &Features) -> Self {
        Self {
            outgoing: Way::Closed,
            incoming: Way::Closed,
            credit: features.credit.map(u64::from),
            queued: 0,
            taken: 0,
            discarding: false,
            overrun: false,
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
    pub(super) fn close(&mut self) -> bool {
        if self.outgoing != Way::Open {
            return false;
        }
        self.outgoing = Way::Stopped;
        // A peer that left first does not wait for an answer.
        self.incoming != Way::Stopped
    }

    #[inline]
    pub(super) fn may_send(&self) -> SendVerdict {
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
    pub(super) fn item_sent(&mut self) {
        if let Some(credit) = &mut self.credit
            && *credit != u64::MAX
        {
            *credit = credit.saturating_sub(1);
        }
    }

    #[inline]
    pub(super) fn item_came(&mut self) -> Incoming {
        if self.incoming == Way::Stopped {
            return Incoming::Violation;
        }
        if self.discarding {
            return Incoming::Drop;
        }
        if self.queued >= WINDOW {
            let first = !std::mem::replace(&mut self.overrun, true);
            return Incoming::Overrun { first };
        }
        self.queued += 1;
        Incoming::Deliver
    }

    /// An item was taken out of the queue. Says how much credit to grant, if any.
    #[inline]
    pub(super) fn item_taken(&mut self) -> Option<u32> {
        // After `discard` the count is no longer of interest.
        self.queued = self.queued.saturating_sub(1);
        self.overrun = false;
        if self.credit.is_none() || self.discarding || self.incoming == Way::Stopped {
            return None;
        }
        self.taken += 1;
        // Often enough that a sender need not stop, and not for each item.
        (self.taken >= WINDOW / 2).then(|| std::mem::take(&mut self.taken))
    }

    /// Nobody will receive any more. Says how much credit to grant, if any, so that a peer
    /// that waits to send comes free.
    pub(super) fn discard(&mut self) -> Option<u32> {
        if std::mem::replace(&mut self.discarding, true) {
            return None;
        }
        self.queued = 0;
        (self.credit.is_some() && self.incoming != Way::Stopped).then_some(UNLIMITED)
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

    pub(super) fn ever_opened(&self) -> bool {
        self.outgoing != Way::Closed
    }
}
