//! Actors that are asked to end while they start, many at once, and runs beside each other.

mod common;

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use common::{HangGuard, MARKER, Marker, tree};
use rustix::process::{Pid, Signal, kill_process};
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    ActorDied, Context, Dialog, Error, MsgStream, PeerLost, Portal, Result, SpawnError,
    SpawnFailure, SpawnOptions, StreamClosed, endpoint,
};

async fn pid((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(pid);

async fn double(x: u64) -> Result<u64> {
    match x {
        13 => Err(Error::msg("unlucky")),
        _ => Ok(2 * x),
    }
}
endpoint!(double);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

async fn leave(status: i32) -> Result<()> {
    std::process::exit(status)
}
endpoint!(leave);

/// Has a child of its own exit.
async fn child_leaves(status: i32) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable_module("starts");
        let portal = an.start_actor("below", options).await?;
        portal.run(leave, status).await
    })
    .await
}
endpoint!(child_leaves);

/// What the standard input of an actor is, and how many descriptors it has beyond the first three.
async fn descriptors((): ()) -> Result<(String, Vec<String>)> {
    let target = |fd: &str| {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        link.map(|path| path.display().to_string())
            .unwrap_or_default()
    };
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let to = target(&name);
        // One is the directory that is being read.
        if !["0", "1", "2"].contains(&&*name) && !to.starts_with("/proc/") {
            others.push(to);
        }
    }
    others.sort();
    Ok((target("0"), others))
}
endpoint!(descriptors);

struct Items;
impl Dialog for Items {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

async fn items(ctx: &mut Context<Items>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let _stream = ctx.open_stream()?;
    sleep(()).await
}
endpoint!(items);

fn options(options: SpawnOptions) -> SpawnOptions {
    options.enable_module("starts")
}

#[test]
fn actors_are_asked_to_end_while_they_start() {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        // If they had to be ended by force, that would take longer than the guard waits.
        let options = options(marked)
            .env(MARKER, marker.text())
            .grace(Duration::from_secs(1000));
        tractor::nursery(async |an| {
            nursery(async |n| {
                for _ in 0..5 {
                    n.start_soon(async {
                        // It may be there before it ends, or not.
                        let _ = an.start_actor("actor", options.clone()).await;
                        Ok(())
                    });
                }
                while marker.processes().len() < 5 {
                    time::sleep(Duration::from_micros(100)).await?;
                }
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
    assert_eq!(marker.processes(), []);
}

#[test]
fn program_that_never_answers_is_asked_to_end() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = marked
                .program("sleep", ["1000"])
                .handshake_limit(Duration::from_secs(1000))
                .grace(Duration::from_millis(50));
            nursery(async |n| {
                let options = options.clone();
                n.start_soon(async {
                    let error = an.start_actor("actor", options).await.unwrap_err();
                    let failed: &SpawnError = error.downcast_ref().expect("its own");
                    assert!(matches!(failed.failure(), SpawnFailure::Asked), "{error}");
                    Ok(())
                });
                time::sleep(Duration::from_millis(20)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
}

#[test]
fn many_starts_are_cancelled_at_any_moment() {
    for delay in [0, 3, 10, 30, 60, 120] {
        tree(async |marked: SpawnOptions| {
            let options = options(marked);
            let starts = tractor::nursery(async |an| {
                nursery(async |n| {
                    for number in 0..20 {
                        let options = options.clone();
                        n.start_soon(async move {
                            let name = format!("actor {number}");
                            let portal = an.start_actor(&name, options).await?;
                            portal.run(sleep, ()).await
                        });
                    }
                    Ok(())
                })
                .await
            });
            let outcome = move_on_after(Duration::from_millis(delay), starts).await?;
            assert!(outcome.timed_out());
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn fifty_actors_at_once() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options(marked);
            nursery(async |n| {
                for number in 0..50 {
                    let options = options.clone();
                    n.start_soon(async move {
                        let portal = an.start_actor("actor", options).await?;
                        assert_eq!(portal.run(double, number + 100).await?, 2 * number + 200);
                        Ok(())
                    });
                }
                Ok(())
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
fn one_of_many_calls_fails() {
    let error = tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            let failed = nursery(async |n| {
                for number in 0..30 {
                    let portal = &portal;
                    n.start_soon(async move {
                        portal.run(double, number).await?;
                        portal.run(sleep, ()).await
                    });
                }
                Ok(())
            })
            .await;
            // The others were cancelled, and nobody is the worse for it.
            assert_eq!(portal.run(double, 4).await?, 8);
            an.cancel();
            Ok(failed.unwrap_err())
        })
        .await
    })
    .unwrap();
    assert_eq!(error.leaves().count(), 1, "{error:?}");
    assert!(error.to_string().contains("unlucky"), "{error:?}");
}

#[test]
fn hundred_contexts_are_cancelled_at_once() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            for _ in 0..3 {
                let contexts = nursery(async |n| {
                    for _ in 0..100 {
                        n.start_soon::<()>(portal.open_context(items, (), async |ctx, ()| {
                            let stream = ctx.open_stream()?;
                            loop {
                                stream.send(&1).await?;
                            }
                        }));
                        n.start_soon(portal.run(sleep, ()));
                    }
                    Ok(())
                });
                let outcome = move_on_after(Duration::from_millis(100), contexts).await?;
                assert!(outcome.timed_out());
                assert_eq!(portal.run(double, 4).await?, 8);
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn child_of_a_child_exits() {
    for status in [0, 7] {
        let error = tree(async |marked: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("middle", options(marked)).await?;
                let error = portal.run(child_leaves, status).await.unwrap_err();
                // The actor between lives on.
                assert_eq!(portal.run(double, 4).await?, 8);
                an.cancel();
                Ok(error)
            })
            .await
        })
        .unwrap();
        assert!(error.to_string().contains("below"), "{error}");
    }
}

#[test]
fn child_exits_with_zero_though_nobody_asked() {
    let error = tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            portal.run(leave, 0).await
        })
        .await
    })
    .unwrap_err();
    let died: &ActorDied = error.downcast_ref().expect("it died");
    assert_eq!(died.status().and_then(|status| status.code()), Some(0));
    assert!(error.is::<PeerLost>(), "{error:?}");
}

/// It died of itself, though the body asks for its end when it is told of that.
#[test]
fn asked_to_end_after_it_had_died() {
    let error = tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            portal.run(leave, 3).await.unwrap_err();
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap_err();
    let died: &ActorDied = error.downcast_ref().expect("it died");
    assert_eq!(died.status().and_then(|status| status.code()), Some(3));
}

#[test]
fn standard_input_and_descriptors_of_children() {
    tree(async |marked: SpawnOptions| {
        // What the program has open itself is not theirs.
        let _file = std::fs::File::open("/proc/self/exe")?;
        let _pair = std::os::unix::net::UnixStream::pair()?;
        tractor::nursery(async |an| {
            let mut counts = Vec::new();
            for _ in 0..4 {
                let portal = an.start_actor("actor", options(marked.clone())).await?;
                let (input, others) = portal.run(descriptors, ()).await?;
                assert_eq!(input, "/dev/null");
                counts.push(others.iter().map(|to| kind(to)).collect::<Vec<_>>());
            }
            // A later child has no more than the first.
            for count in &counts {
                assert_eq!(*count, counts[0]);
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

/// `socket:[123]` without the number.
fn kind(target: &str) -> String {
    target.split(['[', '(']).next().unwrap_or(target).to_owned()
}

#[test]
fn portal_and_stream_outlive_their_actor_and_their_run() {
    let kept: RefCell<Option<(Portal, MsgStream<u32, u32>)>> = RefCell::default();
    let used = async || -> Result<()> {
        let (portal, stream) = kept.take().expect("it was kept");
        assert!(!portal.is_connected());
        assert!(portal.run(double, 4).await.unwrap_err().is::<PeerLost>());
        assert!(!portal.cancel_actor().await);
        let opened = portal.open_context(items, (), async |_, ()| Ok(())).await;
        assert!(opened.unwrap_err().is::<PeerLost>());
        assert!(stream.send(&1).await.is_err());
        assert!(stream.receive().await.is_ok_and(|item| item.is_none()));
        kept.replace(Some((portal, stream)));
        Ok(())
    };
    for inside in [true, false] {
        tree(async |marked: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("actor", options(marked)).await?;
                let body = portal.open_context(items, (), async |ctx, ()| {
                    let stream = ctx.open_stream()?;
                    ctx.cancel().await;
                    Ok(stream)
                });
                let stream = body.await?;
                let error = stream.send(&1).await.unwrap_err();
                assert!(error.is::<StreamClosed>(), "{error:?}");
                an.cancel();
                kept.replace(Some((portal, stream)));
                Ok(())
            })
            .await?;
            match inside {
                true => used().await,
                false => Ok(()),
            }
        })
        .unwrap();
        if !inside {
            // In another one, on the same thread.
            tractor::run(async || used().await).unwrap();
        }
        // And dropped in none.
        kept.take();
    }
}

#[test]
fn runs_after_each_other_and_on_several_threads() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let one = || {
        tractor::run(async || {
            tractor::nursery(async |an| {
                let options = options(SpawnOptions::new()).env(MARKER, marker.text());
                let portal = an.start_actor("actor", options).await?;
                assert_eq!(portal.run(double, 4).await?, 8);
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    };
    one();
    one();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                one();
                one();
            });
        }
    });
    assert_eq!(marker.processes(), []);
}

#[test]
fn variable_set_by_hand() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            // What it is set to here is not what children get.
            let options = options(marked).env("TRACTOR_ACTOR", "1");
            let portal = an.start_actor("actor", options).await?;
            assert_eq!(portal.run(double, 4).await?, 8);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn child_is_killed_or_stopped_while_it_starts() {
    for signal in [Signal::KILL, Signal::TERM, Signal::STOP] {
        let marker = Marker::new();
        tree(async |marked: SpawnOptions| {
            let options = options(marked)
                .env(MARKER, marker.text())
                .handshake_limit(Duration::from_millis(500));
            tractor::nursery(async |an| {
                nursery(async |n| {
                    n.start_soon(async {
                        let started = an.start_actor("actor", options).await;
                        let Err(error) = started else {
                            // It was faster than the signal.
                            return Ok(());
                        };
                        let failed: &SpawnError = error.downcast_ref().expect("its own");
                        match (signal, failed.failure()) {
                            (Signal::STOP, SpawnFailure::TimedOut(_)) => {}
                            (_, SpawnFailure::Exited(Some(_))) => {}
                            (_, other) => panic!("{signal:?}: {other:?}"),
                        }
                        Ok(())
                    });
                    let child = loop {
                        if let Some(&child) = marker.processes().first() {
                            break child;
                        }
                        time::sleep(Duration::from_micros(100)).await?;
                    };
                    let child = Pid::from_raw(child as i32).expect("a process");
                    let _ = kill_process(child, signal);
                    Ok(())
                })
                .await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .or_else(|error| match error.is::<ActorDied>() {
            true => Ok(()),
            false => Err(error),
        })
        .unwrap();
        assert_eq!(marker.processes(), []);
    }
}

/// How many descriptors and threads this process has.
fn open_here() -> (usize, usize) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

const CROWD: &str = "TRACTOR_TEST_CROWD";

/// In a process of its own, for it counts what is in it.
#[test]
fn plays_its_role() {
    let Ok(marker) = std::env::var(CROWD) else {
        return;
    };
    let _guard = HangGuard::new();
    let crowd = |count: u64, options: SpawnOptions| {
        tractor::run(async || {
            tractor::nursery(async |an| {
                nursery(async |n| {
                    for number in 0..count {
                        let options = options.clone();
                        n.start_soon(async move {
                            let portal = an.start_actor("one of many", options).await?;
                            assert_eq!(portal.run(double, number + 100).await?, 2 * number + 200);
                            Ok(())
                        });
                    }
                    Ok(())
                })
                .await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    };
    let options = options(SpawnOptions::new())
        .env_remove(CROWD)
        .env(MARKER, marker)
        .handshake_limit(Duration::from_secs(60))
        .grace(Duration::from_secs(60));
    // What is there once a process is there after the first of them.
    crowd(1, options.clone());
    crowd(1, options.clone().in_thread());
    let before = open_here();
    crowd(500, options.clone().in_thread());
    assert_eq!(open_here(), before, "after 500 threads");
    crowd(100, options);
    assert_eq!(open_here(), before, "after 100 processes");
    std::process::exit(0);
}

#[test]
fn five_hundred_threads_and_a_hundred_processes_leave_no_descriptor_and_no_thread() {
    let marker = Marker::new();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(CROWD, marker.text())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(marker.processes(), []);
}
