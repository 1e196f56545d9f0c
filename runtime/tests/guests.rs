//! Runtimes that live in somebody else's loop.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use common::{Boom, Log, NoteDrop, foreign_wait, guarded, host, wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor_runtime::io::Io;
use tractor_runtime::sync::{Event, channel};
use tractor_runtime::testing::VirtualClock;
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, CancelToken, ChildCancelled, Guest, Progress, Result,
    Runtime, TaskStatus, checkpoint, checkpoint_if_cancelled, in_runtime, nursery, shield,
    shield_for,
};

const LONG: Duration = Duration::from_secs(3600);

fn guest<'main, T: 'main>(main: impl AsyncFnOnce() -> Result<T> + 'main) -> Guest<'main, T> {
    Runtime::builder().build().guest(main).unwrap()
}

/// Gives turns until there is nothing to do.
fn settle<T>(guest: &mut Guest<'_, T>) {
    loop {
        match guest.turn(LONG) {
            Progress::Done(_) => panic!("the guest is done"),
            Progress::More => {}
            Progress::Idle => return,
        }
    }
}

/// Whether the guest's descriptor says that a turn is due.
fn is_due<T>(guest: &Guest<'_, T>) -> bool {
    let mut fds = [PollFd::new(guest, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

/// The ways in which a host learns that a turn is due.
type Host<T> = fn(Guest<'_, T>) -> Result<T>;

/// A host whose loop waits for messages, with a time limit.
fn host_by_messages<T>(mut guest: Guest<'_, T>) -> Result<T> {
    let (woken, wakes) = mpsc::channel();
    guest.on_wake(move || {
        let _ = woken.send(());
    });
    loop {
        match guest.turn(Duration::ZERO) {
            Progress::Done(result) => return result,
            Progress::More => {}
            Progress::Idle => {
                let _ = match guest.until_next_turn() {
                    Some(left) => wakes.recv_timeout(left).ok(),
                    None => wakes.recv().ok(),
                };
            }
        }
    }
}

#[test]
fn value_of_main_comes_out_of_the_last_turn() {
    guarded(|| {
        for host in [host, host_by_messages] as [Host<u32>; 2] {
            let value = host(guest(async || {
                sleep(Duration::from_millis(2)).await?;
                checkpoint().await?;
                Ok(7)
            }));
            assert_eq!(value.unwrap(), 7);
        }
    });
}

// core/test_guest_mode.py::test_guest_trivial#b
#[test]
fn error_of_main_comes_out_of_the_last_turn() {
    guarded(|| {
        for host in [host, host_by_messages] as [Host<()>; 2] {
            let error = host(guest(async || Err(Boom("main").into()))).unwrap_err();
            assert_eq!(error.downcast_ref::<Boom>(), Some(&Boom("main")));
        }
    });
}

#[test]
fn panic_of_main_comes_out_of_the_turn() {
    guarded(|| {
        let mut guest = guest(async || -> Result<()> { panic!("main") });
        let panic = catch_unwind(AssertUnwindSafe(|| guest.turn(LONG)));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"main"));
    });
}

#[test]
fn host_that_watches_for_edges_misses_none() {
    guarded(|| {
        // More than are looked at in one system call, and nobody waits for any but the last.
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (0..600).map(|_| UnixStream::pair().unwrap()).unzip();
        let mut guest = guest(async || {
            let ours = ours.into_iter().map(Io::new);
            let ours = ours.collect::<std::io::Result<Vec<_>>>()?;
            let last = ours.last().unwrap();
            Ok(last.read_with(|mut io| io.read(&mut [0])).await?)
        });
        settle(&mut guest);
        for mut end in &theirs {
            end.write_all(&[1]).unwrap();
        }
        assert!(is_due(&guest));
        // What it left unread would be no edge.
        assert!(matches!(guest.turn(LONG), Progress::Done(Ok(1))));
    });
}

#[test]
fn nothing_runs_before_the_first_turn() {
    guarded(|| {
        let ran = Cell::new(false);
        let guest = guest(async || {
            ran.set(true);
            Ok(())
        });
        assert!(!ran.get());
        assert!(guest.next_deadline().unwrap() <= Instant::now());
        assert!(is_due(&guest));
        drop(guest);
        assert!(!ran.get());
    });
}

// core/test_guest_mode.py::test_guest_can_do_io
#[test]
fn guest_waits_for_descriptors() {
    guarded(|| {
        // The callback does not tell of descriptors, so only the one host.
        let got = host(guest(async || {
            let (a, b) = UnixStream::pair()?;
            let (a, b) = (Io::new(a)?, Io::new(b)?);
            nursery(async |n| {
                let reader = n.start_soon(async {
                    let mut bytes = [0; 8];
                    let n = a.read_with(|mut a| a.read(&mut bytes)).await?;
                    Ok(bytes[..n].to_vec())
                });
                sleep(Duration::from_millis(5)).await?;
                b.write_with(|mut b| b.write(b"hello")).await?;
                reader.await
            })
            .await
        }));
        assert_eq!(got.unwrap(), b"hello");
    });
}

// core/test_guest_mode.py::test_host_can_directly_wake_trio_task
#[test]
fn host_sets_an_event_between_turns() {
    guarded(|| {
        let event = Event::new();
        let mut guest = guest(async || Ok(event.wait().await?));
        settle(&mut guest);
        assert!(!is_due(&guest));
        assert!(guest.next_deadline().is_none());
        event.set();
        assert!(is_due(&guest));
        host(guest).unwrap();
    });
}

#[test]
fn callback_comes_once_for_each_idle_time() {
    guarded(|| {
        let (sender, receiver) = channel::<u32>(8);
        let mut guest = guest(async || {
            let mut sum = 0;
            while let Ok(n) = receiver.recv().await {
                sum += n;
            }
            Ok(sum)
        });
        let (calls, called) = mpsc::channel();
        guest.on_wake(move || calls.send(thread::current().id()).unwrap());
        settle(&mut guest);
        sender.try_send(1).unwrap();
        assert_eq!(called.try_recv(), Ok(thread::current().id()));
        sender.try_send(2).unwrap();
        sender.try_send(3).unwrap();
        assert!(called.try_recv().is_err(), "told once, the host will come");
        settle(&mut guest);
        sender.try_send(4).unwrap();
        assert!(called.try_recv().is_ok());
        drop(sender);
        assert_eq!(host(guest).unwrap(), 10);
    });
}

// core/test_guest_mode.py::test_host_altering_deadlines_wakes_trio_up#a
#[test]
fn host_gives_a_sleeper_a_deadline_that_is_over() {
    guarded(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut guest = guest(async || {
            let outcome = scope
                .run(async {
                    sleep_forever().await?;
                    Ok(())
                })
                .await?;
            Ok(outcome.timed_out())
        });
        settle(&mut guest);
        handle.set_timeout(Duration::ZERO);
        assert!(is_due(&guest), "the deadline has changed");
        assert!(host(guest).unwrap());
    });
}

// core/test_guest_mode.py::test_host_altering_deadlines_wakes_trio_up#b
#[test]
fn host_moves_the_deadline_of_a_sleeper_there_and_back() {
    guarded(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut guest = guest(async || {
            let outcome = scope.run(async { Ok(sleep(LONG).await?) }).await?;
            Ok(outcome.timed_out())
        });
        settle(&mut guest);
        handle.set_timeout(2 * LONG);
        settle(&mut guest);
        assert!(guest.next_deadline().unwrap() > Instant::now());
        handle.set_timeout(Duration::ZERO);
        assert!(host(guest).unwrap());
    });
}

#[test]
fn host_cancels_a_scope_between_turns() {
    guarded(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut guest = guest(async || {
            let outcome = scope.run(async { Ok(sleep(LONG).await?) }).await?;
            Ok(outcome.is_cancelled())
        });
        settle(&mut guest);
        handle.cancel();
        assert!(is_due(&guest));
        assert!(host(guest).unwrap());
    });
}

// core/test_guest_mode.py::test_guest_mode_on_asyncio
#[test]
fn host_and_guest_play_ping_pong() {
    guarded(|| {
        for by_callback in [false, true] {
            let (to_guest, from_host) = channel::<u32>(1);
            let (to_host, from_guest) = channel::<u32>(1);
            let mut guest = guest(async || {
                let mut last = 0;
                while let Ok(n) = from_host.recv().await {
                    last = n + 1;
                    to_host.send(last).await?;
                }
                Ok(last)
            });
            let (woken, wakes) = mpsc::channel();
            guest.on_wake(move || {
                let _ = woken.send(());
            });
            settle(&mut guest);
            let mut n = 0;
            while n < 10 {
                to_guest.try_send(n).unwrap();
                if by_callback {
                    wakes.recv().unwrap();
                } else {
                    wait_for(&guest);
                }
                settle(&mut guest);
                n = from_guest.try_recv().unwrap();
            }
            drop(to_guest);
            assert_eq!(host(guest).unwrap(), 10);
        }
    });
}

// core/test_guest_mode.py::test_guest_mode_autojump_clock_threshold_changing
#[test]
fn host_has_the_clock_jump_from_now_on() {
    guarded(|| {
        let clock = VirtualClock::new();
        let runtime = Runtime::builder().clock(clock.clone()).build();
        let mut guest = runtime
            .guest(async || {
                let begun = now();
                sleep(Duration::from_secs(120)).await?;
                Ok(now() - begun)
            })
            .unwrap();
        settle(&mut guest);
        assert!(guest.next_deadline().is_none(), "the clock stands still");
        clock.set_autojump(Some(Duration::ZERO));
        assert!(is_due(&guest));
        assert_eq!(host(guest).unwrap(), Duration::from_secs(120));
    });
}

#[test]
fn budget_ends_a_turn_and_the_rest_is_due_at_once() {
    guarded(|| {
        let polls = Cell::new(0_u32);
        let mut guest = guest(async || -> Result<()> {
            loop {
                polls.set(polls.get() + 1);
                checkpoint().await?;
            }
        });
        let mut before = 0;
        for _ in 0..3 {
            assert!(matches!(guest.turn(Duration::ZERO), Progress::More));
            assert!(polls.get() > before);
            before = polls.get();
            assert!(is_due(&guest));
            assert!(guest.next_deadline().unwrap() <= Instant::now());
            assert_eq!(guest.until_next_turn(), Some(Duration::ZERO));
        }
    });
}

#[test]
fn host_is_told_how_long_it_may_wait() {
    guarded(|| {
        let (sleeps, waits) = (Duration::from_secs(60), Event::new());
        let mut guest = guest(async || {
            sleep(sleeps).await?;
            Ok(waits.wait().await?)
        });
        assert_eq!(guest.until_next_turn(), Some(Duration::ZERO));
        settle(&mut guest);
        let left = guest.until_next_turn().unwrap();
        assert!(!left.is_zero() && left <= sleeps, "{left:?}");
        drop(guest);
        let mut waits = self::guest(async || Ok(waits.wait().await?));
        settle(&mut waits);
        assert_eq!(waits.until_next_turn(), None);
    });
}

#[test]
fn early_turn_does_nothing() {
    guarded(|| {
        let mut guest = guest(async || {
            let begun = now();
            sleep(Duration::from_millis(20)).await?;
            Ok(now() - begun)
        });
        settle(&mut guest);
        for _ in 0..10 {
            if !matches!(guest.turn(LONG), Progress::Idle) {
                // A machine this slow has come to the deadline.
                return;
            }
        }
        assert!(host(guest).unwrap() >= Duration::from_millis(20));
    });
}

#[test]
fn host_that_blocks_loses_no_wake_and_no_deadline() {
    guarded(|| {
        let (sender, receiver) = async_channel::unbounded();
        let mut guest = guest(async || {
            let mut got = Vec::new();
            nursery(async |n| {
                let timer = n.start_soon(async { Ok(sleep(Duration::from_millis(1)).await?) });
                while let Ok(item) = receiver.recv().await {
                    got.push(item);
                }
                timer.await
            })
            .await?;
            Ok(got)
        });
        settle(&mut guest);
        let items: Vec<u32> = (0..1000).collect();
        let theirs = items.clone();
        let sends = thread::spawn(move || {
            for item in theirs {
                sender.send_blocking(item).unwrap();
            }
        });
        // The host is stuck meanwhile.
        sends.join().unwrap();
        thread::sleep(Duration::from_millis(5));
        assert!(is_due(&guest));
        assert_eq!(host(guest).unwrap(), items);
    });
}

#[test]
fn guests_take_turns_on_one_thread() {
    guarded(|| {
        let order = Log::default();
        let (to_b, from_a) = channel::<u32>(1);
        let (to_a, from_b) = channel::<u32>(1);
        let mut a = guest(async || {
            for n in 0..3 {
                to_b.send(n).await?;
                order.note(format!("a {}", from_b.recv().await?));
            }
            Ok(())
        });
        let mut b = guest(async || {
            for _ in 0..3 {
                let n = from_a.recv().await?;
                order.note(format!("b {n}"));
                to_a.send(10 * n).await?;
            }
            Ok(())
        });
        let (mut a_done, mut b_done) = (false, false);
        while !(a_done && b_done) {
            a_done = a_done || matches!(a.turn(LONG), Progress::Done(Ok(())));
            b_done = b_done || matches!(b.turn(LONG), Progress::Done(Ok(())));
        }
        assert_eq!(order.seen(), ["b 0", "a 0", "b 1", "a 10", "b 2", "a 20"]);
    });
}

#[test]
fn guest_lives_inside_of_the_task_of_another() {
    guarded(|| {
        let inner = RefCell::new(guest(async || {
            assert!(in_runtime());
            sleep(Duration::from_millis(1)).await?;
            Ok(5)
        }));
        let outer = guest(async || {
            loop {
                let progress = inner.borrow_mut().turn(LONG);
                if let Progress::Done(value) = progress {
                    return value;
                }
                sleep(Duration::from_millis(1)).await?;
            }
        });
        assert_eq!(host(outer).unwrap(), 5);
        assert!(!in_runtime());
    });
}

#[test]
fn guest_is_cancelled_by_a_task_that_is_not_cancelled_with_it() {
    guarded(|| {
        let cancelled = host(guest(async || {
            let mut inner = guest(async || Ok(sleep_forever().await?));
            settle(&mut inner);
            inner.root().cancel();
            checkpoint_if_cancelled().await?;
            let Progress::Done(result) = inner.turn(LONG) else {
                panic!("it was cancelled");
            };
            checkpoint().await?;
            Ok(result.unwrap_err().is_cancelled())
        }));
        assert!(cancelled.unwrap());
    });
}

#[test]
fn guest_cancels_the_task_that_gives_it_its_turn() {
    guarded(|| {
        let caught = host(guest(async || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let outcome = scope.run(async {
                let mut inner = guest(async || {
                    handle.cancel();
                    checkpoint_if_cancelled().await?; // it is not in that scope
                    Ok(())
                });
                assert!(matches!(inner.turn(LONG), Progress::Done(Ok(()))));
                checkpoint_if_cancelled().await?;
                Ok(())
            });
            Ok(outcome.await?.is_cancelled())
        }));
        assert!(caught.unwrap());
    });
}

#[test]
fn token_cancels_the_task_that_runs_and_those_of_a_guest() {
    guarded(|| {
        let token = CancelToken::new();
        let caught = host(guest(async || {
            let outcome = token.run(async {
                let mut inner = guest(async || {
                    nursery(async |n| {
                        // More scopes than the other runtime has, so that each of its is one here.
                        for _ in 0..8 {
                            n.start_soon(async { Ok(sleep_forever().await?) });
                        }
                        let outcome = token.run(async { Ok(sleep_forever().await?) }).await?;
                        n.cancel();
                        Ok(outcome.is_cancelled())
                    })
                    .await
                });
                settle(&mut inner);
                token.cancel();
                checkpoint_if_cancelled().await.unwrap_err();
                assert!(matches!(inner.turn(LONG), Progress::Done(Ok(true))));
                checkpoint_if_cancelled().await?;
                Ok(())
            });
            Ok(outcome.await?.is_cancelled())
        }));
        assert!(caught.unwrap());
    });
}

#[test]
fn start_in_a_nursery_of_another_runtime_is_refused() {
    guarded(|| {
        let outer = guest(async || {
            nursery(async |n| {
                let start = async || n.start(async |_: TaskStatus<()>| Ok(())).await;
                let mut inner = guest(start);
                let turn = catch_unwind(AssertUnwindSafe(|| inner.turn(LONG)));
                let panic = turn.expect_err("its scope is not of that tree");
                assert!(panic.downcast_ref::<&str>().unwrap().contains("`start`"));
                Ok(())
            })
            .await
        });
        host(outer).unwrap();
    });
}

#[test]
fn runtime_inside_of_a_guests_turn_is_refused() {
    guarded(|| {
        let mut guest = guest(async || {
            let refused = catch_unwind(|| tractor_runtime::run(async || Ok(())));
            assert!(refused.is_err());
            Ok(())
        });
        assert!(matches!(guest.turn(LONG), Progress::Done(Ok(()))));
    });
}

#[test]
fn dropped_guest_drops_its_tasks_in_its_runtime() {
    guarded(|| {
        struct Looks<'a>(&'a Cell<u32>);
        impl Drop for Looks<'_> {
            fn drop(&mut self) {
                assert!(in_runtime());
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = Cell::new(0);
        let mut guest = guest(async || {
            nursery(async |n| {
                for _ in 0..3 {
                    let looks = Looks(&dropped);
                    n.start_soon(async move {
                        let _looks = looks;
                        Ok(sleep_forever().await.map(drop)?)
                    });
                }
                sleep_forever().await?;
                Ok(())
            })
            .await
        });
        settle(&mut guest);
        drop(guest);
        assert_eq!(dropped.get(), 3);
    });
}

#[test]
fn end_lets_the_tasks_clean_up() {
    guarded(|| {
        let log = Rc::new(Log::default());
        let mut guest = guest({
            let log = log.clone();
            async move || {
                let cancelled = sleep_forever().await.map(drop);
                shield_for(LONG, sleep(Duration::from_millis(2))).await??;
                log.note("cleaned up");
                Ok(cancelled?)
            }
        });
        settle(&mut guest);
        let result = guest.end(LONG).expect("it ends before the limit");
        assert!(result.unwrap_err().is_cancelled());
        assert_eq!(log.seen(), ["cleaned up"]);
    });
}

#[test]
fn end_drops_what_shields_for_longer_than_the_limit() {
    guarded(|| {
        let log = Log::default();
        let limit = Duration::from_millis(20);
        let begun = Instant::now();
        let mut guest = guest(async || {
            let _dropped = NoteDrop(&log, "dropped");
            Ok(shield_for(LONG, sleep(LONG)).await??)
        });
        settle(&mut guest);
        assert!(guest.end(limit).is_none());
        assert!(begun.elapsed() >= limit, "not before the limit");
        assert_eq!(log.seen(), ["dropped"]);
    });
}

#[test]
fn turn_after_the_last_panics() {
    guarded(|| {
        let mut guest = guest(async || Ok(()));
        assert!(matches!(guest.turn(LONG), Progress::Done(Ok(()))));
        assert!(guest.next_deadline().is_none());
        assert!(catch_unwind(AssertUnwindSafe(|| guest.turn(LONG))).is_err());
        assert!(guest.end(LONG).is_none());
    });
}

#[test]
fn wake_that_races_the_drop_of_a_guest_is_harmless() {
    guarded(|| {
        for _ in 0..200 {
            let cell = RefCell::new(None::<Waker>);
            let mut guest = guest(async || {
                foreign_wait(&cell).await;
                Ok(())
            });
            guest.on_wake(|| {});
            settle(&mut guest);
            let waker = cell.borrow_mut().take().unwrap();
            let wakes = thread::spawn(move || waker.wake());
            drop(guest);
            wakes.join().unwrap();
        }
    });
}

#[test]
fn descriptor_moves_with_its_user_to_another_runtime() {
    guarded(|| {
        for first_is_over in [false, true] {
            let (a, mut b) = UnixStream::pair().unwrap();
            let made = Cell::new(None);
            let mut first = Some(guest(async || {
                made.set(Some(Io::new(a)?));
                sleep_forever().await?;
                Ok(())
            }));
            settle(first.as_mut().unwrap());
            let io = made.take().unwrap();
            if first_is_over {
                first = None;
            }
            let mut second = guest(async || {
                let mut byte = [0];
                io.read_with(|mut io| io.read(&mut byte)).await?;
                Ok(byte[0])
            });
            settle(&mut second);
            b.write_all(&[9]).unwrap();
            assert!(is_due(&second));
            assert_eq!(host(second).unwrap(), 9);
            drop(first);
        }
    });
}

#[test]
fn descriptor_of_a_guest_is_refused_where_nobody_would_wait_for_it() {
    guarded(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let io = host(guest(async || Ok(Io::new(a)?))).unwrap();
        let elsewhere = Runtime::builder().build().run_in(async || {
            let refused = io.readable().await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
            // Taken out and made anew it is welcome.
            let io = Io::new(io.into_inner()?)?;
            io.writable().await?;
            Ok(())
        });
        async_io::block_on(elsewhere).unwrap();
    });
}

#[test]
fn runtime_is_a_future_on_another_executor() {
    guarded(|| {
        let host = async_executor::LocalExecutor::new();
        let runtimes = (0..3).map(|n| {
            Runtime::builder().build().run_in(async move || {
                sleep(Duration::from_millis(n)).await?;
                checkpoint().await?;
                Ok(n)
            })
        });
        let tasks: Vec<_> = runtimes.map(|runtime| host.spawn(runtime)).collect();
        let sum = async_io::block_on(host.run(async {
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        }));
        assert_eq!(sum, 3);
    });
}

/// What a host's handler of requests does: it has work done in the runtime, waits for it as for
/// anything of its own, and cancels it when nobody wants it any more.
#[test]
fn tasks_of_the_host_start_await_and_cancel_children() {
    guarded(|| {
        let (door, opened) = async_channel::bounded(1);
        let over = Event::new();
        let host = async_executor::LocalExecutor::new();
        let tree = Runtime::builder().build().run_in(async || {
            nursery(async |n| {
                door.send(n.handle()).await.unwrap();
                Ok(over.wait().await?)
            })
            .await
        });
        let tree = host.spawn(tree);
        async_io::block_on(host.run(async {
            let n = opened.recv().await.unwrap();
            // Far more than a task of the runtime may do in one turn.
            for x in 0..1000_u32 {
                let child = n.start_soon(async move { Ok(2 * x) }).unwrap();
                assert_eq!(child.await.unwrap(), 2 * x);
            }
            let slow = n.start_soon(async { Ok(sleep(Duration::from_millis(2)).await?) });
            slow.unwrap().await.unwrap();

            let log = Rc::new(Log::default());
            let noted = log.clone();
            let child = n.start_soon::<()>(async move {
                let cancelled = sleep_forever().await.unwrap_err();
                shield_for(LONG, sleep(Duration::from_millis(2))).await??;
                noted.note("cleaned up");
                Err(cancelled.into())
            });
            let child = child.unwrap();
            let waited = futures_lite::future::poll_once(child.gone()).await;
            assert!(waited.is_none());
            child.cancel_and_wait().await.unwrap();
            assert_eq!(log.seen(), ["cleaned up"]);
            let error = child.await.unwrap_err();
            assert!(error.is::<ChildCancelled>(), "{error}");

            over.set();
            tree.await.unwrap();
            assert!(n.start_soon(async { Ok(()) }).is_err());
        }));
    });
}

#[test]
fn dropped_future_drops_its_tasks_in_its_runtime() {
    guarded(|| {
        let log = Log::default();
        let mut runtime = Box::pin(Runtime::builder().build().run_in(async || {
            let _dropped = NoteDrop(&log, "dropped");
            sleep_forever().await?;
            Ok(())
        }));
        let waited = async_io::block_on(futures_lite::future::poll_once(&mut runtime));
        assert!(waited.is_none());
        assert_eq!(log.count(), 0);
        drop(runtime);
        assert_eq!(log.seen(), ["dropped"]);
    });
}

/// What cancels the whole is the cause, though a scope inside was told of its own before.
#[test]
fn guest_is_cancelled_when_a_scope_inside_already_was() {
    guarded(|| {
        let go_on = Event::new();
        let mut guest = guest(async || {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let body = async {
                handle.cancel();
                let told = checkpoint().await;
                shield(go_on.wait()).await?;
                Ok(told?)
            };
            scope.run(body).await
        });
        settle(&mut guest);
        let cause = CancelCause::new(CancelKind::Shutdown);
        guest.root().cancel_because(cause);
        go_on.set();
        let Progress::Done(result) = guest.turn(LONG) else {
            panic!("nothing holds it any more");
        };
        let error = result.unwrap_err();
        let cancelled = error.cancelled().unwrap();
        assert_eq!(cancelled.cause().kind(), CancelKind::Shutdown);
    });
}
