//! Resources that the tasks of an actor share, and what is done when the actor ends.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use common::{Cell as Place, in_every_cell, tree, tree_of};
use tractor::runtime::sync::Event;
use tractor::runtime::{
    CancelScope, Outcome, check_cancelled, move_on_after, nursery, shield, time,
};
use tractor::trionics::{Hold, NeverHeld, ResourceEnded, maybe_open_context, on_actor_end};
use tractor::{Error, NoActor, RemoteActorError, Result, SpawnOptions, endpoint};

/// What a test and the resource in it know of each other.
#[derive(Default)]
struct Log {
    opened: Cell<u32>,
    closed: Cell<u32>,
    /// What opening waits for, and closing.
    may_open: Event,
    may_close: Event,
    opening: Event,
    closing: Event,
    /// What opening and closing fail with.
    fail_open: RefCell<Option<Error>>,
    fail_close: RefCell<Option<Error>>,
}

thread_local! {
    static LOG: RefCell<Rc<Log>> = RefCell::default();
}

fn log() -> Rc<Log> {
    LOG.with_borrow(Clone::clone)
}

async fn resource(key: &'static str, hold: Hold<(&'static str, u32)>) -> Result<()> {
    let log = log();
    log.opening.set();
    log.may_open.wait().await?;
    if let Some(error) = log.fail_open.take() {
        return Err(error);
    }
    log.opened.set(log.opened.get() + 1);
    let held = hold.hold((key, log.opened.get())).await;
    log.closing.set();
    shield(log.may_close.wait()).await?;
    log.closed.set(log.closed.get() + 1);
    if let Some(error) = log.fail_close.take() {
        return Err(error);
    }
    held
}

/// A tree of one actor, in which resources open and close at once unless `prepare` says else.
fn alone(main: impl AsyncFnOnce(Rc<Log>) -> Result<()>) {
    tree(async |_| {
        LOG.set(Rc::default());
        main(log()).await
    })
    .unwrap();
}

fn at_once(log: &Log) {
    log.may_open.set();
    log.may_close.set();
}

// test_resource_cache.py::test_resource_only_entered_once[key_on=key_value]
// test_resource_cache.py::test_resource_only_entered_once[key_on=kwargs]
#[test]
fn ten_tasks_share_one() {
    alone(async |log| {
        at_once(&log);
        let misses = Cell::new(0);
        let inside = Cell::new(0);
        let all_in = Event::new();
        nursery(async |n| {
            for _ in 0..10 {
                n.start_soon(maybe_open_context(
                    resource,
                    "one",
                    async |value, was_there| {
                        assert_eq!(value, ("one", 1));
                        misses.set(misses.get() + u32::from(!was_there));
                        inside.set(inside.get() + 1);
                        if inside.get() == 10 {
                            all_in.set();
                        }
                        Ok(all_in.wait().await?)
                    },
                ));
            }
            Ok(())
        })
        .await?;
        assert_eq!(
            (misses.get(), log.opened.get(), log.closed.get()),
            (1, 1, 1)
        );
        Ok(())
    });
}

// test_resource_cache.py::test_last_moc_user_waits_for_resource_exit
#[test]
fn last_user_waits_until_it_is_closed() {
    alone(async |log| {
        log.may_open.set();
        let first_left = Event::new();
        let second_in = Event::new();
        nursery(async |n| {
            let last = n.start_soon(async {
                maybe_open_context(resource, "one", async |_, _| {
                    second_in.wait().await?;
                    Ok(first_left.wait().await?)
                })
                .await
            });
            n.start_soon(async {
                maybe_open_context(resource, "one", async |_, _| {
                    second_in.set();
                    Ok(())
                })
                .await?;
                // It is still open for the other one.
                assert!(!log.closing.is_set());
                first_left.set();
                Ok(())
            });
            log.closing.wait().await?;
            time::sleep(Duration::from_millis(10)).await?;
            assert!(!last.is_finished());
            log.may_close.set();
            last.await?;
            assert_eq!(log.closed.get(), 1);
            Ok(())
        })
        .await
    });
}

// test_resource_cache.py::test_moc_delivers_resource_exit_error
#[test]
fn error_of_the_closing_comes_out_at_the_last_user() {
    alone(async |log| {
        at_once(&log);
        let error = Error::msg("of the closing");
        *log.fail_close.borrow_mut() = Some(error.clone());
        let found = maybe_open_context(resource, "one", async |_, _| Ok(())).await;
        assert_eq!(found.unwrap_err().id(), error.id());
        Ok(())
    });
}

#[test]
fn errors_of_the_closing_and_of_the_last_user_come_out_together() {
    alone(async |log| {
        at_once(&log);
        *log.fail_close.borrow_mut() = Some(Error::msg("of the closing"));
        let body = async |_, _| Err::<(), _>(Error::msg("of the body"));
        let error = maybe_open_context(resource, "one", body).await.unwrap_err();
        let texts: Vec<_> = error.leaves().map(ToString::to_string).collect();
        assert_eq!(texts, ["of the body", "of the closing"]);
        Ok(())
    });
}

// test_resource_cache.py::test_moc_final_user_cancellation_waits_for_exit
#[test]
fn cancelled_last_user_waits_until_it_is_closed() {
    alone(async |log| {
        log.may_open.set();
        nursery(async |n| {
            n.start_soon(async {
                log.closing.wait().await?;
                time::sleep(Duration::from_millis(10)).await?;
                log.may_close.set();
                Ok(())
            });
            let scope = CancelScope::new();
            let handle = scope.handle();
            let user = maybe_open_context(resource, "one", async |_, _| {
                handle.cancel();
                Ok(time::sleep_forever().await?)
            });
            assert!(scope.run(user).await?.is_cancelled());
            assert_eq!(log.closed.get(), 1);
            assert!(handle.cancelled_caught());
            Ok(())
        })
        .await
    });
}

// test_resource_cache.py::test_moc_exit_error_masks_final_user_cancellation
#[test]
fn error_of_the_closing_replaces_the_cancellation_of_the_last_user() {
    alone(async |log| {
        at_once(&log);
        *log.fail_close.borrow_mut() = Some(Error::msg("of the closing"));
        let scope = CancelScope::new();
        let handle = scope.handle();
        let user = maybe_open_context(resource, "one", async |_, _| {
            handle.cancel();
            Ok(time::sleep_forever().await?)
        });
        let error = scope.run(user).await.unwrap_err();
        assert_eq!(error.to_string(), "of the closing");
        Ok(())
    });
}

// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=True-pre_sleep_delay=0.05]
// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=True-pre_sleep_delay=0.5]
// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=True-pre_sleep_delay=1]
// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=False-pre_sleep_delay=0.05]
// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=False-pre_sleep_delay=0.5]
// test_resource_cache.py::test_lock_not_corrupted_on_fast_cancel[cancel_by_cs=False-pre_sleep_delay=1]
#[test]
fn first_user_is_cancelled_in_the_middle_of_the_opening() {
    for is_cancelled in [true, false] {
        alone(async |log| {
            log.may_close.set();
            nursery(async |n| {
                let first = CancelScope::new();
                let handle = first.handle();
                n.start_soon(async move {
                    let user = maybe_open_context(resource, "one", async |_, _| Ok(()));
                    let outcome = first.run(user).await?;
                    assert_eq!(outcome.is_cancelled(), is_cancelled);
                    Ok(())
                });
                log.opening.wait().await?;
                let second =
                    n.start_soon(maybe_open_context(resource, "one", async |value, there| {
                        Ok((value, there))
                    }));
                time::sleep(Duration::from_millis(5)).await?;
                if is_cancelled {
                    handle.cancel();
                    time::sleep(Duration::from_millis(5)).await?;
                }
                log.may_open.set();
                // The opening went on for the second.
                assert_eq!(second.await?, (("one", 1), true));
                Ok(())
            })
            .await?;
            assert_eq!((log.opened.get(), log.closed.get()), (1, 1));
            Ok(())
        });
    }
}

#[test]
fn opening_that_nobody_waits_for_any_more_is_cancelled() {
    alone(async |log| {
        let user = maybe_open_context(resource, "one", async |_, _| Ok(()));
        let outcome = move_on_after(Duration::from_millis(5), user).await?;
        assert!(outcome.timed_out());
        assert!(log.opening.is_set());
        assert_eq!(log.opened.get(), 0);
        // And the next one begins anew.
        at_once(&log);
        maybe_open_context(resource, "one", async |_, was_there| {
            assert!(!was_there);
            Ok(())
        })
        .await
    });
}

#[test]
fn failed_opening_is_told_to_those_who_waited_and_to_nobody_later() {
    alone(async |log| {
        log.may_close.set();
        *log.fail_open.borrow_mut() = Some(Error::msg("of the opening"));
        let failed = nursery(async |n| {
            let users: Vec<_> = (0..3)
                .map(|_| {
                    n.start_soon(async {
                        let user = maybe_open_context(resource, "one", async |_, _| Ok(()));
                        Ok(user.await.unwrap_err())
                    })
                })
                .collect();
            log.opening.wait().await?;
            log.may_open.set();
            let mut ids = Vec::new();
            for user in users {
                ids.push(user.await?.id());
            }
            Ok(ids)
        })
        .await?;
        assert_eq!(failed, [failed[0]; 3]);
        maybe_open_context(resource, "one", async |_, was_there| {
            assert!(!was_there);
            Ok(())
        })
        .await
    });
}

#[test]
fn opening_that_holds_nothing_is_an_error() {
    alone(async |_| {
        async fn empty((): (), _hold: Hold<u32>) -> Result<()> {
            Ok(())
        }
        let error = maybe_open_context(empty, (), async |_, _| Ok(())).await;
        assert!(error.unwrap_err().is::<NeverHeld>());
        Ok(())
    });
}

#[test]
fn opening_that_panics_is_an_error() {
    alone(async |_| {
        async fn panics((): (), _hold: Hold<u32>) -> Result<()> {
            panic!("of the opening")
        }
        for _ in 0..2 {
            let error = maybe_open_context(panics, (), async |_, _| Ok(())).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("of the opening"), "{error}");
        }
        Ok(())
    });
}

/// It ends while it is used: all users are cancelled, and told.
#[test]
fn resource_that_fails_cancels_its_users() {
    async fn brittle(fails: bool, hold: Hold<()>) -> Result<()> {
        // Not the way to do it, but possible.
        let held = hold.hold(());
        match move_on_after(Duration::from_millis(10), held).await? {
            Outcome::Completed(()) => Ok(()),
            Outcome::Cancelled(_) if fails => Err(Error::msg("it broke")),
            Outcome::Cancelled(_) => Ok(()),
        }
    }
    alone(async |_| {
        for fails in [true, false] {
            nursery(async |n| {
                for _ in 0..3 {
                    n.start_soon(async move {
                        let user = maybe_open_context(brittle, fails, async |(), _| {
                            Ok(time::sleep_forever().await?)
                        });
                        let error = user.await.unwrap_err();
                        match fails {
                            true => assert_eq!(error.to_string(), "it broke"),
                            false => assert!(error.is::<ResourceEnded>()),
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

// test_resource_cache.py::test_per_ctx_key_resource_lifecycle
#[test]
fn each_key_has_its_own() {
    alone(async |log| {
        at_once(&log);
        maybe_open_context(resource, "a", async |a, was_there| {
            assert_eq!((a, was_there), (("a", 1), false));
            for number in 2..4 {
                maybe_open_context(resource, "b", async |b, was_there| {
                    assert_eq!((b, was_there), (("b", number), false));
                    Ok(())
                })
                .await?;
                assert_eq!(log.closed.get(), number - 1);
            }
            maybe_open_context(resource, "a", async |a, was_there| {
                assert_eq!((a, was_there), (("a", 1), true));
                Ok(())
            })
            .await
        })
        .await?;
        assert_eq!((log.opened.get(), log.closed.get()), (3, 3));
        Ok(())
    });
}

// test_resource_cache.py::test_moc_reentry_during_teardown
#[test]
fn user_that_comes_while_it_is_being_closed_opens_it_anew() {
    alone(async |log| {
        log.may_open.set();
        nursery(async |n| {
            let first = n.start_soon(maybe_open_context(resource, "one", async |_, _| Ok(())));
            log.closing.wait().await?;
            let second = n.start_soon(maybe_open_context(resource, "one", async |value, there| {
                Ok((value, there))
            }));
            time::sleep(Duration::from_millis(5)).await?;
            assert!(!first.is_finished() && !second.is_finished());
            log.may_close.set();
            first.await?;
            assert_eq!(second.await?, (("one", 2), false));
            Ok(())
        })
        .await
    });
}

/// Nobody can wait in a drop, but it is closed.
#[test]
fn last_user_is_dropped() {
    alone(async |log| {
        at_once(&log);
        let inside = Event::new();
        let user = maybe_open_context(resource, "one", async |_, _| {
            inside.set();
            Ok(time::sleep_forever().await?)
        });
        let wait = async { Ok(inside.wait().await?) };
        futures_lite::future::or(wait, user).await?;
        maybe_open_context(resource, "one", async |value, was_there| {
            assert_eq!((value, was_there), (("one", 2), false));
            Ok(())
        })
        .await?;
        assert_eq!(log.closed.get(), 2);
        Ok(())
    });
}

#[test]
fn shared_resource_outside_of_an_actor() {
    let error = tractor::runtime::run(async || {
        maybe_open_context(resource, "one", async |_, _| Ok(())).await
    });
    assert!(error.unwrap_err().is::<NoActor>());
    assert!(on_actor_end(|| {}).is_err());
}

/// Writes a file, and removes it when the actor ends.
async fn keep_a_file((file, fails): (PathBuf, bool)) -> Result<()> {
    fs::write(&file, "kept")?;
    on_actor_end(move || fs::remove_file(file).unwrap())?;
    if fails {
        return Err(Error::msg("after that"));
    }
    Ok(time::sleep_forever().await?)
}
endpoint!(keep_a_file);

in_every_cell![file_is_removed_when_the_actor_ends];

// test_runtime.py::test_lifetime_stack_wipes_tmpfile[error_in_child=True]
// test_runtime.py::test_lifetime_stack_wipes_tmpfile[error_in_child=False]
fn file_is_removed_when_the_actor_ends(cell: Place) {
    for fails in [true, false] {
        let name = format!("tractor-{}-{cell:?}-{fails}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let result = tree_of(cell, async |options: SpawnOptions| {
            let tree = tractor::nursery(async |an| {
                let options = options.enable(keep_a_file);
                let portal = an.start_actor("keeper", options).await?;
                portal.run(keep_a_file, (file.clone(), fails)).await
            });
            if fails {
                return tree.await;
            }
            let scope = CancelScope::new();
            let handle = scope.handle();
            nursery(async |n| {
                n.start_soon(async {
                    assert!(scope.run(tree).await?.is_cancelled());
                    Ok(())
                });
                while !file.exists() {
                    time::sleep(Duration::from_millis(1)).await?;
                }
                handle.cancel();
                Ok(())
            })
            .await
        });
        match fails {
            true => assert!(result.unwrap_err().is::<RemoteActorError>()),
            false => result.unwrap(),
        }
        assert!(!file.exists(), "{file:?}");
    }
}

#[test]
fn what_is_left_for_the_end_is_done_from_the_last_to_the_first() {
    let done = Rc::new(RefCell::new(Vec::new()));
    for panics in [false, true] {
        done.take();
        let of_main = done.clone();
        let end = async || {
            for number in 0..3 {
                let done = of_main.clone();
                on_actor_end(move || {
                    done.borrow_mut().push(number);
                    assert!(number != 1, "the others are done all the same");
                })?;
            }
            assert!(!panics, "of main");
            check_cancelled()?;
            of_main.borrow_mut().push(10);
            Ok(())
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tractor::run(end)));
        assert_eq!(ended.is_err(), panics);
        let expected: &[_] = if panics { &[2, 1, 0] } else { &[10, 2, 1, 0] };
        assert_eq!(*done.borrow(), expected);
    }
}
