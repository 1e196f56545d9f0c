use crate::wire::{CauseKind, ErrorMsg, FuncType, Message, Payload, Uid};

use super::parent::{overrun, violation_error};
use super::stream::{Incoming, Stream, Streaming};
use super::{
    Cancel, Cause, Effect, Effects, LinkState, Loss, OpenRefused, SendRefused, Setup, Violation,
};

/// The half at the side that runs the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    setup: Setup,
    state: ChildState,
    kind: Option<FuncType>,
    is_started: bool,
    cancel: Cancel,
    link: LinkState,
    stream: Stream,
    /// What the parent sent instead of a request to cancel.
    remote_error: Option<Box<ErrorMsg>>,
    /// What the parent was told that it came to, or would have been.
    outcome: Option<Told>,
}

/// What a parent was told at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Result,
    Cancellation,
    Error,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildState {
    /// `Start` came; the endpoint is being looked for.
    Received,
    /// The endpoint runs, and has not called `started`; a plain function never does.
    PreStarted,
    /// The endpoint runs.
    Started,
    /// The terminal message was sent, or none can be: the endpoint was cancelled, and still runs.
    Finishing,
    /// The endpoint has ended.
    Done,
    /// The endpoint was dropped.
    Tombstone,
}

impl ChildState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::PreStarted => "pre-started",
            Self::Started => "started",
            Self::Finishing => "finishing",
            Self::Done => "done",
            Self::Tombstone => "tombstone",
        }
    }
}

/// What can happen to a child.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChildEvent {
    /// The endpoint was found and is to run.
    Accept(FuncType),
    /// It was not, or may not run.
    Refuse(Box<ErrorMsg>),
    /// Somebody cancels the endpoint: itself, the parent's request, or whoever cancels the actor.
    Cancel(Cause),
    EndpointEnded(EndpointEnd),
    /// The endpoint was dropped, with its runtime.
    Dropped(Cause),
    /// An item is of another type than the endpoint takes.
    Undecodable(Box<ErrorMsg>),
    /// What came for this dialog's cid.
    Message(Message),
    /// Writing to the link failed.
    WriteFailed,
    /// The link has ended, and all that came over it was delivered.
    LinkLost(Loss),
}

/// How an endpoint ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EndpointEnd {
    Returned(Payload),
    /// With an error of its own, or a panic.
    Failed(Box<ErrorMsg>),
    /// Cancelled, by what the dialog knows or else by this.
    Cancelled(Cause),
}

/// Why a first value cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartedRefused {
    /// It was sent before.
    Twice,
    /// A plain function has none.
    NotAContext,
    /// The dialog has ended.
    Ended,
}

impl Child {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            stream: Stream::new(&setup.features),
            setup,
            state: ChildState::Received,
            kind: None,
            is_started: false,
            cancel: Cancel::None,
            link: LinkState::Up,
            remote_error: None,
            outcome: None,
        }
    }

    /// Takes in what happened and appends what is to be done.
    pub(crate) fn handle(&mut self, event: ChildEvent, out: &mut Effects) {
        match event {
            ChildEvent::Accept(kind) => self.accept(kind, out),
            ChildEvent::Refuse(error) => {
                if self.state == ChildState::Received {
                    self.send_terminal(Err(error), out);
                    self.leave(ChildState::Done, out);
                }
            }
            ChildEvent::Cancel(cause) => self.cancelled(cause, out),
            ChildEvent::EndpointEnded(end) => self.ended(end, out),
            ChildEvent::Dropped(cause) => self.dropped(cause, out),
            ChildEvent::Undecodable(error) => self.undecodable(error, out),
            ChildEvent::Message(message) => self.message(message, out),
            ChildEvent::WriteFailed => {
                if self.link == LinkState::Up {
                    self.link = LinkState::WriteDead;
                }
            }
            ChildEvent::LinkLost(loss) => self.link_lost(loss, out),
        }
    }

    /// Sends the first value.
    pub(crate) fn started(
        &mut self,
        pld: Payload,
        out: &mut Effects,
    ) -> Result<(), StartedRefused> {
        match self.state {
            ChildState::PreStarted if self.kind != Some(FuncType::Context) => {
                return Err(StartedRefused::NotAContext);
            }
            ChildState::PreStarted => {}
            ChildState::Started => return Err(StartedRefused::Twice),
            _ => return Err(StartedRefused::Ended),
        }
        self.state = ChildState::Started;
        self.is_started = true;
        if self.may_write() {
            out.push(Effect::Send(Message::Started {
                cid: self.setup.cid.clone(),
                pld,
            }));
        }
        Ok(())
    }

    /// Says how long the endpoint cannot be cancelled, to a peer that waits for that.
    pub(crate) fn shielded(&mut self, ms: u64, out: &mut Effects) {
        let runs = matches!(self.state, ChildState::PreStarted | ChildState::Started);
        if runs && self.setup.features.shields && self.may_write() {
            let cid = self.setup.cid.clone();
            out.push(Effect::Send(Message::Shielded { cid, ms }));
        }
    }

    /// What the parent was told at the end, whether or not it has heard it.
    pub(crate) fn outcome(&self) -> Option<Told> {
        self.outcome
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> ChildState {
        self.state
    }

    /// What the parent sent instead of a request to cancel.
    pub(crate) fn remote_error(&self) -> Option<&ErrorMsg> {
        self.remote_error.as_deref()
    }

    /// Nothing more is sent, and nothing that comes is heard.
    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.state,
            ChildState::Finishing | ChildState::Done | ChildState::Tombstone
        )
    }

    pub(crate) fn is_started(&self) -> bool {
        self.is_started
    }

    pub(crate) fn cancel_called(&self) -> bool {
        self.cancel.is_asked()
    }

    /// Who cancelled the endpoint first.
    pub(crate) fn canceller(&self) -> Option<&Uid> {
        self.cancel.cause().map(|cause| &cause.by)
    }

    fn accept(&mut self, kind: FuncType, out: &mut Effects) {
        if self.state != ChildState::Received {
            return;
        }
        self.state = ChildState::PreStarted;
        self.kind = Some(kind);
        if self.may_write() {
            out.push(Effect::Send(Message::StartAck {
                cid: self.setup.cid.clone(),
                functype: kind,
            }));
        }
        if kind == FuncType::AsyncGen {
            // The answer that it runs is all that goes before its items.
            self.state = ChildState::Started;
            self.is_started = true;
        }
        // It may have been cancelled before there was a scope for it.
        if let Some(cause) = self.cancel.cause() {
            out.push(Effect::CancelScope(cause.clone()));
        }
    }

    /// The first cause is kept.
    fn cancelled(&mut self, cause: Cause, out: &mut Effects) {
        if self.cancel.is_asked() {
            return;
        }
        match self.state {
            ChildState::Received => self.cancel = Cancel::Asked(cause),
            ChildState::PreStarted | ChildState::Started => {
                self.cancel = Cancel::Asked(cause.clone());
                out.push(Effect::CancelScope(cause));
            }
            ChildState::Finishing | ChildState::Done | ChildState::Tombstone => {}
        }
    }

    fn ended(&mut self, end: EndpointEnd, out: &mut Effects) {
        match self.state {
            ChildState::PreStarted | ChildState::Started => {
                let terminal = self.terminal(end);
                self.send_terminal(terminal, out);
                self.leave(ChildState::Done, out);
            }
            ChildState::Finishing => self.leave(ChildState::Done, out),
            ChildState::Received | ChildState::Done | ChildState::Tombstone => {}
        }
    }

    fn dropped(&mut self, cause: Cause, out: &mut Effects) {
        match self.state {
            ChildState::Received | ChildState::PreStarted | ChildState::Started => {
                let error = self.cancellation(cause);
                self.send_terminal(Err(error), out);
                self.leave(ChildState::Tombstone, out);
            }
            ChildState::Finishing => self.leave(ChildState::Tombstone, out),
            ChildState::Done | ChildState::Tombstone => {}
        }
    }

    /// The dialog fails, unless it was cancelled before: then that is how it ends.
    fn undecodable(&mut self, error: Box<ErrorMsg>, out: &mut Effects) {
        if self.state != ChildState::Started || self.cancel.is_asked() {
            return;
        }
        let cause = Cause::new(CauseKind::SiblingFailed, self.setup.peer.clone())
            .because(error.message.clone().unwrap_or_default());
        self.fail_now(*error, cause, out);
        self.discard(out);
    }

    fn message(&mut self, message: Message, out: &mut Effects) {
        match self.state {
            ChildState::Received | ChildState::PreStarted | ChildState::Started => {}
            ChildState::Finishing | ChildState::Done | ChildState::Tombstone => {
                return out.push(Effect::Ignored {
                    message: message.name(),
                    state: self.state.name(),
                });
            }
        }
        match message {
            Message::Yield { .. } if self.kind == Some(FuncType::AsyncGen) => {
                self.violated("Yield", out);
            }
            Message::Yield { pld, .. } => self.item(pld, out),
            Message::Deadline { ms, .. } => out.push(Effect::Deadline { ms }),
            Message::Stop { .. } => {
                if self.is_started && self.stream.peer_stopped() {
                    out.push(Effect::EndOfStream);
                    out.push(Effect::WakeSender);
                } else {
                    out.push(Effect::Ignored {
                        message: "Stop",
                        state: self.state.name(),
                    });
                }
            }
            Message::Credit { items, .. } => {
                if self.is_started && self.stream.granted(items) {
                    out.push(Effect::WakeSender);
                } else {
                    self.violated("Credit", out);
                }
            }
            Message::Error(error) => {
                let cause = Cause::of_error(&error);
                self.remote_error.get_or_insert(error);
                self.cancelled(cause, out);
            }
            Message::StartAck { .. }
            | Message::Started { .. }
            | Message::Return { .. }
            | Message::CancelAck { .. }
            | Message::Shielded { .. }
            | Message::Start(_)
            | Message::Aid(_)
            | Message::SpawnSpec(_) => self.violated(message.name(), out),
        }
    }

    #[inline]
    fn item(&mut self, pld: Payload, out: &mut Effects) {
        if !self.is_started {
            return self.violated("Yield", out);
        }
        match self.stream.item_came() {
            Incoming::Deliver => out.push(Effect::DeliverItem(pld)),
            Incoming::Replace => {
                out.push(Effect::DropOldest);
                out.push(Effect::DeliverItem(pld));
            }
            Incoming::Drop => {}
            Incoming::Overrun { .. } => {
                let error = overrun(&self.setup, &self.stream);
                let cause = Cause::new(CauseKind::Overrun, self.setup.peer.clone());
                self.fail_now(error, cause, out);
            }
            Incoming::Violation => self.violated("Yield after Stop", out),
        }
    }

    fn violated(&mut self, message: &'static str, out: &mut Effects) {
        let violation = Violation {
            message,
            state: self.state.name(),
        };
        out.push(Effect::Violated(violation));
        let error = violation_error(&self.setup, violation);
        let cause = Cause::new(CauseKind::SiblingFailed, self.setup.peer.clone())
            .because(violation.to_string());
        self.fail_now(error, cause, out);
    }

    /// Ends the dialog for the peer, and cancels the endpoint if it runs.
    fn fail_now(&mut self, error: ErrorMsg, cause: Cause, out: &mut Effects) {
        self.cancelled(cause, out);
        self.send_terminal(Err(Box::new(error)), out);
        self.finish_or_leave(out);
    }

    fn link_lost(&mut self, loss: Loss, out: &mut Effects) {
        if self.link == LinkState::Down {
            return;
        }
        self.link = LinkState::Down;
        match self.state {
            ChildState::Received | ChildState::PreStarted | ChildState::Started => {
                let cause =
                    Cause::new(CauseKind::PeerLost, self.setup.peer.clone()).because(&*loss.reason);
                self.cancelled(cause, out);
                if self.is_started {
                    out.push(Effect::WakeSender);
                }
                out.push(Effect::Resolved);
                self.finish_or_leave(out);
            }
            ChildState::Finishing | ChildState::Done | ChildState::Tombstone => {}
        }
    }

    fn finish_or_leave(&mut self, out: &mut Effects) {
        match self.state {
            ChildState::Received => self.leave(ChildState::Done, out),
            _ => self.state = ChildState::Finishing,
        }
    }

    /// The one message that ends the dialog, given how the endpoint ended.
    fn terminal(&self, end: EndpointEnd) -> Result<Payload, Box<ErrorMsg>> {
        match end {
            EndpointEnd::Returned(pld) => {
                if self.kind == Some(FuncType::Context) && !self.is_started {
                    return Err(Box::new(ErrorMsg::new(
                        self.setup.own.clone(),
                        "NotStarted",
                        "the endpoint returned without started",
                    )));
                }
                Ok(pld)
            }
            EndpointEnd::Failed(error) => Err(error),
            EndpointEnd::Cancelled(cause) => match &self.remote_error {
                Some(error) => Err(Box::new(error.relayed_by(&self.setup.own))),
                None => Err(self.cancellation(cause)),
            },
        }
    }

    /// The error of an endpoint that was cancelled: by whom the dialog knows, or else by `cause`.
    fn cancellation(&self, cause: Cause) -> Box<ErrorMsg> {
        let cause = self.cancel.cause().unwrap_or(&cause);
        let by = if cause.by == self.setup.own {
            "by itself"
        } else if cause.by == self.setup.peer {
            "by its 'parent'-side peer"
        } else {
            "by a remote peer"
        };
        let mut text = format!("the context was cancelled {by}, {}", cause.by);
        if let Some(reason) = &cause.reason {
            text += ": ";
            text += reason;
        }
        let mut error = ErrorMsg::new(self.setup.own.clone(), ErrorMsg::CONTEXT_CANCELLED, text);
        error.canceller = Some(cause.by.clone());
        error.cause = Some(cause.info());
        Box::new(error)
    }

    fn send_terminal(&mut self, terminal: Result<Payload, Box<ErrorMsg>>, out: &mut Effects) {
        self.outcome = Some(match &terminal {
            Ok(_) => Told::Result,
            Err(error) if error.is_cancellation() => Told::Cancellation,
            Err(_) => Told::Error,
        });
        if self.may_write() {
            let cid = self.setup.cid.clone();
            let terminal = terminal.map_err(|error| error.for_peer(&self.setup.features));
            out.push(Effect::Send(match terminal {
                Ok(_) if self.kind == Some(FuncType::AsyncGen) => Message::Stop { cid },
                Ok(pld) => Message::Return { cid, pld },
                Err(error) => Message::Error(Box::new(error.for_dialog(cid))),
            }));
        }
        if self.is_started {
            out.push(Effect::WakeSender);
        }
        out.push(Effect::Resolved);
    }

    fn leave(&mut self, state: ChildState, out: &mut Effects) {
        self.state = state;
        out.push(Effect::Forget);
    }
}

impl Streaming for Child {
    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    fn link(&self) -> LinkState {
        self.link
    }

    fn send_refused(&self) -> Option<SendRefused> {
        match self.state {
            ChildState::Started => None,
            ChildState::Received | ChildState::PreStarted => Some(SendRefused::NotOpen),
            ChildState::Finishing | ChildState::Done | ChildState::Tombstone => {
                Some(SendRefused::Ended)
            }
        }
    }

    fn may_open(&self) -> Result<(), OpenRefused> {
        if self.cancel.is_asked() {
            return Err(OpenRefused::Cancelled);
        }
        match self.state {
            ChildState::Started => Ok(()),
            ChildState::Received | ChildState::PreStarted => Err(OpenRefused::NotStarted),
            _ => Err(OpenRefused::Ended),
        }
    }

    fn has_stream(&self) -> bool {
        self.is_started
    }

    /// The end of a function that sends items is the end of its stream.
    fn says_stop(&self) -> bool {
        self.kind == Some(FuncType::Context)
    }

    fn may_write(&self) -> bool {
        self.link == LinkState::Up && !self.is_over()
    }
}
