//! Entering a runtime, tasks taking turns, and what comes out.

mod common;

use std::cell::Cell;

use common::{Boom, Log, booms, guarded, trial, trial_with_clock};
use tractor_runtime::sync::Event;
use tractor_runtime::testing::{VirtualClock, wait_all_tasks_blocked};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, EffectiveDeadline, Error, Runtime, checkpoint, current_effective_deadline,
    in_runtime, nursery, run,
};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

// core/test_run.py::test_basic#a
#[test]
fn value_of_main_comes_out() {
    guarded(|| assert_eq!(run(async || Ok(8)).unwrap(), 8));
}

// core/test_run.py::test_basic#d
#[test]
fn value_after_a_checkpoint_comes_out() {
    let main = async || {
        checkpoint().await?;
        Ok(8)
    };
    guarded(move || assert_eq!(run(main).unwrap(), 8));
}

// core/test_run.py::test_initial_task_error
#[test]
fn error_of_main_comes_out_as_itself() {
    guarded(|| {
        let error = run(async || Err::<(), Error>(Boom("V").into())).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("V")));
        assert!(error.group_name().is_none());
    });
}

// core/test_run.py::test_run_nesting
#[test]
#[should_panic(expected = "inside")]
fn run_inside_of_a_run_panics() {
    guarded(|| {
        let _ = run(async || run(async || Ok(())));
    });
}

// core/test_run.py::test_nursery_main_block_error_basic
#[test]
fn error_of_a_body_comes_out_as_itself() {
    trial(async || {
        let raised = Error::from(Boom("V"));
        let given = raised.clone();
        let error = nursery(async |_| Err::<(), _>(given)).await.unwrap_err();
        assert_eq!(error.id(), raised.id());
        Ok(())
    });
}

// core/test_run.py::test_child_crash_basic
#[test]
fn error_of_a_child_comes_out_as_itself() {
    trial(async || {
        let raised = Error::from(Boom("V"));
        let given = raised.clone();
        let error = nursery(async |n| {
            n.start_soon(async move { Err::<(), _>(given) });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(error.id(), raised.id());
        Ok(())
    });
}

// core/test_run.py::test_basic_interleave
#[test]
fn children_take_turns() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            for name in ["a", "b"] {
                let log = &log;
                n.start_soon(async move {
                    for round in 0..3 {
                        log.note(format!("{round}{name}"));
                        checkpoint().await?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        let mut seen = log.seen();
        for pair in seen.chunks_mut(2) {
            pair.sort_unstable();
        }
        assert_eq!(seen, ["0a", "0b", "1a", "1b", "2a", "2b"]);
        Ok(())
    });
}

#[test]
fn child_that_is_woken_in_a_batch_which_is_stopped_runs_in_the_next_one() {
    guarded(|| {
        run(async || {
            let event = Event::new();
            nursery(async |n| {
                n.start_soon(async { Ok(event.wait().await?) });
                wait_all_tasks_blocked().await?;
                // More than one turn polls. The rest of them wakes nobody.
                for number in 0..400 {
                    let event = &event;
                    n.start_soon(async move {
                        if number == 0 {
                            event.set();
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}

// core/test_run.py::test_task_crash_propagation
#[test]
fn failing_child_cancels_a_looping_sibling() {
    trial(async || {
        let told = Cell::new(false);
        let error = nursery(async |n| {
            n.start_soon(async {
                loop {
                    if let Err(cancelled) = checkpoint().await {
                        told.set(true);
                        return Err::<(), Error>(cancelled.into());
                    }
                }
            });
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(told.get());
        assert_eq!(error.downcast_ref(), Some(&Boom("V")));
        assert!(error.group_name().is_none());
        Ok(())
    });
}

// core/test_run.py::test_main_and_task_both_crash
#[test]
fn body_and_child_both_fail() {
    trial(async || {
        let error = nursery(async |n| {
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            Err::<(), Error>(Boom("K").into())
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["K", "V"]);
        assert!(error.group_name().is_some());
        Ok(())
    });
}

// core/test_run.py::test_two_child_crashes
#[test]
fn two_children_fail_without_a_checkpoint() {
    trial(async || {
        let error = nursery(async |n| {
            n.start_soon(async { Err::<(), Error>(Boom("K").into()) });
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["K", "V"]);
        Ok(())
    });
}

// core/test_run.py::test_child_crash_wakes_parent
#[test]
fn failing_child_wakes_a_blocked_body() {
    trial(async || {
        let error = nursery(async |n| {
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            Ok(sleep_forever().await?)
        })
        .await
        .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("V")));
        assert!(!error.contains_cancelled());
        Ok(())
    });
}

// core/test_run.py::test_current_time
#[test]
fn clock_moves_on() {
    guarded(|| {
        run(async || {
            let before = now();
            sleep(std::time::Duration::from_millis(1)).await?;
            assert!(now() > before);
            Ok(())
        })
        .unwrap();
    });
}

// core/test_run.py::test_current_time_with_mock_clock
// core/test_run.py::test_current_clock
#[test]
fn virtual_clock_moves_when_told() {
    trial_with_clock(async |clock| {
        let before = now();
        assert_eq!(before, clock.now());
        clock.jump(SECOND * 3);
        assert_eq!(now() - before, SECOND * 3);
        assert_eq!(now(), clock.now());
        Ok(())
    });
}

// core/test_run.py::test_out_of_context
#[test]
#[should_panic(expected = "runtime")]
fn asking_for_the_time_outside_of_a_runtime_panics() {
    assert!(!in_runtime());
    now();
}

// core/test_run.py::test_current_statistics#c
#[test]
fn cancel_wakes_at_once() {
    trial_with_clock(async |_| {
        let told = Cell::new(false);
        nursery(async |n| {
            let child = n.start_soon(async {
                let result = sleep_forever().await;
                told.set(result.is_err());
                Ok(result?)
            });
            wait_all_tasks_blocked().await?;
            child.cancel();
            // The child comes before this task again: the call itself woke it.
            tractor_runtime::cancel_shielded_checkpoint().await;
            assert!(told.get());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_current_statistics#d
#[test]
fn deadline_is_known_inside_of_its_scope_only() {
    trial_with_clock(async |_| {
        let at = now() + SECOND * 5;
        CancelScope::new()
            .deadline(at)
            .run(async {
                assert_eq!(current_effective_deadline(), EffectiveDeadline::At(at));
                Ok(())
            })
            .await?;
        assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
        Ok(())
    });
}

#[test]
fn runtime_is_current_only_while_it_runs() {
    guarded(|| {
        assert!(!in_runtime());
        run(async || {
            assert!(in_runtime());
            std::thread::spawn(|| assert!(!in_runtime()))
                .join()
                .unwrap();
            Ok(())
        })
        .unwrap();
        assert!(!in_runtime());
    });
}

#[test]
fn root_scope_cancelled_from_within() {
    guarded(|| {
        let mut runtime = Runtime::builder().clock(VirtualClock::new()).build();
        let root = runtime.root();
        let error = runtime
            .run(async || {
                root.cancel();
                Ok(sleep_forever().await?)
            })
            .unwrap_err();
        assert!(error.is_cancelled());
    });
}

#[test]
fn root_scope_cancelled_before_the_start() {
    guarded(|| {
        let mut runtime = Runtime::builder().build();
        runtime.root().cancel();
        let error = runtime
            .run(async || Ok(sleep_forever().await?))
            .unwrap_err();
        assert!(error.is_cancelled());
    });
}

#[test]
fn two_runs_after_each_other() {
    guarded(|| {
        for round in 0..3 {
            let value = run(async || {
                sleep(std::time::Duration::from_millis(1)).await?;
                Ok(round)
            });
            assert_eq!(value.unwrap(), round);
        }
    });
}
