use futures_util::future::join_all;
use tractor::runtime::gather;

use super::Cores;
use super::actors::{Payload, fails, nothing, with_actor};
use super::floor::{FLOOR, Floor, PACKET};
use super::rpc::{Bytes, TARPC, patient, with_client};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// How many calls are under way at a time.
const FLIGHT: usize = 64;
const TRIPS: usize = 50;

/// A function of the other process that gives back the 64 bytes it was given: one call after the
/// other, and 64 at a time (the figure is the time a call); and one that fails.
pub(super) fn workloads() -> Vec<Workload> {
    let one_by_one = Cores::BOTH.map(|cores| {
        let workload = cores
            .workload("call", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| ours(watch)))
            .side(FLOOR, move |watch| cores.run(|| floor(watch, 1)))
            .side(TARPC, move |watch| cores.run(|| tarpc(watch)));
        match cores {
            Cores::One => workload
                .target(Target::Times(2.0, FLOOR))
                .target(Target::Times(1.0, TARPC)),
            Cores::Free => workload,
        }
    });
    let in_flight = Cores::BOTH.map(|cores| {
        cores
            .workload("64 calls in flight, each", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| ours_in_flight(watch)))
            .side(TARPC, move |watch| cores.run(|| tarpc_in_flight(watch)))
            .target(Target::Times(0.67, TARPC))
    });
    let failing = Cores::BOTH.map(|cores| {
        cores
            .workload("call that fails, to the error", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| failing(watch)))
            .side(FLOOR, move |watch| cores.run(|| floor(watch, 1)))
            .target(Target::Times(2.0, FLOOR))
    });
    one_by_one
        .into_iter()
        .chain(in_flight)
        .chain(failing)
        .collect()
}

fn ours(watch: Stopwatch) {
    with_actor(async |portal| {
        let payload = Payload::new(PACKET);
        while watch.again() {
            let started = watch.start();
            for _ in 0..TRIPS {
                portal.run(nothing, payload.clone()).await?;
            }
            watch.stop(started, TRIPS);
        }
        Ok(())
    });
}

fn ours_in_flight(watch: Stopwatch) {
    with_actor(async |portal| {
        let payload = Payload::new(PACKET);
        while watch.again() {
            let started = watch.start();
            gather((0..FLIGHT).map(|_| portal.run(nothing, payload.clone()))).await?;
            watch.stop(started, FLIGHT);
        }
        Ok(())
    });
}

fn failing(watch: Stopwatch) {
    with_actor(async |portal| {
        while watch.again() {
            let started = watch.start();
            for _ in 0..TRIPS {
                let failed = portal.run(fails, ()).await;
                assert!(failed.is_err());
            }
            watch.stop(started, TRIPS);
        }
        Ok(())
    });
}

/// So many round trips of the floor.
pub(super) fn floor(watch: Stopwatch, trips: usize) {
    let mut floor = Floor::start();
    while watch.again() {
        let started = watch.start();
        for _ in 0..TRIPS * trips {
            floor.round_trip();
        }
        watch.stop(started, TRIPS);
    }
}

fn tarpc(watch: Stopwatch) {
    with_client(async move |client| {
        let payload = Bytes::from(vec![7; PACKET]);
        while watch.again() {
            let started = watch.start();
            for _ in 0..TRIPS {
                let answer = client.nothing(patient(), payload.clone()).await;
                answer.expect("the server answers");
            }
            watch.stop(started, TRIPS);
        }
    });
}

fn tarpc_in_flight(watch: Stopwatch) {
    with_client(async move |client| {
        let payload = Bytes::from(vec![7; PACKET]);
        while watch.again() {
            let started = watch.start();
            let calls = (0..FLIGHT).map(|_| client.nothing(patient(), payload.clone()));
            for answer in join_all(calls).await {
                answer.expect("the server answers");
            }
            watch.stop(started, FLIGHT);
        }
    });
}
