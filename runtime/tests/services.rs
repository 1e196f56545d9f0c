//! Children that are there for the others, and children that wait for room.

mod common;

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, trial};
use tractor_runtime::sync::Event;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelKind, CancelScope, ChildCancelled, Error, NurseryOptions, Result, checkpoint,
    move_on_after, nursery, shield_for,
};

const SECOND: Duration = Duration::from_secs(1);

// core/test_run.py::test_spawn_system_task
#[test]
fn service_runs_until_the_others_are_done() {
    trial(async || {
        let start = now();
        let log = Log::default();
        nursery(async |n| {
            n.child().name("service").service().start_soon(async {
                let cancelled = sleep_forever().await.unwrap_err();
                assert_eq!(cancelled.cause().kind(), CancelKind::Shutdown);
                log.note("service");
                Err::<(), _>(cancelled.into())
            });
            n.start_soon(async {
                sleep(2 * SECOND).await?;
                log.note("child");
                Ok(())
            });
            sleep(SECOND).await?;
            log.note("body");
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["body", "child", "service"]);
        assert_eq!(now() - start, 2 * SECOND);
        Ok(())
    });
}

#[test]
fn service_may_clean_up_after_the_others() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.child().service().start_soon(async {
                let _ = sleep_forever().await;
                let _ = shield_for(SECOND, sleep(SECOND / 2)).await;
                log.note("flushed");
                Ok(())
            });
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["flushed"]);
        Ok(())
    });
}

#[test]
fn service_that_knows_nothing_of_scopes_is_dropped() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.child().service().start_soon(async {
                let _note = NoteDrop(&log, "dropped");
                pending::<Result<()>>().await
            });
            checkpoint().await?;
            assert_eq!(log.count(), 0);
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["dropped"]);
        Ok(())
    });
}

#[test]
fn end_of_a_service_fails_nobody() {
    trial(async || {
        let value = nursery(async |n| {
            let service = n.child().service().start_soon(async { Ok(1) });
            sleep(SECOND).await?;
            Ok(service.await? + 1)
        })
        .await?;
        assert_eq!(value, 2);
        Ok(())
    });
}

// core/test_run.py::test_system_task_crash
#[test]
fn service_that_fails_cancels_the_others() {
    trial(async || {
        let log = Log::default();
        let failed = nursery(async |n| {
            n.child().service().start_soon(async {
                sleep(SECOND).await?;
                Err::<(), Error>(Boom("service").into())
            });
            let cancelled = sleep_forever().await.unwrap_err();
            log.note("body");
            Err::<(), _>(cancelled.into())
        })
        .await;
        assert!(failed.unwrap_err().is::<Boom>());
        assert_eq!(log.seen(), ["body"]);
        Ok(())
    });
}

// core/test_run.py::test_system_task_crash_ExceptionGroup
#[test]
fn service_whose_own_children_fail() {
    trial(async || {
        let failed = nursery(async |n| {
            n.child().service().start_soon(nursery(async |inner| {
                inner.start_soon(async { Err::<(), Error>(Boom("one").into()) });
                inner.start_soon(async { Err::<(), Error>(Boom("two").into()) });
                Ok(())
            }));
            Ok(sleep_forever().await?)
        })
        .await;
        assert_eq!(booms(&failed.unwrap_err()), ["one", "two"]);
        Ok(())
    });
}

// core/test_run.py::test_system_task_crash_plus_Cancelled
#[test]
fn service_that_fails_while_it_is_cancelled_with_others() {
    trial(async || {
        let failed = nursery(async |n| {
            n.child().service().start_soon(async {
                let _ = sleep_forever().await;
                Err::<(), Error>(Boom("cleanup").into())
            });
            n.child()
                .service()
                .start_soon(async { Ok(sleep_forever().await?) });
            Ok(())
        })
        .await;
        let error = failed.unwrap_err();
        assert_eq!(booms(&error), ["cleanup"]);
        assert!(!error.contains_cancelled());
        Ok(())
    });
}

#[test]
fn service_that_starts_another_child_when_it_is_cancelled() {
    trial(async || {
        let start = now();
        let log = Log::default();
        nursery(async |n| {
            n.child().service().start_soon(async {
                let _ = sleep_forever().await;
                n.start_soon(async {
                    sleep(SECOND).await?;
                    log.note("last child");
                    Ok(())
                });
                n.child().service().start_soon(async {
                    let _ = sleep_forever().await;
                    log.note("last service");
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["last child", "last service"]);
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

#[test]
fn service_that_is_started_with_a_value() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            let value = n
                .child()
                .service()
                .start(async |status| {
                    status.started(7);
                    let _ = sleep_forever().await;
                    log.note("service");
                    Ok(())
                })
                .await?;
            assert_eq!(value, 7);
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["service"]);
        Ok(())
    });
}

#[test]
fn service_that_was_cancelled_alone() {
    trial(async || {
        nursery(async |n| {
            let service = n
                .child()
                .service()
                .start_soon(async { Ok(sleep_forever().await?) });
            service.cancel_and_wait().await?;
            assert!(service.await.unwrap_err().is::<ChildCancelled>());
            Ok(())
        })
        .await
    });
}

#[test]
fn nursery_with_services_only_in_a_cancelled_scope() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(nursery(async |n| {
                n.child()
                    .service()
                    .start_soon(async { Ok(sleep_forever().await?) });
                handle.cancel();
                Ok(())
            }))
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn services_of_a_nursery_that_is_dropped() {
    trial(async || {
        let log = Log::default();
        {
            let mut dropped = Box::pin(nursery(async |n| {
                n.child().service().start_soon(async {
                    let _note = NoteDrop(&log, "service");
                    Ok(sleep_forever().await?)
                });
                Ok(sleep_forever().await?)
            }));
            for _ in 0..2 {
                let polled: std::task::Poll<Result<()>> = futures::poll!(dropped.as_mut());
                assert!(polled.is_pending());
            }
            assert_eq!(log.count(), 0);
        }
        assert_eq!(log.seen(), ["service"]);
        Ok(())
    });
}

#[test]
fn children_wait_for_room_in_their_order() {
    trial(async || {
        let start = now();
        let (running, most) = (Cell::new(0), Cell::new(0));
        let log = Log::default();
        NurseryOptions::new()
            .limit(2)
            .run(async |n| {
                for name in ["a", "b", "c", "d", "e"] {
                    let child = async {
                        running.set(running.get() + 1);
                        most.set(running.get().max(most.get()));
                        sleep(SECOND).await?;
                        running.set(running.get() - 1);
                        Ok(())
                    };
                    n.start_soon_limited(child).await?;
                    log.note(name);
                }
                assert_eq!(now() - start, 2 * SECOND);
                Ok(())
            })
            .await?;
        assert_eq!(most.get(), 2);
        assert_eq!(log.seen(), ["a", "b", "c", "d", "e"]);
        assert_eq!(now() - start, 3 * SECOND);
        Ok(())
    });
}

#[test]
fn cancelled_while_waiting_for_room() {
    trial(async || {
        let log = Log::default();
        NurseryOptions::new()
            .limit(1)
            .run(async |n| {
                let first = n
                    .start_soon_limited(async { Ok(sleep_forever().await?) })
                    .await?;
                let waited = move_on_after(SECOND, async {
                    let never = async {
                        log.note("started");
                        Ok(())
                    };
                    n.start_soon_limited(never).await?;
                    Ok(())
                });
                assert!(waited.await?.timed_out());
                first.cancel_and_wait().await?;
                // The room of the first was not lost to the one that did not wait for it.
                let third = n.start_soon_limited(async { Ok(3) }).await?;
                assert_eq!(third.await?, 3);
                assert_eq!(log.count(), 0);
                Ok(())
            })
            .await?;
        Ok(())
    });
}

#[test]
fn room_that_came_to_one_that_is_cancelled_goes_to_the_next() {
    trial(async || {
        let (done, log) = (Event::new(), Log::default());
        NurseryOptions::new()
            .limit(1)
            .run(async |n| {
                n.start_soon_limited(async { Ok(done.wait().await?) })
                    .await?;
                nursery(async |waiting| {
                    let first = waiting.start_soon(async {
                        n.start_soon_limited(async { Ok(()) }).await?;
                        log.note("first");
                        Ok(())
                    });
                    sleep(SECOND).await?;
                    waiting.start_soon(async {
                        n.start_soon_limited(async { Ok(()) }).await?;
                        log.note("second");
                        Ok(())
                    });
                    sleep(SECOND).await?;
                    done.set();
                    first.cancel();
                    Ok(())
                })
                .await?;
                // The first has it if the room came before its cancellation.
                assert_eq!(log.seen().last().map(String::as_str), Some("second"));
                Ok(())
            })
            .await?;
        Ok(())
    });
}

#[test]
fn without_a_limit_there_is_always_room() {
    trial(async || {
        nursery(async |n| {
            let child = n.start_soon_limited(async { Ok(1) }).await?;
            assert_eq!(child.await?, 1);
            n.cancel();
            assert!(n.start_soon_limited(async { Ok(1) }).await.is_err());
            Ok(())
        })
        .await
    });
}
