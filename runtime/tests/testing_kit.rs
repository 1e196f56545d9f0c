//! What there is for tests: the virtual clock, waiting until nothing moves, seeded order,
//! sequences.

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{Log, guarded, trial, trial_in_real_time, trial_with_clock};
use futures::FutureExt;
use tractor_runtime::testing::{
    self, SequenceError, Sequencer, VirtualClock, assert_checkpoints, assert_no_checkpoints,
    wait_all_tasks_blocked, wait_all_tasks_blocked_for,
};
use tractor_runtime::time::{now, sleep};
use tractor_runtime::{
    CancelScope, Result, Runtime, cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled,
    nursery,
};

const SECOND: Duration = Duration::from_secs(1);
const CUSHION: Duration = Duration::from_millis(50);

fn run_with(clock: VirtualClock, main: impl AsyncFnOnce() -> Result<()>) {
    let runtime = Runtime::builder().clock(clock).build();
    runtime.run(main).unwrap();
}

/// The steps of five tasks under a seed.
fn trace(seed: u64) -> Vec<(u32, u32)> {
    testing::run_seeded(seed, async || {
        let trace = RefCell::new(Vec::new());
        nursery(async |n| {
            for task in 0..5 {
                let trace = &trace;
                n.start_soon(async move {
                    for step in 0..5 {
                        trace.borrow_mut().push((task, step));
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        Ok(trace.take())
    })
    .unwrap()
}

// trio/test_scheduler_determinism.py::test_the_trio_scheduler_is_not_deterministic
#[test]
fn other_seeds_give_other_orders() {
    guarded(|| {
        let traces: HashSet<_> = (0..10).map(trace).collect();
        assert_eq!(traces.len(), 10);
    });
}

// trio/test_scheduler_determinism.py::test_the_trio_scheduler_is_deterministic_if_seeded
#[test]
fn equal_seeds_give_equal_orders() {
    guarded(|| {
        let traces: HashSet<_> = (0..10).map(|_| trace(7)).collect();
        assert_eq!(traces.len(), 1);
    });
}

// core/test_mock_clock.py::test_mock_clock
#[test]
fn clock_jumps_and_goes() {
    guarded(|| {
        let clock = VirtualClock::new();
        let start = clock.now();
        clock.jump(Duration::from_millis(1200));
        assert_eq!(clock.now() - start, Duration::from_millis(1200));
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            let refused = catch_unwind(AssertUnwindSafe(|| clock.set_rate(wrong)));
            assert!(refused.is_err(), "{wrong}");
        }
        assert_eq!(clock.rate(), 0.0);
        let real = std::time::Instant::now();
        clock.set_rate(1000.0);
        std::thread::sleep(Duration::from_millis(2));
        clock.set_rate(0.0);
        let passed = clock.now() - start - Duration::from_millis(1200);
        assert!(passed >= 2 * SECOND, "{passed:?}");
        assert!(passed <= 1000 * real.elapsed(), "{passed:?}");
        assert_eq!(clock.now(), clock.now());
    });
}

#[test]
fn sleep_under_a_clock_that_goes_fast_is_never_early() {
    guarded(|| {
        let clock = VirtualClock::new();
        clock.set_rate(100_000.0);
        run_with(clock, async || {
            let start = now();
            sleep(1000 * SECOND).await?;
            assert!(now() - start >= 1000 * SECOND);
            Ok(())
        });
    });
}

// core/test_mock_clock.py::test_mock_clock_autojump#c
#[test]
fn autojump_takes_effect_at_once() {
    guarded(|| {
        let clock = VirtualClock::new();
        clock.set_autojump(Some(10_000 * SECOND));
        run_with(clock.clone(), async || {
            clock.set_autojump(Some(Duration::ZERO));
            Ok(sleep(100_000 * SECOND).await?)
        });
    });
}

// core/test_mock_clock.py::test_mock_clock_autojump_interference
#[test]
fn other_clock_has_no_influence() {
    guarded(|| {
        let (clock, other) = (VirtualClock::new(), VirtualClock::new());
        clock.set_autojump(Some(4 * CUSHION));
        run_with(clock.clone(), async || {
            other.set_autojump(Some(Duration::ZERO));
            let start = now();
            nursery(async |n| {
                n.start_soon(async { Ok(sleep(100_000 * SECOND).await?) });
                wait_all_tasks_blocked_for(CUSHION).await?;
                assert_eq!(now(), start);
                Ok(())
            })
            .await?;
            assert_eq!(now() - start, 100_000 * SECOND);
            assert_eq!(other.now(), VirtualClock::new().now());
            Ok(())
        });
    });
}

// core/test_mock_clock.py::test_mock_clock_autojump_preset
#[test]
fn autojump_that_was_set_before_the_run() {
    guarded(|| {
        let clock = VirtualClock::new();
        clock.set_autojump(Some(Duration::from_millis(1)));
        run_with(clock, async || Ok(sleep(10_000 * SECOND).await?));
    });
}

// core/test_mock_clock.py::test_mock_clock_autojump_0_and_wait_all_tasks_blocked_0
// core/test_mock_clock.py::test_mock_clock_autojump_0_and_wait_all_tasks_blocked_nonzero
#[test]
fn who_waits_for_idleness_comes_before_the_jump() {
    for cushion in [Duration::ZERO, CUSHION] {
        trial(async move || {
            let log = Log::default();
            nursery(async |n| {
                n.start_soon(async {
                    sleep(100 * SECOND).await?;
                    log.note("sleeper");
                    Ok(())
                });
                wait_all_tasks_blocked_for(cushion).await?;
                log.note("idle");
                sleep(1000 * SECOND).await?;
                log.note("waiter");
                Ok(())
            })
            .await?;
            assert_eq!(log.seen(), ["idle", "sleeper", "waiter"]);
            Ok(())
        });
    }
}

// core/test_mock_clock.py::test_initialization_doesnt_mutate_runner
#[test]
fn new_clock_changes_nothing_in_the_runtime() {
    trial_with_clock(async |clock| {
        clock.jump(5 * SECOND);
        let before = now();
        let other = VirtualClock::new();
        other.set_autojump(Some(Duration::ZERO));
        assert_eq!(now(), before);
        nursery(async |n| {
            let sleeper = n.start_soon(async { Ok(sleep(SECOND).await?) });
            wait_all_tasks_blocked_for(CUSHION).await?;
            assert!(!sleeper.is_finished());
            n.cancel();
            Ok(())
        })
        .await
        .ok();
        Ok(())
    });
}

// trio/test_testing.py::test_wait_all_tasks_blocked#a
#[test]
fn idleness_comes_when_the_last_task_waits() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async {
                for _ in 0..10 {
                    checkpoint().await?;
                }
                log.note("busy");
                Ok(())
            });
            for _ in 0..2 {
                n.start_soon(async {
                    wait_all_tasks_blocked().await?;
                    log.note("idle");
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["busy", "idle", "idle"]);
        Ok(())
    });
}

// trio/test_testing.py::test_wait_all_tasks_blocked#b
#[test]
fn waiting_for_idleness_can_be_cancelled() {
    trial(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope.run(async { Ok(wait_all_tasks_blocked().await?) });
        assert!(outcome.await?.is_cancelled());
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            let waits = n.start_soon(scope.run(async {
                wait_all_tasks_blocked_for(1000 * SECOND).await?;
                Ok(())
            }));
            checkpoint().await?;
            checkpoint().await?;
            handle.cancel();
            assert!(waits.await?.is_cancelled());
            Ok(())
        })
        .await
    });
}

// trio/test_testing.py::test_wait_all_tasks_blocked_with_timeouts
#[test]
fn sleeping_is_idle_until_the_clock_jumps() {
    trial_with_clock(async |clock| {
        nursery(async |n| {
            let sleeper = n.start_soon(async { Ok(sleep(5 * SECOND).await?) });
            wait_all_tasks_blocked().await?;
            assert!(!sleeper.is_finished());
            clock.jump(10 * SECOND);
            wait_all_tasks_blocked().await?;
            assert!(sleeper.is_finished());
            Ok(())
        })
        .await
    });
}

// trio/test_testing.py::test_wait_all_tasks_blocked_with_cushion
#[test]
fn smallest_cushion_comes_first() {
    trial_in_real_time(async || {
        let log = Log::default();
        let log = &log;
        nursery(async |n| {
            n.start_soon(async {
                wait_all_tasks_blocked().await?;
                log.note("0");
                // Does not let the others have their cushion for a while.
                for _ in 0..3 {
                    sleep(CUSHION / 5).await?;
                }
                log.note("blinked");
                Ok(())
            });
            for (cushion, name) in [(6, "6"), (4, "4"), (4, "4")] {
                n.start_soon(async move {
                    wait_all_tasks_blocked_for(cushion * CUSHION).await?;
                    log.note(name);
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["0", "blinked", "4", "4", "6"]);
        Ok(())
    });
}

// trio/test_testing.py::test_assert_no_checkpoints
#[test]
fn checkpoints_are_counted_by_halves() {
    trial(async || {
        assert_no_checkpoints(async {}).await;
        assert_checkpoints(checkpoint()).await?;
        let failed = AssertUnwindSafe(assert_no_checkpoints(checkpoint()));
        assert!(failed.catch_unwind().await.is_err());
        let failed = AssertUnwindSafe(assert_checkpoints(async {}));
        assert!(failed.catch_unwind().await.is_err());
        let failed = AssertUnwindSafe(assert_checkpoints(cancel_shielded_checkpoint()));
        assert!(failed.catch_unwind().await.is_err());
        let failed = AssertUnwindSafe(assert_no_checkpoints(cancel_shielded_checkpoint()));
        assert!(failed.catch_unwind().await.is_err());
        let failed = AssertUnwindSafe(assert_no_checkpoints(checkpoint_if_cancelled()));
        assert!(failed.catch_unwind().await.is_err());
        let both = async {
            checkpoint_if_cancelled().await?;
            cancel_shielded_checkpoint().await;
            Result::Ok(())
        };
        assert_checkpoints(both).await
    });
}

// trio/test_testing.py::test_Sequencer#a
#[test]
fn turns_come_in_the_order_of_their_numbers() {
    trial(async || {
        let (sequencer, log) = (Sequencer::new(), Log::default());
        let (sequencer, log) = (&sequencer, &log);
        nursery(async |n| {
            for turns in [[0, 4], [2, 3]] {
                n.start_soon(async move {
                    for number in turns {
                        let _turn = sequencer.turn(number).await?;
                        checkpoint().await?;
                        log.note(number.to_string());
                    }
                    Ok(())
                });
            }
            n.start_soon(async move {
                let _turn = sequencer.turn(1).await?;
                log.note("1");
                Ok(())
            });
            let _turn = sequencer.turn(5).await?;
            log.note("5");
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["0", "1", "2", "3", "4", "5"]);
        Ok(())
    });
}

// trio/test_testing.py::test_Sequencer#b
#[test]
fn turn_that_is_used_twice() {
    trial(async || {
        let sequencer = Sequencer::new();
        drop(sequencer.turn(0).await?);
        let error = sequencer.turn(0).await.unwrap_err();
        let used = error.downcast_ref::<SequenceError>();
        assert_eq!(used, Some(&SequenceError::Used(0)));
        drop(sequencer.turn(1).await?);
        Ok(())
    });
}

// trio/test_testing.py::test_Sequencer_cancel
#[test]
fn cancelled_turn_breaks_the_sequence() {
    trial(async || {
        let sequencer = Sequencer::new();
        let broken = |error: tractor_runtime::Error| {
            error.downcast_ref::<SequenceError>() == Some(&SequenceError::Broken)
        };
        nursery(async |n| {
            let sequencer = &sequencer;
            let first = sequencer.turn(0).await?;
            let cancelled = n.start_soon(async {
                drop(sequencer.turn(1).await?);
                Ok(())
            });
            let waits = n.start_soon(async {
                let error = sequencer.turn(2).await.unwrap_err();
                assert!(broken(error));
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            cancelled.cancel_and_wait().await?;
            waits.await?;
            drop(first);
            assert!(broken(sequencer.turn(3).await.unwrap_err()));
            Ok(())
        })
        .await
    });
}
