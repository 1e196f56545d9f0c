//! Signals as a stream. Each test has signals of its own, as they run in one process.

mod common;

use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{guarded, trial_in_real_time};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGIO, SIGKILL, SIGPROF, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGWINCH, SIGXCPU, SIGXFSZ,
};
use signal_hook::low_level::raise;
use tractor_runtime::io::Busy;
use tractor_runtime::signals::{Escalation, NotASignal, Press, SignalReceiver};
use tractor_runtime::testing::{assert_checkpoints, wait_all_tasks_blocked_for};
use tractor_runtime::time::sleep_forever;
use tractor_runtime::{
    CancelKind, CancelScope, Error, Result, is_stopping, move_on_after, nursery, run,
};

async fn settle() -> Result<()> {
    Ok(wait_all_tasks_blocked_for(Duration::from_millis(5)).await?)
}

/// Runs one test of this file alone, in a process of its own, and says how that ended; `None` in
/// that process.
fn alone(test: &str, prepare: &[&str]) -> Option<std::process::ExitStatus> {
    const MARK: &str = "TRACTOR_TEST_ALONE";
    if std::env::var(MARK).as_deref() == Ok(test) {
        return None;
    }
    let mut command = std::process::Command::new("env");
    command.args(prepare).arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(MARK, test);
    let output = command.stdin(Stdio::null()).output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    Some(output.status)
}

// trio/test_signals.py::test_open_signal_receiver
#[test]
fn signals_that_come_together_are_one() {
    // What the host does with it is done all the same, and after us alone.
    let host = Arc::new(AtomicUsize::new(0));
    signal_hook::flag::register_usize(SIGUSR1, host.clone(), 1).unwrap();
    trial_in_real_time(async move || {
        let signals = SignalReceiver::open([SIGUSR1])?;
        raise(SIGUSR1)?;
        raise(SIGUSR1)?;
        settle().await?;
        raise(SIGUSR1)?;
        assert_eq!(assert_checkpoints(signals.receive()).await?, SIGUSR1);
        assert_eq!(signals.try_receive(), None);
        raise(SIGUSR1)?;
        assert_eq!(signals.receive().await?, SIGUSR1);
        let waiting = async { Ok(signals.receive().await?) };
        assert!(
            move_on_after(Duration::from_millis(5), waiting)
                .await?
                .timed_out()
        );
        drop(signals);
        host.store(0, Ordering::SeqCst);
        raise(SIGUSR1)?;
        assert_eq!(host.load(Ordering::SeqCst), 1);
        Ok(())
    });
}

// trio/test_signals.py::test_open_signal_receiver_restore_handler_after_one_bad_signal
// trio/test_signals.py::test_open_signal_receiver_empty_fail
// trio/test_signals.py::test_open_signal_receiver_restore_handler_after_duplicate_signal
#[test]
fn what_is_no_signal_is_refused_and_nothing_is_taken() {
    trial_in_real_time(async || {
        for wrong in [
            vec![SIGUSR2, 1_000],
            vec![SIGUSR2, 0],
            vec![],
            vec![SIGKILL],
        ] {
            let error = SignalReceiver::open(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(Error::from(error).is::<NotASignal>());
        }
        let taken = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
            caught >> (SIGUSR2 - 1) & 1 == 1
        };
        assert!(!taken());
        let twice = SignalReceiver::open([SIGUSR2, SIGUSR2])?;
        raise(SIGUSR2)?;
        assert_eq!(twice.receive().await?, SIGUSR2);
        assert_eq!(twice.try_receive(), None);
        Ok(())
    });
}

#[test]
fn signal_does_what_it_did_when_nobody_takes_it_any_more() {
    use std::os::unix::process::ExitStatusExt;

    if let Some(status) = alone("signal_does_what_it_did_when_nobody_takes_it_any_more", &[]) {
        assert_eq!(status.signal(), Some(SIGTERM));
        return;
    }
    guarded(|| {
        run(async || {
            for _ in 0..2 {
                let signals = SignalReceiver::open([SIGTERM])?;
                let again = SignalReceiver::open([SIGTERM])?;
                raise(SIGTERM)?;
                assert_eq!(
                    (signals.receive().await?, again.receive().await?),
                    (SIGTERM, SIGTERM)
                );
            }
            raise(SIGTERM)?;
            unreachable!("it ends the process");
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok(())
        })
        .unwrap();
    });
}

// trio/test_signals.py::test_open_signal_receiver_conflict
#[test]
fn one_task_receives_at_a_time() {
    trial_in_real_time(async || {
        let signals = SignalReceiver::open([SIGWINCH])?;
        let error = nursery(async |n| {
            for _ in 0..2 {
                n.start_soon(async { Ok(signals.receive().await?) });
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(error.is::<Busy>(), "{error}");
        Ok(())
    });
}

// trio/test_signals.py::test_open_signal_receiver_no_starvation
#[test]
fn two_signals_take_turns() {
    trial_in_real_time(async || {
        let signals = SignalReceiver::open([SIGALRM, SIGVTALRM])?;
        let mut last = None;
        for _ in 0..10 {
            raise(SIGALRM)?;
            raise(SIGVTALRM)?;
            let signal = signals.receive().await?;
            assert_ne!(Some(signal), last);
            last = Some(signal);
        }
        while signals.try_receive().is_some() {}
        Ok(())
    });
}

// trio/test_signals.py::test_catch_signals_race_condition_on_exit#a
// trio/test_signals.py::test_catch_signals_race_condition_on_exit#b
#[test]
fn signals_nobody_received_go_to_whoever_has_them_next() {
    let host = [SIGPROF, SIGXFSZ].map(|signal| {
        let seen = Arc::new(AtomicUsize::new(0));
        signal_hook::flag::register_usize(signal, seen.clone(), 1).unwrap();
        seen
    });
    trial_in_real_time(async move || {
        for settles in [false, true] {
            host.iter().for_each(|seen| seen.store(0, Ordering::SeqCst));
            let signals = SignalReceiver::open([SIGPROF, SIGXFSZ])?;
            raise(SIGPROF)?;
            raise(SIGXFSZ)?;
            if settles {
                settle().await?;
            }
            drop(signals);
            assert!(host.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
        }
        Ok(())
    });
}

#[test]
fn signal_nobody_received_does_what_it_does_by_default() {
    use std::os::unix::process::ExitStatusExt;

    if let Some(status) = alone("signal_nobody_received_does_what_it_does_by_default", &[]) {
        assert_eq!(status.signal(), Some(SIGXCPU));
        return;
    }
    guarded(|| {
        run(async || {
            let signals = SignalReceiver::open([SIGXCPU])?;
            raise(SIGXCPU)?;
            drop(signals);
            unreachable!("it ends the process");
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok(())
        })
        .unwrap();
    });
}

// trio/test_signals.py::test_catch_signals_race_condition_on_exit#c
#[test]
fn signal_that_was_ignored_is_ignored_again() {
    if let Some(status) = alone(
        "signal_that_was_ignored_is_ignored_again",
        &["--ignore-signal=IO"],
    ) {
        assert!(status.success());
        return;
    }
    trial_in_real_time(async || {
        for settles in [false, true] {
            let signals = SignalReceiver::open([SIGIO])?;
            raise(SIGIO)?;
            assert_eq!(signals.receive().await?, SIGIO);
            raise(SIGIO)?;
            if settles {
                settle().await?;
            }
            drop(signals);
            raise(SIGIO)?;
        }
        Ok(())
    });
}

#[test]
fn receiving_is_cancelled_and_takes_nothing() {
    trial_in_real_time(async || {
        let signals = SignalReceiver::open([SIGCHLD])?;
        raise(SIGCHLD)?;
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope.run(async { Ok(signals.receive().await?) }).await?;
        assert!(outcome.is_cancelled());
        assert_eq!(signals.receive().await?, SIGCHLD);
        Ok(())
    });
}

/// Presses once for the soft stop and once for the cancel; the third is the default's.
#[test]
fn three_presses_stop_cancel_and_end() {
    use std::os::unix::process::ExitStatusExt;

    if let Some(status) = alone("three_presses_stop_cancel_and_end", &[]) {
        assert_eq!(status.signal(), Some(SIGTRAP));
        return;
    }
    guarded(|| {
        run(async || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let escalation = Escalation::open([SIGTRAP], Duration::from_secs(1000))?;
            nursery(async |n| {
                n.start_soon::<()>(async move {
                    escalation
                        .run(&handle, |press| match press {
                            // The next press comes when this one has had its effect.
                            Press::Stop(signal) => raise(signal).unwrap(),
                            Press::Cancel(_) => {}
                        })
                        .await
                });
                let outcome = scope.run(async {
                    raise(SIGTRAP)?;
                    while !is_stopping() {
                        tractor_runtime::checkpoint().await?;
                    }
                    Ok(sleep_forever().await?)
                });
                let outcome: tractor_runtime::Outcome<()> = outcome.await?;
                assert_eq!(outcome.cause().unwrap().kind(), CancelKind::Signal);
                raise(SIGTRAP)?;
                unreachable!("it ends the process");
                #[allow(unreachable_code, reason = "gives the block its type")]
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}
