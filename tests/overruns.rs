//! Streams on which more comes than is received.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::cell::Cell as Count;
use std::time::Duration;

use common::{Cell, HangGuard, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockets::{Peer, any_port, aside, start};
use tractor::runtime::{move_on_after, time};
use tractor::{
    Caller, CancelKind, Context, ContextOptions, Dialog, Error, Outcome, Overruns, Portal,
    RemoteActorError, Result, RunOptions, SpawnOptions, StreamOptions, endpoint, listen,
};

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

thread_local! {
    /// What ended `ignore` here.
    static ENDED_BY: Count<Option<CancelKind>> = const { Count::new(None) };
}

/// Never opens its stream.
async fn ignore(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let cancelled = time::sleep_forever().await.unwrap_err();
    ENDED_BY.set(Some(cancelled.cause().kind()));
    Err(cancelled.into())
}
endpoint!(ignore);

/// Sends for as long as it may.
async fn flood(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for number in 0.. {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(flood);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Side {
    Parent,
    Child,
}

/// One of the two sides receives late, and each allows overruns or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    cancels: bool,
    slow: Side,
    parent_allows: bool,
    child_allows: bool,
}

impl Row {
    fn all() -> impl Iterator<Item = Self> {
        let flags = |n: u8| [n & 1 != 0, n & 2 != 0, n & 4 != 0, n & 8 != 0];
        (0..16)
            .map(flags)
            .map(|[cancels, slow, parent_allows, child_allows]| Self {
                cancels,
                slow: if slow { Side::Parent } else { Side::Child },
                parent_allows,
                child_allows,
            })
    }

    fn slow_side_allows(self) -> bool {
        match self.slow {
            Side::Parent => self.parent_allows,
            Side::Child => self.child_allows,
        }
    }
}

fn receiving(allows: bool) -> StreamOptions {
    let overruns = match allows {
        true => Overruns::Keep(616),
        false => Overruns::Error,
    };
    StreamOptions::new().buffer(1).overruns(overruns)
}

thread_local! {
    /// How many items `echo` may take, and how many it has sent back.
    static MAY_TAKE: Count<u32> = const { Count::new(0) };
    static ECHOED: Count<u32> = const { Count::new(0) };
}

const BATCHES: u32 = 2;
const BATCH: u32 = 10;

/// Sends back what comes, and takes no more than it may.
async fn echo(ctx: &mut Context<Numbers>, row: Row) -> Result<String> {
    MAY_TAKE.set(0);
    ECHOED.set(0);
    ctx.started(()).await?;
    let stream = ctx.open_stream_with(receiving(row.child_allows))?;
    loop {
        while MAY_TAKE.get() == ECHOED.get() {
            time::sleep(Duration::from_millis(1)).await?;
        }
        let Some(number) = stream.receive().await? else {
            return Ok("yo".into());
        };
        stream.send(&number).await?;
        ECHOED.set(ECHOED.get() + 1);
    }
}
endpoint!(echo);

async fn may_take(count: u32) -> Result<()> {
    MAY_TAKE.set(count);
    Ok(())
}
endpoint!(may_take);

/// Waits until so many were sent back, or none will be any more.
async fn echoed(count: u32) -> Result<()> {
    while ECHOED.get() < count {
        time::sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}
endpoint!(echoed);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("overruns");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

#[track_caller]
fn assert_overrun(error: &Error, path: &[&str], row: &str) {
    let remote: &RemoteActorError = error.downcast_ref().expect(row);
    assert_eq!(remote.src_type(), "StreamOverrun", "{row}: {remote:?}");
    let relays: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
    assert_eq!(relays, path, "{row}");
    let boxed = if path.len() > 1 {
        "RemoteActorError"
    } else {
        "StreamOverrun"
    };
    assert_eq!(remote.boxed_type(), boxed, "{row}");
    let overrun = remote.overrun().expect("it is one");
    let sender = overrun.sender().map(|uid| uid.name());
    // Who was too fast: the other side than where it was noticed.
    let fast = if path[0] == "root" { "actor" } else { "root" };
    assert_eq!(sender, Some(fast), "{row}");
    assert!(error.group_name().is_none(), "{row}: {error:?}");
}

in_every_cell![
    endpoint_that_never_opens_its_stream_makes_the_sender_wait,
    parent_that_never_opens_its_stream,
    slow_sides_that_allow_overruns_or_not,
];

fn endpoint_that_never_opens_its_stream_makes_the_sender_wait(cell: Cell) {
    with_actor(cell, async |portal| {
        let body = async |ctx: &Context<Numbers, Caller<()>>, ()| {
            let stream = ctx.open_stream()?;
            for number in 0..64 {
                stream.send(&number).await?;
            }
            let more = move_on_after(Duration::from_millis(50), stream.send(&64)).await?;
            assert!(more.timed_out());
            assert!(ctx.cancel().await);
            Ok(())
        };
        portal.open_context(ignore, (), body).await
    })
    .unwrap();
}

// test_context_stream_semantics.py::test_one_end_stream_not_opened[child_0buf_keep_sending_from_child]
fn parent_that_never_opens_its_stream(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let stream = StreamOptions::new().overruns(Overruns::Error);
        let options = ContextOptions::new().stream(stream);
        let body = async |_: &Context<Numbers, Caller<()>>, ()| Ok(time::sleep_forever().await?);
        let opened = portal.open_context_with(options, flood, (), body).await;
        opened.map(drop::<tractor::runtime::Outcome<()>>)
    })
    .unwrap_err();
    assert_overrun(&error, &["root", "actor"], "never opened");
}

// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=parent-allow_overruns_side=parent]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=parent-allow_overruns_side=child]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=parent-allow_overruns_side=none]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=parent-allow_overruns_side=both]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=child-allow_overruns_side=parent]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=child-allow_overruns_side=child]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=child-allow_overruns_side=none]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=True-slow_side=child-allow_overruns_side=both]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=parent-allow_overruns_side=parent]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=parent-allow_overruns_side=child]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=parent-allow_overruns_side=none]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=parent-allow_overruns_side=both]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=child-allow_overruns_side=parent]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=child-allow_overruns_side=child]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=child-allow_overruns_side=none]
// test_context_stream_semantics.py::test_maybe_allow_overruns_stream[cancel_ctx=False-slow_side=child-allow_overruns_side=both]
fn slow_sides_that_allow_overruns_or_not(cell: Cell) {
    for row in Row::all() {
        let result = with_actor(cell, async |portal| {
            let body = async |ctx: &Context<Numbers, Caller<String>>, ()| {
                echo_batches(portal, ctx, row).await
            };
            portal.open_context(echo, row, body).await
        });
        let text = format!("{row:?}");
        match (result, row.slow_side_allows(), row.slow) {
            (Ok(outcome), true, _) => match (outcome, row.cancels) {
                (Outcome::Returned(value), false) => assert_eq!(value, "yo", "{text}"),
                (Outcome::Cancelled(cancelled), true) => {
                    let canceller = cancelled.canceller().map(|uid| uid.name());
                    assert_eq!(canceller, Some("root"), "{text}");
                }
                (outcome, _) => panic!("{text}: {outcome:?}"),
            },
            (Err(error), false, Side::Child) => assert_overrun(&error, &["actor"], &text),
            (Err(error), false, Side::Parent) => assert_overrun(&error, &["root", "actor"], &text),
            (result, ..) => panic!("{text}: {result:?}"),
        }
    }
}

async fn echo_batches(
    portal: &Portal,
    ctx: &Context<Numbers, Caller<String>>,
    row: Row,
) -> Result<Outcome<String>> {
    let stream = ctx.open_stream_with(receiving(row.parent_allows))?;
    for batch in 0..BATCHES {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        for number in numbers.clone() {
            stream.send(&number).await?;
            if row.slow == Side::Parent {
                // So that it is never behind.
                portal.run(may_take, number + 1).await?;
                portal.run(echoed, number + 1).await?;
            }
        }
        for number in numbers {
            if row.slow == Side::Child {
                portal.run(may_take, number + 1).await?;
            }
            assert_eq!(stream.receive().await?, Some(number), "{row:?}");
        }
    }
    portal.run(may_take, u32::MAX).await?;
    if row.cancels {
        assert!(ctx.cancel().await, "{row:?}");
    }
    drop(stream);
    ctx.wait_for_result().await
}

/// A peer of another implementation, which cannot be made to wait.
// test_context_stream_semantics.py::test_one_end_stream_not_opened[parent_1buf_never_open_stream]
#[test]
fn endpoint_that_never_opens_its_stream_is_overrun_by_a_stranger() {
    let _guard = HangGuard::new();
    RunOptions::new()
        .enable(ignore)
        .run(async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut peer = Peer::known(&address, "stranger");
                peer.send(&start("stranger", "overruns", "ignore"));
                assert_eq!(peer_message(&mut peer)["msg_type"], "StartAck");
                assert_eq!(peer_message(&mut peer)["msg_type"], "Started");
                for number in 0..70 {
                    let item = json!({"msg_type": "Yield", "cid": "a dialog", "pld": number});
                    peer.send(&item);
                }
                let error = peer_message(&mut peer);
                assert_eq!(error["msg_type"], "Error", "{error}");
                assert_eq!(error["boxed_type_str"], "StreamOverrun", "{error}");
                assert_eq!(error["cid"], "a dialog", "{error}");
                assert_eq!(
                    error["sender"],
                    json!(["stranger", "uuid-of-stranger"]),
                    "{error}"
                );
                // That was its end, and said once.
                let mut other = start("stranger", "overruns", "may_take");
                other["cid"] = json!("another dialog");
                peer.send(&other);
                let other = peer_message(&mut peer);
                assert_eq!(other["msg_type"], "Error", "{other}");
                assert_eq!(other["boxed_type_str"], "ModuleNotExposed", "{other}");
            })
            .await?;
            while ENDED_BY.get().is_none() {
                time::sleep(Duration::from_millis(1)).await?;
            }
            assert_eq!(ENDED_BY.get(), Some(CancelKind::Overrun));
            listening.close().await
        })
        .unwrap();
}

fn peer_message(peer: &mut Peer) -> serde_json::Value {
    peer.receive().expect("it is not hung up on")
}
