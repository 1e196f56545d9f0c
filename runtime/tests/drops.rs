//! What is dropped at odd moments: nurseries, runtimes, handles, wakers.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{Log, NoteDrop, guarded, trial};
use tractor_runtime::sync::Event;
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, EffectiveDeadline, Nursery, NurseryClosed, NurseryHandle, Progress, Result,
    Runtime, ScopeHandle, TaskStatus, cancel_shielded_checkpoint, checkpoint,
    current_effective_deadline, in_runtime, nursery, run,
};

const SECOND: Duration = Duration::from_secs(1);

/// Polls a future until it is ready, or has been polled `times`, and drops it then.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        cancel_shielded_checkpoint().await;
    }
    None
}

// extra::drop_of_nursery_future
#[test]
fn nursery_dropped_by_a_select_drops_its_children_at_once() {
    trial(async || {
        let log = Log::default();
        let handle = RefCell::new(None::<NurseryHandle>);
        let whole = nursery(async |n| {
            handle.replace(Some(n.handle()));
            for _ in 0..3 {
                n.start_soon(async {
                    let _local = NoteDrop(&log, "child");
                    Ok(sleep_forever().await?)
                });
            }
            let _local = NoteDrop(&log, "body");
            Ok(sleep_forever().await?)
        });
        assert!(poll_times(whole, 3).await.is_none());
        assert_eq!(log.sorted(), ["body", "child", "child", "child"]);
        let handle = handle.take().expect("the body ran");
        assert!(handle.is_closed());
        assert!(handle.start_soon(async { Ok(()) }).is_err());
        handle.cancel();
        Ok(checkpoint().await?)
    });
}

#[test]
fn everything_dropped_after_each_number_of_polls() {
    trial(async || {
        for times in 0..40 {
            let owned = Rc::new(());
            let event = Event::new();
            let whole = nursery(async |n| {
                let event = &event;
                for delay in 0..3_u32 {
                    let owned = owned.clone();
                    n.start_soon(async move {
                        let _owned = owned;
                        nursery(async |inner| {
                            inner.start_soon(async { Ok(event.wait().await?) });
                            inner
                                .start(async |status: TaskStatus<_>| {
                                    checkpoint().await?;
                                    status.started(());
                                    sleep(delay * SECOND).await?;
                                    event.set();
                                    Ok(())
                                })
                                .await
                        })
                        .await
                    });
                }
                let scope = CancelScope::new().timeout(SECOND).run(async {
                    checkpoint().await?;
                    Ok(sleep_forever().await?)
                });
                scope.await.map(drop)
            });
            poll_times(whole, times).await.transpose()?;
            assert_eq!(Rc::strong_count(&owned), 1, "after {times} polls");
            let start = now();
            sleep(SECOND).await?;
            assert_eq!(now() - start, SECOND, "after {times} polls");
        }
        Ok(())
    });
}

/// Starts a child when it is dropped.
struct Respawn<'scope, 'env> {
    n: &'scope Nursery<'scope, 'env>,
    count: &'env Cell<u32>,
    owned: Rc<()>,
}

impl Drop for Respawn<'_, '_> {
    fn drop(&mut self) {
        self.count.set(self.count.get() + 1);
        let owned = self.owned.clone();
        self.n.start_soon(async move {
            let _owned = owned;
            Ok(sleep_forever().await?)
        });
    }
}

#[test]
fn child_whose_drop_starts_a_child() {
    trial(async || {
        for polls in [Some(4), None] {
            let owned = Rc::new(());
            let count = Cell::new(0);
            let whole = nursery(async |n| {
                for _ in 0..3 {
                    let respawn = Respawn {
                        n,
                        count: &count,
                        owned: owned.clone(),
                    };
                    n.start_soon(async move {
                        let _respawn = respawn;
                        Ok(sleep_forever().await?)
                    });
                }
                wait_all_tasks_blocked().await?;
                if polls.is_none() {
                    n.cancel();
                }
                Ok(sleep_forever().await?)
            });
            match polls {
                Some(times) => assert!(poll_times(whole, times).await.is_none()),
                None => assert!(whole.await.unwrap_err().is_cancelled()),
            }
            assert_eq!(count.get(), 3);
            assert_eq!(Rc::strong_count(&owned), 1);
        }
        Ok(())
    });
}

#[test]
fn nursery_that_is_forgotten_polls_its_children_no_more() {
    trial(async || {
        let polls = Rc::new(Cell::new(0));
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let whole = {
            let (polls, waker) = (polls.clone(), waker.clone());
            Box::pin(nursery(async move |n| {
                n.start_soon(poll_fn(move |cx| -> Poll<Result<()>> {
                    polls.set(polls.get() + 1);
                    waker.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }));
                Ok(sleep_forever().await?)
            }))
        };
        let mut whole: Pin<Box<dyn Future<Output = Result<()>>>> = whole;
        assert!(poll_times(&mut whole, 3).await.is_none());
        // Under a leak checker this test has to be named as one that leaks.
        std::mem::forget(whole);
        let before = polls.get();
        assert!(before > 0);
        waker
            .borrow()
            .as_ref()
            .expect("the child was polled")
            .wake_by_ref();
        for _ in 0..5 {
            checkpoint().await?;
        }
        assert_eq!(polls.get(), before);
        waker.take();
        Ok(())
    });
}

// extra::waker_after_completion
#[test]
fn stale_waker_from_another_thread_completes_nothing() {
    trial(async || {
        let waker = RefCell::new(None::<Waker>);
        nursery(async |n| {
            let child = n.start_soon(async {
                poll_fn(|cx| {
                    waker.replace(Some(cx.waker().clone()));
                    Poll::Ready(())
                })
                .await;
                Ok(())
            });
            child.await?;
            let sleeper = n.start_soon(async { Ok(sleep_forever().await?) });
            wait_all_tasks_blocked().await?;
            let stale = waker.take().expect("the child was polled");
            std::thread::spawn(move || {
                stale.wake_by_ref();
                let clone = stale.clone();
                drop(stale);
                clone.wake();
            })
            .join()
            .unwrap();
            wait_all_tasks_blocked().await?;
            assert!(!sleeper.is_finished());
            n.cancel();
            Ok(())
        })
        .await
    });
}

#[test]
fn wake_after_the_runtime_is_gone() {
    guarded(|| {
        let mut wakers = Vec::new();
        for _ in 0..3 {
            let waker = run(async || Ok(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await));
            wakers.push(waker.unwrap());
        }
        for waker in &wakers {
            waker.wake_by_ref();
        }
        let elsewhere = wakers.clone();
        std::thread::spawn(move || elsewhere.into_iter().for_each(Waker::wake))
            .join()
            .unwrap();
        // A later runtime may have inherited the place of an earlier one.
        run(async || {
            for waker in &wakers {
                waker.wake_by_ref();
            }
            Ok(checkpoint().await?)
        })
        .unwrap();
    });
}

#[test]
fn wakes_race_the_drop_of_the_runtime() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    guarded(|| {
        let shared = Arc::new(Mutex::new(None::<Waker>));
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (shared, stop) = (shared.clone(), stop.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let waker = shared.lock().unwrap().clone();
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            run(async || {
                let mut polls = 0;
                poll_fn(|cx| {
                    *shared.lock().unwrap() = Some(cx.waker().clone());
                    polls += 1;
                    if polls < 3 {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
                Ok(())
            })
            .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn handles_that_outlive_the_runtime_do_nothing() {
    guarded(|| {
        let (scope, n) = run(async || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            scope.run(async { Ok(()) }).await?;
            let n = nursery(async |n| Ok(n.handle())).await?;
            Ok((handle, n))
        })
        .unwrap();
        scope.cancel();
        assert!(scope.cancel_called());
        n.cancel();
        assert!(n.is_closed());
        assert!(n.start_soon(async { Ok(()) }).is_err());
    });
}

#[test]
fn scopes_that_were_not_left_when_the_runtime_ended_can_be_asked() {
    struct Asks([ScopeHandle; 3], Rc<Cell<u32>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            for scope in &self.0 {
                scope.cancel();
                scope.set_shield(true);
                scope.stop(SECOND);
                assert!(!scope.cancel_called() && !scope.is_effectively_cancelled());
                assert!(!scope.is_stopping() && scope.is_active());
            }
            assert_eq!(current_effective_deadline(), EffectiveDeadline::None);
            self.1.set(self.1.get() + 1);
        }
    }
    guarded(|| {
        let asked = Rc::new(Cell::new(0));
        let mut runtime = Runtime::builder().build();
        let root = runtime.root();
        let mut guest = runtime
            .guest(async || {
                nursery(async |n| {
                    let other = CancelScope::new();
                    let asks = Asks([root.clone(), n.scope(), other.handle()], asked.clone());
                    n.start_soon(async move {
                        let _asks = asks;
                        Ok(sleep_forever().await?)
                    });
                    other.run(async { Ok(sleep_forever().await?) }).await
                })
                .await
            })
            .unwrap();
        assert!(matches!(guest.turn(Duration::ZERO), Progress::Idle));
        drop(guest);
        assert_eq!(asked.get(), 1);

        let (handle, running) = run(async || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let mut running = Box::pin(scope.run(async { Ok(sleep_forever().await?) }));
            let polled = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            Ok((handle, running))
        })
        .unwrap();
        assert!(handle.is_active() && !handle.cancel_called());
        drop(running);
        assert!(handle.is_exited() && !handle.cancel_called());
    });
}

#[test]
fn destructors_at_the_end_of_a_run_see_their_runtime() {
    struct Check(Rc<Cell<bool>>);
    impl Drop for Check {
        fn drop(&mut self) {
            self.0.set(in_runtime());
        }
    }
    guarded(|| {
        let seen = Rc::new(Cell::new(false));
        let check = Check(seen.clone());
        let error = run(async move || {
            let root_cancelled = nursery(async |n| {
                n.start_soon(async move {
                    let _check = check;
                    pending::<Result<()>>().await
                });
                wait_all_tasks_blocked().await?;
                n.cancel();
                Ok(sleep_forever().await?)
            });
            root_cancelled.await
        })
        .unwrap_err();
        assert!(error.is_cancelled());
        assert!(seen.get());
    });
}

#[test]
fn who_waits_for_a_child_no_more_leaves_nothing() {
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    trial(async || {
        nursery(async |n| {
            let child = n.start_soon(async { Ok(sleep_forever().await?) });
            let shared = n.start_soon(async { Ok(sleep_forever().await?) }).shared();
            let counted = Arc::new(Counted);
            let waker = Waker::from(counted.clone());
            let before = Arc::strong_count(&counted);
            let mut cx = Context::from_waker(&waker);
            for _ in 0..3 {
                let mut gone = pin!(child.gone());
                let mut value = pin!(shared.clone());
                assert!(gone.as_mut().poll(&mut cx).is_pending());
                assert!(value.as_mut().poll(&mut cx).is_pending());
            }
            assert_eq!(Arc::strong_count(&counted), before);
            n.cancel();
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn handle_of_a_child_dropped_in_every_state() {
    trial(async || {
        nursery(async |n| {
            let unpolled = n.start_soon(async { Ok(checkpoint().await?) });
            drop(unpolled);
            let polled = n.start_soon(async { Ok(sleep(SECOND).await?) });
            let mut polled: Pin<Box<_>> = Box::pin(polled);
            let first = poll_fn(|cx| Poll::Ready(polled.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            drop(polled);
            let finished = n.start_soon(async { Ok(vec![1, 2, 3]) });
            wait_all_tasks_blocked().await?;
            assert!(finished.is_finished());
            drop(finished);
            Ok(())
        })
        .await
    });
}

/// Asks a nursery for one more child when it is dropped, and keeps the answer.
struct StartLate<'scope, 'env> {
    n: &'scope Nursery<'scope, 'env>,
    answer: &'env RefCell<Option<Poll<Result<()>>>>,
}

impl Drop for StartLate<'_, '_> {
    fn drop(&mut self) {
        let mut start = pin!(self.n.start(async |status: TaskStatus<_>| {
            status.started(());
            Ok(())
        }));
        let polled = start.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.answer.replace(Some(polled));
    }
}

// core/test_run.py::test_nursery_start#j
#[test]
fn start_in_a_nursery_that_is_closed() {
    trial(async || {
        let answer = RefCell::new(None);
        let whole = nursery(async |n| {
            let late = StartLate { n, answer: &answer };
            n.start_soon(async move {
                let _late = late;
                Ok(sleep_forever().await?)
            });
            Ok(sleep_forever().await?)
        });
        assert!(poll_times(whole, 3).await.is_none());
        match answer.take() {
            Some(Poll::Ready(Err(error))) => assert!(error.is::<NurseryClosed>()),
            other => panic!("not refused at once: {other:?}"),
        }
        Ok(())
    });
}

#[test]
fn locals_of_a_nursery_outlive_its_children() {
    trial(async || {
        let log = Log::default();
        let outside = NoteDrop(&log, "outside");
        let borrowed = &outside;
        let whole = nursery(async |n| {
            n.start_soon(async {
                let _local = NoteDrop(borrowed.0, "child");
                Ok(sleep_forever().await?)
            });
            let _local = NoteDrop(borrowed.0, "body");
            Ok(sleep_forever().await?)
        });
        poll_times(whole, 3).await;
        drop(outside);
        assert_eq!(log.seen().last().map(String::as_str), Some("outside"));
        assert_eq!(log.count(), 3);
        Ok(())
    });
}
