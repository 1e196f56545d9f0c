//! What is compared, how often, and the table that comes out.

use std::fmt;
use std::time::Duration;

use crate::stopwatch::Stopwatch;
use crate::trio;

/// One thing that all sides do, each in its own way.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// We stand first, if we take part.
    pub(crate) sides: Vec<Side>,
    pub(crate) targets: Vec<Target>,
    /// Samples that each round must take, where a workload is a single wait.
    pub(crate) samples_a_round: usize,
}

/// One of those who are compared.
pub(crate) struct Side {
    pub(crate) who: &'static str,
    run: Box<dyn Fn(Stopwatch)>,
    /// It sits out the rounds after these.
    at_most: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Nanoseconds,
    Microseconds,
    Bytes,
}

/// What our median has to stay below.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// So many times the median of the side of this name.
    Times(f64, &'static str),
    /// So many of the workload's unit.
    AtMost(f64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    round: Duration,
}

pub(crate) const US: &str = "tractor";

impl Workload {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            name: name.into(),
            unit,
            sides: Vec::new(),
            targets: Vec::new(),
            samples_a_round: 1,
        }
    }

    pub(crate) fn side(mut self, who: &'static str, run: impl Fn(Stopwatch) + 'static) -> Self {
        self.sides.push(Side {
            who,
            run: Box::new(run),
            at_most: usize::MAX,
        });
        self
    }

    /// What newcomers know, where it is installed: `workload` of `trio_side.py`. It runs in a
    /// process of its own and takes long, so it is only asked in a few rounds.
    pub(crate) fn trio(mut self, workload: &'static str, count: usize) -> Self {
        self.sides.push(Side {
            who: trio::NAME,
            run: Box::new(move |watch| trio::measure(&watch, workload, count)),
            at_most: 2,
        });
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    pub(crate) fn samples_a_round(mut self, samples: usize) -> Self {
        self.samples_a_round = samples;
        self
    }

    /// The sorted samples of each side, which take turns. Each round begins with another side,
    /// so that none always runs in the shadow of the same neighbour.
    fn measure(&self, effort: Effort) -> Vec<Vec<f64>> {
        let mut samples = vec![Vec::new(); self.sides.len()];
        for round in 0..effort.rounds {
            for turn in 0..self.sides.len() {
                let index = (round + turn) % self.sides.len();
                if round >= self.sides[index].at_most {
                    continue;
                }
                let watch = Stopwatch::new(self.samples_a_round, effort.round);
                (self.sides[index].run)(watch.clone());
                samples[index].extend(watch.into_samples());
            }
        }
        for samples in &mut samples {
            samples.sort_by(f64::total_cmp);
        }
        samples
    }
}

impl Effort {
    pub(crate) fn full() -> Self {
        Self {
            rounds: 15,
            round: Duration::from_millis(25),
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            rounds: 3,
            round: Duration::from_millis(2),
        }
    }
}

/// Measures the workloads one after the other, and prints each as it is done.
pub(crate) fn print_table(workloads: &[Workload], effort: Effort) {
    println!(
        "{:<44} {:<10} {:>11} {:>11} {:>8} {:>9}  target",
        "workload", "who", "median", "p99", "samples", "us/them"
    );
    let mut missed = 0;
    for workload in workloads {
        let measured = workload.measure(effort);
        let median_of = |who: &str| {
            let index = workload.sides.iter().position(|side| side.who == who)?;
            quantile(&measured[index], 0.5)
        };
        let ours = median_of(US);

        for (side, samples) in workload.sides.iter().zip(&measured) {
            let (Some(median), Some(p99)) = (quantile(samples, 0.5), quantile(samples, 0.99))
            else {
                continue;
            };
            let ratio = match ours {
                Some(ours) if side.who != US => format!("{:.3}", ours / median),
                _ => String::new(),
            };
            let verdict = ours.map_or_else(String::new, |ours| {
                let (text, met) = workload.verdict(side.who, ours, median);
                missed += usize::from(!met);
                text
            });
            let row = format!(
                "{:<44} {:<10} {:>11} {:>11} {:>8} {ratio:>9}  {verdict}",
                workload.name,
                side.who,
                workload.unit.show(median),
                workload.unit.show(p99),
                samples.len(),
            );
            println!("{}", row.trim_end());
        }
        println!();
    }
    println!("targets missed: {missed}");
}

impl Workload {
    /// What the targets that concern this side say, and whether all are met.
    fn verdict(&self, who: &str, ours: f64, theirs: f64) -> (String, bool) {
        let mut text = Vec::new();
        let mut all_met = true;
        for target in &self.targets {
            let limit = match *target {
                Target::Times(times, of) if of == who => times * theirs,
                Target::AtMost(amount) if who == US => self.unit.in_base_units(amount),
                _ => continue,
            };
            let met = ours <= limit;
            all_met &= met;
            text.push(format!("{target} {}", if met { "met" } else { "MISSED" }));
        }
        (text.join(", "), all_met)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times, who) => write!(f, "<= {times}x {who}"),
            Self::AtMost(amount) => write!(f, "<= {amount}"),
        }
    }
}

impl Unit {
    /// Samples are nanoseconds or bytes.
    fn in_base_units(self, amount: f64) -> f64 {
        match self {
            Self::Nanoseconds | Self::Bytes => amount,
            Self::Microseconds => amount * 1e3,
        }
    }

    fn show(self, sample: f64) -> String {
        let (value, unit) = match self {
            Self::Nanoseconds => (sample, "ns"),
            Self::Microseconds => (sample / 1e3, "us"),
            Self::Bytes => (sample, "B"),
        };
        let decimals = match value.abs() {
            ..10.0 => 2,
            10.0..1000.0 => 1,
            _ => 0,
        };
        format!("{value:.decimals$} {unit}")
    }
}

/// The sample at or above `fraction` of the sorted samples, by the nearest rank.
fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
