use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use indexmap::IndexMap;
use indexmap::map::Entry;
use serde::{Deserialize, Serialize};
use tractor_runtime::sync::Event;
use tractor_runtime::time::Instant;
use tractor_runtime::{CancelCause, CancelKind, Cancelled, Peer, time};

use super::serve;
use super::{Actor, ConnectionId};
use crate::context::Half;
use crate::dialog::{Cause, Loss, Setup};
use crate::dump;
use crate::error::{self, MsgTypeError, PeerLost};
use crate::nursery::{ActorEnd, Ends};
use crate::spawn::Exit;
use crate::transport::{Link, LinkError, LinkReader, Received, SendError};
use crate::wire::{
    Aid, CauseInfo, CauseKind, Cid, ErrorMsg, Features, FuncType, Message, Origin, Payload, Start,
    Uid,
};

/// A connection to another actor: what is written to it, and whose is what comes from it.
///
/// Any number of tasks use it at once. Its message loop waits for nothing but messages.
pub(crate) struct Connection {
    id: ConnectionId,
    actor: Weak<Actor>,
    own: Uid,
    peer: Uid,
    features: Features,
    /// Whether the peer is a registrar, as far as it said.
    to_registrar: bool,
    /// Whether the peer keeps the connection by which it registered for as long as it is to be
    /// found: peers that announce features do.
    holds: bool,
    link: Rc<Link>,
    // Names are random, and what happens to all of them at once is to happen in the same order
    // whenever the same program runs.
    halves: RefCell<IndexMap<Cid, Rc<Half>>>,
    /// How many of them the peer has opened.
    served: Cell<usize>,
    requests: RefCell<IndexMap<Cid, Request>>,
    lost: RefCell<Option<PeerLost>>,
    /// The peer sends nothing any more, and all that it sent was delivered.
    read_ended: Event,
    end_reason: RefCell<Option<String>>,
    is_lost: Event,
    /// Whether the peer may cancel the whole actor.
    may_cancel: Cell<bool>,
    /// It lives for itself, and not between a parent and its child.
    is_served: Cell<bool>,
    /// The peer ends because somebody else asked it to.
    leaves: Event,
    /// Where goes what a child tells of the ends of its own children.
    reports: RefCell<Option<Rc<Ends>>>,
}

/// Something asked of the peer's actor itself, whose answer is still to come.
enum Request {
    CancelTask(Weak<Half>),
    CancelActor(Rc<Ack>),
    Dump(Rc<DumpAnswer>),
}

/// The answer to a request for what an actor is doing.
#[derive(Debug)]
pub(crate) struct DumpAnswer {
    cid: Cid,
    pub(crate) event: Event,
    /// The text, or why there is none; nothing if the connection was lost.
    pub(crate) text: RefCell<Option<Result<String, Box<ErrorMsg>>>>,
}

/// The answer to a request to cancel an actor.
#[derive(Debug, Default)]
pub(crate) struct Ack {
    pub(crate) event: Event,
    pub(crate) accepted: Cell<bool>,
    /// When it was accepted.
    pub(crate) at: Cell<Option<Instant>>,
}

/// What an actor is asked for what it is doing.
const DUMP: &str = "x_dump";

/// What an actor tells its parent when it ends. There is no answer.
const REPORT: &str = "x_report";

/// So that a report fits any limit, most likely.
const REPORTED_AT_ONCE: usize = 100;

#[derive(Serialize, Deserialize)]
struct DumpRequest {
    /// How long the answer is waited for.
    ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Report {
    ends: Vec<ActorEnd>,
}

#[derive(Serialize, Deserialize)]
struct CancelTask {
    cid: String,
}

impl Connection {
    pub(crate) fn new(actor: &Rc<Actor>, peer: &Aid, link: Rc<Link>) -> Rc<Self> {
        let features = peer.features.filter(|_| !actor.is_plain());
        let holds = features.is_some();
        let features = features.unwrap_or_default();
        link.agree(&features);
        let conn = Rc::new(Self {
            id: actor.next_connection(),
            actor: Rc::downgrade(actor),
            own: actor.uid().clone(),
            peer: peer.uid.clone(),
            features,
            to_registrar: peer.is_registrar == Some(true),
            holds,
            link,
            halves: RefCell::default(),
            served: Cell::new(0),
            requests: RefCell::default(),
            lost: RefCell::default(),
            read_ended: Event::new(),
            end_reason: RefCell::default(),
            is_lost: Event::new(),
            may_cancel: Cell::new(true),
            is_served: Cell::new(false),
            leaves: Event::new(),
            reports: RefCell::default(),
        });
        actor.connected(&conn);
        conn
    }

    pub(crate) fn is_served(&self) -> bool {
        self.is_served.get()
    }

    pub(super) fn begin_to_serve(&self) {
        self.is_served.set(true);
    }

    /// From now on the peer may cancel nothing but what it has started.
    pub(crate) fn deny_cancel(&self) {
        self.may_cancel.set(false);
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn leads_to_registrar(&self) -> bool {
        self.to_registrar
    }

    /// Whether what is registered on this connection, by either side, lasts no longer than it.
    pub(crate) fn holds_registrations(&self) -> bool {
        self.holds
    }

    pub(crate) fn own(&self) -> &Uid {
        &self.own
    }

    pub(crate) fn peer(&self) -> &Uid {
        &self.peer
    }

    pub(crate) fn actor(&self) -> Option<Rc<Actor>> {
        self.actor.upgrade()
    }

    /// What the peer announced.
    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    pub(crate) fn setup(&self, cid: Cid) -> Setup {
        Setup {
            cid,
            own: self.own.clone(),
            peer: self.peer.clone(),
            features: self.features,
        }
    }

    /// Reads messages and hands each to whom it is for, until the peer ends or breaks the
    /// protocol.
    pub(crate) async fn read(self: Rc<Self>, mut reader: LinkReader) -> Result<(), Cancelled> {
        let reason = loop {
            let reason = match reader.next().await? {
                Received::Message(message) => match self.dispatch(message) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                Received::Ended => break None,
                Received::Broken(LinkError::Io(error)) => break Some(error.to_string()),
                Received::Broken(error) => error.to_string(),
            };
            self.give_up(&reason);
            break Some(reason);
        };
        log::debug!(
            target: "tractor::wire",
            "{}: the connection to {} has ended{}",
            self.own, self.peer,
            reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default(),
        );
        *self.end_reason.borrow_mut() = reason;
        self.link.close();
        self.read_ended.set();
        Ok(())
    }

    /// Writes what is to be sent, until nothing more will be.
    pub(crate) async fn write(self: Rc<Self>) -> Result<(), Cancelled> {
        if let Err(error) = self.link.write_loop().await? {
            log::debug!(
                target: "tractor::wire",
                "{}: writing to {} failed: {error}", self.own, self.peer,
            );
            for half in self.all_halves() {
                half.write_failed();
            }
        }
        Ok(())
    }

    /// Set when the peer sends nothing any more.
    pub(crate) fn read_ended(&self) -> &Event {
        &self.read_ended
    }

    /// Ends everything on this connection. Again has no effect.
    pub(crate) fn lose(&self, exit: Option<&Exit>) {
        if self.is_lost.is_set() {
            return;
        }
        let lost = PeerLost {
            peer: self.peer.clone(),
            status: exit.and_then(Exit::status),
            reason: (self.end_reason.borrow_mut().take())
                .or_else(|| exit.and_then(Exit::reason).map(Into::into)),
        };
        let loss = Loss::new(lost.to_string());
        *self.lost.borrow_mut() = Some(lost);
        self.is_lost.set();
        self.link.abort();
        let requests = std::mem::take(&mut *self.requests.borrow_mut());
        for request in requests.into_values() {
            request.answered(false);
        }
        for half in self.all_halves() {
            half.link_lost(loss.clone());
        }
    }

    /// How many dialogs it has, those included that only wait for something to come late.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn dialogs(&self) -> usize {
        self.halves.borrow().len()
    }

    fn all_halves(&self) -> Vec<Rc<Half>> {
        self.halves.borrow().values().cloned().collect()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.is_set()
    }

    pub(crate) fn lost(&self) -> Option<PeerLost> {
        self.lost.borrow().clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.is_lost.is_set() && !self.read_ended.is_set()
    }

    /// Whether it is up and is to stay so, as far as this side knows.
    pub(crate) fn takes_calls(&self) -> bool {
        self.is_up() && self.link.is_open()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Puts a half into the table. False if its name is taken.
    pub(crate) fn insert(&self, cid: Cid, half: Rc<Half>) -> bool {
        match self.halves.borrow_mut().entry(cid) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                if half.is_child() {
                    self.served.set(self.served.get() + 1);
                }
                slot.insert(half);
                true
            }
        }
    }

    pub(crate) fn forget(&self, cid: &Cid) {
        let half = self.halves.borrow_mut().swap_remove(cid);
        if half.is_some_and(|half| half.is_child()) {
            self.served.set(self.served.get() - 1);
        }
    }

    /// Cancels the endpoints that run for the peer.
    pub(super) fn cancel_endpoints(&self, cause: &Cause) {
        for half in self.all_halves() {
            if half.is_child() {
                half.cancel_endpoint(cause.clone());
            }
        }
    }

    /// Asks the peer's actor to cancel the task of a dialog.
    pub(crate) fn request_cancel_task(&self, half: &Rc<Half>, cause: &Cause) {
        let kwargs = Payload::encode(&CancelTask {
            cid: half.cid().to_string(),
        });
        let kwargs = kwargs.expect("a text can be encoded");
        let request = Request::CancelTask(Rc::downgrade(half));
        self.request("_cancel_task", kwargs, cause.info(), request);
    }

    /// Set when the peer has said that it ends because somebody else asked it to.
    pub(crate) fn leaves(&self) -> &Event {
        &self.leaves
    }

    /// Asks the peer's actor to end.
    pub(crate) fn request_cancel_actor(&self, cause: &CancelCause) -> Rc<Ack> {
        let ack = Rc::new(Ack::default());
        if !self.is_up() {
            ack.event.set();
            return ack;
        }
        let request = Request::CancelActor(ack.clone());
        let info = to_dialog(cause, &self.own).info();
        self.request("cancel", Payload::empty_map(), info, request);
        ack
    }

    /// Whether the peer knows how to say what it is doing.
    pub(crate) fn dumps(&self) -> bool {
        self.features.dumps
    }

    /// Asks the peer's actor what it is doing, if it is one of this library.
    pub(crate) fn request_dump(&self, limit: Duration) -> Rc<DumpAnswer> {
        let answer = Rc::new(DumpAnswer {
            cid: Cid::fresh(),
            event: Event::new(),
            text: RefCell::default(),
        });
        if !self.is_up() || !self.dumps() {
            answer.event.set();
            return answer;
        }
        let cause = CancelCause::new(CancelKind::Requested);
        let info = to_dialog(&cause, &self.own).info();
        let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let kwargs = Payload::encode(&DumpRequest { ms }).expect("a number can be encoded");
        let request = Request::Dump(answer.clone());
        self.request_as(answer.cid.clone(), DUMP, kwargs, info, request);
        answer
    }

    /// An answer that comes from now on is for nobody.
    pub(crate) fn forget_dump(&self, answer: &DumpAnswer) {
        self.requests.borrow_mut().swap_remove(&answer.cid);
    }

    /// Whether the peer is an actor that this one has started.
    pub(crate) fn is_to_child(&self) -> bool {
        self.reports.borrow().is_some()
    }

    /// The dialogs on it, for people: who waits for whom, and for what.
    pub(crate) fn shown_dialogs(&self) -> Vec<String> {
        let halves = self.all_halves();
        let shown = halves.iter().map(|half| {
            let side = if half.is_child() {
                "run for"
            } else {
                "opened at"
            };
            format!("context {side} {}: {}", self.peer, half.path())
        });
        shown.collect()
    }

    /// From now on the peer, a child, is listened to when it tells how its own children ended.
    pub(crate) fn hear_reports(&self, ends: &Rc<Ends>) {
        *self.reports.borrow_mut() = Some(ends.clone());
    }

    /// Tells the peer, the parent, how the children of this actor have ended.
    pub(crate) fn report(&self, ends: &[ActorEnd]) {
        // Whoever knows of causes is of this library.
        if !self.features.causes || !self.is_up() {
            return;
        }
        for ends in ends.chunks(REPORTED_AT_ONCE) {
            self.report_at_once(ends);
        }
    }

    fn report_at_once(&self, ends: &[ActorEnd]) {
        let Ok(kwargs) = Payload::encode(&Report { ends: ends.into() }) else {
            return;
        };
        let own = self.own.clone();
        let start = Start::new(Cid::fresh(), Start::SELF, REPORT, kwargs, own);
        let message = Message::Start(Box::new(start));
        match self.link.send(&message) {
            // What an actor died of may be a long text.
            Err(SendError::Encode(_)) if ends.len() > 1 => {
                let (first, rest) = ends.split_at(ends.len() / 2);
                self.report_at_once(first);
                self.report_at_once(rest);
            }
            Err(error) => not_sent(&message, &error),
            Ok(()) => {}
        }
    }

    fn request(&self, func: &str, kwargs: Payload, cause: CauseInfo, request: Request) {
        self.request_as(Cid::fresh(), func, kwargs, cause, request);
    }

    fn request_as(
        &self,
        cid: Cid,
        func: &str,
        kwargs: Payload,
        cause: CauseInfo,
        request: Request,
    ) {
        let mut start = Start::new(cid.clone(), Start::SELF, func, kwargs, self.own.clone());
        if self.features.causes {
            start.cause = Some(cause);
        }
        self.requests.borrow_mut().insert(cid, request);
        self.send_own(&Message::Start(Box::new(start)));
    }

    /// Sends what this library made itself, which fits any limit.
    fn send_own(&self, message: &Message) {
        if let Err(error) = self.link.send(message) {
            not_sent(message, &error);
        }
    }

    /// Tells the peer why the connection ends.
    fn give_up(&self, reason: &str) {
        log::warn!(
            target: "tractor::wire",
            "{}: the connection to {} is given up: {reason}", self.own, self.peer,
        );
        let error = ErrorMsg::new(self.own.clone(), "TransportClosed", reason);
        self.send_own(&Message::Error(Box::new(error)));
    }

    /// An error is the connection's end.
    fn dispatch(self: &Rc<Self>, message: Message) -> Result<(), String> {
        log::trace!(target: "tractor::wire", "{} <- {}: {message:?}", self.own, self.peer);
        match message {
            Message::Aid(_) | Message::SpawnSpec(_) => {
                Err(format!("{} after the handshake", message.name()))
            }
            Message::Start(start) => self.start(*start),
            message => {
                match message.cid() {
                    Some(cid) => {
                        let cid = cid.clone();
                        self.deliver(&cid, message);
                    }
                    None => match message {
                        Message::Error(error) if error.is_cancellation() => {
                            log::debug!(target: "tractor::wire", "{} ends: {error}", self.peer);
                            self.leaves.set();
                        }
                        Message::Error(error) => log::warn!(
                            target: "tractor::wire",
                            "{} says of the connection: {error}", self.peer,
                        ),
                        _ => {}
                    },
                }
                Ok(())
            }
        }
    }

    fn deliver(self: &Rc<Self>, cid: &Cid, message: Message) {
        let half = self.halves.borrow().get(cid).cloned();
        if let Some(half) = half {
            let has_failed = match &message {
                Message::Error(error) => !error.is_cancellation() && half.awaits_first(),
                _ => false,
            };
            half.message(message);
            // Who opens a context in the common protocol cancels what failed before its first
            // value.
            if has_failed && !self.holds && !half.cancel_called() {
                let cause = Cause::new(CauseKind::SiblingFailed, self.own.clone());
                self.request_cancel_task(&half, &cause);
            }
            return;
        }
        let (accepted, value) = match message {
            Message::CancelAck { pld, .. } => (pld, None),
            Message::Error(error) => (false, Some(Err(error))),
            Message::Return { pld, .. } => (false, Some(Ok(pld))),
            _ => return,
        };
        let request = self.requests.borrow_mut().swap_remove(cid);
        if let (Some(Request::Dump(answer)), Some(value)) = (&request, value) {
            let text = value.map(|pld| pld.decode().ok()).transpose();
            *answer.text.borrow_mut() = text;
        }
        match request {
            Some(request) => request.answered(accepted),
            // It was on the way when its dialog ended.
            None => log::debug!(target: "tractor::dialog", "nobody waits for {cid}"),
        }
    }

    fn start(self: &Rc<Self>, start: Start) -> Result<(), String> {
        if start.uid != self.peer {
            return Err(format!("a Start in the name of {:?}", start.uid));
        }
        if self.halves.borrow().contains_key(&start.cid) {
            return Err(format!("a second Start for the dialog {}", start.cid));
        }
        let is_own = start.ns == Start::SELF;
        // What there is too much of can still be cancelled. A report opens no dialog.
        let is_free = is_own && matches!(&*start.func, "cancel" | "_cancel_task" | REPORT);
        let limit = self.link.limits().contexts;
        if self.served.get() >= limit && !is_free {
            let text = format!("{} has {limit} dialogs open with {}", self.peer, self.own);
            log::warn!(target: "tractor::dialog", "{text}");
            self.refuse(&start, "TooManyDialogs", &text);
        } else if is_own {
            self.start_self(start);
        } else if let Some(actor) = self.actor() {
            serve::serve(&actor, self, start);
        }
        Ok(())
    }

    /// What an actor answers itself.
    fn start_self(self: &Rc<Self>, start: Start) {
        let cause = Cause::received(start.cause.as_ref(), self.peer.clone());
        match &*start.func {
            "cancel" if !self.may_cancel.get() => self.deny(&start, "cancel"),
            DUMP if !self.may_cancel.get() => self.deny(&start, "look into"),
            "cancel" => {
                self.accept_cancel(&start);
                if let Some(actor) = self.actor() {
                    self.tell_parent(&actor, &cause);
                    actor.cancel(from_dialog(&cause, &self.own));
                }
            }
            "_cancel_task" => match start.kwargs.decode::<CancelTask>() {
                Ok(CancelTask { cid }) => {
                    self.accept_cancel(&start);
                    let half = self.halves.borrow().get(&Cid::parse(&cid)).cloned();
                    if let Some(half) = half {
                        half.peer_cancels(cause);
                    }
                }
                Err(error) => self.refuse(&start, "TypeError", &error.to_string()),
            },
            DUMP => {
                if let Some(actor) = self.actor() {
                    let (conn, cid) = (self.clone(), start.cid.clone());
                    let functype = FuncType::AsyncFunc;
                    self.send_own(&Message::StartAck { cid, functype });
                    let services = actor.services().clone();
                    let asked = start.kwargs.decode::<DumpRequest>();
                    let limit = Duration::from_millis(asked.map_or(0, |asked| asked.ms));
                    // If the actor takes no more tasks, who asked waits no longer than that.
                    let _ = services.start_soon(async move {
                        let text = dump::of(&actor, limit).await?;
                        if let Ok(pld) = Payload::encode(&text) {
                            let cid = start.cid.clone();
                            let sent = conn.link.send(&Message::Return { cid, pld });
                            if let Err(error @ SendError::Encode(_)) = sent {
                                conn.refuse(&start, MsgTypeError::TYPE, &error.to_string());
                            }
                        }
                        Ok(())
                    });
                }
            }
            REPORT if self.reports.borrow().is_some() => {
                let reports = self.reports.borrow().clone();
                match (reports, start.kwargs.decode::<Report>()) {
                    (Some(reports), Ok(report)) => {
                        for end in report.ends {
                            if let Some(actor) = self.actor() {
                                actor.child_ended(&end);
                            }
                            reports.told(end);
                        }
                    }
                    (_, Err(error)) => self.refuse(&start, "TypeError", &error.to_string()),
                    (None, _) => {}
                }
            }
            func => {
                let actor = self.actor();
                match actor
                    .as_ref()
                    .and_then(|actor| Some((actor, actor.answer(func)?)))
                {
                    Some((actor, answer)) => serve::answer(actor, self, start, answer),
                    None => {
                        let text = format!("{} has no `{func}` of its own", self.own);
                        self.refuse(&start, "AttributeError", &text);
                    }
                }
            }
        }
    }

    /// A parent takes the end of a child for its death, unless it knows that somebody asked.
    fn tell_parent(self: &Rc<Self>, actor: &Actor, cause: &Cause) {
        let parent = actor.whereabouts().parent();
        let Some(parent) = parent.filter(|parent| !Rc::ptr_eq(parent, self)) else {
            return;
        };
        let text = format!("{} was cancelled by {}", self.own, cause.by);
        let mut error = ErrorMsg::new(self.own.clone(), ErrorMsg::CONTEXT_CANCELLED, text);
        error.canceller = Some(cause.by.clone());
        parent.send_own(&Message::Error(Box::new(error)));
    }

    fn accept_cancel(&self, start: &Start) {
        let cid = start.cid.clone();
        let functype = FuncType::AsyncFunc;
        self.send_own(&Message::StartAck { cid, functype });
        let cid = start.cid.clone();
        self.send_own(&Message::CancelAck { cid, pld: true });
    }

    fn deny(&self, start: &Start, what: &str) {
        let text = format!("{} may not {what} {}", self.peer, self.own);
        log::warn!(target: "tractor::actor", "{text}");
        self.refuse(start, "PermissionDenied", &text);
    }

    fn refuse(&self, start: &Start, type_str: &str, text: &str) {
        let error = ErrorMsg::new(self.own.clone(), type_str, text);
        let error = error.for_dialog(start.cid.clone());
        self.send_own(&Message::Error(Box::new(error)));
    }
}

impl Request {
    fn answered(self, accepted: bool) {
        match self {
            Self::CancelTask(half) => {
                if let Some(half) = half.upgrade() {
                    half.cancel_answered(accepted);
                }
            }
            Self::CancelActor(ack) => {
                ack.accepted.set(accepted);
                ack.at.set(accepted.then(time::now));
                ack.event.set();
            }
            Self::Dump(answer) => answer.event.set(),
        }
    }
}

fn not_sent(message: &Message, error: &SendError) {
    log::debug!(target: "tractor::wire", "{} was not sent: {error}", message.name());
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} to {})", self.own, self.peer)
    }
}

/// A dialog's cause as one of a scope here.
#[track_caller]
pub(crate) fn from_dialog(cause: &Cause, own: &Uid) -> CancelCause {
    let mut scope_cause = CancelCause::new(error::cancel_kind(cause.kind));
    if cause.by != *own {
        scope_cause = scope_cause.with_peer(error::peer(&cause.by));
    }
    if let Some(origin) = &cause.origin {
        scope_cause = scope_cause.with_origin(error::origin(origin));
    }
    match &cause.reason {
        Some(reason) => scope_cause.with_reason(reason.clone()),
        None => scope_cause,
    }
}

/// A scope's cause as one of a dialog: somebody outside asked, or else this actor.
pub(crate) fn to_dialog(cause: &CancelCause, own: &Uid) -> Cause {
    let uid = |peer: &Peer| Uid::new(peer.name(), peer.id());
    let origin = match (cause.origin(), cause.peer()) {
        (Some(origin), _) => Some(Origin {
            actor: uid(origin.peer()),
            place: origin.place().into(),
        }),
        // It came from a peer that does not say.
        (None, Some(_)) => None,
        (None, None) => Some(Origin {
            actor: own.clone(),
            place: cause.location().to_string().into(),
        }),
    };
    Cause {
        kind: error::cause_kind(cause.kind()),
        by: cause.peer().map_or_else(|| own.clone(), uid),
        reason: cause.reason().map(Into::into),
        origin,
    }
}

/// The cause of everything that ends with the connection to this actor's parent.
#[track_caller]
pub(crate) fn parent_lost(parent: &Uid) -> CancelCause {
    CancelCause::new(CancelKind::PeerLost).with_peer(error::peer(parent))
}
