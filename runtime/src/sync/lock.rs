use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::permits::{InQueue, Permit, Permits, WouldBlock};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A value that one task at a time may use, also across an await.
///
/// Strictly first come, first served: a lock that is released while others wait is the first
/// waiter's from that moment on, and never free in between. It is released when its [`LockGuard`]
/// is dropped, in a panic too; there is no poisoning.
///
/// ```
/// use tractor_runtime::{checkpoint, nursery, run, sync::Lock};
///
/// run(async || {
///     let balance = Lock::new(0);
///     nursery(async |n| {
///         for amount in 1..=4 {
///             let balance = &balance;
///             n.start_soon(async move {
///                 let mut balance = balance.lock().await?;
///                 let before = *balance;
///                 checkpoint().await?; // nobody else comes in
///                 *balance = before + amount;
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await?;
///     assert_eq!(balance.into_inner(), 10);
///     Ok(())
/// })
/// # .unwrap();
/// ```
#[derive(Default)]
pub struct Lock<T = ()> {
    permits: OnePermit,
    value: RefCell<T>,
}

struct OnePermit(Rc<Permits>);

impl Default for OnePermit {
    fn default() -> Self {
        Self(Permits::new(1))
    }
}

impl<T> Lock<T> {
    /// A lock that is free.
    pub fn new(value: T) -> Self {
        Self {
            permits: OnePermit::default(),
            value: RefCell::new(value),
        }
    }

    /// Waits until the lock is free, and takes it. A checkpoint, also if it is free already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; then it was not taken.
    pub fn lock(&self) -> Locking<'_, T> {
        Locking {
            lock: self,
            queue: InQueue::new(&self.permits.0),
            leaf: Leaf::default(),
        }
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] if it is not.
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, WouldBlock> {
        Ok(self.guard(self.permits.0.try_acquire()?))
    }

    /// Whether somebody has it.
    pub fn is_locked(&self) -> bool {
        self.permits.0.taken() > 0
    }

    /// Who has it and who waits, in numbers.
    pub fn statistics(&self) -> LockStatistics {
        LockStatistics {
            locked: self.is_locked(),
            waiting: self.permits.0.waiting(),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    pub(crate) fn permits(&self) -> &Rc<Permits> {
        &self.permits.0
    }

    /// The guard of whoever has the one permit.
    pub(crate) fn guard(&self, permit: Permit) -> LockGuard<'_, T> {
        LockGuard {
            value: self.value.borrow_mut(),
            lock: self,
            permit,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Lock");
        match self.value.try_borrow() {
            Ok(value) => f.field("value", &&*value),
            Err(_) => f.field("value", &format_args!("<locked>")),
        };
        f.field("waiting", &self.permits.0.waiting()).finish()
    }
}

/// A [`Lock`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatistics {
    /// Whether somebody has it.
    pub locked: bool,
    /// How many wait for it.
    pub waiting: usize,
}

/// The value of a [`Lock`], for as long as this lives.
pub struct LockGuard<'a, T> {
    // Goes first: whoever is handed the permit finds the value free.
    value: RefMut<'a, T>,
    lock: &'a Lock<T>,
    #[expect(dead_code, reason = "gives the lock back when dropped")]
    permit: Permit,
}

impl<'a, T> LockGuard<'a, T> {
    /// The lock that this is of.
    pub(crate) fn lock(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&&**self).finish()
    }
}

/// The future of [`Lock::lock`].
#[must_use = "futures do nothing unless awaited"]
pub struct Locking<'a, T> {
    lock: &'a Lock<T>,
    queue: InQueue,
    leaf: Leaf,
}

impl<'a, T> Future for Locking<'a, T> {
    type Output = Result<LockGuard<'a, T>, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { lock, queue, leaf } = self.get_mut();
        leaf.poll(cx, |cx| queue.poll(cx))
            .map_ok(|permit| lock.guard(permit))
            .map_err(|cancelled| queue.give_up(cancelled))
    }
}

impl<T> fmt::Debug for Locking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locking").finish_non_exhaustive()
    }
}
