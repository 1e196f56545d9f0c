//! Streams between two actors.

mod common;

use std::cell::RefCell;
use std::time::Duration;

use common::{Cell, over_every_transport, tree_of};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    Caller, Context, Dialog, MsgStream, MsgTypeError, Portal, Result, SpawnOptions, StreamClosed,
    endpoint,
};

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = ByteBuf;
    type ToParent = ByteBuf;
}

fn bytes(bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(bytes)
}

/// Sends back what comes, until that ends; says how many it were.
async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<u64> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
        count += 1;
    }
    Ok(count)
}
endpoint!(echo);

/// Sends numbers until the other side has enough.
struct Count;
impl Dialog for Count {
    type Started = ();
    type ToChild = ();
    type ToParent = u64;
}

async fn count(ctx: &mut Context<Count>, (): ()) -> Result<u64> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let mut number = 0;
    loop {
        match stream.send(&number).await {
            Ok(()) => number += 1,
            Err(error) if error.is::<StreamClosed>() => return Ok(number),
            Err(error) => return Err(error),
        }
    }
}
endpoint!(count);

/// Receives after a while, or never.
struct Slow;
impl Dialog for Slow {
    type Started = ();
    type ToChild = u64;
    type ToParent = ();
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum When {
    /// When the dialog is asked to end.
    Never,
    After(Duration),
}

async fn slow(ctx: &mut Context<Slow>, when: When) -> Result<Vec<u64>> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    match when {
        When::Never => time::sleep_forever().await?,
        When::After(pause) => time::sleep(pause).await?,
    }
    let mut items = Vec::new();
    while let Some(item) = stream.receive().await? {
        items.push(item);
    }
    Ok(items)
}
endpoint!(slow);

/// Opens its stream, and is done.
async fn brief(ctx: &mut Context<Count>, (): ()) -> Result<u64> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    stream.send(&1).await?;
    Ok(7)
}
endpoint!(brief);

thread_local! {
    /// What `keep` has kept.
    static KEPT: RefCell<Option<MsgStream<ByteBuf, ByteBuf>>> = const { RefCell::new(None) };
}

/// Has its stream outlive it.
async fn keep(ctx: &mut Context<Echo>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    KEPT.set(Some(ctx.open_stream()?));
    Ok(())
}
endpoint!(keep);

/// Whether what was kept says that it is of no use any more.
async fn try_kept((): ()) -> Result<[bool; 2]> {
    let stream = KEPT.take().expect("it was kept");
    let received = stream.receive().await.map(drop);
    let sent = stream.send(&bytes(&[1])).await;
    Ok([received, sent].map(|tried| tried.is_err_and(|error| error.is::<StreamClosed>())))
}
endpoint!(try_kept);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("streams");
            let portal = cell.start(an, "actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

over_every_transport![
    echo_of_items_of_many_sizes,
    both_ways_at_once,
    sender_waits_for_a_receiver_that_does_not_receive,
    slow_receiver_gets_everything_in_order,
    cancelled_send_has_sent_nothing,
    receiver_that_has_enough_ends_the_sender,
    stream_that_nobody_reads_at_the_end_of_the_block,
    several_contexts_on_one_connection,
    endpoint_that_closes_its_stream_at_once,
    stream_that_outlives_its_endpoint,
];

fn echo_of_items_of_many_sizes(cell: Cell) {
    let count = with_actor(cell, async |portal| {
        portal
            .open_context(echo, (), async |ctx, ()| {
                let stream = ctx.open_stream()?;
                for size in [0, 1, 100, 16 << 10, 1 << 20, 2 << 20, 3] {
                    let item = ByteBuf::from(vec![size as u8; size]);
                    stream.send(&item).await?;
                    assert!(stream.receive().await? == Some(item), "{size}");
                }
                let error = stream
                    .send(&ByteBuf::from(vec![1; 17 << 20]))
                    .await
                    .unwrap_err();
                assert!(error.is::<MsgTypeError>(), "{error:?}");
                stream.send(&bytes(&[1])).await?;
                assert_eq!(stream.receive().await?, Some(bytes(&[1])));
                drop(stream);
                ctx.wait_for_result().await
            })
            .await
    })
    .unwrap();
    assert_eq!(count.returned(), Some(8));
}

fn both_ways_at_once(cell: Cell) {
    const ITEMS: u32 = 5000;
    with_actor(cell, async |portal| {
        portal
            .open_context(echo, (), async |ctx: &Context<Echo, Caller<u64>>, ()| {
                let stream = &ctx.open_stream()?;
                nursery(async |n| {
                    n.start_soon(async move {
                        for item in 0..ITEMS {
                            stream.send(&bytes(&item.to_le_bytes())).await?;
                        }
                        Ok(())
                    });
                    for item in 0..ITEMS {
                        assert_eq!(stream.receive().await?, Some(bytes(&item.to_le_bytes())));
                    }
                    Ok(())
                })
                .await
            })
            .await
    })
    .unwrap();
}

fn sender_waits_for_a_receiver_that_does_not_receive(cell: Cell) {
    let sent = with_actor(cell, async |portal| {
        portal
            .open_context(slow, When::Never, async |ctx, ()| {
                let stream = ctx.open_stream()?;
                let mut sent = 0u64;
                let outcome = move_on_after(Duration::from_millis(200), async {
                    loop {
                        stream.send(&sent).await?;
                        sent += 1;
                    }
                    #[allow(unreachable_code)]
                    Ok(())
                })
                .await?;
                assert!(outcome.timed_out());
                ctx.cancel().await;
                Ok(sent)
            })
            .await
    })
    .unwrap();
    assert_eq!(sent, 64);
}

fn slow_receiver_gets_everything_in_order(cell: Cell) {
    let items = with_actor(cell, async |portal| {
        let when = When::After(Duration::from_millis(50));
        portal
            .open_context(slow, when, async |ctx, ()| {
                let stream = ctx.open_stream()?;
                for item in 0..1000 {
                    stream.send(&item).await?;
                }
                stream.close();
                let error = stream.send(&0).await.unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&StreamClosed::Here));
                assert_eq!(stream.receive().await?, None);
                ctx.wait_for_result().await
            })
            .await
    })
    .unwrap();
    assert_eq!(items.returned(), Some((0..1000).collect()));
}

fn cancelled_send_has_sent_nothing(cell: Cell) {
    let items = with_actor(cell, async |portal| {
        let when = When::After(Duration::from_millis(100));
        portal
            .open_context(slow, when, async |ctx, ()| {
                let stream = ctx.open_stream()?;
                let mut next = 0;
                while next < 500 {
                    let send = async { stream.send(&next).await };
                    if !move_on_after(Duration::from_millis(3), send)
                        .await?
                        .is_cancelled()
                    {
                        next += 1;
                    }
                }
                drop(stream);
                ctx.wait_for_result().await
            })
            .await
    })
    .unwrap();
    assert_eq!(items.returned(), Some((0..500).collect()));
}

fn receiver_that_has_enough_ends_the_sender(cell: Cell) {
    let (seen, sent) = with_actor(cell, async |portal| {
        portal
            .open_context(count, (), async |ctx, ()| {
                let stream = ctx.open_stream()?;
                let mut seen = 0;
                while seen < 1000 {
                    assert_eq!(stream.receive().await?, Some(seen));
                    seen += 1;
                }
                drop(stream);
                Ok((seen, ctx.wait_for_result().await?.returned()))
            })
            .await
    })
    .unwrap();
    assert!(sent.is_some_and(|sent| sent >= seen), "{sent:?}");
}

fn stream_that_nobody_reads_at_the_end_of_the_block(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(count, (), async |ctx, ()| {
                let stream = ctx.open_stream()?;
                assert_eq!(stream.receive().await?, Some(0));
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn several_contexts_on_one_connection(cell: Cell) {
    with_actor(cell, async |portal| {
        nursery(async |n| {
            for id in 0..8u8 {
                n.start_soon(async move {
                    portal
                        .open_context(echo, (), async |ctx, ()| {
                            let stream = ctx.open_stream()?;
                            for round in 0..50u8 {
                                stream.send(&bytes(&[id, round])).await?;
                                assert_eq!(stream.receive().await?, Some(bytes(&[id, round])));
                            }
                            Ok(())
                        })
                        .await
                });
            }
            Ok(())
        })
        .await
    })
    .unwrap();
}

/// What it grants when it closes its end overtakes its first value.
fn endpoint_that_closes_its_stream_at_once(cell: Cell) {
    with_actor(cell, async |portal| {
        for _ in 0..20 {
            let received = portal.open_context(brief, (), async |ctx, ()| {
                ctx.open_stream()?.receive().await
            });
            assert_eq!(received.await?, Some(1));
        }
        Ok(())
    })
    .unwrap();
}

fn stream_that_outlives_its_endpoint(cell: Cell) {
    with_actor(cell, async |portal| {
        portal.open_context(keep, (), async |_, ()| Ok(())).await?;
        assert_eq!(portal.run(try_kept, ()).await?, [true, true]);
        Ok(())
    })
    .unwrap();
}
