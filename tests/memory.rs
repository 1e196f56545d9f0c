//! What is particular to actors in memory: they share the executor of their parent, and with it the
//! clock and the order, and nothing else.

mod common;

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{HangGuard, MARKER, Marker, arm, explosive, tree};
use tractor::runtime::{checkpoint, move_on_after, nursery, shield, sync::Event, time};
use tractor::{
    ActorDied, Caller, Context, Dialog, PeerLost, Result, RunOptions, SpawnOptions, current_actor,
    endpoint,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

thread_local! {
    /// What happened on this thread, in order.
    static HAPPENED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// In which actors a [`Left`] was dropped on this thread.
    static LEFT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn happened(what: String) {
    HAPPENED.with_borrow_mut(|happened| happened.push(what));
}

/// Says where it was dropped.
struct Left;

impl Drop for Left {
    fn drop(&mut self) {
        let actor = current_actor().expect("it is one's who can be asked");
        LEFT.with_borrow_mut(|left| left.push(actor.uid().name().into()));
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

async fn shielded_bomb((): ()) -> Result<()> {
    let _bomb = Bomb;
    shielded(()).await
}
endpoint!(shielded_bomb);

/// Does not let itself be cancelled.
async fn shielded((): ()) -> Result<()> {
    let _left = Left;
    Ok(shield(time::sleep_forever()).await?)
}
endpoint!(shielded);

async fn wait_hours(hours: u64) -> Result<u64> {
    time::sleep(Duration::from_secs(3600 * hours)).await?;
    Ok(hours)
}
endpoint!(wait_hours);

async fn shielded_hours(hours: u64) -> Result<()> {
    shield(wait_hours(hours)).await?;
    Ok(())
}
endpoint!(shielded_hours);

struct Talk;
impl Dialog for Talk {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

/// Hands back every item, and says what happens.
async fn talk(ctx: &mut Context<Talk>, name: String) -> Result<u32> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(item) = stream.receive().await? {
        happened(format!("{name} heard {item}"));
        checkpoint().await?;
        stream.send(&item).await?;
        count += 1;
    }
    happened(format!("{name} counted {count}"));
    Ok(count)
}
endpoint!(talk);

/// Says when it was cancelled.
async fn listen(name: String) -> Result<()> {
    let cancelled = time::sleep_forever().await;
    happened(format!("{name} was cancelled"));
    Ok(cancelled?)
}
endpoint!(listen);

/// A chain of actors in memory, so many below this one.
async fn chain(depth: u64) -> Result<u64> {
    if depth == 0 {
        time::sleep(Duration::from_secs(3600)).await?;
        return Ok(0);
    }
    tractor::nursery(async |an| {
        let portal = an.start_actor(&format!("at {depth}"), in_memory()).await?;
        let below = portal.run(chain, depth - 1).await?;
        an.cancel();
        Ok(below + 1)
    })
    .await
}
endpoint!(chain);

/// Starts a process that sleeps, and sleeps.
async fn have_a_child(marker: String) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new()
            .env(MARKER, marker)
            .enable_module("memory");
        let portal = an.start_actor("process", options).await?;
        portal.run(sleep, ()).await
    })
    .await
}
endpoint!(have_a_child);

fn in_memory() -> SpawnOptions {
    SpawnOptions::new()
        .in_memory()
        .enable_module("memory")
        .grace(Duration::from_millis(50))
}

/// How many descriptors this process has, without and with actors in memory.
async fn descriptors_of_actors((): ()) -> Result<(usize, usize)> {
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    tractor::nursery(async |an| {
        let before = count();
        let portals = [
            an.start_actor("one", in_memory()).await?,
            an.start_actor("two", in_memory()).await?,
        ];
        assert_ne!(portals[0].uid(), portals[1].uid());
        for portal in &portals {
            assert_eq!(portal.run(double, 2).await?, 4);
        }
        an.cancel();
        Ok((before, count()))
    })
    .await
}
endpoint!(descriptors_of_actors);

#[test]
fn hours_in_a_tree_take_no_time() {
    let _guard = HangGuard::new();
    tractor::testing::run(async || {
        let start = time::now();
        tractor::nursery(async |an| {
            let first = an.start_actor("first", in_memory()).await?;
            let second = an.start_actor("second", in_memory()).await?;
            nursery(async |n| {
                let hours = n.start_soon(first.run(wait_hours, 5));
                assert_eq!(second.run(chain, 200).await?, 200);
                assert_eq!(time::now() - start, Duration::from_secs(3600));
                assert_eq!(hours.await?, 5);
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(time::now() - start, Duration::from_secs(5 * 3600));
        Ok(())
    })
    .unwrap();
}

/// What happens in a tree whose actors talk, of which one is lost with many calls.
fn order(seed: u64) -> Vec<String> {
    HAPPENED.take();
    let options = RunOptions::new().name("simulated");
    let result = options.run_seeded(seed, async || {
        tractor::nursery(async |an| {
            let actors = [
                an.start_actor("a", in_memory()).await?,
                an.start_actor("b", in_memory()).await?,
                an.start_actor("c", in_memory()).await?,
            ];
            nursery(async |n| {
                for number in 0..8 {
                    let name = format!("call {number}");
                    let lost = actors[0].run(listen, name.clone());
                    n.start_soon(async move {
                        let error = lost.await.unwrap_err();
                        happened(format!("{name} came back: {}", error.is::<PeerLost>()));
                        Ok(())
                    });
                }
                for portal in &actors[1..] {
                    n.start_soon(async {
                        let name = portal.uid().name().to_owned();
                        let talk = portal.open_context(
                            talk,
                            name,
                            async |ctx: &Context<Talk, Caller<u32>>, ()| {
                                let stream = ctx.open_stream()?;
                                for item in 0..5 {
                                    stream.send(&item).await?;
                                    stream.receive().await?;
                                }
                                stream.close();
                                ctx.wait_for_result().await?;
                                Ok(())
                            },
                        );
                        talk.await
                    });
                }
                time::sleep(Duration::from_secs(1)).await?;
                actors[0].disconnect();
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    });
    // It lost its parent, which nobody had asked it to.
    assert!(result.unwrap_err().is::<ActorDied>());
    HAPPENED.take()
}

#[test]
fn seed_decides_the_order_in_the_whole_tree() {
    let _guard = HangGuard::new();
    let orders: Vec<_> = (0..10).map(order).collect();
    for (seed, first) in (0..10).zip(&orders) {
        assert_eq!(first.len(), 8 + 8 + 2 * 6, "{first:?}");
        assert_eq!(*first, order(seed), "with seed {seed}");
    }
    assert!(orders.iter().any(|order| *order != orders[0]));
}

#[test]
fn actor_needs_no_descriptor() {
    // In a process in which nothing else opens any.
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable(descriptors_of_actors);
            let portal = an.start_actor("counter", options).await?;
            let (before, after) = portal.run(descriptors_of_actors, ()).await?;
            assert_eq!(before, after);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn scope_around_an_actor_cancels_it_through_its_channel() {
    let _guard = HangGuard::new();
    HAPPENED.take();
    tractor::testing::run(async || {
        let actors = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", in_memory()).await?;
            portal.run(listen, "endpoint".into()).await
        });
        let outcome = move_on_after(Duration::from_secs(1), actors).await?;
        assert!(outcome.timed_out());
        Ok(())
    })
    .unwrap();
    assert_eq!(HAPPENED.take(), ["endpoint was cancelled"]);
}

#[test]
fn actor_that_shields_itself_is_waited_for() {
    let _guard = HangGuard::new();
    tractor::testing::run(async || {
        let start = time::now();
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", in_memory()).await?;
            nursery(async |n| {
                n.start_soon(async {
                    // A result that is there beats the cancellation.
                    portal.run(shielded_hours, 2).await
                });
                time::sleep(Duration::from_secs(1)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await?;
        assert_eq!(time::now() - start, Duration::from_secs(2 * 3600));
        Ok(())
    })
    .unwrap();
}

#[test]
fn actor_that_shields_itself_is_dropped_after_its_limit() {
    let _guard = HangGuard::new();
    LEFT.take();
    let limit = Duration::from_secs(60);
    tractor::testing::run(async || {
        let start = time::now();
        tractor::nursery(async |an| {
            let options = in_memory().abandon_after(limit);
            let portal = an.start_actor("actor", options).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let error = portal.run(shielded, ()).await.unwrap_err();
                    let lost: &PeerLost = error.downcast_ref().expect("it is lost");
                    assert!(lost.to_string().contains("was dropped"), "{lost}");
                    Ok(())
                });
                time::sleep(Duration::from_secs(1)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await?;
        assert_eq!(LEFT.take(), ["actor"]);
        assert_eq!(time::now() - start, limit + Duration::from_millis(1050));
        Ok(())
    })
    .unwrap();
}

#[test]
fn panic_of_the_runtime_of_an_actor_is_the_end_of_that_alone() {
    let _guard = HangGuard::new();
    arm();
    let error = tractor::testing::run(async || {
        tractor::nursery(async |outer| {
            let other = outer.start_actor("other", in_memory()).await?;
            let result = tractor::nursery(async |an| {
                let portal = an.start_actor("actor", in_memory()).await?;
                portal.run(explosive, ()).await
            })
            .await;
            assert_eq!(other.run(double, 4).await?, 8);
            outer.cancel();
            Ok(result.unwrap_err())
        })
        .await
    })
    .unwrap();
    let died: &ActorDied = error.downcast_ref().expect("the nursery says it");
    assert_eq!((died.uid().name(), died.status()), ("actor", None));
    assert!(died.to_string().contains("it went off"), "{died}");
    let lost: &PeerLost = error.downcast_ref().expect("the call says it");
    assert_eq!(lost.peer(), died.uid());
}

#[test]
fn actor_that_panics_when_it_is_dropped_is_gone_all_the_same() {
    let _guard = HangGuard::new();
    LEFT.take();
    tractor::testing::run(async || {
        tractor::nursery(async |outer| {
            let other = outer.start_actor("other", in_memory()).await?;
            tractor::nursery(async |an| {
                let options = in_memory().abandon_after(Duration::from_secs(1));
                let portal = an.start_actor("actor", options).await?;
                nursery(async |n| {
                    n.start_soon(async {
                        let error = portal.run(shielded_bomb, ()).await.unwrap_err();
                        assert!(error.is::<PeerLost>(), "{error}");
                        Ok(())
                    });
                    time::sleep(Duration::from_secs(1)).await?;
                    an.cancel();
                    Ok(())
                })
                .await
            })
            .await?;
            assert_eq!(LEFT.take(), ["actor"]);
            assert_eq!(other.run(double, 4).await?, 8);
            outer.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn nursery_that_is_dropped_drops_its_actors() {
    let _guard = HangGuard::new();
    LEFT.take();
    tractor::testing::run(async || {
        let up = Rc::new(Event::new());
        let nursery = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", in_memory()).await?;
            let other = an.start_actor("other", in_memory()).await?;
            nursery(async |n| {
                n.start_soon(portal.run(shielded, ()));
                n.start_soon(other.run(shielded, ()));
                time::sleep(Duration::from_secs(1)).await?;
                up.set();
                Ok(())
            })
            .await
        });
        let wait = async { Ok(up.wait().await?) };
        futures_lite::future::or(wait, nursery).await?;
        let mut left = LEFT.take();
        left.sort();
        assert_eq!(left, ["actor", "other"]);
        Ok(())
    })
    .unwrap();
}

#[test]
fn processes_of_an_actor_in_memory_go_with_it() {
    for dropped in [false, true] {
        let marker = Marker::new();
        tree(async |_| {
            let ended = Event::new();
            let actors = tractor::nursery(async |an| {
                let portal = an.start_actor("actor", in_memory()).await?;
                nursery(async |n| {
                    n.start_soon(async {
                        let _ = portal.run(have_a_child, marker.text().into()).await;
                        Ok(())
                    });
                    while marker.processes().is_empty() {
                        time::sleep(Duration::from_millis(5)).await?;
                    }
                    if dropped {
                        ended.set();
                        time::sleep_forever().await?;
                    }
                    an.cancel();
                    Ok(())
                })
                .await
            });
            let ended = async { Ok(ended.wait().await?) };
            futures_lite::future::or(ended, actors).await
        })
        .unwrap();
        assert_eq!(marker.processes(), [], "{dropped}");
    }
}

#[test]
fn start_is_cancelled_or_dropped_at_any_moment() {
    let _guard = HangGuard::new();
    let start = Instant::now();
    for turns in 0..40 {
        for dropped in [false, true] {
            tractor::testing::run_seeded(turns, async || {
                tractor::nursery(async |an| {
                    let starting = async {
                        an.start_actor("actor", in_memory()).await?;
                        Ok(())
                    };
                    let later = async {
                        for _ in 0..turns {
                            checkpoint().await?;
                        }
                        Ok(())
                    };
                    if dropped {
                        futures_lite::future::or(later, starting).await?;
                    } else {
                        nursery(async |n| {
                            n.start_soon(starting);
                            later.await?;
                            n.cancel();
                            Ok(())
                        })
                        .await?;
                    }
                    an.cancel();
                    Ok(())
                })
                .await
            })
            .unwrap();
        }
    }
    // The clock is virtual: what was waited for is not in it.
    assert!(start.elapsed() < common::HANG);
}
