//! Panics in children, bodies, and destructors: the rest is cancelled and waited for, and the first
//! panic goes on in the parent.

mod common;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, guarded, trial};
use futures::FutureExt;
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, Error, Result, TaskStatus, checkpoint, in_runtime, nursery, run, shield,
};

const SECOND: Duration = Duration::from_secs(1);

fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}

/// Panics when dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// An error that panics when it is shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("unspeakable");
    }
}

impl std::error::Error for Unspeakable {}

// extra::panic_in_child
#[test]
fn panic_of_a_child_goes_on_in_the_parent() {
    trial(async || {
        let log = Log::default();
        let whole = nursery(async |n| {
            n.start_soon(async {
                let result = sleep_forever().await;
                shield(sleep(SECOND)).await?;
                log.note("sibling cleaned up");
                Ok(result?)
            });
            n.start_soon(async {
                wait_all_tasks_blocked().await?;
                if !log.seen().is_empty() {
                    return Ok(());
                }
                panic!("first");
            });
            Ok(sleep_forever().await?)
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "first");
        assert_eq!(log.seen(), ["sibling cleaned up"]);
        Ok(checkpoint().await?)
    });
}

#[test]
fn panic_of_a_body_waits_for_the_children() {
    trial(async || {
        let log = Log::default();
        let start = now();
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _local = NoteDrop(&log, "child dropped");
                let result = sleep_forever().await;
                shield(sleep(SECOND)).await?;
                log.note("child cleaned up");
                Ok(result?)
            });
            wait_all_tasks_blocked().await?;
            if now() >= start {
                panic!("body");
            }
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "body");
        assert_eq!(log.seen(), ["child cleaned up", "child dropped"]);
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

#[test]
fn first_of_two_panics_goes_on() {
    trial(async || {
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _ = sleep_forever().await;
                if in_runtime() {
                    panic!("second");
                }
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            if in_runtime() {
                panic!("first");
            }
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "first");
        Ok(())
    });
}

#[test]
fn panic_wins_over_errors() {
    trial(async || {
        let whole = nursery(async |n| {
            n.start_soon(async { Err::<(), Error>(Boom("V").into()) });
            n.start_soon(async {
                let _ = sleep_forever().await;
                if in_runtime() {
                    panic!("child");
                }
                Ok(())
            });
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "child");
        Ok(())
    });
}

#[test]
fn panic_passes_nested_nurseries_and_scopes() {
    trial(async || {
        let log = Log::default();
        let whole = nursery(async |outer| {
            outer.start_soon(async {
                let _local = NoteDrop(&log, "uncle dropped");
                Ok(sleep_forever().await?)
            });
            let middle = nursery(async |inner| {
                inner.start_soon(async {
                    let _local = NoteDrop(&log, "sibling dropped");
                    Ok(sleep_forever().await?)
                });
                inner.start_soon(async {
                    wait_all_tasks_blocked().await?;
                    assert!(!in_runtime(), "deep");
                    Ok(())
                });
                Ok(())
            });
            CancelScope::new().run(middle).await.map(drop)
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert!(text(&*panic).contains("deep"));
        assert_eq!(log.seen(), ["sibling dropped", "uncle dropped"]);
        Ok(checkpoint().await?)
    });
}

#[test]
fn panic_of_main_comes_out_of_run() {
    guarded(|| {
        let panic = catch_unwind(|| run(async || -> Result<()> { panic!("main") }));
        assert_eq!(text(&*panic.unwrap_err()), "main");
        assert!(!in_runtime());
        run(async || Ok(checkpoint().await?)).unwrap();
    });
}

#[test]
fn panic_of_a_starting_child_comes_out_of_start() {
    trial(async || {
        for before in [true, false] {
            let whole = nursery(async |n| {
                n.start(async move |status: TaskStatus<_>| {
                    if before {
                        panic!("starting");
                    }
                    status.started(());
                    panic!("starting");
                })
                .await
            });
            let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
            assert_eq!(text(&*panic), "starting");
        }
        Ok(())
    });
}

#[test]
fn panic_in_a_destructor_of_a_cancelled_child() {
    trial(async || {
        let log = Log::default();
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _bomb = Bomb("destructor");
                pending::<()>().await;
                Ok(())
            });
            n.start_soon(async {
                let _local = NoteDrop(&log, "sibling dropped");
                pending::<()>().await;
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "destructor");
        assert_eq!(log.seen(), ["sibling dropped"]);
        Ok(checkpoint().await?)
    });
}

#[test]
fn panic_in_a_destructor_of_a_child_that_ended() {
    trial(async || {
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _bomb = Bomb("destructor");
                Ok(checkpoint().await?)
            });
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "destructor");
        Ok(())
    });
}

#[test]
fn panics_in_destructors_of_a_dropped_nursery_drop_the_rest() {
    trial(async || {
        let owned = Rc::new(());
        let dropping = async {
            let whole = nursery(async |n| {
                for bomb in [true, false, true, false] {
                    let owned = owned.clone();
                    n.start_soon(async move {
                        let _owned = owned;
                        let _bomb = bomb.then(|| Bomb("destructor"));
                        Ok(sleep_forever().await?)
                    });
                }
                Ok(sleep_forever().await?)
            });
            let waiting = std::pin::pin!(checkpoint());
            // Polls the nursery a few times, and then drops it.
            let mut whole = Box::pin(whole);
            let mut waiting = Some(waiting);
            poll_fn(|cx| {
                let _ = whole.as_mut().poll(cx);
                match waiting.as_mut() {
                    Some(wait) => wait.as_mut().poll(cx).map(|_| waiting = None),
                    None => std::task::Poll::Ready(()),
                }
            })
            .await;
            drop(whole);
        };
        let panic = AssertUnwindSafe(dropping).catch_unwind().await.unwrap_err();
        assert_eq!(text(&*panic), "destructor");
        assert_eq!(Rc::strong_count(&owned), 1);
        Ok(checkpoint().await?)
    });
}

#[test]
fn children_are_dropped_while_the_parent_unwinds() {
    guarded(|| {
        let owned = Rc::new(());
        let dropped = Rc::new(Cell::new(0));
        struct Count(Rc<Cell<u32>>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(async || {
                let mut waiting = std::pin::pin!(nursery(async |n| {
                    for _ in 0..10 {
                        let (owned, count) = (owned.clone(), Count(dropped.clone()));
                        n.start_soon(async move {
                            let _held = (owned, count);
                            Ok(sleep_forever().await?)
                        });
                    }
                    Ok(sleep_forever().await?)
                }));
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    let _ = waiting.as_mut().poll(cx);
                    assert!(polls < 3, "unwinding");
                    cx.waker().wake_by_ref();
                    std::task::Poll::<()>::Pending
                })
                .await;
                Ok(())
            })
        }));
        assert!(text(&*result.unwrap_err()).contains("unwinding"));
        assert_eq!(dropped.get(), 10);
        assert_eq!(Rc::strong_count(&owned), 1);
    });
}

#[test]
fn error_that_panics_when_it_is_shown_fails_its_nursery_as_any_other() {
    trial(async || {
        let log = Log::default();
        for by_the_body in [false, true] {
            let wakers = RefCell::new(Vec::new());
            let fails = async || {
                poll_fn(|cx| {
                    wakers.borrow_mut().push(cx.waker().clone());
                    Poll::Ready(())
                })
                .await;
                Err::<(), _>(Error::from(Unspeakable))
            };
            let error = nursery(async |n| {
                n.start_soon(async {
                    let result = sleep_forever().await;
                    shield(sleep(SECOND)).await?;
                    log.note("sibling cleaned up");
                    Ok(result?)
                });
                wait_all_tasks_blocked().await?;
                if by_the_body {
                    return fails().await;
                }
                n.start_soon(fails());
                Ok(())
            })
            .await
            .unwrap_err();
            assert!(error.is::<Unspeakable>());
            // Nothing that could be woken is left of it.
            for waker in wakers.take() {
                waker.wake();
            }
            checkpoint().await?;
        }
        assert_eq!(log.count(), 2);
        Ok(())
    });
}

#[test]
fn panic_with_a_bomb_in_a_sibling_does_not_abort() {
    trial(async || {
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _bomb = Bomb("sibling");
                pending::<Result<()>>().await
            });
            n.start_soon(async {
                wait_all_tasks_blocked().await?;
                assert!(!in_runtime(), "first");
                Ok(())
            });
            Ok(())
        });
        let panic = AssertUnwindSafe(whole).catch_unwind().await.unwrap_err();
        assert!(text(&*panic).contains("first"));
        Ok(checkpoint().await?)
    });
}
