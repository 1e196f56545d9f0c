//! Workloads of whole processes: how they start, how they end, and what is left of them.
//!
//! The *floor* is what the machine allows: this same program, started by the same call, which as
//! its first deed does nothing but write a byte to the socket that it inherited, and ends when that
//! is closed.

mod actors;
mod bare;
mod deaths;
mod ends;
mod idle;
mod orphans;
mod roots;
mod starts;

use crate::workload::Workload;

pub(crate) use bare::enter_if_bare as enter_bare;
pub(crate) use roots::enter_if_root as enter;

pub(crate) fn workloads() -> Vec<Workload> {
    [
        starts::workloads(),
        ends::workloads(),
        deaths::workloads(),
        orphans::workloads(),
        idle::workloads(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The actors below one, or the bare processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// How many the first has below it.
    first: usize,
    /// How many each of these has, and each of theirs.
    width: usize,
    levels: usize,
}

impl Shape {
    /// So many, with nobody below them.
    const fn row(first: usize) -> Self {
        Self {
            first,
            width: 0,
            levels: 1,
        }
    }

    /// 1 + 3 + 9.
    const TREE: Self = Self {
        first: 1,
        width: 3,
        levels: 3,
    };

    /// What each of the first has below it, if it has.
    fn below(self) -> Option<Self> {
        (self.levels > 1).then_some(Self {
            first: self.width,
            width: self.width,
            levels: self.levels - 1,
        })
    }

    fn processes(self) -> usize {
        self.first * (1 + self.below().map_or(0, Self::processes))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn shapes_know_how_many_they_are() {
        assert_eq!(Shape::row(10).processes(), 10);
        assert_eq!(Shape::row(10).below(), None);
        assert_eq!(Shape::TREE.processes(), 1 + 3 + 9);
    }
}
