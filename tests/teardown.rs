//! How actors end: asked, by force, and when their parent is gone.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use common::{Cell, HangGuard, MARKER, Marker, in_every_cell, tree, tree_of};
use rustix::process::{Pid, Signal, kill_process};
use tractor::runtime::{move_on_after, nursery, shield, sync::Event, time};
use tractor::{ActorDied, CancelKind, Error, Portal, Result, SpawnOptions, endpoint, exit_code};

async fn pid((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(pid);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

/// Does not come back to its runtime.
async fn stick((): ()) -> Result<()> {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
endpoint!(stick);

/// Does not let itself be cancelled.
async fn shielded((): ()) -> Result<()> {
    Ok(shield(time::sleep_forever()).await?)
}
endpoint!(shielded);

/// Sticks, and ignores what may be ignored.
async fn stubborn((): ()) -> Result<()> {
    let flag = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    stick(()).await
}
endpoint!(stubborn);

/// Starts a program that is no actor and outlives the call.
async fn litter(marker: String) -> Result<()> {
    let _left = Command::new("sleep")
        .arg("1000")
        .env(MARKER, marker)
        .spawn()?;
    Ok(())
}
endpoint!(litter);

/// A chain of actors, so many below this one, that all do the same in the end.
async fn chain((cell, depth, then): (Cell, u32, String)) -> Result<()> {
    tractor::nursery(async |an| {
        if depth > 0 {
            let options = cell.place(SpawnOptions::new().enable_module("teardown"));
            let portal = an.start_actor(&format!("at {depth}"), options).await?;
            nursery(async |n| {
                n.start_soon(portal.run(chain, (cell, depth - 1, then.clone())));
                // Only so that everybody is at it when it comes back to whoever called.
                time::sleep(Duration::from_millis(10)).await?;
                act(&then).await
            })
            .await
        } else {
            act(&then).await
        }
    })
    .await
}
endpoint!(chain);

async fn act(then: &str) -> Result<()> {
    match then {
        "sleep" => sleep(()).await,
        "stick" => stick(()).await,
        "shield" => shielded(()).await,
        "stubborn" => stubborn(()).await,
        other => Err(Error::msg(format!("nobody knows how to {other}"))),
    }
}

fn options(options: SpawnOptions) -> SpawnOptions {
    options
        .enable_module("teardown")
        .grace(Duration::from_millis(100))
        .term_grace(Duration::from_millis(100))
}

/// Runs a call that does not end, and gives how long the nursery took to end after `end`.
fn ended(
    cell: Cell,
    call: impl AsyncFn(&Portal) -> Result<()>,
    end: impl AsyncFnOnce(&tractor::ActorNursery, &Portal) -> Result<()>,
) -> (Result<()>, Duration) {
    let mut start = Instant::now();
    let result = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            nursery(async |n| {
                n.start_soon(async {
                    // What comes of it is not of interest here.
                    let _ = call(&portal).await;
                    Ok(())
                });
                time::sleep(Duration::from_millis(150)).await?;
                start = Instant::now();
                end(an, &portal).await
            })
            .await
        })
        .await
    });
    (result, start.elapsed())
}

in_every_cell![
    actor_that_sleeps_is_cancelled,
    body_that_fails_cancels_the_actors,
    scope_around_the_nursery_is_cancelled,
    chain_of_actors_is_cancelled_from_above,
];

fn actor_that_sleeps_is_cancelled(cell: Cell) {
    let (result, _) = ended(
        cell,
        async |portal| portal.run(sleep, ()).await,
        async |an, _| {
            an.cancel();
            Ok(())
        },
    );
    result.unwrap();
}

#[test]
fn actor_that_is_stuck_is_ended_by_force() {
    for call in ["stick", "shield", "stubborn"] {
        let (result, took) = ended(
            Cell::Process,
            async |portal| portal.run(chain, (Cell::Process, 0, call.into())).await,
            async |an, _| {
                an.cancel();
                Ok(())
            },
        );
        result.unwrap_or_else(|error| panic!("{call}: {error:?}"));
        assert!(took >= Duration::from_millis(100), "{call}: {took:?}");
        assert!(took < Duration::from_millis(5200), "{call}: {took:?}");
    }
}

#[test]
fn stuck_actor_does_not_answer() {
    let (result, _) = ended(
        Cell::Process,
        async |portal| portal.run(stick, ()).await,
        async |_, portal| {
            assert!(!portal.cancel_actor().await);
            Ok(())
        },
    );
    result.unwrap();
}

#[test]
fn actor_that_is_stopped_is_ended_by_force() {
    let (result, _) = ended(
        Cell::Process,
        async |portal| portal.run(sleep, ()).await,
        async |an, portal| {
            let pid = portal.run(pid, ()).await?;
            kill(pid, Signal::STOP);
            an.cancel();
            Ok(())
        },
    );
    result.unwrap();
}

fn body_that_fails_cancels_the_actors(cell: Cell) {
    let (result, _) = ended(
        cell,
        async |portal| portal.run(sleep, ()).await,
        async |_, _| Err(Error::msg("of the body")),
    );
    assert_eq!(result.unwrap_err().to_string(), "of the body");
}

#[test]
fn body_that_fails_ends_an_actor_that_is_stuck() {
    let (result, _) = ended(
        Cell::Process,
        async |portal| portal.run(stick, ()).await,
        async |_, _| Err(Error::msg("of the body")),
    );
    assert_eq!(result.unwrap_err().to_string(), "of the body");
}

fn scope_around_the_nursery_is_cancelled(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        let nursery = tractor::nursery(async |an| {
            let first = an.start_actor("first", options(marked.clone())).await?;
            an.start_actor("second", options(marked)).await?;
            first.run(sleep, ()).await
        });
        let outcome = move_on_after(Duration::from_millis(300), nursery).await?;
        assert!(outcome.timed_out());
        Ok(())
    })
    .unwrap();
}

#[test]
fn nursery_that_is_dropped_kills_its_actors() {
    tree(async |marked: SpawnOptions| {
        let marker = Marker::new();
        let marked = marked.env(MARKER, marker.text());
        let up = Event::new();
        let nursery = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            up.set();
            portal.run(stick, ()).await
        });
        let wait = async { Ok(up.wait().await?) };
        futures_lite::future::or(wait, nursery).await?;
        // Reaped before the drop returned.
        assert_eq!(marker.processes(), []);
        Ok(())
    })
    .unwrap();
}

#[test]
fn actor_that_dies_fails_its_nursery() {
    let (result, _) = ended(
        Cell::Process,
        async |portal| portal.run(sleep, ()).await,
        async |_, portal| {
            kill(portal.run(pid, ()).await?, Signal::KILL);
            Ok(time::sleep_forever().await?)
        },
    );
    let error = result.unwrap_err();
    let died: &ActorDied = error.downcast_ref().expect("it died");
    assert_eq!(died.uid().name(), "actor");
    assert_eq!(died.status().and_then(|status| status.signal()), Some(9));
}

#[test]
fn programs_that_an_actor_started_go_with_it() {
    for killed in [false, true] {
        let marker = Marker::new();
        let (result, _) = ended(
            Cell::Process,
            async |portal| portal.run(litter, marker.text().into()).await,
            async |an, portal| {
                // A process that has just begun has no environment yet.
                marker.wait_for(1);
                if killed {
                    kill(portal.run(pid, ()).await?, Signal::KILL);
                    time::sleep_forever().await?;
                }
                an.cancel();
                Ok(())
            },
        );
        assert_eq!(result.is_err(), killed);
        // They were signalled, and are nobody's here to wait for.
        marker.gone_within(Duration::from_secs(5));
    }
}

fn chain_of_actors_is_cancelled_from_above(cell: Cell) {
    let (result, _) = ended(
        cell,
        async |portal| portal.run(chain, (cell, 2, "sleep".into())).await,
        async |an, _| {
            time::sleep(Duration::from_millis(300)).await?;
            an.cancel();
            Ok(())
        },
    );
    result.unwrap();
}

/// The variable that makes this program the root of a tree of its own.
const ROLE: &str = "TRACTOR_TEST_ROLE";

/// In a process that a test here started this is that root; otherwise nothing.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let (what, ready) = role
        .split_once(' ')
        .expect("what to do, and where to say so");
    let result = tractor::run(async || {
        tractor::nursery(async |an| {
            let own = SpawnOptions::new()
                .env_remove(ROLE)
                .enable_module("teardown");
            let portal = an.start_actor("actor", own).await?;
            let result = nursery(async |n| {
                n.start_soon(async {
                    while common::marked_like_this().len() < DEPTH + 1 {
                        time::sleep(Duration::from_millis(5)).await?;
                    }
                    time::sleep(Duration::from_millis(50)).await?;
                    fs::write(ready, "ready")?;
                    if what == "stuck-root" {
                        thread::sleep(Duration::from_secs(1000));
                    }
                    let cancelled = time::sleep_forever().await;
                    fs::write(ready, "cancelled")?;
                    Ok(cancelled?)
                });
                let then = match what {
                    "stuck-root" => "sleep",
                    then => then,
                };
                portal
                    .run(chain, (Cell::Process, DEPTH as u32 - 1, then.into()))
                    .await
            })
            .await;
            if what == "sleep" {
                let error = result.as_ref().unwrap_err();
                let cause = error.cancelled().expect("it was cancelled").cause();
                assert_eq!(cause.kind(), CancelKind::Signal);
            }
            result
        })
        .await
    });
    std::process::exit(result.map_or_else(|error| exit_code(&error).into(), |()| 0));
}

/// How many actors are below the root of a role.
const DEPTH: usize = 3;

/// A root with a chain of actors, in a process of its own.
struct Root {
    child: Child,
    marker: Marker,
    /// Where the root says that it is ready, and later that it was cancelled.
    ready: PathBuf,
    _guard: HangGuard,
}

impl Root {
    fn new(role: &str) -> Self {
        let guard = HangGuard::new();
        let marker = Marker::new();
        let ready = env::temp_dir().join(format!("tractor-{}-ready", marker.text()));
        let child = common::this_program()
            .args(["--exact", "plays_its_role", "--nocapture"])
            .env(ROLE, format!("{role} {}", ready.display()))
            .env(MARKER, marker.text())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(&ready);
        assert_eq!(marker.processes().len(), DEPTH + 1);
        Self {
            child,
            marker,
            ready,
            _guard: guard,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    fn exited(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.ready);
    }
}

/// Waits for a file and removes it.
fn wait_for(file: &Path) {
    while fs::remove_file(file).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
}

// test_cancellation.py::test_cancel_via_SIGINT
#[test]
fn interrupt_ends_the_tree() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut root = Root::new("sleep");
        root.signal(signal);
        assert_eq!(root.exited().code(), Some(status));
        // Reaped before the root has ended, so at once.
        assert_eq!(root.marker.processes(), []);
    }
}

#[test]
fn second_interrupt_kills_what_is_stuck() {
    let mut root = Root::new("stubborn");
    let start = Instant::now();
    root.signal(Signal::INT);
    wait_for(&root.ready);
    root.signal(Signal::INT);
    assert_eq!(root.exited().code(), Some(130));
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    root.marker.gone_within(Duration::from_secs(6));
}

#[test]
fn second_interrupt_ends_a_root_that_is_stuck() {
    let mut root = Root::new("stuck-root");
    // Two that come at the same time may be one.
    let exited = loop {
        root.signal(Signal::INT);
        thread::sleep(Duration::from_millis(20));
        if let Some(exited) = root.child.try_wait().unwrap() {
            break exited;
        }
    };
    assert_eq!(exited.signal(), Some(2));
    root.marker.gone_within(Duration::from_secs(6));
}

#[test]
fn killed_root_leaves_nothing() {
    for then in ["sleep", "stick", "shield", "stubborn"] {
        let root = Root::new(then);
        root.signal(Signal::KILL);
        // Promised is a second.
        root.marker.gone_within(Duration::from_secs(6));
    }
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
