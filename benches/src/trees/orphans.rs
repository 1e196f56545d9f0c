use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::bare::{Bare, FLOOR};
use super::{Shape, roots};
use crate::population::Mark;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const ACTORS: usize = 3;
const CONTEXTS: usize = 10;

const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(8);

/// A root with three actors, and ten contexts on each, is ended by a signal.
///
/// The clock runs from before the signal until the last of the three has ended, a second at most.
/// Who is alive then is counted, and again when the eighth second is over. The floor is a bare
/// process with three below it.
pub(super) fn workloads() -> Vec<Workload> {
    let signals = [
        (Signal::KILL, "root killed by SIGKILL, to no actor left"),
        (Signal::TERM, "root ended by SIGTERM, to no actor left"),
    ];
    let workloads = signals.map(|(signal, name)| {
        Workload::new(name, Unit::Milliseconds)
            .side(US, move |watch| ours(watch, signal))
            .side(FLOOR, move |watch| floor(watch, signal))
            .target(Target::AtMost(SOON.as_secs_f64() * 1e3))
    });
    workloads.into()
}

fn ours(watch: Stopwatch, signal: Signal) {
    while watch.again() {
        let mark = Mark::new();
        let (mut socket, mut root) = roots::start(ACTORS, CONTEXTS, &mark);
        socket.read_exact(&mut [0]).expect("it says so");
        end(&watch, Pid::from_child(&root), signal, &mark);
        root.wait().expect("it is our child");
    }
}

fn floor(watch: Stopwatch, signal: Signal) {
    let shape = Shape {
        first: 1,
        width: ACTORS,
        levels: 2,
    };
    while watch.again() {
        let mark = Mark::new();
        let mut all = Bare::grow(shape, &mark);
        end(&watch, all[0].pid(), signal, &mark);
        all[0].reap();
    }
}

fn end(watch: &Stopwatch, root: Pid, signal: Signal, mark: &Mark) {
    let mut actors = mark.processes();
    actors.retain(|process| process.pid != root);
    assert_eq!(actors.len(), ACTORS);
    let began = watch.start();
    kill_process(root, signal).expect("it is our child");
    let until = Instant::now() + SOON;
    let mut left = 0;
    for actor in &actors {
        let time = until.saturating_duration_since(Instant::now());
        left += usize::from(!actor.ends_within(time));
    }
    watch.stop(began, 1);
    watch.count("alive 1 s later", left, ACTORS);
    watch.look_later(mark, ACTORS, LATE);
}
