use std::io::Read;

use super::Cores;
use super::actors::{Talk, pours, with_actor};
use super::pour::{Pour, RAW};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// Items that go one way, as fast as they will; the figure is the time an item. Raw is a process
/// that writes the same bytes in large pieces to a pair of sockets.
pub(super) fn workloads() -> Vec<Workload> {
    let sizes = [(64, "64 B", 20_000, 1.0), (1 << 10, "1 KiB", 10_000, 2.0)];
    let small = sizes.map(|(size, name, count, at_most)| {
        Cores::Free
            .workload(
                &format!("stream one way, {name}, an item"),
                Unit::Microseconds,
            )
            .side(US, move |watch| ours(watch, count, size))
            .side(RAW, move |watch| raw(watch, count, size))
            .target(Target::AtMost(at_most))
    });
    let (size, count) = (64 << 10, 1000);
    let large = Cores::Free
        .workload("stream one way, 64 KiB, an item", Unit::Microseconds)
        .side(US, move |watch| ours(watch, count, size))
        .side(RAW, move |watch| raw(watch, count, size))
        .target(Target::Times(2.0, RAW));
    small.into_iter().chain([large]).collect()
}

fn ours(watch: Stopwatch, count: u64, size: usize) {
    with_actor(async |portal| {
        while watch.again() {
            let body = async |ctx: &tractor::Context<Talk, tractor::Caller<()>>, ()| {
                let stream = ctx.open_stream()?;
                let started = watch.start();
                let mut received = 0;
                while stream.receive().await?.is_some() {
                    received += 1;
                }
                assert_eq!(received, count);
                watch.stop(started, received as usize);
                Ok(())
            };
            portal.open_context(pours, (count, size), body).await?;
        }
        Ok(())
    });
}

fn raw(watch: Stopwatch, count: u64, size: usize) {
    let mut room = vec![0; 256 << 10];
    while watch.again() {
        let mut pour = Pour::start(count * size as u64);
        let mut left = count as usize * size;
        // The process has started when the first bytes are there.
        left -= pour.socket.read(&mut room).expect("the other end writes");
        let (first_left, started) = (left, watch.start());
        while left > 0 {
            left -= pour.socket.read(&mut room).expect("the other end writes");
        }
        watch.stop(started, first_left.div_ceil(size).max(1));
    }
}
