//! Races, gathering, tokens for many scopes, shared tasks and timeouts that progress pushes away.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, trial};
use tractor_runtime::sync::{Event, channel};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{fail_when_stalled, move_on_when_stalled, now, sleep, sleep_forever};
use tractor_runtime::{
    CancelKind, CancelScope, CancelToken, ChildCancelled, Error, NoCompetitors, Outcome, Result,
    checkpoint, fail_after, first_ok, gather, gather_limited, join_all, move_on_after, nursery,
    race, shield, wait_any,
};

const SECOND: Duration = Duration::from_secs(1);

async fn after<T>(seconds: u32, result: std::result::Result<T, Boom>) -> Result<T> {
    sleep(seconds * SECOND).await?;
    Ok(result?)
}

#[test]
fn first_of_a_race_wins_and_the_losers_are_gone() {
    trial(async || {
        let log = Log::default();
        let begin = now();
        let slow = |name| {
            let log = &log;
            async move {
                let _note = NoteDrop(log, name);
                let error = sleep_forever().await.unwrap_err();
                assert!(error.cause().to_string().contains("another one was first"));
                assert!(error.cause().location().file().ends_with("combinators.rs"));
                // Losers clean up, and are waited for.
                shield(sleep(SECOND)).await?;
                Err(error.into())
            }
        };
        let first = wait_any((slow("a"), after(1, Ok("b")), slow("c"))).await?;
        assert_eq!((first.index, first.value), (1, "b"));
        assert_eq!(first.late, []);
        assert_eq!(log.sorted(), ["a", "c"]);
        assert_eq!(now() - begin, 2 * SECOND);
        Ok(())
    });
}

#[test]
fn race_of_arrays_and_vectors() {
    trial(async || {
        assert_eq!(race([3, 1, 2].map(|n| after(n, Ok(n)))).await?, 1);
        let many: Vec<_> = (1..100).rev().map(|n| after(n, Ok(n))).collect();
        assert_eq!(race(many).await?, 1);
        let nobody: Vec<std::future::Ready<Result<()>>> = Vec::new();
        assert!(race(nobody).await.unwrap_err().is::<NoCompetitors>());
        let nobody: Vec<std::future::Ready<Result<()>>> = Vec::new();
        assert!(first_ok(nobody).await.unwrap_err().is::<NoCompetitors>());
        Ok(())
    });
}

#[test]
fn race_is_lost_to_an_error() {
    trial(async || {
        let error = race((after(2, Ok(1)), after(1, Err(Boom("a")))))
            .await
            .unwrap_err();
        assert_eq!(booms(&error), ["a"]);
        // An error of a loser is not lost either.
        let loser = async {
            let error = sleep_forever().await.unwrap_err();
            drop(error);
            Err(Boom("b").into())
        };
        let error = race((after(1, Ok(1)), loser)).await.unwrap_err();
        assert_eq!(booms(&error), ["b"]);
        Ok(())
    });
}

#[test]
fn values_of_those_who_came_through_as_well_are_kept() {
    trial(async || {
        let (one, left) = channel(1);
        let (two, right) = channel(1);
        let outcome = nursery(async |n| {
            let both = n.start_soon(async {
                wait_any((async { Ok(left.recv().await?) }, async {
                    Ok(right.recv().await?)
                }))
                .await
            });
            wait_all_tasks_blocked().await?;
            one.try_send("one")?;
            two.try_send("two")?;
            both.await
        })
        .await?;
        let mut values = vec![outcome.value];
        values.extend(outcome.late.iter().map(|(_, value)| *value));
        values.extend(left.try_recv().ok());
        values.extend(right.try_recv().ok());
        values.sort_unstable();
        assert_eq!(values, ["one", "two"]);
        Ok(())
    });
}

#[test]
fn race_that_is_cancelled_cancels_all() {
    trial(async || {
        let log = Log::default();
        let outcome = move_on_after(
            SECOND,
            race(["a", "b"].map(|name| {
                let log = &log;
                async move {
                    let _note = NoteDrop(log, name);
                    std::future::pending::<()>().await;
                    Ok(())
                }
            })),
        );
        assert!(outcome.await?.timed_out());
        assert_eq!(log.sorted(), ["a", "b"]);
        Ok(())
    });
}

#[test]
fn first_of_a_race_beats_a_cancellation_that_comes_while_the_losers_clean_up() {
    trial(async || {
        let value = Cell::new(None);
        let outcome = move_on_after(2 * SECOND, async {
            let loser = async {
                let error = sleep_forever().await.unwrap_err();
                shield(sleep(5 * SECOND)).await?;
                Err(error.into())
            };
            value.set(Some(race((after(1, Ok(7)), loser)).await?));
            Ok(checkpoint().await?)
        });
        assert!(outcome.await?.timed_out());
        assert_eq!(value.get(), Some(7));
        Ok(())
    });
}

#[test]
fn panic_of_a_competitor_goes_on_when_the_others_are_gone() {
    trial(async || {
        let log = Log::default();
        let work = async {
            race((
                async {
                    let _note = NoteDrop(&log, "other");
                    Ok(sleep_forever().await?)
                },
                async {
                    checkpoint().await?;
                    panic!("in a race")
                },
            ))
            .await
        };
        let work = std::panic::AssertUnwindSafe(work);
        let panic = futures::FutureExt::catch_unwind(work).await.unwrap_err();
        assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "in a race");
        assert_eq!(log.seen(), ["other"]);
        Ok(())
    });
}

#[test]
fn first_success_passes_over_failures() {
    trial(async || {
        let begin = now();
        let value = first_ok((
            after(1, Err(Boom("a"))),
            after(2, Ok("b")),
            after(3, Ok("c")),
        ));
        assert_eq!(value.await?, "b");
        assert_eq!(now() - begin, 2 * SECOND);
        let failures =
            [3, 1, 2].map(|n| after::<()>(n, Err(Boom(["a", "b", "c"][n as usize - 1]))));
        let error = first_ok(failures).await.unwrap_err();
        let texts: Vec<_> = error.members().iter().map(Error::to_string).collect();
        assert_eq!(texts, ["boom c", "boom a", "boom b"]);
        let error = first_ok([after::<()>(1, Err(Boom("alone")))])
            .await
            .unwrap_err();
        assert!(error.group_name().is_none() && booms(&error) == ["alone"]);
        let outcome = move_on_after(
            2 * SECOND,
            first_ok((after(1, Err(Boom("a"))), after(9, Ok(())))),
        );
        assert!(outcome.await?.timed_out());
        Ok(())
    });
}

#[test]
fn gathered_values_are_in_order() {
    trial(async || {
        assert_eq!(gather([3, 1, 2].map(|n| after(n, Ok(n)))).await?, [3, 1, 2]);
        assert_eq!(
            gather(Vec::<std::future::Ready<Result<()>>>::new()).await?,
            []
        );
        let error = gather([after(1, Ok(())), after(2, Err(Boom("a"))), after(9, Ok(()))]);
        assert_eq!(booms(&error.await.unwrap_err()), ["a"]);
        Ok(())
    });
}

#[test]
fn gathering_only_so_many_at_a_time() {
    trial(async || {
        let (running, most, made) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let work = (0..20).map(|n| {
            made.set(made.get() + 1);
            let (running, most, made) = (&running, &most, &made);
            async move {
                running.set(running.get() + 1);
                most.set(running.get().max(most.get()));
                assert!(made.get() <= n + 3, "made too early");
                sleep(SECOND).await?;
                running.set(running.get() - 1);
                Ok(n)
            }
        });
        let values = gather_limited(3, work).await?;
        assert_eq!(values, (0..20).collect::<Vec<_>>());
        assert_eq!(most.get(), 3);
        let failing = (0..20).map(|n| after(1, if n == 4 { Err(Boom("a")) } else { Ok(()) }));
        let error = gather_limited(2, failing).await.unwrap_err();
        assert_eq!(booms(&error), ["a"]);
        Ok(())
    });
}

#[test]
fn all_are_joined_whatever_they_come_to() {
    trial(async || {
        let results =
            join_all([after(2, Ok(2)), after(1, Err(Boom("a"))), after(3, Ok(3))]).await?;
        assert_eq!(*results[0].as_ref().unwrap(), 2);
        assert_eq!(booms(results[1].as_ref().unwrap_err()), ["a"]);
        assert_eq!(*results[2].as_ref().unwrap(), 3);
        let outcome = move_on_after(SECOND, join_all([after(2, Ok(()))]));
        assert!(outcome.await?.timed_out());
        Ok(())
    });
}

#[test]
fn token_cancels_scopes_in_many_places() {
    trial(async || {
        let token = CancelToken::new();
        let outcomes = RefCell::new(Vec::new());
        nursery(async |n| {
            let work = || async {
                let outcome = token.run(async { Ok(sleep_forever().await?) }).await?;
                outcomes.borrow_mut().push(outcome.cause().unwrap().clone());
                Ok(())
            };
            n.start_soon(work());
            n.start_soon(
                async move { nursery(async |deeper| deeper.start_soon(work()).await).await },
            );
            let untouched = n.start_soon(async { Ok(sleep(SECOND).await?) });
            let told = n.start_soon(async { Ok(token.cancelled().await?) });
            wait_all_tasks_blocked().await?;
            assert!(!token.is_cancelled() && token.cause().is_none());
            token.cancel();
            token.cancel();
            told.await?;
            untouched.await
        })
        .await?;
        let cause = token.cause().unwrap();
        assert_eq!(cause.kind(), CancelKind::Requested);
        assert!(cause.location().file().ends_with("combinators.rs"));
        let outcomes = outcomes.into_inner();
        assert_eq!(outcomes.len(), 2);
        assert!(
            outcomes
                .iter()
                .all(|one| one.location() == cause.location())
        );
        // What follows it later is cancelled at once.
        let outcome = token.run(async { Ok(checkpoint().await?) }).await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

#[test]
fn scope_that_was_left_does_not_follow_its_token_any_more() {
    trial(async || {
        let token = CancelToken::new();
        let outcome = token.run(async { Ok(5) }).await?;
        assert_eq!(outcome.completed(), Some(5));
        let mut dropped = Box::pin(token.run(async { Ok(sleep_forever().await?) }));
        assert!(futures::poll!(&mut dropped).is_pending());
        let never_polled = token.run(async { Ok(()) });
        assert!(format!("{token:?}").contains("followers: 2"), "{token:?}");
        drop((dropped, never_polled));
        assert!(format!("{token:?}").contains("followers: 0"), "{token:?}");
        token.cancel();
        Ok(())
    });
}

#[test]
fn token_cancelled_before_and_while_its_scope_runs() {
    trial(async || {
        // Made, cancelled, and then run.
        let token = CancelToken::new();
        let work = token.run(async { Ok(checkpoint().await?) });
        token.cancel();
        assert!(work.await?.is_cancelled());
        // By the work itself.
        let token = CancelToken::new();
        let outcome = token.run(async {
            token.cancel();
            Ok(checkpoint().await?)
        });
        assert!(outcome.await?.is_cancelled());
        // With a deadline of the scope's own.
        let token = CancelToken::new();
        let scope = CancelScope::new().timeout(SECOND);
        let outcome = token
            .run_in(scope, async { Ok(sleep_forever().await?) })
            .await?;
        assert!(outcome.timed_out() && !token.is_cancelled());
        Ok(())
    });
}

#[test]
fn child_tokens_are_cancelled_with_their_parent_or_alone() {
    trial(async || {
        let root = CancelToken::new();
        let (one, two) = (root.child(), root.child());
        let deep = one.child().child();
        two.cancel();
        assert!(two.is_cancelled() && !root.is_cancelled() && !one.is_cancelled());
        let work = deep.run(async { Ok(sleep_forever().await?) });
        nursery(async |n| {
            let work = n.start_soon(work);
            wait_all_tasks_blocked().await?;
            root.cancel();
            assert!(deep.is_cancelled() && root.child().is_cancelled());
            root.child().cancelled().await?;
            assert!(matches!(work.await?, Outcome::Cancelled(_)));
            Ok(())
        })
        .await?;
        drop(one);
        assert_eq!(
            format!("{:?}", CancelToken::new().child()),
            "CancelToken { cause: None, followers: 0 }"
        );
        Ok(())
    });
}

#[test]
fn shared_task_is_awaited_by_many() {
    trial(async || {
        nursery(async |n| {
            let value = Rc::new(5);
            let shared = n.start_soon(async { after(2, Ok(value)).await }).shared();
            let waiting: Vec<_> = (0..3).map(|_| n.start_soon(shared.clone())).collect();
            // Who waits can be cancelled without harm to it.
            let outcome = move_on_after(SECOND, shared.clone()).await?;
            assert!(outcome.timed_out() && !shared.is_finished());
            waiting[0].cancel_and_wait().await?;
            for handle in waiting.into_iter().skip(1) {
                assert_eq!(*handle.await?, 5);
            }
            assert_eq!(*shared.clone().await?, 5);
            assert_eq!(*shared.await?, 5);
            Ok(())
        })
        .await
    });
}

#[test]
fn shared_task_that_fails_or_is_cancelled() {
    trial(async || {
        let seen = Cell::new(0);
        let error = nursery(async |n| {
            let shared = n.start_soon(after::<()>(1, Err(Boom("a")))).shared();
            for _ in 0..2 {
                let (shared, seen) = (shared.clone(), &seen);
                n.start_soon(async move {
                    let error = shield(shared).await.unwrap_err();
                    assert_eq!(booms(&error), ["a"]);
                    seen.set(seen.get() + 1);
                    Err::<(), _>(error)
                });
            }
            Ok(())
        })
        .await
        .unwrap_err();
        // The same error, told by three, counts once.
        assert!(error.group_name().is_none() && booms(&error) == ["a"]);
        assert_eq!(seen.get(), 2);
        nursery(async |n| {
            let shared = n.start_soon(async { Ok(sleep_forever().await?) }).shared();
            let clone = shared.clone();
            let waiting = n.start_soon(async move { Ok(clone.await.unwrap_err()) });
            wait_all_tasks_blocked().await?;
            shared.cancel();
            assert!(shared.clone().await.unwrap_err().is::<ChildCancelled>());
            // It is not a cancellation of those who waited.
            let error = waiting.await?;
            assert!(error.is::<ChildCancelled>() && !error.is_cancelled());
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn progress_pushes_the_deadline() {
    trial(async || {
        let begin = now();
        let outcome = fail_when_stalled(2 * SECOND, async |progress| {
            assert_eq!(progress.limit(), 2 * SECOND);
            for _ in 0..5 {
                sleep(Duration::from_millis(1999)).await?;
                progress.made();
            }
            Ok("done")
        });
        assert_eq!(outcome.await?, "done");
        assert_eq!(now() - begin, 5 * Duration::from_millis(1999));
        Ok(())
    });
}

#[test]
fn work_without_progress_is_cancelled() {
    trial(async || {
        let begin = now();
        let kept = RefCell::new(None);
        let error = fail_when_stalled(2 * SECOND, async |progress| {
            sleep(SECOND).await?;
            progress.made();
            kept.replace(Some(progress));
            Ok(sleep_forever().await?)
        });
        let error = error.await.unwrap_err();
        assert!(error.is_timeout());
        assert!(error.to_string().contains("combinators.rs"), "{error}");
        assert_eq!(now() - begin, 3 * SECOND);
        // Too late: no effect on anybody.
        kept.take().unwrap().made();
        let outcome = move_on_when_stalled(SECOND, async |_| Ok(sleep_forever().await?));
        assert!(outcome.await?.timed_out());
        // The timeouts around it hold all the same.
        let event = Event::new();
        let work = fail_after(
            SECOND,
            fail_when_stalled(5 * SECOND, async |_| Ok(event.wait().await?)),
        );
        assert!(work.await.unwrap_err().is_timeout());
        assert_eq!(now() - begin, 5 * SECOND);
        Ok(())
    });
}
