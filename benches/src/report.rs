//! What came out, for people, and for programs as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::workload::{US, Unit};

/// One run. All figures of it can be compared with each other, and with those of no other run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Rounds that each side was given, in turn with the others of its workload.
    pub(crate) rounds: usize,
    pub(crate) workloads: Vec<Entry>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) group: String,
    pub(crate) name: String,
    /// Of medians, of 99th percentiles, and of limits that are no ratio.
    pub(crate) unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) point: Option<Point>,
    pub(crate) sides: Vec<Figures>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// One side of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) who: String,
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) samples: usize,
    pub(crate) rounds: usize,
    /// Our median in terms of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) counts: Vec<Count>,
}

/// How many of all were what none should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) count: usize,
    pub(crate) of: usize,
}

/// Whether we met a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The side that sets the bar; ours, if nobody else does.
    pub(crate) of: String,
    pub(crate) target: String,
    /// What our median had to stay below in this run. There is none where the target is that
    /// none be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<f64>,
    pub(crate) met: bool,
}

/// Where a workload stands in a plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) curve: String,
    pub(crate) at: usize,
    /// How many of its medians make up what is plotted.
    pub(crate) parts: usize,
}

impl Report {
    /// Targets of which there are so many, and of these missed so many.
    pub(crate) fn targets(&self) -> (usize, usize) {
        let verdicts = self.workloads.iter().flat_map(|entry| &entry.verdicts);
        let missed = verdicts.clone().filter(|verdict| !verdict.met).count();
        (verdicts.count(), missed)
    }
}

impl Entry {
    pub(crate) fn ours(&self) -> Option<&Figures> {
        self.sides.iter().find(|side| side.who == US)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Figures> {
        self.sides.iter().filter(|side| side.who != US)
    }

    /// A figure with its unit, as exact as it is worth.
    pub(crate) fn show(&self, value: f64) -> String {
        let decimals = match value.abs() {
            0.0 => 0,
            ..10.0 => 2,
            10.0..1000.0 => 1,
            _ => 0,
        };
        format!("{value:.decimals$} {}", self.unit)
    }
}

/// The heading of what [`Entry`] writes.
pub(crate) fn heading() -> String {
    format!(
        "{:<50} {:<8} {:>10} {:>10} {:>8} {:>8}  target",
        "workload", "who", "median", "p99", "samples", "us/them"
    )
}

/// A line for each side.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for side in &self.sides {
            let ratio = side.ratio.map(|ratio| format!("{ratio:.3}"));
            let verdicts = self
                .verdicts
                .iter()
                .filter(|verdict| verdict.of == side.who);
            let mut remarks: Vec<_> = verdicts.map(Verdict::to_string).collect();
            if side.who != US {
                let counts = side.counts.iter().filter(|count| count.count > 0);
                remarks.extend(counts.map(Count::to_string));
            }
            let line = format!(
                "{:<50} {:<8} {:>10} {:>10} {:>8} {:>8}  {}",
                self.name,
                side.who,
                self.show(side.median),
                self.show(side.p99),
                side.samples,
                ratio.unwrap_or_default(),
                remarks.join(", "),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = if self.met { "met" } else { "MISSED" };
        write!(f, "{} {met}", self.target)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} {}", self.count, self.of, self.what)
    }
}
