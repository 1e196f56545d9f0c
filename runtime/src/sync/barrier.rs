use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::bell::{Bell, Place};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A place where tasks wait until a certain number of them has arrived, again and again.
///
/// ```
/// use tractor_runtime::{nursery, run, sync::Barrier};
///
/// run(async || {
///     let barrier = Barrier::new(3);
///     nursery(async |n| {
///         for _ in 0..3 {
///             n.start_soon(async { Ok(barrier.wait().await?) });
///         }
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
pub struct Barrier {
    parties: usize,
    arrived: Cell<usize>,
    bell: Bell,
}

impl Barrier {
    /// A barrier that opens for `parties` tasks at a time. With 0 it is as with 1: always open.
    pub const fn new(parties: usize) -> Self {
        Self {
            parties,
            arrived: Cell::new(0),
            bell: Bell::new(),
        }
    }

    /// Waits until enough tasks wait here. A checkpoint, also for the last to arrive, for whom the
    /// result is [`Last`](Arrival::Last).
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is and the barrier has not opened; this task then does not count
    /// among those who have arrived.
    pub fn wait(&self) -> BarrierWait<'_> {
        BarrierWait {
            barrier: self,
            leaf: Leaf::default(),
            place: None,
        }
    }

    /// How many it takes.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait here now.
    pub fn waiting(&self) -> usize {
        self.arrived.get()
    }

    fn leave(&self, place: &mut Option<Place>) {
        if self.bell.is_waiting(place) {
            self.arrived.set(self.arrived.get() - 1);
        }
        self.bell.leave(place);
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// How a task came through a [`Barrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Others were still to come.
    Waited,
    /// As the last, who opened it: one in each round.
    Last,
}

/// The future of [`Barrier::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct BarrierWait<'a> {
    barrier: &'a Barrier,
    leaf: Leaf,
    place: Option<Place>,
}

impl Future for BarrierWait<'_> {
    type Output = Result<Arrival, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            barrier,
            leaf,
            place,
        } = self.get_mut();
        let polled = leaf.poll(cx, |cx| {
            if place.is_some() {
                if !barrier.bell.is_waiting(place) {
                    return Poll::Ready(Arrival::Waited);
                }
                barrier.bell.listen(place, cx);
                return Poll::Pending;
            }
            let arrived = barrier.arrived.get() + 1;
            if arrived >= barrier.parties {
                barrier.arrived.set(0);
                barrier.bell.ring();
                return Poll::Ready(Arrival::Last);
            }
            barrier.arrived.set(arrived);
            barrier.bell.listen(place, cx);
            Poll::Pending
        });
        if polled.is_ready() {
            barrier.leave(place);
        }
        polled
    }
}

impl Drop for BarrierWait<'_> {
    fn drop(&mut self) {
        self.barrier.leave(&mut self.place);
    }
}
