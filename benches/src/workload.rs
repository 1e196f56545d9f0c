//! What is compared, by whom, and how often.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::population;
use crate::report::{Count, Entry, Figures, Point, Verdict};
use crate::statistics::quantile;
use crate::stopwatch::{Round, Stopwatch};
use crate::trio;

/// One thing that all sides do, each in its own way.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// We stand first, if we take part.
    pub(crate) sides: Vec<Side>,
    pub(crate) targets: Vec<Target>,
    /// Where it stands in a plot.
    pub(crate) point: Option<Point>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "B")]
    Bytes,
    #[serde(rename = "KiB")]
    Kibibytes,
    #[serde(rename = "/s")]
    PerSecond,
}

/// What our median has to stay below.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// So many times the median of the side of this name.
    Times(f64, &'static str),
    /// So many of the workload's unit.
    AtMost(f64),
}

/// How thoroughly it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    /// Whether the first sample of a round is thrown away, and rounds have as many samples as
    /// their workload asks for.
    pub(crate) thorough: bool,
    /// The part that is waited of what should be waited to see that nothing happens any more.
    pub(crate) patience: f64,
}

pub(crate) const US: &str = "tractor";

impl Workload {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            name: name.into(),
            unit,
            sides: Vec::new(),
            targets: Vec::new(),
            point: None,
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

    /// Where the time of one is this part of what the plot shows.
    pub(crate) fn point(mut self, curve: &str, at: usize, parts: usize) -> Self {
        self.point = Some(Point {
            curve: curve.to_owned(),
            at,
            parts,
        });
        self
    }

    pub(crate) fn samples_a_round(mut self, samples: usize) -> Self {
        self.samples_a_round = samples;
        self
    }

    /// No more rounds than these, of the sides so far: for what takes seconds, and is not a matter
    /// of chance.
    pub(crate) fn rounds(mut self, at_most: usize) -> Self {
        for side in &mut self.sides {
            side.at_most = at_most;
        }
        self
    }

    /// Has all sides take turns. Each round begins with another side, so that none always runs in
    /// the shadow of the same neighbour.
    pub(crate) fn measure(&self, group: &str, effort: Effort) -> Entry {
        let mut rounds: Vec<Vec<Round>> = self.sides.iter().map(|_| Vec::new()).collect();
        for round in 0..effort.rounds {
            for turn in 0..self.sides.len() {
                let index = (round + turn) % self.sides.len();
                if round >= self.sides[index].at_most {
                    continue;
                }
                let watch = Stopwatch::new(self.samples_a_round, effort);
                (self.sides[index].run)(watch.clone());
                rounds[index].push(watch.into_round());
            }
        }
        look_again(&mut rounds);
        let sides = self.sides.iter().zip(&rounds);
        let figures = sides.filter_map(|(side, rounds)| self.figures(side.who, rounds));
        self.judge(group, figures.collect())
    }

    fn figures(&self, who: &str, rounds: &[Round]) -> Option<Figures> {
        let samples = rounds.iter().flat_map(|round| &round.samples);
        let mut samples: Vec<f64> = samples.map(|&sample| self.unit.of(sample)).collect();
        samples.sort_by(f64::total_cmp);
        let mut counts = Vec::<Count>::new();
        for count in rounds.iter().flat_map(|round| &round.counts) {
            match counts.iter_mut().find(|sum| sum.what == count.what) {
                Some(sum) => {
                    sum.count += count.count;
                    sum.of += count.of;
                }
                None => counts.push(count.clone()),
            }
        }
        Some(Figures {
            who: who.to_owned(),
            median: quantile(&samples, 0.5)?,
            p99: quantile(&samples, 0.99)?,
            samples: samples.len(),
            rounds: rounds.len(),
            ratio: None,
            counts,
        })
    }

    /// Adds what is known when all have been measured: the ratios, and which targets are met.
    fn judge(&self, group: &str, mut sides: Vec<Figures>) -> Entry {
        let ours = sides.iter().find(|side| side.who == US).cloned();
        let mut verdicts = Vec::new();
        if let Some(ours) = &ours {
            for side in sides.iter_mut().filter(|side| side.who != US) {
                // Nobody is so many times nothing.
                side.ratio = (side.median > 0.0).then(|| ours.median / side.median);
            }
            for target in &self.targets {
                let (of, limit) = match *target {
                    Target::AtMost(amount) => (US, Some(amount)),
                    Target::Times(times, of) => {
                        let peer = sides.iter().find(|side| side.who == of);
                        (of, peer.map(|peer| times * peer.median))
                    }
                };
                // A peer that did not take part is no bar.
                verdicts.extend(limit.map(|limit| Verdict {
                    of: of.to_owned(),
                    target: target.to_string(),
                    limit: Some(limit),
                    met: ours.median <= limit,
                }));
            }
            verdicts.extend(ours.counts.iter().map(|count| Verdict {
                of: US.to_owned(),
                target: count.to_string(),
                limit: None,
                met: count.count == 0,
            }));
        }
        Entry {
            group: group.to_owned(),
            name: self.name.clone(),
            unit: self.unit,
            point: self.point.clone(),
            sides,
            verdicts,
        }
    }
}

/// Counts those of the processes that were ended which are alive some time later.
fn look_again(rounds: &mut [Vec<Round>]) {
    let due = rounds.iter().flatten().flat_map(|round| &round.later);
    let Some(last) = due.map(|later| later.due).max() else {
        return;
    };
    thread::sleep(last.saturating_duration_since(Instant::now()));
    let alive = population::alive_by_mark();
    for round in rounds.iter_mut().flatten() {
        let counts = round.later.drain(..).map(|later| Count {
            count: alive.get(later.mark.text()).copied().unwrap_or(0),
            what: later.what,
            of: later.of,
        });
        round.counts.extend(counts);
    }
}

impl Effort {
    pub(crate) fn full() -> Self {
        Self {
            rounds: 15,
            round: Duration::from_millis(25),
            thorough: true,
            patience: 1.0,
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            rounds: 3,
            round: Duration::from_millis(2),
            thorough: true,
            patience: 0.25,
        }
    }

    /// Everything once.
    pub(crate) fn smoke() -> Self {
        Self {
            rounds: 1,
            round: Duration::ZERO,
            thorough: false,
            patience: 0.1,
        }
    }
}

impl Unit {
    /// So many of what samples are: nanoseconds, bytes, or how often in a second.
    fn samples(self) -> f64 {
        match self {
            Self::Nanoseconds | Self::Bytes | Self::PerSecond => 1.0,
            Self::Microseconds => 1e3,
            Self::Milliseconds => 1e6,
            Self::Kibibytes => 1024.0,
        }
    }

    /// A sample in this unit.
    fn of(self, sample: f64) -> f64 {
        sample / self.samples()
    }

    /// What sample is so much of this unit.
    pub(crate) fn to_base(self, value: f64) -> f64 {
        value * self.samples()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Bytes => "B",
            Self::Kibibytes => "KiB",
            Self::PerSecond => "/s",
        })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Effort, Target, US, Unit, Workload};
    use crate::population::Mark;

    /// What a workload comes to whose sides take these samples, of which the first warms up.
    fn measured(ours: &'static [f64], theirs: &'static [f64]) -> Workload {
        let take = |samples: &'static [f64]| {
            move |watch: crate::stopwatch::Stopwatch| {
                watch.record(f64::MAX);
                samples.iter().for_each(|&sample| watch.record(sample));
            }
        };
        Workload::new("taking samples", Unit::Microseconds)
            .side(US, take(ours))
            .side("peer", take(theirs))
    }

    fn once() -> Effort {
        Effort {
            rounds: 1,
            ..Effort::quick()
        }
    }

    #[test]
    fn ratios_are_ours_to_theirs_in_the_unit_of_the_workload() {
        let workload = measured(&[3e3, 1e3, 2e3], &[8e3]);
        let entry = workload.measure("group", once());
        assert_eq!(entry.group, "group");
        let [ours, theirs] = &entry.sides[..] else {
            panic!("two sides took part: {entry:?}");
        };
        assert_eq!((ours.median, ours.p99, ours.samples), (2.0, 3.0, 3));
        assert_eq!((ours.ratio, ours.rounds), (None, 1));
        assert_eq!((theirs.median, theirs.ratio), (8.0, Some(0.25)));
        assert!(entry.verdicts.is_empty());
    }

    #[test]
    fn targets_are_met_up_to_their_limit() {
        let cases = [
            (Target::Times(0.25, "peer"), true),
            (Target::Times(0.24, "peer"), false),
            (Target::AtMost(2.0), true),
            (Target::AtMost(1.9), false),
        ];
        for (target, met) in cases {
            let entry = measured(&[2e3], &[8e3]).target(target).measure("", once());
            assert_eq!(entry.verdicts.len(), 1);
            assert_eq!(entry.verdicts[0].met, met, "{target}");
        }
    }

    #[test]
    fn peers_that_took_no_samples_are_no_bar_and_not_shown() {
        let workload = measured(&[2e3], &[]).target(Target::Times(1.0, "peer"));
        let entry = workload.measure("", once());
        assert_eq!(entry.sides.len(), 1);
        assert!(entry.verdicts.is_empty());
    }

    #[test]
    fn sides_sit_out_the_rounds_that_are_too_many() {
        let workload = measured(&[1.0], &[1.0]).rounds(2);
        let entry = workload.measure("", Effort::quick());
        assert!(entry.sides.iter().all(|side| side.rounds == 2));
    }

    #[test]
    fn whoever_is_left_misses_a_target() {
        let workload = Workload::new("leaving somebody", Unit::Milliseconds)
            .side(US, |watch| {
                watch.record_all([1.0]);
                watch.count("left", 0, 2);
                watch.count("left", 1, 2);
                watch.look_later(&Mark::new(), 3, Duration::ZERO);
            })
            .side("peer", |watch| {
                watch.record_all([1.0]);
                watch.count("left", 2, 2);
            });
        let entry = workload.measure("", once());
        let counts = &entry.sides[0].counts;
        assert_eq!(counts.len(), 2);
        assert_eq!((counts[0].count, counts[0].of), (1, 4));
        assert_eq!((counts[1].count, counts[1].of), (0, 3));
        let met = entry.verdicts.iter().map(|verdict| verdict.met);
        assert_eq!(met.collect::<Vec<_>>(), [false, true]);
    }
}
