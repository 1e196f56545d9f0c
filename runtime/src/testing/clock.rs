use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::time::Instant;

/// A clock that stands still unless it is told to jump, or jumps by itself when every task waits.
///
/// Clones are the same clock.
#[derive(Clone)]
pub struct VirtualClock {
    shared: Rc<Shared>,
}

struct Shared {
    now: Cell<Instant>,
    autojump: Cell<Option<Duration>>,
    /// Of runtimes that wait under this clock.
    watching: RefCell<Vec<Waker>>,
}

impl VirtualClock {
    /// A clock that stands at its zero.
    pub fn new() -> Self {
        Self {
            shared: Rc::new(Shared {
                now: Cell::new(Instant::ZERO),
                autojump: Cell::new(None),
                watching: RefCell::default(),
            }),
        }
    }

    /// What the clock says.
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// Moves the clock forward. What became due runs when the running task next yields.
    pub fn jump(&self, duration: Duration) {
        self.shared.now.set(self.now() + duration);
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
        self.shared.now.set(self.now().max(when));
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
            .field("autojump", &self.autojump())
            .finish()
    }
}
