//! Functions that other threads have run on the thread of a runtime, and what a runtime tells of
//! itself.

mod common;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{Boom, guarded, trial, trial_in_real_time, trial_with_clock};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    RunFinished, Runtime, RuntimeHandle, Trigger, checkpoint, current_task, in_runtime,
    move_on_after, nursery, run, runtime_handle, statistics,
};

type Record = Arc<Mutex<Vec<u32>>>;

fn note(record: &Record, what: u32) -> impl FnOnce() + Send + 'static {
    let record = record.clone();
    move || record.lock().unwrap().push(what)
}

fn seen(record: &Record) -> Vec<u32> {
    record.lock().unwrap().clone()
}

// core/test_run.py::test_TrioToken_identity
#[test]
fn handles_of_one_runtime_are_equal() {
    guarded(|| {
        let handles = [1, 2].map(|_| {
            run(async || {
                let handle = runtime_handle();
                assert_eq!(handle, runtime_handle());
                Ok(handle)
            })
            .unwrap()
        });
        assert_ne!(handles[0], handles[1]);
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_basic
#[test]
fn call_is_made_later_and_once() {
    trial(async || {
        let record = Record::default();
        runtime_handle().run_soon(note(&record, 1))?;
        assert!(seen(&record).is_empty());
        assert_eq!(statistics().calls, 1);
        wait_all_tasks_blocked().await?;
        assert_eq!(seen(&record), [1]);
        assert_eq!(statistics().calls, 0);
        Ok(())
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_too_late
#[test]
fn call_of_a_runtime_that_has_finished() {
    guarded(|| {
        let handle = run(async || Ok(runtime_handle())).unwrap();
        assert!(handle.is_finished());
        assert!(matches!(handle.run_soon(|| ()), Err(RunFinished { .. })));
        assert!(handle.trigger(|| ()).fire().is_err());
    });
}

#[test]
fn call_of_a_runtime_that_never_runs() {
    guarded(|| {
        let runtime = Runtime::builder().build();
        let handle = runtime.handle();
        let (sender, receiver) = mpsc::channel::<()>();
        handle.run_soon(move || sender.send(())).unwrap();
        drop(runtime);
        assert_eq!(receiver.recv(), Err(mpsc::RecvError));
        assert!(handle.run_soon(|| ()).is_err());
    });
}

#[test]
fn call_before_the_runtime_runs_is_made_when_it_does() {
    guarded(|| {
        let runtime = Runtime::builder().build();
        let record = Record::default();
        runtime.handle().run_soon(note(&record, 1)).unwrap();
        runtime
            .run(async || {
                wait_all_tasks_blocked().await?;
                assert_eq!(seen(&record), [1]);
                Ok(())
            })
            .unwrap();
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_idempotent#a
#[test]
fn triggers_that_fire_often_count_once() {
    trial(async || {
        let record = Record::default();
        let handle = runtime_handle();
        let triggers = [1, 2].map(|what| {
            let record = record.clone();
            handle.trigger(move || record.lock().unwrap().push(what))
        });
        handle.run_soon(note(&record, 1))?;
        for which in [0, 0, 0, 1, 1] {
            triggers[which].fire()?;
        }
        wait_all_tasks_blocked().await?;
        let mut seen = seen(&record);
        seen.sort_unstable();
        assert_eq!(seen, [1, 1, 2]);
        Ok(())
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_idempotent#b
#[test]
fn triggers_run_in_the_order_in_which_they_fired_first() {
    trial(async || {
        let record = Record::default();
        let handle = runtime_handle();
        let triggers = Vec::from_iter((0..100).map(|what| {
            let record = record.clone();
            handle.trigger(move || record.lock().unwrap().push(what))
        }));
        for _ in 0..3 {
            for trigger in &triggers {
                trigger.fire()?;
            }
        }
        wait_all_tasks_blocked().await?;
        assert_eq!(seen(&record), Vec::from_iter(0..100));
        Ok(())
    });
}

/// A trigger that fires itself again whenever it ran, and what came of the last time.
fn fires_itself(handle: &RuntimeHandle) -> (Trigger, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let itself: Arc<Mutex<Option<Trigger>>> = Arc::default();
    let (ran, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let trigger = handle.trigger({
        let (itself, ran, refused) = (itself.clone(), ran.clone(), refused.clone());
        move || {
            ran.fetch_add(1, Ordering::Relaxed);
            let again = itself.lock().unwrap().clone().expect("it is set");
            if again.fire().is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
                // It is the last time, and it holds itself.
                itself.lock().unwrap().take();
            }
        }
    });
    *itself.lock().unwrap() = Some(trigger.clone());
    (trigger, ran, refused)
}

// core/test_run.py::test_TrioToken_run_sync_soon_idempotent_requeue
#[test]
fn trigger_that_fires_itself() {
    guarded(|| {
        let (ran, refused) = run(async || {
            let (trigger, ran, refused) = fires_itself(&runtime_handle());
            trigger.fire()?;
            for _ in 0..3 {
                sleep(Duration::from_millis(1)).await?;
            }
            assert!(ran.load(Ordering::Relaxed) >= 2);
            Ok((ran, refused))
        })
        .unwrap();
        assert!(ran.load(Ordering::Relaxed) >= 2);
        assert_eq!(refused.load(Ordering::Relaxed), 1);
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_starvation_resistance
#[test]
fn call_that_asks_for_itself_for_ever_does_not_stop_the_tasks() {
    guarded(|| {
        fn again(handle: RuntimeHandle, counts: Arc<[AtomicUsize; 2]>) {
            counts[0].fetch_add(1, Ordering::Relaxed);
            let (next, counted) = (handle.clone(), counts.clone());
            if handle.run_soon(move || again(next, counted)).is_err() {
                counts[1].fetch_add(1, Ordering::Relaxed);
            }
        }
        let counts = run(async || {
            let counts = Arc::<[AtomicUsize; 2]>::default();
            let (handle, counted) = (runtime_handle(), counts.clone());
            let next = handle.clone();
            handle.run_soon(move || again(next, counted))?;
            for _ in 0..20 {
                sleep(Duration::from_micros(10)).await?;
            }
            Ok(counts)
        })
        .unwrap();
        assert!(counts[0].load(Ordering::Relaxed) >= 20);
        assert_eq!(counts[1].load(Ordering::Relaxed), 1);
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_after_main_crash
#[test]
fn call_that_was_taken_is_made_although_main_failed() {
    guarded(|| {
        let record = Record::default();
        let result = run(async || {
            runtime_handle().run_soon(note(&record, 1))?;
            Err::<(), _>(Boom("main").into())
        });
        assert!(result.unwrap_err().is::<Boom>());
        assert_eq!(seen(&record), [1]);
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_crashes
#[test]
fn call_that_panics_cancels_main_and_goes_on_in_run() {
    guarded(|| {
        let record = Record::default();
        let main_saw = RefCell::new(None);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            run(async || {
                let handle = runtime_handle();
                handle.run_soon(|| panic!("a call panicked"))?;
                handle.run_soon(note(&record, 2))?;
                let cancelled = sleep_forever().await.unwrap_err();
                *main_saw.borrow_mut() = cancelled.cause().reason().map(str::to_owned);
                Ok(())
            })
        }));
        let panic = panic.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a call panicked"));
        assert_eq!(seen(&record), [2]);
        let reason = main_saw.take().unwrap();
        assert!(reason.contains("call from outside"), "{reason}");
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_late_crash
#[test]
fn calls_that_are_made_when_main_has_ended() {
    guarded(|| {
        let record = Record::default();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            run(async || {
                runtime_handle().run_soon(|| panic!("late"))?;
                runtime_handle().run_soon(note(&record, 2))?;
                Ok(())
            })
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"late"));
        assert_eq!(seen(&record), [2]);
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_FIFO
#[test]
fn calls_are_made_in_their_order() {
    trial(async || {
        let record = Record::default();
        for what in 0..100 {
            runtime_handle().run_soon(note(&record, what))?;
        }
        wait_all_tasks_blocked().await?;
        assert_eq!(seen(&record), Vec::from_iter(0..100));
        Ok(())
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_massive_queue
#[test]
fn very_many_calls() {
    trial_in_real_time(async || {
        let record = Record::default();
        for what in 0..10_000 {
            runtime_handle().run_soon(note(&record, what))?;
        }
        wait_all_tasks_blocked().await?;
        assert_eq!(seen(&record), Vec::from_iter(0..10_000));
        Ok(())
    });
}

// core/test_run.py::test_TrioToken_run_sync_soon_threaded_stress_test
#[test]
fn thread_that_never_stops_to_call() {
    guarded(|| {
        let counter = Arc::<AtomicUsize>::default();
        let caller = run(async || {
            let (handle, counter) = (runtime_handle(), counter.clone());
            let caller = thread::spawn({
                let counter = counter.clone();
                move || {
                    while {
                        let counter = counter.clone();
                        let call = move || counter.fetch_add(1, Ordering::Relaxed);
                        handle.run_soon(call).is_ok()
                    } {
                        thread::yield_now();
                    }
                }
            });
            for _ in 0..10 {
                let before = counter.load(Ordering::Relaxed);
                while counter.load(Ordering::Relaxed) == before {
                    sleep(Duration::from_micros(100)).await?;
                }
            }
            Ok(caller)
        })
        .unwrap();
        caller.join().expect("it ends when the runtime has");
    });
}

#[test]
fn call_wakes_a_runtime_that_sleeps() {
    trial_in_real_time(async || {
        let (told, tell) = async_channel::bounded(1);
        let handle = runtime_handle();
        let caller = thread::spawn(move || {
            let first = thread::current().id();
            handle.run_soon(move || told.try_send((first, thread::current().id())))
        });
        let (caller_id, ran_on) = tell.recv().await?;
        assert_ne!(caller_id, ran_on);
        assert_eq!(ran_on, thread::current().id());
        caller.join().unwrap()?;
        Ok(())
    });
}

#[test]
fn call_runs_in_no_task_and_no_scope() {
    trial(async || {
        let places = Arc::new(Mutex::new(None));
        let outcome = move_on_after(Duration::from_secs(1), async {
            let place = places.clone();
            runtime_handle().run_soon(move || {
                let deadline = statistics().next_deadline;
                *place.lock().unwrap() = Some((in_runtime(), current_task(), deadline.is_some()));
            })?;
            Ok(sleep_forever().await?)
        });
        assert!(outcome.await?.timed_out());
        assert_eq!(*places.lock().unwrap(), Some((true, None, true)));
        Ok(())
    });
}

// core/test_run.py::test_trio_context_detection
#[test]
fn where_code_runs_is_known() {
    guarded(|| {
        assert!(!in_runtime() && current_task().is_none());
        run(async || {
            assert!(in_runtime() && current_task().is_some());
            thread::scope(|scope| {
                let thread = scope.spawn(|| (in_runtime(), current_task()));
                assert_eq!(thread.join().unwrap(), (false, None));
            });
            Ok(())
        })
        .unwrap();
        assert!(!in_runtime() && current_task().is_none());
    });
}

// core/test_run.py::test_current_task
#[test]
fn parent_of_a_task_is_the_one_that_opened_its_nursery() {
    trial(async || {
        let opener = current_task();
        nursery(async |n| {
            assert_eq!(current_task(), opener);
            n.start_soon(async {
                let child = current_task().expect("it runs in a task");
                assert_eq!(child.parent(), opener);
                nursery(async |inner| {
                    inner.start_soon(async move {
                        assert_eq!(current_task().unwrap().parent(), Some(child));
                        Ok(())
                    });
                    Ok(())
                })
                .await
            });
            Ok(())
        })
        .await
    });
}

// core/test_run.py::test_root_task
#[test]
fn main_task_has_no_parent() {
    trial(async || {
        let main = current_task().expect("this is the main task");
        assert_eq!(main.parent(), None);
        Ok(())
    });
}

// core/test_run.py::test_current_statistics#a
// core/test_run.py::test_current_statistics#b
#[test]
fn statistics_count_tasks_and_calls() {
    trial_with_clock(async |_| {
        wait_all_tasks_blocked().await?;
        let settled = statistics();
        assert_eq!((settled.tasks, settled.ready, settled.calls), (1, 0, 0));
        assert_eq!(settled.next_deadline, None);
        nursery(async |n| {
            n.start_soon(async { Ok(sleep_forever().await?) });
            checkpoint().await?;
            let handle = runtime_handle();
            handle.run_soon(|| ())?;
            let trigger = handle.trigger(|| ());
            trigger.fire()?;
            trigger.fire()?;
            let before = statistics();
            assert_eq!((before.tasks, before.ready, before.calls), (2, 0, 2));
            n.cancel();
            // The child, the body, and the main task, which is to poll both.
            assert_eq!(statistics().ready, 3);
            let _ = checkpoint().await;
            Ok(())
        })
        .await?;
        move_on_after(Duration::from_secs(5), async {
            let deadline = statistics().next_deadline;
            assert_eq!(deadline, Some(now() + Duration::from_secs(5)));
            Ok(())
        })
        .await?;
        assert_eq!(statistics().next_deadline, None);
        Ok(())
    });
}
