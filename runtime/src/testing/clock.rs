use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::time::Instant;

/// A clock that stands still unless it is told to jump or to go, or jumps by itself when every task
/// waits.
///
/// Clones are the same clock.
#[derive(Clone)]
pub struct VirtualClock {
    shared: Rc<Shared>,
}

struct Shared {
    /// What the clock said when it was set last, and when that was.
    set: Cell<(Instant, Instant)>,
    rate: Cell<f64>,
    autojump: Cell<Option<Duration>>,
    /// Of runtimes that wait under this clock.
    watching: RefCell<Vec<Waker>>,
}

impl VirtualClock {
    /// A clock that stands at its zero.
    pub fn new() -> Self {
        Self {
            shared: Rc::new(Shared {
                set: Cell::new((Instant::ZERO, Instant::ZERO)),
                rate: Cell::new(0.0),
                autojump: Cell::new(None),
                watching: RefCell::default(),
            }),
        }
    }

    /// What the clock says.
    pub fn now(&self) -> Instant {
        let (said, when) = self.shared.set.get();
        let rate = self.shared.rate.get();
        if rate == 0.0 {
            return said;
        }
        let passed = Instant::real_now().saturating_duration_since(when);
        let seconds = passed.as_secs_f64() * rate;
        said + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Moves the clock forward. What became due runs when the running task next yields.
    pub fn jump(&self, duration: Duration) {
        self.set(self.now() + duration);
        self.tell();
    }

    /// How many seconds pass on the clock in a second of real time: zero from the beginning.
    pub fn rate(&self) -> f64 {
        self.shared.rate.get()
    }

    /// Lets the clock go so many times as fast as real time from now on, beside jumps. With zero it
    /// stands still.
    ///
    /// # Panics
    ///
    /// If `rate` is negative, infinite or not a number.
    #[track_caller]
    pub fn set_rate(&self, rate: f64) {
        assert!(
            rate.is_finite() && rate >= 0.0,
            "a clock cannot go {rate} times as fast"
        );
        self.set(self.now());
        self.shared.rate.set(rate);
        self.tell();
    }

    /// With `Some(cushion)`, jumps to the next deadline whenever all tasks have been waiting for
    /// that long in real time, with nothing arriving from outside.
    pub fn set_autojump(&self, cushion: Option<Duration>) {
        self.shared.autojump.set(cushion);
        self.tell();
    }

    pub(crate) fn autojump(&self) -> Option<Duration> {
        self.shared.autojump.get()
    }

    /// Has `waker` called once when the clock is changed from outside of the runtime.
    pub(crate) fn watch(&self, waker: &Waker) {
        let mut watching = self.shared.watching.borrow_mut();
        if !watching.iter().any(|other| other.will_wake(waker)) {
            watching.push(waker.clone());
        }
    }

    fn tell(&self) {
        for waker in self.shared.watching.take() {
            waker.wake();
        }
    }

    pub(crate) fn jump_to(&self, when: Instant) {
        self.set(self.now().max(when));
    }

    /// When the clock will say `when` by itself, on the real clock.
    pub(crate) fn in_real_time(&self, when: Instant) -> Option<Instant> {
        let rate = self.shared.rate.get();
        if rate == 0.0 {
            return None;
        }
        let left = when.saturating_duration_since(self.now()).as_secs_f64() / rate;
        let left = Duration::try_from_secs_f64(left).ok()?;
        // Rather late by a nanosecond than early by one.
        Some(Instant::real_now() + left + Duration::from_nanos(1))
    }

    fn set(&self, now: Instant) {
        self.shared.set.set((now, Instant::real_now()));
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock")
            .field("now", &self.now())
            .field("rate", &self.rate())
            .field("autojump", &self.autojump())
            .finish()
    }
}
