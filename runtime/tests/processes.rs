//! Running programs.

mod common;

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use common::{Boom, Log, booms, trial_in_real_time};
use tractor_runtime::io::{ReceiveStream, SendStream};
use tractor_runtime::process::{Command, ExitFailed, Process};
use tractor_runtime::testing::wait_all_tasks_blocked_for;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{CancelScope, Result, move_on_after, nursery};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

fn sleeper() -> Command {
    Command::new("sleep").arg("1000")
}

async fn settle() -> Result<()> {
    Ok(wait_all_tasks_blocked_for(Duration::from_millis(5)).await?)
}

async fn line(stream: &impl ReceiveStream) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.receive_some(&mut byte).await? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line)?)
}

/// Whether there is such a process, a zombie included.
fn exists(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap()
}

/// Whether there is such a process, and it runs.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

// trio/test_subprocess.py::test_basic
#[test]
fn programs_that_succeed_and_fail() {
    trial_in_real_time(async || {
        for (program, code) in [("true", 0), ("false", 1)] {
            let output = Command::new(program).check(false).run().await?;
            assert_eq!(output.status.and_then(|status| status.code()), Some(code));
            let process = Command::new(program).open()?;
            assert!(format!("{process:?}").starts_with(&format!("process {}", process.id())));
            let status = process.wait().await?;
            assert_eq!(status.and_then(|status| status.code()), Some(code));
            assert_eq!(process.status()?, Some(status));
            assert!(!exists(process.id()));
            // To an end that has come nothing is added.
            process.kill()?;
        }
        Ok(())
    });
}

// trio/test_subprocess.py::test_auto_update_returncode
#[test]
fn process_reaped_by_somebody_else() {
    trial_in_real_time(async || {
        let process = sleeper().open()?;
        assert_eq!(process.status()?, None);
        process.kill()?;
        let pid = rustix::process::Pid::from_raw(process.id() as i32);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())?;
        assert_eq!(process.status()?, Some(None));
        assert_eq!(process.wait().await?, None);
        process.terminate()?;
        Ok(())
    });
}

// trio/test_subprocess.py::test_multi_wait
// trio/test_subprocess.py::test_subprocess_pidfd_unnotified
#[test]
fn many_wait_for_one_process() {
    trial_in_real_time(async || {
        let process = sleeper().open()?;
        nursery(async |n| {
            for _ in 0..3 {
                n.start_soon(async { Ok(process.wait().await?) });
            }
            settle().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        nursery(async |n| {
            let waiting = [0; 3].map(|_| n.start_soon(async { Ok(process.wait().await?) }));
            settle().await?;
            process.kill()?;
            // Reaped behind the backs of those who wait.
            while process.status()?.is_none() {
                std::thread::yield_now();
            }
            for waiting in waiting {
                let status = waiting.await?.expect("nobody else reaped it");
                assert_eq!(status.signal(), Some(SIGKILL));
            }
            Ok(())
        })
        .await
    });
}

// trio/test_subprocess.py::test_run#a
#[test]
fn much_goes_in_and_comes_out_on_both_sides() {
    trial_in_real_time(async || {
        let input: Vec<u8> = (0..256 * 1024).map(|i| (i / 7) as u8).collect();
        let command = sh("tee /dev/stderr").input(input.clone());
        let output = command.capture_stdout().capture_stderr().run().await?;
        assert!(output.status.is_some_and(|status| status.success()));
        assert!(output.stdout == input && output.stderr == input);
        Ok(())
    });
}

// trio/test_subprocess.py::test_run#b
#[test]
fn input_is_empty_unless_there_is_some() {
    trial_in_real_time(async || {
        let output = Command::new("cat").capture_stdout().run().await?;
        assert_eq!(output.stdout, b"");
        Ok(())
    });
}

// trio/test_subprocess.py::test_run#c
#[test]
fn what_is_fed_or_captured_is_run() {
    trial_in_real_time(async || {
        for command in [
            Command::new("cat").input("x"),
            Command::new("cat").capture_stdout(),
            Command::new("cat").capture_stderr(),
        ] {
            assert_eq!(command.open().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Ok(())
    });
}

// trio/test_subprocess.py::test_run_check
#[test]
fn failing_program_is_an_error_where_that_is_checked() {
    trial_in_real_time(async || {
        let command = || {
            sh("echo out; echo test >&2; exit 1")
                .capture_stdout()
                .capture_stderr()
        };
        let error = command().run().await.unwrap_err();
        let failed = error.downcast_ref::<ExitFailed>().unwrap().output();
        assert_eq!(failed.status.and_then(|status| status.code()), Some(1));
        assert_eq!(
            (&failed.stdout[..], &failed.stderr[..]),
            (&b"out\n"[..], &b"test\n"[..])
        );
        assert_eq!(&command().check(false).run().await?, failed);
        Ok(())
    });
}

// trio/test_subprocess.py::test_run_with_broken_pipe
#[test]
fn program_that_does_not_read_its_input() {
    trial_in_real_time(async || {
        let command = sh("exec <&-; exit 0").input(vec![7; 128 * 1024]);
        command.run().await?;
        Ok(())
    });
}

// trio/test_subprocess.py::test_stderr_stdout
#[test]
fn both_outputs_in_one() {
    trial_in_real_time(async || {
        let script = "echo 1; echo 2 >&2; echo 3";
        let output = sh(script).capture_stdout().stderr_to_stdout().run().await?;
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"1\n2\n3\n"[..], &b""[..])
        );

        let process = sh(script).pipe_stdout().stderr_to_stdout().open()?;
        let stdout = process.stdout.as_ref().unwrap();
        assert!(process.stdin.is_none() && process.stderr.is_none());
        for expected in ["1", "2", "3", ""] {
            assert_eq!(line(stdout).await?, expected);
        }
        process.wait().await?;

        // Where both go without a pipe nothing is captured.
        let output = sh("exit 0").stderr_to_stdout().run().await?;
        assert_eq!((output.stdout, output.stderr), (vec![], vec![]));
        Ok(())
    });
}

#[test]
fn conversation_with_a_program() {
    trial_in_real_time(async || {
        let process = Command::new("cat").pipe_stdin().pipe_stdout().open()?;
        let (stdin, stdout) = (
            process.stdin.as_ref().unwrap(),
            process.stdout.as_ref().unwrap(),
        );
        for text in ["one", "two"] {
            stdin.send_all(format!("{text}\n").as_bytes()).await?;
            assert_eq!(line(stdout).await?, text);
        }
        stdin.send_eof().await?;
        assert_eq!(line(stdout).await?, "");
        assert!(process.wait().await?.unwrap().success());
        Ok(())
    });
}

// trio/test_subprocess.py::test_signals
// trio/test_subprocess.py::test_one_signal
#[test]
fn signals_end_a_process() {
    trial_in_real_time(async || {
        type Send = fn(&Process) -> std::io::Result<()>;
        let ways: [(Send, i32); 3] = [
            (Process::kill, SIGKILL),
            (Process::terminate, SIGTERM),
            (|process| process.signal(10), 10),
        ];
        for (send, signal) in ways {
            let process = sleeper().open()?;
            send(&process)?;
            let status = process.wait().await?.unwrap();
            assert_eq!(status.signal(), Some(signal));
        }
        let process = sleeper().open()?;
        let error = process.signal(1000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn cancelled_program_is_asked_to_end_and_gone_when_run_returns() {
    trial_in_real_time(async || {
        let pid = Rc::new(Cell::new(0));
        let start = now();
        let outcome = move_on_after(Duration::from_millis(50), async {
            nursery(async |n| {
                let process = n.start(async |status| {
                    sleeper().capture_stdout().run_with(status).await.map(drop)
                });
                pid.set(process.await?.id());
                Ok(())
            })
            .await
        });
        assert!(outcome.await?.timed_out());
        assert!(now() - start >= Duration::from_millis(50));
        assert!(pid.get() != 0 && !exists(pid.get()), "it was reaped");
        Ok(())
    });
}

#[test]
fn program_that_does_not_end_when_asked_is_killed_after_its_grace() {
    trial_in_real_time(async || {
        let command = sh("trap '' TERM; echo ready; while :; do sleep 1000; done");
        let command = command
            .pipe_stdout()
            .grace(Duration::from_millis(60))
            .process_group(true);
        nursery(async |n| {
            let process = n
                .start(async |status| command.run_with(status).await.map(drop))
                .await?;
            assert_eq!(line(process.stdout.as_ref().unwrap()).await?, "ready");
            let start = now();
            n.cancel();
            let status = tractor_runtime::shield(process.wait()).await?;
            assert_eq!(status.unwrap().signal(), Some(SIGKILL));
            assert!(now() - start >= Duration::from_millis(60));
            Ok(())
        })
        .await
    });
}

#[test]
fn stopped_program_is_ended_too() {
    trial_in_real_time(async || {
        nursery(async |n| {
            let process = n
                .start(async |status| sleeper().run_with(status).await.map(drop))
                .await?;
            process.signal(19)?;
            n.cancel();
            let status = tractor_runtime::shield(process.wait()).await?;
            assert_eq!(status.unwrap().signal(), Some(SIGTERM));
            Ok(())
        })
        .await
    });
}

#[test]
fn group_of_a_cancelled_program_is_gone_with_it() {
    trial_in_real_time(async || {
        // The shell ends at once; what it began in the background would go on.
        let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & wait";
        let command = sh(script).pipe_stdout().process_group(true);
        let grandchild = Cell::new(0);
        nursery(async |n| {
            let process = n
                .start(async |status| command.run_with(status).await.map(drop))
                .await?;
            grandchild.set(line(process.stdout.as_ref().unwrap()).await?.parse()?);
            n.cancel();
            Ok(())
        })
        .await?;
        while runs(grandchild.get()) {
            sleep(Duration::from_millis(1)).await?;
        }
        Ok(())
    });
}

#[test]
fn process_that_is_dropped_is_gone() {
    trial_in_real_time(async || {
        let process = sleeper().open()?;
        let pid = process.id();
        assert!(runs(pid));
        drop(process);
        assert!(!exists(pid));

        // A run that a foreign combinator drops.
        let seen = Rc::new(Cell::new(0));
        let begun = seen.clone();
        let run = Box::pin(async move {
            nursery(async |n| {
                let start = async |status| sleeper().run_with(status).await.map(drop);
                begun.set(n.start(start).await?.id());
                Ok(sleep_forever().await?)
            })
            .await
        });
        let waiting = Box::pin(async {
            while seen.get() == 0 {
                sleep(Duration::from_millis(1)).await?;
            }
            Ok::<(), tractor_runtime::Error>(())
        });
        drop(futures::future::select(run, waiting).await);
        assert!(seen.get() != 0 && !exists(seen.get()));
        Ok(())
    });
}

// trio/test_subprocess.py::test_custom_deliver_cancel
#[test]
fn other_way_to_end_a_program() {
    trial_in_real_time(async || {
        let log = Rc::new(Log::default());
        let noting = log.clone();
        let command = sleeper().deliver_cancel(async move |process: &Process| {
            noting.note("asked");
            process.terminate()?;
            let slept = sleep_forever().await;
            noting.note(format!("{:?}", process.status()?.is_none()));
            Ok(slept?)
        });
        assert!(
            move_on_after(Duration::from_millis(5), command.run())
                .await?
                .timed_out()
        );
        assert_eq!(log.seen(), ["asked", "false"]);
        Ok(())
    });
}

#[test]
fn other_way_that_fails_is_told_and_the_program_killed() {
    trial_in_real_time(async || {
        let command = sleeper().deliver_cancel(async |_| Err(Boom("deliver").into()));
        let error = move_on_after(Duration::from_millis(5), command.run())
            .await
            .unwrap_err();
        assert_eq!(booms(&error), ["deliver"]);
        Ok(())
    });
}

// trio/test_subprocess.py::test_run_process_background_fail
#[test]
fn failing_program_in_the_background_fails_its_nursery() {
    trial_in_real_time(async || {
        let seen = Cell::new(None);
        let error = nursery(async |n| {
            let start = async |status| Command::new("false").run_with(status).await.map(drop);
            seen.set(Some(n.start(start).await?));
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(error.is::<ExitFailed>(), "{error:?}");
        let status = seen.take().unwrap().status()?.unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(1));
        Ok(())
    });
}

#[test]
fn program_that_is_not_there() {
    trial_in_real_time(async || {
        let error = Command::new("/nonexistent/program")
            .run()
            .await
            .unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn program_is_not_started_in_a_cancelled_scope() {
    trial_in_real_time(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope
            .run(Command::new("/nonexistent/program").run())
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

/// Runs one test of this file alone, in a process of its own that `env` prepares.
fn alone(test: &str, prepare: &[&str]) -> bool {
    const MARK: &str = "TRACTOR_TEST_ALONE";
    if std::env::var(MARK).as_deref() == Ok(test) {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("env");
    command
        .args(prepare)
        .arg(program)
        .args(["--exact", test, "--nocapture"]);
    let output = command
        .env(MARK, test)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

// trio/test_subprocess.py::test_wait_reapable_fails
#[test]
fn host_that_ignores_the_end_of_its_children() {
    if !alone(
        "host_that_ignores_the_end_of_its_children",
        &["--ignore-signal=CHLD"],
    ) {
        return;
    }
    trial_in_real_time(async || {
        let process = sleeper().open()?;
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(process.wait().await?) });
            settle().await?;
            process.kill()?;
            assert_eq!(waiting.await?, None::<ExitStatus>);
            Ok(())
        })
        .await?;
        assert!(Command::new("true").run().await?.status.is_none());
        Ok(())
    });
}

// trio/test_subprocess.py::test_for_leaking_fds
#[test]
fn no_descriptor_is_left() {
    if !alone("no_descriptor_is_left", &[]) {
        return;
    }
    fn open() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }
    trial_in_real_time(async || {
        let capture = |command: Command| command.input("x").capture_stdout().capture_stderr();
        // What the reactor itself needs is there from the first time on.
        capture(Command::new("true")).run().await?;
        let before = open();
        capture(Command::new("true")).run().await?;
        assert_eq!(open(), before);
        capture(Command::new("false")).run().await.unwrap_err();
        assert_eq!(open(), before);
        capture(Command::new("/nonexistent/program"))
            .run()
            .await
            .unwrap_err();
        assert_eq!(open(), before);
        let merged = sleeper().capture_stdout().stderr_to_stdout();
        assert!(
            move_on_after(Duration::from_millis(5), merged.run())
                .await?
                .timed_out()
        );
        assert_eq!(open(), before);
        Ok(())
    });
}
