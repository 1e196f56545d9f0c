//! Children that say when they are ready: `Nursery::start`.

mod common;

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, trial};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelKind, CancelScope, EffectiveDeadline, Error, NotStarted, NurseryOptions, Result,
    TaskStatus, checkpoint, current_effective_deadline, move_on_after, nursery, shield,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn start_waits_for_the_value() {
    trial(async || {
        let start = now();
        nursery(async |n| {
            let value = n
                .start(async |status: TaskStatus<_>| {
                    sleep(SECOND).await?;
                    status.started(7);
                    sleep(SECOND).await?;
                    Ok(())
                })
                .await?;
            assert_eq!(value, 7);
            assert_eq!(now() - start, SECOND);
            Ok(())
        })
        .await?;
        assert_eq!(now() - start, 2 * SECOND);
        Ok(())
    });
}

// core/test_run.py::test_nursery_start#c
#[test]
fn status_that_nobody_waits_for() {
    async fn service(status: TaskStatus<u32>) -> Result<()> {
        sleep(SECOND).await?;
        status.started(7);
        sleep(SECOND).await?;
        Ok(())
    }
    trial(async || {
        let start = now();
        service(TaskStatus::ignored()).await?;
        assert_eq!(now() - start, 2 * SECOND);
        nursery(async |n| {
            assert_eq!(n.start(service).await?, 7);
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_nursery_start#e
#[test]
fn error_before_started_is_the_error_of_start() {
    trial(async || {
        nursery(async |n| {
            let error = n
                .start(async |_: TaskStatus<()>| Err(Boom("K").into()))
                .await
                .unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Boom("K")));
            assert!(error.group_name().is_none());
            assert!(!n.scope().cancel_called());
            n.start_soon(async { Ok(checkpoint().await?) }).await
        })
        .await
    });
}

#[test]
fn end_without_started_is_an_error_of_start() {
    trial(async || {
        nursery(async |n| {
            let error = n.start(async |_: TaskStatus<()>| Ok(())).await.unwrap_err();
            assert!(error.is::<NotStarted>(), "{error}");
            assert!(!n.scope().cancel_called());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_nursery_start#g
#[test]
fn started_and_then_a_checkpoint_while_the_caller_is_cancelled() {
    trial(async || {
        nursery(async |n| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            handle.cancel();
            let outcome = scope
                .run(async {
                    n.start(async |status: TaskStatus<_>| {
                        status.started(7);
                        Ok(checkpoint().await?)
                    })
                    .await
                })
                .await?;
            assert!(outcome.is_cancelled());
            assert!(handle.cancelled_caught());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_nursery_start#h
#[test]
fn started_and_returned_while_the_caller_is_cancelled() {
    trial(async || {
        nursery(async |n| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            handle.cancel();
            let outcome = scope
                .run(async {
                    n.start(async |status: TaskStatus<_>| {
                        status.started(7);
                        Ok(())
                    })
                    .await
                })
                .await?;
            assert_eq!(outcome.completed(), Some(7));
            assert!(!handle.cancelled_caught());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_nursery_start#i
#[test]
fn started_and_failed_while_the_caller_is_cancelled() {
    trial(async || {
        nursery(async |n| {
            let scope = CancelScope::new();
            scope.handle().cancel();
            let error = scope
                .run(async {
                    n.start(async |status: TaskStatus<_>| {
                        status.started(7);
                        Err(Boom("K").into())
                    })
                    .await
                })
                .await
                .unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Boom("K")));
            assert!(!n.scope().cancel_called());
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_task_tree_introspection#b
// extra::start_caller_deadline_no_longer_applies
#[test]
fn child_moves_from_the_scope_of_its_caller_to_the_nursery() {
    trial(async || {
        let start = now();
        let finished = Cell::new(false);
        nursery(async |n| {
            let finished = &finished;
            let outcome = move_on_after(
                SECOND,
                n.start(async move |status: TaskStatus<_>| {
                    let of_caller = EffectiveDeadline::At(start + SECOND);
                    assert_eq!(current_effective_deadline(), of_caller);
                    status.started(());
                    checkpoint().await?;
                    assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
                    sleep(5 * SECOND).await?;
                    finished.set(true);
                    Ok(())
                }),
            )
            .await?;
            assert_eq!(outcome.completed(), Some(()));
            Ok(())
        })
        .await?;
        assert!(finished.get());
        assert_eq!(now() - start, 5 * SECOND);
        Ok(())
    });
}

// extra::target_cancel_ignored_before_started
#[test]
fn cancel_of_the_nursery_reaches_the_child_when_it_has_started() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.cancel();
            let log = &log;
            shield(n.start(async move |status: TaskStatus<_>| {
                sleep(SECOND).await?;
                log.note("slept");
                status.started(());
                checkpoint().await?;
                log.note("beyond");
                Ok(())
            }))
            .await
        })
        .await?;
        assert_eq!(log.seen(), ["slept"]);
        Ok(())
    });
}

// core/test_run.py::test_nursery_start_with_cancelled_nursery#a
// core/test_run.py::test_nursery_start_with_cancelled_nursery#b
#[test]
fn nested_children_of_a_starting_child_are_cancelled_with_its_nursery() {
    for cancel_first in [true, false] {
        trial(async move || {
            let told = Cell::new(0);
            let start = now();
            nursery(async |n| {
                let told = &told;
                shield(n.start(async move |status: TaskStatus<_>| {
                    let sleeper = || async {
                        let result = sleep(50 * SECOND).await;
                        told.set(told.get() + 1);
                        Ok(result?)
                    };
                    nursery(async |nested| {
                        nested.start_soon(sleeper());
                        nested.start_soon(sleeper());
                        wait_all_tasks_blocked().await?;
                        if cancel_first {
                            n.cancel();
                            status.started(());
                        } else {
                            status.started(());
                            n.cancel();
                        }
                        Ok(())
                    })
                    .await
                }))
                .await
            })
            .await?;
            assert_eq!(told.get(), 2, "cancelled before started: {cancel_first}");
            assert_eq!(now(), start);
            Ok(())
        });
    }
}

// core/test_run.py::test_nursery_start_keeps_nursery_open#a
#[test]
fn pending_start_keeps_the_nursery_open() {
    trial(async || {
        let start = now();
        nursery(async |n| {
            for delay in [0, 1] {
                n.start_soon(async move {
                    sleep(delay * SECOND).await?;
                    n.start(async |status: TaskStatus<_>| {
                        sleep(2 * SECOND).await?;
                        status.started(());
                        sleep(3 * SECOND).await?;
                        Ok(())
                    })
                    .await?;
                    assert_eq!(now() - start, (delay + 2) * SECOND);
                    Ok(())
                });
            }
            sleep(SECOND).await?;
            Ok(())
        })
        .await?;
        assert_eq!(now() - start, 6 * SECOND);
        Ok(())
    });
}

// core/test_run.py::test_trio_run_strict_before_started
#[test]
fn group_of_a_starting_child_is_kept_as_it_is() {
    for before in [true, false] {
        trial(async move || {
            let group = Error::group("two", vec![Boom("A").into(), Boom("B").into()]);
            let raised = group.clone();
            let error = nursery(async |n| {
                n.start(async move |status: TaskStatus<_>| {
                    if !before {
                        status.started(());
                    }
                    Err(raised)
                })
                .await
            })
            .await
            .unwrap_err();
            assert_eq!(error.id(), group.id(), "before started: {before}");
            Ok(())
        });
    }
}

// core/test_run.py::test_start_exception_preserves_cause_and_context
#[test]
fn error_of_start_keeps_its_chain() {
    #[derive(Debug)]
    struct Outer(Boom);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    trial(async || {
        let error = nursery(async |n| {
            n.start(async |_: TaskStatus<()>| Err(Outer(Boom("deep")).into()))
                .await
        })
        .await
        .unwrap_err();
        let chain: Vec<_> = error.source_chain().map(ToString::to_string).collect();
        assert_eq!(chain.last().map(String::as_str), Some("boom deep"));
        Ok(())
    });
}

#[test]
fn caller_cancelled_before_started_waits_for_the_cleanup_of_the_child() {
    trial(async || {
        let log = Log::default();
        let start = now();
        nursery(async |n| {
            let log = &log;
            let outcome = move_on_after(
                SECOND,
                n.start(async move |_: TaskStatus<()>| {
                    let result = sleep_forever().await;
                    shield(sleep(SECOND)).await?;
                    log.note("cleaned up");
                    Ok(result?)
                }),
            )
            .await?;
            assert!(outcome.timed_out());
            log.note("left");
            assert!(!n.scope().cancel_called());
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["cleaned up", "left"]);
        assert_eq!(now() - start, 2 * SECOND);
        Ok(())
    });
}

#[test]
fn failure_after_started_is_the_failure_of_the_nursery() {
    trial(async || {
        let error = nursery(async |n| {
            let value = n
                .start(async |status: TaskStatus<_>| {
                    status.started(7);
                    checkpoint().await?;
                    Err(Boom("late").into())
                })
                .await?;
            assert_eq!(value, 7);
            Ok(sleep_forever().await?)
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["late"]);
        Ok(())
    });
}

#[test]
fn start_of_a_child_in_a_nursery_with_a_deadline() {
    trial(async || {
        let start = now();
        let outcome = NurseryOptions::new()
            .scope(CancelScope::new().timeout(2 * SECOND))
            .run(async |n| {
                n.start(async |status: TaskStatus<_>| {
                    sleep(SECOND).await?;
                    status.started(());
                    Ok(sleep_forever().await?)
                })
                .await
            })
            .await?;
        assert_eq!(now() - start, 2 * SECOND);
        assert_eq!(outcome.completed(), Some(()));
        Ok(())
    });
}

#[test]
fn start_that_is_dropped_before_it_gave_the_value_cancels_the_child() {
    for starts in [false, true] {
        trial(async move || {
            let log = Log::default();
            nursery(async |n| {
                let mut start = Box::pin(n.start(async |status: TaskStatus<NoteDrop<'_>>| {
                    let _kept = match starts {
                        true => {
                            status.started(NoteDrop(&log, "value dropped"));
                            None
                        }
                        false => Some(status),
                    };
                    let cancelled = sleep_forever().await.unwrap_err();
                    assert_eq!(cancelled.cause().kind(), CancelKind::ParentCancelled);
                    shield(sleep(SECOND)).await?;
                    log.note("child cleaned up");
                    Ok(())
                }));
                let polled = poll_fn(|cx| Poll::Ready(start.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
                wait_all_tasks_blocked().await?;
                drop(start);
                checkpoint().await?; // the nursery itself goes on
                log.note("body done");
                Ok(())
            })
            .await?;
            let expected = ["value dropped", "body done", "child cleaned up"];
            assert_eq!(log.seen(), expected[usize::from(!starts)..]);
            Ok(())
        });
    }
}
