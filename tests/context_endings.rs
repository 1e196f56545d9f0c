//! How contexts end: by themselves, by either side and from outside, with and without a stream.

mod common;

use std::cell::{Cell as Flag, RefCell};
use std::fmt;
use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{TooSlow, fail_after, time};
use tractor::{
    Caller, CancelKind, Context, ContextCancelled, ContextMisuse, Dialog, Error, Outcome, Portal,
    RemoteActorError, Result, SpawnOptions, StreamClosed, endpoint,
};

thread_local! {
    /// Whether an endpoint of this file runs in this actor.
    static RUNNING: Flag<bool> = const { Flag::new(false) };
    /// What one of them saw when it was cancelled.
    static SAW: RefCell<Option<Saw>> = const { RefCell::new(None) };
}

struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.set(true);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

async fn is_running((): ()) -> Result<bool> {
    Ok(RUNNING.get())
}
endpoint!(is_running);

/// A number to begin with, and texts both ways.
struct Talk;
impl Dialog for Talk {
    type Started = u32;
    type ToChild = String;
    type ToParent = String;
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Then {
    Return,
    Block,
}

async fn simple(ctx: &mut Context<Talk>, (number, then): (u32, Then)) -> Result<String> {
    let _running = Running::new();
    ctx.started(number + 1).await?;
    if then == Then::Block {
        time::sleep_forever().await?;
    }
    Ok("yo".into())
}
endpoint!(simple);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Misuse {
    StartTwice,
    OpenBeforeStart,
}

async fn misuse(ctx: &mut Context<Talk>, what: Misuse) -> Result<()> {
    match what {
        Misuse::StartTwice => {
            ctx.started(1).await?;
            ctx.started(2).await?;
        }
        Misuse::OpenBeforeStart => drop(ctx.open_stream()?),
    }
    Ok(())
}
endpoint!(misuse);

/// Cancels itself before it has started, and tries to go on.
async fn cancel_before_started(ctx: &mut Context<Talk>, (): ()) -> Result<()> {
    ctx.cancel();
    let refused = ctx.open_stream().unwrap_err();
    assert!(refused.is::<ContextMisuse>(), "{refused:?}");
    let cancelled = time::sleep_forever().await.unwrap_err();
    assert_eq!(cancelled.cause().kind(), CancelKind::Requested);
    Err(cancelled.into())
}
endpoint!(cancel_before_started);

/// Opens its stream, closes it and returns, all at once.
async fn open_and_leave(ctx: &mut Context<Talk>, (): ()) -> Result<()> {
    ctx.started(0).await?;
    drop(ctx.open_stream()?);
    Ok(())
}
endpoint!(open_and_leave);

/// What an endpoint finds when it is cancelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Saw {
    kind: String,
    by: Option<String>,
    cancel_called: bool,
    canceller: Option<String>,
    caught: bool,
    failed: bool,
}

/// Echoes until it is cancelled, and then remembers what it finds.
async fn echo_forever(ctx: &mut Context<Talk>, sends_first: bool) -> Result<()> {
    let _running = Running::new();
    ctx.started(0).await?;
    let stream = ctx.open_stream()?;
    if sends_first {
        stream.send(&"yo".into()).await?;
    }
    let echo = async {
        while let Some(item) = stream.receive().await? {
            stream.send(&item).await?;
        }
        // Its end is not the end of this.
        Ok(time::sleep_forever().await?)
    };
    let result: Result<()> = echo.await;
    if let Err(error) = &result
        && let Some(cancelled) = error.cancelled()
    {
        let cause = cancelled.cause();
        SAW.set(Some(Saw {
            kind: format!("{:?}", cause.kind()),
            by: cause.peer().map(|peer| peer.name().into()),
            cancel_called: ctx.cancel_called(),
            canceller: ctx.canceller().map(|uid| uid.name().into()),
            caught: ctx.cancelled_caught(),
            failed: ctx.maybe_error().is_some(),
        }));
    }
    result
}
endpoint!(echo_forever);

async fn saw((): ()) -> Result<Option<Saw>> {
    Ok(SAW.take())
}
endpoint!(saw);

/// What a body fails with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Own {
    Value,
    Interrupt,
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Own {}

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("context_endings");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    endpoint_that_misuses_its_context,
    endpoint_that_cancels_itself_before_it_has_started,
    simple_contexts,
    parent_that_cancels,
    endpoint_that_leaves_when_its_stream_is_open,
    parent_that_leaves_when_the_endpoint_is_in_its_stream,
];

// test_context_stream_semantics.py::test_started_misuse[misuse_type=too_many_starteds]
// test_context_stream_semantics.py::test_started_misuse[misuse_type=not_started_but_stream_opened]
fn endpoint_that_misuses_its_context(cell: Cell) {
    for (what, text) in [
        (Misuse::StartTwice, ContextMisuse::StartedTwice.to_string()),
        (
            Misuse::OpenBeforeStart,
            ContextMisuse::NotStarted.to_string(),
        ),
    ] {
        let error = with_actor(cell, async |portal| {
            portal
                .open_context(misuse, what, async |ctx, _| ctx.wait_for_result().await)
                .await
        })
        .unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
        assert_eq!(remote.src_type(), "ContextMisuse", "{what:?}");
        assert_eq!(remote.message(), text, "{what:?}");
        assert!(error.group_name().is_none(), "{what:?}: {error:?}");
    }
}

// test_context_stream_semantics.py::test_child_cancels_before_started
// test_reg_err_types.py::TestRegErrTypesPlumbing::test_tractor_native_types_resolve
fn endpoint_that_cancels_itself_before_it_has_started(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        portal
            .open_context(cancel_before_started, (), async |_, _| -> Result<()> {
                panic!("it never started")
            })
            .await
    })
    .unwrap_err();
    let cancelled: &ContextCancelled = error.downcast_ref().expect("it is raised");
    assert_eq!(cancelled.src_uid().name(), "actor");
    assert_eq!(cancelled.canceller(), Some(cancelled.src_uid()));
}

// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=False-False]
// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=False-ValueError]
// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=False-KeyboardInterrupt]
// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=True-False]
// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=True-ValueError]
// test_context_stream_semantics.py::test_simple_context[open_stream=False-child_blocks_forever=True-KeyboardInterrupt]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=False-False]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=False-ValueError]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=False-KeyboardInterrupt]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=True-False]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=True-ValueError]
// test_context_stream_semantics.py::test_simple_context[open_stream=True-child_blocks_forever=True-KeyboardInterrupt]
fn simple_contexts(cell: Cell) {
    for opens in [false, true] {
        for then in [Then::Return, Then::Block] {
            for own in [None, Some(Own::Value), Some(Own::Interrupt)] {
                let row = format!("open_stream={opens}, {then:?}, {own:?}");
                let result = with_actor(cell, async |portal| {
                    let body = async |ctx: &Context<Talk, Caller<String>>, first| {
                        assert_eq!(first, 11, "{row}");
                        simple_body(portal, ctx, (opens, then, own), &row).await
                    };
                    let result = portal.open_context(simple, (10, then), body).await;
                    // Its end was waited for.
                    assert!(!portal.run(is_running, ()).await?, "{row}");
                    assert!(portal.cancel_actor().await, "{row}");
                    result
                });
                match (result, own) {
                    (Ok(()), None) => {}
                    (Err(error), Some(own)) => {
                        assert_eq!(error.downcast_ref(), Some(&own), "{row}: {error:?}");
                        assert!(error.group_name().is_none(), "{row}: {error:?}");
                    }
                    (result, _) => panic!("{row}: {result:?}"),
                }
            }
        }
    }
}

async fn simple_body(
    portal: &Portal,
    ctx: &Context<Talk, Caller<String>>,
    (opens, then, own): (bool, Then, Option<Own>),
    row: &str,
) -> Result<()> {
    let stream = opens.then(|| ctx.open_stream()).transpose()?;
    match (opens, then) {
        (false, Then::Return) => {
            let result = ctx.wait_for_result().await?;
            assert_eq!(result.returned().as_deref(), Some("yo"), "{row}");
        }
        (false, Then::Block) => assert!(portal.run(is_running, ()).await?, "{row}"),
        (true, _) => {}
    }
    if let Some(own) = own {
        return Err(own.into());
    }
    match (opens, then) {
        (_, Then::Block) => {
            assert!(ctx.cancel().await, "{row}");
            assert!(ctx.cancel_acked(), "{row}");
        }
        // It is over: this does nothing.
        (false, Then::Return) => {
            assert!(ctx.cancel().await, "{row}");
            assert!(!ctx.cancel_acked(), "{row}");
            assert!(ctx.remote_error().is_none(), "{row}");
        }
        (true, Then::Return) => {}
    }
    drop(stream);
    Ok(())
}

type Ctx = Context<Talk, Caller<String>>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Context,
    Actor,
}

// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=True-cancel_method=ctx-child_returns_early=True]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=True-cancel_method=ctx-child_returns_early=False]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=True-cancel_method=portal-child_returns_early=True]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=True-cancel_method=portal-child_returns_early=False]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=False-cancel_method=ctx-child_returns_early=True]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=False-cancel_method=ctx-child_returns_early=False]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=False-cancel_method=portal-child_returns_early=True]
// test_context_stream_semantics.py::test_parent_cancels[chk_ctx_result_before_exit=False-cancel_method=portal-child_returns_early=False]
fn parent_that_cancels(cell: Cell) {
    for asks in [true, false] {
        for by in [By::Context, By::Actor] {
            for then in [Then::Return, Then::Block] {
                let row = format!("asks for the result: {asks}, by {by:?}, {then:?}");
                with_actor(cell, async |portal| {
                    let kept = RefCell::new(None);
                    let body = async |ctx: &Ctx, _| {
                        *kept.borrow_mut() = Some(ctx.clone());
                        // Its result comes before the answer to this.
                        while portal.run(is_running, ()).await? != (then == Then::Block) {}
                        match by {
                            By::Context => assert!(ctx.cancel().await, "{row}"),
                            By::Actor => assert!(portal.cancel_actor().await, "{row}"),
                        }
                        if asks {
                            cancelled_in_some_way(ctx, (by, then), &row).await?;
                        }
                        Ok(())
                    };
                    let opened = portal.open_context(simple, (10, then), body).await;
                    let ctx = kept.take().expect("the body has run");
                    let result = cancelled_in_some_way(&ctx, (by, then), &row).await;
                    assert!(!ctx.cancelled_caught() || by == By::Actor, "{row}");
                    match (opened, result) {
                        (Ok(()), Ok(())) => Ok(()),
                        (Err(opened), Err(result)) => {
                            assert_eq!(opened.id(), result.id(), "{row}: {opened:?}");
                            assert!(opened.group_name().is_none(), "{row}: {opened:?}");
                            Ok(())
                        }
                        (opened, result) => panic!("{row}: {opened:?}, {result:?}"),
                    }
                })
                .unwrap();
            }
        }
    }
}

/// What the context says in and after its block. An error if that is what it gives.
async fn cancelled_in_some_way(ctx: &Ctx, (by, then): (By, Then), row: &str) -> Result<()> {
    let result = ctx.wait_for_result().await;
    let id = |error: Option<Error>| error.map(|error| error.id());
    match (by, then, result) {
        (_, Then::Return, Ok(Outcome::Returned(value))) => {
            assert_eq!(value, "yo", "{row}");
            assert!(ctx.maybe_error().is_none() && !ctx.cancel_acked(), "{row}");
            let outcome = ctx.outcome().expect("it is known");
            assert!(
                matches!(outcome, Ok(Outcome::Returned(_))),
                "{row}: {outcome:?}"
            );
            assert_eq!(ctx.state_name(), "result-returned", "{row}");
            Ok(())
        }
        (By::Context, Then::Block, Ok(Outcome::Cancelled(cancelled))) => {
            let canceller = cancelled.canceller().map(|uid| uid.name());
            assert_eq!(canceller, Some("root"), "{row}");
            assert!(ctx.cancel_called() && ctx.cancel_acked(), "{row}");
            assert!(id(ctx.maybe_error()).is_some(), "{row}");
            assert_eq!(id(ctx.maybe_error()), id(ctx.remote_error()), "{row}");
            assert_eq!(ctx.state_name(), "self-cancelled", "{row}");
            // The body was not cancelled by it.
            time::sleep(Duration::ZERO).await?;
            Ok(())
        }
        (By::Actor, Then::Block, Err(error)) => {
            let cancelled: &ContextCancelled = error.downcast_ref().expect("it is raised");
            let canceller = cancelled.canceller().map(|uid| uid.name());
            assert_eq!(canceller, Some("root"), "{row}");
            assert!(!ctx.cancel_called() && !ctx.cancel_acked(), "{row}");
            assert_eq!(id(ctx.remote_error()), Some(error.id()), "{row}");
            assert_eq!(id(ctx.maybe_error()), Some(error.id()), "{row}");
            let outcome = ctx.outcome().and_then(|outcome| outcome.err());
            assert_eq!(id(outcome), Some(error.id()), "{row}");
            assert_eq!(ctx.state_name(), "peer-cancelled", "{row}");
            Err(error)
        }
        (.., result) => panic!("{row}: {result:?}"),
    }
}

// test_context_stream_semantics.py::test_child_exits_ctx_after_stream_open[child_send_before_receive=False]
// test_context_stream_semantics.py::test_child_exits_ctx_after_stream_open[child_send_before_receive=True]
fn endpoint_that_leaves_when_its_stream_is_open(cell: Cell) {
    for sends_first in [false, true] {
        with_actor(cell, async |portal| {
            portal
                .open_context(open_and_leave, (), async |ctx, _| {
                    let stream = ctx.open_stream()?;
                    if sends_first {
                        match stream.send(&"yo".into()).await {
                            Ok(()) => {}
                            Err(error) => assert!(error.is::<StreamClosed>(), "{error:?}"),
                        }
                    }
                    // The end, and again.
                    assert_eq!(stream.receive().await?, None, "{sends_first}");
                    assert_eq!(stream.receive().await?, None, "{sends_first}");
                    drop(stream);
                    assert!(ctx.open_stream().is_err(), "{sends_first}");
                    assert!(ctx.remote_error().is_none(), "{sends_first}");
                    Ok(())
                })
                .await
        })
        .unwrap();
    }
}

/// When a parent cancels a context in which the endpoint echoes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cancels {
    WhenTheResultDoesNotCome,
    BeforeItsStream,
    InItsStream,
    AfterItsStream,
}

// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[False-False-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[False-False-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[False-True-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[False-True-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[pre_stream-False-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[pre_stream-False-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[pre_stream-True-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[pre_stream-True-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_open-False-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_open-False-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_open-True-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_open-True-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_close-False-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_close-False-True]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_close-True-False]
// test_context_stream_semantics.py::test_parent_exits_ctx_after_child_enters_stream[post_stream_close-True-True]
fn parent_that_leaves_when_the_endpoint_is_in_its_stream(cell: Cell) {
    for cancels in [
        Cancels::WhenTheResultDoesNotCome,
        Cancels::BeforeItsStream,
        Cancels::InItsStream,
        Cancels::AfterItsStream,
    ] {
        for receives in [false, true] {
            for sends_first in [false, true] {
                let row = format!("{cancels:?}, receives: {receives}, child sends: {sends_first}");
                with_actor(cell, async |portal| {
                    let kept = RefCell::new(None);
                    let body = async |ctx: &Context<Talk, Caller<()>>, _| {
                        *kept.borrow_mut() = Some(ctx.clone());
                        leaving_body(ctx, cancels, receives && sends_first, &row).await
                    };
                    portal.open_context(echo_forever, sends_first, body).await?;
                    let ctx = kept.take().expect("the body has run");
                    assert!(ctx.cancel_acked() && !ctx.cancelled_caught(), "{row}");
                    assert!(ctx.local_error().is_none(), "{row}");
                    let refused = ctx.open_stream().unwrap_err();
                    assert!(refused.is::<ContextCancelled>(), "{row}: {refused:?}");
                    assert!(portal.is_connected(), "{row}");
                    assert!(!portal.run(is_running, ()).await?, "{row}");
                    let expected = Saw {
                        kind: "Requested".into(),
                        by: Some("root".into()),
                        cancel_called: true,
                        canceller: Some("root".into()),
                        caught: false,
                        failed: false,
                    };
                    // It may be cancelled before it has got to its stream.
                    match portal.run(saw, ()).await? {
                        None if !receives && cancels == Cancels::BeforeItsStream => {}
                        saw => assert_eq!(saw, Some(expected), "{row}"),
                    }
                    assert!(portal.cancel_actor().await, "{row}");
                    Ok(())
                })
                .unwrap();
            }
        }
    }
}

async fn leaving_body(
    ctx: &Context<Talk, Caller<()>>,
    cancels: Cancels,
    receives: bool,
    row: &str,
) -> Result<()> {
    if cancels == Cancels::BeforeItsStream {
        assert!(ctx.cancel().await, "{row}");
    } else {
        let stream = ctx.open_stream()?;
        if receives {
            assert_eq!(stream.receive().await?.as_deref(), Some("yo"), "{row}");
        } else {
            stream.send(&"hey".into()).await?;
            while stream.receive().await?.is_some_and(|item| item != "hey") {}
        }
        if cancels == Cancels::InItsStream {
            assert!(ctx.cancel().await, "{row}");
            // That was asked for, so it is an end like any other.
            assert_eq!(stream.receive().await?, None, "{row}");
            let refused = stream.send(&"late".into()).await.unwrap_err();
            assert_eq!(refused.downcast_ref(), Some(&StreamClosed::Dialog), "{row}");
        }
        drop(stream);
        match cancels {
            Cancels::AfterItsStream => assert!(ctx.cancel().await, "{row}"),
            Cancels::WhenTheResultDoesNotCome => {
                let waiting = fail_after(Duration::from_millis(50), ctx.wait_for_result());
                let error = waiting.await.unwrap_err();
                assert!(error.is::<TooSlow>(), "{row}: {error:?}");
                assert!(ctx.cancel().await, "{row}");
            }
            _ => {}
        }
    }
    let refused: Error = ctx.open_stream().unwrap_err();
    let cancelled: &ContextCancelled = refused.downcast_ref().expect("it says what happened");
    assert_eq!(
        cancelled.canceller().map(|uid| uid.name()),
        Some("root"),
        "{row}"
    );
    assert!(ctx.cancel_called() && ctx.cancel_acked(), "{row}");
    for error in [ctx.remote_error(), ctx.maybe_error()] {
        assert_eq!(error.map(|error| error.id()), Some(refused.id()), "{row}");
    }
    let outcome = ctx.wait_for_result().await?;
    assert!(
        matches!(outcome, Outcome::Cancelled(_)),
        "{row}: {outcome:?}"
    );
    Ok(())
}
