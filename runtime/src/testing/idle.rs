//! Noticing that nothing moves any more.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::cause::Cancelled;
use crate::executor::{Core, Leaf, current};
use crate::sync::waiters::{Ticket, Waiters};
use crate::time::Instant;
use crate::time::clock::Clock;

/// Waits until all other tasks wait for something, and nothing arrived from outside when that was
/// looked at once more. A checkpoint.
///
/// # Errors
///
/// [`Cancelled`] if the scope is.
pub fn wait_all_tasks_blocked() -> AllBlocked {
    wait_all_tasks_blocked_for(Duration::ZERO)
}

/// Waits until all other tasks have been waiting for `cushion` of real time. A checkpoint.
///
/// Of several such waits the ones with the smallest cushion end first, together; the others begin
/// anew.
///
/// # Errors
///
/// [`Cancelled`] if the scope is.
pub fn wait_all_tasks_blocked_for(cushion: Duration) -> AllBlocked {
    AllBlocked {
        cushion,
        leaf: Leaf::default(),
        place: None,
    }
}

/// The future of [`wait_all_tasks_blocked`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct AllBlocked {
    cushion: Duration,
    leaf: Leaf,
    place: Option<(Rc<Core>, Ticket)>,
}

impl Future for AllBlocked {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            cushion,
            leaf,
            place,
        } = self.get_mut();
        leaf.poll(cx, |cx| match place {
            None => {
                let core = current();
                let ticket = core.idle.waiting.borrow_mut().push(Waiting {
                    cushion: *cushion,
                    waker: Some(cx.waker().clone()),
                });
                *place = Some((core, ticket));
                Poll::Pending
            }
            Some((core, ticket)) => {
                let mut waiting = core.idle.waiting.borrow_mut();
                match &mut waiting.get_mut(*ticket).waker {
                    None => Poll::Ready(()),
                    Some(waker) => {
                        waker.clone_from(cx.waker());
                        Poll::Pending
                    }
                }
            }
        })
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        if let Some((core, ticket)) = self.place.take() {
            let waiting = core.idle.waiting.borrow_mut().remove(ticket);
            drop(waiting);
        }
    }
}

/// Those who wait for a runtime to be idle.
#[derive(Debug)]
pub(crate) struct Idle {
    waiting: RefCell<Waiters<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    cushion: Duration,
    /// Gone when it is over.
    waker: Option<Waker>,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            waiting: RefCell::new(Waiters::new()),
        }
    }
}

impl Idle {
    fn smallest_cushion(&self) -> Option<Duration> {
        let waiting = self.waiting.borrow();
        let blocked = waiting.iter().filter(|waiting| waiting.waker.is_some());
        blocked.map(|waiting| waiting.cushion).min()
    }

    fn release(&self, cushion: Duration) {
        let mut wakers = Vec::new();
        for waiting in self.waiting.borrow_mut().iter_mut() {
            if waiting.cushion == cushion {
                wakers.extend(waiting.waker.take());
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }
}

/// Since when a runtime has had nothing to do, and what is to be done about it.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    since: Option<Instant>,
}

/// What to do when there is nothing to do.
#[derive(Debug)]
pub(crate) enum Wait {
    /// Take another turn.
    Again,
    /// Look at readiness once, and take another turn.
    Look,
    /// Wait until this moment of the real clock.
    Until(Instant),
    Forever,
}

impl Quiet {
    /// Something moved.
    pub(crate) fn disturb(&mut self) {
        self.since = None;
    }

    pub(crate) fn wait(&mut self, core: &Core, deadline: Option<Instant>) -> Wait {
        let (real_deadline, autojump) = match core.clock() {
            Clock::Real => (deadline, None),
            Clock::Virtual(clock) => {
                let real = deadline.and_then(|deadline| clock.in_real_time(deadline));
                // What a thread brings may be due before the deadline.
                let may_jump = deadline.is_some() && core.in_threads.get() <= 0;
                (real, clock.autojump().filter(|_| may_jump))
            }
        };
        let waiters = core.idle.smallest_cushion();
        let Some(cushion) = waiters.or(autojump) else {
            return real_deadline.map_or(Wait::Forever, Wait::Until);
        };
        let now = Instant::real_now();
        let Some(since) = self.since else {
            self.since = Some(now);
            return Wait::Look;
        };
        let enough = since + cushion;
        if real_deadline.is_some_and(|deadline| deadline < enough) {
            return real_deadline.map_or(Wait::Forever, Wait::Until);
        }
        if enough > now {
            return Wait::Until(enough);
        }
        self.since = None;
        match (waiters, core.clock(), deadline) {
            (Some(cushion), _, _) => core.idle.release(cushion),
            (None, Clock::Virtual(clock), Some(deadline)) => clock.jump_to(deadline),
            _ => {}
        }
        Wait::Again
    }
}
