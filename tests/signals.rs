//! What `run` does with the signals that end a program, and what it leaves behind.
//!
//! Each test runs this program again in a role, for a signal is for all of a process.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use common::{HangGuard, this_program};
use rustix::process::{Signal, getpid, kill_process};
use tractor::runtime::signals::SignalReceiver;
use tractor::runtime::time;
use tractor::{ActorDied, CancelKind, Result, RunOptions, SpawnOptions, endpoint, exit_code};

async fn end(status: i32) -> Result<()> {
    std::process::exit(status)
}
endpoint!(end);

const ROLE: &str = "TRACTOR_TEST_ROLE";

#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let code = match &*role {
        "interrupted" => match tractor::run(interrupt_and_sleep) {
            Ok(()) => 0,
            Err(error) => {
                let cause = error.cancelled().expect("it was cancelled").cause().clone();
                assert_eq!(
                    (cause.kind(), cause.reason()),
                    (CancelKind::Signal, Some("SIGINT"))
                );
                exit_code(&error).into()
            }
        },
        "caught" => tractor::run(async || {
            let _ = interrupt_and_sleep().await;
            Ok(3)
        })
        .unwrap(),
        "after" => {
            // Twice, for what the first one leaves behind must not disturb the second.
            for _ in 0..2 {
                assert!(tractor::run(interrupt_and_sleep).is_err());
            }
            interrupt();
            0
        }
        "received-before" => {
            // What took the signal before, and has gone, is no handler of the host's.
            let received = tractor::runtime::run(async || {
                let receiver = SignalReceiver::open([2])?;
                interrupt();
                Ok(receiver.receive().await?)
            });
            assert_eq!(received.unwrap(), 2);
            let error = tractor::run(interrupt_and_sleep).unwrap_err();
            let cause = error.cancelled().expect("it was cancelled").cause();
            assert_eq!(cause.kind(), CancelKind::Signal);
            8
        }
        "not-taken" => {
            let options = RunOptions::new().sigint(false);
            options.run(interrupt_and_sleep).map_or(4, |()| 0)
        }
        "ignored" => {
            let woke = tractor::run(async || {
                interrupt();
                Ok(time::sleep(Duration::from_millis(50)).await?)
            });
            woke.unwrap();
            interrupt();
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let ignored = status
                .lines()
                .find(|line| line.starts_with("SigIgn:"))
                .unwrap();
            let mask = u64::from_str_radix(ignored["SigIgn:".len()..].trim(), 16).unwrap();
            assert!(mask & 2 != 0, "{ignored}");
            5
        }
        "handled" => {
            // A handler of the host's own is called beside ours, and after.
            let flag = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            signal_hook::flag::register_usize(2, flag.clone(), 1).unwrap();
            assert!(tractor::run(interrupt_and_sleep).is_err());
            assert_eq!(flag.swap(0, std::sync::atomic::Ordering::SeqCst), 1);
            interrupt();
            assert_eq!(flag.swap(0, std::sync::atomic::Ordering::SeqCst), 1);
            6
        }
        "no-sigchld" => {
            let error = tractor::run(async || {
                tractor::nursery(async |an| {
                    let options = SpawnOptions::new().env_remove(ROLE).enable(end);
                    let asked = an.start_actor("asked", options.clone()).await?;
                    let dies = an.start_actor("dies", options).await?;
                    assert!(asked.cancel_actor().await);
                    dies.run(end, 3).await
                })
                .await
            })
            .unwrap_err();
            // The kernel has reaped it, and told nobody how it ended.
            let died: &ActorDied = error.downcast_ref().expect("it died");
            assert_eq!((died.uid().name(), died.status()), ("dies", None));
            7
        }
        other => panic!("no role is called {other}"),
    };
    std::process::exit(code);
}

async fn interrupt_and_sleep() -> Result<()> {
    interrupt();
    Ok(time::sleep_forever().await?)
}

fn interrupt() {
    kill_process(getpid(), Signal::INT).unwrap();
    // It may be another thread of this process that takes it.
    thread::sleep(Duration::from_millis(20));
}

fn play(role: &str) -> ExitStatus {
    run(this_program(), role)
}

fn run(mut program: Command, role: &str) -> ExitStatus {
    let _guard = HangGuard::new();
    let output = program
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() != Some(101), "{role}: {text}");
    output.status
}

#[test]
fn interrupt_cancels_main() {
    assert_eq!(play("interrupted").code(), Some(130));
}

#[test]
fn main_may_decide_otherwise() {
    assert_eq!(play("caught").code(), Some(3));
}

#[test]
fn interrupt_after_run_does_what_it_does_by_default() {
    assert_eq!(play("after").signal(), Some(2));
}

#[test]
fn interrupt_that_something_else_took_before() {
    assert_eq!(play("received-before").code(), Some(8));
}

#[test]
fn interrupt_that_is_not_taken() {
    assert_eq!(play("not-taken").signal(), Some(2));
}

#[test]
fn interrupt_that_was_ignored_stays_ignored() {
    let mut program = Command::new("sh");
    program.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]);
    program.arg(env::current_exe().unwrap());
    assert_eq!(run(program, "ignored").code(), Some(5));
}

#[test]
fn interrupt_that_the_host_handles_itself() {
    assert_eq!(play("handled").code(), Some(6));
}

#[test]
fn host_that_ignores_the_end_of_children() {
    // A shell would not pass that on.
    let mut program = Command::new("env");
    program.arg("--ignore-signal=CHLD");
    program.arg(env::current_exe().unwrap());
    assert_eq!(run(program, "no-sigchld").code(), Some(7));
}
