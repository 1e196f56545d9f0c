//! Where the processes of a workload run.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::workload::{Unit, Workload};

/// On one core, where a message costs what the code costs, or free, where the waking of the other
/// core hides everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    One,
    Free,
}

impl Cores {
    pub(crate) const BOTH: [Self; 2] = [Self::One, Self::Free];

    pub(crate) fn workload(self, name: &str, unit: Unit) -> Workload {
        let name = match self {
            Self::One => format!("{name}, one core"),
            Self::Free => name.to_owned(),
        };
        Workload::new(name, unit)
    }

    /// Runs a side there, with the processes that it starts.
    pub(crate) fn run(self, side: impl FnOnce()) {
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
