use std::fmt::Write;

use super::*;

const DOCUMENTED: &str = include_str!("../table.md");

#[test]
fn documented_tables_are_what_the_code_does() {
    for (title, table) in [
        ("A parent", parent_table()),
        ("A parent that was asked to cancel", asked_parent_table()),
        ("A parent of a plain function", function_table()),
        ("A parent of a function that sends items", one_way_table()),
        ("A child", child_table()),
        ("A child that sends items", one_way_child_table()),
    ] {
        let documented = documented(title);
        assert_eq!(
            documented, table,
            "the documentation of {title:?} should have this table:\n{table}"
        );
    }
}

/// The table under a heading of the documentation.
fn documented(title: &str) -> String {
    DOCUMENTED
        .lines()
        .skip_while(|line| *line != format!("## {title}"))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .fold(String::new(), |table, line| table + line + "\n")
}

fn parent_table() -> String {
    use ParentEvent::Message as Got;
    let running = || [ParentEvent::Open, Got(start_ack()), Got(started())];
    let columns = vec![
        ("unsent", parent_after([])),
        ("opening", parent_after([ParentEvent::Open])),
        ("acked", parent_after([ParentEvent::Open, Got(start_ack())])),
        ("running", with_stream(parent_after(running()))),
        ("draining", {
            let mut parent = parent_after(running());
            handle(&mut parent, body_ended(BodyEnd::Returned));
            parent
        }),
        ("done", {
            let mut parent = with_stream(parent_after(running()));
            handle(&mut parent, Got(returned()));
            parent
        }),
        ("tombstone", {
            let mut parent = parent_after(running());
            handle(&mut parent, ParentEvent::Dropped(requested(parent_uid())));
            parent
        }),
    ];
    table(columns, &parent_events(), parent_step)
}

fn asked_parent_table() -> String {
    use ParentEvent::Message as Got;
    let ask = || ParentEvent::Cancel {
        cause: requested(parent_uid()),
        by_body: true,
    };
    let columns = vec![
        ("opening", parent_after([ParentEvent::Open, ask()])),
        (
            "acked",
            parent_after([ParentEvent::Open, Got(start_ack()), ask()]),
        ),
        ("running", {
            let mut parent = with_stream(parent_after([
                ParentEvent::Open,
                Got(start_ack()),
                Got(started()),
            ]));
            handle(&mut parent, ask());
            parent
        }),
        (
            "draining",
            parent_after([
                ParentEvent::Open,
                Got(start_ack()),
                Got(started()),
                body_ended(BodyEnd::Failed {
                    is_remote: false,
                    cause: requested(parent_uid()),
                }),
            ]),
        ),
    ];
    table(columns, &parent_events(), parent_step)
}

fn function_table() -> String {
    let function = |events: Vec<ParentEvent>| {
        let mut parent = Parent::new(parent_setup(Features::ours()), Kind::Function);
        for event in events {
            handle(&mut parent, event);
        }
        parent
    };
    let columns = vec![
        ("opening", function(vec![ParentEvent::Open])),
        (
            "draining",
            function(vec![
                ParentEvent::Open,
                ParentEvent::Message(Message::StartAck {
                    cid: cid(),
                    functype: FuncType::AsyncFunc,
                }),
            ]),
        ),
    ];
    table(columns, &parent_events(), parent_step)
}

fn one_way_table() -> String {
    let start_ack = || {
        ParentEvent::Message(Message::StartAck {
            cid: cid(),
            functype: FuncType::AsyncGen,
        })
    };
    let one_way = |events: Vec<ParentEvent>| {
        let mut parent = Parent::new(parent_setup(Features::ours()), Kind::OneWay);
        for event in events {
            handle(&mut parent, event);
        }
        parent
    };
    let running = || with_stream(one_way(vec![ParentEvent::Open, start_ack()]));
    let columns = vec![
        ("opening", one_way(vec![ParentEvent::Open])),
        ("running", running()),
        ("draining", {
            let mut parent = running();
            handle(&mut parent, body_ended(BodyEnd::Returned));
            parent
        }),
        ("done", {
            let mut parent = running();
            handle(&mut parent, ParentEvent::Message(stop()));
            parent
        }),
        ("tombstone", {
            let mut parent = running();
            handle(&mut parent, ParentEvent::Dropped(requested(parent_uid())));
            parent
        }),
    ];
    table(columns, &parent_events(), parent_step)
}

fn one_way_child_table() -> String {
    let run = || {
        let mut child = child_after([ChildEvent::Accept(FuncType::AsyncGen)]);
        (child.open_stream(None, &mut Vec::new())).expect("it is started from the beginning");
        child
    };
    let columns = vec![
        ("started", run()),
        ("cancelled", {
            let mut child = run();
            handle_child(&mut child, ChildEvent::Cancel(requested(parent_uid())));
            child
        }),
    ];
    table(columns, &child_events(), child_step)
}

fn child_table() -> String {
    let accept = || ChildEvent::Accept(FuncType::Context);
    let run = || {
        let mut child = child_after([accept()]);
        child
            .started(value(0), &mut Vec::new())
            .expect("it is pre-started");
        child
            .open_stream(None, &mut Vec::new())
            .expect("it is started");
        child
    };
    let columns = vec![
        ("received", child_after([])),
        ("pre-started", child_after([accept()])),
        ("started", run()),
        ("cancelled", {
            let mut child = run();
            handle_child(&mut child, ChildEvent::Cancel(requested(parent_uid())));
            child
        }),
        ("finishing", {
            let mut child = run();
            handle_child(&mut child, ChildEvent::LinkLost(loss()));
            child
        }),
        ("done", {
            let mut child = run();
            let end = EndpointEnd::Returned(value(7));
            handle_child(&mut child, ChildEvent::EndpointEnded(end));
            child
        }),
        ("tombstone", {
            let mut child = run();
            handle_child(&mut child, ChildEvent::Dropped(requested(child_uid())));
            child
        }),
    ];
    table(columns, &child_events(), child_step)
}

fn child_step(child: &Child, event: &ChildEvent) -> (&'static str, &'static str, Effects) {
    let mut child = child.clone();
    let before = child.state().name();
    let effects = handle_child(&mut child, event.clone());
    (before, child.state().name(), effects)
}

fn with_stream(mut parent: Parent) -> Parent {
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    parent
}

fn body_ended(end: BodyEnd) -> ParentEvent {
    ParentEvent::BodyEnded(end)
}

pub(super) fn parent_events() -> Vec<(&'static str, ParentEvent)> {
    use ParentEvent::Message as Got;
    let cause = requested(parent_uid());
    vec![
        ("open", ParentEvent::Open),
        (
            "cancel, by the body",
            ParentEvent::Cancel {
                cause: cause.clone(),
                by_body: true,
            },
        ),
        (
            "cancel, by another task, for another cause",
            ParentEvent::Cancel {
                cause: Cause::new(CauseKind::Signal, parent_uid()),
                by_body: false,
            },
        ),
        (
            "a scope outside is cancelled",
            ParentEvent::OuterCancelled(cause.clone()),
        ),
        ("body returns", body_ended(BodyEnd::Returned)),
        (
            "body fails",
            body_ended(BodyEnd::Failed {
                is_remote: false,
                cause: cause.clone(),
            }),
        ),
        (
            "body is cut short by its dialog",
            body_ended(BodyEnd::Cancelled {
                by_dialog: true,
                cause: cause.clone(),
            }),
        ),
        (
            "body is cut short from outside",
            body_ended(BodyEnd::Cancelled {
                by_dialog: false,
                cause: cause.clone(),
            }),
        ),
        ("dropped", ParentEvent::Dropped(cause)),
        (
            "time for the cancellation is over",
            ParentEvent::CancelBoundOver,
        ),
        (
            "a value is of another type",
            ParentEvent::Undecodable(wrong_type(parent_uid())),
        ),
        ("request accepted", ParentEvent::CancelAnswered(true)),
        ("request refused", ParentEvent::CancelAnswered(false)),
        ("`StartAck(context)`", Got(start_ack())),
        (
            "`StartAck(asyncfunc)`",
            Got(Message::StartAck {
                cid: cid(),
                functype: FuncType::AsyncFunc,
            }),
        ),
        (
            "`StartAck(asyncgen)`",
            Got(Message::StartAck {
                cid: cid(),
                functype: FuncType::AsyncGen,
            }),
        ),
        ("`Started`", Got(started())),
        ("`Yield`", Got(item(1))),
        ("`Stop`", Got(stop())),
        ("`Credit`", Got(credit())),
        ("`Shielded`", Got(shielded())),
        ("`Return`", Got(returned())),
        ("`Error`", Got(error(child_uid()))),
        (
            "`Error`: cancelled by this side",
            Got(cancellation(parent_uid())),
        ),
        (
            "`Error`: cancelled by another",
            Got(cancellation(third_uid())),
        ),
        ("`Error`: its time was over", Got(expiry())),
        ("any other message", Got(cancel_ack())),
        ("writing fails", ParentEvent::WriteFailed),
        ("link lost", ParentEvent::LinkLost(loss())),
    ]
}

pub(super) fn child_events() -> Vec<(&'static str, ChildEvent)> {
    use ChildEvent::Message as Got;
    let ended = |end| ChildEvent::EndpointEnded(end);
    vec![
        ("accept(context)", ChildEvent::Accept(FuncType::Context)),
        ("refuse", ChildEvent::Refuse(failure(child_uid()))),
        (
            "cancel, by whomever",
            ChildEvent::Cancel(requested(third_uid())),
        ),
        ("endpoint returns", ended(EndpointEnd::Returned(value(7)))),
        (
            "endpoint fails",
            ended(EndpointEnd::Failed(failure(child_uid()))),
        ),
        (
            "endpoint is cut short",
            ended(EndpointEnd::Cancelled(requested(child_uid()))),
        ),
        ("dropped", ChildEvent::Dropped(requested(child_uid()))),
        (
            "an item is of another type",
            ChildEvent::Undecodable(wrong_type(child_uid())),
        ),
        ("`Yield`", Got(item(1))),
        ("`Stop`", Got(stop())),
        ("`Credit`", Got(credit())),
        ("`Deadline`", Got(deadline())),
        ("`Error`", Got(error(parent_uid()))),
        ("any other message", Got(started())),
        ("writing fails", ChildEvent::WriteFailed),
        ("link lost", ChildEvent::LinkLost(loss())),
    ]
}

fn parent_step(parent: &Parent, event: &ParentEvent) -> (&'static str, &'static str, Effects) {
    let mut parent = parent.clone();
    let before = parent.state().name();
    let effects = handle(&mut parent, event.clone());
    (before, parent.state().name(), effects)
}

/// Every event in every state, as the documentation shows it.
fn table<S, E>(
    columns: Vec<(&str, S)>,
    events: &[(&str, E)],
    step: impl Fn(&S, &E) -> (&'static str, &'static str, Effects),
) -> String {
    let mut table = String::from("| event |");
    for (name, _) in &columns {
        write!(table, " {name} |").expect("a string takes every write");
    }
    table += "\n|---|";
    table += &"---|".repeat(columns.len());
    table += "\n";
    for (name, event) in events {
        write!(table, "| {name} |").expect("a string takes every write");
        for (_, state) in &columns {
            let (before, after, effects) = step(state, event);
            let mut parts: Vec<String> = effects.iter().map(shown).collect();
            if before != after {
                parts.insert(0, format!("**{after}**"));
            }
            if parts.is_empty() {
                parts.push("·".into());
            }
            write!(table, " {} |", parts.join(", ")).expect("a string takes every write");
        }
        table += "\n";
    }
    table
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Send(Message::Error(error)) => format!("send `Error({})`", error.boxed_type_str),
        Effect::Send(message) => format!("send `{}`", message.name()),
        Effect::SendStart => "send `Start`".into(),
        Effect::RequestCancel(_) => "request".into(),
        Effect::ArmBound => "arm".into(),
        Effect::CancelScope(cause) => format!("cancel({})", cause.kind.name()),
        Effect::DeliverStarted(_) => "begin".into(),
        Effect::DeliverItem(_) => "deliver".into(),
        Effect::DropOldest => "drop the oldest".into(),
        Effect::Shielded { .. } => "wait longer".into(),
        Effect::Deadline { .. } => "set the deadline".into(),
        Effect::Discard => "discard".into(),
        Effect::EndOfStream => "end of stream".into(),
        Effect::WakeSender => "wake".into(),
        Effect::Resolved => "resolved".into(),
        Effect::Exit(exit) => format!("exit({})", format!("{exit:?}").to_lowercase()),
        Effect::Forget => "forget".into(),
        Effect::Ignored { .. } => "ignored".into(),
        Effect::Violated(_) => "violated".into(),
    }
}
