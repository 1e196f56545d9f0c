//! Workloads of the runtime alone: no processes, no sockets.

mod cancel;
mod channel;
mod checkpoint;
mod echo;
mod idle;
mod nursery;
mod overshoot;
mod scope;
mod spawn;
mod tally;
mod timers;
mod yields;

use crate::workload::Workload;

pub(crate) fn workloads() -> Vec<Workload> {
    [
        yields::workloads(),
        spawn::workloads(),
        cancel::workloads(),
        scope::workloads(),
        nursery::workloads(),
        channel::workloads(),
        timers::workloads(),
        overshoot::workloads(),
        echo::workloads(),
        idle::workloads(),
        checkpoint::workloads(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// 1,000 as `1k`, as the names of the workloads say it.
fn thousands(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{}k", count / 1000),
    }
}
