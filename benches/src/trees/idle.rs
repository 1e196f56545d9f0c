use std::fs;
use std::io::Read;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use super::actors::{options, process};
use super::bare::{Bare, FLOOR, close};
use super::{Shape, roots};
use crate::population::{Mark, Process};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const ACTORS: usize = 10;

/// How long what is new may take to come to rest.
const SETTLING: Duration = Duration::from_millis(500);

/// How long nobody is to wake up.
const QUIET: Duration = Duration::from_secs(2);

/// What processes cost that do nothing: the resident memory of an actor that has answered a call,
/// and how often in a second the threads of a root and ten actors on which nothing happens go to
/// sleep again, and so have woken up.
pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new("resident memory of an idle actor", Unit::Kibibytes)
            .side(US, |watch| {
                tractor::run(async || resident_actor(&watch).await)
                    .expect("the measurement does not fail");
            })
            .side(FLOOR, |watch| {
                let all = Bare::grow(Shape::row(1), &Mark::new());
                watch.record_all([resident(all[0].pid())]);
                close(all);
            })
            .target(Target::AtMost(4096.0)),
        Workload::new("wake-ups of 1 + 10 idle actors", Unit::PerSecond)
            .side(US, |watch| {
                let mark = Mark::new();
                let (mut socket, mut root) = roots::start(ACTORS, 1, &mark);
                socket.read_exact(&mut [0]).expect("it says so");
                wake_ups(&watch, &mark.processes());
                root.kill().expect("it is our child");
                root.wait().expect("it is our child");
            })
            .side(FLOOR, |watch| {
                let mark = Mark::new();
                let all = Bare::grow(Shape::row(1 + ACTORS), &mark);
                wake_ups(&watch, &mark.processes());
                close(all);
            })
            .target(Target::AtMost(0.0))
            .rounds(3),
    ]
}

async fn resident_actor(watch: &Stopwatch) -> tractor::Result<()> {
    tractor::nursery(async |an| {
        let portal = an.start_actor("idle", options(&Mark::new())).await?;
        let pid = portal.run(process, ()).await?;
        watch.record_all([resident(Pid::from_raw(pid).expect("it has a number"))]);
        an.cancel();
        Ok(())
    })
    .await
}

fn wake_ups(watch: &Stopwatch, there: &[Process]) {
    assert_eq!(there.len(), 1 + ACTORS);
    thread::sleep(watch.patience(SETTLING));
    let before = sleeps(there);
    let quiet = watch.patience(QUIET);
    thread::sleep(quiet);
    let sleeps = (sleeps(there) - before) as f64;
    watch.record_all([sleeps / quiet.as_secs_f64()]);
}

/// In bytes.
fn resident(pid: Pid) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let kib = number(&status.expect("it is there"), "VmRSS:");
    kib as f64 * 1024.0
}

/// How often the threads of these have gone to sleep.
fn sleeps(there: &[Process]) -> u64 {
    let tasks = there.iter().flat_map(|process| {
        fs::read_dir(format!("/proc/{}/task", process.pid)).expect("it is there")
    });
    tasks
        .map(|task| {
            let file = task.expect("it is there").path().join("status");
            let status = fs::read_to_string(file).expect("it is there");
            number(&status, "voluntary_ctxt_switches:")
        })
        .sum()
}

/// The number on the line that begins so.
fn number(status: &str, start: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(start));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .expect("the kernel says so")
}
