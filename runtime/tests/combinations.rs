//! Every source of a cancellation, with and without a shield, blocked in everything, and ended in
//! every way a child can end.

mod common;

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, foreign_wait, guarded};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tractor_runtime::sync::{Receiver, channel};
use tractor_runtime::time::{Instant, now, sleep};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, Error, Outcome, Result, checkpoint, nursery, shield,
    testing,
};

/// When the cancellation comes.
const CUT: Duration = Duration::from_secs(1);
/// When what a child waits for would be there.
const READY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Case {
    source: CancelKind,
    shielded: bool,
    blocked: Blocked,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Blocked {
    Leaf,
    /// A future that knows nothing of scopes, in the child's own frame.
    Foreign,
    /// The same in a scope of its own, so that the child goes on after it.
    ForeignInScope,
    NurseryJoin,
    Channel,
    Join,
    FuturesUnordered,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Returns,
    Fails,
    Swallows,
    Panics,
}

#[test]
fn all_combinations() {
    let mut failures = Vec::new();
    for source in [
        CancelKind::Requested,
        CancelKind::Deadline,
        CancelKind::SiblingFailed,
        CancelKind::ParentCancelled,
        CancelKind::Shutdown,
        CancelKind::Signal,
    ] {
        for shielded in [false, true] {
            for blocked in [
                Blocked::Leaf,
                Blocked::Foreign,
                Blocked::ForeignInScope,
                Blocked::NurseryJoin,
                Blocked::Channel,
                Blocked::Join,
                Blocked::FuturesUnordered,
            ] {
                for ending in [
                    Ending::Returns,
                    Ending::Fails,
                    Ending::Swallows,
                    Ending::Panics,
                ] {
                    let case = Case {
                        source,
                        shielded,
                        blocked,
                        ending,
                    };
                    let run = move || testing::run(async || case.play().await);
                    let result = std::panic::catch_unwind(move || guarded(run));
                    match result {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => failures.push(format!("{case:?}: {error}")),
                        Err(panic) => failures.push(format!("{case:?}: {}", text(&*panic))),
                    }
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

impl Case {
    async fn play(self) -> Result<()> {
        let log = Log::default();
        let seen = RefCell::new(None);
        let start = now();
        let ended = Cell::new(None);
        let outcome = RefCell::new(None);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let foreign = RefCell::new(None::<std::task::Waker>);
        let (sender, receiver) = channel(1);

        nursery(async |outside| {
            outside.start_soon(async {
                sleep(READY).await?;
                let _ = sender.try_send(());
                if let Some(waker) = foreign.borrow_mut().take() {
                    waker.wake();
                }
                Ok(())
            });
            if self.source == CancelKind::Deadline {
                handle.set_timeout(CUT);
            }
            let whole = scope.run(nursery(async |n| {
                n.start_soon_named("victim", async {
                    let _local = NoteDrop(&log, "victim dropped");
                    let result = self.block_maybe_shielded(&foreign, &receiver).await;
                    log.note("victim goes on");
                    seen.replace(Some((result.clone(), now())));
                    checkpoint()
                        .await
                        .expect_err("the cancellation is told after the shield, too");
                    self.end(result)
                });
                n.start_soon_named("sibling", async {
                    if self.source == CancelKind::Deadline {
                        return Ok(());
                    }
                    sleep(CUT).await?;
                    if self.source == CancelKind::SiblingFailed {
                        return Err(Boom("sibling").into());
                    }
                    handle.cancel_because(CancelCause::new(self.source));
                    Ok(())
                });
                Ok(())
            }));
            outcome.replace(Some(AssertUnwindSafe(whole).catch_unwind().await));
            ended.set(Some(now()));
            Ok(())
        })
        .await?;

        let ended = ended.get().expect("the scope ended") - start;
        let expected = if self.shielded { READY } else { CUT };
        assert_eq!(ended, expected, "when the scope ended");
        let dropped = log
            .seen()
            .iter()
            .filter(|what| *what == "victim dropped")
            .count();
        assert_eq!(dropped, 1, "the victim is dropped once");
        self.check_seen(seen.take(), start);
        self.check_outcome(outcome.take().expect("the scope ended"));
        Ok(())
    }

    async fn block_maybe_shielded(
        self,
        foreign: &RefCell<Option<std::task::Waker>>,
        receiver: &Receiver<()>,
    ) -> Result<()> {
        let block = self.block(foreign, receiver);
        if self.shielded {
            shield(block).await
        } else {
            block.await
        }
    }

    async fn block(
        self,
        foreign: &RefCell<Option<std::task::Waker>>,
        receiver: &Receiver<()>,
    ) -> Result<()> {
        match self.blocked {
            Blocked::Leaf => Ok(sleep(READY).await?),
            Blocked::Foreign => {
                foreign_wait(foreign).await;
                Ok(())
            }
            Blocked::ForeignInScope => {
                let scope = CancelScope::new().run(async {
                    foreign_wait(foreign).await;
                    Ok(())
                });
                scope.await.map(drop)
            }
            Blocked::NurseryJoin => {
                nursery(async |n| {
                    n.start_soon(async { Ok(sleep(READY).await?) });
                    n.start_soon(async { Ok(sleep(READY).await?) });
                    Ok(())
                })
                .await
            }
            Blocked::Channel => Ok(receiver.recv().await?),
            Blocked::Join => {
                let (a, b) = futures::join!(sleep(READY), sleep(READY));
                assert_eq!(a.is_err(), b.is_err(), "both are told");
                Ok(a.and(b)?)
            }
            Blocked::FuturesUnordered => {
                let mut set: FuturesUnordered<_> = (0..5).map(|_| sleep(READY)).collect();
                let mut told = 0;
                let mut last = Ok(());
                while let Some(result) = set.next().await {
                    told += 1;
                    last = result;
                }
                assert_eq!(told, 5, "each is told");
                Ok(last?)
            }
        }
    }

    fn end(self, result: Result<()>) -> Result<()> {
        match self.ending {
            Ending::Returns => result,
            Ending::Fails => Err(Boom("victim").into()),
            Ending::Swallows => Ok(()),
            Ending::Panics => panic!("the victim panics"),
        }
    }

    /// Whether the victim is dropped where it waits, and never gets to its ending.
    fn is_dropped(self) -> bool {
        self.blocked == Blocked::Foreign && !self.shielded
    }

    fn check_seen(self, seen: Option<(Result<()>, Instant)>, start: Instant) {
        if self.is_dropped() {
            assert!(seen.is_none(), "the victim does not go on");
            return;
        }
        let (result, at) = seen.expect("the victim goes on");
        if self.shielded {
            result.expect("what is shielded finishes");
            assert_eq!(at - start, READY);
        } else {
            let error = result.expect_err("what is not shielded is cancelled");
            let cancelled = error.cancelled().expect("the error is the cancellation");
            assert!(error.is_cancelled());
            assert_eq!(cancelled.cause().kind(), self.source);
            assert_eq!(at - start, CUT);
        }
    }

    fn check_outcome(self, outcome: std::thread::Result<Result<Outcome<()>>>) {
        let sibling_failed = self.source == CancelKind::SiblingFailed;
        let ending = if self.is_dropped() {
            Ending::Returns
        } else {
            self.ending
        };
        let result = match (outcome, ending) {
            (Err(panic), Ending::Panics) => {
                assert_eq!(text(&*panic), "the victim panics");
                return;
            }
            (Err(panic), _) => panic!("a panic comes out: {}", text(&*panic)),
            (Ok(_), Ending::Panics) => panic!("the panic does not come out"),
            (Ok(result), _) => result,
        };
        let mut expected = Vec::new();
        if sibling_failed {
            expected.push("sibling");
        }
        if ending == Ending::Fails {
            expected.push("victim");
        }
        if !expected.is_empty() {
            let error: Error = result.expect_err("the failure comes out");
            assert_eq!(booms(&error), expected);
            assert!(!error.contains_cancelled(), "{error}");
            return;
        }
        // A victim that was shielded returns the value it waited for: nothing was cut short.
        let cut_short = ending == Ending::Returns && !self.shielded;
        let outcome = result.expect("nothing failed");
        assert_eq!(outcome.is_cancelled(), cut_short, "{outcome:?}");
        if let Some(cause) = outcome.cause() {
            assert_eq!(cause.kind(), self.source);
        }
    }
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "not a text".into())
}
