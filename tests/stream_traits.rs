//! A stream as the `Stream` and the `Sink` that the rest of the world knows, and functions that send
//! items one way.

mod common;

use std::future::poll_fn;
use std::pin::Pin;

use common::{Cell, in_every_cell, tree_of};
use futures_lite::StreamExt;
use futures_sink::Sink;
use tractor::runtime::{check_cancelled, move_on_after, nursery, time};
use tractor::{
    Caller, Context, ContextCancelled, Dialog, Error, MsgStream, Portal, RemoteActorError, Result,
    SendStream, SpawnOptions, StreamClosed, endpoint,
};

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u64;
    type ToParent = u64;
}

async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<u64> {
    ctx.started(()).await?;
    let mut stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(item) = stream.next().await {
        send(&mut stream, item?).await?;
        count += 1;
    }
    Ok(count)
}
endpoint!(echo);

/// Takes nothing until it is told.
async fn deaf(ctx: &mut Context<Echo>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let _stream = ctx.open_stream()?;
    Ok(time::sleep_forever().await?)
}
endpoint!(deaf);

async fn fails(ctx: &mut Context<Echo>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    ctx.open_stream()?.send(&1).await?;
    Err(Error::msg("after one item"))
}
endpoint!(fails);

async fn counts(stream: &mut SendStream<u64>, upto: u64) -> Result<()> {
    for number in 0..upto {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(counts);

async fn counts_and_fails(stream: &mut SendStream<u64>, upto: u64) -> Result<()> {
    counts(stream, upto).await?;
    Err(Error::msg("that is enough"))
}
endpoint!(counts_and_fails);

/// What a `Sink` is sent with.
async fn send<S, R>(stream: &mut MsgStream<S, R>, item: S) -> Result<()>
where
    S: serde::Serialize,
{
    poll_fn(|cx| Pin::new(&mut *stream).poll_ready(cx)).await?;
    Pin::new(&mut *stream).start_send(item)?;
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("stream_traits");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    items_through_a_sink_come_out_of_a_stream,
    sink_waits_for_who_does_not_receive,
    stream_ends_with_the_error_of_its_context,
    stream_sees_a_cancellation,
    function_sends_items_until_it_returns,
    function_fails_after_its_items,
    who_leaves_a_stream_cancels_its_sender,
    who_is_cancelled_in_a_stream_cancels_its_sender,
];

type Ctx<R> = Context<Echo, Caller<R>>;

fn items_through_a_sink_come_out_of_a_stream(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(echo, (), async |ctx: &Ctx<u64>, ()| {
                let mut stream = ctx.open_stream()?;
                for item in 0..200 {
                    send(&mut stream, item).await?;
                    assert_eq!(stream.next().await.transpose()?, Some(item));
                }
                poll_fn(|cx| Pin::new(&mut stream).poll_close(cx)).await?;
                let closed = send(&mut stream, 0).await.unwrap_err();
                assert!(closed.is::<StreamClosed>(), "{closed:?}");
                let count = ctx.wait_for_result().await?.returned();
                assert_eq!(count, Some(200));
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn sink_waits_for_who_does_not_receive(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(deaf, (), async |ctx: &Ctx<()>, ()| {
                let mut stream = ctx.open_stream()?;
                let mut sent = 0;
                let limit = std::time::Duration::from_millis(50);
                let sending = move_on_after(limit, async {
                    loop {
                        send(&mut stream, sent).await?;
                        sent += 1;
                    }
                });
                let ended: tractor::runtime::Outcome<()> = sending.await?;
                assert!(ended.timed_out());
                assert_eq!(sent, 64, "as many as its window has");
                ctx.cancel().await;
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn stream_ends_with_the_error_of_its_context(cell: Cell) {
    with_actor(cell, async |portal| {
        let error = portal
            .open_context(fails, (), async |ctx: &Ctx<()>, ()| {
                let mut stream = ctx.open_stream()?;
                let mut seen = Vec::new();
                while let Some(item) = stream.next().await {
                    seen.push(item);
                }
                // The item may have been overtaken by the error.
                let error = seen.pop().expect("the error at least").unwrap_err();
                assert!(stream.next().await.is_none(), "it has ended");
                Err::<(), _>(error)
            })
            .await
            .unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
        assert_eq!(remote.message(), "after one item");
        Ok(())
    })
    .unwrap();
}

fn stream_sees_a_cancellation(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(deaf, (), async |ctx: &Ctx<()>, ()| {
                let mut stream = ctx.open_stream()?;
                nursery(async |n| {
                    n.cancel();
                    let next = stream.next().await.expect("it says why");
                    assert!(next.unwrap_err().is_cancelled());
                    Ok(())
                })
                .await?;
                ctx.cancel().await;
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn function_sends_items_until_it_returns(cell: Cell) {
    with_actor(cell, async |portal| {
        let sum = portal
            .open_stream_from(counts, 1000, async |stream| {
                let mut expected = 0;
                while let Some(item) = stream.receive().await? {
                    assert_eq!(item, expected);
                    expected += 1;
                }
                Ok(expected)
            })
            .await?;
        assert_eq!(sum, 1000);
        Ok(())
    })
    .unwrap();
}

fn function_fails_after_its_items(cell: Cell) {
    with_actor(cell, async |portal| {
        let error = portal
            .open_stream_from(counts_and_fails, 3, async |stream| {
                while stream.receive().await?.is_some() {}
                Ok(())
            })
            .await
            .unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is the function's");
        assert_eq!(remote.message(), "that is enough");
        Ok(())
    })
    .unwrap();
}

fn who_leaves_a_stream_cancels_its_sender(cell: Cell) {
    with_actor(cell, async |portal| {
        let first = portal
            .open_stream_from(counts, u64::MAX, async |stream| stream.receive().await)
            .await?;
        assert_eq!(first, Some(0));
        Ok(())
    })
    .unwrap();
}

fn who_is_cancelled_in_a_stream_cancels_its_sender(cell: Cell) {
    with_actor(cell, async |portal| {
        let limit = std::time::Duration::from_millis(20);
        let receiving = portal.open_stream_from(counts, u64::MAX, async |stream| {
            stream.receive().await?;
            Ok(time::sleep_forever().await?)
        });
        let ended: tractor::runtime::Outcome<()> = move_on_after(limit, receiving).await?;
        assert!(ended.timed_out());
        check_cancelled()?;
        // It is gone, or this would be a second one beside it.
        let error = portal
            .open_stream_from(counts, u64::MAX, async |_| {
                assert!(portal.cancel_actor().await);
                Ok(time::sleep_forever().await?)
            })
            .await
            .unwrap_err();
        assert!(error.is::<ContextCancelled>(), "{error:?}");
        Ok(())
    })
    .map_err(|error| assert!(error.is::<ContextCancelled>(), "{error:?}"))
    .ok();
}
