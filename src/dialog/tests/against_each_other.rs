//! Both halves over a simulated link that delays, cuts, and lets control overtake data as the real
//! one does, with what their users do at random.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// One thing that happens next, if it can.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Some packets on their way arrive: control first if it has overtaken data, or else in the
    /// order in which they were sent.
    ToChild {
        packets: u8,
        overtaking: bool,
    },
    ToParent {
        packets: u8,
        overtaking: bool,
    },
    Open,
    ParentCancels {
        by_body: bool,
    },
    OuterCancelled,
    BodyReturns,
    BodyFails,
    BodyCutShortFromOutside,
    ParentDropped,
    BoundOver,
    ParentDeadlineMoves,
    ParentOpensStream(Option<Buffering>),
    ParentSends {
        items: u8,
    },
    ParentTakes {
        items: u8,
    },
    ParentClosesStream,
    ParentAwaitsResult,
    /// What it took is of another type than it wants.
    ParentRefuses,
    Accept,
    Refuse,
    Started,
    ChildCancels,
    ThirdCancels,
    EndpointReturns,
    EndpointFails,
    EndpointCutShort,
    ChildDropped,
    ChildDeadline,
    ChildShields,
    ChildOpensStream(Option<Buffering>),
    ChildSends {
        items: u8,
    },
    ChildTakes {
        items: u8,
    },
    ChildClosesStream,
    ChildRefuses,
    ParentWriteFails,
    ChildWriteFails,
    /// The link breaks, and so much of what is on its way is lost.
    Cut {
        keep: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let burst = || prop_oneof![4 => 1..4_u8, 1 => 4..60_u8];
    let arrival = || (burst(), any::<bool>());
    prop_oneof![
        6 => arrival().prop_map(|(packets, overtaking)| ToChild { packets, overtaking }),
        6 => arrival().prop_map(|(packets, overtaking)| ToParent { packets, overtaking }),
        2 => burst().prop_map(|items| ParentSends { items }),
        2 => burst().prop_map(|items| ParentTakes { items }),
        2 => burst().prop_map(|items| ChildSends { items }),
        2 => burst().prop_map(|items| ChildTakes { items }),
        6 => prop::sample::select(vec![Open, Accept, Started]),
        1 => prop::option::of(buffering()).prop_map(ParentOpensStream),
        1 => prop::option::of(buffering()).prop_map(ChildOpensStream),
        1 => prop::sample::select(vec![
            ParentClosesStream, ChildClosesStream, ParentAwaitsResult, ParentDeadlineMoves,
            ChildShields, ParentRefuses, ChildRefuses,
        ]),
        2 => prop::sample::select(vec![
            ParentCancels { by_body: true }, ParentCancels { by_body: false }, OuterCancelled,
            ChildCancels, ThirdCancels, ChildDeadline, BoundOver, EndpointCutShort,
        ]),
        2 => prop::sample::select(vec![
            BodyReturns, BodyFails, BodyCutShortFromOutside, ParentDropped, EndpointReturns,
            EndpointFails, ChildDropped, Refuse, ParentWriteFails, ChildWriteFails,
        ]),
        1 => any::<u8>().prop_map(|keep| Cut { keep }),
    ]
}

pub(super) fn buffering() -> impl Strategy<Value = Buffering> {
    let overruns = prop_oneof![
        Just(Overruns::Wait),
        Just(Overruns::Error),
        (0..9_u32).prop_map(Overruns::Keep),
        Just(Overruns::DropOldest),
    ];
    (prop_oneof![1..10_u32, Just(WINDOW), 65..200_u32], overruns)
        .prop_map(|(buffer, overruns)| Buffering { buffer, overruns })
}

fn waiting() -> impl Strategy<Value = Option<Buffering>> {
    prop::option::of(1..200_u32).prop_map(|buffer| {
        let overruns = Overruns::Wait;
        buffer.map(|buffer| Buffering { buffer, overruns })
    })
}

fn stream_step() -> impl Strategy<Value = Step> {
    (0..6_u8, 1..80_u8, any::<bool>()).prop_map(|(step, items, overtaking)| match step {
        0 => Step::ToChild {
            packets: items,
            overtaking,
        },
        1 => Step::ToParent {
            packets: items,
            overtaking,
        },
        2 => Step::ParentSends { items },
        3 => Step::ParentTakes { items },
        4 => Step::ChildSends { items },
        _ => Step::ChildTakes { items },
    })
}

#[derive(Clone, Debug)]
enum Packet {
    Start,
    CancelRequest(Cause),
    CancelAnswer,
    Message(Message),
}

/// What is on its way in one direction. Data never overtakes control that was sent before it.
#[derive(Debug, Default)]
struct Way {
    control: VecDeque<(u64, Packet)>,
    data: VecDeque<(u64, Packet)>,
    sent: u64,
}

impl Way {
    fn post(&mut self, packet: Packet, errors_overtake: bool) {
        let is_data = match &packet {
            Packet::Message(message) => match message {
                Message::Started { .. }
                | Message::Yield { .. }
                | Message::Stop { .. }
                | Message::Return { .. } => true,
                Message::Error(_) if errors_overtake => {
                    // What its dialog has queued is thrown out.
                    self.data.clear();
                    false
                }
                // It takes its turn behind what is queued.
                Message::Error(_) => !self.data.is_empty(),
                _ => false,
            },
            Packet::Start | Packet::CancelRequest(_) | Packet::CancelAnswer => false,
        };
        self.sent += 1;
        match is_data {
            true => self.data.push_back((self.sent, packet)),
            false => self.control.push_back((self.sent, packet)),
        }
    }

    fn pop(&mut self, overtaking: bool) -> Option<Packet> {
        let data_first = match (self.control.front(), self.data.front()) {
            (Some((control, _)), Some((data, _))) => data < control && !overtaking,
            (None, _) => true,
            (Some(_), None) => false,
        };
        let lane = match data_first {
            true => &mut self.data,
            false => &mut self.control,
        };
        lane.pop_front().map(|(_, packet)| packet)
    }

    /// Loses all but the first.
    fn cut(&mut self, keep: usize) {
        let overtaking = keep.is_multiple_of(2);
        let kept: Vec<_> = (0..keep).map_while(|_| self.pop(overtaking)).collect();
        *self = Self::default();
        // They have left, so nothing overtakes any more.
        self.control
            .extend(kept.into_iter().map(|packet| (0, packet)));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    NotYet,
    Running { cancelled: bool },
    Over,
}

/// What a half did, and the user's side of it.
#[derive(Debug)]
struct Side {
    run: Run,
    resolved: usize,
    forgotten: usize,
    queued: VecDeque<Payload>,
    last_taken: Option<u32>,
    sent: u32,
    sees_loss: bool,
}

impl Side {
    fn new() -> Self {
        Self {
            run: Run::NotYet,
            resolved: 0,
            forgotten: 0,
            queued: VecDeque::new(),
            last_taken: None,
            sent: 0,
            sees_loss: false,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.run == Run::Running { cancelled: true }
    }

    fn is_running(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    /// What is the same on both sides.
    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::CancelScope(_) => {
                assert_eq!(
                    self.run,
                    Run::Running { cancelled: false },
                    "a scope is cancelled once, while there is one"
                );
                self.run = Run::Running { cancelled: true };
            }
            Effect::DeliverItem(item) => {
                self.queued.push_back(item.clone());
            }
            Effect::DropOldest => assert!(self.queued.pop_front().is_some()),
            Effect::Discard => self.queued.clear(),
            Effect::Resolved => self.resolved += 1,
            Effect::Forget => self.forgotten += 1,
            Effect::Violated(violation) => panic!("both keep to the protocol, but {violation}"),
            _ => {}
        }
    }

    /// Takes an item, which must come in the order it was sent in.
    fn take(&mut self) -> bool {
        let Some(item) = self.queued.pop_front() else {
            return false;
        };
        let number: u32 = item.decode().expect("items are numbers");
        assert!(self.last_taken.is_none_or(|last| last < number));
        self.last_taken = Some(number);
        true
    }
}

/// How the parent's side is opened.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    buffering: Option<Buffering>,
    has_deadline: bool,
}

fn options() -> impl Strategy<Value = Options> {
    (prop::option::of(buffering()), any::<bool>()).prop_map(|(buffering, has_deadline)| Options {
        buffering,
        has_deadline,
    })
}

fn may_overrun(buffering: Buffering) -> bool {
    matches!(buffering.overruns, Overruns::Error | Overruns::Keep(_))
}

struct Sim {
    kind: Kind,
    gives_credit: bool,
    parent: Parent,
    parent_side: Side,
    is_open: bool,
    is_armed: bool,
    exits: Vec<Exit>,
    was_dropped: bool,
    child: Option<Child>,
    child_side: Side,
    terminal: Option<Message>,
    to_child: Way,
    to_parent: Way,
    is_cut: bool,
    has_deadline: bool,
    /// The parent knows that its deadline has passed.
    is_due: bool,
    /// A side was asked to report overruns.
    may_overrun: bool,
    parent_refused: bool,
}

impl Sim {
    fn new(kind: Kind, gives_credit: bool, options: Options) -> Self {
        let Options {
            buffering,
            has_deadline,
        } = options;
        let features = Self::features(gives_credit);
        Self {
            kind,
            gives_credit,
            parent: {
                let mut parent = Parent::new(parent_setup(features), kind);
                if let Some(buffering) = buffering {
                    parent.set_buffering(buffering);
                }
                if has_deadline {
                    parent.deadline_passed();
                }
                parent
            },
            parent_side: Side::new(),
            is_open: false,
            is_armed: false,
            exits: Vec::new(),
            was_dropped: false,
            child: None,
            child_side: Side::new(),
            terminal: None,
            to_child: Way::default(),
            to_parent: Way::default(),
            is_cut: false,
            has_deadline,
            is_due: has_deadline,
            may_overrun: !gives_credit || buffering.is_some_and(may_overrun),
            parent_refused: false,
        }
    }

    fn features(gives_credit: bool) -> Features {
        match gives_credit {
            true => Features::ours(),
            false => Features::default(),
        }
    }

    fn parent_does(&mut self, event: ParentEvent) {
        let mut out = Vec::new();
        self.parent.handle(event, &mut out);
        self.apply_parent(out);
    }

    fn apply_parent(&mut self, effects: Effects) {
        for effect in effects {
            self.parent_side.apply(&effect);
            match effect {
                Effect::SendStart => self.post_to_child(Packet::Start),
                Effect::RequestCancel(cause) => self.post_to_child(Packet::CancelRequest(cause)),
                Effect::Send(message) => {
                    if let Message::Error(error) = &message {
                        let is_allowed = match error.is_overrun() {
                            true => self.may_overrun,
                            false => self.parent_refused,
                        };
                        assert!(is_allowed, "credit allows no overrun: {error}");
                    }
                    self.post_to_child(Packet::Message(message));
                }
                Effect::ArmBound => {
                    assert!(!self.is_armed, "the bound is not extended");
                    self.is_armed = true;
                }
                Effect::DeliverStarted(_) => {
                    assert_eq!(self.parent_side.run, Run::NotYet);
                    self.parent_side.run = Run::Running { cancelled: false };
                    if self.kind == Kind::OneWay {
                        self.take(Step::ParentOpensStream(None));
                    }
                }
                Effect::Exit(exit) => {
                    assert!(
                        !self.parent_side.is_running(),
                        "a block ends after its body"
                    );
                    self.exits.push(exit);
                }
                _ => {}
            }
        }
    }

    fn child_does(&mut self, event: ChildEvent) {
        let Some(child) = &mut self.child else { return };
        let mut out = Vec::new();
        child.handle(event, &mut out);
        self.apply_child(out);
    }

    fn apply_child(&mut self, effects: Effects) {
        for effect in effects {
            self.child_side.apply(&effect);
            if let Effect::Send(message) = effect {
                assert_eq!(
                    self.terminal, None,
                    "{message:?} follows a terminal message"
                );
                let is_terminal = match &message {
                    Message::Return { .. } | Message::Error(_) => true,
                    Message::Stop { .. } => self.kind == Kind::OneWay,
                    _ => false,
                };
                if is_terminal {
                    self.terminal = Some(message.clone());
                }
                if let Message::Error(error) = &message {
                    assert!(self.may_overrun || !error.is_overrun());
                }
                self.post_to_parent(Packet::Message(message));
            }
        }
    }

    fn post_to_child(&mut self, packet: Packet) {
        if !self.is_cut {
            self.to_child.post(packet, self.gives_credit);
        }
    }

    fn post_to_parent(&mut self, packet: Packet) {
        if !self.is_cut {
            self.to_parent.post(packet, self.gives_credit);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::ToChild {
                packets,
                overtaking,
            } => {
                for _ in 0..packets {
                    self.deliver_to_child(overtaking);
                }
            }
            Step::ToParent {
                packets,
                overtaking,
            } => {
                for _ in 0..packets {
                    self.deliver_to_parent(overtaking);
                }
            }
            Step::Open => {
                self.is_open = true;
                self.parent_does(ParentEvent::Open);
            }
            Step::ParentCancels { by_body } => {
                // The body can only ask while it runs.
                if !by_body || self.parent_side.is_running() {
                    self.parent_does(ParentEvent::Cancel {
                        cause: requested(parent_uid()),
                        by_body,
                    });
                }
            }
            Step::OuterCancelled => {
                let cause = Cause::new(CauseKind::ParentCancelled, parent_uid());
                self.parent_does(ParentEvent::OuterCancelled(cause));
            }
            Step::BodyReturns => self.end_body(BodyEnd::Returned),
            Step::BodyFails => self.end_body(BodyEnd::Failed {
                is_remote: false,
                cause: requested(parent_uid()),
            }),
            Step::BodyCutShortFromOutside => self.end_body(BodyEnd::Cancelled {
                by_dialog: false,
                cause: Cause::new(CauseKind::ParentCancelled, parent_uid()),
            }),
            Step::ParentDropped => {
                if self.exits.is_empty() {
                    self.was_dropped = true;
                    self.parent_side.run = Run::Over;
                    self.parent_does(ParentEvent::Dropped(requested(parent_uid())));
                }
            }
            Step::BoundOver => {
                if self.is_armed {
                    self.parent_does(ParentEvent::CancelBoundOver);
                }
            }
            Step::ParentDeadlineMoves => {
                let mut out = Vec::new();
                self.parent.deadline_moved(1_000, &mut out);
                if !out.is_empty() {
                    self.has_deadline = true;
                    self.is_due = false;
                }
                self.apply_parent(out);
            }
            Step::ParentOpensStream(buffering) => {
                let mut out = Vec::new();
                // A refusal is an answer, too.
                if self.parent.open_stream(buffering, &mut out).is_ok() {
                    self.may_overrun |= buffering.is_some_and(may_overrun);
                }
                self.apply_parent(out);
            }
            Step::ParentSends { items } => {
                for _ in 0..items {
                    if self.parent.may_send() != SendVerdict::Go {
                        break;
                    }
                    self.parent.item_sent();
                    self.parent_side.sent += 1;
                    let message = item(self.parent_side.sent);
                    self.post_to_child(Packet::Message(message));
                }
            }
            Step::ParentTakes { items } => {
                for _ in 0..items {
                    if !self.parent_side.take() {
                        break;
                    }
                    let mut out = Vec::new();
                    self.parent.item_taken(&mut out);
                    self.apply_parent(out);
                }
            }
            Step::ParentClosesStream => {
                if self.parent_side.is_running() {
                    let mut out = Vec::new();
                    self.parent.close_stream(&mut out);
                    self.apply_parent(out);
                }
            }
            Step::ParentAwaitsResult => {
                if self.parent_side.is_running() {
                    let mut out = Vec::new();
                    self.parent.await_result(&mut out);
                    self.apply_parent(out);
                }
            }
            Step::ParentRefuses => {
                if self.parent_side.is_running() {
                    self.parent_refused = true;
                    self.parent_does(ParentEvent::Undecodable(wrong_type(parent_uid())));
                    assert!(self.parent_side.queued.is_empty());
                }
            }
            Step::Accept => {
                let is_new = self
                    .child
                    .as_ref()
                    .is_some_and(|child| child.state() == ChildState::Received);
                if is_new {
                    self.child_side.run = Run::Running { cancelled: false };
                    self.child_does(ChildEvent::Accept(match self.kind {
                        Kind::Context => FuncType::Context,
                        Kind::Function => FuncType::AsyncFunc,
                        Kind::OneWay => FuncType::AsyncGen,
                    }));
                    if self.kind == Kind::OneWay {
                        self.take(Step::ChildOpensStream(None));
                    }
                }
            }
            Step::Refuse => self.child_does(ChildEvent::Refuse(failure(child_uid()))),
            Step::Started => {
                if self.child_side.is_running()
                    && let Some(child) = &mut self.child
                {
                    let mut out = Vec::new();
                    let _ = child.started(value(0), &mut out);
                    self.apply_child(out);
                }
            }
            Step::ChildCancels => {
                if self.child_side.is_running() {
                    self.child_does(ChildEvent::Cancel(requested(child_uid())));
                }
            }
            Step::ThirdCancels => self.child_does(ChildEvent::Cancel(requested(third_uid()))),
            Step::EndpointReturns => self.end_endpoint(EndpointEnd::Returned(value(7))),
            Step::EndpointFails => self.end_endpoint(EndpointEnd::Failed(failure(child_uid()))),
            Step::EndpointCutShort => {
                if self.child_side.is_cancelled() {
                    self.end_endpoint(EndpointEnd::Cancelled(requested(child_uid())));
                }
            }
            Step::ChildDropped => {
                if self.child_side.is_running() {
                    self.child_side.run = Run::Over;
                    self.child_does(ChildEvent::Dropped(requested(child_uid())));
                }
            }
            Step::ChildDeadline => {
                if self.has_deadline {
                    let cause = Cause::new(CauseKind::Deadline, parent_uid());
                    self.child_does(ChildEvent::Cancel(cause));
                }
            }
            Step::ChildShields => {
                if self.child_side.is_running()
                    && let Some(child) = &mut self.child
                {
                    let mut out = Vec::new();
                    child.shielded(1_000, &mut out);
                    self.apply_child(out);
                }
            }
            Step::ChildOpensStream(buffering) => {
                if self.child_side.is_running()
                    && let Some(child) = &mut self.child
                {
                    let mut out = Vec::new();
                    if child.open_stream(buffering, &mut out).is_ok() {
                        self.may_overrun |= buffering.is_some_and(may_overrun);
                    }
                    self.apply_child(out);
                }
            }
            Step::ChildSends { items } => {
                for _ in 0..items {
                    let Some(child) = &mut self.child else { break };
                    if !self.child_side.is_running() || child.may_send() != SendVerdict::Go {
                        break;
                    }
                    child.item_sent();
                    self.child_side.sent += 1;
                    let message = item(self.child_side.sent);
                    assert_eq!(self.terminal, None);
                    self.post_to_parent(Packet::Message(message));
                }
            }
            Step::ChildTakes { items } => {
                for _ in 0..items {
                    let Some(child) = &mut self.child else { break };
                    if !self.child_side.is_running() || !self.child_side.take() {
                        break;
                    }
                    let mut out = Vec::new();
                    child.item_taken(&mut out);
                    self.apply_child(out);
                }
            }
            Step::ChildClosesStream => {
                if self.child_side.is_running()
                    && let Some(child) = &mut self.child
                {
                    let mut out = Vec::new();
                    child.close_stream(&mut out);
                    self.apply_child(out);
                }
            }
            Step::ChildRefuses => {
                if self.child_side.is_running() {
                    self.child_does(ChildEvent::Undecodable(wrong_type(child_uid())));
                }
            }
            Step::ParentWriteFails => {
                if self.is_cut {
                    self.parent_does(ParentEvent::WriteFailed);
                }
            }
            Step::ChildWriteFails => {
                if self.is_cut {
                    self.child_does(ChildEvent::WriteFailed);
                }
            }
            Step::Cut { keep } => {
                self.is_cut = true;
                self.to_child.cut(usize::from(keep % 8));
                self.to_parent.cut(usize::from(keep / 8 % 8));
            }
        }
    }

    /// Says whether there was something to deliver.
    fn deliver_to_child(&mut self, overtaking: bool) -> bool {
        let Some(packet) = self.to_child.pop(overtaking) else {
            if !self.is_cut || self.child_side.sees_loss {
                return false;
            }
            self.child_side.sees_loss = true;
            self.child_does(ChildEvent::LinkLost(loss()));
            assert!(
                !self.child_side.is_running() || self.child_side.is_cancelled(),
                "an endpoint runs on though its peer is gone"
            );
            return true;
        };
        match packet {
            Packet::Start => {
                let features = Self::features(self.gives_credit);
                self.child = Some(Child::new(child_setup(features)));
            }
            Packet::CancelRequest(cause) => {
                self.post_to_parent(Packet::CancelAnswer);
                self.child_does(ChildEvent::Cancel(cause));
            }
            Packet::CancelAnswer => unreachable!("a child asks for nothing"),
            Packet::Message(message) => self.child_does(ChildEvent::Message(message)),
        }
        true
    }

    fn deliver_to_parent(&mut self, overtaking: bool) -> bool {
        let Some(packet) = self.to_parent.pop(overtaking) else {
            if !self.is_cut || self.parent_side.sees_loss {
                return false;
            }
            self.parent_side.sees_loss = true;
            let was_known = self.parent.resolution().is_some();
            self.parent_does(ParentEvent::LinkLost(loss()));
            assert!(
                was_known || !self.parent_side.is_running() || self.parent_side.is_cancelled(),
                "a body runs on though its peer is gone"
            );
            return true;
        };
        match packet {
            Packet::CancelAnswer => self.parent_does(ParentEvent::CancelAnswered(true)),
            Packet::Message(message) => {
                let was_known = self.parent.resolution().is_some();
                let is_value = matches!(message, Message::Return { .. });
                self.parent_does(ParentEvent::Message(message));
                if is_value && !was_known {
                    assert_eq!(
                        self.parent.resolution(),
                        Some(&Resolution::Returned(value(7)))
                    );
                }
            }
            Packet::Start | Packet::CancelRequest(_) => unreachable!("a parent is asked nothing"),
        }
        true
    }

    fn end_body(&mut self, end: BodyEnd) {
        if self.parent_side.is_running() {
            self.parent_side.run = Run::Over;
            self.parent_does(ParentEvent::BodyEnded(end));
        }
    }

    fn end_endpoint(&mut self, end: EndpointEnd) {
        if self.child_side.is_running() {
            self.child_side.run = Run::Over;
            self.child_does(ChildEvent::EndpointEnded(end));
        }
    }

    /// Lets everything come to its end, with users that do what they must and no more.
    fn settle(&mut self) {
        self.take(Step::Open);
        loop {
            while self.deliver_to_child(false) | self.deliver_to_parent(false) {}
            let before = (
                self.parent_side.run,
                self.child_side.run,
                self.parent.state(),
            );
            self.take(Step::Accept);
            self.take(Step::Started);
            if self.child_side.is_cancelled() {
                self.take(Step::EndpointCutShort);
            } else {
                self.take(Step::EndpointReturns);
            }
            while self.deliver_to_child(false) | self.deliver_to_parent(false) {}
            if self.parent_side.is_cancelled() {
                self.end_body(BodyEnd::Cancelled {
                    by_dialog: true,
                    cause: requested(parent_uid()),
                });
            } else {
                self.take(Step::BodyReturns);
            }
            if before
                == (
                    self.parent_side.run,
                    self.child_side.run,
                    self.parent.state(),
                )
            {
                return;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.parent_side.resolved, 1, "the parent resolves once");
        let exits = usize::from(!self.was_dropped);
        assert_eq!(
            self.exits.len(),
            exits,
            "the block ends once: {:?}",
            self.exits
        );
        assert_eq!(self.parent_side.forgotten, 1, "the parent leaves the table");
        if let Some(child) = &self.child {
            assert_eq!(self.child_side.resolved, 1, "the child resolves once");
            assert_eq!(self.child_side.forgotten, 1, "the child leaves the table");
            self.check_canceller(child);
        }
        self.check_resolution();
    }

    /// Both know the same canceller.
    fn check_canceller(&self, child: &Child) {
        let Some(
            Resolution::Cancelled(error) | Resolution::Expired(error) | Resolution::Failed(error),
        ) = self.parent.resolution()
        else {
            return;
        };
        if error.is_cancellation() {
            let own = child_uid();
            let knows = child.canceller().or(Some(&own));
            assert_eq!(error.canceller.as_ref(), knows);
            assert_eq!(self.parent.canceller(), knows);
        }
    }

    fn check_resolution(&self) {
        let resolution = self.parent.resolution().expect("it resolved");
        match resolution {
            Resolution::Returned(_) => match self.kind {
                Kind::OneWay => assert!(matches!(self.terminal, Some(Message::Stop { .. }))),
                _ => assert!(matches!(self.terminal, Some(Message::Return { .. }))),
            },
            Resolution::Expired(error) => {
                assert!(self.is_due && !self.parent.cancel_called());
                assert_eq!(error.canceller, Some(parent_uid()));
            }
            Resolution::Cancelled(error) => {
                assert!(self.parent.cancel_called());
                assert_eq!(error.canceller, Some(parent_uid()));
            }
            Resolution::Failed(error) => {
                let sent = Message::Error(error.clone());
                assert_eq!(self.terminal.as_ref(), Some(&sent));
            }
            Resolution::PeerLost(_) => {
                assert!(self.is_cut);
                assert!(!self.parent.cancel_called());
            }
            Resolution::Unreachable(_) => {
                assert!(self.is_cut);
                assert!(self.parent.cancel_called());
            }
            Resolution::Unanswered => assert!(self.parent.cancel_called()),
            Resolution::Withdrawn => assert!(self.child.is_none()),
            Resolution::Violated(_) | Resolution::WrongKind(_) => panic!("{resolution:?}"),
        }
        // Nothing ends in silence: what is raised by a dialog is raised by its block.
        if let [exit] = self.exits[..] {
            match exit {
                Exit::Remote | Exit::Both => {}
                Exit::Body | Exit::Caught => {
                    assert!(
                        !resolution.is_raised() && !self.parent_refused,
                        "{resolution:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn halves_agree_whatever_happens(
        kind in prop::sample::select(vec![
            Kind::Context, Kind::Context, Kind::OneWay, Kind::Function,
        ]),
        gives_credit in prop::bool::weighted(0.7),
        options in options(),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut sim = Sim::new(kind, gives_credit, options);
        for step in steps {
            sim.take(step);
        }
        sim.settle();
        sim.check();
    }

    #[test]
    fn streams_flow_without_overrun_or_standstill(
        down in waiting(),
        up in waiting(),
        steps in prop::collection::vec(stream_step(), 0..120),
    ) {
        let mut sim = Sim::new(Kind::Context, true, Options::default());
        for step in [
            Step::Open,
            Step::ToChild { packets: 1, overtaking: false },
            Step::Accept,
            Step::Started,
            Step::ToParent { packets: 2, overtaking: false },
            Step::ParentOpensStream(up),
            Step::ChildOpensStream(down),
        ]
        .into_iter()
        .chain(steps)
        {
            sim.take(step);
        }
        // Both take all there is: then both may send again, and nothing was lost.
        loop {
            sim.take(Step::ParentTakes { items: u8::MAX });
            sim.take(Step::ChildTakes { items: u8::MAX });
            if !(sim.deliver_to_child(false) | sim.deliver_to_parent(false)) {
                break;
            }
        }
        assert_eq!(sim.parent.may_send(), SendVerdict::Go);
        assert_eq!(sim.child.as_ref().map(Child::may_send), Some(SendVerdict::Go));
        assert_eq!(sim.child_side.last_taken.unwrap_or(0), sim.parent_side.sent);
        assert_eq!(sim.parent_side.last_taken.unwrap_or(0), sim.child_side.sent);
        sim.settle();
        sim.check();
    }
}
