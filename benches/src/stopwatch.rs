//! Takes the samples of one side in one round.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::population::{Mark, Process};
use crate::report::Count;
use crate::workload::Effort;

/// Handed to a side for one round. The side measures `while watch.again()`; what it does outside
/// of `start` and `stop` is not counted. The first sample warms up and is thrown away.
#[derive(Clone, Debug)]
pub(crate) struct Stopwatch(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    ends: Instant,
    at_least: usize,
    patience: f64,
    warm: Cell<bool>,
    round: RefCell<Round>,
}

/// What a side has to show for one round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) samples: Vec<f64>,
    pub(crate) counts: Vec<Count>,
    pub(crate) later: Vec<Later>,
}

/// Processes that should be gone, to be counted at some time.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) what: String,
    pub(crate) due: Instant,
    pub(crate) mark: Mark,
    pub(crate) of: usize,
}

/// At some point a round of a quick workload has told all it can.
const SAMPLES_A_ROUND: usize = 200;

/// How long after it was ended a tree is looked at again.
const LATER: Duration = Duration::from_secs(2);

impl Stopwatch {
    pub(crate) fn new(at_least: usize, effort: Effort) -> Self {
        Self(Rc::new(Inner {
            ends: Instant::now() + effort.round,
            at_least: if effort.thorough { at_least } else { 1 },
            patience: effort.patience,
            warm: Cell::new(!effort.thorough),
            round: RefCell::default(),
        }))
    }

    /// Whether this round wants another sample.
    pub(crate) fn again(&self) -> bool {
        let taken = self.0.round.borrow().samples.len();
        taken < self.0.at_least || (taken < SAMPLES_A_ROUND && Instant::now() < self.0.ends)
    }

    pub(crate) fn start(&self) -> Instant {
        Instant::now()
    }

    /// Stops a clock that measured `operations` of equal kind: the sample is the time of one.
    pub(crate) fn stop(&self, started: Instant, operations: usize) {
        let elapsed = started.elapsed().as_nanos() as f64;
        self.record(elapsed / operations as f64);
    }

    /// Adds a sample that is not a time, or was measured in another way.
    pub(crate) fn record(&self, sample: f64) {
        if self.0.warm.replace(true) {
            self.0.round.borrow_mut().samples.push(sample);
        }
    }

    /// Adds samples of somebody who has warmed up, or need not.
    pub(crate) fn record_all(&self, samples: impl IntoIterator<Item = f64>) {
        self.0.round.borrow_mut().samples.extend(samples);
    }

    /// So many of these were what none should be.
    pub(crate) fn count(&self, what: &str, count: usize, of: usize) {
        self.0.round.borrow_mut().counts.push(Count {
            what: what.to_owned(),
            count,
            of,
        });
    }

    /// To be called when the clock has stopped: counts how many of these, who have this mark, and
    /// of those they started, are left.
    pub(crate) fn ended(&self, there: &[Process], mark: &Mark) {
        // At once, for to look for others takes a while.
        let left = there.iter().filter(|process| process.is_alive()).count();
        self.count(
            "alive at exit",
            left.max(mark.processes().len()),
            there.len(),
        );
        self.look_later(mark, there.len(), LATER);
    }

    /// Counts those with this mark that are alive after so long; so many there were.
    pub(crate) fn look_later(&self, mark: &Mark, of: usize, after: Duration) {
        let after = self.patience(after);
        self.0.round.borrow_mut().later.push(Later {
            what: format!("alive {} s later", after.as_secs_f64()),
            due: Instant::now() + after,
            mark: mark.clone(),
            of,
        });
    }

    /// The part of this that there is time for, to see that nothing happens any more.
    pub(crate) fn patience(&self, full: Duration) -> Duration {
        full.mul_f64(self.0.patience)
    }

    pub(crate) fn into_round(self) -> Round {
        self.0.round.take()
    }
}
