use std::time::Duration;

use super::cursor::MAX_DEPTH;

/// What its peers may make an actor hold, and how long it bears with those that it does not know.
///
/// They are those of all connections of an actor, and are set where it is made: by
/// [`RunOptions::limits`](crate::RunOptions::limits) for a root, and by
/// [`SpawnOptions::limits`](crate::SpawnOptions::limits) for a child. A child that is given none
/// has those of its parent, so that what is set for the root is so in its whole tree.
///
/// ```
/// use tractor::{Limits, RunOptions};
///
/// let limits = Limits::new().frame(64 << 20).depth(100);
/// let options = RunOptions::new().limits(limits);
/// ```
///
/// What a peer sends over a limit costs that peer its connection at most, after an error that says
/// what was too much; the actor and its other connections go on. Between a parent and its child the
/// connection is the life of the child, whichever of the two sent too much.
///
/// What this actor would send over its own limits is not sent, and is an error here. The limits of
/// the peer it does not know: between two actors that have different ones, both have to keep to the
/// smaller.
///
/// A value beyond what a limit may be is taken for the nearest that it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "they limit nothing unless given to an actor"]
pub struct Limits {
    pub(crate) frame: usize,
    pub(crate) depth: usize,
    pub(crate) decoded: usize,
    pub(crate) contexts: usize,
    pub(crate) buffered: usize,
    pub(crate) buffered_control: usize,
    pub(crate) handshake: Duration,
    pub(crate) unknown: usize,
}

impl Limits {
    /// What one decoded value is reckoned to take, besides its text or bytes.
    pub(crate) const VALUE: usize = 32;

    /// What the fields of a message take, reckoned so, besides the bytes of a text or a payload.
    pub(super) const TEXTS: usize = 16 << 10;

    /// What values may be that are not sent yet, or were received within the limits of their
    /// connection.
    pub(super) const WIDEST: Self = Self {
        frame: MAX_FRAME,
        depth: MAX_DEPTH,
        decoded: usize::MAX,
        ..Self::new()
    };

    /// The defaults, which each of the methods names.
    pub const fn new() -> Self {
        Self {
            frame: 16 << 20,
            depth: 64,
            decoded: 256 << 20,
            contexts: 1 << 14,
            buffered: 1 << 20,
            buffered_control: 4 << 20,
            handshake: Duration::from_secs(10),
            unknown: 64,
        }
    }

    /// The bytes of one message, which is about as much as arguments, a first value, an item or a
    /// result takes when it is encoded. 16 MiB by default; at least 64 KiB, which messages without
    /// any of these need, and less than 4 GiB.
    ///
    /// A peer that announces more loses its connection before it has sent that. What would be more
    /// is not sent: arguments, first values and items are a [`MsgTypeError`](crate::MsgTypeError)
    /// where they are sent, and a result is one where it is waited for. Nothing else is lost.
    pub const fn frame(mut self, bytes: usize) -> Self {
        self.frame = clamp(bytes, MIN_FRAME, MAX_FRAME);
        self
    }

    /// How deep arrays and maps may be inside each other, in one value. 64 by default; at least 8,
    /// and at most 128.
    ///
    /// A peer that sends a value that is deeper loses its connection. One that would be deeper is
    /// not sent, as one that is [too large](Self::frame) is not.
    pub const fn depth(mut self, levels: usize) -> Self {
        self.depth = clamp(levels, MIN_DEPTH, MAX_DEPTH);
        self
    }

    /// The bytes that one message may take when it is decoded: those of its text and bytes, and 32
    /// for every value, be it a number or a map. It bounds what a message can grow to that is all
    /// small values. 256 MiB by default; never less than a [frame](Self::frame) takes that is one
    /// text.
    ///
    /// A peer that sends a message that would take more loses its connection. A value that would
    /// take more is not sent, as one that is [too large](Self::frame) is not.
    pub const fn decoded(mut self, bytes: usize) -> Self {
        self.decoded = bytes;
        self
    }

    /// What one message may take when it is decoded.
    pub(super) fn budget(&self) -> usize {
        self.decoded.max(self.frame.saturating_add(Self::TEXTS))
    }

    /// How many contexts, calls and one-way streams one peer may have open at once with what the
    /// actor runs. 16,384 by default. With 0 it runs nothing for anybody.
    ///
    /// Another one is refused: for who called it is a [`RemoteActorError`](crate::RemoteActorError)
    /// of the type `TooManyDialogs`. The connection goes on, and everything on it can be cancelled.
    pub const fn contexts(mut self, contexts: usize) -> Self {
        self.contexts = contexts;
        self
    }

    /// The bytes of first values, items and results that wait until one peer takes them, and,
    /// counted apart, those of calls. 1 MiB by default; at least 1.
    ///
    /// Who sends an item or calls waits while there is as much. The one that goes over it is taken
    /// whole, and first values and results always are.
    pub const fn buffered(mut self, bytes: usize) -> Self {
        self.buffered = clamp(bytes, 1, usize::MAX);
        self
    }

    /// The bytes of everything else that waits until one peer takes it: errors, requests to cancel,
    /// and answers to such. 4 MiB by default; at least 64 KiB.
    ///
    /// Nobody waits to send these. A peer for which more of it waits already does not read what it
    /// is sent, and loses its connection with the next of them.
    pub const fn buffered_control(mut self, bytes: usize) -> Self {
        self.buffered_control = clamp(bytes, MIN_FRAME, usize::MAX);
        self
    }

    /// How long the two sides of a new connection may take to say who they are: whoever
    /// [connects](crate::connect) to this actor, unless its
    /// [listener](crate::ListenOptions::handshake_limit) says otherwise, and whomever it connects to.
    /// 10 s by default; at least 1 ms.
    ///
    /// The connection is closed when it is over: a [`ConnectError`](crate::ConnectError) for who
    /// connects. Children have [a time of their own](crate::SpawnOptions::handshake_limit).
    pub const fn handshake(mut self, limit: Duration) -> Self {
        self.handshake = match limit.as_millis() {
            0 => Duration::from_millis(1),
            _ => limit,
        };
        self
    }

    /// How many connections there may be at once to one address at which the actor listens whose
    /// peer has not said who it is, unless the [listener](crate::ListenOptions::unknown_limit) says
    /// otherwise. 64 by default, and at least 1.
    ///
    /// When one more comes, the oldest of them is closed.
    pub const fn unknown(mut self, connections: usize) -> Self {
        self.unknown = clamp(connections, 1, usize::MAX);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for what this library says itself.
const MIN_FRAME: usize = 64 << 10;
/// What the header of a frame can say.
const MAX_FRAME: usize = u32::MAX as usize;
/// What this library says itself nests less.
const MIN_DEPTH: usize = 8;

const fn clamp(value: usize, least: usize, most: usize) -> usize {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}
