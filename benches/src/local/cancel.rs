//! Cancelling many blocked children at once.

use std::future::pending;

use futures_lite::future::yield_now;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tractor_runtime::{checkpoint, nursery, time::sleep_forever};

use crate::hosts;
use crate::local::{tally, thousands};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// `children` children, all blocked, are cancelled together.
///
/// The clock starts before the call that cancels and stops when all children are gone and
/// have been joined. The figure is the time of one child. Ours and tokio's children run code of
/// their own when they are cancelled (they count themselves); smol's, moro's and those of a
/// `FuturesUnordered` are merely dropped, which is the floor and not the same service.
pub(super) fn workloads() -> Vec<Workload> {
    [1, 10, 100, 1_000, 10_000, 100_000]
        .into_iter()
        .map(|children| {
            let name = format!("cancel to joined, {} blocked", thousands(children));
            let workload = Workload::new(name, Unit::Nanoseconds)
                .side(US, move |watch| tractor(watch, children))
                .side("tokio", move |watch| tokio(watch, children))
                .side("smol", move |watch| smol(watch, children))
                .side("moro", move |watch| moro(watch, children))
                .side("futures", move |watch| futures(watch, children))
                .trio("cancel", children)
                .point("tasks", children, children);
            // Among a few, what stands around them is what is measured.
            if children < 1_000 {
                return workload;
            }
            workload
                .target(Target::Times(0.25, "tokio"))
                .target(Target::Times(1.0, "moro"))
        })
        .collect()
}

fn tractor(watch: Stopwatch, children: usize) {
    hosts::tractor(async || {
        while watch.again() {
            tally::clear();
            let started = nursery(async |n| {
                for _ in 0..children {
                    n.start_soon(async {
                        tally::add();
                        let cancelled = sleep_forever().await;
                        tally::add();
                        Ok(cancelled?)
                    });
                }
                while tally::count() < children {
                    checkpoint().await?;
                }

                let started = watch.start();
                n.cancel();
                Ok(started)
            })
            .await?;
            watch.stop(started, children);
            assert_eq!(tally::count(), 2 * children);
        }
        Ok(())
    });
}

fn tokio(watch: Stopwatch, children: usize) {
    hosts::tokio(async move {
        while watch.again() {
            tally::clear();
            let token = CancellationToken::new();
            let tracker = TaskTracker::new();
            for _ in 0..children {
                let token = token.clone();
                tracker.spawn_local(async move {
                    tally::add();
                    let cancelled = token.run_until_cancelled(pending::<()>()).await.is_none();
                    assert!(cancelled);
                    tally::add();
                });
            }
            while tally::count() < children {
                tokio::task::yield_now().await;
            }

            let started = watch.start();
            token.cancel();
            tracker.close();
            tracker.wait().await;
            watch.stop(started, children);
            assert_eq!(tally::count(), 2 * children);
        }
    });
}

fn smol(watch: Stopwatch, children: usize) {
    hosts::smol(async move |executor| {
        while watch.again() {
            tally::clear();
            let handles: Vec<_> = (0..children)
                .map(|_| {
                    executor.spawn(async move {
                        tally::add();
                        pending::<()>().await;
                    })
                })
                .collect();
            while tally::count() < children {
                yield_now().await;
            }

            let started = watch.start();
            for handle in handles {
                handle.cancel().await;
            }
            watch.stop(started, children);
        }
    });
}

fn moro(watch: Stopwatch, children: usize) {
    hosts::smol(async move |_| {
        while watch.again() {
            tally::clear();
            let watch_inside = watch.clone();
            let started = moro_local::async_scope!(|scope| {
                for _ in 0..children {
                    drop(scope.spawn(async move {
                        tally::add();
                        pending::<()>().await;
                    }));
                }
                while tally::count() < children {
                    yield_now().await;
                }
                scope.terminate::<()>(watch_inside.start()).await;
                unreachable!("a terminated scope does not go on")
            })
            .await;
            watch.stop(started, children);
        }
    });
}

fn futures(watch: Stopwatch, children: usize) {
    hosts::smol(async move |_| {
        while watch.again() {
            tally::clear();
            let mut set: FuturesUnordered<_> = (0..children)
                .map(|_| async move {
                    tally::add();
                    pending::<()>().await;
                })
                .collect();
            while tally::count() < children {
                let _ = futures_lite::future::poll_once(set.next()).await;
            }

            let started = watch.start();
            drop(set);
            watch.stop(started, children);
        }
    });
}
