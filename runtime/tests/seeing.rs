//! What a runtime tells of itself: dumps, instruments, the watchdog, and the report of a deadlock.

mod common;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Boom, Log, guarded, trial, trial_in_real_time, trial_with_clock};
use tractor_runtime::sync::{Event, channel};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{Instant, now, sleep, sleep_forever};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, Dump, DumpKind, EventLog, Instrument, Result, Runtime,
    TaskInfo, TaskState, Watchdog, add_instrument, checkpoint, current_task, dump, move_on_after,
    nursery, remove_instrument, runtime_handle, shield,
};

const SECOND: Duration = Duration::from_secs(1);

fn state(dump: &Dump, task: &str) -> TaskState {
    let entry = dump.task(task).expect("the task is in the dump");
    entry.state.clone().expect("a task has a state")
}

fn blocked(on: &str) -> TaskState {
    TaskState::Blocked(on.to_owned())
}

#[test]
fn dump_says_what_everybody_waits_for() {
    trial_with_clock(async |_| {
        let event = Event::new();
        let (_sender, receiver) = channel::<()>(1);
        nursery(async |n| {
            n.start_soon_named("event", async { Ok(event.wait().await?) });
            n.start_soon_named("channel", async { Ok(receiver.recv().await?) });
            n.start_soon_named("sleep", async { Ok(sleep(SECOND).await?) });
            n.start_soon_named("foreign", async { pending::<Result<()>>().await });
            n.start_soon_named("nursery", nursery(async |_| Ok(sleep_forever().await?)));
            n.start_soon_named("start", async {
                n.start(async |_: tractor_runtime::TaskStatus<()>| Ok(sleep_forever().await?))
                    .await
            });
            wait_all_tasks_blocked().await?;
            n.start_soon_named("ready", async { Ok(()) });
            let dump = dump();
            assert_eq!(state(&dump, "event"), blocked("sync::event::Wait"));
            let TaskState::Blocked(operation) = state(&dump, "channel") else {
                panic!("it is blocked on an operation");
            };
            assert!(operation.starts_with("sync::channel"), "{operation}");
            assert_eq!(state(&dump, "sleep"), blocked("time::sleep::Sleep"));
            assert_eq!(state(&dump, "foreign"), TaskState::Elsewhere);
            assert_eq!(state(&dump, "nursery"), TaskState::InNursery);
            assert_eq!(state(&dump, "start"), blocked("Nursery::start"));
            assert_eq!(state(&dump, "ready"), TaskState::Ready);
            assert_eq!(state(&dump, "main"), TaskState::Running);
            assert_eq!(dump.task("main").unwrap().task(), current_task());
            n.cancel();
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn dump_shows_scopes_and_why_they_are_cancelled() {
    trial_with_clock(async |_| {
        let start = now();
        let line = Location::caller().line();
        let outer = CancelScope::new().timeout(5 * SECOND);
        let handle = outer.handle();
        outer
            .run(async {
                handle.stop(2 * SECOND);
                let reason = CancelCause::new(CancelKind::Requested).with_reason("for the test");
                handle.cancel_because(reason);
                shield(async {
                    let dump = dump();
                    let scopes: Vec<_> = dump
                        .entries()
                        .iter()
                        .filter(|entry| entry.kind == DumpKind::Scope)
                        .collect();
                    let [outer, shield] = scopes[..] else {
                        panic!("two scopes are open:\n{dump}");
                    };
                    assert_eq!(outer.deadline, Some(start + 5 * SECOND));
                    assert_eq!(outer.grace_end, Some(start + 2 * SECOND));
                    assert!(outer.cancelled && outer.cancel_called && !outer.shielded);
                    assert_eq!(outer.location.line(), line + 1);
                    let cause = outer.cause.as_ref().and_then(CancelCause::reason);
                    assert_eq!(cause, Some("for the test"));
                    assert!(shield.shielded && !shield.cancelled && shield.cause.is_none());
                    assert_eq!((outer.depth, shield.depth), (1, 2));
                    let text = dump.to_string();
                    for part in [
                        "\n  scope (",
                        "deadline in 5.00s",
                        "shielded",
                        "for the test",
                    ] {
                        assert!(text.contains(part), "{part:?} is not in\n{text}");
                    }
                })
                .await;
                Ok(())
            })
            .await?;
        Ok(())
    });
}

// trio/test_tracing.py::test_task_iter_await_frames
// trio/test_tracing.py::test_closed_task_iter_await_frames
#[test]
fn dump_shows_how_tasks_are_nested_and_not_those_that_have_ended() {
    trial(async || {
        nursery(async |n| {
            n.start_soon_named("ended", async { Ok(()) });
            n.start_soon_named(
                "outer",
                move_on_after(
                    SECOND,
                    nursery(async |inner| {
                        inner.start_soon_named("inner", async { Ok(sleep_forever().await?) });
                        Ok(())
                    }),
                ),
            );
            wait_all_tasks_blocked().await?;
            let dump = dump();
            assert!(dump.task("ended").is_none());
            let from = dump.entries().iter();
            let below = from.skip_while(|entry| entry.name.as_deref() != Some("outer"));
            let kinds: Vec<_> = below.map(|entry| (entry.depth, entry.kind)).collect();
            let depth = kinds[0].0;
            let expected = [
                (depth, DumpKind::Task),
                (depth + 1, DumpKind::Scope),
                (depth + 2, DumpKind::Nursery),
                (depth + 3, DumpKind::Task),
            ];
            assert_eq!(kinds[..4], expected);
            n.cancel();
            Ok(())
        })
        .await
    });
}

#[test]
fn dump_that_another_thread_asks_for() {
    trial_in_real_time(async || {
        let (told, dumps) = async_channel::bounded(1);
        let handle = runtime_handle();
        let asking = thread::spawn(move || {
            handle.run_soon(move || told.try_send(dump().to_string()).unwrap())
        });
        let text = dumps.recv().await?;
        asking.join().unwrap()?;
        assert!(text.starts_with("task `main`"), "{text}");
        Ok(())
    });
}

#[test]
fn dump_of_thousands_of_nested_scopes() {
    common::guarded_with_stack(64 << 20, || {
        tractor_runtime::run(async || {
            fn nest(
                depth: usize,
            ) -> std::pin::Pin<Box<dyn std::future::Future<Output = Result<usize>>>> {
                Box::pin(async move {
                    if depth == 0 {
                        let dump = dump();
                        assert!(dump.to_string().lines().count() > 5_000);
                        return Ok(dump.entries().len());
                    }
                    let outcome = CancelScope::new().run(nest(depth - 1)).await?;
                    Ok(outcome.completed().expect("nobody cancelled it"))
                })
            }
            assert_eq!(nest(5_000).await?, 5_001);
            Ok(())
        })
        .unwrap();
    });
}

/// Notes what it is told.
#[derive(Default)]
struct Recorder(Log);

impl Recorder {
    fn note(&self, what: &str, task: &TaskInfo) {
        self.0
            .note(format!("{what} {}", task.name.as_deref().unwrap_or("?")));
    }
}

impl Instrument for Recorder {
    fn run_started(&self) {
        self.0.note("run started");
    }

    fn run_ended(&self) {
        self.0.note("run ended");
    }

    fn task_spawned(&self, task: &TaskInfo) {
        self.note("spawned", task);
    }

    fn task_scheduled(&self, task: &TaskInfo) {
        self.note("scheduled", task);
    }

    fn before_poll(&self, task: &TaskInfo) {
        self.note("before", task);
    }

    fn after_poll(&self, task: &TaskInfo) {
        self.note("after", task);
    }

    fn task_blocked(&self, task: &TaskInfo, operation: Option<&'static str>) {
        self.note("blocked", task);
        if let Some(operation) = operation {
            assert!(!operation.is_empty());
        }
    }

    fn task_exited(&self, task: &TaskInfo) {
        self.note("exited", task);
    }

    fn scope_cancelled(&self, cause: &CancelCause, _: &'static Location<'static>) {
        self.0.note(format!("cancelled {}", cause.kind()));
    }

    fn before_wait(&self, _: Option<Instant>) {
        self.0.note("waits");
    }

    fn after_wait(&self) {
        self.0.note("goes on");
    }

    fn deadlocked(&self, dump: &Dump) {
        assert!(dump.task("main").is_some());
        self.0.note("deadlocked");
    }
}

// core/test_instrumentation.py::test_instrument_before_after_run
#[test]
fn instrument_of_a_whole_run() {
    guarded(|| {
        let recorder = Rc::new(Recorder::default());
        Runtime::builder()
            .instrument(recorder.clone())
            .build()
            .run(async || Ok(checkpoint().await?))
            .unwrap();
        let expected = [
            "run started",
            "spawned main",
            "before main",
            // It yields: it is woken before its poll is over.
            "scheduled main",
            "after main",
            "before main",
            "after main",
            "exited main",
            "run ended",
        ];
        assert_eq!(recorder.0.seen(), expected);
    });
}

// core/test_instrumentation.py::test_instruments_interleave
#[test]
fn instrument_sees_batches() {
    guarded(|| {
        let recorder = Rc::new(Recorder::default());
        Runtime::builder()
            .instrument(recorder.clone())
            .build()
            .run(async || {
                nursery(async |n| {
                    for name in ["one", "two"] {
                        n.start_soon_named(name, async { Ok(checkpoint().await?) });
                    }
                    Ok(())
                })
                .await
            })
            .unwrap();
        let seen = recorder.0.seen();
        let steps: Vec<_> = seen
            .iter()
            .filter(|step| !step.ends_with("main") && !step.starts_with("run"))
            .map(String::as_str)
            .collect();
        let batch = |name: &str, last: &str| {
            let steps = [
                ("before", name),
                last.split_once(' ').unwrap(),
                ("after", name),
            ];
            steps.map(|(what, name)| format!("{what} {name}"))
        };
        let mut expected = Vec::new();
        for name in ["one", "two"] {
            expected.push(format!("spawned {name}"));
            // The nursery names it before it is told of, and wakes it after.
            expected.push(format!("scheduled {name}"));
        }
        for name in ["one", "two"] {
            expected.extend(batch(name, &format!("scheduled {name}")));
        }
        for name in ["one", "two"] {
            expected.extend(["before", "after", "exited"].map(|what| format!("{what} {name}")));
        }
        assert_eq!(steps, expected);
    });
}

// core/test_instrumentation.py::test_instruments#b
#[test]
fn instrument_that_is_added_twice_and_removed_twice() {
    trial(async || {
        let recorder = Rc::new(Recorder::default());
        let instrument: Rc<dyn Instrument> = recorder.clone();
        assert!(!remove_instrument(&instrument));
        assert!(add_instrument(instrument.clone()));
        assert!(!add_instrument(instrument.clone()));
        checkpoint().await?;
        let seen = recorder.0.seen();
        assert_eq!(seen.iter().filter(|step| *step == "before main").count(), 1);
        assert!(remove_instrument(&instrument));
        assert!(!remove_instrument(&instrument));
        let count = recorder.0.count();
        checkpoint().await?;
        assert_eq!(recorder.0.count(), count);
        Ok(())
    });
}

/// Has none of the hooks.
struct Silent;

impl Instrument for Silent {}

// core/test_instrumentation.py::test_null_instrument
// trio/test_abc.py::test_instrument_implements_hook_methods
#[test]
fn instrument_without_hooks() {
    guarded(|| {
        Runtime::builder()
            .instrument(Rc::new(Silent))
            .build()
            .run(async || {
                nursery(async |n| {
                    n.start_soon(async { Ok(sleep(Duration::from_millis(1)).await?) });
                    n.start_soon(async { Ok(sleep_forever().await?) }).cancel();
                    Ok(())
                })
                .await
            })
            .unwrap();
    });
}

#[test]
fn instrument_that_panics_is_taken_away() {
    struct Panics(Cell<u32>);
    impl Instrument for Panics {
        fn before_poll(&self, _: &TaskInfo) {
            self.0.set(self.0.get() + 1);
            panic!("an instrument panics");
        }
    }
    guarded(|| {
        let (panics, recorder) = (Rc::new(Panics(Cell::new(0))), Rc::new(Recorder::default()));
        Runtime::builder()
            .instrument(panics.clone())
            .instrument(recorder.clone())
            .build()
            .run(async || {
                checkpoint().await?;
                Ok(checkpoint().await?)
            })
            .unwrap();
        assert_eq!(panics.0.get(), 1);
        assert!(recorder.0.seen().contains(&"run ended".to_owned()));
    });
}

#[test]
fn instrument_that_is_added_late_knows_the_tasks_that_are_there() {
    trial_with_clock(async |_| {
        let event = Event::new();
        nursery(async |n| {
            n.start_soon_named("early", async { Ok(event.wait().await?) });
            wait_all_tasks_blocked().await?;
            let recorder = Rc::new(Recorder::default());
            add_instrument(recorder.clone());
            event.set();
            checkpoint().await?;
            checkpoint().await?;
            let seen = recorder.0.seen();
            for step in [
                "scheduled early",
                "before early",
                "after early",
                "exited early",
            ] {
                assert!(seen.contains(&step.to_owned()), "{step} is not in {seen:?}");
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn instrument_is_told_of_cancellations_and_blocking() {
    guarded(|| {
        let recorder = Rc::new(Recorder::default());
        Runtime::builder()
            .instrument(recorder.clone())
            .build()
            .run(async || {
                move_on_after(Duration::from_millis(1), async {
                    Ok(sleep_forever().await?)
                })
                .await?;
                let failed = nursery(async |n| {
                    n.start_soon_named("fails", async {
                        Err::<(), tractor_runtime::Error>(Boom("child").into())
                    });
                    Ok(sleep_forever().await?)
                });
                assert!(failed.await.is_err());
                Ok(())
            })
            .unwrap();
        let seen = recorder.0.seen();
        let cancels: Vec<_> = seen
            .iter()
            .filter_map(|step| step.strip_prefix("cancelled "))
            .collect();
        assert_eq!(cancels, ["deadline passed", "sibling failed"]);
        assert!(seen.contains(&"blocked main".to_owned()));
        let position = |step: &str| seen.iter().position(|seen| seen == step);
        assert!(position("waits") < position("goes on"), "{seen:?}");
    });
}

#[test]
fn everything_is_blocked_and_nobody_is_known_who_could_help() {
    guarded(|| {
        let recorder = Rc::new(Recorder::default());
        // What the runtime cannot know of: a thread that helps after the report.
        let reported = Arc::new(Mutex::new(false));
        struct Helps(RefCell<Option<thread::JoinHandle<()>>>, Arc<Mutex<bool>>);
        impl Instrument for Helps {
            fn deadlocked(&self, dump: &Dump) {
                *self.1.lock().unwrap() = true;
                assert_eq!(state(dump, "main"), blocked("sync::event::Wait"));
                let handle = runtime_handle();
                let helper = thread::spawn(move || {
                    handle.run_soon(|| EVENT.with(|event| event.set())).unwrap();
                });
                *self.0.borrow_mut() = Some(helper);
            }
        }
        thread_local! {
            static EVENT: Rc<Event> = Rc::new(Event::new());
        }
        let helps = Rc::new(Helps(RefCell::default(), reported.clone()));
        Runtime::builder()
            .instrument(recorder.clone())
            .instrument(helps.clone())
            .build()
            .run(async || {
                sleep(Duration::from_millis(1)).await?;
                assert!(!*reported.lock().unwrap());
                Ok(EVENT.with(Rc::clone).wait().await?)
            })
            .unwrap();
        assert!(*reported.lock().unwrap());
        helps.0.take().unwrap().join().unwrap();
        let seen = recorder.0.seen();
        assert_eq!(seen.iter().filter(|step| *step == "deadlocked").count(), 1);
    });
}

#[test]
fn waiting_for_a_descriptor_a_thread_or_another_library_is_no_deadlock() {
    guarded(|| {
        let recorder = Rc::new(Recorder::default());
        Runtime::builder()
            .instrument(recorder.clone())
            .build()
            .run(async || {
                let (told, wait) = async_channel::bounded::<()>(1);
                let helper = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    told.try_send(())
                });
                wait.recv().await?;
                helper.join().unwrap()?;
                let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
                let reader = tractor_runtime::io::Io::new(reader)?;
                let helper = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    drop(writer);
                });
                reader.readable().await?;
                helper.join().unwrap();
                Ok(())
            })
            .unwrap();
        assert!(!recorder.0.seen().contains(&"deadlocked".to_owned()));
    });
}

/// Keeps the records of the watchdog. Installed once for the process.
struct Records(Mutex<Vec<(String, String)>>);

impl log::Log for Records {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() != "tractor::executor"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let keys = record.key_values();
            let task = keys.get("task".into()).or_else(|| keys.get("scope".into()));
            let task = task.map(|task| task.to_string()).unwrap_or_default();
            let mut records = self.0.lock().unwrap();
            records.push((task, record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

static RECORDS: Records = Records(Mutex::new(Vec::new()));

#[test]
fn watchdog_and_event_log_write_records_with_keys() {
    guarded(|| {
        log::set_logger(&RECORDS).expect("no other test of this program logs");
        log::set_max_level(log::LevelFilter::Debug);
        let told_meanwhile = || {
            let records = RECORDS.0.lock().unwrap();
            records.iter().any(|(_, text)| text.ends_with("goes on"))
        };
        Runtime::builder()
            .instrument(Watchdog::new(Duration::from_millis(20)))
            .build()
            .run(async || {
                nursery(async |n| {
                    n.start_soon_named("stuck", async {
                        // Does not yield until it was told of.
                        while !told_meanwhile() {
                            thread::sleep(Duration::from_millis(1));
                        }
                        Ok(())
                    });
                    n.start_soon_named("waits", async {
                        Ok(sleep(Duration::from_millis(100)).await?)
                    });
                    Ok(())
                })
                .await
            })
            .unwrap();
        let here = Location::caller();
        Runtime::builder()
            .instrument(Rc::new(EventLog))
            .build()
            .run(async || {
                let cancelled = CancelScope::new();
                cancelled.handle().cancel();
                cancelled.run(async { Ok(checkpoint().await?) }).await
            })
            .unwrap();
        let records = RECORDS.0.lock().unwrap().clone();
        let about = |key: &str| records.iter().filter(|(seen, _)| seen == key).count();
        assert!(about("task `main`") >= 2, "{records:?}");
        let scope = format!("{}:{}:", here.file(), here.line() + 5);
        let cancels = records.iter().filter(|(key, _)| key.starts_with(&scope));
        assert_eq!(cancels.count(), 1, "{records:?}");
        let stuck: Vec<_> = records
            .iter()
            .filter(|(task, _)| task == "task `stuck`")
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(stuck.len(), 2, "{records:?}");
        assert!(stuck[0].contains("has not yielded for"));
        assert!(stuck[1].contains("did not yield for"));
        assert!(records.iter().all(|(task, _)| task != "task `waits`"));
    });
}
