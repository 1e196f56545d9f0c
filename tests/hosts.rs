//! Trees of actors in programs that have a loop of their own.

mod common;

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use common::{Cell, HangGuard, MARKER, Marker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor::runtime::sync::Event;
use tractor::runtime::{Guest, Progress, nursery, time};
use tractor::{
    Context, Dialog, Ending, Result, RunOptions, SpawnOptions, TeardownReport, endpoint,
};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(10);

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

struct Work;
impl Dialog for Work {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

async fn work(ctx: &mut Context<Work>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    Ok(time::sleep_forever().await?)
}
endpoint!(work);

/// Two actors that are asked something, and one that is at work until it is cancelled.
async fn asks(options: SpawnOptions, working: &Event) -> Result<u64> {
    tractor::nursery(async |an| {
        let busy = an.start_actor("busy", options.clone().enable(work)).await?;
        let mut sum = 0;
        for name in ["one", "two"] {
            let portal = an.start_actor(name, options.clone().enable(double)).await?;
            sum += portal.run(double, 21).await?;
        }
        busy.open_context(work, (), async |_, ()| {
            working.set();
            time::sleep_forever().await?;
            Ok(())
        })
        .await?;
        Ok(sum)
    })
    .await
}

/// Runs a test for each kind of actors, and looks that nothing is left of them.
fn in_every_kind(test: impl Fn(SpawnOptions)) {
    in_every_cell(|_, options| test(options));
}

fn in_every_cell(test: impl Fn(Cell, SpawnOptions)) {
    for cell in [Cell::Process, Cell::Thread, Cell::Memory] {
        let _guard = HangGuard::new();
        let marker = Marker::new();
        let options = cell.place(SpawnOptions::new().env(MARKER, marker.text()));
        let panic = catch_unwind(AssertUnwindSafe(|| test(cell, options)));
        marker.gone_within(Duration::ZERO);
        if let Err(panic) = panic {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A host that polls a guest's descriptor, until the guest is done or has come so far.
fn host<T>(guest: &mut Guest<'_, T>, so_far: &Event) -> Option<Result<T>> {
    loop {
        match guest.turn(Duration::ZERO) {
            Progress::Done(result) => return Some(result),
            _ if so_far.is_set() => return None,
            Progress::More => {}
            Progress::Idle => {
                let left = guest.until_next_turn();
                let left = left.map(|left| Timespec::try_from(left).unwrap());
                poll(&mut [PollFd::new(&*guest, PollFlags::IN)], left.as_ref()).unwrap();
            }
        }
    }
}

#[test]
fn guest_starts_actors_and_the_host_ends_it() {
    in_every_kind(|options| {
        let working = Event::new();
        let main = async || asks(options, &working).await;
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert!(host(&mut guest, &working).is_none());
        let result = guest.end(LONG).expect("it ends in order");
        assert!(result.unwrap_err().is_cancelled());
    });
}

#[test]
fn dropped_guest_leaves_no_actor() {
    in_every_kind(|options| {
        let working = Event::new();
        let main = async || asks(options, &working).await;
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert!(host(&mut guest, &working).is_none());
        drop(guest);
    });
}

/// Has an actor of its own, which is at work until it is cancelled.
async fn lead(ctx: &mut Context<Work>, cell: Cell) -> Result<()> {
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new()).enable(work);
        let below = an.start_actor("below", options).await?;
        below
            .open_context(work, (), async |_, ()| {
                ctx.started(()).await?;
                Ok(time::sleep_forever().await?)
            })
            .await
    })
    .await
}
endpoint!(lead);

/// Two actors with one below each, all at work; and lets the report of their ends out.
async fn leads(
    cell: Cell,
    options: SpawnOptions,
    working: &Event,
    report: &OnceCell<TeardownReport>,
) -> Result<()> {
    tractor::nursery(async |an| {
        let _ = report.set(an.teardown_report());
        let options = options.enable(lead).enable(work);
        let a = an.start_actor("a", options.clone()).await?;
        let b = an.start_actor("b", options).await?;
        a.open_context(lead, cell, async |_, ()| {
            b.open_context(lead, cell, async |_, ()| {
                working.set();
                Ok(time::sleep_forever().await?)
            })
            .await
        })
        .await
    })
    .await
}

#[test]
fn dropped_guest_tells_how_its_actors_ended() {
    in_every_cell(|cell, options| {
        let (working, report) = (Event::new(), OnceCell::new());
        let main = async || leads(cell, options, &working, &report).await;
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert!(host(&mut guest, &working).is_none());
        let report = report.get().unwrap();
        assert!(report.actors().is_empty());
        drop(guest);
        let ends = report.actors();
        let names: Vec<_> = ends.iter().map(|end| end.uid().name()).collect();
        assert_eq!(names, ["a", "b"], "{report}");
        for end in &ends {
            let as_it_is = match cell {
                Cell::Process => matches!(end.ending(), Ending::Killed(_)),
                // It ended when its channel did.
                Cell::Thread => end.ending() == Ending::Unreachable,
                _ => matches!(end.ending(), Ending::Abandoned(_)),
            };
            assert!(as_it_is && end.is_complete(), "{report}");
        }
        assert!(!report.is_clean());
    });
}

#[test]
fn ended_guest_tells_how_its_actors_ended() {
    in_every_cell(|cell, options| {
        let (working, report) = (Event::new(), OnceCell::new());
        let main = async || leads(cell, options, &working, &report).await;
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert!(host(&mut guest, &working).is_none());
        assert!(guest.end(LONG).unwrap().unwrap_err().is_cancelled());
        let report = report.get().unwrap();
        assert!(report.is_clean(), "{report}");
        let ends = report.actors();
        let mut names: Vec<_> = ends.iter().map(|end| end.uid().name()).collect();
        // Children before their parents.
        let place = |parent: &str| {
            let is_its = |end: &&tractor::ActorEnd| end.parent().name() == parent;
            let below = ends.iter().position(|end| is_its(&end)).unwrap();
            below
                < ends
                    .iter()
                    .position(|end| end.uid().name() == parent)
                    .unwrap()
        };
        assert!(place("a") && place("b"), "{report}");
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "below", "below"]);
    });
}

/// Set by the actor that is cut off second.
static IS_CUT: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// When it is cut off, holds its thread up until the other one is too, and otherwise says so.
async fn cut_off(ctx: &mut Context<Work>, waits: bool) -> Result<()> {
    ctx.started(()).await?;
    let cut = time::sleep_forever().await;
    let (is_cut, changed) = &IS_CUT;
    let mut is_cut = is_cut.lock().unwrap();
    if waits {
        drop(changed.wait_while(is_cut, |is_cut| !*is_cut));
    } else {
        *is_cut = true;
        changed.notify_all();
    }
    Ok(cut.map(drop)?)
}
endpoint!(cut_off);

/// So that what takes its time takes it once, however many do.
#[test]
fn dropped_guest_cuts_all_its_threads_off_before_it_waits_for_one() {
    let _guard = HangGuard::new();
    let (working, report) = (Event::new(), OnceCell::new());
    let main = async || {
        tractor::nursery(async |an| {
            let _ = report.set(an.teardown_report());
            let options = SpawnOptions::new().in_thread().enable_module("hosts");
            let first = an.start_actor("first", options.clone()).await?;
            let second = an.start_actor("second", options).await?;
            second
                .open_context(cut_off, false, async |_, ()| {
                    first
                        .open_context(cut_off, true, async |_, ()| {
                            working.set();
                            Ok(time::sleep_forever().await?)
                        })
                        .await
                })
                .await
        })
        .await
    };
    let mut guest = RunOptions::new().guest(main).unwrap();
    assert!(host(&mut guest, &working).is_none());
    drop(guest);
    let report = report.get().unwrap();
    let endings: Vec<_> = report.actors().iter().map(|end| end.ending()).collect();
    assert_eq!(endings, [Ending::Unreachable; 2], "{report}");
}

#[test]
fn host_that_blocks_makes_its_actors_late_and_loses_nothing_of_them() {
    in_every_kind(|options| {
        let (working, never) = (Event::new(), Event::new());
        let main = async || {
            tractor::nursery(async |an| {
                let portal = an.start_actor("one", options.enable(double)).await?;
                let sum = nursery(async |n| {
                    let asked: Vec<_> = (0..100)
                        .map(|x| n.start_soon(portal.run(double, x)))
                        .collect();
                    let slept = n.start_soon(async { Ok(time::sleep(SHORT).await?) });
                    time::sleep(Duration::ZERO).await?;
                    working.set();
                    let mut sum = 0;
                    for answer in asked {
                        sum += answer.await?;
                    }
                    slept.await?;
                    Ok(sum)
                })
                .await?;
                an.cancel();
                Ok(sum)
            })
            .await
        };
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert!(host(&mut guest, &working).is_none());
        // Answers and a deadline come while nobody looks.
        thread::sleep(Duration::from_secs(1));
        let sum = host(&mut guest, &never).unwrap().unwrap();
        assert_eq!(sum, (0..100).map(|x| 2 * x).sum());
    });
}

#[test]
fn guest_whose_actors_are_done_gives_its_value() {
    in_every_kind(|options| {
        let never = Event::new();
        let main = async || {
            tractor::nursery(async |an| {
                let portal = an.start_actor("one", options.enable(double)).await?;
                let answer = portal.run(double, 21).await?;
                an.cancel();
                Ok(answer)
            })
            .await
        };
        let mut guest = RunOptions::new().guest(main).unwrap();
        assert_eq!(host(&mut guest, &never).unwrap().unwrap(), 42);
    });
}

#[test]
fn future_starts_actors_and_is_dropped() {
    in_every_kind(|options| {
        let working = Event::new();
        let main = async || asks(options, &working).await;
        let tree = RunOptions::new().run_in(main);
        let executor = async_executor::LocalExecutor::new();
        let task = executor.spawn(tree);
        tractor::runtime::run(async || Ok(())).unwrap();
        futures_lite::future::block_on(executor.run(async {
            while !working.is_set() {
                futures_lite::future::yield_now().await;
            }
            // Waits until the future was dropped.
            assert!(task.cancel().await.is_none());
        }));
    });
}

#[test]
fn guests_in_one_thread_are_roots_of_their_own() {
    let _guard = HangGuard::new();
    let name = async || {
        let name = tractor::current_actor()?.uid().name().to_owned();
        tractor::nursery(async |an| {
            let options = SpawnOptions::new().in_memory().enable(double);
            let portal = an.start_actor("one", options).await?;
            let answer = portal.run(double, 1).await?;
            an.cancel();
            Ok((name, answer))
        })
        .await
    };
    let mut a = RunOptions::new().name("a").guest(name).unwrap();
    let mut b = RunOptions::new().name("b").guest(name).unwrap();
    let (mut a_is, mut b_is) = (None, None);
    while a_is.is_none() || b_is.is_none() {
        turn(&mut a, &mut a_is);
        turn(&mut b, &mut b_is);
    }
    assert_eq!(a_is, Some(("a".into(), 2)));
    assert_eq!(b_is, Some(("b".into(), 2)));
}

/// A turn of a guest that is not done yet.
fn turn<T>(guest: &mut Guest<'_, T>, value: &mut Option<T>) {
    if value.is_none()
        && let Progress::Done(result) = guest.turn(Duration::ZERO)
    {
        *value = Some(result.unwrap());
    }
}
