//! Workloads of two processes that talk.
//!
//! Most are measured twice, on one core and [free](Cores). The *floor* is what the machine allows:
//! two processes that block on a pair of Unix sockets.

mod actors;
mod calls;
mod cancels;
mod contexts;
mod floor;
mod idle;
mod pour;
mod relay;
mod rpc;
mod storm;
mod streams;

use crate::cores::Cores;
use crate::workload::Workload;

/// Becomes what this process was started to be by a workload, if it was, and does not return then.
pub(crate) fn enter() {
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
        storm::workloads(),
        idle::workloads(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
