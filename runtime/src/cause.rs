//! Why something was cancelled, and the value that says so.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The answer of an operation that was cut short by a cancelled scope.
///
/// Only the runtime makes one. It converts into [`Error`](crate::Error) with `?`, and into
/// [`std::io::Error`] for code that speaks that language; both are recognised by the scope that
/// absorbs the cancellation.
#[derive(Clone)]
pub struct Cancelled {
    cause: CancelCause,
}

impl Cancelled {
    pub(crate) fn new(cause: CancelCause) -> Self {
        Self { cause }
    }

    /// Who cancelled, why, and where in the source.
    pub fn cause(&self) -> &CancelCause {
        &self.cause
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.cause)
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancelled({})", self.cause)
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}

/// What kind of event cancelled a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelKind {
    /// Somebody called `cancel()`.
    Requested,
    /// A deadline passed.
    Deadline,
    /// A child of the nursery, or its body, failed.
    SiblingFailed,
    /// An enclosing scope elsewhere was cancelled, and nothing more is known.
    ParentCancelled,
    /// The other end of a connection is gone.
    PeerLost,
    /// The runtime, or what hosts it, is being shut down.
    Shutdown,
    /// A signal from the operating system.
    Signal,
    /// A stream ran over.
    Overrun,
}

impl fmt::Display for CancelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "requested",
            Self::Deadline => "deadline passed",
            Self::SiblingFailed => "sibling failed",
            Self::ParentCancelled => "parent cancelled",
            Self::PeerLost => "peer lost",
            Self::Shutdown => "shutdown",
            Self::Signal => "signal",
            Self::Overrun => "overrun",
        })
    }
}

/// The record of one cancellation: kind, who asked, an optional text, and where.
///
/// The first cause of a scope is kept, and flows unchanged to everything below it.
/// Cloning shares the record.
#[derive(Clone)]
pub struct CancelCause(Arc<Record>);

#[derive(Clone)]
struct Record {
    kind: CancelKind,
    task: Option<TaskLabel>,
    peer: Option<Peer>,
    origin: Option<Origin>,
    reason: Option<Box<str>>,
    location: &'static Location<'static>,
}

impl CancelCause {
    /// A cause of this kind, asked for by the current task (if there is one), at the caller's
    /// place in the source.
    #[track_caller]
    pub fn new(kind: CancelKind) -> Self {
        Self::at(kind, crate::executor::current_label(), Location::caller())
    }

    pub(crate) fn at(
        kind: CancelKind,
        task: Option<TaskLabel>,
        location: &'static Location<'static>,
    ) -> Self {
        Self(Arc::new(Record {
            kind,
            task,
            peer: None,
            origin: None,
            reason: None,
            location,
        }))
    }

    /// The same with a text for people.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).reason = Some(reason.into().into_boxed_str());
        self
    }

    /// The same, asked for by somebody outside of this runtime.
    #[must_use]
    pub fn with_peer(mut self, peer: Peer) -> Self {
        Arc::make_mut(&mut self.0).peer = Some(peer);
        self
    }

    /// The same, begun elsewhere: it may have come a long way to who asked for it here.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        Arc::make_mut(&mut self.0).origin = Some(origin);
        self
    }

    /// What kind of event it was.
    pub fn kind(&self) -> CancelKind {
        self.0.kind
    }

    /// The task that asked, as text; `None` when no task was running.
    pub fn task(&self) -> Option<String> {
        self.0.task.as_ref().map(ToString::to_string)
    }

    /// Who asked, when it came from outside of this runtime.
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer.as_ref()
    }

    /// Where it began, when it came from outside of this runtime and that is known.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// The text that came with it.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Where in the source the cancellation was asked for. For a deadline, where the scope was
    /// made; for one from outside of this runtime, where it was taken in.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether both are the very same record, not just equal ones.
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &*self.0;
        write!(f, "{}", record.kind)?;
        if let Some(peer) = &record.peer {
            write!(f, " by {peer}")?;
        }
        if let Some(task) = &record.task {
            write!(f, " by {task}")?;
        }
        if let Some(reason) = &record.reason {
            write!(f, ": {reason}")?;
        }
        match &record.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => write!(f, " (at {})", record.location),
        }
    }
}

impl fmt::Debug for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelCause({self})")
    }
}

/// Somebody outside of this runtime who asked for a cancellation: another actor, say.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    name: Arc<str>,
    id: Arc<str>,
}

impl Peer {
    /// A peer known by a name for people and an id that is unique.
    pub fn new(name: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            id: id.into(),
        }
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unique id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.id)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}

/// Where a cancellation began that came from outside of this runtime.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    peer: Peer,
    place: Arc<str>,
}

impl Origin {
    /// Asked for by this peer, at this place in its source, as a text.
    pub fn new(peer: Peer, place: impl Into<Arc<str>>) -> Self {
        Self {
            peer,
            place: place.into(),
        }
    }

    /// Who asked first.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Where in the source of that peer: a file and a line, mostly.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} of {}", self.place, self.peer)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// How a task is called in causes and dumps. Holds no task alive.
#[derive(Clone, Debug)]
pub(crate) struct TaskLabel {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) location: &'static Location<'static>,
}

impl fmt::Display for TaskLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task `{name}`"),
            None => write!(f, "the task of {}", self.location),
        }
    }
}
