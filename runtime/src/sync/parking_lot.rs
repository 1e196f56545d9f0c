use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::waiters::{Ticket, Waiters, renew};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A queue of waiting tasks, to make other synchronisation from.
///
/// It knows nothing of what is waited for: a task looks at that itself, parks, and looks again
/// when it was woken. First come, first served. A task that was woken by [`unpark`](Self::unpark)
/// and is dropped before it ran lets the next one be woken instead.
///
/// Clones are the same lot.
#[derive(Clone, Default)]
pub struct ParkingLot {
    spaces: Rc<RefCell<Spaces>>,
}

#[derive(Default)]
struct Spaces(Waiters<Rc<Parked>>);

struct Parked {
    state: Cell<State>,
    waker: RefCell<Waker>,
    /// The lot in which it is or was last, and its place there while it is parked.
    place: RefCell<Option<(Weak<RefCell<Spaces>>, Ticket)>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Parked,
    /// As one of so many: another may have it instead.
    Unparked,
    /// With all others.
    AllUnparked,
}

impl ParkingLot {
    /// A lot in which nobody is parked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits here until it is woken. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; then it is not parked any more, wherever it was moved.
    pub fn park(&self) -> Park {
        Park {
            lot: self.clone(),
            parked: None,
            leaf: Leaf::default(),
        }
    }

    /// Wakes the `count` who have been here longest. How many there were.
    pub fn unpark(&self, count: usize) -> usize {
        self.wake(State::Unparked, count)
    }

    /// Wakes all who are here. How many there were.
    pub fn unpark_all(&self) -> usize {
        self.wake(State::AllUnparked, self.parked())
    }

    /// Moves the `count` who have been here longest to the end of the queue of `other`, without
    /// waking them. How many there were.
    pub fn repark(&self, count: usize, other: &Self) -> usize {
        let count = count.min(self.parked());
        for _ in 0..count {
            // Two statements: the lots may be the same.
            let parked = self.spaces.borrow_mut().0.pop();
            let parked = parked.expect("as many as were counted are parked");
            other.take_in(&parked);
        }
        count
    }

    /// [`repark`](Self::repark) of all who are here.
    pub fn repark_all(&self, other: &Self) -> usize {
        self.repark(usize::MAX, other)
    }

    /// How many are here.
    pub fn parked(&self) -> usize {
        self.spaces.borrow().0.queued()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.parked() == 0
    }

    fn take_in(&self, parked: &Rc<Parked>) {
        let ticket = self.spaces.borrow_mut().0.push(parked.clone());
        let place = (Rc::downgrade(&self.spaces), ticket);
        parked.place.replace(Some(place));
    }

    fn wake(&self, state: State, count: usize) -> usize {
        for woken in 0..count {
            let Some(parked) = self.spaces.borrow_mut().0.pop() else {
                return woken;
            };
            parked.state.set(state);
            let waker = parked.waker.borrow().clone();
            waker.wake();
        }
        count
    }
}

impl fmt::Debug for ParkingLot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkingLot")
            .field("parked", &self.parked())
            .finish()
    }
}

/// The future of [`ParkingLot::park`].
#[must_use = "futures do nothing unless awaited"]
pub struct Park {
    lot: ParkingLot,
    parked: Option<Rc<Parked>>,
    leaf: Leaf,
}

impl Park {
    fn attempt(lot: &ParkingLot, parked: &mut Option<Rc<Parked>>, cx: &Context<'_>) -> Poll<()> {
        match parked {
            None => {
                let new = Rc::new(Parked {
                    state: Cell::new(State::Parked),
                    waker: RefCell::new(cx.waker().clone()),
                    place: RefCell::new(None),
                });
                lot.take_in(&new);
                *parked = Some(new);
                Poll::Pending
            }
            Some(place) if place.state.get() == State::Parked => {
                let before = renew(&mut place.waker.borrow_mut(), cx);
                drop(before);
                Poll::Pending
            }
            Some(_) => {
                *parked = None;
                Poll::Ready(())
            }
        }
    }

    /// Leaves the lot; a wake-up that had come already goes to the next.
    fn leave(&mut self) {
        let Some(parked) = self.parked.take() else {
            return;
        };
        let Some((lot, ticket)) = parked.place.take() else {
            return;
        };
        let Some(spaces) = lot.upgrade() else { return };
        let lot = ParkingLot { spaces };
        match parked.state.get() {
            State::Parked => {
                let left = lot.spaces.borrow_mut().0.remove(ticket);
                drop(left);
            }
            State::Unparked => {
                lot.unpark(1);
            }
            State::AllUnparked => {}
        }
    }
}

impl Future for Park {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this
            .leaf
            .poll(cx, |cx| Self::attempt(&this.lot, &mut this.parked, cx));
        if let Poll::Ready(Err(_)) = polled {
            this.leave();
        }
        polled
    }
}

impl Drop for Park {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Park {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Park").finish_non_exhaustive()
    }
}
