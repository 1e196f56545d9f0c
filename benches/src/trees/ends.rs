use tractor::runtime::CancelScope;
use tractor::runtime::time::sleep_forever;

use super::Shape;
use super::actors::{grow, options};
use super::bare::{Bare, FLOOR, close};
use crate::cores::Cores;
use crate::population::Mark;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const CONTEXTS: usize = 10;

/// From a cancel to when all processes have ended and are reaped: the block is left that they
/// belong to. The floor's end when their sockets are closed. Who is alive then is counted, and again
/// some seconds later.
pub(super) fn workloads() -> Vec<Workload> {
    let one = Cores::BOTH.map(|cores| {
        cores
            .workload("cancel_actor, to reaped", Unit::Milliseconds)
            .side(US, move |watch| cores.run(|| cancel_actor(watch)))
            .side(FLOOR, move |watch| {
                cores.run(|| closed(watch, Shape::row(1)));
            })
            .target(Target::Times(2.0, FLOOR))
            .samples_a_round(14)
    });
    let row = tree("10 actors, 10 contexts on each, cancelled", Shape::row(10));
    let tree = tree("1+3+9 actors, 10 contexts on each, cancelled", Shape::TREE);
    one.into_iter().chain([row, tree]).collect()
}

fn tree(name: &str, shape: Shape) -> Workload {
    Workload::new(name, Unit::Milliseconds)
        .side(US, move |watch| cancelled(watch, shape))
        .side(FLOOR, move |watch| closed(watch, shape))
        .target(Target::Times(3.0, FLOOR))
}

fn cancel_actor(watch: Stopwatch) {
    tractor::run(async || {
        while watch.again() {
            let mark = Mark::new();
            let (began, there) = tractor::nursery(async |an| {
                let portal = an.start_actor("cancelled", options(&mark)).await?;
                let there = mark.processes();
                assert_eq!(there.len(), 1);
                let began = watch.start();
                portal.cancel_actor().await;
                Ok((began, there))
            })
            .await?;
            watch.stop(began, 1);
            watch.ended(&there, &mark);
        }
        Ok(())
    })
    .expect("the measurement does not fail");
}

fn cancelled(watch: Stopwatch, shape: Shape) {
    tractor::run(async || {
        while watch.again() {
            let mark = Mark::new();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let mut begin = None;
            let growing = tractor::nursery(async |an| {
                grow(an, shape, CONTEXTS, &mark, async || {
                    let there = mark.processes();
                    assert_eq!(there.len(), shape.processes());
                    begin = Some((watch.start(), there));
                    handle.cancel();
                    Ok(sleep_forever().await?)
                })
                .await
            });
            let outcome = scope.run(growing).await?;
            assert!(outcome.is_cancelled());
            let (began, there) = begin.expect("it was cancelled when all were there");
            watch.stop(began, 1);
            watch.ended(&there, &mark);
        }
        Ok(())
    })
    .expect("the measurement does not fail");
}

fn closed(watch: Stopwatch, shape: Shape) {
    while watch.again() {
        let mark = Mark::new();
        let all = Bare::grow(shape, &mark);
        let there = mark.processes();
        assert_eq!(there.len(), shape.processes());
        let began = watch.start();
        close(all);
        watch.stop(began, 1);
        watch.ended(&there, &mark);
    }
}
