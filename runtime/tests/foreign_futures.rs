//! Futures that know nothing of scopes, and the combinators of other crates.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{Boom, Log, NoteDrop, foreign_wait, trial, trial_in_real_time};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, Error, Outcome, checkpoint, move_on_after, nursery, run, shield,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn pending_forever_is_cancelled_without_a_wrapper() {
    trial(async || {
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async {
                let _local = NoteDrop(&log, "child dropped");
                pending::<()>().await;
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(log.seen(), ["child dropped"]);
        Ok(())
    });
}

#[test]
fn pending_forever_in_main_is_cancelled() {
    common::guarded(|| {
        let mut runtime = tractor_runtime::Runtime::builder().build();
        let root = runtime.root();
        let thread_of_main = async || {
            root.set_timeout(Duration::from_millis(10));
            pending::<()>().await;
            Ok(())
        };
        assert!(runtime.run(thread_of_main).unwrap_err().is_cancelled());
    });
}

#[test]
fn pending_forever_in_a_scope_ends_at_its_deadline() {
    trial(async || {
        let start = now();
        let outcome = move_on_after(SECOND, async {
            pending::<()>().await;
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

#[test]
fn pending_forever_ends_at_a_deadline_of_the_real_clock() {
    trial_in_real_time(async || {
        let outcome = move_on_after(Duration::from_millis(20), async {
            pending::<()>().await;
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

#[test]
fn innermost_frame_drops_first_and_tells_the_code_around_it() {
    trial(async || {
        let log = Log::default();
        let outer = CancelScope::new();
        let handle = outer.handle();
        outer
            .run(async {
                let _local = NoteDrop(&log, "outer dropped");
                handle.cancel();
                let inner = CancelScope::new().run(async {
                    let _local = NoteDrop(&log, "inner dropped");
                    pending::<()>().await;
                    Ok(())
                });
                let error = inner.await.unwrap_err();
                assert!(error.is_cancelled());
                log.note("outer goes on");
                Err::<(), Error>(error)
            })
            .await?;
        assert_eq!(
            log.seen(),
            ["inner dropped", "outer goes on", "outer dropped"]
        );
        Ok(())
    });
}

#[test]
fn sibling_in_a_join_keeps_its_chance_when_the_other_cancels() {
    trial(async || {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        scope
            .run(async {
                let first = async {
                    sleep_forever().await.unwrap_err();
                    log.note("first told");
                };
                let second = async {
                    handle.cancel();
                    checkpoint().await.unwrap_err();
                    log.note("second told");
                };
                futures::join!(first, second);
                Ok(checkpoint().await?)
            })
            .await?;
        assert_eq!(log.sorted(), ["first told", "second told"]);
        Ok(())
    });
}

#[test]
fn leaf_beside_a_foreign_future_is_told_before_the_frame_is_dropped() {
    trial(async || {
        let log = Log::default();
        let outcome = move_on_after(SECOND, async {
            let leaf = async {
                sleep_forever().await.unwrap_err();
                log.note("told");
            };
            futures::join!(leaf, pending::<()>());
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        assert_eq!(log.seen(), ["told"]);
        Ok(())
    });
}

#[test]
fn leaves_in_a_futures_unordered_are_told_beside_a_foreign_future() {
    trial(async || {
        let told = Cell::new(0);
        let outcome = move_on_after(SECOND, async {
            let leaf = async |foreign: bool| {
                if foreign {
                    pending::<()>().await;
                }
                sleep_forever().await.unwrap_err();
                told.set(told.get() + 1);
            };
            let mut set: FuturesUnordered<_> = (0..6).map(|i| leaf(i % 3 == 0)).collect();
            while set.next().await.is_some() {}
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        assert_eq!(told.get(), 4);
        Ok(())
    });
}

/// A combinator that comes to a future that was woken only in the poll after the next.
struct Deferred<F> {
    inner: Pin<Box<F>>,
    woken: Arc<DeferredWaker>,
    polls_to_go: u32,
}

#[derive(Default)]
struct DeferredWaker {
    woken: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Wake for DeferredWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if let Some(outer) = &*self.outer.lock().unwrap() {
            outer.wake_by_ref();
        }
    }
}

impl<F: Future> Deferred<F> {
    fn new(inner: F) -> Self {
        Self {
            inner: Box::pin(inner),
            woken: Arc::new(DeferredWaker::default()),
            polls_to_go: 1,
        }
    }
}

impl<F: Future> Future for Deferred<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        *self.woken.outer.lock().unwrap() = Some(cx.waker().clone());
        if self.woken.woken.swap(false, Ordering::Relaxed) {
            self.polls_to_go = 2;
        }
        match self.polls_to_go {
            0 => return Poll::Pending,
            1 => self.polls_to_go = 0,
            _ => {
                self.polls_to_go -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let waker = Waker::from(self.woken.clone());
        self.inner.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[test]
fn leaf_in_a_combinator_that_takes_its_time_is_told_all_the_same() {
    for by_deadline in [true, false] {
        trial(async move || {
            let told = Cell::new(false);
            let scope = CancelScope::new();
            let handle = scope.handle();
            nursery(async |n| {
                let child = n.start_soon(scope.run(async {
                    let leaf = Deferred::new(async {
                        told.set(sleep_forever().await.is_err());
                    });
                    futures::join!(leaf, pending::<()>());
                    Ok(())
                }));
                wait_all_tasks_blocked().await?;
                if by_deadline {
                    handle.set_timeout(SECOND);
                } else {
                    handle.cancel();
                }
                assert!(child.await?.is_cancelled());
                Ok(())
            })
            .await?;
            assert!(told.get(), "by a deadline: {by_deadline}");
            Ok(())
        });
    }
}

#[test]
fn cleanup_of_a_leaf_in_a_futures_unordered_is_waited_for() {
    trial(async || {
        let start = now();
        let log = Log::default();
        let outcome = move_on_after(SECOND, async {
            let mut set = FuturesUnordered::new();
            set.push(
                async {
                    let result = sleep_forever().await;
                    shield(sleep(SECOND)).await.unwrap();
                    log.note("cleaned up");
                    result
                }
                .boxed_local(),
            );
            set.push(pending().boxed_local());
            while set.next().await.is_some() {}
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        assert_eq!(log.seen(), ["cleaned up"]);
        assert_eq!(now() - start, 2 * SECOND);
        Ok(())
    });
}

#[test]
fn foreign_future_that_is_woken_goes_on() {
    trial(async || {
        let cell = RefCell::new(None);
        nursery(async |n| {
            let child = n.start_soon(async {
                foreign_wait(&cell).await;
                Ok("woken")
            });
            wait_all_tasks_blocked().await?;
            cell.take().expect("it was polled").wake();
            assert_eq!(child.await?, "woken");
            Ok(())
        })
        .await
    });
}

#[test]
fn foreign_future_that_is_ready_when_the_cancel_comes_gives_its_value() {
    trial(async || {
        let cell = RefCell::new(None);
        nursery(async |n| {
            let child = n.start_soon(async {
                foreign_wait(&cell).await;
                Ok("woken")
            });
            wait_all_tasks_blocked().await?;
            cell.take().expect("it was polled").wake();
            child.cancel();
            assert_eq!(child.await?, "woken");
            Ok(())
        })
        .await
    });
}

#[test]
fn channel_of_another_crate_between_threads() {
    trial_in_real_time(async || {
        let (sender, mut receiver) = futures::channel::mpsc::channel(1);
        let thread = std::thread::spawn(move || {
            let mut sender = sender;
            futures::executor::block_on(async {
                for item in 0..100 {
                    futures::SinkExt::send(&mut sender, item).await.unwrap();
                }
            });
        });
        let mut sum = 0;
        while let Some(item) = receiver.next().await {
            sum += item;
        }
        thread.join().unwrap();
        assert_eq!(sum, 4950);
        Ok(())
    });
}

// core/test_run.py::test_reschedule
#[test]
fn tasks_wake_each_other_with_a_value_and_with_an_error() {
    trial(async || {
        let (send_value, value) = futures::channel::oneshot::channel::<Result<u32, Boom>>();
        let (send_error, error) = futures::channel::oneshot::channel::<Result<u32, Boom>>();
        nursery(async |n| {
            n.start_soon(async {
                assert_eq!(value.await?, Ok(5));
                assert_eq!(send_error.send(Err(Boom("V"))), Ok(()));
                Ok(())
            });
            n.start_soon(async {
                wait_all_tasks_blocked().await?;
                assert_eq!(send_value.send(Ok(5)), Ok(()));
                assert_eq!(error.await?, Err(Boom("V")));
                Ok(())
            });
            Ok(())
        })
        .await
    });
}

#[test]
fn select_that_drops_a_leaf_leaves_nothing() {
    trial(async || {
        for _ in 0..100 {
            futures::select_biased! {
                result = pin!(checkpoint().fuse()) => result?,
                result = pin!(sleep(100 * SECOND).fuse()) => result?,
            }
        }
        let start = now();
        sleep(SECOND).await?;
        assert_eq!(now() - start, SECOND);
        Ok(())
    });
}

#[test]
fn future_that_moves_to_another_scope_obeys_the_one_that_polls_it() {
    trial(async || {
        let mut sleeper = pin!(sleep(5 * SECOND));
        let outcome = move_on_after(SECOND, async {
            let polled = poll_fn(|cx| Poll::Ready(sleeper.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            Ok(())
        })
        .await?;
        assert!(matches!(outcome, Outcome::Completed(())));
        let start = now();
        sleeper.await?;
        assert_eq!(now() - start, 5 * SECOND);
        Ok(())
    });
}

#[test]
fn scope_that_moves_to_another_scope_is_under_the_one_that_polls_it() {
    trial(async || {
        let inner = CancelScope::new();
        let inner_handle = inner.handle();
        let mut running = pin!(inner.run(async { Ok(sleep_forever().await?) }));
        let first = CancelScope::new();
        let first_handle = first.handle();
        first
            .run(async {
                assert!(
                    poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx)))
                        .await
                        .is_pending()
                );
                Ok(())
            })
            .await?;
        first_handle.cancel();
        checkpoint().await?;

        let second = CancelScope::new();
        second.handle().cancel();
        let outcome = second
            .run(running.as_mut().map(|result| result.map(drop)))
            .await?;
        assert!(outcome.is_cancelled());
        assert!(!inner_handle.cancelled_caught());
        Ok(())
    });
}

#[test]
fn swallowing_loop_does_not_hang() {
    trial(async || {
        let rounds = Cell::new(0_u32);
        nursery(async |n| {
            n.start_soon(async {
                loop {
                    if sleep_forever().await.is_err() {
                        rounds.set(rounds.get() + 1);
                    }
                }
                #[allow(unreachable_code, reason = "gives the block its type")]
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        assert!((1000..5000).contains(&rounds.get()), "{}", rounds.get());
        Ok(())
    });
}

#[test]
fn swallowing_loop_in_main_does_not_hang() {
    common::guarded(|| {
        let mut runtime = tractor_runtime::Runtime::builder().build();
        runtime.root().cancel();
        let error = runtime
            .run(async || {
                loop {
                    let _ = checkpoint().await;
                }
                #[allow(unreachable_code, reason = "gives the block its type")]
                Ok(())
            })
            .unwrap_err();
        assert!(error.is_cancelled());
        run(async || Ok(checkpoint().await?)).unwrap();
    });
}
