//! Receivers that stop receiving: what becomes of the items is theirs to choose, what is held for
//! them is bounded, and everybody else on the connection is served.

mod common;
#[path = "../benches/src/memory.rs"]
mod memory;

use std::time::Duration;

use common::HangGuard;
use serde::{Deserialize, Serialize};
use tractor::runtime::{move_on_after, time};
use tractor::{
    Caller, Context, Dialog, Overruns, Portal, RemoteActorError, Result, SpawnOptions,
    StreamOptions, StreamOverrun, endpoint, testing,
};

#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;

/// What a sender would send if it were let.
const ITEMS: u64 = 20_000;

/// Bytes of each item.
const SIZE: usize = 1024;

/// What may be held for a receiver: its buffer and the connection's, and what comes with them.
const HELD: isize = 3 << 20;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Policy {
    Wait,
    Error,
    Keep,
    DropOldest,
}

impl Policy {
    fn options(self) -> StreamOptions {
        StreamOptions::new().buffer(32).overruns(match self {
            Self::Wait => Overruns::Wait,
            Self::Error => Overruns::Error,
            Self::Keep => Overruns::Keep(100),
            Self::DropOldest => Overruns::DropOldest,
        })
    }
}

/// An item: its number, and what makes it large.
type Item = (u64, String);

struct Flood;
impl Dialog for Flood {
    type Started = ();
    type ToChild = Item;
    type ToParent = ();
}

/// Receives nothing for a minute, and then everything. Says how many were thrown away before, and
/// which came.
async fn stalls(ctx: &mut Context<Flood>, policy: Policy) -> Result<(u64, Vec<u64>)> {
    let mut received = Vec::new();
    ctx.started(()).await?;
    let stream = ctx.open_stream_with(policy.options())?;
    time::sleep(Duration::from_secs(60)).await?;
    while let Some((number, _)) = stream.receive().await? {
        received.push(number);
    }
    Ok((stream.dropped(), received))
}
endpoint!(stalls);

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u64;
    type ToParent = u64;
}

async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
    }
    Ok(())
}
endpoint!(echo);

fn with_actor<T>(body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    let _guard = HangGuard::new();
    testing::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new()
                .in_memory()
                .enable_module("slow_receivers");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await;
            an.cancel();
            result
        })
        .await
    })
}

/// Others on the connection are served at once.
async fn others_are_served(portal: &Portal) -> Result<()> {
    let start = time::now();
    portal
        .open_context(echo, (), async |ctx: &Context<Echo, Caller<()>>, ()| {
            let stream = ctx.open_stream()?;
            for item in 0..200 {
                stream.send(&item).await?;
                assert_eq!(stream.receive().await?, Some(item));
            }
            Ok(())
        })
        .await?;
    assert_eq!(time::now(), start, "they had to wait");
    Ok(())
}

/// Sends to a receiver that stalls as much as it takes; says how many it took meanwhile, and what
/// became of it all.
fn flood(policy: Policy) -> Result<(u64, (u64, Vec<u64>))> {
    with_actor(async |portal| {
        portal
            .open_context(
                stalls,
                policy,
                async |ctx: &Context<Flood, Caller<(u64, Vec<u64>)>>, ()| {
                    let stream = ctx.open_stream()?;
                    let before = memory::live_bytes();
                    let mut sent = 0;
                    let mut most = 0;
                    let stalled = move_on_after(Duration::from_secs(30), async {
                        while sent < ITEMS {
                            stream.send(&(sent, " ".repeat(SIZE))).await?;
                            sent += 1;
                            most = most.max(memory::live_bytes() - before);
                        }
                        Ok(())
                    });
                    stalled.await?;
                    assert!(most < HELD, "{most} bytes are held for {sent} items");
                    others_are_served(portal).await?;
                    let meanwhile = sent;
                    while sent < 1000 {
                        stream.send(&(sent, " ".repeat(SIZE))).await?;
                        sent += 1;
                    }
                    stream.close();
                    let result = ctx.wait_for_result().await?.returned();
                    Ok((meanwhile, result.expect("nobody cancels it")))
                },
            )
            .await
    })
}

#[test]
fn sender_waits_and_nothing_is_lost() {
    let (meanwhile, (dropped, received)) = flood(Policy::Wait).unwrap();
    assert_eq!(meanwhile, 64, "as many as any peer may send to begin with");
    assert_eq!(dropped, 0);
    assert_eq!(received, Vec::from_iter(0..1000));
}

#[test]
fn oldest_are_dropped_and_counted() {
    let (meanwhile, (dropped, received)) = flood(Policy::DropOldest).unwrap();
    assert_eq!(meanwhile, ITEMS, "the sender does not wait");
    assert_eq!(dropped, ITEMS - 32);
    assert_eq!(received, Vec::from_iter(ITEMS - 32..ITEMS));
}

fn overrun_of(policy: Policy) -> RemoteActorError {
    let error = flood(policy).expect_err("it is overrun");
    let remote: &RemoteActorError = error.downcast_ref().expect("and says so");
    remote.clone()
}

#[test]
fn overrun_is_told_to_its_sender() {
    for (policy, limit) in [(Policy::Error, "32 items"), (Policy::Keep, "132 items")] {
        let remote = overrun_of(policy);
        let overrun: &StreamOverrun = remote.overrun().expect("it is an overrun");
        assert_eq!(overrun.sender().map(|uid| uid.name()), Some("root"));
        assert!(remote.message().starts_with(limit), "{remote}");
        let source = std::error::Error::source(&remote).expect("it has one");
        assert!(source.is::<StreamOverrun>());
    }
}

#[test]
fn those_beside_an_overrun_are_served() {
    with_actor(async |portal| {
        let error = portal
            .open_context(
                stalls,
                Policy::Error,
                async |ctx: &Context<Flood, Caller<(u64, Vec<u64>)>>, ()| {
                    let stream = ctx.open_stream()?;
                    loop {
                        stream.send(&(0, " ".repeat(SIZE))).await?;
                    }
                    #[allow(unreachable_code, reason = "the type of the body")]
                    Ok(())
                },
            )
            .await
            .unwrap_err();
        assert!(error.is::<RemoteActorError>(), "{error:?}");
        others_are_served(portal).await
    })
    .unwrap();
}
