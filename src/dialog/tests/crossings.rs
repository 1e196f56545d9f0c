use super::ParentEvent::Message as Got;
use super::*;

fn running() -> Parent {
    parent_after([ParentEvent::Open, Got(start_ack()), Got(started())])
}

fn cancel(by_body: bool) -> ParentEvent {
    ParentEvent::Cancel {
        cause: requested(parent_uid()),
        by_body,
    }
}

fn exits(effects: &Effects) -> Vec<Exit> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Exit(exit) => Some(*exit),
            _ => None,
        })
        .collect()
}

fn cancels(effects: &Effects) -> Vec<Cause> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::CancelScope(cause) => Some(cause.clone()),
            _ => None,
        })
        .collect()
}

fn sent(effects: &Effects) -> Vec<Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
}

fn sent_error(effects: &Effects) -> ErrorMsg {
    match &sent(effects)[..] {
        [Message::Error(error)] => (**error).clone(),
        other => panic!("not one error: {other:?}"),
    }
}

fn cut_short_from_outside() -> BodyEnd {
    BodyEnd::Cancelled {
        by_dialog: false,
        cause: requested(parent_uid()),
    }
}

fn failed() -> BodyEnd {
    BodyEnd::Failed {
        is_remote: false,
        cause: requested(parent_uid()),
    }
}

#[test]
fn cancel_crosses_return_and_the_value_wins() {
    let mut parent = running();
    handle(&mut parent, cancel(true));
    handle(&mut parent, Got(returned()));
    assert_eq!(parent.resolution(), Some(&Resolution::Returned(value(7))));
    assert!(parent.cancel_called());
    assert!(!parent.cancel_acked());
    let out = handle(&mut parent, ParentEvent::BodyEnded(BodyEnd::Returned));
    assert_eq!(exits(&out), [Exit::Body]);
}

#[test]
fn cancel_crosses_return_and_the_outer_cancellation_passes_on() {
    let mut parent = running();
    handle(
        &mut parent,
        ParentEvent::BodyEnded(cut_short_from_outside()),
    );
    let out = handle(&mut parent, Got(returned()));
    assert_eq!(exits(&out), [Exit::Body]);
}

#[test]
fn answer_to_the_body_that_asked_leaves_it_running() {
    let mut parent = running();
    handle(&mut parent, cancel(true));
    let out = handle(&mut parent, Got(cancellation(parent_uid())));
    assert_eq!(cancels(&out), []);
    assert!(parent.cancel_acked());
    let out = handle(&mut parent, ParentEvent::BodyEnded(BodyEnd::Returned));
    assert_eq!(exits(&out), [Exit::Body]);
}

#[test]
fn answer_to_another_task_cancels_the_body_and_is_caught() {
    let mut parent = running();
    handle(&mut parent, cancel(false));
    let out = handle(&mut parent, Got(cancellation(parent_uid())));
    assert_eq!(cancels(&out), [requested(parent_uid())]);
    let end = BodyEnd::Cancelled {
        by_dialog: true,
        cause: requested(parent_uid()),
    };
    let out = handle(&mut parent, ParentEvent::BodyEnded(end));
    assert_eq!(exits(&out), [Exit::Caught]);
}

#[test]
fn both_sides_cancel_and_the_first_cause_of_the_child_decides() {
    let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
    handle_child(&mut child, ChildEvent::Cancel(requested(child_uid())));
    handle_child(&mut child, ChildEvent::Cancel(requested(parent_uid())));
    let end = EndpointEnd::Cancelled(requested(child_uid()));
    let error = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
    assert_eq!(error.canceller, Some(child_uid()));

    let mut parent = running();
    handle(&mut parent, cancel(true));
    let out = handle(&mut parent, Got(cancellation(child_uid())));
    assert!(!parent.cancel_acked());
    assert_eq!(parent.canceller(), Some(&child_uid()));
    assert_eq!(cancels(&out), [requested(child_uid())]);
    let out = handle(&mut parent, ParentEvent::BodyEnded(BodyEnd::Returned));
    assert_eq!(exits(&out), [Exit::Remote]);
}

#[test]
fn cancel_before_the_start_is_sent_withdraws_it() {
    let mut parent = parent_after([]);
    let cause = requested(parent_uid());
    let out = handle(&mut parent, ParentEvent::OuterCancelled(cause));
    assert_eq!(
        out,
        [Effect::Resolved, Effect::Exit(Exit::Body), Effect::Forget]
    );
    assert_eq!(parent.resolution(), Some(&Resolution::Withdrawn));
    assert_eq!(handle(&mut parent, ParentEvent::Open), []);
}

#[test]
fn started_that_crosses_a_cancel_is_ignored() {
    let mut parent = parent_after([ParentEvent::Open]);
    handle(
        &mut parent,
        ParentEvent::OuterCancelled(requested(parent_uid())),
    );
    handle(&mut parent, Got(start_ack()));
    let out = handle(&mut parent, Got(started()));
    assert!(
        !out.iter()
            .any(|effect| matches!(effect, Effect::DeliverStarted(_)))
    );
    let out = handle(&mut parent, Got(cancellation(parent_uid())));
    assert_eq!(exits(&out), [Exit::Body], "the outer cancellation");
    assert_eq!(out.last(), Some(&Effect::Forget));
}

#[test]
fn endpoint_that_returns_without_started_is_an_error() {
    let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
    let end = EndpointEnd::Returned(value(1));
    let error = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
    assert_eq!(error.boxed_type_str, "NotStarted");
    assert_eq!(
        error.message.as_deref(),
        Some("the endpoint returned without started")
    );

    // Also when a peer's library does not see to it.
    let mut parent = parent_after([ParentEvent::Open, Got(start_ack())]);
    let out = handle(&mut parent, Got(returned()));
    let error = sent_error(&out);
    assert_eq!(error.boxed_type_str, ErrorMsg::MSG_TYPE_ERROR);
    assert_eq!(
        error.message.as_deref(),
        Some("Return is not allowed while the dialog is acked")
    );
    assert_eq!(exits(&out), [Exit::Remote]);
}

#[test]
fn plain_function_returns_without_started() {
    let mut child = child_after([ChildEvent::Accept(FuncType::AsyncFunc)]);
    assert_eq!(
        child.started(value(1), &mut Vec::new()),
        Err(StartedRefused::NotAContext)
    );
    let end = EndpointEnd::Returned(value(7));
    let out = handle_child(&mut child, ChildEvent::EndpointEnded(end));
    assert_eq!(sent(&out), [returned()]);
}

#[test]
fn cancelled_plain_function_ends_in_a_terminal_message() {
    let mut child = child_after([ChildEvent::Accept(FuncType::AsyncFunc)]);
    handle_child(&mut child, ChildEvent::Cancel(requested(third_uid())));
    let end = EndpointEnd::Cancelled(requested(child_uid()));
    let error = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
    assert!(error.is_cancellation());
    assert_eq!(error.canceller, Some(third_uid()));
}

#[test]
fn error_after_stop_is_an_ordinary_terminal() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    assert_eq!(
        handle(&mut parent, Got(stop())),
        [Effect::EndOfStream, Effect::WakeSender]
    );
    let out = handle(&mut parent, Got(error(child_uid())));
    assert_eq!(cancels(&out).len(), 1);
    assert!(matches!(parent.resolution(), Some(Resolution::Failed(_))));
}

#[test]
fn end_of_file_while_draining_is_raised() {
    let mut parent = running();
    handle(&mut parent, ParentEvent::BodyEnded(BodyEnd::Returned));
    let out = handle(&mut parent, ParentEvent::LinkLost(loss()));
    assert_eq!(exits(&out), [Exit::Remote]);
    assert_eq!(parent.resolution(), Some(&Resolution::PeerLost(loss())));
}

#[test]
fn end_of_file_after_a_request_to_cancel_is_absorbed() {
    let mut parent = running();
    handle(&mut parent, ParentEvent::BodyEnded(failed()));
    let out = handle(&mut parent, ParentEvent::LinkLost(loss()));
    assert_eq!(exits(&out), [Exit::Body]);
    assert_eq!(parent.resolution(), Some(&Resolution::Unreachable(loss())));
}

#[test]
fn lost_link_cancels_both_halves() {
    let mut parent = running();
    let out = handle(&mut parent, ParentEvent::LinkLost(loss()));
    assert_eq!(cancels(&out)[0].kind, CauseKind::PeerLost);
    assert_eq!(cancels(&out)[0].by, child_uid());

    let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
    let out = handle_child(&mut child, ChildEvent::LinkLost(loss()));
    assert_eq!(cancels(&out)[0].kind, CauseKind::PeerLost);
    let end = EndpointEnd::Cancelled(requested(child_uid()));
    let out = handle_child(&mut child, ChildEvent::EndpointEnded(end));
    assert_eq!(out, [Effect::Forget], "there is nobody to tell");
}

#[test]
fn second_cancel_keeps_the_first_cause_and_is_resent_once() {
    let mut parent = running();
    let first = requested(parent_uid());
    let second = |kind| ParentEvent::Cancel {
        cause: Cause::new(kind, parent_uid()),
        by_body: true,
    };
    let out = handle(&mut parent, cancel(true));
    assert_eq!(
        out,
        [Effect::RequestCancel(first.clone()), Effect::ArmBound]
    );
    assert_eq!(handle(&mut parent, cancel(true)), [], "it says nothing new");
    assert_eq!(
        handle(&mut parent, second(CauseKind::Deadline)),
        [],
        "a deadline adds nothing to a request that is on its way"
    );
    assert_eq!(
        handle(&mut parent, second(CauseKind::Signal)),
        [Effect::RequestCancel(first)],
        "and the bound is not extended"
    );
    assert_eq!(handle(&mut parent, second(CauseKind::Shutdown)), []);
}

#[test]
fn third_actor_that_cancels_during_our_cleanup_does_not_change_the_canceller() {
    let mut child = child_after([
        ChildEvent::Accept(FuncType::Context),
        ChildEvent::Cancel(requested(parent_uid())),
    ]);
    assert_eq!(
        handle_child(&mut child, ChildEvent::Cancel(requested(third_uid()))),
        []
    );
    let end = EndpointEnd::Cancelled(requested(third_uid()));
    let error = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
    assert_eq!(error.canceller, Some(parent_uid()));
}

#[test]
fn terminal_without_an_ack_counts_as_the_ack() {
    let mut parent = running();
    handle(&mut parent, cancel(true));
    assert!(!parent.cancel_acked());
    handle(&mut parent, Got(cancellation(parent_uid())));
    assert!(parent.cancel_acked());
    assert_eq!(handle(&mut parent, ParentEvent::CancelAnswered(true)), []);
}

#[test]
fn local_error_is_raised_and_the_remote_one_beside_it() {
    let mut parent = running();
    handle(&mut parent, ParentEvent::BodyEnded(failed()));
    let out = handle(&mut parent, Got(error(child_uid())));
    assert_eq!(exits(&out), [Exit::Both]);

    // In the other order, too.
    let mut parent = running();
    handle(&mut parent, Got(error(child_uid())));
    let out = handle(&mut parent, ParentEvent::BodyEnded(failed()));
    assert_eq!(exits(&out), [Exit::Both]);

    // But not twice the same.
    let mut parent = running();
    handle(&mut parent, Got(error(child_uid())));
    let end = BodyEnd::Failed {
        is_remote: true,
        cause: requested(parent_uid()),
    };
    let out = handle(&mut parent, ParentEvent::BodyEnded(end));
    assert_eq!(exits(&out), [Exit::Body]);
}

#[test]
fn unanswered_cancel_is_abandoned_and_what_comes_late_is_swallowed() {
    let mut parent = running();
    handle(&mut parent, ParentEvent::BodyEnded(failed()));
    let out = handle(&mut parent, ParentEvent::CancelBoundOver);
    assert_eq!(exits(&out), [Exit::Body]);
    assert_eq!(parent.state(), ParentState::Tombstone);
    assert_eq!(parent.resolution(), Some(&Resolution::Unanswered));
    for message in [item(1), stop(), start_ack(), cancel_ack()] {
        let out = handle(&mut parent, Got(message));
        assert!(matches!(out[..], [Effect::Ignored { .. }]), "{out:?}");
    }
    let out = handle(&mut parent, Got(cancellation(parent_uid())));
    assert_eq!(out.last(), Some(&Effect::Forget));
    assert_eq!(
        parent.resolution(),
        Some(&Resolution::Unanswered),
        "it resolved once"
    );
}

#[test]
fn failed_write_loses_nothing_that_was_received() {
    let mut parent = running();
    handle(&mut parent, ParentEvent::WriteFailed);
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    assert_eq!(parent.may_send(), SendVerdict::Wait);
    handle(&mut parent, Got(item(1)));
    handle(&mut parent, Got(returned()));
    handle(&mut parent, ParentEvent::LinkLost(loss()));
    assert_eq!(parent.resolution(), Some(&Resolution::Returned(value(7))));
}

#[test]
fn error_from_the_parent_is_relayed_by_the_child() {
    let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
    let out = handle_child(&mut child, ChildEvent::Message(error(parent_uid())));
    assert_eq!(cancels(&out)[0].by, parent_uid());
    let end = EndpointEnd::Cancelled(requested(child_uid()));
    let relayed = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
    assert_eq!(relayed.src_uid, parent_uid());
    assert_eq!(relayed.boxed_type_str, ErrorMsg::REMOTE_ACTOR_ERROR);
    assert_eq!(relayed.relay_path, [parent_uid(), child_uid()]);
}

#[test]
fn endpoint_of_another_kind_is_cancelled_and_said() {
    let mut parent = Parent::new(parent_setup(Features::ours()), Kind::Function);
    handle(&mut parent, ParentEvent::Open);
    let out = handle(&mut parent, Got(start_ack()));
    assert!(matches!(out[0], Effect::RequestCancel(_)));
    assert_eq!(exits(&out), [Exit::Remote]);
    let found = Resolution::WrongKind(FuncType::Context);
    assert_eq!(parent.resolution(), Some(&found));
    assert_eq!(parent.state(), ParentState::Tombstone);
}

#[test]
fn cancelled_call_of_a_function_gives_the_value_that_is_there() {
    let mut parent = Parent::new(parent_setup(Features::ours()), Kind::Function);
    handle(&mut parent, ParentEvent::Open);
    handle(
        &mut parent,
        Got(Message::StartAck {
            cid: cid(),
            functype: FuncType::AsyncFunc,
        }),
    );
    handle(
        &mut parent,
        ParentEvent::OuterCancelled(requested(parent_uid())),
    );
    let out = handle(&mut parent, Got(returned()));
    assert_eq!(exits(&out), [Exit::Remote]);
}

#[test]
fn overrun_of_a_parent_is_reported_once_until_there_is_room() {
    let mut parent = Parent::new(parent_setup(Features::default()), Kind::Context);
    for event in [ParentEvent::Open, Got(start_ack()), Got(started())] {
        handle(&mut parent, event);
    }
    for number in 0..WINDOW {
        let out = handle(&mut parent, Got(item(number)));
        assert_eq!(out, [Effect::DeliverItem(value(number))]);
    }
    let error = sent_error(&handle(&mut parent, Got(item(64))));
    assert_eq!(error.boxed_type_str, ErrorMsg::STREAM_OVERRUN);
    assert_eq!(error.sender, Some(child_uid()), "who sent too fast");
    let text = error.message.expect("it says why");
    assert!(
        text.contains("*** No stream open on `parent` side! ***"),
        "{text}"
    );
    assert_eq!(handle(&mut parent, Got(item(65))), [], "once is enough");
    assert_eq!(parent.resolution(), None, "this side does not fail by it");
    let mut out = Vec::new();
    parent.item_taken(&mut out);
    assert_eq!(out, [], "a peer without credit is granted none");
    handle(&mut parent, Got(item(66)));
    assert_eq!(
        sent(&handle(&mut parent, Got(item(67)))).len(),
        1,
        "a new overrun"
    );
}

#[test]
fn overrun_of_a_child_ends_it() {
    let mut child = Child::new(child_setup(Features::default()));
    handle_child(&mut child, ChildEvent::Accept(FuncType::Context));
    child
        .started(value(0), &mut Vec::new())
        .expect("it is pre-started");
    child
        .open_stream(None, &mut Vec::new())
        .expect("it is started");
    for number in 0..WINDOW {
        handle_child(&mut child, ChildEvent::Message(item(number)));
    }
    let out = handle_child(&mut child, ChildEvent::Message(item(64)));
    let error = sent_error(&out);
    assert_eq!(error.boxed_type_str, ErrorMsg::STREAM_OVERRUN);
    assert_eq!(cancels(&out)[0].kind, CauseKind::Overrun);
    assert_eq!(child.state(), ChildState::Finishing);
    let end = EndpointEnd::Returned(value(1));
    let out = handle_child(&mut child, ChildEvent::EndpointEnded(end));
    assert_eq!(out, [Effect::Forget], "nothing follows a terminal message");
}

#[test]
fn credit_is_granted_in_halves_of_the_window() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    let mut out = Vec::new();
    for number in 0..WINDOW {
        handle(&mut parent, Got(item(number)));
    }
    for _ in 0..WINDOW / 2 {
        assert_eq!(out, []);
        parent.item_taken(&mut out);
    }
    let grant = Message::Credit {
        cid: cid(),
        items: WINDOW / 2,
    };
    assert_eq!(sent(&out), [grant]);
}

#[test]
fn sender_waits_for_credit_and_comes_free_when_nobody_receives() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    for _ in 0..WINDOW {
        assert_eq!(parent.may_send(), SendVerdict::Go);
        parent.item_sent();
    }
    assert_eq!(parent.may_send(), SendVerdict::Wait);
    assert_eq!(handle(&mut parent, Got(credit())), [Effect::WakeSender]);
    assert_eq!(parent.may_send(), SendVerdict::Go);
    parent.item_sent();
    assert_eq!(parent.may_send(), SendVerdict::Wait);
    let unlimited = Message::Credit {
        cid: cid(),
        items: UNLIMITED,
    };
    handle(&mut parent, Got(unlimited));
    for _ in 0..10 * WINDOW {
        assert_eq!(parent.may_send(), SendVerdict::Go);
        parent.item_sent();
    }
}

#[test]
fn closing_the_stream_says_so_once_and_grants_without_end() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    let mut out = Vec::new();
    parent.close_stream(&mut out);
    let unlimited = Message::Credit {
        cid: cid(),
        items: UNLIMITED,
    };
    assert_eq!(sent(&out), [stop(), unlimited]);
    out.clear();
    parent.close_stream(&mut out);
    assert_eq!(sent(&out), []);
    assert_eq!(
        parent.may_send(),
        SendVerdict::Refused(SendRefused::NotOpen)
    );
    assert_eq!(handle(&mut parent, Got(item(1))), [], "it crossed our Stop");
    assert_eq!(
        parent.open_stream(None, &mut Vec::new()),
        Err(OpenRefused::AlreadyOpened)
    );
}

#[test]
fn side_that_was_told_to_stop_does_not_answer() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    handle(&mut parent, Got(stop()));
    assert_eq!(
        parent.may_send(),
        SendVerdict::Refused(SendRefused::PeerStopped)
    );
    let mut out = Vec::new();
    parent.close_stream(&mut out);
    assert_eq!(sent(&out), []);
    assert_eq!(handle(&mut parent, Got(item(1))), [], "nobody receives");
}

#[test]
fn item_after_the_peer_said_that_none_would_follow_breaks_the_protocol() {
    let mut parent = running();
    parent
        .open_stream(None, &mut Vec::new())
        .expect("the body runs");
    handle(&mut parent, Got(stop()));
    let error = sent_error(&handle(&mut parent, Got(item(1))));
    assert_eq!(
        error.message.as_deref(),
        Some("Yield after Stop is not allowed while the dialog is running")
    );
}

#[test]
fn stream_opens_when_it_may() {
    let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
    assert_eq!(
        child.open_stream(None, &mut Vec::new()),
        Err(OpenRefused::NotStarted)
    );
    child
        .started(value(0), &mut Vec::new())
        .expect("it is pre-started");
    assert_eq!(
        child.started(value(0), &mut Vec::new()),
        Err(StartedRefused::Twice)
    );
    handle_child(&mut child, ChildEvent::Cancel(requested(child_uid())));
    assert_eq!(
        child.open_stream(None, &mut Vec::new()),
        Err(OpenRefused::Cancelled)
    );

    let mut parent = running();
    handle(&mut parent, cancel(true));
    assert_eq!(
        parent.open_stream(None, &mut Vec::new()),
        Err(OpenRefused::Cancelled)
    );
    let mut parent = running();
    handle(&mut parent, Got(error(child_uid())));
    assert_eq!(
        parent.open_stream(None, &mut Vec::new()),
        Err(OpenRefused::Ended)
    );
}

#[test]
fn cause_travels_whole_to_a_peer_that_reads_it() {
    let cause = Cause::new(CauseKind::Deadline, parent_uid()).because("5 s are over");
    for (features, info) in [
        (Features::ours(), Some(cause.info())),
        (Features::default(), None),
    ] {
        let mut child = Child::new(child_setup(features));
        handle_child(&mut child, ChildEvent::Accept(FuncType::Context));
        handle_child(&mut child, ChildEvent::Cancel(cause.clone()));
        let end = EndpointEnd::Cancelled(requested(child_uid()));
        let error = sent_error(&handle_child(&mut child, ChildEvent::EndpointEnded(end)));
        assert_eq!(error.cause, info);
        assert_eq!(error.canceller, Some(parent_uid()));
    }
}

#[test]
fn value_of_another_type_fails_the_dialog_from_the_parent() {
    let mut parent = running();
    parent.open_stream(None, &mut Vec::new()).unwrap();
    handle(&mut parent, Got(item(1)));
    let refused = || ParentEvent::Undecodable(wrong_type(parent_uid()));
    let effects = handle(&mut parent, refused());
    let [Message::Error(told), Message::Credit { .. }] = &sent(&effects)[..] else {
        panic!("the sender is told, and need not wait: {effects:?}");
    };
    assert_eq!(told.boxed_type_str, ErrorMsg::MSG_TYPE_ERROR);
    assert_eq!(told.cid, Some(cid()));
    assert!(effects.contains(&Effect::Discard), "{effects:?}");
    // Once is enough.
    assert_eq!(handle(&mut parent, refused()), []);
    // A body that makes nothing of it does not hide it, nor does a result.
    handle(&mut parent, Got(returned()));
    let effects = handle(&mut parent, ParentEvent::BodyEnded(BodyEnd::Returned));
    assert_eq!(exits(&effects), [Exit::Remote]);
}

#[test]
fn body_that_fails_with_the_value_of_another_type_raises_it_alone() {
    let mut parent = running();
    handle(
        &mut parent,
        ParentEvent::Undecodable(wrong_type(parent_uid())),
    );
    let effects = handle(
        &mut parent,
        ParentEvent::BodyEnded(BodyEnd::Failed {
            is_remote: true,
            cause: requested(parent_uid()),
        }),
    );
    assert!(effects.contains(&Effect::ArmBound), "{effects:?}");
    let mut relayed = *wrong_type(parent_uid());
    relayed = relayed.relayed_by(&child_uid()).for_dialog(cid());
    let effects = handle(&mut parent, Got(Message::Error(Box::new(relayed))));
    assert_eq!(exits(&effects), [Exit::Body]);
}

#[test]
fn item_of_another_type_ends_the_child_unless_it_was_cancelled() {
    let run = || {
        let mut child = child_after([ChildEvent::Accept(FuncType::Context)]);
        child.started(value(0), &mut Vec::new()).unwrap();
        child
    };
    let refused = || ChildEvent::Undecodable(wrong_type(child_uid()));
    let mut child = run();
    let effects = handle_child(&mut child, refused());
    assert_eq!(
        sent_error(&effects).boxed_type_str,
        ErrorMsg::MSG_TYPE_ERROR
    );
    assert_eq!(cancels(&effects).len(), 1);
    assert_eq!(child.state(), ChildState::Finishing);

    let mut child = run();
    handle_child(&mut child, ChildEvent::Cancel(requested(parent_uid())));
    assert_eq!(handle_child(&mut child, refused()), []);
}
