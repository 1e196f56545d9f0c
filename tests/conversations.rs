//! Two tasks that talk over a stream, in turns and at once.

mod common;

use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{CancelScope, nursery, time};
use tractor::{
    Caller, Context, Dialog, MsgStream, Portal, Result, SpawnOptions, StreamClosed, endpoint,
};

struct Pings;
impl Dialog for Pings {
    type Started = u32;
    type ToChild = String;
    type ToParent = String;
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Loop {
    UntilTheEnd,
    OneByOne,
}

/// Answers each ping; says how many they were.
async fn pong(ctx: &mut Context<Pings>, (number, how): (u32, Loop)) -> Result<u32> {
    ctx.started(number + 1).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    match how {
        Loop::UntilTheEnd => {
            while let Some(ping) = stream.receive().await? {
                assert_eq!(ping, "ping");
                answer(&stream).await?;
                count += 1;
            }
        }
        Loop::OneByOne => loop {
            match stream.receive().await? {
                Some(ping) => assert_eq!(ping, "ping"),
                None => break,
            }
            answer(&stream).await?;
            count += 1;
        },
    }
    Ok(count)
}
endpoint!(pong);

/// Whoever asked may have left the stream since.
async fn answer(stream: &MsgStream<String, String>) -> Result<()> {
    match stream.send(&"pong".into()).await {
        Err(error) if error.is::<StreamClosed>() => Ok(()),
        sent => sent,
    }
}

/// Says `yo` all the time, and answers pings on the same stream meanwhile.
async fn chatter(ctx: &mut Context<Pings>, (): ()) -> Result<()> {
    ctx.started(0).await?;
    let stream = &ctx.open_stream()?;
    nursery(async |n| {
        n.start_soon(async {
            loop {
                stream.send(&"yo".into()).await?;
                time::sleep(Duration::from_millis(1)).await?;
            }
            #[allow(unreachable_code, reason = "it says what the task is")]
            Ok(())
        });
        while let Some(ping) = stream.receive().await? {
            assert_eq!(ping, "ping");
            stream.send(&"pong".into()).await?;
        }
        Ok(time::sleep_forever().await?)
    })
    .await
}
endpoint!(chatter);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("conversations");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            assert!(portal.cancel_actor().await);
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    pings_and_pongs,
    requests_are_answered_on_a_stream_that_is_busy,
];

// test_2way.py::test_simple_rpc[server_func=simple_rpc-use_async_for=True]
// test_2way.py::test_simple_rpc[server_func=simple_rpc-use_async_for=False]
// test_2way.py::test_simple_rpc[server_func=simple_rpc_with_forloop-use_async_for=True]
// test_2way.py::test_simple_rpc[server_func=simple_rpc_with_forloop-use_async_for=False]
fn pings_and_pongs(cell: Cell) {
    for server in [Loop::OneByOne, Loop::UntilTheEnd] {
        for client in [Loop::OneByOne, Loop::UntilTheEnd] {
            with_actor(cell, async |portal| {
                let body = async |ctx: &Context<Pings, Caller<u32>>, first| {
                    assert_eq!(first, 11, "{server:?}, {client:?}");
                    ping_ten_times(ctx, client).await?;
                    let count = ctx.wait_for_result().await?.returned();
                    assert_eq!(count, Some(10), "{server:?}, {client:?}");
                    Ok(())
                };
                portal.open_context(pong, (10, server), body).await
            })
            .unwrap();
        }
    }
}

async fn ping_ten_times(ctx: &Context<Pings, Caller<u32>>, how: Loop) -> Result<()> {
    let stream = ctx.open_stream()?;
    match how {
        Loop::UntilTheEnd => {
            stream.send(&"ping".into()).await?;
            let mut count = 0;
            while let Some(pong) = stream.receive().await? {
                assert_eq!(pong, "pong");
                stream.send(&"ping".into()).await?;
                count += 1;
                if count == 9 {
                    break;
                }
            }
        }
        Loop::OneByOne => {
            for _ in 0..10 {
                stream.send(&"ping".into()).await?;
                assert_eq!(stream.receive().await?.as_deref(), Some("pong"));
            }
        }
    }
    Ok(())
}

// test_advanced_streaming.py::test_reqresp_ontopof_streaming
fn requests_are_answered_on_a_stream_that_is_busy(cell: Cell) {
    with_actor(cell, async |portal| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let talk = portal.open_context(chatter, (), async |ctx, _| -> Result<()> {
            let stream = ctx.open_stream()?;
            stream.send(&"ping".into()).await?;
            let mut pongs = 0;
            while let Some(item) = stream.receive().await? {
                if item == "pong" {
                    pongs += 1;
                    if pongs == 10 {
                        // From now on, for it may take its time to begin.
                        handle.set_timeout(Duration::from_millis(20));
                    }
                    time::sleep(Duration::from_millis(1)).await?;
                    stream.send(&"ping".into()).await?;
                } else {
                    assert_eq!(item, "yo");
                }
            }
            panic!("it goes on until it is cancelled")
        });
        assert!(scope.run(talk).await?.timed_out());
        Ok(())
    })
    .unwrap();
}
