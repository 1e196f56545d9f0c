//! Many timers, of the kind that is cancelled before it fires.

use std::time::Duration;

use async_io::Timer;
use futures_lite::future::yield_now;
use tractor_runtime::{checkpoint, nursery, time::sleep};

use crate::hosts;
use crate::local::tally;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const TIMERS: usize = 100_000;

/// 100,000 children, each asleep for an hour and some milliseconds of its own.
///
/// *Arm*: the clock starts before the first child is spawned and stops when all are asleep.
/// *Cancel*: it starts before the call that cancels them and stops when all have been joined.
/// The figure is the time of one child. tokio's are aborted, smol's cancelled one by one: both
/// are merely dropped.
pub(super) fn workloads() -> Vec<Workload> {
    [Part::Arm, Part::Cancel]
        .into_iter()
        .map(|part| {
            let name = match part {
                Part::Arm => "100k timers, arm",
                Part::Cancel => "100k timers, cancel and join",
            };
            Workload::new(name, Unit::Nanoseconds)
                .side(US, move |watch| tractor(watch, part))
                .side("tokio", move |watch| tokio(watch, part))
                .side("smol", move |watch| smol(watch, part))
                .target(Target::Times(0.4, "tokio"))
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Arm,
    Cancel,
}

fn duration(timer: usize) -> Duration {
    Duration::from_secs(3600) + Duration::from_millis(timer as u64 % 1009)
}

fn tractor(watch: Stopwatch, part: Part) {
    hosts::tractor(async || {
        while watch.again() {
            tally::clear();
            let arming = watch.start();
            let cancelling = nursery(async |n| {
                for timer in 0..TIMERS {
                    n.start_soon(async move {
                        tally::add();
                        Ok(sleep(duration(timer)).await?)
                    });
                }
                while tally::count() < TIMERS {
                    checkpoint().await?;
                }
                if part == Part::Arm {
                    watch.stop(arming, TIMERS);
                }

                let cancelling = watch.start();
                n.cancel();
                Ok(cancelling)
            })
            .await?;
            if part == Part::Cancel {
                watch.stop(cancelling, TIMERS);
            }
        }
        Ok(())
    });
}

fn tokio(watch: Stopwatch, part: Part) {
    hosts::tokio(async move {
        while watch.again() {
            tally::clear();
            let arming = watch.start();
            let mut set = tokio::task::JoinSet::new();
            for timer in 0..TIMERS {
                set.spawn_local(async move {
                    tally::add();
                    tokio::time::sleep(duration(timer)).await;
                });
            }
            while tally::count() < TIMERS {
                tokio::task::yield_now().await;
            }
            if part == Part::Arm {
                watch.stop(arming, TIMERS);
            }

            let cancelling = watch.start();
            set.shutdown().await;
            if part == Part::Cancel {
                watch.stop(cancelling, TIMERS);
            }
        }
    });
}

fn smol(watch: Stopwatch, part: Part) {
    hosts::smol(async move |executor| {
        while watch.again() {
            tally::clear();
            let arming = watch.start();
            let handles: Vec<_> = (0..TIMERS)
                .map(|timer| {
                    executor.spawn(async move {
                        tally::add();
                        Timer::after(duration(timer)).await;
                    })
                })
                .collect();
            while tally::count() < TIMERS {
                yield_now().await;
            }
            if part == Part::Arm {
                watch.stop(arming, TIMERS);
            }

            let cancelling = watch.start();
            for handle in handles {
                handle.cancel().await;
            }
            if part == Part::Cancel {
                watch.stop(cancelling, TIMERS);
            }
        }
    });
}
