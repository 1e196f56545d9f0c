//! Giving way to the other tasks.

use futures_lite::future::yield_now;
use tractor_runtime::{checkpoint, nursery};

use crate::hosts;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const YIELDS: usize = 20_000;

/// `tasks` tasks that do nothing but yield, in turn.
///
/// The clock starts before the first task is spawned and stops when the last has been joined;
/// there are so many yields that neither shows. The figure is the time of one yield. The peers'
/// tasks wake themselves: tokio's own `yield_now` waits for a look at its timers first, and takes
/// five times as long when there is one task.
pub(super) fn workloads() -> Vec<Workload> {
    [1, 100]
        .into_iter()
        .map(|tasks| {
            Workload::new(format!("yield, {tasks} in turn"), Unit::Nanoseconds)
                .side(US, move |watch| tractor(watch, tasks))
                .side("tokio", move |watch| tokio(watch, tasks))
                .side("smol", move |watch| smol(watch, tasks))
                .trio("yields", tasks)
                .target(Target::Times(0.35, "tokio"))
        })
        .collect()
}

fn tractor(watch: Stopwatch, tasks: usize) {
    hosts::tractor(async || {
        while watch.again() {
            let started = watch.start();
            nursery(async |n| {
                for _ in 0..tasks {
                    n.start_soon(async {
                        for _ in 0..YIELDS / tasks {
                            checkpoint().await?;
                        }
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
            watch.stop(started, YIELDS);
        }
        Ok(())
    });
}

fn tokio(watch: Stopwatch, tasks: usize) {
    hosts::tokio(async move {
        while watch.again() {
            let started = watch.start();
            let mut set = tokio::task::JoinSet::new();
            for _ in 0..tasks {
                set.spawn_local(async move {
                    for _ in 0..YIELDS / tasks {
                        yield_now().await;
                    }
                });
            }
            while set.join_next().await.is_some() {}
            watch.stop(started, YIELDS);
        }
    });
}

fn smol(watch: Stopwatch, tasks: usize) {
    hosts::smol(async move |executor| {
        while watch.again() {
            let started = watch.start();
            let handles: Vec<_> = (0..tasks)
                .map(|_| {
                    executor.spawn(async move {
                        for _ in 0..YIELDS / tasks {
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for handle in handles {
                handle.await;
            }
            watch.stop(started, YIELDS);
        }
    });
}
