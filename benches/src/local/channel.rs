//! Channels between two tasks of one thread.

use tractor_runtime::nursery;
use tractor_runtime::sync::channel;

use crate::hosts;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const ITEMS: usize = 20_000;

pub(super) fn workloads() -> Vec<Workload> {
    vec![ping_pong(), one_way()]
}

/// Two tasks and two channels of capacity 1: each item is answered before the next is sent.
///
/// The clock runs over 20,000 round trips, within the task that asks, while the other already
/// waits; the figure is the time of one round trip.
fn ping_pong() -> Workload {
    Workload::new("channel ping-pong, capacity 1", Unit::Nanoseconds)
        .side(US, tractor_ping_pong)
        .side("tokio", tokio_ping_pong)
        .side("smol", smol_ping_pong)
        .trio("ping_pong", 0)
        .target(Target::Times(0.35, "tokio"))
}

/// One task sends and one receives, through one channel of capacity 64.
///
/// The clock starts before both are spawned and stops when both have been joined; 20,000 items
/// go through, and the figure is the time of one.
fn one_way() -> Workload {
    Workload::new("channel one way, capacity 64", Unit::Nanoseconds)
        .side(US, tractor_one_way)
        .side("tokio", tokio_one_way)
        .side("smol", smol_one_way)
        .trio("one_way", 0)
        .target(Target::Times(0.3, "tokio"))
}

fn tractor_ping_pong(watch: Stopwatch) {
    hosts::tractor(async || {
        let (ask, asked) = channel::<usize>(1);
        let (answer, answered) = channel::<usize>(1);
        nursery(async |n| {
            n.start_soon(async {
                while let Ok(item) = asked.recv().await {
                    answer.send(item).await?;
                }
                Ok(())
            });
            while watch.again() {
                let started = watch.start();
                for item in 0..ITEMS {
                    ask.send(item).await?;
                    assert_eq!(answered.recv().await?, item);
                }
                watch.stop(started, ITEMS);
            }
            drop(ask);
            Ok(())
        })
        .await
    });
}

fn tokio_ping_pong(watch: Stopwatch) {
    hosts::tokio(async move {
        let (ask, mut asked) = tokio::sync::mpsc::channel::<usize>(1);
        let (answer, mut answered) = tokio::sync::mpsc::channel::<usize>(1);
        let echo = tokio::task::spawn_local(async move {
            while let Some(item) = asked.recv().await {
                answer.send(item).await.expect("the asker listens");
            }
        });
        while watch.again() {
            let started = watch.start();
            for item in 0..ITEMS {
                ask.send(item).await.expect("the echo listens");
                assert_eq!(answered.recv().await, Some(item));
            }
            watch.stop(started, ITEMS);
        }
        drop(ask);
        echo.await.expect("the echo does not panic");
    });
}

fn smol_ping_pong(watch: Stopwatch) {
    hosts::smol(async move |executor| {
        let (ask, asked) = async_channel::bounded::<usize>(1);
        let (answer, answered) = async_channel::bounded::<usize>(1);
        let echo = executor.spawn(async move {
            while let Ok(item) = asked.recv().await {
                answer.send(item).await.expect("the asker listens");
            }
        });
        while watch.again() {
            let started = watch.start();
            for item in 0..ITEMS {
                ask.send(item).await.expect("the echo listens");
                assert_eq!(answered.recv().await, Ok(item));
            }
            watch.stop(started, ITEMS);
        }
        drop(ask);
        echo.await;
    });
}

fn tractor_one_way(watch: Stopwatch) {
    hosts::tractor(async || {
        while watch.again() {
            let started = watch.start();
            let (sender, receiver) = channel::<usize>(64);
            let received = nursery(async |n| {
                n.start_soon(async move {
                    for item in 0..ITEMS {
                        sender.send(item).await?;
                    }
                    Ok(())
                });
                let receiving = n.start_soon(async move {
                    let mut received = 0;
                    while receiver.recv().await.is_ok() {
                        received += 1;
                    }
                    Ok(received)
                });
                receiving.await
            })
            .await?;
            watch.stop(started, ITEMS);
            assert_eq!(received, ITEMS);
        }
        Ok(())
    });
}

fn tokio_one_way(watch: Stopwatch) {
    hosts::tokio(async move {
        while watch.again() {
            let started = watch.start();
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<usize>(64);
            let sending = tokio::task::spawn_local(async move {
                for item in 0..ITEMS {
                    sender.send(item).await.expect("the receiver listens");
                }
            });
            let receiving = tokio::task::spawn_local(async move {
                let mut received = 0;
                while receiver.recv().await.is_some() {
                    received += 1;
                }
                received
            });
            sending.await.expect("the sender does not panic");
            let received = receiving.await.expect("the receiver does not panic");
            watch.stop(started, ITEMS);
            assert_eq!(received, ITEMS);
        }
    });
}

fn smol_one_way(watch: Stopwatch) {
    hosts::smol(async move |executor| {
        while watch.again() {
            let started = watch.start();
            let (sender, receiver) = async_channel::bounded::<usize>(64);
            let sending = executor.spawn(async move {
                for item in 0..ITEMS {
                    sender.send(item).await.expect("the receiver listens");
                }
            });
            let receiving = executor.spawn(async move {
                let mut received = 0;
                while receiver.recv().await.is_ok() {
                    received += 1;
                }
                received
            });
            sending.await;
            let received = receiving.await;
            watch.stop(started, ITEMS);
            assert_eq!(received, ITEMS);
        }
    });
}
