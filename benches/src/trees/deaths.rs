use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tractor::runtime::time::sleep_forever;
use tractor::runtime::{Outcome, checkpoint, move_on_after, nursery};
use tractor::{Caller, Context, Portal, Result};

use super::Shape;
use super::actors::{Silence, holds, options, process};
use super::bare::{Bare, FLOOR};
use crate::cores::Cores;
use crate::population::Mark;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

/// Whoever has not noticed by then does not.
const LIMIT: Duration = Duration::from_secs(5);

/// An actor is killed by SIGKILL while the other side of its context waits in some way.
///
/// The clock runs from before the signal to when that wait has ended. The floor is a read from the
/// socket of a bare process that is killed, to its end of file.
pub(super) fn workloads() -> Vec<Workload> {
    let waits = [
        (Wait::Result, "actor killed, a result waited for"),
        (Wait::Receive, "actor killed, in a receive"),
        (Wait::Sleep, "actor killed, in a sleep in its context"),
    ];
    let workloads = waits.into_iter().flat_map(|(wait, name)| {
        Cores::BOTH.map(|cores| {
            let workload = cores
                .workload(name, Unit::Microseconds)
                .side(US, move |watch| cores.run(|| ours(watch, wait)))
                .side(FLOOR, move |watch| cores.run(|| floor(watch)))
                .samples_a_round(14);
            match cores {
                Cores::One => workload.target(Target::Times(2.0, FLOOR)),
                Cores::Free => workload,
            }
        })
    });
    workloads.collect()
}

/// What the other side is doing when the actor dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Result,
    Receive,
    Sleep,
}

fn ours(watch: Stopwatch, wait: Wait) {
    tractor::run(async || {
        while watch.again() {
            let mark = Mark::new();
            let noticed = Cell::new(false);
            let result = tractor::nursery(async |an| {
                let portal = an.start_actor("killed", options(&mark)).await?;
                die(&portal, wait, &watch, &noticed).await
            })
            .await;
            assert!(result.is_err(), "an actor has died");
            watch.count("not noticed", usize::from(!noticed.get()), 1);
        }
        Ok(())
    })
    .expect("the measurement does not fail");
}

async fn die(portal: &Portal, wait: Wait, watch: &Stopwatch, noticed: &Cell<bool>) -> Result<()> {
    let pid = portal.run(process, ()).await?;
    let pid = Pid::from_raw(pid).expect("it has a number");
    let body = async |ctx: &Context<Silence, Caller<()>>, ()| {
        let killed = Cell::new(Instant::now());
        nursery(async |n| {
            n.start_soon(async {
                // The others wait by then.
                checkpoint().await?;
                killed.set(watch.start());
                kill_process(pid, Signal::KILL)?;
                Ok(())
            });
            let waited = move_on_after(LIMIT, async {
                match wait {
                    Wait::Result => ctx.wait_for_result().await.map(drop),
                    Wait::Receive => ctx.open_stream()?.receive().await.map(drop),
                    Wait::Sleep => Ok(sleep_forever().await?),
                }
            })
            .await;
            watch.stop(killed.get(), 1);
            noticed.set(!matches!(waited, Ok(Outcome::Cancelled(_))));
            waited.map(drop)
        })
        .await
    };
    portal.open_context(holds, (), body).await
}

fn floor(watch: Stopwatch) {
    while watch.again() {
        let mut all = Bare::grow(Shape::row(1), &Mark::new());
        let bare = &mut all[0];
        let killed = watch.start();
        kill_process(bare.pid(), Signal::KILL).expect("it is our child");
        bare.end_of_file();
        watch.stop(killed, 1);
        bare.reap();
    }
}
