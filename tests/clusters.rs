//! Many blocks as one, many actors as one, and what is published to many.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Cell as Place, in_every_cell, tree, tree_of};
use tractor::runtime::sync::Event;
use tractor::runtime::{move_on_after, nursery, time};
use tractor::trionics::{
    Hold, NeverHeld, NoContexts, Topic, gather_contexts, maybe_open_context, open_actor_cluster,
    worker_pool,
};
use tractor::{
    ActorDied, Caller, Context, Dialog, Error, MsgStream, Portal, Result, SpawnOptions, endpoint,
};

struct Numbers;
impl Dialog for Numbers {
    type Started = u64;
    type ToChild = u64;
    type ToParent = u64;
}

/// Adds up what it receives, and gives the sum after every number.
async fn add_up(ctx: &mut Context<Numbers>, from: u64) -> Result<u64> {
    ctx.started(from).await?;
    let stream = ctx.open_stream()?;
    let mut sum = from;
    while let Some(number) = stream.receive().await? {
        sum += number;
        stream.send(&sum).await?;
    }
    Ok(sum)
}
endpoint!(add_up);

async fn double(x: u64) -> Result<u64> {
    match x {
        13 => Err(Error::msg("unlucky")),
        _ => Ok(2 * x),
    }
}
endpoint!(double);

async fn wait(ms: u64) -> Result<u64> {
    time::sleep(Duration::from_millis(ms)).await?;
    Ok(ms)
}
endpoint!(wait);

async fn leave((): ()) -> Result<()> {
    std::process::exit(3)
}
endpoint!(leave);

fn options(options: SpawnOptions) -> SpawnOptions {
    options.enable_module("clusters")
}

type Stream = MsgStream<u64, u64>;

/// The stream of a context with the actor, while it is held.
async fn open(portal: &Portal, from: u64, hold: Hold<(u64, Stream)>) -> Result<()> {
    let body = async |ctx: &Context<Numbers, Caller<u64>>, started| {
        hold.hold((started, ctx.open_stream()?)).await
    };
    portal.open_context(add_up, from, body).await
}

in_every_cell![
    streams_to_a_cluster,
    nothing_to_gather_ends_the_cluster,
    workers_take_a_call_at_a_time,
    one_input_of_many_fails,
    topic_reaches_other_actors,
];

// test_clustering.py::test_streaming_to_actor_cluster
fn streams_to_a_cluster(cell: Place) {
    tree_of(cell, async |marked: SpawnOptions| {
        open_actor_cluster(3, options(marked), async |cluster| {
            let names: Vec<_> = cluster.portals().iter().map(|p| p.uid().name()).collect();
            assert_eq!(names, ["root.worker_0", "root.worker_1", "root.worker_2"]);
            assert!(cluster.portal("root.worker_1").is_some());
            assert!(cluster.portal("root.worker_3").is_none());
            let contexts = (cluster.portals().iter().zip(0..))
                .map(|(portal, from)| async move |hold: Hold<_>| open(portal, from, hold).await);
            gather_contexts(contexts, async |streams| {
                let started: Vec<_> = streams.iter().map(|(started, _)| *started).collect();
                assert_eq!(started, [0, 1, 2]);
                for round in 1..=100 {
                    for (from, stream) in &streams {
                        stream.send(&1).await?;
                        assert_eq!(stream.receive().await?, Some(from + round));
                    }
                }
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
}

// test_clustering.py::test_empty_mngrs_input_raises
fn nothing_to_gather_ends_the_cluster(cell: Place) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        open_actor_cluster(2, options(marked), async |cluster| {
            let none = cluster.portals()[..0]
                .iter()
                .map(|portal| async move |hold: Hold<_>| open(portal, 0, hold).await);
            gather_contexts(none, async |_| Ok(())).await
        })
        .await
    })
    .unwrap_err();
    assert!(error.is::<NoContexts>());
}

/// What a block does that is entered beside others.
#[derive(Clone, Copy, Debug)]
enum Then {
    Hold,
    FailAtOnce,
    FailBeside,
    FailAfter,
    HoldNothing,
}

async fn block(then: Then, left: &Cell<u32>, hold: Hold<u32>) -> Result<()> {
    let result = match then {
        Then::FailAtOnce => Err(Error::msg("at once")),
        Then::HoldNothing => return Ok(()),
        Then::FailBeside => {
            nursery(async |n| {
                n.start_soon::<()>(async {
                    time::sleep(Duration::from_millis(5)).await?;
                    Err(Error::msg("beside"))
                });
                hold.hold(1).await
            })
            .await
        }
        Then::Hold | Then::FailAfter => hold.hold(1).await,
    };
    left.set(left.get() + 1);
    match then {
        Then::FailAfter => result.and(Err(Error::msg("after"))),
        _ => result,
    }
}

#[test]
fn one_of_many_blocks_fails() {
    for (then, expected, body_is_run) in [
        (Then::FailAtOnce, "at once", false),
        (Then::FailBeside, "beside", true),
        (Then::FailAfter, "after", true),
    ] {
        tree(async |_| {
            let left = Cell::new(0);
            let left = &left;
            let began = Cell::new(false);
            let blocks = [Then::Hold, then, Then::Hold]
                .map(|then| async move |hold: Hold<u32>| block(then, left, hold).await);
            let gathered = gather_contexts(blocks, async |values| {
                assert_eq!(values, [1, 1, 1]);
                began.set(true);
                match then {
                    Then::FailAfter => Ok(()),
                    _ => Ok(time::sleep_forever().await?),
                }
            });
            let error = gathered.await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!((left.get(), began.get()), (3, body_is_run), "{then:?}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn block_that_holds_nothing_is_an_error() {
    tree(async |_| {
        let left = Cell::new(0);
        let left = &left;
        let blocks = [Then::Hold, Then::HoldNothing]
            .map(|then| async move |hold: Hold<u32>| block(then, left, hold).await);
        let error = gather_contexts(blocks, async |_| Ok(())).await.unwrap_err();
        assert!(error.is::<NeverHeld>());
        Ok(())
    })
    .unwrap();
}

#[test]
fn body_beside_many_blocks_fails_or_is_cancelled() {
    tree(async |_| {
        let left = Cell::new(0);
        let left = &left;
        let blocks = || {
            [Then::Hold; 4].map(|then| async move |hold: Hold<u32>| block(then, left, hold).await)
        };
        let failed = gather_contexts(blocks(), async |_| Err::<(), _>(Error::msg("of the body")));
        assert_eq!(failed.await.unwrap_err().to_string(), "of the body");
        let sleeps = gather_contexts(blocks(), async |_| Ok(time::sleep_forever().await?));
        assert!(
            move_on_after(Duration::from_millis(5), sleeps)
                .await?
                .timed_out()
        );
        assert_eq!(left.get(), 8);
        Ok(())
    })
    .unwrap();
}

fn workers_take_a_call_at_a_time(cell: Place) {
    tree_of(cell, async |marked: SpawnOptions| {
        worker_pool(2, options(marked), async |pool| {
            let mut results = Vec::new();
            let taken = Cell::new(0);
            let inputs = (0..50).inspect(|_| taken.set(taken.get() + 1));
            pool.map(double, inputs.map(|x| x + 100), async |number, result| {
                results.push((number, result));
                // What is at work, and what waits to be looked at.
                assert!(taken.get() <= results.len() + 2 * 2, "{}", taken.get());
                Ok(())
            })
            .await?;
            results.sort();
            let expected: Vec<_> = (0..50).map(|x| (x as usize, 2 * x + 200)).collect();
            assert_eq!(results, expected);
            // Both are free, and a third call has to wait for one of them.
            nursery(async |n| {
                let long = n.start_soon(pool.run(wait, 100_000));
                let other = n.start_soon(pool.run(wait, 30));
                let third = n.start_soon(pool.run(double, 4));
                other.await?;
                assert_eq!(third.await?, 8);
                long.cancel();
                Ok(())
            })
            .await?;
            assert_eq!(pool.run(double, 5).await?, 10);
            assert_eq!(format!("{pool:?}"), "WorkerPool { workers: 2, idle: 2 }");
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn one_input_of_many_fails(cell: Place) {
    tree_of(cell, async |marked: SpawnOptions| {
        worker_pool(3, options(marked), async |pool| {
            let error = pool
                .map(double, 0.., async |_, _| Ok(()))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("unlucky"), "{error:?}");
            let mut seen = 0;
            let error = pool.map(double, 100.., async |_, _| {
                seen += 1;
                match seen {
                    5 => Err(Error::msg("enough")),
                    _ => Ok(()),
                }
            });
            assert_eq!(error.await.unwrap_err().to_string(), "enough");
            let waits = pool.map(wait, [100_000; 9], async |_, _| Ok(()));
            assert!(
                move_on_after(Duration::from_millis(20), waits)
                    .await?
                    .timed_out()
            );
            // None of it has cost a worker.
            let mut sum = 0;
            pool.map(double, 20..23, async |_, result| {
                sum += result;
                Ok(())
            })
            .await?;
            assert_eq!(sum, 2 * (20 + 21 + 22));
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn worker_that_dies_fails_the_pool() {
    let error = tree(async |marked: SpawnOptions| {
        worker_pool(2, options(marked), async |pool| {
            let _ = pool.run(leave, ()).await;
            Ok(time::sleep_forever().await?)
        })
        .await
    });
    assert!(error.unwrap_err().is::<ActorDied>());
}

thread_local! {
    static FEED: RefCell<Option<(Topic<u64>, Rc<Event>)>> = const { RefCell::new(None) };
}

/// Publishes when it is told to, for as long as somebody listens.
async fn feed((): (), hold: Hold<Topic<u64>>) -> Result<()> {
    let topic = Topic::new();
    let go = Rc::new(Event::new());
    FEED.set(Some((topic.clone(), go.clone())));
    nursery(async |n| {
        n.start_soon(async {
            go.wait().await?;
            for number in 0..10 {
                topic.publish(&number);
            }
            Ok(())
        });
        hold.hold(topic.clone()).await
    })
    .await
}

async fn subscribe(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    maybe_open_context(feed, (), async |topic, _| {
        let subscription = topic.subscribe(16);
        ctx.started(topic.subscriptions() as u64).await?;
        subscription.forward(&ctx.open_stream()?).await
    })
    .await
}
endpoint!(subscribe);

async fn publish((): ()) -> Result<u64> {
    let (topic, go) = FEED.with_borrow(Clone::clone).expect("somebody subscribed");
    go.set();
    Ok(topic.subscriptions() as u64)
}
endpoint!(publish);

fn topic_reaches_other_actors(cell: Place) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("feeder", options(marked)).await?;
            let received = async |ctx: &Context<Numbers, Caller<()>>, _: u64| {
                let stream = ctx.open_stream()?;
                portal.run(publish, ()).await?;
                for number in 0..10 {
                    assert_eq!(stream.receive().await?, Some(number));
                }
                ctx.cancel().await;
                Ok(())
            };
            portal
                .open_context(subscribe, (), async |first, _| {
                    portal
                        .open_context(subscribe, (), async |second, number| {
                            assert_eq!(number, 2);
                            received(second, number).await
                        })
                        .await?;
                    received(first, 1).await
                })
                .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn subscriber_that_does_not_keep_up_loses_the_oldest() {
    tree(async |_| {
        let topic = Topic::new();
        let (slow, quick, gone) = (topic.subscribe(3), topic.subscribe(100), topic.subscribe(1));
        drop(gone);
        assert_eq!(topic.subscriptions(), 2);
        for number in 0..10 {
            assert_eq!(topic.publish(&number), 2);
        }
        let late = topic.clone().subscribe(1);
        drop(topic);
        for number in 7..10 {
            assert_eq!(slow.next().await?, Some(number));
        }
        for number in 0..10 {
            assert_eq!(quick.next().await?, Some(number));
        }
        for subscription in [&slow, &quick, &late] {
            assert_eq!(subscription.next().await?, None);
        }
        assert_eq!((slow.lost(), quick.lost(), late.lost()), (7, 0, 0));
        Ok(())
    })
    .unwrap();
}

#[test]
fn subscriber_that_waits_is_woken_by_the_end_of_the_topic() {
    tree(async |_| {
        let topic = Topic::<u32>::new();
        let subscription = topic.subscribe(1);
        nursery(async |n| {
            let waits = n.start_soon(async move { subscription.next().await });
            time::sleep(Duration::from_millis(5)).await?;
            drop(topic);
            assert_eq!(waits.await?, None);
            Ok(())
        })
        .await
    })
    .unwrap();
}
