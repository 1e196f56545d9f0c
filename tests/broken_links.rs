//! Connections that break in the middle of a conversation.

mod common;

use common::{Cell, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{check_cancelled, shield, time};
use tractor::{
    ActorDied, Caller, CancelKind, Context, Dialog, PeerLost, Result, SpawnOptions, StreamClosed,
    endpoint,
};

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

async fn echo(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
    }
    Ok(time::sleep_forever().await?)
}
endpoint!(echo);

/// Echoes so many, and breaks the connection to its parent then.
async fn break_off(ctx: &mut Context<Numbers>, how: How) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for _ in 0..how.after {
        match stream.receive().await? {
            Some(number) => stream.send(&number).await?,
            None => break,
        }
    }
    if how.leaves_its_stream {
        stream.close();
    }
    tractor::parent().expect("it is a child").disconnect();
    let cancelled = time::sleep_forever().await.unwrap_err();
    assert_eq!(cancelled.cause().kind(), CancelKind::PeerLost);
    Err(cancelled.into())
}
endpoint!(break_off);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct How {
    after: u32,
    leaves_its_stream: bool,
}

fn all() -> impl Iterator<Item = How> {
    [0, 1, 500, 800].into_iter().flat_map(|after| {
        [false, true].map(|leaves_its_stream| How {
            after,
            leaves_its_stream,
        })
    })
}

in_every_cell![
    parent_breaks_its_connection,
    child_breaks_its_connection,
    both_break_their_connection,
];

type Ctx = Context<Numbers, Caller<()>>;

// test_advanced_faults.py::test_ipc_channel_break_during_stream[break_parent-no_msgstream_aclose]
// test_advanced_faults.py::test_ipc_channel_break_during_stream[break_parent-pre_aclose_msgstream]
fn parent_breaks_its_connection(cell: Cell) {
    for how in all() {
        let error = tree_of(cell, async |options: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("actor", options.enable(echo)).await?;
                let talk = async |ctx: &Ctx, ()| {
                    let stream = ctx.open_stream()?;
                    for number in 0..how.after {
                        stream.send(&number).await?;
                        assert_eq!(stream.receive().await?, Some(number), "{how:?}");
                    }
                    if how.leaves_its_stream {
                        stream.close();
                    }
                    portal.disconnect();
                    let cancelled = time::sleep_forever().await.unwrap_err();
                    assert_eq!(cancelled.cause().kind(), CancelKind::PeerLost, "{how:?}");
                    assert!(check_cancelled().is_err(), "{how:?}");
                    let sent = shield(stream.send(&1)).await.unwrap_err();
                    assert!(sent.is::<PeerLost>(), "{how:?}: {sent:?}");
                    let error = ctx.wait_for_result().await.unwrap_err();
                    assert!(error.is::<PeerLost>(), "{how:?}: {error:?}");
                    Err::<(), _>(cancelled.into())
                };
                let error = portal.open_context(echo, (), talk).await.unwrap_err();
                assert!(error.is::<PeerLost>(), "{how:?}: {error:?}");
                Err::<(), _>(error)
            })
            .await
        })
        .unwrap_err();
        let lost: &PeerLost = error.downcast_ref().expect("it comes out");
        assert_eq!(lost.peer().name(), "actor", "{how:?}");
    }
}

fn child_breaks_its_connection(cell: Cell) {
    for how in all() {
        let error = tree_of(cell, async |options: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("actor", options.enable(break_off)).await?;
                let talk = async |ctx: &Ctx, ()| {
                    talk_until_the_end(ctx, &mut 0).await?;
                    // It is told at once, with no need to say anything.
                    Ok(time::sleep_forever().await?)
                };
                portal.open_context(break_off, how, talk).await
            })
            .await
        })
        .unwrap_err();
        let lost: &PeerLost = error.downcast_ref().expect("it comes out");
        assert_eq!(lost.peer().name(), "actor", "{how:?}");
        // It has ended without being asked to.
        assert!(error.is::<ActorDied>(), "{how:?}: {error:?}");
    }
}

fn both_break_their_connection(cell: Cell) {
    for how in all() {
        let error = tree_of(cell, async |options: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("actor", options.enable(break_off)).await?;
                let talk = async |ctx: &Ctx, ()| {
                    let mut count = 0;
                    let ended = talk_until_the_end(ctx, &mut count).await;
                    assert!(count <= how.after, "{how:?}: {count}");
                    portal.disconnect();
                    ended?;
                    Ok(time::sleep_forever().await?)
                };
                portal.open_context(break_off, how, talk).await
            })
            .await
        })
        .unwrap_err();
        assert!(error.is::<PeerLost>(), "{how:?}: {error:?}");
    }
}

async fn talk_until_the_end(ctx: &Ctx, count: &mut u32) -> Result<()> {
    let stream = ctx.open_stream()?;
    for number in 0.. {
        match stream.send(&number).await {
            Err(error) if error.is::<StreamClosed>() => break,
            sent => sent?,
        }
        match stream.receive().await? {
            Some(echo) => assert_eq!(echo, number),
            None => break,
        }
        *count += 1;
    }
    Ok(())
}
