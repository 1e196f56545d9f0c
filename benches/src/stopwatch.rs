//! Takes the samples of one side in one round.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Handed to a side for one round. The side measures `while watch.again()`; what it does outside
/// of `start` and `stop` is not counted. The first sample warms up and is thrown away.
#[derive(Clone, Debug)]
pub(crate) struct Stopwatch(Rc<Round>);

#[derive(Debug)]
struct Round {
    ends: Instant,
    at_least: usize,
    warm: Cell<bool>,
    samples: RefCell<Vec<f64>>,
}

/// At some point a round of a quick workload has told all it can.
const SAMPLES_A_ROUND: usize = 200;

impl Stopwatch {
    pub(crate) fn new(at_least: usize, lasts: Duration) -> Self {
        Self(Rc::new(Round {
            ends: Instant::now() + lasts,
            at_least,
            warm: Cell::new(false),
            samples: RefCell::new(Vec::new()),
        }))
    }

    /// Whether this round wants another sample.
    pub(crate) fn again(&self) -> bool {
        let taken = self.0.samples.borrow().len();
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
            self.0.samples.borrow_mut().push(sample);
        }
    }

    /// Adds samples that were taken elsewhere, by somebody who has warmed up.
    pub(crate) fn record_all(&self, samples: impl IntoIterator<Item = f64>) {
        self.0.samples.borrow_mut().extend(samples);
    }

    pub(crate) fn into_samples(self) -> Vec<f64> {
        self.0.samples.take()
    }
}
