use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::permits::{InQueue, Permit, Permits, UNLIMITED, WouldBlock};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A number of permits, of which each lets one task pass.
///
/// First come, first served: a permit that is given back while others wait is the first waiter's
/// from that moment on. Clones are the same semaphore, and permits do not borrow from it, so both
/// can be passed on.
///
/// ```
/// use tractor_runtime::{nursery, run, sync::Semaphore, time::sleep};
/// # use std::time::Duration;
///
/// run(async || {
///     let two_at_a_time = Semaphore::new(2);
///     nursery(async |n| {
///         for _ in 0..6 {
///             let permit = two_at_a_time.acquire().await?;
///             n.start_soon(async move {
///                 sleep(Duration::from_millis(1)).await?;
///                 drop(permit);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct Semaphore {
    permits: Rc<Permits>,
    max: Option<usize>,
}

impl Semaphore {
    /// A semaphore with so many permits, and no upper bound to what [`release`](Self::release) may
    /// make of it.
    ///
    /// # Panics
    ///
    /// If `permits` is `usize::MAX`.
    pub fn new(permits: usize) -> Self {
        assert!(permits < UNLIMITED, "a semaphore has a number of permits");
        Self {
            permits: Permits::new(permits),
            max: None,
        }
    }

    /// A semaphore with so many permits, of which never more than `max` are available.
    ///
    /// # Panics
    ///
    /// If `permits` is more than `max`.
    pub fn with_max(permits: usize, max: usize) -> Self {
        assert!(
            permits <= max,
            "a semaphore of at most {max} permits cannot begin with {permits}"
        );
        Self {
            max: Some(max),
            ..Self::new(permits)
        }
    }

    /// Waits for a permit. A checkpoint, also if there is one already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; then none was taken.
    pub fn acquire(&self) -> AcquirePermit {
        AcquirePermit {
            queue: InQueue::new(&self.permits),
            leaf: Leaf::default(),
        }
    }

    /// Takes a permit if there is one now, and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if not.
    pub fn try_acquire(&self) -> Result<SemaphorePermit, WouldBlock> {
        let permit = self.permits.try_acquire()?;
        Ok(SemaphorePermit { permit })
    }

    /// Makes one more permit: for the first who waits, if anybody does.
    ///
    /// # Errors
    ///
    /// [`AboveMaximum`] if all that there may be are available; nothing has changed then.
    pub fn release(&self) -> Result<(), AboveMaximum> {
        if let Some(max) = self.max
            && self.permits.available() >= max
        {
            return Err(AboveMaximum { max });
        }
        self.permits.set_total(self.permits.total() + 1);
        Ok(())
    }

    /// How many permits are available now.
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// How many permits may be available at most, if there is a bound.
    pub fn max(&self) -> Option<usize> {
        self.max
    }

    /// The semaphore in numbers.
    pub fn statistics(&self) -> SemaphoreStatistics {
        SemaphoreStatistics {
            available: self.available(),
            waiting: self.permits.waiting(),
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("max", &self.max)
            .field("waiting", &self.permits.waiting())
            .finish()
    }
}

/// A [`Semaphore`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreStatistics {
    /// How many permits are available.
    pub available: usize,
    /// How many wait for one.
    pub waiting: usize,
}

/// A permit of a [`Semaphore`]. Given back when dropped.
#[derive(Debug)]
#[must_use = "a permit is given back when dropped"]
pub struct SemaphorePermit {
    permit: Permit,
}

impl SemaphorePermit {
    /// Uses the permit up: it is not given back.
    pub fn forget(self) {
        self.permit.forget();
    }
}

/// The future of [`Semaphore::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct AcquirePermit {
    queue: InQueue,
    leaf: Leaf,
}

impl Future for AcquirePermit {
    type Output = Result<SemaphorePermit, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { queue, leaf } = self.get_mut();
        leaf.poll(cx, |cx| queue.poll(cx))
            .map_ok(|permit| SemaphorePermit { permit })
            .map_err(|cancelled| queue.give_up(cancelled))
    }
}

/// A [`Semaphore`] has as many permits available as it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AboveMaximum {
    max: usize,
}

impl fmt::Display for AboveMaximum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the semaphore has its {} permits already", self.max)
    }
}

impl std::error::Error for AboveMaximum {}
