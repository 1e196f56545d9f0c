use std::io::Read;

use tractor::runtime::gather;
use tractor::{SpawnError, SpawnOptions};

use super::bare::{Bare, FLOOR, close};
use super::{Shape, roots};
use crate::cores::Cores;
use crate::population::Mark;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// Samples of a latency a round, for 200 and more in all.
const SAMPLES: usize = 14;

/// From before the start of processes to when they can be used, and to the error if they cannot.
pub(super) fn workloads() -> Vec<Workload> {
    let mut workloads = vec![root()];
    workloads.extend(Cores::BOTH.map(|cores| actors(cores, 1).samples_a_round(SAMPLES)));
    workloads.extend([10, 50].map(|count| actors(Cores::Free, count)));
    workloads.extend(Cores::BOTH.map(stillborn));
    workloads
}

/// A program is started that runs a root actor.
///
/// The clock stops when the first byte is there that the root's `main` writes. The floor is a
/// process from its start until it has ended, and *bare* one from its start to its first byte.
fn root() -> Workload {
    Workload::new("start of a root, to ready", Unit::Milliseconds)
        .side(US, |watch| {
            while watch.again() {
                let started = watch.start();
                let (mut socket, mut root) = roots::start(0, 0, &Mark::new());
                socket.read_exact(&mut [0]).expect("it says so");
                watch.stop(started, 1);
                root.wait().expect("it is our child");
            }
        })
        .side(FLOOR, |watch| {
            while watch.again() {
                let started = watch.start();
                Bare::start_and_end().reap();
                watch.stop(started, 1);
            }
        })
        .side("bare", |watch| bare(watch, 1))
        .target(Target::Times(1.5, FLOOR))
        .samples_a_round(SAMPLES)
}

/// So many actors are started at once.
///
/// The clock stops when all can be called, or when the first byte of every bare process is there.
fn actors(cores: Cores, count: usize) -> Workload {
    let name = match count {
        1 => "start_actor, to ready".to_owned(),
        _ => format!("start_actor, {count} at once, to ready"),
    };
    cores
        .workload(&name, Unit::Milliseconds)
        .side(US, move |watch| cores.run(|| ours(watch, count)))
        .side(FLOOR, move |watch| cores.run(|| bare(watch, count)))
        .target(Target::Times(1.5, FLOOR))
}

fn ours(watch: Stopwatch, count: usize) {
    tractor::run(async || {
        while watch.again() {
            tractor::nursery(async |an| {
                let started = watch.start();
                let starts = (0..count).map(|_| an.start_actor("started", SpawnOptions::new()));
                let portals = gather(starts).await?;
                watch.stop(started, 1);
                assert!(portals.iter().all(|portal| portal.is_connected()));
                an.cancel();
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .expect("the measurement does not fail");
}

fn bare(watch: Stopwatch, count: usize) {
    let mark = Mark::new();
    while watch.again() {
        let started = watch.start();
        let all = Bare::grow(Shape::row(count), &mark);
        watch.stop(started, 1);
        close(all);
    }
}

/// A program that ends at once, and never speaks. Not this one: built together with tests, it
/// becomes an actor before its `main`.
const STILLBORN: &str = "true";

/// [`STILLBORN`] is started as an actor.
///
/// The clock runs from before the start to the error, or, started bare, to the end of file.
fn stillborn(cores: Cores) -> Workload {
    cores
        .workload("actor that dies at its start, to error", Unit::Milliseconds)
        .side(US, move |watch| {
            cores.run(|| {
                tractor::run(async || never_there(&watch).await)
                    .expect("the measurement does not fail");
            });
        })
        .side(FLOOR, move |watch| {
            cores.run(|| {
                while watch.again() {
                    let started = watch.start();
                    let mut bare = Bare::start_other(STILLBORN);
                    bare.end_of_file();
                    watch.stop(started, 1);
                    bare.reap();
                }
            });
        })
        .target(Target::Times(2.0, FLOOR))
        .samples_a_round(SAMPLES)
}

async fn never_there(watch: &Stopwatch) -> tractor::Result<()> {
    tractor::nursery(async |an| {
        while watch.again() {
            let options = SpawnOptions::new().program(STILLBORN, [""; 0]);
            let started = watch.start();
            let result = an.start_actor("stillborn", options).await;
            watch.stop(started, 1);
            let is_told = result.is_err_and(|error| error.is::<SpawnError>());
            watch.count("not told by a SpawnError", usize::from(!is_told), 1);
        }
        Ok(())
    })
    .await
}
