use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::bell::{Bell, Place};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// Something that happens once, for which any number of tasks may wait.
pub struct Event {
    set: Cell<bool>,
    bell: Bell,
}

impl Event {
    /// An event that has not happened.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            bell: Bell::new(),
        }
    }

    /// Lets it happen: wakes all who wait. Again has no effect.
    pub fn set(&self) {
        if !self.set.replace(true) {
            self.bell.ring();
        }
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// How many wait for it.
    pub fn waiting(&self) -> usize {
        self.bell.listeners()
    }

    /// Waits until it happens. A checkpoint, also if it has happened already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; nothing is left behind.
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            event: self,
            leaf: Leaf::default(),
            place: None,
        }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// The future of [`Event::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<'a> {
    event: &'a Event,
    leaf: Leaf,
    place: Option<Place>,
}

impl Future for Wait<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { event, leaf, place } = self.get_mut();
        leaf.poll(cx, |cx| {
            if event.set.get() {
                return Poll::Ready(());
            }
            event.bell.listen(place, cx);
            Poll::Pending
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.event.bell.leave(&mut self.place);
    }
}
