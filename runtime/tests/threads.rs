//! Calls in other threads, and back from there.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Boom, guarded, trial, trial_in_real_time};
use tractor_runtime::sync::CapacityLimiter;
use tractor_runtime::testing::{self, assert_checkpoints, wait_all_tasks_blocked};
use tractor_runtime::thread::{
    Call, active_threads, default_limiter, from_thread, run_sync, spawn, wait_all_threads_completed,
};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, Error, Result, RunFinished, ScopeHandle, cancellable, checkpoint, current_task,
    move_on_after, nursery, run, runtime_handle, shield,
};

/// A thread waits here until the test opens it, or has failed.
#[derive(Clone)]
struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

fn gate() -> (mpsc::Sender<()>, Gate) {
    let (open, opened) = mpsc::channel();
    (open, Gate(Arc::new(Mutex::new(opened))))
}

impl Gate {
    fn wait(&self) {
        let _ = self.0.lock().unwrap().recv();
    }
}

/// Waits for what has to come, however long the machine takes for it.
async fn until(mut done: impl FnMut() -> bool) -> Result<()> {
    while !done() {
        let pause = run_sync(|| thread::sleep(Duration::from_millis(1)));
        shield(pause).await?;
    }
    Ok(())
}

#[test]
fn value_of_a_call_comes_out() {
    trial_in_real_time(async || {
        let here = thread::current().id();
        let there = assert_checkpoints(run_sync(|| thread::current().id())).await?;
        assert_ne!(here, there);
        // The same one again: it was free before we heard of the result.
        for _ in 0..20 {
            assert_eq!(run_sync(move || 7).await?, 7);
        }
        Ok(())
    });
}

// core/test_thread_cache.py::test_thread_cache_deref
#[test]
fn what_a_function_owned_is_gone_with_it() {
    trial_in_real_time(async || {
        let owned = Arc::new(());
        let theirs = owned.clone();
        run_sync(move || drop(theirs.clone())).await?;
        assert_eq!(Arc::strong_count(&owned), 1);
        Ok(())
    });
}

// core/test_thread_cache.py::test_thread_cache_basics
#[test]
fn panic_of_a_call_comes_out() {
    let panic = guarded(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let _ = run(async || run_sync(|| panic!("in a thread")).await);
        }))
        .unwrap_err()
    });
    assert_eq!(panic.downcast_ref(), Some(&"in a thread"));
}

#[test]
fn call_is_not_begun_in_a_cancelled_scope() {
    trial_in_real_time(async || {
        let scope = CancelScope::new();
        scope.handle().cancel();
        let begun = Arc::new(AtomicBool::new(false));
        let flag = begun.clone();
        let outcome = scope
            .run(run_sync(move || flag.store(true, Ordering::SeqCst)))
            .await?;
        assert!(outcome.is_cancelled());
        assert!(!begun.load(Ordering::SeqCst));
        assert_eq!(default_limiter().borrowed_tokens(), 0);
        Ok(())
    });
}

#[test]
fn cancelled_call_is_waited_for_and_its_value_counts() {
    trial_in_real_time(async || {
        let (open, gate) = gate();
        nursery(async |n| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let call = n.start_soon(scope.run(run_sync(move || {
                gate.wait();
                "done"
            })));
            wait_all_tasks_blocked().await?;
            handle.cancel();
            for _ in 0..10 {
                wait_all_tasks_blocked().await?;
                assert!(!call.is_finished());
            }
            open.send(())?;
            assert_eq!(call.await?.completed(), Some("done"));
            assert!(!handle.cancelled_caught());
            Ok(())
        })
        .await
    });
}

#[test]
fn call_that_may_be_abandoned_goes_on_with_its_token() {
    trial_in_real_time(async || {
        let (open, gate) = gate();
        let limiter = CapacityLimiter::new(1);
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let call = Call::new().limiter(&limiter).abandon_on_cancel(true);
        let abandoned = call.clone().run(move || {
            gate.wait();
            flag.store(true, Ordering::SeqCst);
        });
        assert!(
            move_on_after(Duration::from_millis(5), abandoned)
                .await?
                .timed_out()
        );
        assert!(!done.load(Ordering::SeqCst));
        assert_eq!(limiter.borrowed_tokens(), 1);
        // The next one waits until it is really done, and can be cancelled meanwhile.
        let next = call.clone().run(|| ());
        assert!(
            move_on_after(Duration::from_millis(5), next)
                .await?
                .timed_out()
        );
        open.send(())?;
        call.run(|| ()).await?;
        assert!(done.load(Ordering::SeqCst));
        assert_eq!(limiter.borrowed_tokens(), 0);
        Ok(())
    });
}

#[test]
fn call_that_is_dropped_goes_on_with_its_token() {
    trial_in_real_time(async || {
        let (open, gate) = gate();
        let limiter = CapacityLimiter::new(1);
        let call = Call::new().limiter(&limiter);
        let abandoned = call.clone().run(move || gate.wait());
        let running = Box::pin(until(|| limiter.borrowed_tokens() == 1));
        let first = futures::future::select(Box::pin(abandoned), running).await;
        assert!(matches!(first, futures::future::Either::Right(_)));
        drop(first);
        checkpoint().await?;
        assert_eq!(limiter.borrowed_tokens(), 1);
        open.send(())?;
        call.run(|| ()).await?;
        Ok(())
    });
}

// trio/test_threads.py::test_run_in_worker_thread_abandoned
#[test]
fn abandoned_call_outlives_the_run() {
    guarded(|| {
        let (open, gate) = gate();
        let (done, ended) = mpsc::channel();
        let outcome = run(async || {
            let call = Call::new().abandon_on_cancel(true).run(move || {
                gate.wait();
                let _ = done.send(());
                panic!("nobody hears this");
            });
            move_on_after(Duration::from_millis(5), call).await
        });
        assert!(outcome.unwrap().timed_out());
        open.send(()).unwrap();
        ended.recv().unwrap();
        // The threads are still of use.
        run(async || run_sync(|| ()).await).unwrap();
    });
}

// trio/test_threads.py::test_run_in_worker_thread_limiter
#[test]
fn never_more_calls_than_tokens() {
    trial_in_real_time(async || {
        for (max, cancels, own) in [
            (3, false, true),
            (5, true, true),
            (10, false, false),
            (3, true, false),
        ] {
            let limiter = if own {
                CapacityLimiter::new(max)
            } else {
                let limiter = default_limiter();
                limiter.set_total_tokens(max);
                limiter
            };
            let (open, gate) = gate();
            let running = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let total = Arc::new(AtomicUsize::new(0));
            nursery(async |n| {
                for _ in 0..2 * max {
                    let mut call = Call::new().abandon_on_cancel(cancels);
                    if own {
                        call = call.limiter(&limiter);
                    }
                    let (running, most, total) = (running.clone(), most.clone(), total.clone());
                    let gate = gate.clone();
                    n.start_soon(async move {
                        let work = move || {
                            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            gate.wait();
                            total.fetch_add(1, Ordering::SeqCst);
                            running.fetch_sub(1, Ordering::SeqCst);
                        };
                        let limit = Duration::from_millis(if cancels { 10 } else { 1_000_000 });
                        // Those that got no token in time have not run.
                        move_on_after(limit, call.run(work)).await.map(drop)
                    });
                }
                while limiter.borrowed_tokens() < max {
                    checkpoint().await?;
                }
                while running.load(Ordering::SeqCst) < max {
                    checkpoint().await?;
                }
                if cancels {
                    sleep(Duration::from_millis(30)).await?;
                }
                assert_eq!(limiter.borrowed_tokens(), max, "a token is kept to the end");
                drop(open);
                Ok(())
            })
            .await?;
            while limiter.borrowed_tokens() > 0 {
                checkpoint().await?;
            }
            assert_eq!(most.load(Ordering::SeqCst), max);
            let ran = total.load(Ordering::SeqCst);
            assert!(ran == 2 * max || cancels && ran >= max, "{ran} of {max}");
        }
        Ok(())
    });
}

// trio/test_threads.py::test_named_thread_os
#[cfg(target_os = "linux")]
#[test]
fn thread_has_a_name_while_it_works() {
    trial_in_real_time(async || {
        let name = || rustix::thread::name().unwrap().into_string().unwrap();
        for (given, seen) in [
            ("short", "short"),
            ("a name that is too long", "a name that is "),
            ("fourteen: 1234\u{fc}", "fourteen: 1234"),
            ("zero\0inside", "zeroinside"),
        ] {
            assert_eq!(Call::new().name(given).run(name).await?, seen);
            assert_eq!(run_sync(name).await?, "tractor-thread");
        }
        Ok(())
    });
}

// trio/test_threads.py::test_trio_from_thread_run_sync
// trio/test_threads.py::test_trio_from_thread_run
#[test]
fn thread_calls_back_into_the_task_that_waits() {
    trial_in_real_time(async || {
        let here = thread::current().id();
        let task = current_task();
        run_sync(move || -> Result<()> {
            assert_eq!(from_thread::run_sync(|| thread::current().id())?, here);
            assert_eq!(from_thread::run_sync(current_task)?, task);
            let told = from_thread::run(async move || {
                sleep(Duration::from_millis(1)).await?;
                Ok((current_task(), thread::current().id()))
            });
            assert_eq!(told?, (task, here));
            let error = from_thread::run(async || Err::<(), _>(Boom("back").into())).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Boom("back")));
            // And from there to a thread again, and back.
            let deep = from_thread::run(async || {
                run_sync(|| from_thread::run_sync(|| thread::current().id())).await
            });
            assert_eq!(deep??, here);
            Ok(())
        })
        .await?
    });
}

#[test]
fn panic_of_a_callback_goes_through_the_thread() {
    let panics = guarded(|| {
        [true, false].map(|sync| {
            catch_unwind(AssertUnwindSafe(|| {
                let _ = run(async || {
                    run_sync(move || {
                        if sync {
                            let _ = from_thread::run_sync(|| panic!("called back"));
                        }
                        let _ = from_thread::run(async || -> Result<()> { panic!("called back") });
                    })
                    .await
                });
            }))
            .unwrap_err()
        })
    });
    for panic in panics {
        assert_eq!(panic.downcast_ref(), Some(&"called back"));
    }
}

// trio/test_threads.py::test_do_in_trio_thread
// trio/test_threads.py::test_trio_from_thread_token_kwarg
#[test]
fn foreign_thread_calls_a_runtime() {
    trial_in_real_time(async || {
        let handle = runtime_handle();
        let here = thread::current().id();
        let (done, over) = mpsc::channel();
        let foreign = thread::spawn(move || {
            assert_eq!(handle.run_sync(|| thread::current().id()), Ok(here));
            let value = handle.run(async || {
                checkpoint().await?;
                sleep(Duration::from_millis(1)).await?;
                Ok((current_task(), thread::current().id()))
            });
            assert_eq!(value.unwrap(), (None, here));
            let error = handle
                .run(async || Err::<(), _>(Boom("there").into()))
                .unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Boom("there")));
            let panic = catch_unwind(AssertUnwindSafe(|| handle.run_sync(|| panic!("there"))));
            assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"there"));
            done.send(()).unwrap();
        });
        while over.try_recv().is_err() {
            sleep(Duration::from_millis(1)).await?;
        }
        foreign.join().unwrap();
        let handle = runtime_handle();
        assert!(run_sync(move || from_thread::handle() == handle).await?);
        Ok(())
    });
}

// trio/test_threads.py::test_do_in_trio_thread_from_trio_thread
// trio/test_threads.py::test_from_thread_inside_trio_thread
#[test]
fn runtime_does_not_wait_for_itself() {
    trial_in_real_time(async || {
        let handle = runtime_handle();
        let called = Arc::new(AtomicBool::new(false));
        let flag = called.clone();
        let refused = |f: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(f)).is_err();
        assert!(refused(&mut || {
            let flag = flag.clone();
            let _ = handle.run_sync(move || flag.store(true, Ordering::SeqCst));
        }));
        assert!(refused(&mut || drop(handle.run(async || Ok(())))));
        assert!(refused(&mut || drop(from_thread::run_sync(|| ()))));
        assert!(refused(&mut || drop(from_thread::run(async || Ok(())))));
        checkpoint().await?;
        assert!(!called.load(Ordering::SeqCst));
        Ok(())
    });
}

// trio/test_threads.py::test_from_thread_check_cancelled_raises_in_foreign_threads
#[test]
fn check_in_a_thread_that_works_for_nobody_panics() {
    let check = || catch_unwind(|| drop(from_thread::check_cancelled())).is_err();
    assert!(check());
    assert!(guarded(move || thread::spawn(check).join().unwrap()));
    trial_in_real_time(async move || {
        assert!(check());
        Ok(())
    });
}

// trio/test_threads.py::test_from_thread_run_during_shutdown
#[test]
fn calls_back_while_the_run_ends_and_after() {
    guarded(|| {
        let (open, gate) = gate();
        let (told, tells) = mpsc::channel();
        let handle = run(async || {
            let handle = runtime_handle();
            let scope = CancelScope::new();
            let stop = scope.handle();
            let outcome = scope.run(nursery(async |n| {
                // In the last phase of the run: everything is cancelled, and this is waited for.
                n.start_soon(run_sync(move || {
                    gate.wait();
                    let _ = told.send(from_thread::run_sync(|| 1));
                    let _ = told.send(from_thread::handle().run_sync(|| 2));
                }));
                wait_all_tasks_blocked().await?;
                stop.cancel();
                open.send(())?;
                Ok(())
            }));
            outcome.await?;
            Ok(handle)
        })
        .unwrap();
        assert_eq!(tells.recv().unwrap(), Ok(1));
        assert_eq!(tells.recv().unwrap(), Ok(2));
        let after = thread::spawn(move || {
            let finished = Err(handle.run_soon(|| ()).unwrap_err());
            assert_eq!(handle.run_sync(|| ()), finished);
            let error = handle.run(async || Ok(())).unwrap_err();
            assert!(error.is::<RunFinished>(), "{error}");
        });
        after.join().unwrap();
    });
}

#[test]
fn task_of_a_foreign_thread_ends_with_the_runtime() {
    guarded(|| {
        let (begun, begins) = mpsc::channel();
        let thread = run(async || {
            let handle = runtime_handle();
            let thread = thread::spawn(move || {
                handle.run(async move || {
                    begun.send(())?;
                    Ok(sleep_forever().await?)
                })
            });
            while begins.try_recv().is_err() {
                sleep(Duration::from_millis(1)).await?;
            }
            Ok(thread)
        })
        .unwrap();
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.is::<RunFinished>(), "{error}");
    });
}

/// Has the task that waits, or any, cancel the scope.
fn cancel_there(scopes: &'static std::thread::LocalKey<std::cell::RefCell<Option<ScopeHandle>>>) {
    let cancel = || scopes.with_borrow(|scope| scope.as_ref().unwrap().cancel());
    from_thread::run_sync(cancel).unwrap();
}

thread_local! {
    /// A handle does not leave its thread, and what is called back is `Send`.
    static SCOPE: std::cell::RefCell<Option<ScopeHandle>> = const { std::cell::RefCell::new(None) };
}

// trio/test_threads.py::test_from_thread_host_cancelled#a
// trio/test_threads.py::test_from_thread_host_cancelled#b
#[test]
fn function_called_back_by_a_cancelled_call_runs() {
    trial_in_real_time(async || {
        for abandon in [false, true] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            SCOPE.set(Some(scope.handle()));
            let (told, tells) = mpsc::channel();
            let (open, gate) = gate();
            let call = Call::new().abandon_on_cancel(abandon).run(move || {
                cancel_there(&SCOPE);
                if abandon {
                    gate.wait();
                }
                let _ = told.send(from_thread::run_sync(|| 5));
            });
            scope.run(call).await?;
            assert_eq!(handle.cancelled_caught(), abandon);
            drop(open);
            let told = loop {
                checkpoint().await?;
                if let Ok(told) = tells.try_recv() {
                    break told;
                }
            };
            assert_eq!(told, Ok(5));
        }
        Ok(())
    });
}

// trio/test_threads.py::test_from_thread_host_cancelled#c
// trio/test_threads.py::test_from_thread_host_cancelled#d
#[test]
fn async_function_called_back_is_cancelled_with_the_task() {
    trial_in_real_time(async || {
        for abandon in [false, true] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            SCOPE.set(Some(scope.handle()));
            let (told, tells) = mpsc::channel();
            let (open, gate) = gate();
            let call = Call::new().abandon_on_cancel(abandon).run(move || {
                let _ = told.send(from_thread::run(async || {
                    SCOPE.with_borrow(|scope| scope.as_ref().unwrap().cancel());
                    Ok(6)
                }));
                if abandon {
                    // Or the result might be there before anybody saw the cancellation.
                    gate.wait();
                }
            });
            scope.run(call).await?;
            assert_eq!(handle.cancelled_caught(), abandon);
            drop(open);
            assert_eq!(tells.recv()??, 6);
        }
        // It waits, and is cancelled there; the thread passes that on, and the scope catches it.
        for foreign in [false, true] {
            let scope = CancelScope::new();
            let handle = scope.handle();
            SCOPE.set(Some(scope.handle()));
            let call = run_sync(move || -> Result<()> {
                from_thread::run(async move || {
                    SCOPE.with_borrow(|scope| scope.as_ref().unwrap().cancel());
                    if foreign {
                        std::future::pending::<()>().await;
                    }
                    Ok(sleep_forever().await?)
                })
            });
            scope.run(async { call.await? }).await?;
            assert!(handle.cancelled_caught());
        }
        Ok(())
    });
}

// trio/test_threads.py::test_from_thread_check_cancelled_no_abandon
#[test]
fn thread_asks_whether_it_is_cancelled() {
    trial_in_real_time(async || {
        for cancels in [false, true] {
            let (open, gate) = gate();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = nursery(async |n| {
                let call = n.start_soon(scope.run(async {
                    run_sync(move || -> Result<&str> {
                        from_thread::check_cancelled()?;
                        gate.wait();
                        from_thread::check_cancelled()?;
                        Ok("not cancelled")
                    })
                    .await?
                }));
                wait_all_tasks_blocked().await?;
                if cancels {
                    let cause =
                        tractor_runtime::CancelCause::new(tractor_runtime::CancelKind::Requested);
                    handle.cancel_because(cause.with_reason("enough"));
                    wait_all_tasks_blocked().await?;
                }
                open.send(())?;
                call.await
            })
            .await?;
            assert_eq!(outcome.is_cancelled(), cancels);
            assert_eq!(handle.cancelled_caught(), cancels);
            if let Some(cause) = outcome.cause() {
                assert_eq!(cause.reason(), Some("enough"));
            }
        }
        Ok(())
    });
}

// trio/test_threads.py::test_reentry_doesnt_deadlock
#[test]
fn four_tasks_bounce_between_threads_until_a_timeout() {
    fn bounce() -> Result<()> {
        loop {
            from_thread::run(async || run_sync(|| ()).await)?;
        }
    }
    trial_in_real_time(async || {
        let bouncing = nursery(async |n| {
            for _ in 0..4 {
                n.start_soon(async { run_sync(bounce).await? });
            }
            Ok(())
        });
        let outcome = move_on_after(Duration::from_millis(300), bouncing).await?;
        assert!(outcome.timed_out());
        Ok(())
    });
}

// trio/test_threads.py::test_wait_all_threads_completed_no_threads
#[test]
fn waiting_for_no_threads_and_for_two() {
    // Other tests of this file have threads too: only what is ours can be told.
    trial_in_real_time(async || {
        let (open, gate) = gate();
        nursery(async |n| {
            for _ in 0..2 {
                let gate = gate.clone();
                n.start_soon(run_sync(move || gate.wait()));
            }
            wait_all_tasks_blocked().await?;
            assert!(active_threads() >= 2);
            let waiting = n.start_soon(async { Ok(wait_all_threads_completed().await?) });
            wait_all_tasks_blocked().await?;
            assert!(!waiting.is_finished());
            drop(open);
            Ok(())
        })
        .await?;
        wait_all_threads_completed().await?;
        Ok(())
    });
}

#[test]
fn future_in_threads_gives_its_value_its_panic_or_nothing() {
    trial_in_real_time(async || {
        let here = thread::current().id();
        assert_ne!(spawn(async { thread::current().id() })?.await?, here);
        // Woken from anywhere.
        let (sender, receiver) = async_channel::bounded(1);
        let waiting = spawn(async move { receiver.recv().await })?;
        wait_all_tasks_blocked().await?;
        sender.send(5).await?;
        assert_eq!(waiting.await?, Ok(5));

        let panics = spawn(async { panic!("in a pool") })?;
        let panic = cancellable(futures::FutureExt::catch_unwind(AssertUnwindSafe(panics)));
        let panic = panic.await?.map(|_: Result<()>| ()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"in a pool"));

        // Cancelled, it is dropped in its thread, and that is waited for.
        let dropped = Arc::new(AtomicBool::new(false));
        struct SetOnDrop(Arc<AtomicBool>);
        impl Drop for SetOnDrop {
            fn drop(&mut self) {
                thread::sleep(Duration::from_millis(5));
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let guard = SetOnDrop(dropped.clone());
        let pending = spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        })?;
        assert!(
            move_on_after(Duration::from_millis(5), pending)
                .await?
                .timed_out()
        );
        assert!(dropped.load(Ordering::SeqCst));
        Ok(())
    });
}

#[test]
fn calls_that_block_leave_room_for_futures_in_threads() {
    trial_in_real_time(async || {
        let (open, gate) = gate();
        nursery(async |n| {
            for _ in 0..20 {
                let gate = gate.clone();
                n.start_soon(run_sync(move || gate.wait()));
            }
            wait_all_tasks_blocked().await?;
            assert_eq!(spawn(async { 3 })?.await?, 3);
            drop(open);
            Ok(())
        })
        .await
    });
}

#[test]
fn virtual_clock_waits_for_threads() {
    trial(async || {
        let start = now();
        let call = run_sync(|| thread::sleep(Duration::from_millis(20)));
        let outcome = move_on_after(Duration::from_secs(3600), call).await?;
        assert!(
            !outcome.is_cancelled(),
            "the clock jumped over a thread that works"
        );
        assert_eq!(now(), start);
        // While a thread waits for us, the clock is free to jump.
        for abandon in [false, true] {
            let start = now();
            let hour = || from_thread::run(async || Ok(sleep(Duration::from_secs(3600)).await?));
            Call::new().abandon_on_cancel(abandon).run(hour).await??;
            assert_eq!(now() - start, Duration::from_secs(3600));
        }
        Ok(())
    });
}

/// Calls are cancelled, abandoned and dropped at every step of a seeded order; every token comes
/// back, and every function that was begun came to its end.
#[test]
fn no_token_is_lost_whatever_happens_to_the_calls() {
    guarded(|| {
        for seed in 0..60_u64 {
            let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let counters = (begun.clone(), ended.clone());
            testing::run_seeded(seed, async || {
                let limiter = CapacityLimiter::new(2);
                nursery(async |n| {
                    for i in 0..8 {
                        let (begun, ended) = counters.clone();
                        let call = Call::new()
                            .limiter(&limiter)
                            .abandon_on_cancel((seed + i) % 2 == 0);
                        let task = n.start_soon(call.run(move || {
                            begun.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            ended.fetch_add(1, Ordering::SeqCst);
                        }));
                        for _ in 0..(seed + i) % 3 {
                            checkpoint().await?;
                        }
                        if (seed + i) % 4 < 2 {
                            task.cancel();
                        }
                    }
                    Ok(())
                })
                .await?;
                // The tokens of those that were abandoned come back by themselves.
                while limiter.borrowed_tokens() > 0 {
                    checkpoint().await?;
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(
                begun.load(Ordering::SeqCst),
                ended.load(Ordering::SeqCst),
                "seed {seed}"
            );
        }
    });
}

#[test]
fn cancellation_told_to_a_thread_says_why() {
    let error = guarded(|| {
        run(async || {
            nursery(async |n| {
                n.start_soon(async {
                    run_sync(|| {
                        loop {
                            if let Err(cancelled) = from_thread::check_cancelled() {
                                assert_eq!(
                                    cancelled.cause().kind(),
                                    tractor_runtime::CancelKind::SiblingFailed
                                );
                                return;
                            }
                            thread::yield_now();
                        }
                    })
                    .await
                });
                wait_all_tasks_blocked().await?;
                Err::<(), Error>(Boom("sibling").into())
            })
            .await
        })
        .unwrap_err()
    });
    assert_eq!(common::booms(&error), ["sibling"]);
}
