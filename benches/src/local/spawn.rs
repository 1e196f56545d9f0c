//! Children that are started, run once and are waited for.

use futures_util::stream::{FuturesUnordered, StreamExt};
use tractor_runtime::nursery;

use crate::hosts;
use crate::local::thousands;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// `children` children of one nursery, each of which returns at once.
///
/// The clock starts before the first is spawned and stops when all have been joined and the
/// nursery is left. The figure is the time of one child. smol has no nursery: its side awaits a
/// `Vec` of handles. `FuturesUnordered` has no tasks at all.
pub(super) fn workloads() -> Vec<Workload> {
    [1_000, 100_000]
        .into_iter()
        .map(|children| {
            let name = format!("spawn, run and join, {}", thousands(children));
            Workload::new(name, Unit::Nanoseconds)
                .side(US, move |watch| tractor(watch, children))
                .side("tokio", move |watch| tokio(watch, children))
                .side("smol", move |watch| smol(watch, children))
                .side("moro", move |watch| moro(watch, children))
                .side("futures", move |watch| futures(watch, children))
                .trio("spawn", children)
                .target(Target::Times(0.35, "tokio"))
                .target(Target::Times(0.6, "smol"))
        })
        .collect()
}

fn tractor(watch: Stopwatch, children: usize) {
    hosts::tractor(async || {
        while watch.again() {
            let started = watch.start();
            nursery(async |n| {
                for _ in 0..children {
                    n.start_soon(async { Ok(()) });
                }
                Ok(())
            })
            .await?;
            watch.stop(started, children);
        }
        Ok(())
    });
}

fn tokio(watch: Stopwatch, children: usize) {
    hosts::tokio(async move {
        while watch.again() {
            let started = watch.start();
            let mut set = tokio::task::JoinSet::new();
            for _ in 0..children {
                set.spawn_local(async {});
            }
            while set.join_next().await.is_some() {}
            drop(set);
            watch.stop(started, children);
        }
    });
}

fn smol(watch: Stopwatch, children: usize) {
    hosts::smol(async move |executor| {
        while watch.again() {
            let started = watch.start();
            let handles: Vec<_> = (0..children).map(|_| executor.spawn(async {})).collect();
            for handle in handles {
                handle.await;
            }
            watch.stop(started, children);
        }
    });
}

fn moro(watch: Stopwatch, children: usize) {
    hosts::smol(async move |_| {
        while watch.again() {
            let started = watch.start();
            moro_local::async_scope!(|scope| {
                for _ in 0..children {
                    drop(scope.spawn(async {}));
                }
            })
            .await;
            watch.stop(started, children);
        }
    });
}

fn futures(watch: Stopwatch, children: usize) {
    hosts::smol(async move |_| {
        while watch.again() {
            let started = watch.start();
            let mut set: FuturesUnordered<_> = (0..children).map(|_| async {}).collect();
            while set.next().await.is_some() {}
            drop(set);
            watch.stop(started, children);
        }
    });
}
