//! Cancel scopes: delivery, shields, nesting, deadlines, and who absorbs a cancellation.

mod common;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};

use common::{Boom, Log, NoteDrop, booms, trial, trial_in_real_time, trial_with_clock};
use tractor_runtime::testing::{checkpoint_counts, wait_all_tasks_blocked};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, Cancelled, EffectiveDeadline, Error, Outcome, cancel_shielded_checkpoint,
    check_cancelled, checkpoint, checkpoint_if_cancelled, current_effective_deadline, fail_after,
    move_on_after, nursery, shield,
};

const SECOND: Duration = Duration::from_secs(1);

// core/test_run.py::test_cancel_points#b
#[test]
fn checkpoint_passes_before_cancel_and_not_after() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                checkpoint().await?;
                handle.cancel();
                checkpoint().await?;
                Ok("beyond")
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_points#c
#[test]
fn wait_in_a_cancelled_scope_ends_at_once() {
    trial(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope.run(async { Ok(sleep_forever().await?) }).await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

// core/test_run.py::test_cancel_edge_cases#a
#[test]
fn cancel_is_idempotent() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                handle.cancel();
                Ok(checkpoint().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(handle.cancel_called());
        assert!(handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_edge_cases#b
#[test]
fn cancellation_is_told_at_every_operation() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                assert!(sleep_forever().await.is_err());
                assert!(sleep_forever().await.is_err());
                Ok("swallowed")
            })
            .await?;
        assert_eq!(outcome.completed(), Some("swallowed"));
        assert!(handle.cancel_called());
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_exceptiongroup_filtering
#[test]
fn cancellations_are_taken_out_of_a_group_by_the_outermost_scope() {
    trial(async || {
        let outer = CancelScope::new();
        let outer_handle = outer.handle();
        let error = outer
            .run(async {
                let result = nursery(async |n| {
                    n.start_soon(async { Ok(sleep_forever().await?) });
                    n.start_soon(async { Ok(sleep_forever().await?) });
                    n.cancel();
                    shield(async { wait_all_tasks_blocked().await.unwrap() }).await;
                    n.start_soon(async { Ok(sleep_forever().await?) });
                    outer_handle.cancel();
                    n.start_soon(async { Err::<(), _>(Boom("K").into()) });
                    Ok(())
                })
                .await;
                let error = result.unwrap_err();
                assert!(error.contains_cancelled());
                assert_eq!(booms(&error), ["K"]);
                Err::<(), _>(error)
            })
            .await
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("K")));
        assert!(!error.contains_cancelled());
        assert!(outer_handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_shielding#b
// core/test_run.py::test_cancel_shielding#c
// core/test_run.py::test_cancel_shielding#d
#[test]
fn shield_hides_what_is_outside_of_it_and_nothing_else() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let finished = outer
            .run(async {
                let shielded = inner.run(async {
                    outer_handle.cancel();
                    inner_handle.set_shield(true);
                    checkpoint().await.unwrap();

                    let innermost = CancelScope::new();
                    innermost.handle().cancel();
                    let outcome = innermost.run(async { Ok(checkpoint().await?) }).await?;
                    assert!(outcome.is_cancelled());
                    checkpoint().await.unwrap();

                    inner_handle.set_shield(false);
                    checkpoint().await.unwrap_err();
                    inner_handle.set_shield(true);
                    checkpoint().await.unwrap();
                    Ok("to the end")
                });
                Ok(shielded.await?.completed())
            })
            .await?;
        assert_eq!(finished.completed(), Some(Some("to the end")));
        assert!(!inner_handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_inheritance
#[test]
fn cancel_reaches_the_leaves_of_a_tree() {
    trial(async || {
        let leaves = Cell::new(0);
        let leaf = || async {
            let told = sleep_forever().await;
            assert!(told.is_err());
            leaves.set(leaves.get() + 1);
            Ok(told?)
        };
        let leaf = &leaf;
        nursery(async |n| {
            for _ in 0..2 {
                n.start_soon(nursery(async move |worker| {
                    worker.start_soon(leaf());
                    worker.start_soon(leaf());
                    Ok(())
                }));
            }
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(leaves.get(), 4);
        Ok(())
    });
}

// core/test_run.py::test_cancel_shield_abort
#[test]
fn unshielding_a_nursery_cancels_its_sleeping_child() {
    trial(async || {
        let told = Cell::new(false);
        let outer = CancelScope::new();
        let outer_handle = outer.handle();
        let outcome = outer
            .run(async {
                outer_handle.cancel();
                tractor_runtime::NurseryOptions::new()
                    .scope(CancelScope::new().shield(true))
                    .run(async |n| {
                        n.start_soon(async {
                            let result = sleep_forever().await;
                            told.set(result.is_err());
                            Ok(result?)
                        });
                        shield(async {
                            wait_all_tasks_blocked().await.unwrap();
                            assert!(!told.get());
                            n.scope().set_shield(false);
                            wait_all_tasks_blocked().await.unwrap();
                            assert!(told.get());
                        })
                        .await;
                        Ok(())
                    })
                    .await
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(told.get());
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_nesting#b
#[test]
fn shield_and_own_cancel_of_an_inner_scope() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let inside = inner
                    .run(async {
                        outer_handle.cancel();
                        checkpoint().await.unwrap_err();
                        checkpoint().await.unwrap_err();
                        inner_handle.set_shield(true);
                        checkpoint().await.unwrap();
                        inner_handle.cancel();
                        Ok(checkpoint().await?)
                    })
                    .await?;
                assert!(inside.is_cancelled());
                Ok(())
            })
            .await?;
        assert!(inner_handle.cancelled_caught());
        assert_eq!(outcome.completed(), Some(()));
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_nesting#c
#[test]
fn cancellation_that_was_not_delivered_stays_in_its_scope() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                cancel_shielded_checkpoint().await;
                Ok("done")
            })
            .await?;
        checkpoint().await?;
        assert_eq!(outcome.completed(), Some("done"));
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_unshield_while_cancel_propagating
#[test]
fn shield_set_while_a_cancellation_passes_does_not_absorb_it() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                outer_handle.cancel();
                inner
                    .run(async {
                        let result = checkpoint().await;
                        inner_handle.set_shield(true);
                        Ok(result?)
                    })
                    .await
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(outer_handle.cancelled_caught());
        assert!(!inner_handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_unbound#a
#[test]
fn scope_cancelled_before_it_runs() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.cancel();
        nursery(async |n| {
            n.start_soon(async {
                fail_after(SECOND, async {
                    let outcome = scope.run(async { Ok(sleep_forever().await?) }).await?;
                    assert!(outcome.is_cancelled());
                    Ok(())
                })
                .await
            });
            Ok(())
        })
        .await?;
        assert!(handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_unbound#b
#[test]
fn scope_of_a_child_cancelled_by_its_parent() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            n.start_soon(async {
                assert!(
                    scope
                        .run(async { Ok(sleep_forever().await?) })
                        .await?
                        .is_cancelled()
                );
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            handle.cancel();
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_cancel_unbound#c
#[test]
fn shield_set_before_the_scope_runs() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new().shield(true);
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        assert!(inner_handle.shielded());
        let outcome = outer
            .run(async {
                inner
                    .run(async {
                        outer_handle.cancel();
                        checkpoint().await.unwrap();
                        inner_handle.set_shield(false);
                        Ok(checkpoint().await?)
                    })
                    .await
            })
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

// core/test_run.py::test_cancel_unbound#d
#[test]
fn cancel_after_the_scope_is_left() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        assert!(!handle.is_active() && !handle.is_exited());
        scope
            .run(async {
                assert!(handle.is_active() && !handle.is_exited());
                Ok(())
            })
            .await?;
        assert!(handle.is_exited());
        assert!(!handle.cancel_called());
        handle.cancel();
        checkpoint().await?;
        assert!(handle.cancel_called());
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_cancel_unbound#h
#[test]
fn asking_an_expired_scope_that_does_not_run_yet_cancels_it() {
    trial_with_clock(async |clock| {
        clock.jump(SECOND);
        let handle = CancelScope::new().deadline(now() + SECOND).handle();
        assert!(!handle.cancel_called());
        handle.set_deadline(Some(now() - SECOND));
        assert!(handle.cancel_called());
        handle.set_deadline(Some(now() + SECOND));
        assert!(handle.cancel_called());
        Ok(())
    });
}

// core/test_run.py::test_timekeeping
#[test]
fn deadline_of_the_real_clock_is_never_early() {
    trial_in_real_time(async || {
        let target = Duration::from_millis(100);
        let started = StdInstant::now();
        let scope = CancelScope::new().deadline(now() + target);
        assert!(
            scope
                .run(async { Ok(sleep_forever().await?) })
                .await?
                .timed_out()
        );
        let elapsed = started.elapsed();
        assert!(
            elapsed >= target && elapsed < target + 5 * SECOND,
            "{elapsed:?}"
        );
        Ok(())
    });
}

// core/test_run.py::test_yield_briefly_checks_for_timeout
#[test]
fn checkpoint_sees_a_deadline_that_has_passed() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().deadline(now() + 5 * SECOND);
        let outcome = scope
            .run(async {
                checkpoint().await.unwrap();
                clock.jump(10 * SECOND);
                Ok(checkpoint().await?)
            })
            .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

// core/test_run.py::test_trivial_yields#a
#[test]
fn two_halves_make_a_checkpoint() {
    trial(async || {
        let (cancel_points, schedule_points) = checkpoint_counts();
        checkpoint().await?;
        let (cancels, schedules) = checkpoint_counts();
        assert!(cancels > cancel_points && schedules > schedule_points);

        checkpoint_if_cancelled().await?;
        cancel_shielded_checkpoint().await;
        let (cancels_then, schedules_then) = checkpoint_counts();
        assert!(cancels_then > cancels && schedules_then > schedules);
        Ok(())
    });
}

// core/test_run.py::test_trivial_yields#b
#[test]
fn empty_nursery_in_a_cancelled_scope_delivers_nothing() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.cancel();
        let outcome = scope
            .run(async {
                nursery(async |_| Ok(())).await?;
                Ok("done")
            })
            .await?;
        assert_eq!(outcome.completed(), Some("done"));
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_trivial_yields#d
#[test]
fn failing_body_of_an_empty_nursery_in_a_cancelled_scope() {
    trial(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let result = scope
            .run(nursery(async |_| Err::<(), Error>(Boom("K").into())))
            .await;
        let error = result.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("K")));
        assert!(error.group_name().is_none());
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_deadline_duplicates
#[test]
fn deadline_moved_many_times() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        scope
            .run(async {
                let start = now();
                for _ in 0..10_000 {
                    handle.set_deadline(Some(start + 10 * SECOND));
                    handle.set_deadline(Some(start + 20 * SECOND));
                }
                Ok(sleep(15 * SECOND).await?)
            })
            .await?
            .completed()
            .expect("the later deadline holds");
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_no_cancellederror
#[test]
fn group_without_cancellations_passes_a_cancelled_scope_unchanged() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.cancel();
        let group = Error::group("both", vec![Boom("A").into(), Boom("B").into()]);
        let raised = group.clone();
        let error = scope.run(async { Err::<(), _>(raised) }).await.unwrap_err();
        assert_eq!(error.id(), group.id());
        assert_eq!(booms(&error), ["A", "B"]);
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// core/test_run.py::test_nursery_cancel_doesnt_create_cyclic_garbage
#[test]
fn cancelled_nursery_keeps_nothing_alive() {
    trial(async || {
        let owned = Rc::new(());
        let handle = nursery(async |n| {
            let in_child = owned.clone();
            n.start_soon(async move {
                let _in_child = in_child;
                Ok(sleep_forever().await?)
            });
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(n.handle())
        })
        .await?;
        assert_eq!(Rc::strong_count(&owned), 1);
        assert!(handle.is_closed());
        Ok(())
    });
}

// core/test_run.py::test_locals_destroyed_promptly_on_cancel
#[test]
fn locals_of_a_cancelled_child_are_dropped_before_the_nursery_ends() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async {
                let _local = NoteDrop(&log, "local");
                Ok(sleep_forever().await?)
            });
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["local"]);
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_repr
#[test]
fn debug_text_of_a_scope_tells_its_state() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let text = format!("{handle:?}");
        assert!(text.contains("unentered"), "{text}");
        scope
            .run(async {
                let text = format!("{handle:?}");
                assert!(text.contains("active"), "{text}");
                handle.set_deadline(Some(now() + SECOND));
                let text = format!("{handle:?}");
                assert!(text.contains("in 1.00s"), "{text}");
                clock.jump(11 * SECOND);
                let text = format!("{handle:?}");
                assert!(text.contains("10.00s ago"), "{text}");
                handle.cancel();
                let text = format!("{handle:?}");
                assert!(text.contains("cancelled"), "{text}");
                Ok(())
            })
            .await?;
        let text = format!("{handle:?}");
        assert!(text.contains("exited"), "{text}");
        Ok(())
    });
}

// core/test_run.py::test_cancel_scope_validation#a
#[test]
fn last_of_timeout_and_deadline_counts() {
    trial(async || {
        let scope = CancelScope::new()
            .deadline(now() + SECOND)
            .timeout(5 * SECOND);
        let handle = scope.handle();
        let start = now();
        scope
            .run(async {
                assert_eq!(handle.deadline(), Some(start + 5 * SECOND));
                Ok(())
            })
            .await?;
        let scope = CancelScope::new()
            .timeout(5 * SECOND)
            .deadline(now() + SECOND);
        assert_eq!(scope.handle().deadline(), Some(start + SECOND));
        Ok(())
    });
}

// extra::deadline_not_seen_by_check_if_cancelled
#[test]
fn passed_deadline_is_seen_by_those_that_look_at_the_clock() {
    trial_with_clock(async |clock| {
        let deadline = now() + SECOND;
        let scope = CancelScope::new().deadline(deadline);
        let handle = scope.handle();
        scope
            .run(async {
                clock.jump(2 * SECOND);
                checkpoint_if_cancelled().await.unwrap();
                assert_eq!(
                    current_effective_deadline(),
                    EffectiveDeadline::At(deadline)
                );
                assert!(handle.cancel_called());
                assert_eq!(current_effective_deadline(), EffectiveDeadline::Cancelled);
                checkpoint_if_cancelled().await.unwrap_err();
                Ok(())
            })
            .await?;

        let scope = CancelScope::new().timeout(SECOND);
        scope
            .run(async {
                check_cancelled().unwrap();
                clock.jump(2 * SECOND);
                check_cancelled().unwrap_err();
                Ok(())
            })
            .await?;
        Ok(())
    });
}

// extra::deadline_rescued_before_processing
#[test]
fn deadline_moved_before_anybody_saw_it_pass() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().timeout(SECOND);
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                clock.jump(2 * SECOND);
                handle.set_deadline(Some(now() + SECOND));
                Ok(checkpoint().await?)
            })
            .await?;
        assert_eq!(outcome.completed(), Some(()));
        assert!(!handle.cancel_called());
        Ok(())
    });
}

// extra::deadline_extension_too_late
#[test]
fn deadline_moved_after_it_was_seen_to_pass() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().timeout(SECOND);
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                clock.jump(2 * SECOND);
                checkpoint().await.unwrap_err();
                handle.set_deadline(Some(now() + SECOND));
                Ok(checkpoint().await?)
            })
            .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

// extra::zero_timeout_cancels_first_checkpoint
#[test]
fn timeout_of_zero_cancels_the_first_checkpoint() {
    trial(async || {
        let outcome = move_on_after(Duration::ZERO, async { Ok(checkpoint().await?) }).await?;
        assert!(outcome.timed_out());

        let scope = CancelScope::new().timeout(Duration::ZERO);
        let handle = scope.handle();
        let outcome = scope.run(async { Ok("no checkpoint") }).await?;
        assert_eq!(outcome.completed(), Some("no checkpoint"));
        assert!(handle.cancel_called());
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

// extra::both_deadlines_past
#[test]
fn outer_of_two_passed_deadlines_absorbs() {
    for gap in [Duration::ZERO, SECOND] {
        trial_with_clock(async move |clock| {
            let deadline = now() + 5 * SECOND;
            let outer = CancelScope::new().deadline(deadline);
            let inner = CancelScope::new().deadline(deadline - gap);
            let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
            outer
                .run(inner.run(async {
                    clock.jump(10 * SECOND);
                    Ok(checkpoint().await?)
                }))
                .await?;
            assert!(outer_handle.cancelled_caught());
            assert!(!inner_handle.cancelled_caught());
            Ok(())
        });
    }
}

// extra::outer_cancelled_while_inner_cancelled_propagates
#[test]
fn outer_cancelled_while_the_cancellation_of_the_inner_passes() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                inner
                    .run(async {
                        inner_handle.cancel();
                        let result = checkpoint().await;
                        outer_handle.cancel();
                        Ok(result?)
                    })
                    .await
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(outer_handle.cancelled_caught());
        assert!(!inner_handle.cancelled_caught());
        Ok(())
    });
}

// extra::inner_shielded_and_cancelled
#[test]
fn shielded_and_cancelled_inner_absorbs_its_own() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new().shield(true);
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(async {
                let inside = inner
                    .run(async {
                        inner_handle.cancel();
                        outer_handle.cancel();
                        Ok(checkpoint().await?)
                    })
                    .await?;
                assert!(inside.is_cancelled());
                Ok(checkpoint().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(inner_handle.cancelled_caught());
        assert!(outer_handle.cancelled_caught());
        Ok(())
    });
}

// extra::foreign_cancelled_reraised
#[test]
fn saved_cancellation_given_out_elsewhere() {
    trial(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let saved = Cell::new(None);
        scope
            .run(async {
                saved.set(checkpoint().await.err());
                Ok(())
            })
            .await?;
        let saved = saved.take().expect("the checkpoint was cancelled");

        let raised = saved.clone();
        let result = CancelScope::new()
            .run(async { Err::<(), _>(raised.into()) })
            .await;
        assert!(result.unwrap_err().is_cancelled());

        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope.run(async { Err::<(), _>(saved.into()) }).await?;
        assert!(matches!(outcome, Outcome::Cancelled(_)));
        Ok(())
    });
}

// extra::drop_of_scope_guard
#[test]
fn running_scope_dropped_in_mid_wait() {
    trial(async || {
        let (dropped, sibling) = (CancelScope::new(), CancelScope::new());
        let (dropped_handle, sibling_handle) = (dropped.handle(), sibling.handle());
        nursery(async |n| {
            let sibling = n.start_soon(sibling.run(async { Ok(sleep(SECOND).await?) }));
            let waiting = dropped.run(async { Ok(sleep_forever().await?) });
            futures::future::select(std::pin::pin!(waiting), std::pin::pin!(checkpoint())).await;
            // Both futures are gone here; nothing is left of the scope but its handle.
            assert!(dropped_handle.is_exited());
            assert!(!dropped_handle.cancel_called());
            dropped_handle.cancel();
            assert_eq!(sibling.await?.completed(), Some(()));
            Ok(())
        })
        .await?;
        assert!(!sibling_handle.cancel_called());
        Ok(())
    });
}

#[test]
fn scope_dropped_before_its_first_poll() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let running = scope.run(async { Ok(()) });
        assert!(!handle.is_exited());
        drop(running);
        assert!(handle.is_exited() && !handle.is_active());
        handle.cancel();
        checkpoint().await?;
        assert!(handle.cancel_called() && !handle.cancelled_caught());

        let scope = CancelScope::new().deadline(now() + SECOND);
        let handle = scope.handle();
        handle.cancel();
        drop(scope.run(async { Ok(()) }));
        assert!(handle.is_exited() && handle.cancel_called());
        assert_eq!(handle.deadline(), Some(now() + SECOND));
        Ok(())
    });
}

#[test]
fn error_of_another_kind_passes_a_cancelled_scope() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let error = scope
            .run(async {
                handle.cancel();
                checkpoint().await.unwrap_err();
                Err::<(), _>(Boom("K").into())
            })
            .await
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("K")));
        assert!(!handle.cancelled_caught());
        Ok(())
    });
}

#[test]
fn cancellation_inside_of_an_io_error_is_recognised() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.cancel();
        let outcome = scope
            .run(async {
                let error = std::io::Error::from(checkpoint().await.unwrap_err());
                Err::<(), _>(error.into())
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert!(handle.cancelled_caught());
        Ok(())
    });
}

/// An error of a user's, with a cancellation as its source or none.
#[derive(Debug)]
enum Commit {
    Unknown(Cancelled),
    Refused,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not known to be committed")
    }
}

impl std::error::Error for Commit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown(cancelled) => Some(cancelled),
            Self::Refused => None,
        }
    }
}

async fn commit() -> Result<(), Commit> {
    checkpoint().await.map_err(Commit::Unknown)?;
    Err(Commit::Refused)
}

#[test]
fn error_with_a_cancellation_as_its_source_is_not_absorbed() {
    trial(async || {
        for inside_io in [false, true] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            handle.cancel();
            let error = scope
                .run(async {
                    let error = commit().await.unwrap_err();
                    Err::<(), _>(match inside_io {
                        false => error.into(),
                        true => std::io::Error::other(error).into(),
                    })
                })
                .await
                .unwrap_err();
            assert!(!error.is_cancelled() && !error.contains_cancelled());
            assert!(!handle.cancelled_caught());
            assert!(matches!(error.downcast_ref(), Some(Commit::Unknown(_))));
            assert_eq!(error.to_string(), "not known to be committed");
        }
        Ok(())
    });
}

#[test]
fn child_that_fails_with_a_wrapped_cancellation_fails_its_nursery() {
    trial(async || {
        let failed = nursery(async |n| {
            n.start_soon(async {
                let result = commit().await;
                Ok(result?)
            });
            n.cancel();
            Ok(())
        });
        let error = failed.await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Commit::Unknown(_))));
        Ok(())
    });
}

#[test]
fn cancellation_taken_out_of_its_wrapper_is_one() {
    fn out_of(error: Commit) -> Error {
        match error {
            Commit::Unknown(cancelled) => cancelled.into(),
            refused => refused.into(),
        }
    }
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.cancel();
        let outcome = scope.run(async { commit().await.map_err(out_of) }).await?;
        assert!(outcome.is_cancelled());
        assert!(handle.cancelled_caught());
        let error = commit().await.map_err(out_of).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Commit::Refused)));
        Ok(())
    });
}
