use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::waiters::{Ticket, Waiters};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// Something that happens once, for which any number of tasks may wait.
pub struct Event {
    set: Cell<bool>,
    waiters: RefCell<Waiters<Waker>>,
}

impl Event {
    /// An event that has not happened.
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waiters: RefCell::new(Waiters::new()),
        }
    }

    /// Lets it happen: wakes all who wait. Again has no effect.
    pub fn set(&self) {
        if !self.set.replace(true) {
            // A waker may run foreign code, so the queue is not borrowed meanwhile.
            let mut waiters = self.waiters.replace(Waiters::new());
            while let Some(waker) = waiters.pop() {
                waker.wake();
            }
        }
    }

    /// Whether it has happened.
    pub fn is_set(&self) -> bool {
        self.set.get()
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
            ticket: None,
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
        f.debug_tuple("Event").field(&self.is_set()).finish()
    }
}

/// The future of [`Event::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<'a> {
    event: &'a Event,
    leaf: Leaf,
    /// Valid until the event is set.
    ticket: Option<Ticket>,
}

impl Future for Wait<'_> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            event,
            leaf,
            ticket,
        } = self.get_mut();
        leaf.poll(cx, |cx| {
            if event.set.get() {
                return Poll::Ready(());
            }
            let mut waiters = event.waiters.borrow_mut();
            match *ticket {
                None => *ticket = Some(waiters.push(cx.waker().clone())),
                Some(ticket) => {
                    let waker = waiters.get_mut(ticket);
                    if !waker.will_wake(cx.waker()) {
                        let before = std::mem::replace(waker, cx.waker().clone());
                        drop(waiters);
                        drop(before);
                    }
                }
            }
            Poll::Pending
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && !self.event.set.get()
        {
            let waker = self.event.waiters.borrow_mut().remove(ticket);
            drop(waker);
        }
    }
}
