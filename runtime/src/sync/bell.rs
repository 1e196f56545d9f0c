//! Wakes all who listen at once: what events, barriers, broadcasts and watches are made of.

use std::cell::{Cell, RefCell};
use std::task::Context;
use std::task::Waker;

use super::waiters::{Ticket, Waiters, renew};

#[derive(Debug)]
pub(crate) struct Bell {
    /// How often it rang: places of earlier rounds are void.
    round: Cell<u64>,
    listeners: RefCell<Waiters<Waker>>,
}

/// The place of one who listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    round: u64,
    ticket: Ticket,
}

impl Bell {
    pub(crate) const fn new() -> Self {
        Self {
            round: Cell::new(0),
            listeners: RefCell::new(Waiters::new()),
        }
    }

    pub(crate) fn ring(&self) {
        self.round.set(self.round.get() + 1);
        // A waker may run foreign code, so the queue is not borrowed meanwhile.
        let mut listeners = self.listeners.replace(Waiters::new());
        while let Some(waker) = listeners.pop() {
            waker.wake();
        }
    }

    /// Has the task of `cx` woken when it rings next.
    pub(crate) fn listen(&self, place: &mut Option<Place>, cx: &Context<'_>) {
        let before = match *place {
            Some(Place { ticket, .. }) if self.is_waiting(place) => {
                renew(self.listeners.borrow_mut().get_mut(ticket), cx)
            }
            _ => {
                let waker = cx.waker().clone();
                *place = Some(Place {
                    round: self.round.get(),
                    ticket: self.listeners.borrow_mut().push(waker),
                });
                None
            }
        };
        drop(before);
    }

    /// Whether it has not rung since this place was taken.
    pub(crate) fn is_waiting(&self, place: &Option<Place>) -> bool {
        place
            .as_ref()
            .is_some_and(|place| place.round == self.round.get())
    }

    pub(crate) fn leave(&self, place: &mut Option<Place>) {
        let waiting = self.is_waiting(place);
        if let Some(Place { ticket, .. }) = place.take()
            && waiting
        {
            let waker = self.listeners.borrow_mut().remove(ticket);
            drop(waker);
        }
    }

    pub(crate) fn listeners(&self) -> usize {
        self.listeners.borrow().queued()
    }
}
