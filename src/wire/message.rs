use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec;
use super::{Cid, Limits, Payload, Uid, WireError};

/// One message of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// Who is speaking: the first message on a connection, each way.
    Aid(Box<Aid>),
    /// What a fresh child is to be: the second message from its parent.
    SpawnSpec(Box<SpawnSpec>),
    /// Opens a dialog.
    Start(Box<Start>),
    /// The endpoint was found, and this is its kind.
    StartAck { cid: Cid, functype: FuncType },
    /// The endpoint's first value.
    Started { cid: Cid, pld: Payload },
    /// One item of a stream.
    Yield { cid: Cid, pld: Payload },
    /// No more items follow this way.
    Stop { cid: Cid },
    /// The endpoint's result, which ends its dialog.
    Return { cid: Cid, pld: Payload },
    /// A request to cancel was accepted. Ends the dialog of the request.
    CancelAck { cid: Cid, pld: bool },
    /// The dialog failed, or if there is no cid, the connection did.
    Error(Box<ErrorMsg>),
    /// So many more items may be sent. Only to a peer that announced it.
    Credit { cid: Cid, items: u32 },
    /// So many milliseconds are left for the endpoint, from now. Only to a peer that announced it.
    Deadline { cid: Cid, ms: u64 },
    /// The endpoint cannot be cancelled for so many milliseconds, from now. Only to a peer that
    /// announced it.
    Shielded { cid: Cid, ms: u64 },
}

impl Message {
    /// Reads one message from the body of a frame, copying what it keeps.
    pub(crate) fn decode(body: &[u8], limits: &Limits) -> Result<Self, WireError> {
        codec::decode(body, limits, &|range| Payload::copied(&body[range]))
    }

    /// Appends the body of a frame.
    pub(crate) fn encode_into(&self, buf: &mut Vec<u8>) {
        codec::encode(buf, self);
    }

    /// Its name on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Aid(_) => "Aid",
            Self::SpawnSpec(_) => "SpawnSpec",
            Self::Start(_) => "Start",
            Self::StartAck { .. } => "StartAck",
            Self::Started { .. } => "Started",
            Self::Yield { .. } => "Yield",
            Self::Stop { .. } => "Stop",
            Self::Return { .. } => "Return",
            Self::CancelAck { .. } => "CancelAck",
            Self::Error(_) => "Error",
            Self::Credit { .. } => "Credit",
            Self::Deadline { .. } => "Deadline",
            Self::Shielded { .. } => "Shielded",
        }
    }

    /// The dialog it belongs to, if to one.
    pub(crate) fn cid(&self) -> Option<&Cid> {
        match self {
            Self::Aid(_) | Self::SpawnSpec(_) => None,
            Self::Start(start) => Some(&start.cid),
            Self::Error(error) => error.cid.as_ref(),
            Self::StartAck { cid, .. }
            | Self::Started { cid, .. }
            | Self::Yield { cid, .. }
            | Self::Stop { cid }
            | Self::Return { cid, .. }
            | Self::CancelAck { cid, .. }
            | Self::Credit { cid, .. }
            | Self::Deadline { cid, .. }
            | Self::Shielded { cid, .. } => Some(cid),
        }
    }
}

/// The messages that are a dialog's name and a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Started,
    Yield,
    Return,
}

impl Carrier {
    pub(crate) fn message(self, cid: Cid, pld: Payload) -> Message {
        match self {
            Self::Started => Message::Started { cid, pld },
            Self::Yield => Message::Yield { cid, pld },
            Self::Return => Message::Return { cid, pld },
        }
    }
}

/// Who is speaking.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aid {
    pub(crate) uid: Uid,
    pub(crate) pid: Option<i64>,
    pub(crate) is_registrar: Option<bool>,
    /// Only asks who is there: the connection ends after both have said it.
    pub(crate) is_probe: bool,
    /// What this side understands beyond the common protocol; `None` from other implementations.
    pub(crate) features: Option<Features>,
}

/// What a peer understands beyond the common protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// It gives credit: so many items of a stream may be on the way to it from the start.
    pub(crate) credit: Option<u32>,
    /// Causes of cancellations travel whole.
    pub(crate) causes: bool,
    /// An `Error` may overtake what its dialog has queued, and says how much that was.
    pub(crate) discards: bool,
    /// It cancels what it runs when the time is over that its caller gave it.
    pub(crate) deadlines: bool,
    /// It waits longer for what said that it cannot be cancelled.
    pub(crate) shields: bool,
    /// Errors travel as values, beside what is said of them.
    pub(crate) sources: bool,
    /// It says what it is doing, to those who may ask.
    pub(crate) dumps: bool,
}

impl Features {
    /// What this library understands.
    pub(crate) fn ours() -> Self {
        Self {
            credit: Some(crate::dialog::WINDOW),
            causes: true,
            discards: true,
            deadlines: true,
            shields: true,
            sources: true,
            dumps: true,
        }
    }
}

/// What a fresh child is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpawnSpec {
    /// A map, for peers in Python.
    pub(crate) parent_main_data: Payload,
    /// A map, for peers in Python.
    pub(crate) runtime_vars: Payload,
    /// Prefixes of the endpoints that it will run, each with a file where the language has one.
    pub(crate) enable_modules: Vec<(String, String)>,
    pub(crate) reg_addrs: Vec<WireAddr>,
    pub(crate) bind_addrs: Option<Vec<WireAddr>>,
    /// The child's own identity.
    pub(crate) uid: Option<Uid>,
    /// What it is to log.
    pub(crate) loglevel: Option<String>,
    /// How long it may clean up after its parent was lost.
    pub(crate) grace_ms: Option<u64>,
    /// What its peers may make it hold.
    pub(crate) limits: Option<Limits>,
}

impl SpawnSpec {
    /// The spec of a child that runs nothing and listens nowhere.
    pub(crate) fn new(uid: Uid) -> Self {
        Self {
            parent_main_data: Payload::empty_map(),
            runtime_vars: Payload::empty_map(),
            enable_modules: Vec::new(),
            reg_addrs: Vec::new(),
            bind_addrs: None,
            uid: Some(uid),
            loglevel: None,
            grace_ms: None,
            limits: None,
        }
    }
}

/// Where an actor listens: a pair of texts, or of a text and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum WireAddr {
    /// Host and port.
    Tcp(String, u16),
    /// Directory and the socket's name in it.
    Uds(String, String),
}

/// Opens a dialog.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) cid: Cid,
    /// The module of the endpoint, or `self` for what every actor answers.
    pub(crate) ns: String,
    pub(crate) func: String,
    /// Arguments by name: a map.
    pub(crate) kwargs: Payload,
    /// Who asks.
    pub(crate) uid: Uid,
    pub(crate) pld_spec: String,
    /// Of a request to cancel: why.
    pub(crate) cause: Option<CauseInfo>,
    /// So many milliseconds are left for it, from now.
    pub(crate) deadline_ms: Option<u64>,
}

impl Start {
    /// The namespace of what every actor answers.
    pub(crate) const SELF: &'static str = "self";
    /// What a dialog accepts as payload, unless it says otherwise.
    pub(crate) const ANY: &'static str = "typing.Any";

    pub(crate) fn new(
        cid: Cid,
        ns: impl Into<String>,
        func: impl Into<String>,
        kwargs: Payload,
        uid: Uid,
    ) -> Self {
        Self {
            cid,
            ns: ns.into(),
            func: func.into(),
            kwargs,
            uid,
            pld_spec: Self::ANY.into(),
            cause: None,
            deadline_ms: None,
        }
    }
}

/// What kind of endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FuncType {
    /// One result.
    AsyncFunc,
    /// Items, one way.
    AsyncGen,
    /// A dialog with a first value, streams and a result.
    Context,
}

impl FuncType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AsyncFunc => "asyncfunc",
            Self::AsyncGen => "asyncgen",
            Self::Context => "context",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::AsyncFunc, Self::AsyncGen, Self::Context]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// Why something was cancelled, without who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CauseInfo {
    pub(crate) kind: CauseKind,
    pub(crate) reason: Option<String>,
    pub(crate) origin: Option<Origin>,
}

/// Where a cancellation began, however far it has come since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) actor: Uid,
    /// In the source.
    pub(crate) place: Arc<str>,
}

/// The kinds of causes that travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CauseKind {
    Requested,
    Deadline,
    SiblingFailed,
    ParentCancelled,
    PeerLost,
    Shutdown,
    Signal,
    Overrun,
}

impl CauseKind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Requested,
        Self::Deadline,
        Self::SiblingFailed,
        Self::ParentCancelled,
        Self::PeerLost,
        Self::Shutdown,
        Self::Signal,
        Self::Overrun,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Deadline => "deadline",
            Self::SiblingFailed => "sibling_failed",
            Self::ParentCancelled => "parent_cancelled",
            Self::PeerLost => "peer_lost",
            Self::Shutdown => "shutdown",
            Self::Signal => "signal",
            Self::Overrun => "overrun",
        }
    }

    /// A kind that a later version may add is a plain request to this one.
    pub(super) fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .unwrap_or(Self::Requested)
    }
}

/// A failure, with where it came from and who passed it on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ErrorMsg {
    /// Where it first happened, for a cancellation who reports it.
    pub(crate) src_uid: Uid,
    /// The type of the first error.
    pub(crate) src_type_str: String,
    /// The type of what is inside: `RemoteActorError` once it was relayed.
    pub(crate) boxed_type_str: String,
    /// Everyone who passed it on, the first at the front.
    pub(crate) relay_path: Vec<Uid>,
    pub(crate) message: Option<String>,
    pub(crate) tb_str: String,
    /// Of a cancellation: who asked.
    pub(crate) canceller: Option<Uid>,
    /// Of an overrun: who sent too fast.
    pub(crate) sender: Option<Uid>,
    /// The dialog that failed.
    pub(crate) cid: Option<Cid>,
    pub(crate) bad_msg: Option<Payload>,
    pub(crate) bad_msg_as_dict: Option<Payload>,
    /// Of a cancellation: why.
    pub(crate) cause: Option<CauseInfo>,
    /// How many queued messages of its dialog it overtook.
    pub(crate) discarded: Option<u64>,
    /// The first error itself, for whoever knows its type.
    pub(crate) source: Option<Payload>,
}

impl ErrorMsg {
    /// The type name of a cancellation.
    pub(crate) const CONTEXT_CANCELLED: &'static str = "ContextCancelled";
    /// The type name of an overrun.
    pub(crate) const STREAM_OVERRUN: &'static str = "StreamOverrun";
    /// The type name of a message that its dialog does not allow, or that is none.
    pub(crate) const MSG_TYPE_ERROR: &'static str = "MsgTypeError";
    /// The type name of an error that was relayed.
    pub(crate) const REMOTE_ACTOR_ERROR: &'static str = "RemoteActorError";

    /// An error of type `type_str` that happened here, at `own`.
    pub(crate) fn new(own: Uid, type_str: impl Into<String>, message: impl Into<String>) -> Self {
        let type_str = type_str.into();
        Self {
            src_uid: own.clone(),
            src_type_str: type_str.clone(),
            boxed_type_str: type_str,
            relay_path: vec![own],
            message: Some(message.into()),
            tb_str: String::new(),
            canceller: None,
            sender: None,
            cid: None,
            bad_msg: None,
            bad_msg_as_dict: None,
            cause: None,
            discarded: None,
            source: None,
        }
    }

    /// The same error as this side passes it on: its source stays, the path grows. A
    /// cancellation stays one, reported by whoever passes it on.
    pub(crate) fn relayed_by(&self, own: &Uid) -> Self {
        let mut relayed = self.clone();
        relayed.relay_path.push(own.clone());
        relayed.cid = None;
        relayed.discarded = None;
        if self.is_cancellation() {
            relayed.src_uid = own.clone();
        } else {
            relayed.boxed_type_str = Self::REMOTE_ACTOR_ERROR.into();
        }
        relayed
    }

    /// Without what this peer did not say it understands.
    pub(crate) fn for_peer(mut self, features: &Features) -> Self {
        if !features.causes {
            self.cause = None;
        }
        if !features.sources {
            self.source = None;
        }
        self
    }

    pub(crate) fn for_dialog(mut self, cid: Cid) -> Self {
        self.cid = Some(cid);
        self
    }

    pub(crate) fn is_cancellation(&self) -> bool {
        self.boxed_type_str == Self::CONTEXT_CANCELLED
    }

    /// The first error was an overrun, also if it was relayed since.
    pub(crate) fn is_overrun(&self) -> bool {
        self.src_type_str == Self::STREAM_OVERRUN
    }
}

impl fmt::Display for ErrorMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.src_type_str, self.src_uid)?;
        match self.message.as_deref() {
            None | Some("") => Ok(()),
            Some(message) => write!(f, ": {message}"),
        }
    }
}
