//! Trees of actors in programs that have a loop of their own.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::{HangGuard, MARKER, Marker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor::runtime::sync::Event;
use tractor::runtime::{Guest, Progress, time};
use tractor::{Context, Dialog, Result, RunOptions, SpawnOptions, endpoint};

const LONG: Duration = Duration::from_secs(3600);

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
    let kinds: [fn(SpawnOptions) -> SpawnOptions; 3] = [
        |options| options,
        SpawnOptions::in_thread,
        SpawnOptions::in_memory,
    ];
    for kind in kinds {
        let _guard = HangGuard::new();
        let marker = Marker::new();
        let options = kind(SpawnOptions::new().env(MARKER, marker.text()));
        let panic = catch_unwind(AssertUnwindSafe(|| test(options)));
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
                let left = guest
                    .next_deadline()
                    .map(|when| when.saturating_duration_since(Instant::now()))
                    .map(|left| Timespec::try_from(left).unwrap());
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
