//! Workloads of two processes that talk.
//!
//! Each is measured twice: with both processes on one core, where a message costs what the code
//! costs, and free, where the waking of the other core hides everything else. The *floor* is what
//! the machine allows: two processes that block on a pair of Unix sockets.

mod actors;
mod calls;
mod cancels;
mod contexts;
mod floor;
mod idle;
mod pour;
mod rpc;
mod streams;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::workload::{Unit, Workload};

/// Becomes what this process was started to be by a workload, if it was, and does not return then.
pub(crate) fn enter() {
    tractor::enter_if_actor();
    floor::enter_if_floor();
    pour::enter_if_pour();
    rpc::enter_if_rpc();
}

pub(crate) fn workloads() -> Vec<Workload> {
    [
        calls::workloads(),
        contexts::workloads(),
        streams::workloads(),
        cancels::workloads(),
        idle::workloads(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cores {
    One,
    Free,
}

impl Cores {
    const BOTH: [Self; 2] = [Self::One, Self::Free];

    fn workload(self, name: &str, unit: Unit) -> Workload {
        let name = match self {
            Self::One => format!("{name}, one core"),
            Self::Free => name.to_owned(),
        };
        Workload::new(name, unit)
    }

    /// Runs a side there, with the processes that it starts.
    fn run(self, side: impl FnOnce()) {
        let before = sched_getaffinity(None).expect("a thread may ask where it may run");
        if self == Self::One {
            let mut first = CpuSet::new();
            let core = (0..CpuSet::MAX_CPU).find(|&core| before.is_set(core));
            first.set(core.expect("it runs somewhere"));
            sched_setaffinity(None, &first).expect("a thread may stay where it may run");
        }
        side();
        sched_setaffinity(None, &before).expect("a thread may run where it ran before");
    }
}
