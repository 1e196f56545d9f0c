use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tractor_runtime::sync::Event;
use tractor_runtime::time::{self, Instant};
use tractor_runtime::{
    CancelCause, Cancelled, Error, ScopeHandle, TaskHandle, TaskId, check_cancelled, current_task,
    shield,
};

use crate::actor::{Connection, from_dialog, to_dialog};
use crate::dialog::{
    BodyEnd, Buffering, Cause, Child, ChildEvent, Effect, Effects, EndpointEnd, Exit, Kind, Loss,
    OpenRefused, Parent, ParentEvent, Resolution, SendVerdict, StartedRefused, Streaming,
};
use crate::error::{self, ContextMisuse, MsgTypeError, PeerLost};
use crate::transport::SendError;
use crate::wire::{
    Carrier, CauseKind, Cid, ErrorMsg, FuncType, Message, Payload, PayloadError, Start, Uid,
};

/// How long a peer may take to answer a cancellation, unless it is said otherwise.
pub(super) const CANCEL_BOUND: Duration = Duration::from_millis(616);

/// In an update of a deadline: there is none any more.
const NO_DEADLINE: u64 = u64::MAX;

/// What a deadline that was received leaves to its owner to fire first: a tenth of it, but at
/// least this.
const SLACK: Duration = Duration::from_millis(50);

/// This side of one dialog: its state machine with the queues and wakers around it.
///
/// It decides nothing. Whatever happens goes into the machine, and what comes out is carried
/// out in order.
pub(crate) struct Half {
    conn: Rc<Connection>,
    cid: Cid,
    /// The endpoint, `namespace:function`.
    path: String,
    machine: RefCell<Machine>,
    /// The message that opens the dialog, until it is sent.
    start: RefCell<Option<Box<Start>>>,
    /// Of the body, or of the endpoint.
    scope: RefCell<Option<ScopeHandle>>,
    /// With what the dialog cancelled that scope.
    scope_cause: RefCell<Option<Cause>>,
    /// The task that runs the body.
    body: Cell<Option<TaskId>>,
    first: RefCell<Option<Payload>>,
    items: RefCell<VecDeque<Payload>>,
    items_ended: Cell<bool>,
    exit: Cell<Option<Exit>>,
    /// How long a cancellation may take.
    cancel_bound: Cell<Duration>,
    /// By when the peer was told to be done.
    due: Cell<Option<Instant>>,
    /// Until when the peer said that it cannot be cancelled.
    shielded_until: Cell<Option<Instant>>,
    bound: RefCell<Option<TaskHandle<'static, ()>>>,
    /// Of the endpoint: what cancels it when its time is over.
    deadline: RefCell<Option<TaskHandle<'static, ()>>>,
    /// With what the body or the endpoint ended.
    local_error: OnceCell<Error>,
    /// The result is not of the type that was asked for.
    wrong_result: OnceCell<Error>,
    /// What became of the dialog, if that is an error: always the same one.
    raised: OnceCell<Error>,
    /// The answer to this side's own request to cancel, as an error.
    answer: OnceCell<Error>,
    /// Set at the next change of anything here. Made by whoever waits.
    changed: RefCell<Option<Rc<Event>>>,
}

pub(super) enum Machine {
    Parent(Parent),
    Child(Child),
}

impl Machine {
    fn streaming(&self) -> &dyn Streaming {
        match self {
            Self::Parent(machine) => machine,
            Self::Child(machine) => machine,
        }
    }

    fn streaming_mut(&mut self) -> &mut dyn Streaming {
        match self {
            Self::Parent(machine) => machine,
            Self::Child(machine) => machine,
        }
    }
}

impl Half {
    /// The side that opens a dialog.
    pub(crate) fn parent(
        conn: &Rc<Connection>,
        kind: Kind,
        path: String,
        start: Start,
        buffering: Option<Buffering>,
    ) -> Rc<Self> {
        let cid = start.cid.clone();
        let mut machine = Parent::new(conn.setup(cid.clone()), kind);
        if let Some(buffering) = buffering {
            machine.set_buffering(buffering);
        }
        let machine = Machine::Parent(machine);
        let half = Self::new(conn, cid.clone(), path, machine, Some(Box::new(start)));
        // A fresh name is nobody else's.
        conn.insert(cid, half.clone());
        half
    }

    /// The side that runs the endpoint.
    pub(crate) fn child(conn: &Rc<Connection>, cid: Cid, path: String) -> Rc<Self> {
        let machine = Machine::Child(Child::new(conn.setup(cid.clone())));
        Self::new(conn, cid, path, machine, None)
    }

    fn new(
        conn: &Rc<Connection>,
        cid: Cid,
        path: String,
        machine: Machine,
        start: Option<Box<Start>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            conn: conn.clone(),
            cid,
            path,
            machine: RefCell::new(machine),
            start: RefCell::new(start),
            scope: RefCell::default(),
            scope_cause: RefCell::default(),
            body: Cell::new(None),
            first: RefCell::default(),
            items: RefCell::default(),
            items_ended: Cell::new(false),
            exit: Cell::new(None),
            cancel_bound: Cell::new(CANCEL_BOUND),
            due: Cell::new(None),
            shielded_until: Cell::new(None),
            bound: RefCell::default(),
            deadline: RefCell::default(),
            local_error: OnceCell::new(),
            wrong_result: OnceCell::new(),
            raised: OnceCell::new(),
            answer: OnceCell::new(),
            changed: RefCell::default(),
        })
    }

    /// Whether it is the side that runs the endpoint.
    pub(crate) fn is_child(&self) -> bool {
        matches!(&*self.machine.borrow(), Machine::Child(_))
    }

    pub(crate) fn conn(&self) -> &Rc<Connection> {
        &self.conn
    }

    pub(crate) fn cid(&self) -> &Cid {
        &self.cid
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Waits for the next change of anything. Look first: what has changed already is not waited
    /// for.
    pub(crate) async fn changed(&self) -> Result<(), Cancelled> {
        let event = self.changed.borrow_mut().get_or_insert_default().clone();
        event.wait().await
    }

    pub(crate) fn wake(&self) {
        if let Some(event) = self.changed.take() {
            event.set();
        }
    }

    // What happens.

    pub(crate) fn message(self: &Rc<Self>, message: Message) {
        if self.due.get().is_some_and(|due| due <= time::now()) {
            self.as_parent(|machine, _| machine.deadline_passed());
        }
        self.both(message, ParentEvent::Message, ChildEvent::Message);
    }

    pub(crate) fn link_lost(self: &Rc<Self>, loss: Loss) {
        self.both(loss, ParentEvent::LinkLost, ChildEvent::LinkLost);
    }

    /// What the peer sent, the first value or an item, is of another type than this side takes.
    /// The peer is told, and the dialog fails with the error that this gives.
    pub(crate) fn undecodable(self: &Rc<Self>, what: &str, reason: PayloadError) -> Error {
        let wrong = MsgTypeError::new(format!("{what} of {}", self.path), reason);
        let own = self.conn.own().clone();
        let msg = Box::new(ErrorMsg::new(own, MsgTypeError::TYPE, wrong.to_string()));
        let error = Error::from(wrong);
        // Unless it has failed with another one.
        if self.raised().is_none() {
            let _ = self.raised.set(error.clone());
        }
        log::warn!(
            target: "tractor::dialog",
            "{} of {} with {}: {error}", self.cid, self.path, self.conn.peer(),
        );
        self.both(msg, ParentEvent::Undecodable, ChildEvent::Undecodable);
        self.wake();
        error
    }

    pub(crate) fn write_failed(self: &Rc<Self>) {
        self.both(
            (),
            |()| ParentEvent::WriteFailed,
            |()| ChildEvent::WriteFailed,
        );
    }

    fn both<T>(
        self: &Rc<Self>,
        what: T,
        parent: impl FnOnce(T) -> ParentEvent,
        child: impl FnOnce(T) -> ChildEvent,
    ) {
        let mut effects = Effects::new();
        match &mut *self.machine.borrow_mut() {
            Machine::Parent(machine) => machine.handle(parent(what), &mut effects),
            Machine::Child(machine) => machine.handle(child(what), &mut effects),
        }
        self.carry_out(effects);
    }

    fn as_parent<R>(self: &Rc<Self>, f: impl FnOnce(&mut Parent, &mut Effects) -> R) -> R {
        let mut effects = Effects::new();
        let result = match &mut *self.machine.borrow_mut() {
            Machine::Parent(machine) => f(machine, &mut effects),
            Machine::Child(_) => unreachable!("asked of the side that runs the endpoint"),
        };
        self.carry_out(effects);
        result
    }

    fn as_child<R>(self: &Rc<Self>, f: impl FnOnce(&mut Child, &mut Effects) -> R) -> R {
        let mut effects = Effects::new();
        let result = match &mut *self.machine.borrow_mut() {
            Machine::Child(machine) => f(machine, &mut effects),
            Machine::Parent(_) => unreachable!("asked of the side that opened the dialog"),
        };
        self.carry_out(effects);
        result
    }

    // What happens to the side that opened the dialog.

    pub(crate) fn open(self: &Rc<Self>) {
        match self.conn.lost() {
            None => self.parent_event(ParentEvent::Open),
            Some(lost) => self.parent_event(ParentEvent::LinkLost(Loss::new(lost.to_string()))),
        }
    }

    pub(crate) fn cancel_answered(self: &Rc<Self>, accepted: bool) {
        self.parent_event(ParentEvent::CancelAnswered(accepted));
    }

    pub(crate) fn body_ended(self: &Rc<Self>, end: BodyEnd) {
        self.parent_event(ParentEvent::BodyEnded(end));
    }

    pub(crate) fn outer_cancelled(self: &Rc<Self>, cause: &CancelCause) {
        let cause = to_dialog(cause, self.conn.own());
        self.parent_event(ParentEvent::OuterCancelled(cause));
    }

    pub(crate) fn block_dropped(self: &Rc<Self>, cause: Cause) {
        self.parent_event(ParentEvent::Dropped(cause));
    }

    /// The task that runs here asks to cancel.
    pub(crate) fn cancel(self: &Rc<Self>, cause: Cause) {
        let by_body = self.body.get() == current_task();
        self.parent_event(ParentEvent::Cancel { cause, by_body });
    }

    pub(crate) fn await_result(self: &Rc<Self>) {
        self.as_parent(Parent::await_result);
    }

    fn parent_event(self: &Rc<Self>, event: ParentEvent) {
        self.as_parent(|machine, effects| machine.handle(event, effects));
    }

    /// How long a cancellation may take.
    pub(super) fn set_cancel_bound(&self, bound: Duration) {
        self.cancel_bound.set(bound);
    }

    /// The deadline of whoever opens the dialog: what is left until then is announced.
    pub(super) fn set_due(&self, due: Instant) {
        self.due.set(Some(due));
    }

    /// The deadline of whoever opened the dialog is another one than was announced.
    pub(super) fn deadline_moved(self: &Rc<Self>, due: Option<Instant>) {
        self.due.set(due);
        let ms = due.map_or(NO_DEADLINE, |due| whole_ms(due - time::now()));
        self.as_parent(|machine, effects| machine.deadline_moved(ms, effects));
    }

    // What happens to the side that runs the endpoint.

    pub(crate) fn accept(self: &Rc<Self>, functype: FuncType) {
        self.child_event(ChildEvent::Accept(functype));
    }

    pub(crate) fn refuse(self: &Rc<Self>, error: Box<ErrorMsg>) {
        self.child_event(ChildEvent::Refuse(error));
    }

    pub(crate) fn endpoint_ended(self: &Rc<Self>, end: EndpointEnd) {
        self.child_event(ChildEvent::EndpointEnded(end));
    }

    pub(crate) fn endpoint_dropped(self: &Rc<Self>, cause: Cause) {
        self.child_event(ChildEvent::Dropped(cause));
    }

    pub(crate) fn cancel_endpoint(self: &Rc<Self>, cause: Cause) {
        self.child_event(ChildEvent::Cancel(cause));
    }

    /// So much time is left for the endpoint, says its caller.
    pub(crate) fn set_deadline(self: &Rc<Self>, ms: u64) {
        let before = self.deadline.take();
        if let Some(before) = before {
            before.cancel();
        }
        let Some(actor) = self.conn.actor().filter(|_| ms != NO_DEADLINE) else {
            return;
        };
        let left = Duration::from_millis(ms);
        let until = time::now() + left.saturating_add((left / 10).max(SLACK));
        let half = self.clone();
        let task = actor.services().start_soon(async move {
            time::sleep_until(until).await?;
            let cause = Cause::new(CauseKind::Deadline, half.conn.peer().clone())
                .because("the time that its caller gave it is over");
            half.cancel_endpoint(cause);
            Ok(())
        });
        // Without an actor the endpoint is cancelled anyway.
        *self.deadline.borrow_mut() = task.ok();
    }

    /// The endpoint cannot be cancelled for so long.
    pub(super) fn shielded(self: &Rc<Self>, limit: Duration) {
        self.as_child(|machine, effects| machine.shielded(whole_ms(limit), effects));
    }

    /// The peer asks to cancel the endpoint. Nothing happens on the side that opened the dialog.
    pub(crate) fn peer_cancels(self: &Rc<Self>, cause: Cause) {
        if matches!(&*self.machine.borrow(), Machine::Parent(_)) {
            return;
        }
        self.cancel_endpoint(cause);
    }

    fn child_event(self: &Rc<Self>, event: ChildEvent) {
        self.as_child(|machine, effects| machine.handle(event, effects));
    }

    /// Sends the endpoint's first value.
    pub(crate) fn started<T: Serialize>(self: &Rc<Self>, value: &T) -> Result<(), Error> {
        let limits = self.conn.link().limits();
        let value = Payload::encode_within(&limits, value).map_err(|error| {
            MsgTypeError::new(format!("the first value of {}", self.path), error)
        })?;
        let started = self.as_child(|machine, effects| machine.started(value, effects));
        started.map_err(|refused| match refused {
            StartedRefused::Twice => ContextMisuse::StartedTwice.into(),
            StartedRefused::NotAContext => unreachable!("only contexts have this"),
            StartedRefused::Ended => self.ended(),
        })
    }

    // Streams.

    pub(crate) fn open_stream(self: &Rc<Self>, buffering: Option<Buffering>) -> Result<(), Error> {
        let opened = self.as_streaming(|machine, effects| machine.open_stream(buffering, effects));
        opened.map_err(|refused| match refused {
            OpenRefused::NotStarted => ContextMisuse::NotStarted.into(),
            OpenRefused::Cancelled => match self.remote_error() {
                Some(error) => error,
                None => ContextMisuse::OpenedAfterCancel.into(),
            },
            OpenRefused::AlreadyOpened => ContextMisuse::OpenedTwice.into(),
            OpenRefused::Ended => self.ended(),
        })
    }

    pub(crate) fn close_stream(self: &Rc<Self>) {
        self.as_streaming(|machine, effects| machine.close_stream(effects));
        self.wake();
    }

    pub(crate) fn may_send(&self) -> SendVerdict {
        self.machine.borrow().streaming().may_send()
    }

    /// Sends an item. It must have been allowed.
    pub(crate) fn send_item<T: Serialize + ?Sized>(&self, item: &T) -> Result<(), SendError> {
        self.conn
            .link()
            .send_value(Carrier::Yield, &self.cid, item)?;
        self.machine.borrow_mut().streaming_mut().item_sent();
        Ok(())
    }

    pub(crate) fn take_item(self: &Rc<Self>) -> Option<Payload> {
        let item = self.items.borrow_mut().pop_front()?;
        self.as_streaming(|machine, effects| machine.item_taken(effects));
        Some(item)
    }

    /// How many items were thrown away for newer ones.
    pub(crate) fn items_dropped(&self) -> u64 {
        self.machine.borrow().streaming().items_dropped()
    }

    pub(crate) fn items_buffer(&self) -> usize {
        self.machine.borrow().streaming().items_buffer() as usize
    }

    fn as_streaming<R>(
        self: &Rc<Self>,
        f: impl FnOnce(&mut dyn Streaming, &mut Effects) -> R,
    ) -> R {
        let mut effects = Effects::new();
        let result = f(self.machine.borrow_mut().streaming_mut(), &mut effects);
        self.carry_out(effects);
        result
    }

    pub(crate) fn items_ended(&self) -> bool {
        self.items_ended.get()
    }

    // What is known.

    pub(super) fn machine(&self) -> Ref<'_, Machine> {
        self.machine.borrow()
    }

    pub(crate) fn stream_is_open(&self) -> bool {
        self.machine.borrow().streaming().stream().is_open()
    }

    pub(super) fn stream_was_opened(&self) -> bool {
        self.machine.borrow().streaming().stream().ever_opened()
    }

    pub(crate) fn take_first(&self) -> Option<Payload> {
        self.first.take()
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit.get()
    }

    /// Whether the dialog cancelled the scope.
    pub(crate) fn cancelled_scope(&self) -> bool {
        self.scope_cause.borrow().is_some()
    }

    /// The running task begins the body.
    pub(crate) fn begin_body(&self, scope: ScopeHandle) {
        self.body.set(current_task());
        self.set_scope(scope);
    }

    /// What the dialog cancels.
    pub(crate) fn set_scope(&self, scope: ScopeHandle) {
        *self.scope.borrow_mut() = Some(scope);
        // What ends a dialog can come together with what begins its body.
        self.cancel_scope();
    }

    fn cancel_scope(&self) {
        let scope = self.scope.borrow().clone();
        let cause = self.scope_cause.borrow().clone();
        if let (Some(scope), Some(cause)) = (scope, cause) {
            scope.cancel_because(from_dialog(&cause, self.conn.own()));
        }
    }

    /// With what the dialog cancelled its scope.
    pub(super) fn scope_cause(&self) -> Option<CancelCause> {
        let cause = self.scope_cause.borrow();
        cause
            .as_ref()
            .map(|cause| from_dialog(cause, self.conn.own()))
    }

    /// Whether the body or the endpoint was cut short by the dialog.
    pub(crate) fn cancelled_caught(&self) -> bool {
        let scope = self.scope.borrow();
        self.cancelled_scope() && scope.as_ref().is_some_and(ScopeHandle::cancelled_caught)
    }

    /// The first error with which the body or the endpoint ended.
    pub(crate) fn local_ended(&self, error: &Error) {
        let _ = self.local_error.set(error.clone());
    }

    pub(crate) fn local_error(&self) -> Option<Error> {
        self.local_error.get().cloned()
    }

    /// The error that stands for a result that cannot be decoded: always the same one.
    pub(super) fn wrong_result(&self, reason: impl fmt::Display) -> Error {
        let make = || MsgTypeError::new(format!("the result of {}", self.path), reason).into();
        self.wrong_result.get_or_init(make).clone()
    }

    pub(crate) fn cancel_called(&self) -> bool {
        match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.cancel_called(),
            Machine::Child(machine) => machine.cancel_called(),
        }
    }

    pub(crate) fn canceller(&self) -> Option<Uid> {
        match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.canceller().cloned(),
            Machine::Child(machine) => machine.canceller().cloned(),
        }
    }

    /// Whether this opened a context whose first value is still to come.
    pub(crate) fn awaits_first(&self) -> bool {
        matches!(&*self.machine.borrow(), Machine::Parent(machine) if machine.awaits_first())
    }

    pub(crate) fn cancel_acked(&self) -> bool {
        match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.cancel_acked(),
            Machine::Child(_) => false,
        }
    }

    /// Whether the endpoint had to end by a deadline of this side's.
    pub(super) fn has_expired(&self) -> bool {
        matches!(
            &*self.machine.borrow(),
            Machine::Parent(machine) if matches!(machine.resolution(), Some(Resolution::Expired(_)))
        )
    }

    /// What became of the endpoint, as far as is known.
    pub(crate) fn resolution(&self) -> Option<Resolution> {
        match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.resolution().cloned(),
            Machine::Child(_) => None,
        }
    }

    pub(crate) fn is_resolved(&self) -> bool {
        match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.resolution().is_some(),
            Machine::Child(_) => false,
        }
    }

    /// Whether this is the side of an endpoint that has ended, or has nobody left to hear of it.
    pub(crate) fn endpoint_is_over(&self) -> bool {
        matches!(&*self.machine.borrow(), Machine::Child(machine) if machine.is_over())
    }

    /// What became of the dialog, if that is an error.
    pub(crate) fn raised(&self) -> Option<Error> {
        if let Some(error) = self.raised.get() {
            return Some(error.clone());
        }
        let resolution = match &*self.machine.borrow() {
            Machine::Parent(machine) => machine.resolution().filter(|it| it.is_raised())?.clone(),
            Machine::Child(_) => return None,
        };
        let error = match resolution {
            Resolution::Failed(msg) => error::from_wire(*msg, Some(&self.path)),
            Resolution::PeerLost(loss) => self.peer_lost(&loss).into(),
            Resolution::Violated(violation) => {
                MsgTypeError::new(format!("the dialog of {}", self.path), violation).into()
            }
            Resolution::WrongKind(functype) => MsgTypeError::new(
                format!("the endpoint {}", self.path),
                format!(
                    "it is of the kind {}, another than was asked for",
                    functype.name()
                ),
            )
            .into(),
            _ => return None,
        };
        Some(self.raised.get_or_init(|| error).clone())
    }

    /// The error that the peer sent, if it sent one: also the answer to this side's own request.
    pub(crate) fn remote_error(&self) -> Option<Error> {
        if let Machine::Child(machine) = &*self.machine.borrow() {
            let msg = machine.remote_error()?.clone();
            let make = || error::from_wire(msg, None);
            return Some(self.raised.get_or_init(make).clone());
        }
        match self.resolution()? {
            Resolution::Failed(_) => self.raised(),
            Resolution::Cancelled(msg) | Resolution::Expired(msg) => {
                let answer = || error::context_cancelled(*msg).into();
                Some(self.answer.get_or_init(answer).clone())
            }
            _ => None,
        }
    }

    pub(crate) fn peer_lost(&self, loss: &Loss) -> PeerLost {
        self.conn.lost().unwrap_or_else(|| PeerLost {
            peer: self.conn.peer().clone(),
            status: None,
            reason: Some(loss.reason.to_string()),
        })
    }

    /// The error of an operation for which it is too late.
    pub(crate) fn ended(&self) -> Error {
        if let Some(Resolution::Expired(msg)) = self.resolution() {
            return match cancelled_here() {
                Some(cancelled) => cancelled.into(),
                None => error::context_cancelled(*msg).into(),
            };
        }
        self.raised()
            .or_else(|| self.conn.lost().map(Error::from))
            .unwrap_or_else(|| error::StreamClosed::Dialog.into())
    }

    /// Waits until the block may end, to the end: what it waits for is bounded.
    pub(crate) async fn exited(&self) -> Exit {
        shield(async {
            loop {
                if let Some(exit) = self.exit.get() {
                    return exit;
                }
                // It cannot be cancelled here, so there is nothing to be told.
                let _ = self.changed().await;
            }
        })
        .await
    }

    // What is to be done.

    fn carry_out(self: &Rc<Self>, effects: Effects) {
        for effect in effects {
            self.carry_out_one(effect);
        }
    }

    fn carry_out_one(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Send(message) => self.send(&message),
            Effect::SendStart => {
                if let Some(start) = self.start.take() {
                    self.send(&Message::Start(start));
                }
            }
            Effect::RequestCancel(cause) => self.conn.request_cancel_task(self, &cause),
            Effect::ArmBound => self.arm_bound(),
            Effect::CancelScope(cause) => {
                *self.scope_cause.borrow_mut() = Some(cause);
                self.cancel_scope();
            }
            Effect::DeliverStarted(first) => {
                *self.first.borrow_mut() = Some(first);
                self.wake();
            }
            Effect::DeliverItem(item) => {
                self.items.borrow_mut().push_back(item);
                self.wake();
            }
            Effect::DropOldest => {
                let item = self.items.borrow_mut().pop_front();
                drop(item);
            }
            Effect::Discard => {
                let items = self.items.take();
                drop(items);
            }
            Effect::EndOfStream => {
                self.items_ended.set(true);
                self.wake();
            }
            Effect::WakeSender => self.wake(),
            Effect::Shielded { ms } => {
                let until = time::now() + Duration::from_millis(ms);
                let until = self
                    .shielded_until
                    .get()
                    .map_or(until, |before| before.max(until));
                self.shielded_until.set(Some(until));
            }
            Effect::Deadline { ms } => self.set_deadline(ms),
            Effect::Resolved => {
                for task in [self.bound.take(), self.deadline.take()]
                    .into_iter()
                    .flatten()
                {
                    task.cancel();
                }
                self.wake();
            }
            Effect::Exit(exit) => {
                self.exit.set(Some(exit));
                self.wake();
            }
            Effect::Forget => self.conn.forget(&self.cid),
            Effect::Ignored { message, state } => log::debug!(
                target: "tractor::dialog",
                "{} of {}: {message} came while {state}, too late", self.cid, self.path,
            ),
            Effect::Violated(violation) => log::warn!(
                target: "tractor::dialog",
                "{} of {} with {}: {violation}", self.cid, self.path, self.conn.peer(),
            ),
        }
    }

    fn send(self: &Rc<Self>, message: &Message) {
        let error = match self.conn.link().send(message) {
            Ok(()) => return,
            Err(error) => error,
        };
        log::debug!(
            target: "tractor::dialog",
            "{} of {}: {} was not sent: {error}", self.cid, self.path, message.name(),
        );
        // Of a link that is closed everybody is told elsewhere. A message too large must not
        // leave its peer without an answer.
        if !matches!(error, SendError::Encode(_)) {
            return;
        }
        match message {
            Message::Return { .. } | Message::Started { .. } | Message::Error(_) => {
                let own = self.conn.own().clone();
                let mut msg = ErrorMsg::new(own, MsgTypeError::TYPE, error.to_string());
                msg.cid = Some(self.cid.clone());
                let _ = self.conn.link().send(&Message::Error(Box::new(msg)));
            }
            Message::Start(_) => {
                let own = self.conn.own().clone();
                let msg = ErrorMsg::new(own, MsgTypeError::TYPE, error.to_string())
                    .for_dialog(self.cid.clone());
                self.message(Message::Error(Box::new(msg)));
            }
            _ => {}
        }
    }

    fn arm_bound(self: &Rc<Self>) {
        let Some(actor) = self.conn.actor() else {
            return;
        };
        let half = self.clone();
        let mut until = time::now() + self.cancel_bound.get();
        let bound = actor.services().start_soon(async move {
            loop {
                // Who says until when it cannot be cancelled is waited for that long.
                until = half
                    .shielded_until
                    .get()
                    .map_or(until, |shielded| shielded.max(until));
                time::sleep_until(until).await?;
                if half
                    .shielded_until
                    .get()
                    .is_none_or(|shielded| shielded <= until)
                {
                    break;
                }
            }
            half.parent_event(ParentEvent::CancelBoundOver);
            Ok(())
        });
        match bound {
            Ok(task) => *self.bound.borrow_mut() = Some(task),
            // The actor is gone: nobody will answer any more.
            Err(_) => self.parent_event(ParentEvent::CancelBoundOver),
        }
    }
}

/// What cancels the code here, if it is. A context may be kept for longer than its runtime.
pub(super) fn cancelled_here() -> Option<Cancelled> {
    current_task()?;
    check_cancelled().err()
}

/// In whole milliseconds, rounded up.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms)
        .unwrap_or(NO_DEADLINE - 1)
        .min(NO_DEADLINE - 1)
}
