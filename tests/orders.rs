//! Supervision and teardown that come in an order which nobody would choose.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use common::{MARKER, Marker, tree};
use futures_lite::future::or;
use rustix::process::{Pid, Signal, kill_process};
use tractor::runtime::{move_on_after, nursery, sync::Event, time};
use tractor::{
    ActorDied, ActorNursery, DaemonOver, Portal, Restart, Result, SpawnError, SpawnFailure,
    SpawnOptions, endpoint,
};

/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(1000);

async fn pid((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(pid);

async fn leave(status: i32) -> Result<()> {
    std::process::exit(status)
}
endpoint!(leave);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

/// Does not come back to its runtime, and ignores what may be ignored.
async fn stubborn((): ()) -> Result<()> {
    let flag = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    write("it sticks")?;
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
endpoint!(stubborn);

/// Starts actors one after the other, for as long as it is let.
async fn keep_starting((): ()) -> Result<()> {
    loop {
        tractor::nursery(async |an| {
            an.start_actor("below", SpawnOptions::new()).await?;
            an.cancel();
            Ok(())
        })
        .await?;
    }
}
endpoint!(keep_starting);

/// Has a child, and says which process that is.
async fn have_a_child((): ()) -> Result<()> {
    tractor::nursery(async |an| {
        let options = options(SpawnOptions::new());
        let portal = an.start_actor("below", options.env_remove(FILE)).await?;
        let child = portal.run(pid, ()).await?;
        write(&child.to_string())?;
        sleep(()).await
    })
    .await
}
endpoint!(have_a_child);

/// Where a process is told to write.
const FILE: &str = "TRACTOR_TEST_FILE";

/// Writes it there, all at once.
fn write(text: &str) -> Result<()> {
    let file = env::var(FILE)?;
    let part = format!("{file}.part");
    fs::write(&part, text)?;
    Ok(fs::rename(part, file)?)
}

fn options(options: SpawnOptions) -> SpawnOptions {
    options.enable_module("orders")
}

/// A program that never becomes an actor.
fn mute(options: SpawnOptions) -> SpawnOptions {
    options.program("sleep", ["1000"]).handshake_limit(FOREVER)
}

/// What is written to a file, as soon as it is.
async fn written(file: &std::path::Path) -> Result<String> {
    loop {
        match fs::read_to_string(file) {
            Ok(text) => {
                fs::remove_file(file)?;
                return Ok(text);
            }
            Err(_) => time::sleep(Duration::from_millis(2)).await?,
        }
    }
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

async fn is_there(marker: &Marker) -> Result<()> {
    while marker.processes().is_empty() {
        time::sleep(Duration::from_micros(100)).await?;
    }
    Ok(())
}

/// Starts what never answers, has `then` happen meanwhile, and gives the failure. Nothing is left,
/// and it did not wait for the grace.
fn started_in_vain(then: impl AsyncFnOnce(&ActorNursery)) -> tractor::Error {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        let options = mute(marked).env(MARKER, marker.text()).grace(FOREVER);
        tractor::nursery(async |an| {
            nursery(async |n| {
                let start = n.start_soon(async {
                    let started = an.start_actor("mute", options).await;
                    let error = started.map(|portal| portal.uid().clone()).unwrap_err();
                    assert_eq!(marker.processes(), []);
                    Ok(error)
                });
                is_there(&marker).await?;
                then(an).await;
                start.await
            })
            .await
        })
        .await
    })
    .unwrap()
}

#[test]
fn nursery_has_no_time_for_a_child_that_boots() {
    let error = started_in_vain(async |an| an.cancel_within(Duration::ZERO));
    let failed: &SpawnError = error.downcast_ref().unwrap();
    assert!(matches!(failed.failure(), SpawnFailure::Asked), "{error}");
}

/// It was asked to end in its time first, and then in less.
#[test]
fn nursery_loses_patience_with_a_child_that_boots() {
    let error = started_in_vain(async |an| {
        an.cancel();
        let _ = time::sleep(Duration::from_millis(20)).await;
        an.cancel_within(Duration::from_millis(20));
        an.cancel_within(FOREVER);
    });
    let failed: &SpawnError = error.downcast_ref().unwrap();
    assert!(matches!(failed.failure(), SpawnFailure::Asked), "{error}");
}

#[test]
fn child_that_boots_is_killed_after_it_was_asked_to_end() {
    let marker = Marker::new();
    let error = tree(async |marked: SpawnOptions| {
        let options = mute(marked).env(MARKER, marker.text()).grace(FOREVER);
        tractor::nursery(async |an| {
            nursery(async |n| {
                let start = n.start_soon(async {
                    let started = an.start_actor("mute", options).await;
                    Ok(started.map(|portal| portal.uid().clone()).unwrap_err())
                });
                is_there(&marker).await?;
                an.cancel();
                kill(marker.processes()[0], Signal::KILL);
                start.await
            })
            .await
        })
        .await
    })
    .unwrap();
    let failed: &SpawnError = error.downcast_ref().unwrap();
    assert!(
        matches!(failed.failure(), SpawnFailure::Exited(Some(_))),
        "{error}"
    );
    assert_eq!(marker.processes(), []);
}

#[test]
fn body_fails_or_panics_while_a_child_boots() {
    for panics in [false, true] {
        let marker = Marker::new();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            tree(async |marked: SpawnOptions| {
                let options = mute(marked).env(MARKER, marker.text()).grace(FOREVER);
                tractor::nursery(async |an| {
                    let start = async { an.start_actor("mute", options).await.map(drop) };
                    let fails = async {
                        is_there(&marker).await?;
                        assert!(!panics, "the body panics");
                        Err(tractor::Error::msg("the body fails"))
                    };
                    or(start, fails).await
                })
                .await
            })
        }));
        assert_eq!(marker.processes(), []);
        match ended {
            Ok(result) => assert_eq!(result.unwrap_err().to_string(), "the body fails"),
            Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"the body panics")),
        }
    }
}

#[test]
fn nursery_is_dropped_while_a_child_boots() {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        let options = mute(marked).env(MARKER, marker.text());
        let nursery = tractor::nursery(async |an| {
            an.start_actor("mute", options).await?;
            Ok(())
        });
        or(nursery, is_there(&marker)).await?;
        // Reaped before the drop returned.
        assert_eq!(marker.processes(), []);
        Ok(())
    })
    .unwrap();
}

#[test]
fn nursery_is_dropped_while_a_child_is_ending() {
    let marker = Marker::new();
    let file = env::temp_dir().join(format!("tractor-{}-orders", marker.text()));
    tree(async |marked: SpawnOptions| {
        let options = options(marked).env(MARKER, marker.text()).env(FILE, &file);
        let asked = Event::new();
        let nursery = tractor::nursery(async |an| {
            let portal = an.start_actor("stuck", options.grace(FOREVER)).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let _ = portal.run(stubborn, ()).await;
                    Ok(())
                });
                written(&file).await?;
                an.cancel();
                asked.set();
                Ok(())
            })
            .await
        });
        let wait = async { Ok(asked.wait().await?) };
        or(nursery, wait).await?;
        assert_eq!(marker.processes(), []);
        Ok(())
    })
    .unwrap();
}

#[test]
fn body_panics_while_a_child_ignores_what_may_be_ignored() {
    let marker = Marker::new();
    let file = env::temp_dir().join(format!("tractor-{}-orders", marker.text()));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        tree(async |marked: SpawnOptions| {
            let options = options(marked)
                .env(MARKER, marker.text())
                .env(FILE, &file)
                .grace(Duration::from_millis(20))
                .term_grace(Duration::from_millis(20));
            tractor::nursery(async |an| {
                let portal = an.start_actor("stubborn", options).await?;
                nursery(async |n| {
                    n.start_soon(portal.run(stubborn, ()));
                    written(&file).await?;
                    panic!("the body panics");
                })
                .await
            })
            .await
        })
    }));
    let panic = ended.map(|result: Result<()>| result).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the body panics"));
    assert_eq!(marker.processes(), []);
}

/// At any moment of the start of those below.
#[test]
fn actor_is_cancelled_while_it_starts_others() {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        for round in 0..20 {
            let options = options(marked.clone()).env(MARKER, marker.text());
            tractor::nursery(async |an| {
                let portal = an.start_actor("middle", options).await?;
                nursery(async |n| {
                    n.start_soon(async {
                        let _ = portal.run(keep_starting, ()).await;
                        Ok(())
                    });
                    while marker.processes().len() < 2 {
                        time::sleep(Duration::from_micros(50)).await?;
                    }
                    time::sleep(Duration::from_micros(fastrand::u64(0..4000))).await?;
                    match round % 3 {
                        0 => an.cancel(),
                        1 => assert!(portal.cancel_actor().await),
                        _ => n.cancel(),
                    }
                    Ok(())
                })
                .await?;
                an.cancel();
                Ok(())
            })
            .await?;
            assert_eq!(marker.processes(), []);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn actor_is_cancelled_again_and_again() {
    tree(async |marked: SpawnOptions| {
        let mut asked: Option<Portal> = None;
        let report = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            asked = Some(portal.clone());
            an.cancel();
            // It has been asked, and is there: it says so each time, or is gone by then.
            let again = nursery(async |n| {
                for _ in 0..3 {
                    n.start_soon(async {
                        portal.cancel_actor().await;
                        Ok(())
                    });
                }
                Ok(())
            });
            again.await?;
            an.cancel_within(Duration::from_secs(5));
            Ok(an.teardown_report())
        })
        .await?;
        let start = Instant::now();
        let portal = asked.unwrap();
        assert!(!portal.cancel_actor().await, "there is nobody to say it");
        assert!(
            start.elapsed() < Duration::from_millis(500),
            "nor is it waited for"
        );
        assert_eq!(report.actors().len(), 1, "{report}");
        assert!(
            matches!(report.actors()[0].ending(), tractor::Ending::Acked),
            "{report}"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn child_is_killed_while_it_is_ending() {
    let marker = Marker::new();
    let file = env::temp_dir().join(format!("tractor-{}-orders", marker.text()));
    tree(async |marked: SpawnOptions| {
        let options = options(marked).env(MARKER, marker.text()).env(FILE, &file);
        tractor::nursery(async |an| {
            let portal = an.start_actor("stuck", options.grace(FOREVER)).await?;
            let pid = portal.run(pid, ()).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let _ = portal.run(stubborn, ()).await;
                    Ok(())
                });
                written(&file).await?;
                an.cancel();
                time::sleep(Duration::from_millis(10)).await?;
                kill(pid, Signal::KILL);
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
}

#[test]
fn nursery_is_cancelled_while_a_daemon_starts_again() {
    for patient in [true, false] {
        let marker = Marker::new();
        tree(async |marked: SpawnOptions| {
            let options = options(marked).env(MARKER, marker.text());
            tractor::nursery(async |an| {
                let daemon = an
                    .start_daemon("daemon", options, Restart::always())
                    .await?;
                let first = marker.processes();
                let _ = daemon.portal().await?.run(leave, 3).await;
                // There is another one, at any point of its start.
                while marker.processes() == first || marker.processes().is_empty() {
                    time::sleep(Duration::from_micros(50)).await?;
                }
                match patient {
                    true => an.cancel(),
                    false => an.cancel_within(Duration::ZERO),
                }
                let error = daemon.portal().await.unwrap_err();
                assert!(error.is::<DaemonOver>(), "{error:?}");
                assert_eq!(daemon.restarts(), 1);
                Ok(())
            })
            .await
        })
        .unwrap();
        assert_eq!(marker.processes(), []);
    }
}

#[test]
fn scope_of_a_nursery_ends_while_a_daemon_waits_to_be_started_again() {
    tree(async |marked: SpawnOptions| {
        let restart = Restart::always().delay(FOREVER);
        let outcome = move_on_after(
            Duration::from_millis(500),
            tractor::nursery(async |an| {
                let daemon = an.start_daemon("daemon", options(marked), restart).await?;
                let _ = daemon.portal().await?.run(leave, 3).await;
                daemon.portal().await?;
                Ok(())
            }),
        )
        .await?;
        assert!(outcome.timed_out());
        Ok(())
    })
    .unwrap();
}

/// A process that is stopped sees the end of nothing. Whoever is above it is killed, or asked to end.
#[test]
fn actor_below_is_stopped_when_the_one_above_it_ends() {
    for killed in [true, false] {
        let marker = Marker::new();
        let file = env::temp_dir().join(format!("tractor-{}-orders", marker.text()));
        let result = tree(async |marked: SpawnOptions| {
            let options = options(marked)
                .env(MARKER, marker.text())
                .env(FILE, &file)
                .orphan_grace(Duration::from_millis(200));
            tractor::nursery(async |an| {
                let portal = an.start_actor("middle", options).await?;
                let middle = portal.run(pid, ()).await?;
                nursery(async |n| {
                    n.start_soon(async {
                        let _ = portal.run(have_a_child, ()).await;
                        Ok(())
                    });
                    let below = written(&file).await?.parse()?;
                    kill(below, Signal::STOP);
                    match killed {
                        true => kill(middle, Signal::KILL),
                        false => an.cancel(),
                    }
                    Ok(())
                })
                .await
            })
            .await
        });
        match result {
            Ok(()) => assert!(!killed),
            Err(error) => assert!(killed && error.is::<ActorDied>(), "{error:?}"),
        }
        assert_eq!(marker.processes(), [], "killed: {killed}");
    }
}

/// It is killed before anybody has looked at what it said.
#[test]
fn child_dies_in_the_turn_in_which_it_is_asked_to_end() {
    for asked_first in [true, false] {
        tree(async |marked: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("actor", options(marked)).await?;
                let pid = portal.run(pid, ()).await?;
                if asked_first {
                    an.cancel();
                }
                kill(pid, Signal::KILL);
                if !asked_first {
                    // Nobody has heard of the death yet.
                    an.cancel();
                }
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

#[test]
fn nursery_within_a_child_of_a_nursery_is_cancelled_from_both_ends() {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        let options = options(marked).env(MARKER, marker.text());
        for _ in 0..10 {
            let options = options.clone();
            let outcome = move_on_after(
                Duration::from_millis(fastrand::u64(1..60)),
                tractor::nursery(async |outer| {
                    outer.start_actor("outer", options.clone()).await?;
                    let inner = tractor::nursery(async |inner| {
                        inner.start_actor("inner", options).await?;
                        outer.cancel();
                        inner.cancel_within(Duration::from_secs(5));
                        Ok(())
                    });
                    inner.await
                }),
            )
            .await?;
            // It was done, or cut short at any point.
            assert!(outcome.timed_out() || outcome.completed().is_some());
            assert_eq!(marker.processes(), []);
        }
        Ok(())
    })
    .unwrap();
}
