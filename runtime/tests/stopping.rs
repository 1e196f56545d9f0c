//! Soft cancel: asked to stop, code that opted in ends in its own time, and the rest when the grace
//! is over.

mod common;

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use common::{Log, trial};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tractor_runtime::sync::{Event, channel};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, EffectiveDeadline, NurseryOptions, Outcome,
    cancel_shielded_checkpoint, check_cancelled, checkpoint, current_effective_deadline,
    is_stopping, move_on_after, nursery, shield, stopping, until_stopping,
};

const GRACE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn who_opted_in_ends_in_its_own_time() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = nursery(async |n| {
            n.start_soon(async {
                sleep(SECOND).await?;
                handle.stop(GRACE);
                Ok(())
            });
            scope
                .run(async {
                    assert!(!is_stopping());
                    stopping().await?;
                    assert!(is_stopping());
                    sleep(SECOND).await?;
                    Ok("ended well")
                })
                .await
        })
        .await?;
        assert_eq!(outcome.completed(), Some("ended well"));
        assert_eq!(now() - start, 2 * SECOND);
        assert!(!handle.cancel_called() && !handle.cancelled_caught());
        Ok(())
    });
}

#[test]
fn who_did_not_is_cancelled_when_the_grace_is_over() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cause = CancelCause::new(CancelKind::Shutdown).with_reason("closing time");
        handle.stop_because(GRACE, cause.clone());
        let outcome = scope.run(async { Ok(sleep_forever().await?) }).await?;
        let Outcome::Cancelled(seen) = outcome else {
            panic!("it was cut short");
        };
        assert!(seen.same_as(&cause));
        assert_eq!(now() - start, GRACE);
        assert!(handle.cancelled_caught());
        Ok(())
    });
}

#[test]
fn futures_that_know_nothing_of_scopes_are_dropped_when_the_grace_is_over() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        scope.handle().stop(GRACE);
        let outcome = scope
            .run(async {
                let _: () = pending::<()>().await;
                Ok(())
            })
            .await?;
        assert!(outcome.is_cancelled() && !outcome.timed_out());
        assert_eq!(now() - start, GRACE);
        Ok(())
    });
}

#[test]
fn second_stop_keeps_the_earlier_end() {
    trial(async || {
        for (first, second, end) in [(10, 3, 3), (3, 10, 3)] {
            let start = now();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope
                .run(async {
                    handle.stop(first * SECOND);
                    handle.stop(second * SECOND);
                    assert_eq!(handle.grace_end(), Some(start + end * SECOND));
                    Ok(sleep_forever().await?)
                })
                .await?;
            assert!(outcome.is_cancelled());
            assert_eq!(now() - start, end * SECOND);
        }
        Ok(())
    });
}

#[test]
fn no_grace_cancels_the_next_checkpoint() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.stop(Duration::ZERO);
                checkpoint().await?;
                unreachable!("it is cancelled")
            })
            .await?;
        let _: &Outcome<()> = &outcome;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn end_of_the_grace_counts_in_the_effective_deadline() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new().timeout(2 * GRACE);
        let handle = scope.handle();
        scope
            .run(async {
                handle.stop(GRACE);
                let end = EffectiveDeadline::At(start + GRACE);
                assert_eq!(current_effective_deadline(), end);
                assert_eq!(handle.deadline(), Some(start + 2 * GRACE));
                shield(async {
                    assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
                })
                .await;
                check_cancelled()?;
                Ok(())
            })
            .await?;
        Ok(())
    });
}

#[test]
fn deadline_before_the_end_of_the_grace_wins() {
    trial(async || {
        let scope = CancelScope::new().timeout(SECOND);
        scope.handle().stop(GRACE);
        let outcome = scope.run(async { Ok(sleep_forever().await?) }).await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

#[test]
fn shield_hides_it_until_it_is_taken_away() {
    trial(async || {
        let start = now();
        let (outer, inner) = (CancelScope::new(), CancelScope::new().shield(true));
        let (handle, shielded) = (outer.handle(), inner.handle());
        let seen = outer
            .run(nursery(async |n| {
                n.start_soon(async {
                    sleep(SECOND).await?;
                    shielded.set_shield(false);
                    Ok(())
                });
                handle.stop(GRACE);
                inner
                    .run(async {
                        assert!(!is_stopping());
                        stopping().await?;
                        Ok(now() - start)
                    })
                    .await
            }))
            .await?;
        let seen = seen.completed().and_then(Outcome::completed);
        assert_eq!(seen, Some(SECOND));
        Ok(())
    });
}

#[test]
fn stop_of_the_shielded_scope_itself_is_not_hidden() {
    trial(async || {
        let scope = CancelScope::new().shield(true);
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.stop(GRACE);
                Ok(stopping().await?)
            })
            .await?;
        assert!(!outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn stopping_in_a_cancelled_scope_says_that_it_is_cancelled() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.stop(GRACE);
                handle.cancel();
                assert!(is_stopping());
                assert!(stopping().await.is_err());
                let cut = until_stopping(sleep(SECOND)).await;
                assert!(matches!(cut, Some(Err(_))));
                Ok(stopping().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn grace_that_ends_while_waiting_for_a_stop_behind_a_shield() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.stop(SECOND);
                shield(sleep(GRACE)).await?;
                Ok(stopping().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert_eq!(now() - start, GRACE);
        Ok(())
    });
}

#[test]
fn stop_before_the_entry_counts_from_the_call() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        handle.stop(GRACE);
        sleep(SECOND).await?;
        handle.stop(2 * GRACE);
        let outcome = scope
            .run(async {
                stopping().await?;
                Ok(sleep_forever().await?)
            })
            .await?;
        assert!(outcome.is_cancelled());
        assert_eq!(now() - start, GRACE);
        Ok(())
    });
}

#[test]
fn stop_of_a_scope_that_was_left_has_no_effect() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        scope.run(async { Ok(()) }).await?;
        handle.stop(Duration::ZERO);
        assert!(!handle.is_stopping() && !handle.cancel_called());
        assert_eq!(handle.grace_end(), None);
        Ok(checkpoint().await?)
    });
}

#[test]
fn work_is_dropped_where_it_waits() {
    trial(async || {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            n.start_soon(async {
                let work = async {
                    let _note = common::NoteDrop(&log, "dropped");
                    pending::<()>().await
                };
                let outcome = scope.run(async { Ok(until_stopping(work).await) }).await?;
                log.note("went on");
                assert_eq!(outcome.completed(), Some(None));
                Ok(())
            });
            sleep(SECOND).await?;
            assert_eq!(log.count(), 0);
            handle.stop(GRACE);
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["dropped", "went on"]);
        Ok(())
    });
}

#[test]
fn value_that_is_there_when_the_scope_is_asked_is_given() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            n.start_soon(async {
                let first = scope
                    .run(async {
                        let first = until_stopping(receiver.recv()).await;
                        let second = until_stopping(receiver.recv()).await;
                        Ok((first, second.is_none()))
                    })
                    .await?;
                let (first, stopped) = first.completed().expect("nobody cancelled it");
                assert!(matches!(first, Some(Ok("item"))) && stopped);
                Ok(())
            });
            sleep(SECOND).await?;
            sender.try_send("item").expect("the receiver waits");
            handle.stop(GRACE);
            Ok(())
        })
        .await
    });
}

#[test]
fn nothing_is_begun_in_a_scope_that_was_asked() {
    trial(async || {
        let begun = Cell::new(false);
        let scope = CancelScope::new();
        scope.handle().stop(GRACE);
        let outcome = scope
            .run(async { Ok(until_stopping(async { begun.set(true) }).await) })
            .await?;
        assert_eq!(outcome.completed(), Some(None));
        assert!(!begun.get());
        Ok(())
    });
}

#[test]
fn every_task_of_a_nursery_hears_of_it() {
    trial(async || {
        let log = Log::default();
        let outcome = NurseryOptions::new()
            .run(async |n| {
                for _ in 0..3 {
                    n.start_soon(async {
                        nursery(async |inner| {
                            inner.start_soon(async { Ok(stopping().await?) });
                            Ok(stopping().await?)
                        })
                        .await?;
                        log.note("child");
                        Ok(())
                    });
                }
                sleep(SECOND).await?;
                n.stop(GRACE);
                stopping().await?;
                log.note("body");
                Ok(())
            })
            .await?;
        assert!(!outcome.is_cancelled());
        assert_eq!(log.sorted(), ["body", "child", "child", "child"]);
        Ok(())
    });
}

#[test]
fn one_child_alone() {
    trial(async || {
        nursery(async |n| {
            let asked = n.start_soon(async { Ok(stopping().await?) });
            let other = n.start_soon(async { move_on_after(GRACE, stopping_ok()).await });
            checkpoint().await?;
            asked.stop(GRACE);
            asked.await?;
            assert!(other.await?.timed_out());
            Ok(())
        })
        .await
    });
}

async fn stopping_ok() -> tractor_runtime::Result<()> {
    Ok(stopping().await?)
}

#[test]
fn child_of_a_stopping_nursery_that_has_started() {
    trial(async || {
        let ready = Event::new();
        nursery(async |n| {
            n.start_soon(async {
                ready.wait().await?;
                n.stop(GRACE);
                Ok(())
            });
            // The caller of `start` hides what its nursery is asked, until the child is the
            // nursery's.
            shield(n.start(async |status| {
                ready.set();
                sleep(SECOND).await?;
                assert!(!is_stopping());
                status.started(());
                Ok(stopping().await?)
            }))
            .await?;
            Ok(())
        })
        .await
    });
}

#[test]
fn leaves_with_wakers_of_their_own() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            n.start_soon(async {
                let seen = scope
                    .run(async {
                        let mut waits = FuturesUnordered::new();
                        for _ in 0..3 {
                            waits.push(
                                async { until_stopping(pending::<()>()).await.is_none() }
                                    .boxed_local(),
                            );
                            waits.push(async { stopping().await.is_ok() }.boxed_local());
                        }
                        let mut seen = 0;
                        while let Some(told) = waits.next().await {
                            assert!(told);
                            seen += 1;
                        }
                        Ok(seen)
                    })
                    .await?;
                assert_eq!(seen.completed(), Some(6));
                Ok(())
            });
            sleep(SECOND).await?;
            handle.stop(GRACE);
            Ok(())
        })
        .await
    });
}

#[test]
fn scope_that_moves_under_one_that_was_asked() {
    trial(async || {
        let inner = CancelScope::new();
        let mut moved = Box::pin(inner.run(async { Ok(stopping().await?) }));
        // Polled once here, where nobody was asked.
        assert!(futures::poll!(moved.as_mut()).is_pending());
        let outer = CancelScope::new();
        outer.handle().stop(GRACE);
        let outcome = outer.run(moved).await?;
        let inner = outcome.completed().expect("it was not cancelled");
        assert!(inner.completed().is_some());
        cancel_shielded_checkpoint().await;
        Ok(())
    });
}

#[test]
fn body_that_asks_itself_in_the_same_poll() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let (stopped, ()) = futures::join!(until_stopping(pending::<()>()), async {
                    handle.stop(GRACE);
                });
                Ok(stopped.is_none())
            })
            .await?;
        assert_eq!(outcome.completed(), Some(true));
        Ok(())
    });
}
