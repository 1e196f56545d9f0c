//! Each half against peers, users and links that do anything at all, in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::against_each_other::buffering;
use super::tables::{child_events, parent_events};
use super::*;

/// How often each event came in each state.
type Reached = BTreeMap<(&'static str, &'static str), u64>;

#[derive(Clone, Debug)]
enum Call {
    /// One of the events of the table.
    Event(prop::sample::Index),
    OpenStream(Option<Buffering>),
    CloseStream,
    /// What brings it on.
    Proceed,
    /// Sends or takes an item, if there is one to be sent or taken.
    Send,
    Take,
    AwaitResult,
    Started,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Call::Event),
        6 => Just(Call::Proceed),
        1 => prop::option::of(buffering()).prop_map(Call::OpenStream),
        1 => prop::sample::select(vec![
            Call::CloseStream, Call::Send, Call::Take, Call::AwaitResult, Call::Started,
        ]),
    ]
}

/// What is true of either half, whatever happens.
#[derive(Debug, Default)]
struct Seen {
    queued: usize,
    resolved: usize,
    forgotten: usize,
    exits: usize,
    scopes_cancelled: usize,
    terminals: usize,
}

impl Seen {
    fn take(&mut self, effects: &Effects) {
        for effect in effects {
            match effect {
                Effect::Resolved => self.resolved += 1,
                Effect::Forget => self.forgotten += 1,
                Effect::Exit(_) => self.exits += 1,
                Effect::CancelScope(_) => self.scopes_cancelled += 1,
                Effect::DeliverItem(_) => self.queued += 1,
                Effect::DropOldest => self.queued -= 1,
                Effect::Discard => self.queued = 0,
                Effect::Send(_) => {
                    assert_eq!(
                        self.forgotten, 0,
                        "a half that was forgotten says something"
                    );
                }
                _ => {}
            }
            assert!(self.resolved <= 1 && self.forgotten <= 1 && self.exits <= 1);
            assert!(self.scopes_cancelled <= 1);
        }
    }
}

#[test]
fn parent_keeps_its_promises_against_anything() {
    let mut runner = runner();
    let mut reached = Reached::new();
    let events = parent_events();
    let kinds = vec![Kind::Context, Kind::Function, Kind::OneWay];
    let cases = (
        prop::sample::select(kinds),
        any::<bool>(),
        prop::collection::vec(call(), 0..40),
    );
    let counted = std::cell::RefCell::new(&mut reached);
    let result = runner.run(&cases, |(kind, is_due, calls)| {
        let mut parent = Parent::new(parent_setup(Features::ours()), kind);
        if is_due {
            parent.deadline_passed();
        }
        let mut seen = Seen::default();
        let mut had_link = true;
        for call in calls {
            let mut out = Vec::new();
            match call {
                Call::Proceed => parent.handle(next_of(&parent, kind), &mut out),
                Call::Event(index) => {
                    let (name, event) = index.get(&events);
                    let state = parent.state().name();
                    *counted.borrow_mut().entry((state, *name)).or_default() += 1;
                    had_link &= !matches!(event, ParentEvent::LinkLost(_));
                    parent.handle(event.clone(), &mut out);
                }
                Call::OpenStream(buffering) => drop(parent.open_stream(buffering, &mut out)),
                Call::CloseStream => parent.close_stream(&mut out),
                Call::Send if parent.may_send() == SendVerdict::Go => parent.item_sent(),
                Call::Take if seen.queued > 0 => {
                    seen.queued -= 1;
                    parent.item_taken(&mut out);
                }
                Call::AwaitResult => parent.await_result(&mut out),
                Call::Send | Call::Take | Call::Started => {}
            }
            if !had_link {
                assert!(
                    parent.resolution().is_some(),
                    "known, once the link is gone"
                );
            }
            seen.take(&out);
            let limit = parent.stream().limit().max(WINDOW) as usize;
            assert!(seen.queued <= limit, "{} items wait", seen.queued);
            assert_eq!(seen.resolved > 0, parent.resolution().is_some());
        }
        Ok(())
    });
    result.expect("the half keeps its promises");
    let states = [
        "opening",
        "acked",
        "running",
        "draining",
        "done",
        "tombstone",
    ];
    all_reached(&reached, &states, &events);
}

#[test]
fn child_keeps_its_promises_against_anything() {
    let mut runner = runner();
    let mut reached = Reached::new();
    let mut events = child_events();
    for (name, kind) in [
        ("accept(asyncfunc)", FuncType::AsyncFunc),
        ("accept(asyncgen)", FuncType::AsyncGen),
    ] {
        events.push((name, ChildEvent::Accept(kind)));
    }
    let cases = prop::collection::vec(call(), 0..40);
    let counted = std::cell::RefCell::new(&mut reached);
    let result = runner.run(&cases, |calls| {
        let mut child = Child::new(child_setup(Features::ours()));
        let mut seen = Seen::default();
        for call in calls {
            let mut out = Vec::new();
            match call {
                Call::Event(index) => {
                    let (name, event) = index.get(&events);
                    let state = child.state().name();
                    *counted.borrow_mut().entry((state, *name)).or_default() += 1;
                    child.handle(event.clone(), &mut out);
                    if matches!(event, ChildEvent::LinkLost(_)) {
                        let runs = matches!(state, "pre-started" | "started");
                        assert!(
                            !runs || child.cancel_called(),
                            "it runs on without its peer"
                        );
                    }
                }
                Call::OpenStream(buffering) => drop(child.open_stream(buffering, &mut out)),
                Call::CloseStream => child.close_stream(&mut out),
                Call::Send if child.may_send() == SendVerdict::Go => child.item_sent(),
                Call::Take if seen.queued > 0 => {
                    seen.queued -= 1;
                    child.item_taken(&mut out);
                }
                Call::Started => drop(child.started(value(0), &mut out)),
                Call::Proceed if child.state() == ChildState::Received => {
                    child.handle(ChildEvent::Accept(FuncType::Context), &mut out);
                }
                Call::Proceed => drop(child.started(value(0), &mut out)),
                Call::Send | Call::Take | Call::AwaitResult => {}
            }
            for effect in &out {
                let Effect::Send(message) = effect else {
                    continue;
                };
                assert_eq!(seen.terminals, 0, "{message:?} follows a terminal message");
                let is_terminal = matches!(message, Message::Return { .. } | Message::Error(_));
                seen.terminals += usize::from(is_terminal);
            }
            seen.take(&out);
            let limit = child.stream().limit().max(WINDOW) as usize;
            assert!(seen.queued <= limit, "{} items wait", seen.queued);
        }
        Ok(())
    });
    result.expect("the half keeps its promises");
    let states = [
        "received",
        "pre-started",
        "started",
        "finishing",
        "done",
        "tombstone",
    ];
    all_reached(&reached, &states, &events);
}

fn next_of(parent: &Parent, kind: Kind) -> ParentEvent {
    let functype = match kind {
        Kind::Context => FuncType::Context,
        Kind::Function => FuncType::AsyncFunc,
        Kind::OneWay => FuncType::AsyncGen,
    };
    match parent.state() {
        ParentState::Opening if parent.is_sent() => ParentEvent::Message(Message::StartAck {
            cid: cid(),
            functype,
        }),
        ParentState::Opening => ParentEvent::Open,
        ParentState::Acked => ParentEvent::Message(started()),
        _ => ParentEvent::BodyEnded(BodyEnd::Returned),
    }
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn all_reached<E>(reached: &Reached, states: &[&'static str], events: &[(&'static str, E)]) {
    for &state in states {
        for &(event, _) in events {
            let times = reached.get(&(state, event)).copied().unwrap_or(0);
            assert!(
                times > 0,
                "{event} never came while {state}, in {} cases",
                cases()
            );
        }
    }
}
