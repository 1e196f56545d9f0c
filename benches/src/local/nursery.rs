//! Nurseries: empty ones, and a chain of one inside the other.

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tractor_runtime::{checkpoint, nursery, time::sleep_forever};

use crate::hosts;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

pub(super) fn workloads() -> Vec<Workload> {
    let mut workloads = vec![empty()];
    workloads.extend([10, 100, 1_000].map(chain));
    workloads
}

const NURSERIES: usize = 10_000;

/// A nursery is opened and left without a child.
///
/// The clock runs over 10,000 of them; the figure is the time of one. tokio's side makes a
/// `JoinSet` and asks for its next task.
fn empty() -> Workload {
    Workload::new("empty nursery", Unit::Nanoseconds)
        .side(US, |watch| {
            hosts::tractor(async || {
                while watch.again() {
                    let started = watch.start();
                    for _ in 0..NURSERIES {
                        black_box(nursery(async |_| Ok(())).await?);
                    }
                    watch.stop(started, NURSERIES);
                }
                Ok(())
            });
        })
        .side("tokio", |watch| {
            hosts::tokio(async move {
                while watch.again() {
                    let started = watch.start();
                    for _ in 0..NURSERIES {
                        let mut set = JoinSet::<()>::new();
                        black_box(set.join_next().await);
                    }
                    watch.stop(started, NURSERIES);
                }
            });
        })
        .side("moro", |watch| {
            hosts::smol(async move |_| {
                while watch.again() {
                    let started = watch.start();
                    for _ in 0..NURSERIES {
                        moro_local::async_scope!(|_scope| black_box(())).await;
                    }
                    watch.stop(started, NURSERIES);
                }
            });
        })
        .trio("empty", 0)
        .target(Target::Times(1.0, "tokio"))
}

/// A task opens a nursery with one child, which opens a nursery with one child, and so on; the
/// last is blocked. The outermost nursery is cancelled.
///
/// The clock starts before the call that cancels and stops when the outermost nursery has been
/// left. Each of tokio's levels is a task with a child token and a `JoinSet` of its own.
fn chain(length: usize) -> Workload {
    let name = format!("cancel a chain of {length} nurseries");
    Workload::new(name, Unit::Microseconds)
        .side(US, move |watch| chain_of_nurseries(watch, length))
        .side("tokio", move |watch| chain_of_join_sets(watch, length))
        .trio("chain", length)
        .point("nurseries", length, 1)
        .target(Target::Times(0.3, "tokio"))
}

fn chain_of_nurseries(watch: Stopwatch, length: usize) {
    hosts::tractor(async || {
        while watch.again() {
            let blocked = Rc::new(Cell::new(false));
            let started = nursery(async |n| {
                n.start_soon(nursery_link(length - 1, blocked.clone()));
                while !blocked.get() {
                    checkpoint().await?;
                }

                let started = watch.start();
                n.cancel();
                Ok(started)
            })
            .await?;
            watch.stop(started, 1);
        }
        Ok(())
    });
}

fn nursery_link(below: usize, blocked: Rc<Cell<bool>>) -> Link<tractor_runtime::Result<()>> {
    Box::pin(async move {
        if below == 0 {
            blocked.set(true);
            Ok(sleep_forever().await?)
        } else {
            nursery(async |n| {
                n.start_soon(nursery_link(below - 1, blocked));
                Ok(())
            })
            .await
        }
    })
}

fn chain_of_join_sets(watch: Stopwatch, length: usize) {
    hosts::tokio(async move {
        while watch.again() {
            let outermost = CancellationToken::new();
            let blocked = Rc::new(Cell::new(false));
            let mut set = JoinSet::new();
            set.spawn_local(link(outermost.clone(), length - 1, blocked.clone()));
            while !blocked.get() {
                tokio::task::yield_now().await;
            }

            let started = watch.start();
            outermost.cancel();
            while set.join_next().await.is_some() {}
            watch.stop(started, 1);
        }
    });
}

fn link(token: CancellationToken, below: usize, blocked: Rc<Cell<bool>>) -> Link<()> {
    Box::pin(async move {
        if below == 0 {
            blocked.set(true);
            token.cancelled().await;
        } else {
            let mut set = JoinSet::new();
            set.spawn_local(link(token.child_token(), below - 1, blocked));
            while set.join_next().await.is_some() {}
        }
    })
}

/// Both sides box each level, because the length is only known when they run.
type Link<T> = Pin<Box<dyn Future<Output = T>>>;
