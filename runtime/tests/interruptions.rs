//! A program that uses a little of everything, cut off at each of its steps: dropped, cancelled, or made
//! to panic, in many orders of scheduling.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::guarded;
use futures::FutureExt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tractor_runtime::sync::{Event, Receiver, RecvError, Sender, channel};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::{
    CancelScope, Error, Result, ScopeHandle, TaskStatus, cancellable, checkpoint, fail_after,
    finally, move_on_after, nursery, shield, shield_for, testing,
};

const SECOND: Duration = Duration::from_secs(1);
const ITEMS: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Drops the program when its poll is over.
    Drop,
    /// Cancels the scope around it.
    Cancel,
    /// Panics right there.
    Panic,
}

#[test]
fn cut_off_at_every_step() {
    guarded(|| {
        // Thousands of panics are to be expected, and would only fill the log.
        std::panic::set_hook(Box::new(|_| ()));
        let mut failures = Vec::new();
        let mut cases = 0;
        for seed in 0..40 {
            for cut in [Cut::Drop, Cut::Cancel, Cut::Panic] {
                for at in 0.. {
                    let done = Cell::new(false);
                    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        testing::run_seeded(seed, async || {
                            done.set(play(cut, at).await?);
                            Ok(())
                        })
                        .unwrap();
                    }));
                    if let Err(panic) = result {
                        let text = panic.downcast_ref::<String>().cloned();
                        failures.push(format!("{cut:?} at step {at}, seed {seed}: {text:?}"));
                        break;
                    }
                    cases += 1;
                    if done.get() {
                        break;
                    }
                }
            }
        }
        drop(std::panic::take_hook());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(cases > 4_000, "only {cases} cases");
    });
}

/// Counts the steps of the program and does what is to be done at one of them.
struct Steps<'a> {
    left: Cell<Option<u32>>,
    cut: Cut,
    scope: &'a ScopeHandle,
    drop: Cell<bool>,
}

impl Steps<'_> {
    fn step(&self) {
        match self.left.get() {
            Some(0) => {
                self.left.set(None);
                match self.cut {
                    Cut::Drop => self.drop.set(true),
                    Cut::Cancel => self.scope.cancel(),
                    Cut::Panic => panic!("cut off"),
                }
            }
            left => self.left.set(left.map(|left| left - 1)),
        }
    }
}

/// What the program does with what it owns.
#[derive(Debug, Default)]
struct Ledger {
    alive: Rc<()>,
    sent: RefCell<Vec<u32>>,
    received: RefCell<Vec<u32>>,
    cleanups_begun: Cell<u32>,
    cleanups_done: Cell<u32>,
}

/// Plays the program and cuts it off at one of its steps. Whether it was done before that.
async fn play(cut: Cut, at: u32) -> Result<bool> {
    let ledger = Ledger::default();
    let (sender, receiver) = channel(2);
    let scope = CancelScope::new();
    let handle = scope.handle();
    let steps = Steps {
        left: Cell::new(Some(at)),
        cut,
        scope: &handle,
        drop: Cell::new(false),
    };
    let running = scope.run(program(&ledger, &steps, sender, receiver.clone()));
    let mut running = Some(Box::pin(AssertUnwindSafe(running).catch_unwind()));
    poll_fn(|cx| {
        let polled = match &mut running {
            Some(running) => running.as_mut().poll(cx),
            None => return Poll::Ready(()),
        };
        if steps.drop.get() {
            running = None;
        }
        match polled {
            Poll::Ready(Ok(outcome)) => {
                let outcome = outcome.unwrap();
                let cancelled = cut == Cut::Cancel && steps.left.get().is_none();
                assert!(cancelled || !outcome.is_cancelled());
                Poll::Ready(())
            }
            Poll::Ready(Err(panic)) => {
                assert_eq!(cut, Cut::Panic, "{:?}", panic.downcast_ref::<String>());
                Poll::Ready(())
            }
            Poll::Pending if steps.drop.get() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let was_cut = steps.left.get().is_none();
    drop(running);
    ledger.check(&receiver, was_cut && cut == Cut::Drop);
    // Nothing of it is in the way of what comes after.
    let start = now();
    sleep(SECOND).await?;
    assert_eq!(now() - start, SECOND);
    let outcome = move_on_after(SECOND, std::future::pending::<Result<()>>()).await?;
    assert!(outcome.timed_out());
    Ok(!was_cut)
}

async fn program(
    ledger: &Ledger,
    steps: &Steps<'_>,
    sender: Sender<u32>,
    receiver: Receiver<u32>,
) -> Result<()> {
    let event = Event::new();
    nursery(async |n| {
        let event = &event;
        n.start_soon(produce(ledger, steps, sender));
        for _ in 0..2 {
            n.start_soon(consume(ledger, steps, receiver.clone()));
        }
        drop(receiver);
        n.start_soon(clean_up(ledger, steps, event));
        let ready = n
            .start(async move |status: TaskStatus<_>| {
                let _alive = ledger.alive.clone();
                steps.step();
                checkpoint().await?;
                steps.step();
                status.started("ready");
                steps.step();
                shield(sleep(SECOND)).await?;
                steps.step();
                event.set();
                Ok(())
            })
            .await?;
        steps.step();
        assert_eq!(ready, "ready");
        let error = fail_after(SECOND, wait_for_a_sibling(ledger, steps))
            .await
            .unwrap_err();
        steps.step();
        if !error.is_timeout() {
            return Err(error);
        }
        wait_for_many(ledger, steps, event).await
    })
    .await
}

async fn produce(ledger: &Ledger, steps: &Steps<'_>, sender: Sender<u32>) -> Result<()> {
    let _alive = ledger.alive.clone();
    for item in 0..ITEMS {
        steps.step();
        match sender.send(item).await {
            Ok(()) => ledger.sent.borrow_mut().push(item),
            Err(refused) => {
                // Refused items are the sender's again.
                assert_eq!(refused.into_inner(), item);
                return Ok(checkpoint().await?);
            }
        }
        steps.step();
    }
    Ok(())
}

async fn consume(ledger: &Ledger, steps: &Steps<'_>, receiver: Receiver<u32>) -> Result<()> {
    let _alive = ledger.alive.clone();
    loop {
        match receiver.recv().await {
            Ok(item) => ledger.received.borrow_mut().push(item),
            Err(RecvError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        steps.step();
        sleep(SECOND).await?;
        steps.step();
    }
}

async fn clean_up(ledger: &Ledger, steps: &Steps<'_>, event: &Event) -> Result<()> {
    let _alive = ledger.alive.clone();
    let work = async {
        steps.step();
        event.wait().await?;
        steps.step();
        Ok(())
    };
    finally(work, 10 * SECOND, async || {
        ledger.cleanups_begun.set(ledger.cleanups_begun.get() + 1);
        sleep(SECOND).await.unwrap();
        ledger.cleanups_done.set(ledger.cleanups_done.get() + 1);
    })
    .await
}

async fn wait_for_a_sibling(ledger: &Ledger, steps: &Steps<'_>) -> Result<()> {
    nursery(async |n| {
        let _alive = ledger.alive.clone();
        let child = n.start_soon(async {
            steps.step();
            let result = sleep_forever().await;
            steps.step();
            Ok(result?)
        });
        n.start_soon(async move {
            steps.step();
            let result = child.await;
            steps.step();
            result
        });
        steps.step();
        Ok(())
    })
    .await
}

async fn wait_for_many(ledger: &Ledger, steps: &Steps<'_>, event: &Event) -> Result<()> {
    let mut set = FuturesUnordered::new();
    for i in 0..4 {
        set.push(async move {
            let _alive = ledger.alive.clone();
            steps.step();
            let result: Result<()> = match i {
                0 => match cancellable(sleep(SECOND)).await {
                    Ok(slept) => slept.map_err(Error::from),
                    Err(cancelled) => Err(cancelled.into()),
                },
                1 => match shield_for(SECOND, sleep(2 * SECOND)).await {
                    Ok(slept) => slept.map_err(Error::from),
                    Err(cancelled) => Err(cancelled.into()),
                },
                2 => event.wait().await.map_err(Error::from),
                _ => move_on_after(SECOND, async { Ok(sleep_forever().await?) })
                    .await
                    .map(drop),
            };
            steps.step();
            result
        });
    }
    while let Some(result) = set.next().await {
        result?;
    }
    Ok(())
}

impl Ledger {
    fn check(&self, receiver: &Receiver<u32>, cut_hard: bool) {
        assert_eq!(Rc::strong_count(&self.alive), 1, "something is still alive");
        let mut arrived = self.received.take();
        while let Ok(item) = receiver.try_recv() {
            arrived.push(item);
        }
        arrived.sort_unstable();
        let sent = self.sent.take();
        if cut_hard {
            // The sender may have been dropped after its item went and before it could say so.
            assert!(arrived.starts_with(&sent), "{sent:?} {arrived:?}");
            assert!(arrived.len() <= sent.len() + 1, "{sent:?} {arrived:?}");
        } else {
            assert_eq!(arrived, sent, "sent and arrived");
            assert_eq!(self.cleanups_begun, self.cleanups_done, "cleanups");
        }
    }
}
