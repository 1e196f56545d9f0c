//! Sleeping, and scopes that end by themselves.

mod common;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Waker;
use std::time::{Duration, Instant as StdInstant};

use common::{Boom, trial, trial_in_real_time, trial_with_clock};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever, sleep_until};
use tractor_runtime::{
    CancelScope, EffectiveDeadline, Error, Result, TooSlow, cancellable, checkpoint,
    current_effective_deadline, fail_after, fail_at, finally, move_on_after, move_on_at, nursery,
    shield_for,
};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);

// trio/test_timeouts.py::test_sleep#a
#[test]
fn sleep_is_never_early() {
    trial_in_real_time(async || {
        let started = StdInstant::now();
        sleep_until(now() + TICK).await?;
        assert!(started.elapsed() >= TICK);
        let started = StdInstant::now();
        sleep(TICK).await?;
        assert!(started.elapsed() >= TICK);
        Ok(())
    });
}

// trio/test_timeouts.py::test_sleep#c
#[test]
fn sleep_of_zero_sees_a_deadline() {
    trial(async || {
        let scope = CancelScope::new().deadline(now());
        let outcome = scope
            .run(async { Ok(sleep(Duration::ZERO).await?) })
            .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

// trio/test_timeouts.py::test_move_on_after
#[test]
fn move_on_after_leaves_without_an_error() {
    trial(async || {
        let start = now();
        let outcome = move_on_after(SECOND, async { Ok(sleep(100 * SECOND).await?) }).await?;
        assert!(outcome.timed_out());
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

// trio/test_timeouts.py::test_cannot_wake_sleep_forever
#[test]
fn sleep_forever_sleeps_on_when_woken_by_hand() {
    trial(async || {
        let waker = RefCell::new(None::<Waker>);
        nursery(async |n| {
            let sleeper = n.start_soon(async {
                let mut sleep = pin!(sleep_forever());
                Ok(poll_fn(|cx| {
                    waker.replace(Some(cx.waker().clone()));
                    sleep.as_mut().poll(cx)
                })
                .await?)
            });
            wait_all_tasks_blocked().await?;
            waker.take().expect("the sleeper was polled").wake();
            wait_all_tasks_blocked().await?;
            assert!(waker.borrow().is_some(), "it was polled once more");
            assert!(!sleeper.is_finished());
            n.cancel();
            Ok(())
        })
        .await
    });
}

// trio/test_timeouts.py::test_move_on_after_moves_on_even_if_shielded
#[test]
fn own_deadline_of_a_shielded_scope() {
    trial(async || {
        let start = now();
        let outer = CancelScope::new();
        outer.handle().cancel();
        outer
            .run(async {
                let shielded = CancelScope::new().timeout(SECOND).shield(true);
                let outcome = shielded.run(async { Ok(sleep_forever().await?) }).await?;
                assert!(outcome.timed_out());
                Ok(())
            })
            .await?;
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

// trio/test_timeouts.py::test_fail_after_fails_even_if_shielded
#[test]
fn fail_after_in_a_cancelled_scope_behind_a_shield() {
    trial(async || {
        let start = now();
        let outer = CancelScope::new();
        outer.handle().cancel();
        let error = outer
            .run(async {
                CancelScope::new()
                    .shield(true)
                    .run(fail_after(SECOND, async { Ok(sleep_forever().await?) }))
                    .await
            })
            .await
            .unwrap_err();
        assert!(error.is_timeout());
        assert!(error.is::<TooSlow>());
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

// trio/test_timeouts.py::test_fail#b
#[test]
fn quick_body_of_a_timeout() {
    trial(async || {
        assert_eq!(fail_after(100 * SECOND, async { Ok(1) }).await?, 1);
        assert_eq!(fail_at(now() + 100 * SECOND, async { Ok(2) }).await?, 2);
        let outcome = move_on_at(now() + 100 * SECOND, async { Ok(3) }).await?;
        assert_eq!(outcome.completed(), Some(3));
        Ok(())
    });
}

// trio/test_timeouts.py::test_timeout_deadline_on_entry#a
// trio/test_timeouts.py::test_timeout_deadline_on_entry#b
#[test]
fn timeout_counts_from_the_entry() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().timeout(5 * SECOND);
        let handle = scope.handle();
        clock.jump(3 * SECOND);
        let start = now();
        scope
            .run(async {
                assert_eq!(handle.deadline(), Some(start + 5 * SECOND));
                handle.set_deadline(Some(start + 3 * SECOND));
                assert_eq!(handle.deadline(), Some(start + 3 * SECOND));
                handle.set_timeout(4 * SECOND);
                assert_eq!(handle.deadline(), Some(start + 4 * SECOND));
                Ok(())
            })
            .await?;
        Ok(())
    });
}

// trio/test_timeouts.py::test_timeout_deadline_on_entry#c
#[test]
fn shield_of_a_scope_with_a_timeout_is_kept() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().timeout(5 * SECOND);
        let handle = scope.handle();
        handle.set_shield(true);
        clock.jump(3 * SECOND);
        let start = now();
        scope
            .run(async {
                assert!(handle.shielded());
                assert_eq!(handle.deadline(), Some(start + 5 * SECOND));
                Ok(())
            })
            .await?;
        Ok(())
    });
}

// trio/test_timeouts.py::test_invalid_access_unentered#a
// trio/test_timeouts.py::test_invalid_access_unentered#b
#[test]
fn timeout_and_deadline_of_a_scope_that_does_not_run_yet() {
    trial_with_clock(async |clock| {
        let relative = CancelScope::new().timeout(5 * SECOND);
        assert_eq!(relative.handle().deadline(), None);

        let absolute = CancelScope::new().deadline(now() + SECOND);
        let handle = absolute.handle();
        assert_eq!(handle.deadline(), Some(now() + SECOND));
        handle.set_timeout(5 * SECOND);
        clock.jump(3 * SECOND);
        let start = now();
        absolute
            .run(async {
                assert_eq!(handle.deadline(), Some(start + 5 * SECOND));
                Ok(())
            })
            .await?;
        Ok(())
    });
}

#[test]
fn explicit_cancel_of_what_fail_after_waits_for_is_no_timeout() {
    trial(async || {
        let outer = CancelScope::new();
        let handle = outer.handle();
        let outcome = outer
            .run(fail_after(SECOND, async {
                handle.cancel();
                Ok(checkpoint().await?)
            }))
            .await?;
        assert!(outcome.is_cancelled());
        assert!(!outcome.timed_out());
        Ok(())
    });
}

#[test]
fn error_of_a_body_that_was_too_slow_wins() {
    trial(async || {
        let error = fail_after(SECOND, async {
            sleep_forever().await.unwrap_err();
            Err::<(), Error>(Boom("K").into())
        })
        .await
        .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("K")));
        assert!(!error.is_timeout());
        Ok(())
    });
}

#[test]
fn effective_deadline_is_the_earliest_that_no_shield_hides() {
    trial(async || {
        let start = now();
        assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
        move_on_after(5 * SECOND, async {
            move_on_after(9 * SECOND, async {
                let at = EffectiveDeadline::At(start + 5 * SECOND);
                assert_eq!(current_effective_deadline(), at);
                let shielded = CancelScope::new().timeout(7 * SECOND).shield(true);
                shielded
                    .run(async {
                        let at = EffectiveDeadline::At(start + 7 * SECOND);
                        assert_eq!(current_effective_deadline(), at);
                        Ok(())
                    })
                    .await
            })
            .await
        })
        .await?;
        let scope = CancelScope::new();
        scope.handle().cancel();
        scope
            .run(async {
                assert_eq!(current_effective_deadline(), EffectiveDeadline::Cancelled);
                Ok(())
            })
            .await?;
        Ok(())
    });
}

#[test]
fn shield_with_a_limit_ends_at_its_limit() {
    trial(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        scope
            .run(async {
                handle.cancel();
                let short = shield_for(5 * SECOND, async { sleep(SECOND).await.map(|()| "done") });
                assert_eq!(short.await??, "done");
                let long = shield_for(5 * SECOND, std::future::pending::<()>());
                assert!(long.await.is_err());
                Ok(())
            })
            .await?;
        assert_eq!(now() - start, 6 * SECOND);
        Ok(())
    });
}

#[test]
fn limit_of_a_shield_counts_nothing_while_nothing_is_cancelled() {
    trial(async || {
        let done = shield_for(SECOND, async { sleep(5 * SECOND).await.map(|()| "done") }).await?;
        assert_eq!(done?, "done");
        Ok(())
    });
}

#[test]
fn cancellable_reaches_a_future_that_knows_no_scopes() {
    trial(async || {
        let outcome = move_on_after(SECOND, async {
            let result = cancellable(std::future::pending::<()>()).await;
            assert!(result.is_err());
            Ok(result?)
        })
        .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

#[test]
fn finally_cleans_up_after_a_future_that_was_dropped() {
    trial(async || {
        let start = now();
        let cleaned = std::cell::Cell::new(false);
        let outcome = move_on_after(SECOND, async {
            finally(
                std::future::pending::<Result<()>>(),
                10 * SECOND,
                async || {
                    sleep(SECOND).await.unwrap();
                    cleaned.set(true);
                },
            )
            .await
        })
        .await?;
        assert!(outcome.timed_out());
        assert!(cleaned.get());
        assert_eq!(now() - start, 2 * SECOND);
        Ok(())
    });
}

#[test]
fn fail_after_that_was_cancelled_from_outside_once_fails_at_its_own_deadline() {
    trial(async || {
        let outer = CancelScope::new();
        let middle = CancelScope::new();
        let handle = middle.handle();
        outer.handle().cancel();
        let error = outer
            .run(middle.run(fail_after(SECOND, async {
                sleep_forever().await.unwrap_err();
                handle.set_shield(true);
                Ok(sleep_forever().await?)
            })))
            .await
            .unwrap_err();
        assert!(error.is_timeout());
        assert!(!error.contains_cancelled());
        Ok(())
    });
}
