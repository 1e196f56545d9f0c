//! What a task costs that does nothing.

use std::time::Duration;

use async_io::Timer;
use futures_lite::future::yield_now;
use tractor_runtime::{checkpoint, nursery, time::sleep};

use crate::hosts;
use crate::local::tally;
use crate::memory;
use crate::workload::{Target, US, Unit, Workload};

const TASKS: usize = 10_000;
const HOUR: Duration = Duration::from_secs(3600);

/// 10,000 children of one nursery are asleep for an hour.
///
/// No clock: the figure is what the thread's allocations grew by from before the nursery was
/// opened until all its children were asleep, for each child. The list of handles by which
/// smol's side reaches its tasks is counted, since it has no nursery to hold them.
pub(super) fn workloads() -> Vec<Workload> {
    let workload = Workload::new("bytes of an idle task", Unit::Bytes)
        .side(US, |watch| {
            hosts::tractor(async || {
                while watch.again() {
                    tally::clear();
                    let before = memory::live_bytes();
                    nursery(async |n| {
                        for _ in 0..TASKS {
                            n.start_soon(async {
                                tally::add();
                                Ok(sleep(HOUR).await?)
                            });
                        }
                        while tally::count() < TASKS {
                            checkpoint().await?;
                        }
                        watch.record(bytes_each(before));
                        n.cancel();
                        Ok(())
                    })
                    .await?;
                }
                Ok(())
            });
        })
        .side("tokio", |watch| {
            hosts::tokio(async move {
                while watch.again() {
                    tally::clear();
                    let before = memory::live_bytes();
                    let mut set = tokio::task::JoinSet::new();
                    for _ in 0..TASKS {
                        set.spawn_local(async {
                            tally::add();
                            tokio::time::sleep(HOUR).await;
                        });
                    }
                    while tally::count() < TASKS {
                        tokio::task::yield_now().await;
                    }
                    watch.record(bytes_each(before));
                    set.shutdown().await;
                }
            });
        })
        .side("smol", |watch| {
            hosts::smol(async move |executor| {
                while watch.again() {
                    tally::clear();
                    let before = memory::live_bytes();
                    let handles: Vec<_> = (0..TASKS)
                        .map(|_| {
                            executor.spawn(async {
                                tally::add();
                                Timer::after(HOUR).await;
                            })
                        })
                        .collect();
                    while tally::count() < TASKS {
                        yield_now().await;
                    }
                    watch.record(bytes_each(before));
                    for handle in handles {
                        handle.cancel().await;
                    }
                }
            });
        })
        .target(Target::AtMost(300.0));
    vec![workload]
}

fn bytes_each(before: isize) -> f64 {
    (memory::live_bytes() - before) as f64 / TASKS as f64
}
