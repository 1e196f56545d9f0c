//! Permits that are handed over in the order in which they were asked for: what locks, semaphores
//! and capacity limiters are made of.
//!
//! A permit that is given back goes to the first who waits, and is never free in between. One that
//! was handed to a waiter which does not come for it any more goes to the next.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::waiters::{Ticket, Waiters, renew};

/// No limit to the number of permits.
pub(crate) const UNLIMITED: usize = usize::MAX;

#[derive(Debug)]
pub(crate) struct Permits {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    total: usize,
    /// May be more than `total`, when that was lowered.
    taken: usize,
    waiting: Waiters<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Whether a permit, counted in `taken`, is this waiter's.
    granted: bool,
    waker: Waker,
}

impl State {
    fn is_free(&self) -> bool {
        self.taken < self.total && self.waiting.queued() == 0
    }
}

impl Permits {
    pub(crate) fn new(total: usize) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State {
                total,
                taken: 0,
                waiting: Waiters::new(),
            }),
        })
    }

    /// A permit, if one is free and nobody waits for it.
    pub(crate) fn try_acquire(self: &Rc<Self>) -> Result<Permit, WouldBlock> {
        let mut state = self.state.borrow_mut();
        if !state.is_free() {
            return Err(WouldBlock { _private: () });
        }
        state.taken += 1;
        Ok(Permit(self.clone()))
    }

    /// Changes how many there are. Those that are out stay out.
    pub(crate) fn set_total(&self, total: usize) {
        self.state.borrow_mut().total = total;
        self.admit();
    }

    pub(crate) fn total(&self) -> usize {
        self.state.borrow().total
    }

    pub(crate) fn taken(&self) -> usize {
        self.state.borrow().taken
    }

    pub(crate) fn available(&self) -> usize {
        let state = self.state.borrow();
        match state.total {
            UNLIMITED => UNLIMITED,
            total => total.saturating_sub(state.taken),
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state.borrow().waiting.queued()
    }

    fn give_back(&self) {
        self.state.borrow_mut().taken -= 1;
        self.admit();
    }

    /// Hands what is free to those who wait.
    fn admit(&self) {
        loop {
            // A waker may run foreign code, so nothing is borrowed while it does.
            let waker = {
                let state = &mut *self.state.borrow_mut();
                if state.taken >= state.total {
                    return;
                }
                let Some(first) = state.waiting.serve() else {
                    return;
                };
                state.taken += 1;
                first.granted = true;
                first.waker.clone()
            };
            waker.wake();
        }
    }
}

/// A permit that is out. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Rc<Permits>);

impl Permit {
    /// Takes it out of the number of permits there are, instead of giving it back.
    pub(crate) fn forget(self) {
        {
            let mut state = self.0.state.borrow_mut();
            if state.total != UNLIMITED {
                state.total = state.total.saturating_sub(1);
            }
        }
        drop(self);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A place in the queue for a permit, or before it is taken. Leaves it when dropped.
#[derive(Debug)]
pub(crate) struct InQueue {
    permits: Rc<Permits>,
    ticket: Option<Ticket>,
}

impl InQueue {
    pub(crate) fn new(permits: &Rc<Permits>) -> Self {
        Self {
            permits: permits.clone(),
            ticket: None,
        }
    }

    /// Takes the place, to have `waker` called when the permit is there. True if that is now, and
    /// the caller is to call it.
    pub(crate) fn enter(&mut self, waker: Waker) -> bool {
        let mut state = self.permits.state.borrow_mut();
        let granted = state.is_free();
        if granted {
            state.taken += 1;
        }
        let ticket = state.waiting.push(Waiting { granted, waker });
        if granted {
            state.waiting.withdraw(ticket);
        }
        self.ticket = Some(ticket);
        granted
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Permit> {
        let mut state = self.permits.state.borrow_mut();
        let Some(ticket) = self.ticket else {
            if !state.is_free() {
                drop(state);
                self.enter(cx.waker().clone());
                return Poll::Pending;
            }
            state.taken += 1;
            return Poll::Ready(Permit(self.permits.clone()));
        };
        let waiting = state.waiting.get_mut(ticket);
        if !waiting.granted {
            let before = renew(&mut waiting.waker, cx);
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        self.ticket = None;
        let waiting = state.waiting.remove(ticket);
        drop(state);
        drop(waiting);
        Poll::Ready(Permit(self.permits.clone()))
    }

    /// Leaves when the wait was cancelled, and passes on what it was cancelled by.
    pub(crate) fn give_up<E>(&mut self, cancelled: E) -> E {
        self.leave();
        cancelled
    }

    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let waiting = self.permits.state.borrow_mut().waiting.remove(ticket);
        if waiting.granted {
            self.permits.give_back();
        }
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a `try_` operation answers that would have to wait: all is taken, or others wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldBlock {
    _private: (),
}

impl fmt::Display for WouldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this would have to wait")
    }
}

impl std::error::Error for WouldBlock {}
