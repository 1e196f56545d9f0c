//! A nursery that stops in the middle of a batch, because the turn's share is used up, goes on.

mod common;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::guarded;
use futures_lite::future;
use tractor_runtime::io::Io;
use tractor_runtime::sync::Event;
use tractor_runtime::{
    CancelScope, NurseryOptions, Result, checkpoint, move_on_after, nursery, run, time,
};

/// More than a turn polls.
const MANY: usize = 3000;

/// Lets everybody else run, so many times.
async fn yield_times(times: usize) -> Result<()> {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[test]
fn sibling_of_a_nursery_that_is_interrupted() {
    guarded(|| {
        run(async || {
            nursery(async |outer| {
                for _ in 0..3 {
                    outer.start_soon(nursery(async |inner| {
                        for _ in 0..MANY {
                            inner.start_soon(yield_times(3));
                        }
                        Ok(())
                    }));
                    outer.start_soon(yield_times(1));
                }
                Ok(())
            })
            .await
        })
    })
    .unwrap();
}

#[test]
fn wakes_from_other_threads_between_the_parts_of_a_batch() {
    guarded(|| {
        run(async || {
            for _ in 0..20 {
                let woken: Vec<_> = (0..10).map(|_| async_channel::bounded::<()>(1)).collect();
                let senders: Vec<_> = woken.iter().map(|(sender, _)| sender.clone()).collect();
                let waker = thread::spawn(move || {
                    for sender in senders {
                        thread::sleep(Duration::from_micros(300));
                        let _ = sender.try_send(());
                    }
                });
                nursery(async |n| {
                    for (_, receiver) in &woken {
                        n.start_soon(async {
                            receiver.recv().await?;
                            Ok(())
                        });
                    }
                    for _ in 0..MANY {
                        n.start_soon(yield_times(3));
                    }
                    Ok(())
                })
                .await?;
                waker.join().expect("it does not panic");
            }
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn deadlines_between_the_parts_of_a_batch() {
    guarded(|| {
        run(async || {
            let done = Event::new();
            nursery(async |n| {
                for ms in 0..20 {
                    n.start_soon(async move { Ok(time::sleep(Duration::from_millis(ms)).await?) });
                }
                n.start_soon(async {
                    time::sleep(Duration::from_millis(25)).await?;
                    done.set();
                    Ok(())
                });
                for _ in 0..MANY {
                    n.start_soon(async {
                        while !done.is_set() {
                            yield_times(1).await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        })
    })
    .unwrap();
}

/// Goes on with `work` until a task beside it has run; fails if that never gets its turn.
fn lets_others_run(work: impl AsyncFn() -> Result<()> + Send + 'static) {
    guarded(move || {
        run(async || {
            let others = Cell::new(0);
            nursery(async |n| {
                n.start_soon(async {
                    for _ in 0..MANY {
                        if others.get() > 2 {
                            return Ok(());
                        }
                        work().await?;
                    }
                    panic!("the task beside it has run {} times", others.get())
                });
                n.start_soon(async {
                    for _ in 0..3 {
                        others.set(others.get() + 1);
                        checkpoint().await?;
                    }
                    Ok(())
                });
                Ok(())
            })
            .await
        })
    })
    .unwrap();
}

#[test]
fn scopes_that_end_at_once_do_not_starve_the_rest() {
    lets_others_run(async || {
        let waited = move_on_after(Duration::ZERO, async { Ok(time::sleep_forever().await?) });
        assert!(waited.await?.timed_out());
        Ok(())
    });
}

#[test]
fn nurseries_that_end_at_once_do_not_starve_the_rest() {
    lets_others_run(async || {
        let scope = CancelScope::new().timeout(Duration::ZERO);
        let waited = NurseryOptions::new()
            .scope(scope)
            .run(async |_| Ok(time::sleep_forever().await?));
        assert!(waited.await?.timed_out());
        Ok(())
    });
}

#[test]
fn nursery_beside_another_future_of_its_task() {
    guarded(|| {
        run(async || {
            let over = Cell::new(false);
            let spinning = nursery(async |n| {
                for _ in 0..3 {
                    n.start_soon(async {
                        while !over.get() {
                            checkpoint().await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            let beside = async {
                for _ in 0..MANY {
                    checkpoint().await?;
                }
                over.set(true);
                Result::Ok(())
            };
            let (spun, passed) = futures_lite::future::zip(spinning, beside).await;
            spun.and(passed)
        })
    })
    .unwrap();
}

/// What takes long between two checkpoints does not take it 256 times before others hear of anything.
#[test]
fn task_that_computes_does_not_keep_readiness_waiting() {
    guarded(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let rounds = run(async || {
            nursery(async |n| {
                let io = Io::new(ours)?;
                let read = Rc::new(Cell::new(false));
                let has_read = read.clone();
                n.start_soon(async move {
                    io.read_with(|mut io| io.read(&mut [0])).await?;
                    has_read.set(true);
                    Ok(())
                });
                checkpoint().await?;
                theirs.write_all(&[1])?;
                let mut rounds = 0;
                while !read.get() {
                    thread::sleep(Duration::from_millis(5));
                    checkpoint().await?;
                    rounds += 1;
                }
                Ok(rounds)
            })
            .await
        });
        let rounds = rounds.unwrap();
        assert!(rounds <= 32, "{rounds}");
    });
}

#[test]
fn future_beside_a_nursery_in_one_task_waits_for_few_polls_of_it() {
    guarded(|| {
        run(async || {
            for children in [1, 10, MANY] {
                let polls = Cell::new(0);
                let beside_is_done = Cell::new(false);
                let longest = Cell::new(0);
                let busy = nursery(async |n| {
                    for _ in 0..children {
                        n.start_soon(async {
                            while !beside_is_done.get() {
                                polls.set(polls.get() + 1);
                                yield_times(1).await?;
                            }
                            Ok(())
                        });
                    }
                    Ok(())
                });
                let beside = async {
                    for _ in 0..MANY {
                        longest.set(longest.get().max(polls.replace(0)));
                        yield_times(1).await?;
                    }
                    beside_is_done.set(true);
                    Ok(())
                };
                future::try_zip(busy, beside).await?;
                // 16 batches behind one that was begun, and never more than a turn polls.
                let most = (children * 17).min(257);
                assert!(
                    (1..=most).contains(&longest.get()),
                    "{} polls of {children} children",
                    longest.get()
                );
            }
            Ok(())
        })
    })
    .unwrap();
}
