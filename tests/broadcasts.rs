//! Streams that several tasks receive, each of them everything.

mod common;

use std::cell::Cell as Count;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use tractor::runtime::{CancelScope, nursery, sync::Event, testing, time};
use tractor::{
    Caller, Context, Dialog, Error, Lagged, MsgStream, Portal, Result, SpawnOptions, StreamClosed,
    StreamOptions, Subscription, endpoint,
};

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

/// Sends the numbers below this one.
async fn count_to(ctx: &mut Context<Numbers>, end: u32) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for number in 0..end {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(count_to);

/// Sends back what comes.
async fn echo(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(echo);

type Ctx = Context<Numbers, Caller<()>>;
type Stream = MsgStream<u32, u32>;

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("broadcasts");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            assert!(portal.cancel_actor().await);
            Ok(result)
        })
        .await
    })
}

/// Runs a test with the stream of an endpoint that counts to `end`, of which so many are kept.
fn with_numbers<T>(
    cell: Cell,
    end: u32,
    window: u32,
    body: impl AsyncFnOnce(&Stream) -> Result<T>,
) -> Result<T> {
    with_actor(cell, async |portal| {
        portal
            .open_context(count_to, end, async |ctx: &Ctx, ()| {
                let options = StreamOptions::new().buffer(window);
                body(&ctx.open_stream_with(options)?).await
            })
            .await
    })
}

/// Everything until the end, with no gap.
async fn all_in_order(subscription: &Subscription<u32>, end: u32) -> Result<()> {
    for number in 0..end {
        assert_eq!(subscription.receive().await?, Some(number));
    }
    assert_eq!(subscription.receive().await?, None);
    Ok(())
}

#[track_caller]
fn assert_lag<T: fmt::Debug>(received: Result<T>, missed: u64) {
    let error = received.expect_err("it lagged behind");
    let lagged: &Lagged = error.downcast_ref().expect("it lagged behind");
    assert_eq!(lagged.missed, missed);
}

in_every_cell![
    every_subscription_gets_everything_in_order,
    task_that_is_slower_than_the_other_lags,
    subscribing_to_a_closed_stream,
    slow_receivers_lag_again_and_again,
    receiver_that_waits_is_cancelled,
    receiver_that_does_not_mind_lagging,
];

// test_task_broadcasting.py::test_stream_fan_out_to_local_subscriptions
fn every_subscription_gets_everything_in_order(cell: Cell) {
    const END: u32 = 1000;
    with_numbers(cell, END, 64, async |stream| {
        nursery(async |n| {
            for _ in 0..10 {
                let subscription = stream.subscribe()?;
                n.start_soon(async move { all_in_order(&subscription, END).await });
            }
            for number in 0..END {
                assert_eq!(stream.receive().await?, Some(number));
            }
            assert_eq!(stream.receive().await?, None);
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    Parent,
    Child,
}

// test_task_broadcasting.py::test_consumer_and_parent_maybe_lag[task_delays0]
// test_task_broadcasting.py::test_consumer_and_parent_maybe_lag[task_delays1]
fn task_that_is_slower_than_the_other_lags(cell: Cell) {
    const WINDOW: u32 = 16;
    const FIRST_LEFT: u32 = 50 - WINDOW;
    for slow in [Slow::Parent, Slow::Child] {
        with_numbers(cell, 100, WINDOW, async |stream| {
            let subscription = stream.subscribe()?;
            let enough = Event::new();
            nursery(async |n| {
                n.start_soon(async {
                    if slow == Slow::Parent {
                        for number in 0..50 {
                            assert_eq!(subscription.receive().await?, Some(number));
                        }
                        enough.set();
                        return Ok(());
                    }
                    enough.wait().await?;
                    assert_lag(subscription.receive().await, FIRST_LEFT.into());
                    for number in FIRST_LEFT..100 {
                        assert_eq!(subscription.receive().await?, Some(number));
                    }
                    assert_eq!(subscription.receive().await?, None);
                    Ok(())
                });
                // What the stream itself receives is one of them.
                if slow == Slow::Child {
                    for number in 0..50 {
                        assert_eq!(stream.receive().await?, Some(number));
                    }
                    enough.set();
                    return Ok(());
                }
                enough.wait().await?;
                assert_lag(stream.receive().await, FIRST_LEFT.into());
                for number in FIRST_LEFT..100 {
                    assert_eq!(stream.receive().await?, Some(number));
                }
                assert_eq!(stream.receive().await?, None);
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

// test_task_broadcasting.py::test_subscribe_errors_after_close
fn subscribing_to_a_closed_stream(cell: Cell) {
    with_numbers(cell, 10, 64, async |stream| {
        let before = stream.subscribe()?;
        stream.close();
        let error = stream.subscribe().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&StreamClosed::Here));
        assert_eq!(stream.receive().await?, None);
        while before.receive().await?.is_some() {}
        Ok(())
    })
    .unwrap();
}

// test_task_broadcasting.py::test_ensure_slow_consumers_lag_out
fn slow_receivers_lag_again_and_again(cell: Cell) {
    const WINDOW: u32 = 8;
    const END: u32 = 200;
    with_numbers(cell, END, WINDOW, async |stream| {
        let fast = stream.subscribe()?;
        let position = Rc::new(Count::new(0));
        nursery(async |n| {
            for pace in [20, 30, 40] {
                let (slow, position) = (stream.subscribe()?, position.clone());
                n.start_soon(async move {
                    for lag in 1..=4 {
                        while position.get() < lag * pace {
                            time::sleep(Duration::from_millis(1)).await?;
                        }
                        let error = slow.receive().await.expect_err("it is behind");
                        let lagged: &Lagged = error.downcast_ref().expect("it is behind");
                        assert!(lagged.missed > 0, "{pace}");
                        // It goes on with the oldest.
                        let next = loop {
                            match slow.receive().await {
                                Err(error) if error.is::<Lagged>() => {}
                                next => break next?.expect("there are more"),
                            }
                        };
                        assert!(next + WINDOW >= position.get(), "{pace}: {next}");
                    }
                    Ok(())
                });
            }
            for number in 0..END {
                assert_eq!(fast.receive().await?, Some(number));
                position.set(number + 1);
                time::sleep(Duration::from_millis(1)).await?;
            }
            assert_eq!(fast.receive().await?, None);
            assert_eq!(fast.receive().await?, None);
            Ok(())
        })
        .await?;
        // It has received nothing, and what was kept last is still there.
        assert_lag(stream.receive().await, u64::from(END - WINDOW));
        for number in END - WINDOW..END {
            assert_eq!(stream.receive().await?, Some(number));
        }
        assert_eq!(stream.receive().await?, None);
        Ok(())
    })
    .unwrap();
}

// test_task_broadcasting.py::test_first_recver_is_cancelled
fn receiver_that_waits_is_cancelled(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(echo, (), async |ctx: &Ctx, ()| {
                let stream = ctx.open_stream()?;
                let (first, second) = (stream.subscribe()?, stream.subscribe()?);
                let scope = CancelScope::new();
                let handle = scope.handle();
                nursery(async |n| {
                    n.start_soon(async {
                        let received = scope.run(async { first.receive().await }).await?;
                        assert!(received.is_cancelled());
                        // It has lost nothing.
                        assert_eq!(first.receive().await?, Some(7));
                        Ok(())
                    });
                    let other = n.start_soon(async {
                        assert_eq!(second.receive().await?, Some(7));
                        Ok(())
                    });
                    // Both wait.
                    testing::wait_all_tasks_blocked().await?;
                    handle.cancel();
                    testing::wait_all_tasks_blocked().await?;
                    stream.send(&7).await?;
                    other.await
                })
                .await
            })
            .await
    })
    .unwrap();
}

/// What a body fails with.
#[derive(Debug, PartialEq)]
struct Interrupt;

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupt {}

// test_task_broadcasting.py::test_no_raise_on_lag
fn receiver_that_does_not_mind_lagging(cell: Cell) {
    let error: Error = with_numbers(cell, 1000, 4, async |stream| {
        let fast = stream.subscribe()?;
        let slow = stream.subscribe()?.ignore_lag();
        nursery(async |n| {
            let lagging = n.start_soon(async {
                let mut last = None;
                let mut gaps = 0;
                while let Some(number) = slow.receive().await? {
                    gaps += u32::from(last.is_some_and(|last| number > last + 1));
                    assert!(last < Some(number));
                    last = Some(number);
                    time::sleep(Duration::from_millis(10)).await?;
                }
                Ok((gaps, last))
            });
            for number in 0..1000 {
                assert_eq!(fast.receive().await?, Some(number));
                if number % 100 == 0 {
                    time::sleep(Duration::from_millis(10)).await?;
                }
            }
            let (gaps, last) = lagging.await?;
            assert!(gaps > 0);
            assert_eq!(last, Some(999));
            Err::<(), _>(Interrupt.into())
        })
        .await
    })
    .unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Interrupt), "{error:?}");
    assert!(error.group_name().is_none(), "{error:?}");
}
