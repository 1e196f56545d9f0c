//! Streams that go one way, alone, in a pipeline and beside those that go both.

mod common;
#[path = "common/places.rs"]
mod places;

use std::cell::Cell as Count;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use places::tree_of_peers;
use serde::{Deserialize, Serialize};
use tractor::runtime::{CancelScope, move_on_after, nursery, sync::RecvError, sync::channel, time};
use tractor::{
    Caller, Context, Dialog, Portal, ReceiveStream, Result, SendStream, SpawnOptions, endpoint,
    find_actor,
};

thread_local! {
    /// Whether `count_to` runs here.
    static RUNNING: Count<bool> = const { Count::new(false) };
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

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Plan {
    end: u32,
    pause: Duration,
    /// It goes on when it has sent everything.
    stays: bool,
}

/// Sends the numbers below one.
async fn count_to(stream: &mut SendStream<u32>, plan: Plan) -> Result<()> {
    let _running = Running::new();
    for number in 0..plan.end {
        stream.send(&number).await?;
        if !plan.pause.is_zero() {
            time::sleep(plan.pause).await?;
        }
    }
    if plan.stays {
        time::sleep_forever().await?;
    }
    Ok(())
}
endpoint!(count_to);

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

/// The same as a context.
async fn count_in_a_context(ctx: &mut Context<Numbers>, plan: Plan) -> Result<()> {
    let _running = Running::new();
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for number in 0..plan.end {
        stream.send(&number).await?;
    }
    if plan.stays {
        time::sleep_forever().await?;
    }
    Ok(())
}
endpoint!(count_in_a_context);

async fn echo(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(echo);

/// Starts two actors that count, and passes on what they send, each number once.
async fn aggregate(stream: &mut SendStream<u32>, (cell, plan): (Cell, Plan)) -> Result<()> {
    let stream = &*stream;
    tractor::nursery(async |an| {
        let (sender, receiver) = channel(64);
        nursery(async |n| {
            for name in ["first", "second"] {
                let options = cell.place(SpawnOptions::new()).enable(count_to);
                let portal = an.start_actor(name, options).await?;
                let sender = sender.clone();
                n.start_soon(async move {
                    let body = async |numbers: &ReceiveStream<u32>| {
                        while let Some(number) = numbers.receive().await? {
                            sender.send(number).await?;
                        }
                        Ok(())
                    };
                    portal.open_stream_from(count_to, plan, body).await
                });
            }
            drop(sender);
            let mut seen = HashSet::new();
            loop {
                match receiver.recv().await {
                    Ok(number) if seen.insert(number) => stream.send(&number).await?,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await?;
        an.cancel();
        Ok(())
    })
    .await
}
endpoint!(aggregate);

/// What a body fails with.
#[derive(Debug, PartialEq)]
struct Interrupt;

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupt {}

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("one_way_streams");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            assert!(portal.cancel_actor().await);
            Ok(result)
        })
        .await
    })
}

/// The same with one that is found by its name, as soon as it is there.
fn with_known_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of_peers(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            assert!(find_actor("actor").await?.is_none());
            let options = options.enable_module("one_way_streams");
            let portal = an.start_actor("actor", options).await?;
            let found = find_actor("actor").await?.expect("it is there");
            let result = body(&found).await?;
            assert!(portal.cancel_actor().await);
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    stream_from_one_actor,
    stream_that_ends_by_itself,
    pipeline_of_four_actors,
    pipeline_that_is_cancelled_before_its_end,
    consumer_that_is_cancelled_and_started_again,
    stream_of_each_kind_at_once,
];

const TEN: Plan = Plan {
    end: 10,
    pause: Duration::ZERO,
    stays: true,
};

// test_legacy_one_way_streaming.py::test_stream_from_single_subactor[stream_func=async_gen_stream]
// test_legacy_one_way_streaming.py::test_stream_from_single_subactor[stream_func=context_stream]
fn stream_from_one_actor(cell: Cell) {
    with_known_actor(cell, async |portal| {
        let body = async |stream: &ReceiveStream<u32>| {
            for number in 0..10 {
                assert_eq!(stream.receive().await?, Some(number));
            }
            assert!(portal.run(is_running, ()).await?);
            stream.close();
            assert_eq!(stream.receive().await?, None);
            assert_eq!(stream.receive().await?, None);
            Ok(())
        };
        portal.open_stream_from(count_to, TEN, body).await?;
        // It was cancelled when the block was left.
        assert!(!portal.run(is_running, ()).await?);

        let body = async |ctx: &Context<Numbers, Caller<()>>, ()| {
            let stream = ctx.open_stream()?;
            for number in 0..10 {
                assert_eq!(stream.receive().await?, Some(number));
            }
            assert!(portal.run(is_running, ()).await?);
            stream.close();
            assert_eq!(stream.receive().await?, None);
            assert!(ctx.cancel().await);
            Ok(())
        };
        portal.open_context(count_in_a_context, TEN, body).await?;
        assert!(!portal.run(is_running, ()).await?);
        Ok(())
    })
    .unwrap();
}

fn stream_that_ends_by_itself(cell: Cell) {
    with_actor(cell, async |portal| {
        let plan = Plan {
            stays: false,
            ..TEN
        };
        let body = async |stream: &ReceiveStream<u32>| {
            for number in 0..10 {
                assert_eq!(stream.receive().await?, Some(number));
            }
            assert_eq!(stream.receive().await?, None);
            assert!(!portal.run(is_running, ()).await?);
            Ok(())
        };
        portal.open_stream_from(count_to, plan, body).await
    })
    .unwrap();
}

async fn quadruple(portal: &Portal, cell: Cell, plan: Plan) -> Result<Vec<u32>> {
    let body = async |stream: &ReceiveStream<u32>| {
        let mut numbers = Vec::new();
        while let Some(number) = stream.receive().await? {
            numbers.push(number);
        }
        Ok(numbers)
    };
    portal.open_stream_from(aggregate, (cell, plan), body).await
}

// test_legacy_one_way_streaming.py::test_a_quadruple_example
fn pipeline_of_four_actors(cell: Cell) {
    let plan = Plan {
        end: 1000,
        pause: Duration::ZERO,
        stays: false,
    };
    let numbers = with_actor(cell, async |portal| quadruple(portal, cell, plan).await).unwrap();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
}

// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.3]
// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.4]
// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.5]
// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.6]
// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.7]
// test_legacy_one_way_streaming.py::test_not_fast_enough_quad[0.8]
fn pipeline_that_is_cancelled_before_its_end(cell: Cell) {
    // It takes a second, at least.
    let plan = Plan {
        end: 100,
        pause: Duration::from_millis(10),
        stays: false,
    };
    for before in [0.3, 0.4, 0.5, 0.6, 0.7, 0.8] {
        with_actor(cell, async |portal| {
            let limit = Duration::from_secs(1) - Duration::from_secs_f64(before);
            let outcome = move_on_after(limit, quadruple(portal, cell, plan)).await?;
            assert!(outcome.timed_out(), "{before} s");
            // The actor is none the worse for it.
            assert!(!portal.run(is_running, ()).await?, "{before} s");
            Ok(())
        })
        .unwrap();
    }
}

// test_legacy_one_way_streaming.py::test_respawn_consumer_task
fn consumer_that_is_cancelled_and_started_again(cell: Cell) {
    with_actor(cell, async |portal| {
        let plan = Plan { end: 11, ..TEN };
        let body = async |stream: &ReceiveStream<u32>| {
            let received = std::cell::RefCell::new(Vec::new());
            let last = || received.borrow().last().copied();
            while last() != Some(10) {
                let scope = CancelScope::new();
                let handle = scope.handle();
                nursery(async |n| {
                    n.start_soon(scope.run(async {
                        while let Some(number) = stream.receive().await? {
                            received.borrow_mut().push(number);
                            if [3, 7, 10].contains(&number) {
                                // In the middle of what comes.
                                handle.cancel();
                            }
                        }
                        Ok(())
                    }));
                    Ok(())
                })
                .await?;
            }
            assert_eq!(received.into_inner(), (0..11).collect::<Vec<_>>());
            Ok(())
        };
        portal.open_stream_from(count_to, plan, body).await
    })
    .unwrap();
}

// test_advanced_streaming.py::test_sigint_both_stream_types
fn stream_of_each_kind_at_once(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let plan = Plan {
            end: u32::MAX,
            ..TEN
        };
        let both = async |ctx: &Context<Numbers, Caller<()>>, ()| {
            let echoing = ctx.open_stream()?;
            let body = async |numbers: &ReceiveStream<u32>| {
                for _ in 0..100 {
                    let number = numbers.receive().await?.expect("there are more");
                    echoing.send(&number).await?;
                    assert_eq!(echoing.receive().await?, Some(number));
                }
                Err::<(), _>(Interrupt.into())
            };
            portal.open_stream_from(count_to, plan, body).await
        };
        let ended = portal.open_context(echo, (), both).await;
        assert!(!portal.run(is_running, ()).await?);
        ended
    })
    .unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Interrupt), "{error:?}");
    assert!(error.group_name().is_none(), "{error:?}");
}
