use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use super::permits::{InQueue, Permit, Permits, UNLIMITED, WouldBlock};
use crate::cause::Cancelled;
use crate::executor::{Leaf, TaskId, current_task};

/// Limits how much of something goes on at once, and knows on whose behalf it does.
///
/// First come, first served, as a [`Semaphore`](super::Semaphore); but the number of tokens can be
/// changed at any time. When it is raised, those who wait are admitted; when it is lowered, those
/// who have a token keep it, and nobody is admitted until there are fewer than the new number.
///
/// Clones are the same limiter, and tokens do not borrow from it, so both can be passed on.
#[derive(Clone)]
pub struct CapacityLimiter {
    shared: Rc<Shared>,
}

struct Shared {
    permits: Rc<Permits>,
    borrowers: RefCell<Slab<Borrower>>,
}

impl CapacityLimiter {
    /// A limiter of so many tokens. With 0 everybody waits until the number is raised.
    pub fn new(total_tokens: usize) -> Self {
        Self {
            shared: Rc::new(Shared {
                permits: Permits::new(total_tokens),
                borrowers: RefCell::default(),
            }),
        }
    }

    /// A limiter that limits nothing, for now.
    pub fn unlimited() -> Self {
        Self::new(UNLIMITED)
    }

    /// Waits for a token for the current task. A checkpoint, also if there is one already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; then none was taken.
    pub fn acquire(&self) -> AcquireToken {
        self.acquire_on_behalf_of(Borrower::current())
    }

    /// Waits for a token for something else than the current task. A checkpoint, also if there is
    /// one already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; then none was taken.
    pub fn acquire_on_behalf_of(&self, borrower: impl Into<Borrower>) -> AcquireToken {
        AcquireToken {
            limiter: self.clone(),
            borrower: Some(borrower.into()),
            queue: InQueue::new(&self.shared.permits),
            leaf: Leaf::default(),
        }
    }

    /// Takes a token for the current task if there is one now, and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if not.
    pub fn try_acquire(&self) -> Result<LimiterToken, WouldBlock> {
        self.try_acquire_on_behalf_of(Borrower::current())
    }

    /// [`try_acquire`](Self::try_acquire) for something else than the current task.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if there is none.
    pub fn try_acquire_on_behalf_of(
        &self,
        borrower: impl Into<Borrower>,
    ) -> Result<LimiterToken, WouldBlock> {
        let permit = self.shared.permits.try_acquire()?;
        Ok(self.token(permit, borrower.into()))
    }

    /// How many tokens there are; `None` without a limit.
    pub fn total_tokens(&self) -> Option<usize> {
        limited(self.shared.permits.total())
    }

    /// Changes how many tokens there are; `None` lifts the limit. Those who wait and find one are
    /// admitted in this call.
    pub fn set_total_tokens(&self, total: impl Into<Option<usize>>) {
        self.shared
            .permits
            .set_total(total.into().unwrap_or(UNLIMITED));
    }

    /// How many tokens are out. More than there are, after their number was lowered.
    pub fn borrowed_tokens(&self) -> usize {
        self.shared.permits.taken()
    }

    /// How many tokens are to be had; `None` without a limit.
    pub fn available_tokens(&self) -> Option<usize> {
        limited(self.shared.permits.available())
    }

    /// The limiter in numbers, and on whose behalf tokens are out.
    pub fn statistics(&self) -> LimiterStatistics {
        let borrowers = self.shared.borrowers.borrow();
        LimiterStatistics {
            total: self.total_tokens(),
            borrowed: self.borrowed_tokens(),
            borrowers: borrowers.iter().map(|(_, who)| who.clone()).collect(),
            waiting: self.shared.permits.waiting(),
        }
    }

    fn token(&self, permit: Permit, borrower: Borrower) -> LimiterToken {
        LimiterToken {
            seat: Seat {
                limiter: self.clone(),
                key: self.shared.borrowers.borrow_mut().insert(borrower),
            },
            permit,
        }
    }
}

impl fmt::Debug for CapacityLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapacityLimiter")
            .field("total", &self.total_tokens())
            .field("borrowed", &self.borrowed_tokens())
            .field("waiting", &self.shared.permits.waiting())
            .finish()
    }
}

fn limited(tokens: usize) -> Option<usize> {
    (tokens != UNLIMITED).then_some(tokens)
}

/// On whose behalf a token of a [`CapacityLimiter`] is out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Borrower {
    /// A task.
    Task(TaskId),
    /// Something that has a name.
    Named(Cow<'static, str>),
    /// Something that was not said: what is not a task asked for it.
    Unknown,
}

impl Borrower {
    fn current() -> Self {
        current_task().map_or(Self::Unknown, Self::Task)
    }
}

impl From<TaskId> for Borrower {
    fn from(task: TaskId) -> Self {
        Self::Task(task)
    }
}

impl From<&'static str> for Borrower {
    fn from(name: &'static str) -> Self {
        Self::Named(name.into())
    }
}

impl From<String> for Borrower {
    fn from(name: String) -> Self {
        Self::Named(name.into())
    }
}

/// A [`CapacityLimiter`] in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStatistics {
    /// How many tokens there are; `None` without a limit.
    pub total: Option<usize>,
    /// How many are out.
    pub borrowed: usize,
    /// On whose behalf, in no order.
    pub borrowers: Vec<Borrower>,
    /// How many wait for one.
    pub waiting: usize,
}

/// A token of a [`CapacityLimiter`]. Given back when dropped.
#[must_use = "a token is given back when dropped"]
pub struct LimiterToken {
    // Goes first: whoever is admitted finds this borrower gone.
    seat: Seat,
    #[expect(dead_code, reason = "gives the token back when dropped")]
    permit: Permit,
}

struct Seat {
    limiter: CapacityLimiter,
    key: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let borrower = self.limiter.shared.borrowers.borrow_mut().remove(self.key);
        drop(borrower);
    }
}

impl LimiterToken {
    /// On whose behalf it is out.
    pub fn borrower(&self) -> Borrower {
        self.seat.limiter.shared.borrowers.borrow()[self.seat.key].clone()
    }
}

impl fmt::Debug for LimiterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LimiterToken")
            .field(&self.borrower())
            .finish()
    }
}

/// The future of [`CapacityLimiter::acquire`] and [`CapacityLimiter::acquire_on_behalf_of`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct AcquireToken {
    limiter: CapacityLimiter,
    borrower: Option<Borrower>,
    queue: InQueue,
    leaf: Leaf,
}

impl Future for AcquireToken {
    type Output = Result<LimiterToken, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            limiter,
            borrower,
            queue,
            leaf,
        } = self.get_mut();
        leaf.poll(cx, |cx| queue.poll(cx))
            .map_ok(|permit| limiter.token(permit, borrower.take().unwrap_or(Borrower::Unknown)))
            .map_err(|cancelled| queue.give_up(cancelled))
    }
}
