//! Events, locks, semaphores, limiters, conditions and barriers: who gets in, and in which order.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Log, trial};
use tractor_runtime::sync::{
    Arrival, Barrier, Borrower, BroadcastSender, CapacityLimiter, Condition, Event, LimiterToken,
    Lock, LockGuard, Receiver, Semaphore, SemaphorePermit, Sender, broadcast, channel,
};
use tractor_runtime::testing::{assert_checkpoints, wait_all_tasks_blocked};
use tractor_runtime::time::sleep;
use tractor_runtime::{
    CancelScope, Result, checkpoint, current_task, move_on_after, nursery, shield,
};

const SECOND: Duration = Duration::from_secs(1);

// trio/test_sync.py::test_Event#a
#[test]
fn event_that_happened_is_still_a_checkpoint() {
    trial(async || {
        let event = Event::new();
        assert!(!event.is_set());
        event.set();
        assert!(event.is_set());
        Ok(assert_checkpoints(event.wait()).await?)
    });
}

#[test]
fn event_wakes_all_who_wait() {
    trial(async || {
        let event = Event::new();
        nursery(async |n| {
            for _ in 0..3 {
                n.start_soon(async { Ok(event.wait().await?) });
            }
            wait_all_tasks_blocked().await?;
            assert_eq!(event.waiting(), 3);
            event.set();
            assert_eq!(event.waiting(), 0);
            Ok(())
        })
        .await
    });
}

#[test]
fn event_keeps_nothing_of_a_cancelled_waiter() {
    trial(async || {
        let event = Event::new();
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(event.wait().await?) });
            wait_all_tasks_blocked().await?;
            assert_eq!(event.waiting(), 1);
            waiting.cancel_and_wait().await?;
            assert_eq!(event.waiting(), 0);
            Ok(())
        })
        .await
    });
}

// trio/test_sync.py::test_CapacityLimiter#c
#[test]
fn limiter_knows_on_whose_behalf_tokens_are_out() {
    trial(async || {
        let limiter = CapacityLimiter::new(2);
        let me = current_task().map(Borrower::from).unwrap();
        let mine = limiter.try_acquire()?;
        let other = limiter.try_acquire_on_behalf_of("someone")?;
        limiter.try_acquire().unwrap_err();
        limiter.try_acquire_on_behalf_of("another").unwrap_err();
        let statistics = limiter.statistics();
        assert_eq!((statistics.total, statistics.borrowed), (Some(2), 2));
        assert_eq!(statistics.borrowers, [me.clone(), "someone".into()]);
        assert_eq!((mine.borrower(), other.borrower()), (me, "someone".into()));
        assert_eq!(limiter.available_tokens(), Some(0));
        Ok(())
    });
}

// trio/test_sync.py::test_CapacityLimiter#d
#[test]
fn token_that_is_dropped_is_given_back_for_its_borrower() {
    trial(async || {
        let limiter = CapacityLimiter::new(2);
        let one = assert_checkpoints(limiter.acquire()).await?;
        let two = assert_checkpoints(limiter.acquire_on_behalf_of("someone")).await?;
        drop(one);
        assert_eq!(limiter.statistics().borrowers, ["someone".into()]);
        assert_eq!(limiter.borrowed_tokens(), 1);
        drop(two);
        assert_eq!(limiter.statistics().borrowers, []);
        assert_eq!(limiter.available_tokens(), Some(2));
        Ok(())
    });
}

// trio/test_sync.py::test_CapacityLimiter#e
#[test]
fn token_that_is_given_back_is_the_first_waiters() {
    trial(async || {
        let limiter = CapacityLimiter::new(1);
        nursery(async |n| {
            let token = limiter.acquire().await?;
            let child = n.start_soon(async {
                drop(limiter.acquire().await?);
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            assert_eq!(limiter.statistics().waiting, 1);
            drop(token);
            limiter.try_acquire().unwrap_err();
            child.await?;
            assert_eq!(limiter.borrowed_tokens(), 0);
            Ok(())
        })
        .await
    });
}

// trio/test_sync.py::test_CapacityLimiter_inf
#[test]
fn limiter_without_a_limit() {
    trial(async || {
        let limiter = CapacityLimiter::unlimited();
        let tokens: Vec<_> = (0..100).map(|_| limiter.try_acquire().unwrap()).collect();
        assert_eq!(limiter.total_tokens(), None);
        assert_eq!(limiter.available_tokens(), None);
        assert_eq!(limiter.borrowed_tokens(), tokens.len());
        Ok(())
    });
}

// trio/test_sync.py::test_CapacityLimiter_change_total_tokens
#[test]
fn limiter_whose_total_is_changed() {
    trial(async || {
        let limiter = CapacityLimiter::new(2);
        let tokens = RefCell::new(Vec::new());
        nursery(async |n| {
            for name in ["a", "b", "c", "d", "e"] {
                let (limiter, tokens) = (&limiter, &tokens);
                n.start_soon(async move {
                    let token = limiter.acquire_on_behalf_of(name).await?;
                    tokens.borrow_mut().push(token);
                    Ok(())
                });
                wait_all_tasks_blocked().await?;
            }
            check_borrowers(&limiter, "ab");
            assert_eq!(limiter.statistics().waiting, 3);
            // Raised: two more are admitted, first come first served.
            limiter.set_total_tokens(4);
            wait_all_tasks_blocked().await?;
            check_borrowers(&limiter, "abcd");
            // Lowered: those who have a token keep it.
            limiter.set_total_tokens(1);
            assert_eq!(limiter.borrowed_tokens(), 4);
            assert_eq!(limiter.available_tokens(), Some(0));
            for left in (1..4).rev() {
                let token = tokens.borrow_mut().remove(0);
                drop(token);
                wait_all_tasks_blocked().await?;
                assert_eq!(limiter.borrowed_tokens(), left);
                assert_eq!(limiter.statistics().waiting, 1);
            }
            // Below the new total now: the last one is admitted.
            let token = tokens.borrow_mut().remove(0);
            drop(token);
            wait_all_tasks_blocked().await?;
            check_borrowers(&limiter, "e");
            // None at all, and then no limit.
            limiter.set_total_tokens(0);
            tokens.take();
            limiter.try_acquire().unwrap_err();
            limiter.set_total_tokens(None);
            drop(limiter.try_acquire()?);
            Ok(())
        })
        .await
    });
}

/// Whether tokens are out on behalf of those with these letters.
fn check_borrowers(limiter: &CapacityLimiter, letters: &str) {
    let mut borrowers = limiter.statistics().borrowers;
    borrowers.sort_by_key(|borrower| format!("{borrower:?}"));
    let letters: Vec<_> = letters
        .split("")
        .filter(|letter| !letter.is_empty())
        .collect();
    let expected: Vec<_> = letters
        .iter()
        .map(|l| Borrower::from(l.to_string()))
        .collect();
    assert_eq!(borrowers, expected);
}

// trio/test_sync.py::test_CapacityLimiter_memleak_548
#[test]
fn limiter_keeps_nothing_of_a_cancelled_waiter() {
    trial(async || {
        let limiter = CapacityLimiter::new(1);
        let _token = limiter.acquire().await?;
        let name = Rc::new(());
        for _ in 0..3 {
            let kept = name.clone();
            let outcome = move_on_after(SECOND, async {
                let _kept = kept;
                drop(limiter.acquire_on_behalf_of("a passer-by").await?);
                Ok(())
            });
            assert!(outcome.await?.timed_out());
        }
        assert_eq!(limiter.statistics().waiting, 0);
        assert_eq!(limiter.borrowed_tokens(), 1);
        assert_eq!(Rc::strong_count(&name), 1);
        Ok(())
    });
}

// trio/test_sync.py::test_Semaphore#b
#[test]
fn semaphore_counts() {
    trial(async || {
        let semaphore = Semaphore::new(1);
        assert_eq!((semaphore.available(), semaphore.max()), (1, None));
        semaphore.release()?;
        assert_eq!(semaphore.available(), 2);
        let one = assert_checkpoints(semaphore.acquire()).await?;
        let two = semaphore.try_acquire()?;
        assert_eq!(semaphore.available(), 0);
        semaphore.try_acquire().unwrap_err();
        drop(one);
        assert_eq!(semaphore.available(), 1);
        two.forget();
        assert_eq!(semaphore.available(), 1);
        nursery(async |n| {
            let _permit = semaphore.acquire().await?;
            let child = n.start_soon(async {
                semaphore.acquire().await?.forget();
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            assert_eq!(semaphore.statistics().waiting, 1);
            // For the waiter: the number is not raised.
            semaphore.release()?;
            assert_eq!(semaphore.available(), 0);
            child.await
        })
        .await
    });
}

// trio/test_sync.py::test_Semaphore_bounded
#[test]
fn semaphore_with_a_maximum() {
    trial(async || {
        let semaphore = Semaphore::with_max(1, 1);
        assert_eq!(semaphore.max(), Some(1));
        semaphore.release().unwrap_err();
        assert_eq!(semaphore.available(), 1);
        let permit = semaphore.acquire().await?;
        assert_eq!(semaphore.available(), 0);
        drop(permit);
        assert_eq!(semaphore.available(), 1);
        let refused = std::panic::catch_unwind(|| Semaphore::with_max(2, 1)).unwrap_err();
        let text = refused.downcast_ref::<String>().unwrap();
        assert!(text.contains("at most 1"), "{text}");
        Ok(())
    });
}

// trio/test_sync.py::test_Lock_and_StrictFIFOLock#a
#[test]
fn lock_is_taken_and_given_back() {
    trial(async || {
        let lock = Lock::new(1);
        assert!(!lock.is_locked());
        {
            let mut value = assert_checkpoints(lock.lock()).await?;
            *value += 1;
            assert!(lock.is_locked());
            lock.try_lock().unwrap_err();
            assert_eq!(lock.statistics().waiting, 0);
        }
        assert!(!lock.is_locked());
        assert_eq!(*lock.try_lock()?, 2);
        assert_eq!(format!("{lock:?}"), "Lock { value: 2, waiting: 0 }");
        assert_eq!(lock.into_inner(), 2);
        Ok(())
    });
}

// extra::lock_handoff_then_cancel
#[test]
fn lock_that_was_handed_over_wins_over_a_cancel() {
    trial(async || {
        let lock = Lock::new(());
        nursery(async |n| {
            let guard = lock.lock().await?;
            let child = n.start_soon(async {
                let guard = lock.lock().await.expect("the lock came first");
                checkpoint().await.expect_err("the cancel is told next");
                drop(guard);
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            drop(guard);
            assert!(lock.is_locked());
            child.cancel();
            child.await?;
            assert!(!lock.is_locked());
            Ok(())
        })
        .await
    });
}

#[test]
fn lock_of_a_task_that_panicked_is_free() {
    trial(async || {
        let lock = Lock::new(0);
        let work = std::panic::AssertUnwindSafe(nursery(async |n| {
            n.start_soon::<()>(async {
                *lock.lock().await? = 1;
                let _guard = lock.lock().await?;
                panic!("with the lock");
            });
            Ok(())
        }));
        futures::FutureExt::catch_unwind(work).await.unwrap_err();
        assert_eq!(*lock.try_lock()?, 1);
        Ok(())
    });
}

// trio/test_sync.py::test_Condition#c
#[test]
fn condition_notifies_in_order() {
    trial(async || {
        let (lock, condition, log) = (Lock::new(()), Condition::new(), Log::default());
        nursery(async |n| {
            for name in ["a", "b", "c"] {
                let (lock, condition, log) = (&lock, &condition, &log);
                n.start_soon(async move {
                    let guard = condition.wait(lock.lock().await?).await?;
                    log.note(name);
                    drop(guard);
                    Ok(())
                });
                wait_all_tasks_blocked().await?;
            }
            assert_eq!((condition.waiting(), lock.is_locked()), (3, false));
            assert_eq!(condition.notify(1), 1);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a"]);
            let guard = lock.lock().await?;
            assert_eq!(condition.notify_all(), 2);
            assert_eq!(condition.notify_all(), 0);
            wait_all_tasks_blocked().await?;
            // They are in line for the lock.
            assert_eq!(lock.statistics().waiting, 2);
            assert_eq!(log.count(), 1);
            drop(guard);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a", "b", "c"]);
            Ok(())
        })
        .await
    });
}

// trio/test_sync.py::test_Condition#e
#[test]
fn condition_that_is_cancelled_takes_the_lock_again_first() {
    trial(async || {
        let (lock, condition) = (Lock::new(0), Condition::new());
        nursery(async |n| {
            let scope = CancelScope::new();
            let handle = scope.handle();
            n.start_soon(async {
                let outcome = scope.run(async {
                    let error = condition.wait(lock.lock().await?).await.unwrap_err();
                    assert!(lock.is_locked());
                    lock.try_lock().unwrap_err();
                    let mut guard = error.into_guard();
                    assert_eq!(*guard, 1);
                    *guard = 2;
                    drop(guard);
                    Ok(checkpoint().await?)
                });
                assert!(outcome.await?.is_cancelled());
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            let mut guard = lock.lock().await?;
            handle.cancel();
            // It waits for the lock, however long that takes.
            sleep(SECOND).await?;
            assert_eq!(lock.statistics().waiting, 1);
            *guard = 1;
            drop(guard);
            sleep(SECOND).await?;
            assert_eq!(*lock.try_lock()?, 2);
            Ok(())
        })
        .await
    });
}

#[test]
fn condition_in_a_cancelled_scope_keeps_the_lock() {
    trial(async || {
        let (lock, condition) = (Lock::new(()), Condition::new());
        let scope = CancelScope::new();
        let guard = lock.lock().await?;
        scope.handle().cancel();
        let outcome = scope.run(async {
            let error = condition.wait(guard).await.unwrap_err();
            lock.try_lock().unwrap_err();
            Err::<(), _>(error.into())
        });
        assert!(outcome.await?.is_cancelled());
        assert!(!lock.is_locked());
        assert_eq!(condition.waiting(), 0);
        Ok(())
    });
}

// extra::condition_lost_notification
#[test]
fn notification_of_a_waiter_that_is_cancelled_goes_to_the_next() {
    trial(async || {
        let (lock, condition, log) = (Lock::new(()), Condition::new(), Log::default());
        nursery(async |n| {
            let mut waiters = Vec::new();
            for name in ["first", "second"] {
                let (lock, condition, log) = (&lock, &condition, &log);
                waiters.push(n.start_soon(async move {
                    let guard = condition.wait(lock.lock().await?).await?;
                    log.note(name);
                    drop(guard);
                    Ok(())
                }));
                wait_all_tasks_blocked().await?;
            }
            let guard = lock.lock().await?;
            condition.notify_one();
            waiters[0].cancel();
            wait_all_tasks_blocked().await?;
            assert_eq!(lock.statistics().waiting, 2);
            drop(guard);
            waiters.remove(1).await?;
            assert_eq!(log.seen(), ["second"]);
            assert_eq!(condition.waiting(), 0);
            Ok(())
        })
        .await
    });
}

#[test]
fn condition_of_a_waiter_that_is_dropped_does_not_take_the_lock() {
    trial(async || {
        let (lock, condition) = (Lock::new(()), Condition::new());
        nursery(async |n| {
            let waiting = n.start_soon(async {
                let guard = lock.lock().await?;
                let wait = Box::pin(condition.wait(guard));
                let tick = Box::pin(sleep(SECOND));
                futures::future::select(wait, tick).await;
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            let other = n.start_soon(async {
                let guard = condition.wait(lock.lock().await?).await?;
                drop(guard);
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            let guard = lock.lock().await?;
            // In line for the lock when it is dropped.
            condition.notify_one();
            waiting.await?;
            drop(guard);
            other.await
        })
        .await
    });
}

/// Things of which one task at a time has one.
enum LockLike {
    Limiter(CapacityLimiter),
    Semaphore(Semaphore),
    Lock(Lock),
    /// Has it who took the item out.
    Take(Sender<()>, Receiver<()>),
    /// Has it who put an item in.
    Put(Sender<()>, Receiver<()>),
}

#[expect(dead_code, reason = "held, and dropped")]
enum Held<'a> {
    Token(LimiterToken),
    Permit(SemaphorePermit),
    Guard(LockGuard<'a, ()>),
    Taken(PutBack<'a>),
    Put(TakeBack<'a>),
}

struct PutBack<'a>(&'a Sender<()>);

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.0.try_send(()).unwrap();
    }
}

struct TakeBack<'a>(&'a Receiver<()>);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.0.try_recv().unwrap();
    }
}

impl LockLike {
    fn all() -> Vec<Self> {
        let with_token = |capacity| {
            let (sender, receiver) = channel(capacity);
            sender.try_send(()).unwrap();
            Self::Take(sender, receiver)
        };
        let (sender, receiver) = channel(1);
        vec![
            Self::Limiter(CapacityLimiter::new(1)),
            Self::Semaphore(Semaphore::new(1)),
            Self::Semaphore(Semaphore::with_max(1, 1)),
            Self::Lock(Lock::default()),
            with_token(1),
            with_token(10),
            Self::Put(sender, receiver),
        ]
    }

    async fn take(&self) -> Result<Held<'_>> {
        Ok(match self {
            Self::Limiter(limiter) => Held::Token(limiter.acquire().await?),
            Self::Semaphore(semaphore) => Held::Permit(semaphore.acquire().await?),
            Self::Lock(lock) => Held::Guard(lock.lock().await?),
            Self::Take(sender, receiver) => {
                receiver.recv().await?;
                Held::Taken(PutBack(sender))
            }
            Self::Put(sender, receiver) => {
                sender.send(()).await?;
                Held::Put(TakeBack(receiver))
            }
        })
    }
}

// trio/test_sync.py::test_generic_lock_exclusion
#[test]
fn never_two_inside() {
    trial(async || {
        for lock in LockLike::all() {
            let (inside, rounds) = (Cell::new(false), Cell::new(0));
            nursery(async |n| {
                for _ in 0..5 {
                    n.start_soon(async {
                        for _ in 0..10 {
                            let held = lock.take().await?;
                            assert!(!inside.replace(true), "two inside");
                            let before = rounds.get();
                            for _ in 0..3 {
                                checkpoint().await?;
                            }
                            rounds.set(before + 1);
                            inside.set(false);
                            drop(held);
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
            assert_eq!(rounds.get(), 50);
        }
        Ok(())
    });
}

// trio/test_sync.py::test_generic_lock_fifo_fairness
#[test]
fn first_come_first_served() {
    trial(async || {
        for lock in LockLike::all() {
            let log = Log::default();
            nursery(async |n| {
                for name in ["a", "b", "c"] {
                    let (lock, log) = (&lock, &log);
                    n.start_soon(async move {
                        for _ in 0..3 {
                            let held = lock.take().await?;
                            log.note(name);
                            // Until all others wait.
                            sleep(SECOND).await?;
                            drop(held);
                        }
                        Ok(())
                    });
                    checkpoint().await?;
                    wait_all_tasks_blocked().await?;
                }
                Ok(())
            })
            .await?;
            let seen = log.seen();
            assert_eq!(seen.len(), 9);
            for round in seen.chunks(3) {
                assert_eq!(round, &seen[..3]);
            }
        }
        Ok(())
    });
}

#[test]
fn nobody_barges_in_between_hand_over_and_the_waiters_turn() {
    trial(async || {
        for lock in LockLike::all() {
            let log = Log::default();
            nursery(async |n| {
                let held = lock.take().await?;
                n.start_soon(async {
                    let _held = lock.take().await?;
                    log.note("waiter");
                    Ok(())
                });
                wait_all_tasks_blocked().await?;
                drop(held);
                let _held = shield(lock.take()).await?;
                log.note("late");
                Ok(())
            })
            .await?;
            assert_eq!(log.seen(), ["waiter", "late"]);
        }
        Ok(())
    });
}

#[test]
fn barrier_opens_for_each_full_round() {
    trial(async || {
        let barrier = Barrier::new(3);
        let (last, through) = (Cell::new(0), Cell::new(0));
        nursery(async |n| {
            for _ in 0..2 * 3 {
                n.start_soon(async {
                    if barrier.wait().await? == Arrival::Last {
                        last.set(last.get() + 1);
                    }
                    through.set(through.get() + 1);
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!((last.get(), through.get(), barrier.waiting()), (2, 6, 0));
        let open = Barrier::new(1);
        assert_eq!(assert_checkpoints(open.wait()).await?, Arrival::Last);
        Ok(())
    });
}

#[test]
fn barrier_does_not_count_who_was_cancelled() {
    trial(async || {
        let barrier = Barrier::new(2);
        let outcome = move_on_after(SECOND, async { Ok(barrier.wait().await?) });
        assert!(outcome.await?.timed_out());
        assert_eq!(barrier.waiting(), 0);
        nursery(async |n| {
            let one = n.start_soon(async { Ok(barrier.wait().await?) });
            wait_all_tasks_blocked().await?;
            assert!(!one.is_finished());
            // It opens, and then the first is cancelled: it has come through.
            let two = barrier.wait().await?;
            one.cancel();
            assert_eq!((one.await?, two), (Arrival::Waited, Arrival::Last));
            Ok(())
        })
        .await
    });
}

#[test]
fn item_that_nobody_receives_may_use_the_broadcast_when_it_is_dropped() {
    type Shared = Rc<RefCell<Option<BroadcastSender<Asks>>>>;
    #[derive(Clone)]
    struct Asks(Shared, Rc<Cell<usize>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            if let Some(sender) = &*self.0.borrow() {
                assert_eq!(sender.len(), sender.receivers());
                drop(sender.subscribe());
                self.1.set(self.1.get() + 1);
            }
        }
    }
    trial(async || {
        let (shared, asked) = (Shared::default(), Rc::new(Cell::new(0)));
        let (sender, receiver) = broadcast(1);
        shared.replace(Some(sender.clone()));
        let send = || sender.send(Asks(shared.clone(), asked.clone()));
        assert_eq!(send(), 1);
        assert_eq!(send(), 1); // takes the place of the other
        assert_eq!(asked.get(), 1);
        drop(receiver);
        assert_eq!(asked.get(), 2);
        assert_eq!(send(), 0);
        assert_eq!(asked.get(), 3);
        let last = shared.take();
        drop(last);
        Ok(())
    });
}
