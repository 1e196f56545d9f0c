//! What goes wrong between actors: ordinary errors, found in an [`Error`] with
//! [`downcast_ref`](Error::downcast_ref).

use std::any::{Any, type_name};
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::{CancelKind, Origin, Peer};
pub use tractor_runtime::{Error, Result};

use crate::spawn::{Exit, seconds};
use crate::transport::Address;
use crate::wire::{self, CauseKind, ErrorMsg, Payload, Uid};

/// An endpoint failed in another actor.
///
/// It keeps its first source through any number of relays, while the path of those who passed it
/// on grows.
///
/// If the first error was a stream that was overrun, [`StreamOverrun`] is its
/// [`source`](std::error::Error::source).
#[derive(Clone, Debug)]
pub struct RemoteActorError {
    msg: Arc<ErrorMsg>,
    overrun: Option<StreamOverrun>,
}

impl RemoteActorError {
    /// Where it first happened.
    pub fn src_uid(&self) -> &Uid {
        &self.msg.src_uid
    }

    /// The type of the first error: the last segment of its path in Rust, `Panic` for a panic.
    pub fn src_type(&self) -> &str {
        &self.msg.src_type_str
    }

    /// The type of what the peer itself met: `RemoteActorError` if it only passed the error on.
    pub fn boxed_type(&self) -> &str {
        &self.msg.boxed_type_str
    }

    /// Everyone who passed it on, the one where it happened first.
    pub fn relay_path(&self) -> &[Uid] {
        &self.msg.relay_path
    }

    /// What the first error said of itself.
    pub fn message(&self) -> &str {
        self.msg.message.as_deref().unwrap_or("")
    }

    /// What caused the first error, as text for people.
    pub fn trace(&self) -> &str {
        &self.msg.tb_str
    }

    /// The first error was a stream that was overrun: by whom, where that is known.
    pub fn overrun(&self) -> Option<&StreamOverrun> {
        self.overrun.as_ref()
    }

    /// The first error itself, if it was sent as a [`Portable`] one of this type, and no actor
    /// that passed it on was of another implementation.
    pub fn source_as<E: Portable>(&self) -> Option<E> {
        let name = E::NAME.unwrap_or_else(|| last_segment(type_name::<E>()));
        let source = self.msg.source.as_ref();
        source
            .filter(|_| self.msg.src_type_str == name)?
            .decode()
            .ok()
    }

    /// How many items of its stream, which were sent before it, the error has overtaken: they are
    /// lost.
    pub fn discarded(&self) -> u64 {
        self.msg.discarded.unwrap_or(0)
    }

    fn new(msg: Arc<ErrorMsg>) -> Self {
        let overrun = msg.is_overrun().then(|| StreamOverrun {
            sender: msg.sender.clone(),
        });
        Self { msg, overrun }
    }
}

impl fmt::Display for RemoteActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.msg)?;
        if self.msg.relay_path.len() > 1 {
            f.write_str(", relayed by")?;
            for (i, uid) in self.msg.relay_path.iter().skip(1).enumerate() {
                write!(f, "{} {uid}", if i == 0 { "" } else { "," })?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for RemoteActorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let overrun = self.overrun.as_ref()?;
        Some(overrun)
    }
}

/// An error that travels as a value, so that a caller which knows its type gets it back with
/// [`source_as`](RemoteActorError::source_as).
///
/// An endpoint fails with it through [`portable`]:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tractor::{Portable, Result, portable};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct NoSuchUser {
///     id: u64,
/// }
///
/// impl std::fmt::Display for NoSuchUser {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "there is no user {}", self.id)
///     }
/// }
///
/// impl std::error::Error for NoSuchUser {}
/// impl Portable for NoSuchUser {}
///
/// async fn name_of(id: u64) -> Result<String> {
///     Err(portable(NoSuchUser { id }))
/// }
/// tractor::endpoint!(name_of);
/// # fn main() {}
/// ```
pub trait Portable:
    std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What the type is called on the wire, if not by the last segment of its path.
    const NAME: Option<&'static str> = None;
}

/// The error as one that travels as a value. It is still found as an `E` in the result.
pub fn portable<E: Portable>(error: E) -> Error {
    let source = Payload::encode(&error).ok();
    let name = E::NAME.unwrap_or_else(|| last_segment(type_name::<E>()));
    Sent {
        error: Box::new(error),
        name,
        source,
    }
    .into()
}

/// A portable error on its way.
#[derive(Debug)]
struct Sent {
    error: Box<dyn std::error::Error + Send + Sync>,
    name: &'static str,
    source: Option<Payload>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Sent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// A context, or an actor with all its contexts, was cancelled.
///
/// Where this side itself asked through the context, it is not raised: see
/// [`wait_for_result`](crate::Context::wait_for_result).
#[derive(Clone, Debug)]
pub struct ContextCancelled {
    msg: Arc<ErrorMsg>,
}

impl ContextCancelled {
    /// The actor that asked. `None` if the peer did not say.
    pub fn canceller(&self) -> Option<&Uid> {
        self.msg.canceller.as_ref()
    }

    /// The actor that was cancelled, or that passed this on.
    pub fn src_uid(&self) -> &Uid {
        &self.msg.src_uid
    }

    /// Everyone who passed it on.
    pub fn relay_path(&self) -> &[Uid] {
        &self.msg.relay_path
    }

    /// What kind of event it was, as far as the peer said.
    pub fn kind(&self) -> CancelKind {
        self.msg
            .cause
            .as_ref()
            .map_or(CancelKind::Requested, |cause| cancel_kind(cause.kind))
    }

    /// The text that came with the request.
    pub fn reason(&self) -> Option<&str> {
        self.msg.cause.as_ref()?.reason.as_deref()
    }

    /// Where it began, however many actors it came through. `None` if one of them did not say.
    pub fn origin(&self) -> Option<Origin> {
        self.msg.cause.as_ref()?.origin.as_ref().map(origin)
    }
}

impl fmt::Display for ContextCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the context at {} was cancelled ({})",
            self.src_uid(),
            self.kind()
        )?;
        if let Some(canceller) = self.canceller() {
            write!(f, " by {canceller}")?;
        }
        match self.reason() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ContextCancelled {}

/// The endpoint is not among what the actor may run.
#[derive(Clone, Debug)]
pub struct ModuleNotExposed {
    path: String,
    msg: Arc<ErrorMsg>,
}

impl ModuleNotExposed {
    /// The endpoint that was asked for, `namespace:function`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The actor that refused.
    pub fn actor(&self) -> &Uid {
        &self.msg.src_uid
    }

    /// The name of the type on the wire.
    pub(crate) const TYPE: &'static str = "ModuleNotExposed";
}

impl fmt::Display for ModuleNotExposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} does not expose {}: enable the function or its module in the SpawnOptions that it is \
             started with",
            self.actor(),
            self.path
        )
    }
}

impl std::error::Error for ModuleNotExposed {}

/// The actor may run the endpoint, but its program has none of that name.
#[derive(Clone, Debug)]
pub struct EndpointNotFound {
    path: String,
    msg: Arc<ErrorMsg>,
}

impl EndpointNotFound {
    /// The endpoint that was asked for, `namespace:function`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The actor that was asked.
    pub fn actor(&self) -> &Uid {
        &self.msg.src_uid
    }

    /// The name of the type on the wire, which is what Python calls it.
    pub(crate) const TYPE: &'static str = "AttributeError";
}

impl fmt::Display for EndpointNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has no endpoint {}: register the function with `tractor::endpoint!` in the program \
             that the actor runs",
            self.actor(),
            self.path
        )
    }
}

impl std::error::Error for EndpointNotFound {}

/// A value was not of the type that the other side, or this one, expects.
#[derive(Clone, Debug)]
pub struct MsgTypeError {
    what: String,
    reason: String,
    msg: Option<Arc<ErrorMsg>>,
}

impl MsgTypeError {
    pub(crate) fn new(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            reason: reason.to_string(),
            msg: None,
        }
    }

    /// The endpoint or the message.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The actor that refused the value; `None` if it was this one.
    pub fn actor(&self) -> Option<&Uid> {
        self.msg.as_ref().map(|msg| &msg.src_uid)
    }

    /// The name of the type on the wire.
    pub(crate) const TYPE: &'static str = ErrorMsg::MSG_TYPE_ERROR;
}

impl fmt::Display for MsgTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(actor) = self.actor() {
            write!(f, "{actor} refused ")?;
        }
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl std::error::Error for MsgTypeError {}

/// The connection to another actor ended while something depended on it.
#[derive(Clone, Debug)]
pub struct PeerLost {
    pub(crate) peer: Uid,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) reason: Option<String>,
}

impl PeerLost {
    /// The actor at the other end.
    pub fn peer(&self) -> &Uid {
        &self.peer
    }

    /// How its process ended, if it was a child of this actor.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }
}

impl fmt::Display for PeerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost the connection to {}", self.peer)?;
        if let Some(status) = self.status {
            write!(f, " ({status})")?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PeerLost {}

/// More was sent on a stream than its receiver keeps.
#[derive(Clone, Debug)]
pub struct StreamOverrun {
    pub(crate) sender: Option<Uid>,
}

impl StreamOverrun {
    /// Who sent too fast.
    pub fn sender(&self) -> Option<&Uid> {
        self.sender.as_ref()
    }
}

impl fmt::Display for StreamOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream was overrun")?;
        match &self.sender {
            Some(sender) => write!(f, " by {sender}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StreamOverrun {}

/// A receiver of a [shared](crate::MsgStream::subscribe) stream was too slow, and items were
/// thrown away before it had received them. It goes on with the oldest that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the receiver lagged behind: {} items were lost for it",
            self.missed
        )
    }
}

impl std::error::Error for Lagged {}

/// A child actor ended, its process or its thread, although nobody had asked it to.
#[derive(Clone, Debug)]
pub struct ActorDied {
    pub(crate) uid: Uid,
    pub(crate) exit: Exit,
}

impl ActorDied {
    /// The child.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// How its process ended. `None` if it was not a process of its own, or if somebody else
    /// reaped that.
    pub fn status(&self) -> Option<ExitStatus> {
        self.exit.status()
    }
}

impl fmt::Display for ActorDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the actor {} died: {}", self.uid, self.exit)
    }
}

impl std::error::Error for ActorDied {}

/// A child actor did not come up. Nothing of it is left.
#[derive(Debug)]
pub struct SpawnError {
    pub(crate) name: String,
    pub(crate) program: String,
    pub(crate) failure: SpawnFailure,
}

impl SpawnError {
    /// The name that the actor was to have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program that was started, or what else the actor was to be.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What went wrong.
    pub fn failure(&self) -> &SpawnFailure {
        &self.failure
    }
}

/// Why a child actor did not come up.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnFailure {
    /// The operating system did not start the program or the thread.
    NotStarted(io::Error),
    /// The process ended before it had answered.
    Exited(Option<ExitStatus>),
    /// The process did not answer within this limit.
    TimedOut(Duration),
    /// It was asked to end while it started.
    Asked,
    /// The actor said why it cannot run.
    Boot(RemoteActorError),
    /// What the process answered is not the protocol.
    Protocol(String),
    /// This process was itself started as an actor, and has not become one; or it has on another
    /// thread, and this is what its program does besides.
    NotEntered,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the actor `{}` ({}) ", self.name, self.program)?;
        match &self.failure {
            SpawnFailure::NotStarted(error) => {
                write!(f, "could not be started: {error}")?;
                match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                        f.write_str("; check the program given to the SpawnOptions")
                    }
                    _ => Ok(()),
                }
            }
            SpawnFailure::Exited(status) => {
                f.write_str("ended before it answered")?;
                if let Some(status) = status {
                    write!(f, " ({status})")?;
                }
                f.write_str("; its program has to call `tractor::run` in main")
            }
            SpawnFailure::TimedOut(limit) => write!(
                f,
                "did not answer within {}; its program has to call `tractor::run` in main",
                seconds(*limit)
            ),
            SpawnFailure::Asked => f.write_str("was asked to end while it started"),
            SpawnFailure::Boot(error) => write!(f, "cannot run: {}", error.message()),
            SpawnFailure::Protocol(reason) => write!(f, "does not speak the protocol: {reason}"),
            SpawnFailure::NotEntered => f.write_str(
                "was not started, for this process is itself to be an actor: call `tractor::run` \
                 or `tractor::enter_if_actor` first",
            ),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            SpawnFailure::NotStarted(error) => Some(error),
            SpawnFailure::Boot(error) => Some(error),
            _ => None,
        }
    }
}

/// An actor does not listen at an address.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListenError {
    /// The address.
    pub address: Address,
    /// Why not.
    pub source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.address, self.source)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// There is no connection to an address.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// The address.
    pub address: Address,
    /// Why not: the system's error, or what the peer did instead of saying who it is.
    pub source: io::Error,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: {}", self.address, self.source)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// There is no registrar as one was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryError {
    /// Something else than a registrar is at its address.
    Occupied {
        /// The address.
        address: Address,
    },
    /// There is a registrar already, and this actor was to be it.
    Exists {
        /// Where that one listens.
        address: Address,
    },
    /// There is none at any of the addresses, and this actor was not to be it.
    Absent {
        /// The addresses.
        addresses: Vec<Address>,
    },
    /// A registrar took too long to enter this actor.
    Silent {
        /// Where it listens.
        address: Address,
    },
    /// This actor was told of no registrar.
    Without,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied { address } => write!(
                f,
                "{address} is occupied, but who is there did not answer that it is a registrar"
            ),
            Self::Exists { address } => write!(f, "there is a registrar at {address} already"),
            Self::Absent { addresses } => {
                f.write_str("there is no registrar at ")?;
                for (i, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if i == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::Silent { address } => {
                write!(
                    f,
                    "the registrar at {address} takes too long to enter this actor"
                )
            }
            Self::Without => f.write_str(
                "this actor has no registrar: give the root of its tree one with \
                 `RunOptions::registry`",
            ),
        }
    }
}

impl std::error::Error for RegistryError {}

/// Something was used that needs an actor, outside of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoActor;

impl fmt::Display for NoActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no actor: call it inside of `tractor::run`")
    }
}

impl std::error::Error for NoActor {}

/// A context was used in a way that its state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextMisuse {
    /// `started` was called twice.
    StartedTwice,
    /// The stream was opened before `started`.
    NotStarted,
    /// The stream was opened after the context was cancelled.
    OpenedAfterCancel,
    /// The stream was opened twice.
    OpenedTwice,
    /// An item was given to a [`Sink`](futures_sink::Sink) that had not said that it is ready.
    NotReady,
}

impl fmt::Display for ContextMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartedTwice => "`started` was called twice in one context",
            Self::NotStarted => "the stream was opened before `started` was called",
            Self::OpenedAfterCancel => "the stream was opened after the context was cancelled",
            Self::NotReady => "the stream was not ready for an item",
            Self::OpenedTwice => "a context has one stream, and it was opened already",
        })
    }
}

impl std::error::Error for ContextMisuse {}

/// Something was sent on a stream that takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamClosed {
    /// This side has closed its end.
    Here,
    /// The other side has closed its end.
    ByPeer,
    /// The context is over.
    Dialog,
}

impl fmt::Display for StreamClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "this end of the stream is closed",
            Self::ByPeer => "the other side has closed its end of the stream",
            Self::Dialog => "the context of the stream is over",
        })
    }
}

impl std::error::Error for StreamClosed {}

/// The name of an endpoint is not `namespace:function`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPath {
    /// What was given instead.
    pub name: String,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not the name of an endpoint: that is \"namespace:function\"",
            self.name
        )
    }
}

impl std::error::Error for InvalidPath {}

/// A cancellation that this side asked for, as it was answered.
pub(crate) fn context_cancelled(msg: ErrorMsg) -> ContextCancelled {
    ContextCancelled { msg: Arc::new(msg) }
}

/// An error that answers no call.
pub(crate) fn remote(msg: ErrorMsg) -> RemoteActorError {
    RemoteActorError::new(Arc::new(msg))
}

/// What a received `Error` is here. `path` is the endpoint, where the error answers its start.
pub(crate) fn from_wire(msg: ErrorMsg, refused: Option<&str>) -> Error {
    let msg = Arc::new(msg);
    let refused = refused.filter(|_| msg.relay_path.len() <= 1);
    match (&*msg.boxed_type_str, refused) {
        (ErrorMsg::CONTEXT_CANCELLED, _) => ContextCancelled { msg }.into(),
        (ModuleNotExposed::TYPE, Some(path)) => ModuleNotExposed {
            path: path.into(),
            msg,
        }
        .into(),
        (EndpointNotFound::TYPE, Some(path)) => EndpointNotFound {
            path: path.into(),
            msg,
        }
        .into(),
        (MsgTypeError::TYPE, _) => MsgTypeError {
            what: refused.map_or_else(|| "a message".into(), |path| format!("a call of {path}")),
            reason: msg.message.clone().unwrap_or_default(),
            msg: Some(msg),
        }
        .into(),
        _ => RemoteActorError::new(msg).into(),
    }
}

/// A failure as it travels from `own`. One that came from elsewhere keeps its source.
pub(crate) fn to_wire(error: &Error, own: &Uid) -> ErrorMsg {
    if let Some(msg) = received(error) {
        return msg.relayed_by(own);
    }
    let is_end = |leaf: &&Error| leaf.is_cancelled() || leaf.is::<ContextCancelled>();
    let Some(first) = error.leaves().find(|leaf| !is_end(leaf)) else {
        // A group of cancellations: that of another actor says who asked.
        return match error.leaves().find_map(received) {
            Some(msg) => msg.relayed_by(own),
            None => failure_to_wire(error, error, own),
        };
    };
    failure_to_wire(error, first, own)
}

/// A failure that is named for one of its leaves.
fn failure_to_wire(error: &Error, first: &Error, own: &Uid) -> ErrorMsg {
    let sent = first.downcast_ref::<Sent>();
    let name = match sent {
        Some(sent) => sent.name,
        None => last_segment(first.type_name()),
    };
    let mut msg = ErrorMsg::new(own.clone(), name, error.to_string());
    msg.tb_str = format!("{error:?}");
    msg.source = sent.and_then(|sent| sent.source.clone());
    msg
}

/// The name of a type without its path and its parameters.
fn last_segment(type_name: &'static str) -> &'static str {
    let path = type_name.split('<').next().unwrap_or(type_name);
    path.rsplit("::").next().unwrap_or(path)
}

/// The message that the error was made from, if it came from another actor.
fn received(error: &Error) -> Option<&ErrorMsg> {
    // A group is an error of its own: which of its members to pass on nobody could say.
    if error.group_name().is_some() {
        return None;
    }
    let msg = error
        .downcast_ref::<RemoteActorError>()
        .map(|error| &error.msg)
        .or_else(|| {
            error
                .downcast_ref::<ContextCancelled>()
                .map(|error| &error.msg)
        })
        .or_else(|| {
            error
                .downcast_ref::<ModuleNotExposed>()
                .map(|error| &error.msg)
        })
        .or_else(|| {
            error
                .downcast_ref::<EndpointNotFound>()
                .map(|error| &error.msg)
        })
        .or_else(|| error.downcast_ref::<MsgTypeError>()?.msg.as_ref());
    msg.map(|msg| &**msg)
}

/// A kind of cause as it travels.
pub(crate) fn cause_kind(kind: CancelKind) -> CauseKind {
    match kind {
        CancelKind::Deadline => CauseKind::Deadline,
        CancelKind::SiblingFailed => CauseKind::SiblingFailed,
        CancelKind::ParentCancelled => CauseKind::ParentCancelled,
        CancelKind::PeerLost => CauseKind::PeerLost,
        CancelKind::Shutdown => CauseKind::Shutdown,
        CancelKind::Signal => CauseKind::Signal,
        CancelKind::Overrun => CauseKind::Overrun,
        _ => CauseKind::Requested,
    }
}

/// An actor as who asked for a cancellation.
pub(crate) fn peer(uid: &Uid) -> Peer {
    Peer::new(uid.name(), uid.id())
}

/// Where a cancellation began, for who looks at it here.
pub(crate) fn origin(origin: &wire::Origin) -> Origin {
    Origin::new(peer(&origin.actor), origin.place.clone())
}

/// A kind of cause that came from another actor.
pub(crate) fn cancel_kind(kind: CauseKind) -> CancelKind {
    match kind {
        CauseKind::Requested => CancelKind::Requested,
        CauseKind::Deadline => CancelKind::Deadline,
        CauseKind::SiblingFailed => CancelKind::SiblingFailed,
        CauseKind::ParentCancelled => CancelKind::ParentCancelled,
        CauseKind::PeerLost => CancelKind::PeerLost,
        CauseKind::Shutdown => CancelKind::Shutdown,
        CauseKind::Signal => CancelKind::Signal,
        CauseKind::Overrun => CancelKind::Overrun,
    }
}

/// What a panic said, for people.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).into(),
        (_, Some(text)) => text.clone(),
        _ => "a panic with a value that is no text".into(),
    }
}
