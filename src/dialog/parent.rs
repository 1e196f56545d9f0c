use crate::wire::{CauseKind, ErrorMsg, FuncType, Message, Payload, Uid};

use super::stream::{Incoming, Stream, Streaming};
use super::{
    Buffering, Cancel, Cause, Effect, Effects, Exit, LinkState, Loss, OpenRefused, Resolution,
    SendRefused, Setup, Violation,
};

/// The half at the side that opened the dialog.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    setup: Setup,
    kind: Kind,
    state: ParentState,
    /// The `Start` was given to the link.
    is_sent: bool,
    /// A `Started` came, whether or not a body was begun with it.
    is_started: bool,
    cancel: Cancel,
    /// The request was repeated once already.
    is_resent: bool,
    /// Another task than the body asked for the cancellation.
    is_asked_elsewhere: bool,
    link: LinkState,
    stream: Stream,
    /// How this side receives, if it was said when the dialog was opened.
    buffering: Option<Buffering>,
    /// The time is over by which the peer was told to be done.
    is_due: bool,
    /// The peer sent a value of another type than this side takes, and was told.
    has_refused: bool,
    resolution: Option<Resolution>,
    /// Nothing more can come for this dialog.
    is_peer_done: bool,
    body: Body,
}

/// What is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain function: no first value, no stream, no body.
    Function,
    Context,
    /// A function that sends items, one way: no first value but the answer that it runs.
    OneWay,
}

/// Where a parent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParentState {
    /// `Start` is being sent, or on its way.
    Opening,
    /// The endpoint was found.
    Acked,
    /// `Started` came; the body runs.
    Running,
    /// The body has ended, or there is none: only the terminal message is missing.
    Draining,
    /// It is known what became of the dialog. The body may still run.
    Done,
    /// The block has ended, and the peer may still send.
    Tombstone,
}

impl ParentState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Acked => "acked",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::Tombstone => "tombstone",
        }
    }
}

/// What can happen to a parent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ParentEvent {
    /// The dialog is to begin.
    Open,
    /// Somebody who has the context asks to cancel it.
    Cancel {
        cause: Cause,
        /// It was the body, which need not be cancelled by the answer.
        by_body: bool,
    },
    /// The opener's own scope is cancelled while it waits for `Started` or for the end.
    OuterCancelled(Cause),
    BodyEnded(BodyEnd),
    /// The block was dropped, with its body.
    Dropped(Cause),
    /// The time for a cancellation is over.
    CancelBoundOver,
    /// The first value, or an item, is of another type than this side takes.
    Undecodable(Box<ErrorMsg>),
    /// What came for this dialog's cid.
    Message(Message),
    /// The peer's actor answered the request to cancel; `false` if it refused.
    CancelAnswered(bool),
    /// Writing to the link failed.
    WriteFailed,
    /// The link has ended, and all that came over it was delivered.
    LinkLost(Loss),
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Returned,
    Failed {
        /// The error is what became of this dialog, as the body met it.
        is_remote: bool,
        /// With what to cancel the other half.
        cause: Cause,
    },
    Cancelled {
        /// By [`Effect::CancelScope`], not by a scope outside.
        by_dialog: bool,
        /// With what to cancel the other half.
        cause: Cause,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// Not begun, and perhaps never to begin.
    None,
    Running,
    Ended(BodyEnd),
    /// The block has ended.
    Exited,
}

impl Parent {
    pub(crate) fn new(setup: Setup, kind: Kind) -> Self {
        Self {
            stream: Stream::new(&setup.features),
            buffering: None,
            is_due: false,
            has_refused: false,
            setup,
            kind,
            state: ParentState::Opening,
            is_sent: false,
            is_started: false,
            cancel: Cancel::None,
            is_resent: false,
            is_asked_elsewhere: false,
            link: LinkState::Up,
            resolution: None,
            is_peer_done: false,
            body: Body::None,
        }
    }

    /// Takes in what happened and appends what is to be done.
    pub(crate) fn handle(&mut self, event: ParentEvent, out: &mut Effects) {
        match event {
            ParentEvent::Open => self.open(out),
            ParentEvent::Cancel { cause, by_body } => self.ask(cause, by_body, out),
            ParentEvent::OuterCancelled(cause) => self.outer_cancelled(cause, out),
            ParentEvent::BodyEnded(end) => self.body_ended(end, out),
            ParentEvent::Dropped(cause) => self.dropped(cause, out),
            ParentEvent::CancelBoundOver => self.bound_over(out),
            ParentEvent::Undecodable(error) => self.undecodable(error, out),
            ParentEvent::Message(message) => self.message(message, out),
            ParentEvent::CancelAnswered(accepted) => self.cancel_answered(accepted),
            ParentEvent::WriteFailed => {
                if self.link == LinkState::Up {
                    self.link = LinkState::WriteDead;
                }
            }
            ParentEvent::LinkLost(loss) => self.link_lost(loss, out),
        }
    }

    /// How this side is to receive from the beginning.
    pub(crate) fn set_buffering(&mut self, buffering: Buffering) {
        self.buffering = Some(buffering);
    }

    /// The time is over by which the peer was told to be done: it may have cancelled its half for
    /// that.
    pub(crate) fn deadline_passed(&mut self) {
        self.is_due = true;
    }

    /// Another deadline applies than the peer was told: so many milliseconds are left.
    pub(crate) fn deadline_moved(&mut self, ms: u64, out: &mut Effects) {
        if self.is_sent && self.setup.features.deadlines && self.may_write() {
            self.is_due = false;
            let cid = self.setup.cid.clone();
            out.push(Effect::Send(Message::Deadline { cid, ms }));
        }
    }

    /// The body waits for the result: items that come, or have come, are of no interest any more.
    pub(crate) fn await_result(&mut self, out: &mut Effects) {
        if self.is_started {
            self.discard(out);
        }
    }

    pub(crate) fn state(&self) -> ParentState {
        self.state
    }

    #[cfg(test)]
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// The endpoint is at work, and its first value is still to come.
    pub(crate) fn awaits_first(&self) -> bool {
        self.state == ParentState::Acked && self.kind == Kind::Context
    }

    pub(crate) fn cancel_called(&self) -> bool {
        self.cancel.is_asked()
    }

    /// The peer was cancelled because this side asked through this dialog.
    pub(crate) fn cancel_acked(&self) -> bool {
        matches!(self.resolution, Some(Resolution::Cancelled(_)))
    }

    /// Who cancelled the dialog, as far as is known.
    pub(crate) fn canceller(&self) -> Option<&Uid> {
        match &self.resolution {
            Some(
                Resolution::Cancelled(error)
                | Resolution::Expired(error)
                | Resolution::Failed(error),
            ) if error.is_cancellation() => error.canceller.as_ref(),
            _ => self.cancel.cause().map(|cause| &cause.by),
        }
    }

    pub(crate) fn resolution(&self) -> Option<&Resolution> {
        self.resolution.as_ref()
    }

    fn open(&mut self, out: &mut Effects) {
        if self.state == ParentState::Opening && !self.is_sent && self.resolution.is_none() {
            self.is_sent = true;
            out.push(Effect::SendStart);
        }
    }

    /// Asks the peer to cancel its half, unless that was done.
    fn ask(&mut self, cause: Cause, by_body: bool, out: &mut Effects) {
        if self.resolution.is_some() {
            return;
        }
        self.is_asked_elsewhere |= !by_body;
        match &self.cancel {
            Cancel::None => {
                self.cancel = Cancel::Asked(cause.clone());
                if !self.is_sent {
                    self.is_peer_done = true;
                    self.resolve(Resolution::Withdrawn, out);
                    return;
                }
                if self.may_write() {
                    out.push(Effect::RequestCancel(cause));
                }
                out.push(Effect::ArmBound);
            }
            Cancel::Asked(first) | Cancel::Accepted(first) => {
                // A deadline adds nothing to a request that is on its way.
                let escalates = *first != cause && cause.kind != CauseKind::Deadline;
                if escalates && !self.is_resent && self.may_write() {
                    self.is_resent = true;
                    out.push(Effect::RequestCancel(first.clone()));
                }
            }
            Cancel::Unanswered(_) => {}
        }
    }

    fn outer_cancelled(&mut self, cause: Cause, out: &mut Effects) {
        match self.body {
            Body::Exited => return,
            // The body is what the scope outside cancels, and it will end.
            Body::Running => {}
            Body::None | Body::Ended(_) => {
                self.body = Body::Ended(BodyEnd::Cancelled {
                    by_dialog: false,
                    cause: cause.clone(),
                });
            }
        }
        self.ask(cause, true, out);
        self.exit_if_over(out);
    }

    fn body_ended(&mut self, end: BodyEnd, out: &mut Effects) {
        if self.body != Body::Running {
            return;
        }
        let cause = match &end {
            // Whoever leaves a stream of one way has had enough of it.
            BodyEnd::Returned if self.kind == Kind::OneWay => Some(
                Cause::new(CauseKind::Requested, self.setup.own.clone())
                    .because("nobody receives any more"),
            ),
            BodyEnd::Returned => None,
            BodyEnd::Failed { cause, .. } | BodyEnd::Cancelled { cause, .. } => Some(cause.clone()),
        };
        self.body = Body::Ended(end);
        if self.resolution.is_none() {
            self.state = ParentState::Draining;
            if let Some(cause) = cause {
                self.ask(cause, true, out);
            }
            self.close_stream(out);
        }
        self.exit_if_over(out);
    }

    fn dropped(&mut self, cause: Cause, out: &mut Effects) {
        if self.body == Body::Exited {
            return;
        }
        self.body = Body::Exited;
        self.ask(cause, true, out);
        if self.resolution.is_none() {
            self.set_resolution(Resolution::Unanswered, out);
        }
        self.leave(out);
    }

    fn bound_over(&mut self, out: &mut Effects) {
        if self.resolution.is_some() {
            return;
        }
        if let Cancel::Asked(cause) | Cancel::Accepted(cause) = &self.cancel {
            self.cancel = Cancel::Unanswered(cause.clone());
            self.resolve(Resolution::Unanswered, out);
        }
    }

    /// The dialog fails, also if its result is there already: part of what came before is lost.
    fn undecodable(&mut self, error: Box<ErrorMsg>, out: &mut Effects) {
        if self.has_refused || self.body != Body::Running {
            return;
        }
        self.has_refused = true;
        if self.may_write() {
            let error = error.for_dialog(self.setup.cid.clone());
            out.push(Effect::Send(Message::Error(Box::new(error))));
        }
        self.discard(out);
    }

    fn cancel_answered(&mut self, accepted: bool) {
        if let Cancel::Asked(cause) = &self.cancel
            && accepted
        {
            self.cancel = Cancel::Accepted(cause.clone());
        }
    }

    fn link_lost(&mut self, loss: Loss, out: &mut Effects) {
        if self.link == LinkState::Down {
            return;
        }
        self.link = LinkState::Down;
        let was_done = std::mem::replace(&mut self.is_peer_done, true);
        if self.resolution.is_none() {
            let resolution = match self.cancel.is_asked() {
                true => Resolution::Unreachable(loss),
                false => Resolution::PeerLost(loss),
            };
            self.resolve(resolution, out);
        } else if self.state == ParentState::Tombstone && !was_done {
            self.state = ParentState::Done;
            out.push(Effect::Forget);
        }
    }

    fn message(&mut self, message: Message, out: &mut Effects) {
        if self.resolution.is_some() {
            return self.late(message, out);
        }
        match message {
            Message::StartAck { functype, .. } => self.start_ack(functype, out),
            Message::Started { pld, .. } => self.started(pld, out),
            Message::Yield { pld, .. } => self.item(pld, out),
            Message::Stop { .. } => self.stopped(out),
            Message::Shielded { ms, .. } if self.state != ParentState::Opening => {
                out.push(Effect::Shielded { ms });
            }
            Message::Credit { items, .. } => {
                // Control overtakes data: the first value may still be on its way.
                let is_due = self.is_started || self.state == ParentState::Acked;
                if is_due && self.stream.granted(items) {
                    out.push(Effect::WakeSender);
                } else {
                    self.violated("Credit", out);
                }
            }
            Message::Return { pld, .. } => self.returned(pld, out),
            Message::Error(error) => {
                self.is_peer_done = true;
                let resolution = if self.is_answer(&error) {
                    Resolution::Cancelled(error)
                } else if self.is_expiry(&error) {
                    Resolution::Expired(error)
                } else {
                    Resolution::Failed(error)
                };
                self.resolve(resolution, out);
            }
            Message::CancelAck { .. }
            | Message::Deadline { .. }
            | Message::Shielded { .. }
            | Message::Start(_)
            | Message::Aid(_)
            | Message::SpawnSpec(_) => self.violated(message.name(), out),
        }
    }

    /// Something came for a dialog of which it is known what became.
    fn late(&mut self, message: Message, out: &mut Effects) {
        out.push(Effect::Ignored {
            message: message.name(),
            state: self.state.name(),
        });
        let is_terminal = match message {
            Message::Return { .. } | Message::Error(_) => true,
            Message::Stop { .. } => self.kind == Kind::OneWay,
            _ => false,
        };
        if is_terminal && !self.is_peer_done {
            self.is_peer_done = true;
            if self.state == ParentState::Tombstone {
                self.state = ParentState::Done;
                out.push(Effect::Forget);
            }
        }
    }

    fn start_ack(&mut self, functype: FuncType, out: &mut Effects) {
        if self.state != ParentState::Opening || !self.is_sent {
            return self.violated("StartAck", out);
        }
        match (self.kind, functype) {
            (Kind::Context, FuncType::Context) => self.state = ParentState::Acked,
            (Kind::Function, FuncType::AsyncFunc) => self.state = ParentState::Draining,
            // There is no first value but this.
            (Kind::OneWay, FuncType::AsyncGen) => {
                self.state = ParentState::Acked;
                self.started(Payload::nil(), out);
            }
            _ => {
                let cause = Cause::new(CauseKind::Requested, self.setup.own.clone())
                    .because("it is another kind of endpoint");
                if self.may_write() {
                    out.push(Effect::RequestCancel(cause));
                }
                self.resolve(Resolution::WrongKind(functype), out);
            }
        }
    }

    fn started(&mut self, pld: Payload, out: &mut Effects) {
        if self.state != ParentState::Acked || self.is_started {
            return self.violated("Started", out);
        }
        self.is_started = true;
        if self.cancel.is_asked() {
            // It crossed the request. There will be no body.
            out.push(Effect::Ignored {
                message: "Started",
                state: self.state.name(),
            });
            self.state = ParentState::Draining;
            return self.discard(out);
        }
        self.state = ParentState::Running;
        self.body = Body::Running;
        if let Some(buffering) = self.buffering {
            self.buffer(buffering, out);
        }
        out.push(Effect::DeliverStarted(pld));
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
            Incoming::Drop | Incoming::Overrun { first: false } => {}
            Incoming::Overrun { first: true } => {
                if self.may_write() {
                    let error = overrun(&self.setup, &self.stream);
                    out.push(Effect::Send(Message::Error(Box::new(error))));
                }
            }
            Incoming::Violation => self.violated("Yield after Stop", out),
        }
    }

    fn stopped(&mut self, out: &mut Effects) {
        if self.kind == Kind::OneWay && self.is_started {
            self.is_peer_done = true;
            return self.resolve(Resolution::Returned(Payload::nil()), out);
        }
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

    fn returned(&mut self, pld: Payload, out: &mut Effects) {
        let allowed = match self.kind {
            Kind::Context => self.is_started,
            Kind::Function => self.state == ParentState::Draining,
            Kind::OneWay => false,
        };
        if !allowed {
            return self.violated("Return", out);
        }
        self.is_peer_done = true;
        self.resolve(Resolution::Returned(pld), out);
    }

    /// Whether an error only says that the peer did as it was asked by this side, through this dialog.
    fn is_answer(&self, error: &ErrorMsg) -> bool {
        self.cancel.is_asked() && self.is_by_this_side(error)
    }

    /// Whether an error only says that the time is over which this side gave the peer. Before it is,
    /// another deadline of this actor had the peer's whole actor cancelled.
    fn is_expiry(&self, error: &ErrorMsg) -> bool {
        let cause = error.cause.as_ref();
        let is_deadline = cause.is_some_and(|cause| cause.kind == CauseKind::Deadline);
        self.is_due && is_deadline && self.is_by_this_side(error)
    }

    fn is_by_this_side(&self, error: &ErrorMsg) -> bool {
        error.is_cancellation()
            && error.src_uid == self.setup.peer
            && error.canceller.as_ref() == Some(&self.setup.own)
    }

    fn violated(&mut self, message: &'static str, out: &mut Effects) {
        let violation = Violation {
            message,
            state: self.state.name(),
        };
        out.push(Effect::Violated(violation));
        if self.may_write() {
            let error = violation_error(&self.setup, violation);
            out.push(Effect::Send(Message::Error(Box::new(error))));
        }
        // A peer that has not seen the `Start` has nothing to end.
        self.is_peer_done |= !self.is_sent;
        self.resolve(Resolution::Violated(violation), out);
    }

    /// It is known now what became of the dialog.
    fn resolve(&mut self, resolution: Resolution, out: &mut Effects) {
        if let Some(cause) = self.cancels_body(&resolution) {
            out.push(Effect::CancelScope(cause));
        }
        self.set_resolution(resolution, out);
        if self.body == Body::None {
            // Nothing to wait for: there is no body, and will be none.
            self.body = Body::Exited;
            out.push(Effect::Exit(Exit::Remote));
            self.leave(out);
        } else {
            self.exit_if_over(out);
        }
    }

    fn set_resolution(&mut self, resolution: Resolution, out: &mut Effects) {
        let has_returned = matches!(resolution, Resolution::Returned(_));
        self.resolution = Some(resolution);
        self.state = ParentState::Done;
        if self.is_started {
            if has_returned && self.stream.peer_stopped() {
                out.push(Effect::EndOfStream);
            }
            out.push(Effect::WakeSender);
        }
        out.push(Effect::Resolved);
    }

    /// With which cause a body that runs is cancelled by what became of the dialog.
    fn cancels_body(&self, resolution: &Resolution) -> Option<Cause> {
        if self.body != Body::Running {
            return None;
        }
        let lost = |loss: &Loss| {
            Cause::new(CauseKind::PeerLost, self.setup.peer.clone()).because(&*loss.reason)
        };
        match resolution {
            // A deadline cancels the body itself, in the scope that has it.
            Resolution::Returned(_) | Resolution::Withdrawn | Resolution::Expired(_) => None,
            Resolution::Failed(error) => Some(Cause::of_error(error)),
            Resolution::PeerLost(loss) | Resolution::Unreachable(loss) => Some(lost(loss)),
            Resolution::Cancelled(_) | Resolution::Unanswered => self
                .cancel
                .cause()
                .filter(|_| self.is_asked_elsewhere)
                .cloned(),
            Resolution::Violated(violation) => Some(
                Cause::new(CauseKind::SiblingFailed, self.setup.peer.clone())
                    .because(violation.to_string()),
            ),
            Resolution::WrongKind(_) => None,
        }
    }

    fn exit_if_over(&mut self, out: &mut Effects) {
        let (Body::Ended(end), Some(resolution)) = (&self.body, &self.resolution) else {
            return;
        };
        let is_raised = resolution.is_raised() || self.has_refused;
        let exit = match end {
            BodyEnd::Returned if is_raised => Exit::Remote,
            BodyEnd::Returned => Exit::Body,
            BodyEnd::Failed {
                is_remote: false, ..
            } if is_raised => Exit::Both,
            BodyEnd::Failed { .. } => Exit::Body,
            BodyEnd::Cancelled {
                by_dialog: true, ..
            } => match is_raised {
                true => Exit::Remote,
                false => Exit::Caught,
            },
            BodyEnd::Cancelled {
                by_dialog: false, ..
            } => match (is_raised, self.kind) {
                (true, _) => Exit::Both,
                // A result that is there beats the cancellation of whoever waits for it.
                (false, Kind::Function) if self.has_returned() => Exit::Remote,
                (false, _) => Exit::Body,
            },
        };
        self.body = Body::Exited;
        out.push(Effect::Exit(exit));
        self.leave(out);
    }

    /// The block has ended.
    fn leave(&mut self, out: &mut Effects) {
        if self.is_peer_done {
            self.state = ParentState::Done;
            out.push(Effect::Forget);
        } else {
            self.state = ParentState::Tombstone;
        }
    }

    fn has_returned(&self) -> bool {
        matches!(self.resolution, Some(Resolution::Returned(_)))
    }
}

impl Streaming for Parent {
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
        if self.kind == Kind::OneWay {
            return Some(SendRefused::NotOpen);
        }
        self.resolution.is_some().then_some(SendRefused::Ended)
    }

    fn may_open(&self) -> Result<(), OpenRefused> {
        if self.cancel.is_asked() {
            return Err(OpenRefused::Cancelled);
        }
        match self.state {
            ParentState::Running => Ok(()),
            ParentState::Opening | ParentState::Acked => Err(OpenRefused::NotStarted),
            // What the peer sent before it ended may still be received.
            ParentState::Done if self.has_returned() && self.body == Body::Running => Ok(()),
            _ => Err(OpenRefused::Ended),
        }
    }

    fn has_stream(&self) -> bool {
        self.is_started
    }

    fn says_stop(&self) -> bool {
        self.kind == Kind::Context
    }

    fn may_write(&self) -> bool {
        self.link == LinkState::Up && self.resolution.is_none()
    }
}

/// What a peer is told that sends faster than this side receives.
pub(super) fn overrun(setup: &Setup, stream: &Stream) -> ErrorMsg {
    let limit = stream.limit();
    let mut text = format!("{limit} items wait at {} and none was taken", setup.own);
    if !stream.ever_opened() {
        text += &format!("\n*** No stream open on `{}` side! ***", setup.own.name());
    }
    let mut error = ErrorMsg::new(setup.own.clone(), ErrorMsg::STREAM_OVERRUN, text)
        .for_dialog(setup.cid.clone());
    error.sender = Some(setup.peer.clone());
    error
}

/// What a peer is told that broke the protocol.
pub(super) fn violation_error(setup: &Setup, violation: Violation) -> ErrorMsg {
    ErrorMsg::new(
        setup.own.clone(),
        ErrorMsg::MSG_TYPE_ERROR,
        violation.to_string(),
    )
    .for_dialog(setup.cid.clone())
}
