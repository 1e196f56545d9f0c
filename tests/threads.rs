//! What is particular to an actor on a thread: nobody can kill it, and it has no process of its own
//! to be careless with.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use common::{HangGuard, MARKER, Marker, arm, explosive, tree};
use rustix::process::{Pid, Signal, getpid, kill_process};
use tractor::runtime::{checkpoint, nursery, sync::Event, time};
use tractor::{ActorDied, PeerLost, Result, SpawnOptions, endpoint};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

async fn process_id((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(process_id);

/// What sticks until it is let go, by its name.
#[derive(Default)]
struct Gates {
    open: Mutex<Vec<String>>,
    opened: Condvar,
}

impl Gates {
    fn all() -> &'static Self {
        static GATES: OnceLock<Gates> = OnceLock::new();
        GATES.get_or_init(Self::default)
    }

    fn open(&self, name: &str) {
        self.open.lock().unwrap().push(name.into());
        self.opened.notify_all();
    }

    fn pass(&self, name: &str) {
        let open = self.open.lock().unwrap();
        let closed = |open: &mut Vec<String>| !open.iter().any(|other| other == name);
        drop(self.opened.wait_while(open, closed).unwrap());
    }
}

/// Does not come back to its executor before the gate is opened.
async fn stick(gate: String) -> Result<()> {
    Gates::all().pass(&gate);
    Ok(())
}
endpoint!(stick);

/// Starts a process that sleeps, and sleeps.
async fn have_a_child(marker: String) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new()
            .env_remove(ROLE)
            .env(MARKER, marker)
            .enable_module("threads");
        let portal = an.start_actor("process", options).await?;
        portal.run(sleep, ()).await
    })
    .await
}
endpoint!(have_a_child);

fn in_thread() -> SpawnOptions {
    SpawnOptions::new()
        .in_thread()
        .enable_module("threads")
        .grace(Duration::from_millis(50))
}

/// Whether a thread of this process has the name.
fn is_there(name: &str) -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| thread.unwrap().path().join("comm"))
        .any(|file| fs::read_to_string(file).is_ok_and(|comm| comm.trim_end() == name))
}

#[test]
fn actor_is_in_this_process() {
    tree(async |_| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("in-here", in_thread()).await?;
            assert!(is_there("in-here"));
            assert_eq!(portal.run(process_id, ()).await?, std::process::id());
            an.cancel();
            Ok(())
        })
        .await?;
        assert!(!is_there("in-here"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn panic_of_the_runtime_is_the_end_of_the_actor_alone() {
    arm();
    let error = tree(async |_| {
        tractor::nursery(async |outer| {
            let other = outer.start_actor("other", in_thread()).await?;
            let result = tractor::nursery(async |an| {
                let portal = an.start_actor("actor", in_thread()).await?;
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
    assert!(lost.to_string().contains("it went off"), "{lost}");
}

#[test]
fn stuck_thread_is_waited_for() {
    let opened = Arc::new(AtomicBool::new(false));
    tree(async |_| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", in_thread()).await?;
            let result = nursery(async |n| {
                n.start_soon(portal.run(stick, "waited for".into()));
                time::sleep(Duration::from_millis(50)).await?;
                an.cancel();
                let opened = opened.clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(300));
                    opened.store(true, Ordering::SeqCst);
                    Gates::all().open("waited for");
                });
                Ok(())
            })
            .await;
            assert!(result.is_err() || opened.load(Ordering::SeqCst));
            Ok(())
        })
        .await?;
        assert!(opened.load(Ordering::SeqCst), "it was not waited for");
        Ok(())
    })
    .unwrap();
}

#[test]
fn stuck_thread_is_abandoned_after_its_limit() {
    let limit = Duration::from_millis(200);
    let start = Instant::now();
    tree(async |_| {
        tractor::nursery(async |an| {
            let options = in_thread().abandon_after(limit);
            let portal = an.start_actor("stuck", options).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let error = portal.run(stick, "abandoned".into()).await.unwrap_err();
                    let lost: &PeerLost = error.downcast_ref().expect("it is lost");
                    assert!(lost.to_string().contains("abandoned"), "{lost}");
                    Ok(())
                });
                time::sleep(Duration::from_millis(50)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await?;
        assert!(is_there("stuck"));
        Ok(())
    })
    .unwrap();
    let took = start.elapsed();
    assert!(took >= limit, "{took:?}");
    assert!(took < limit + Duration::from_secs(5), "{took:?}");
    Gates::all().open("abandoned");
    // It was cut off, which ends it.
    while is_there("stuck") {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nursery_that_is_dropped_joins_its_threads() {
    tree(async |_| {
        let up = Event::new();
        let nursery = tractor::nursery(async |an| {
            let portal = an.start_actor("dropped", in_thread()).await?;
            up.set();
            portal.run(sleep, ()).await
        });
        let wait = async { Ok(up.wait().await?) };
        futures_lite::future::or(wait, nursery).await?;
        assert!(!is_there("dropped"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn processes_of_a_thread_go_with_it() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Cancelled,
        Dropped,
        Panicked,
    }
    arm();
    for end in [End::Cancelled, End::Dropped, End::Panicked] {
        let marker = Marker::new();
        let result = tree(async |_| {
            let ended = Event::new();
            let actors = tractor::nursery(async |an| {
                let portal = an.start_actor("actor", in_thread()).await?;
                nursery(async |n| {
                    n.start_soon(portal.run(have_a_child, marker.text().into()));
                    while marker.processes().is_empty() {
                        time::sleep(Duration::from_millis(5)).await?;
                    }
                    match end {
                        End::Cancelled => an.cancel(),
                        End::Dropped => ended.set(),
                        End::Panicked => portal.run(explosive, ()).await?,
                    }
                    Ok(time::sleep_forever().await?)
                })
                .await
            });
            let ended = async { Ok(ended.wait().await?) };
            futures_lite::future::or(ended, actors).await
        });
        assert_eq!(result.is_err(), end != End::Dropped, "{end:?}");
        // Reaped before the thread had ended.
        assert_eq!(marker.processes(), [], "{end:?}");
    }
}

/// The variable that makes this program play a role.
const ROLE: &str = "TRACTOR_TEST_ROLE";

/// In a process that a test here started this does what that is to do; otherwise nothing.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let code = match &*role {
        "says what it waits for" => {
            log::set_logger(&OPENER).unwrap();
            log::set_max_level(log::LevelFilter::Warn);
            stuck().unwrap();
            0
        }
        "interrupted twice" => {
            thread::spawn(|| {
                for _ in 0..2 {
                    thread::sleep(Duration::from_millis(300));
                    kill_process(getpid(), Signal::INT).unwrap();
                }
            });
            tractor::exit_code(&stuck().unwrap_err()).into()
        }
        "touches nothing" => {
            let before = of_the_process();
            let options = tractor::RunOptions::new()
                .sigint(false)
                .sigterm(false)
                .sighup(false)
                .sigusr1(false);
            let result = options.run(async || {
                tractor::nursery(async |an| {
                    let options = in_thread().log_level(log::LevelFilter::Trace);
                    let portal = an.start_actor("actor", options).await?;
                    assert_eq!(portal.run(double, 1).await?, 2);
                    assert_eq!(of_the_process(), before);
                    an.cancel();
                    Ok(())
                })
                .await
            });
            result.unwrap();
            assert_eq!(of_the_process(), before);
            0
        }
        marker => {
            let marker = marker.to_owned();
            let result = tractor::run(async || {
                tractor::nursery(async |an| {
                    let portal = an.start_actor("actor", in_thread()).await?;
                    portal.run(have_a_child, marker).await
                })
                .await
            });
            panic!("it is killed before {result:?}");
        }
    };
    std::process::exit(code);
}

/// A tree of which a part is stuck while it is cancelled.
fn stuck() -> Result<()> {
    tractor::run(async || {
        tractor::nursery(async |an| {
            let portal = an.start_actor("stuck-thread", in_thread()).await?;
            nursery(async |n| {
                n.start_soon(async {
                    // What comes of it is not of interest here.
                    let _ = portal.run(stick, "role".into()).await;
                    Ok(())
                });
                time::sleep(Duration::from_millis(50)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await?;
        Ok(checkpoint().await?)
    })
}

/// What all of a process has one of.
fn of_the_process() -> (Vec<String>, std::path::PathBuf, log::LevelFilter) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let is_handling = |line: &&str| line.starts_with("SigIgn:") || line.starts_with("SigCgt:");
    let signals = status.lines().filter(is_handling);
    (
        signals.map(Into::into).collect(),
        fs::read_link("/proc/self/fd/0").unwrap(),
        log::max_level(),
    )
}

/// A logger that lets the stuck thread go when it is said what is waited for.
struct Opener;
static OPENER: Opener = Opener;

impl log::Log for Opener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if record.target() == "tractor::spawn" && text.contains("waiting for stuck-thread@") {
            Gates::all().open("role");
        }
    }

    fn flush(&self) {}
}

fn play(role: &str, marker: &Marker) -> Command {
    let mut program = common::this_program();
    program
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(ROLE, role)
        .env(MARKER, marker.text())
        .stdin(Stdio::null());
    program
}

fn played(role: &str) -> ExitStatus {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let output = play(role, &marker).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() != Some(101), "{role}: {text}");
    assert_eq!(marker.processes(), []);
    output.status
}

#[test]
fn nursery_says_what_it_waits_for() {
    assert_eq!(played("says what it waits for").code(), Some(0));
}

#[test]
fn second_interrupt_abandons_what_is_stuck() {
    assert_eq!(played("interrupted twice").code(), Some(130));
}

#[test]
fn nothing_of_the_process_is_touched() {
    assert_eq!(played("touches nothing").code(), Some(0));
}

#[test]
fn killed_process_takes_those_of_its_threads_along() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let mut root = play(marker.text(), &marker)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    marker.wait_for(2);
    kill_process(Pid::from_child(&root), Signal::KILL).unwrap();
    assert_eq!(root.wait().unwrap().signal(), Some(9));
    // Promised is a second.
    marker.gone_within(Duration::from_secs(6));
}
