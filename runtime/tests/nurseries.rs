//! Nurseries: closing, errors, names, handles to children.

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::{Boom, Log, booms, trial};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, ChildCancelled, EffectiveDeadline, Error, NurseryClosed,
    NurseryHandle, NurseryOptions, checkpoint, current_effective_deadline, move_on_after, nursery,
    shield,
};

const SECOND: Duration = Duration::from_secs(1);

// core/test_run.py::test_nursery_closure
#[test]
fn nursery_takes_children_until_the_last_one_is_gone() {
    trial(async || {
        let log = Log::default();
        let handle = nursery(async |n| {
            let log = &log;
            n.start_soon(async move {
                wait_all_tasks_blocked().await?;
                n.start_soon(async move {
                    log.note("second");
                    Ok(())
                });
                Ok(())
            });
            assert!(!n.handle().is_closed());
            Ok(n.handle())
        })
        .await?;
        assert_eq!(log.seen(), ["second"]);
        assert!(handle.is_closed());
        let refused: Result<_, NurseryClosed> = handle.start_soon(async { Ok(()) });
        assert!(refused.is_err());
        Ok(())
    });
}

// core/test_run.py::test_spawn_name
#[test]
fn task_is_called_by_its_name_or_its_place() {
    trial(async || {
        let name = || {
            CancelCause::new(CancelKind::Requested)
                .task()
                .expect("a task runs")
        };
        nursery(async |n| {
            n.start_soon_named("supper", async {
                assert!(name().contains("supper"), "{}", name());
                Ok(())
            });
            n.start_soon(async {
                assert!(name().contains(file!()), "{}", name());
                Ok(())
            });
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_task_nursery_stack
#[test]
fn nested_nurseries_close_from_the_inside_out() {
    trial(async || {
        let (outer_handle, inner_handle) = (RefCell::new(None), RefCell::new(None));
        let closed = |handle: &RefCell<Option<NurseryHandle>>| {
            handle
                .borrow()
                .as_ref()
                .is_none_or(NurseryHandle::is_closed)
        };
        let error = nursery(async |outer| {
            outer_handle.replace(Some(outer.handle()));
            assert!(!closed(&outer_handle) && closed(&inner_handle));
            let result = nursery(async |inner| {
                inner_handle.replace(Some(inner.handle()));
                assert!(!closed(&outer_handle) && !closed(&inner_handle));
                Err::<(), Error>(Boom("K").into())
            })
            .await;
            assert!(!closed(&outer_handle) && closed(&inner_handle));
            result
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["K"]);
        assert!(closed(&outer_handle) && closed(&inner_handle));
        Ok(())
    });
}

// core/test_run.py::test_task_tree_introspection#c
#[test]
fn each_task_is_where_the_tree_says() {
    trial(async || {
        let start = now();
        let sees = |seconds: u32| {
            assert_eq!(
                current_effective_deadline(),
                EffectiveDeadline::At(start + seconds * SECOND)
            );
        };
        let within = |seconds: u32| {
            NurseryOptions::new().scope(CancelScope::new().timeout(seconds * SECOND))
        };
        within(9)
            .run(async |outer| {
                let child = outer.start_soon(async {
                    within(7)
                        .run(async |inner| {
                            let grandchild = inner.start_soon(async {
                                sees(7);
                                wait_all_tasks_blocked().await?;
                                sees(7);
                                Ok(())
                            });
                            sees(7);
                            assert!(!grandchild.is_finished());
                            grandchild.await
                        })
                        .await?;
                    sees(9);
                    Ok(())
                });
                outer.start_soon(async {
                    sees(9);
                    Ok(())
                });
                sees(9);
                child.await
            })
            .await?;
        assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
        Ok(())
    });
}

// core/test_run.py::test_nursery_explicit_exception
#[test]
fn error_of_the_body_alone() {
    trial(async || {
        let error = nursery(async |_| Err::<(), Error>(Boom("K").into()))
            .await
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("K")));
        Ok(())
    });
}

// core/test_run.py::test_Nursery_private_init
#[test]
fn nursery_is_open_in_its_body() {
    trial(async || {
        nursery(async |n| {
            assert!(!n.handle().is_closed());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_nursery_exception_chaining_doesnt_make_context_loops
#[test]
fn group_has_no_source() {
    trial(async || {
        let error = nursery(async |n| {
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            Err::<(), Error>(Boom("K").into())
        })
        .await
        .unwrap_err();
        assert_eq!(error.leaves().count(), 2);
        let std = error.into_std();
        assert!(std::error::Error::source(&*std).is_none());
        Ok(())
    });
}

// core/test_run.py::test_nursery_collapse
#[test]
fn nested_nurseries_that_both_fail() {
    trial(async || {
        let error = nursery(async |outer| {
            outer.start_soon(async { Ok(sleep_forever().await?) });
            outer.start_soon(async { Err::<(), Error>(Boom("outer").into()) });
            nursery(async |inner| {
                inner.start_soon(async { Ok(sleep_forever().await?) });
                inner.start_soon(async { Err::<(), Error>(Boom("inner").into()) });
                Ok(())
            })
            .await
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["inner", "outer"]);
        assert!(!error.contains_cancelled());
        assert!(
            error
                .members()
                .iter()
                .all(|member| member.group_name().is_none())
        );
        Ok(())
    });
}

// extra::spawner_scope_does_not_apply
#[test]
fn scope_of_the_spawner_does_not_apply_to_the_child() {
    trial(async || {
        nursery(async |n| {
            let scope = CancelScope::new();
            scope.handle().cancel();
            let child = scope
                .run(async { Ok(n.start_soon(async { Ok(checkpoint().await?) })) })
                .await?
                .completed()
                .expect("no checkpoint was in between");
            child.await
        })
        .await
    });
}

// extra::nursery_scope_called_after_outer_cancel
#[test]
fn nursery_in_a_cancelled_scope_passes_the_cancellation_on() {
    trial(async || {
        let outer = CancelScope::new();
        let outer_handle = outer.handle();
        let inner = CancelScope::new();
        let inner_handle = inner.handle();
        outer
            .run(NurseryOptions::new().scope(inner).run(async |n| {
                n.start_soon(async { Ok(sleep_forever().await?) });
                wait_all_tasks_blocked().await?;
                outer_handle.cancel();
                Ok(())
            }))
            .await?;
        assert!(inner_handle.cancel_called());
        assert!(!inner_handle.cancelled_caught());
        assert!(outer_handle.cancelled_caught());
        Ok(())
    });
}

// extra::shielded_child_outlives_cancel_without_catch
#[test]
fn shielded_child_that_finishes_is_not_cut_short() {
    trial(async || {
        let start = now();
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let outcome = outer
            .run(NurseryOptions::new().scope(inner).run(async |n| {
                n.start_soon(async {
                    shield(sleep(SECOND)).await?;
                    Ok(())
                });
                shield(wait_all_tasks_blocked()).await?;
                outer_handle.cancel();
                Ok(())
            }))
            .await?;
        assert!(outcome.completed().is_some());
        assert!(!outer_handle.cancelled_caught());
        assert!(!inner_handle.cancel_called());
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

// extra::child_catches_its_own_scope
#[test]
fn scope_of_one_child_cancelled_from_the_parent() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            let cut = n.start_soon(scope.run(async { Ok(sleep_forever().await?) }));
            let sibling = n.start_soon(async { Ok(sleep(SECOND).await?) });
            wait_all_tasks_blocked().await?;
            handle.cancel();
            assert!(cut.await?.is_cancelled());
            sibling.await?;
            assert!(!n.scope().cancel_called());
            Ok(())
        })
        .await
    });
}

#[test]
fn child_borrows_from_its_parent() {
    trial(async || {
        let words = ["never", "gonna"];
        let total = Cell::new(0);
        nursery(async |n| {
            for word in &words {
                let total = &total;
                n.start_soon(async move {
                    checkpoint().await?;
                    total.set(total.get() + word.len());
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(total.get(), 10);
        Ok(())
    });
}

#[test]
fn child_is_never_polled_inside_of_start_soon() {
    trial(async || {
        let ran = Cell::new(false);
        nursery(async |n| {
            n.start_soon(async {
                ran.set(true);
                Ok(())
            });
            assert!(!ran.get());
            Ok(())
        })
        .await?;
        assert!(ran.get());
        Ok(())
    });
}

#[test]
fn child_of_a_cancelled_nursery_runs_to_its_first_checkpoint() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.cancel();
            n.start_soon(async {
                log.note("started");
                checkpoint().await?;
                log.note("beyond");
                Ok(())
            });
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["started"]);
        Ok(())
    });
}

#[test]
fn body_cut_short_by_its_own_nursery() {
    trial(async || {
        let error = nursery(async |n| {
            n.cancel();
            Ok(sleep_forever().await?)
        })
        .await
        .unwrap_err();
        assert!(error.is_cancelled());
        checkpoint().await?;

        let outcome = NurseryOptions::new()
            .run(async |n| {
                n.cancel();
                Ok(sleep_forever().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn body_that_ends_before_its_nursery_is_cancelled_gives_its_value() {
    trial(async || {
        let value = nursery(async |n| {
            n.start_soon(async { Ok(sleep_forever().await?) });
            n.cancel();
            Ok("result")
        })
        .await?;
        assert_eq!(value, "result");
        Ok(())
    });
}

#[test]
fn deadline_of_a_nursery_covers_its_children() {
    trial(async || {
        let start = now();
        let outcome = NurseryOptions::new()
            .scope(CancelScope::new().timeout(SECOND))
            .run(async |n| {
                n.start_soon(async { Ok(sleep_forever().await?) });
                Ok("body")
            })
            .await?;
        assert_eq!(now() - start, SECOND);
        assert_eq!(outcome.completed(), Some("body"));
        Ok(())
    });
}

#[test]
fn handle_gives_the_value_of_its_child() {
    trial(async || {
        nursery(async |n| {
            let child = n.start_soon(async {
                sleep(SECOND).await?;
                Ok(5)
            });
            assert!(!child.is_finished());
            assert_eq!(child.await?, 5);
            Ok(())
        })
        .await
    });
}

#[test]
fn handle_is_awaited_by_another_child() {
    trial(async || {
        nursery(async |n| {
            let child = n.start_soon(async {
                sleep(SECOND).await?;
                Ok(5)
            });
            n.start_soon(async move {
                assert_eq!(child.await?, 5);
                Ok(())
            });
            Ok(())
        })
        .await
    });
}

#[test]
fn handle_gives_the_error_of_its_child() {
    trial(async || {
        let error = nursery(async |n| {
            let child = n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            shield(async {
                let error = child.await.unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&Boom("V")));
            })
            .await;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["V"]);
        Ok(())
    });
}

#[test]
fn one_child_cancelled_alone() {
    trial(async || {
        nursery(async |n| {
            let cut = n.start_soon(async { Ok(sleep_forever().await?) });
            let sibling = n.start_soon(async { Ok(sleep(SECOND).await?) });
            wait_all_tasks_blocked().await?;
            cut.cancel();
            let error = cut.await.unwrap_err();
            assert!(error.is::<ChildCancelled>(), "{error}");
            assert!(!error.is_cancelled(), "the parent was not cancelled");
            sibling.await
        })
        .await
    });
}

#[test]
fn one_who_is_cancelled_together_with_the_child_does_not_fail_of_it() {
    trial(async || {
        let outcome = move_on_after(
            SECOND,
            nursery(async |n| {
                let child = n.start_soon(async { Ok(sleep_forever().await?) });
                n.start_soon(child);
                Ok(())
            }),
        )
        .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

#[test]
fn one_child_cancelled_and_waited_for() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            let child = n.start_soon(async {
                let result = sleep_forever().await;
                shield(sleep(SECOND)).await?;
                log.note("cleaned up");
                Ok(result?)
            });
            wait_all_tasks_blocked().await?;
            child.cancel_and_wait().await?;
            log.note("waited");
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["cleaned up", "waited"]);
        Ok(())
    });
}

#[test]
fn waiting_for_a_child_to_be_gone() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            let child = n.start_soon(async {
                sleep(SECOND).await?;
                log.note("child");
                Ok(())
            });
            child.gone().await?;
            assert!(child.is_finished());
            log.note("gone");
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["child", "gone"]);
        Ok(())
    });
}

#[test]
fn dropped_handle_lets_the_child_run() {
    trial(async || {
        let ran = Cell::new(false);
        nursery(async |n| {
            drop(n.start_soon(async {
                sleep(SECOND).await?;
                ran.set(true);
                Ok(())
            }));
            Ok(())
        })
        .await?;
        assert!(ran.get());
        Ok(())
    });
}

#[test]
fn waiting_for_a_child_is_cut_short_by_the_own_scope() {
    trial(async || {
        nursery(async |n| {
            let child = n.start_soon(async {
                sleep(5 * SECOND).await?;
                Ok(5)
            });
            let outcome = move_on_after(SECOND, child).await?;
            assert!(outcome.timed_out());
            Ok(())
        })
        .await
    });
}

#[test]
fn children_from_elsewhere() {
    trial(async || {
        let handle = RefCell::new(None);
        nursery(async |outer| {
            outer.start_soon(async {
                wait_all_tasks_blocked().await?;
                let target: NurseryHandle = handle.borrow().clone().expect("it is open");
                let child = target.start_soon(async {
                    sleep(SECOND).await?;
                    Ok(5)
                })?;
                assert_eq!(child.await?, 5);
                target.cancel();
                Ok(())
            });
            nursery(async |inner| {
                handle.replace(Some(inner.handle()));
                inner.start_soon(async { Ok(sleep_forever().await?) });
                Ok(())
            })
            .await
        })
        .await
    });
}
