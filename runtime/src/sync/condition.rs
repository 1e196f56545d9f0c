use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::lock::{Lock, LockGuard};
use super::permits::InQueue;
use super::waiters::{Ticket, Waiters, renew};
use crate::cause::Cancelled;
use crate::error::Error;
use crate::executor::{Leaf, current};
use crate::scope::Hold;

/// Lets tasks that have a [`Lock`] wait until another one has changed what it guards.
///
/// A task that is notified gets in line for the lock at once, in the order of the notifications.
/// If it is cancelled before it has the lock, its notification goes to the next.
///
/// ```
/// use tractor_runtime::{nursery, run, sync::{Condition, Lock}};
///
/// run(async || {
///     let (jobs, changed) = (Lock::new(Vec::new()), Condition::new());
///     nursery(async |n| {
///         n.start_soon(async {
///             let mut jobs = jobs.lock().await?;
///             while jobs.is_empty() {
///                 jobs = changed.wait(jobs).await?;
///             }
///             assert_eq!(jobs.pop(), Some("a job"));
///             Ok(())
///         });
///         jobs.lock().await?.push("a job");
///         changed.notify_one();
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
#[derive(Default)]
pub struct Condition {
    waiters: RefCell<Waiters<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    waker: Waker,
    queue: InQueue,
    notified: Option<Notified>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Notified {
    /// As one of so many: another may have it instead.
    One,
    /// With all others.
    All,
}

impl Condition {
    /// A condition for which nobody waits.
    pub const fn new() -> Self {
        Self {
            waiters: RefCell::new(Waiters::new()),
        }
    }

    /// Releases the lock, waits for a notification, and takes the lock again. A checkpoint.
    ///
    /// What is waited for may have been undone before the lock is taken again, so wait in a loop.
    ///
    /// # Errors
    ///
    /// [`WaitError`] if the scope is cancelled, with the lock: it is taken again first, however
    /// long that takes. A notification that had come already goes to the next who waits. With `?`
    /// the lock is released.
    ///
    /// If this future is dropped instead, the lock is not taken again.
    pub fn wait<'a, T>(&'a self, guard: LockGuard<'a, T>) -> ConditionWait<'a, T> {
        ConditionWait {
            lock: guard.lock(),
            guard: Some(guard),
            place: Place {
                condition: self,
                ticket: None,
                called: None,
            },
            leaf: Leaf::default(),
            cancelled: None,
        }
    }

    /// Notifies the one who has waited longest, if anybody waits. The lock need not be held.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Notifies the `count` who have waited longest. How many there were.
    pub fn notify(&self, count: usize) -> usize {
        self.notify_as(Notified::One, count)
    }

    /// Notifies all who wait. How many there were.
    pub fn notify_all(&self) -> usize {
        self.notify_as(Notified::All, self.waiting())
    }

    /// How many wait for a notification.
    pub fn waiting(&self) -> usize {
        self.waiters.borrow().queued()
    }

    fn notify_as(&self, how: Notified, count: usize) -> usize {
        for notified in 0..count {
            let waker = {
                let mut waiters = self.waiters.borrow_mut();
                let Some(first) = waiters.serve() else {
                    return notified;
                };
                first.notified = Some(how);
                let waker = first.waker.clone();
                first.queue.enter(waker.clone()).then_some(waker)
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        count
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// The future of [`Condition::wait`].
#[must_use = "futures do nothing unless awaited"]
pub struct ConditionWait<'a, T> {
    lock: &'a Lock<T>,
    /// Until it waits.
    guard: Option<LockGuard<'a, T>>,
    place: Place<'a>,
    leaf: Leaf,
    /// Set when it was cancelled, and only the lock is to be taken again.
    cancelled: Option<(Cancelled, Hold)>,
}

/// The place of one who waits for a notification, and then for the lock.
#[derive(Debug)]
struct Place<'a> {
    condition: &'a Condition,
    /// Among those who wait for a notification, or were notified and do not know yet.
    ticket: Option<Ticket>,
    /// In line for the lock.
    called: Option<(InQueue, Notified)>,
}

impl<'a, T> ConditionWait<'a, T> {
    fn attempt(
        lock: &'a Lock<T>,
        guard: &mut Option<LockGuard<'a, T>>,
        place: &mut Place<'a>,
        cx: &Context<'_>,
    ) -> Poll<LockGuard<'a, T>> {
        if let Some(guard) = guard.take() {
            place.enter(lock, cx);
            // Whoever gets the lock now finds this task waiting.
            drop(guard);
            return Poll::Pending;
        }
        if !place.look(cx) {
            return Poll::Pending;
        }
        let (queue, _) = place.called.as_mut().expect("it was called");
        let Poll::Ready(permit) = queue.poll(cx) else {
            return Poll::Pending;
        };
        place.called = None;
        Poll::Ready(lock.guard(permit))
    }
}

impl Place<'_> {
    fn enter<T>(&mut self, lock: &Lock<T>, cx: &Context<'_>) {
        let waiting = Waiting {
            waker: cx.waker().clone(),
            queue: InQueue::new(lock.permits()),
            notified: None,
        };
        self.ticket = Some(self.condition.waiters.borrow_mut().push(waiting));
    }

    /// Looks whether the notification is there.
    fn look(&mut self, cx: &Context<'_>) -> bool {
        let Some(ticket) = self.ticket else {
            return true;
        };
        let mut waiters = self.condition.waiters.borrow_mut();
        let waiting = waiters.get_mut(ticket);
        let Some(notified) = waiting.notified else {
            let before = renew(&mut waiting.waker, cx);
            drop(waiters);
            drop(before);
            return false;
        };
        let waiting = waiters.remove(ticket);
        drop(waiters);
        self.ticket = None;
        self.called = Some((waiting.queue, notified));
        true
    }

    /// Gets in line for the lock without a notification. One that was there goes to the next.
    fn give_up(&mut self, cx: &Context<'_>) {
        if !self.look(cx)
            && let Some(ticket) = self.ticket.take()
        {
            let mut waiting = self.condition.waiters.borrow_mut().remove(ticket);
            // Whether the lock is free is looked at next.
            waiting.queue.enter(cx.waker().clone());
            self.called = Some((waiting.queue, Notified::All));
        }
        if let Some((_, notified)) = &mut self.called
            && std::mem::replace(notified, Notified::All) == Notified::One
        {
            self.condition.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut notified = None;
        if let Some(ticket) = self.ticket.take() {
            let waiting = self.condition.waiters.borrow_mut().remove(ticket);
            notified = waiting.notified;
        }
        if let Some((queue, how)) = self.called.take() {
            drop(queue);
            notified = Some(how);
        }
        if notified == Some(Notified::One) {
            self.condition.notify_one();
        }
    }
}

impl<'a, T> Future for ConditionWait<'a, T> {
    type Output = Result<LockGuard<'a, T>, WaitError<'a, T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            lock,
            guard,
            place,
            leaf,
            cancelled,
        } = self.get_mut();
        if cancelled.is_none() {
            match leaf.poll(cx, |cx| Self::attempt(lock, guard, place, cx)) {
                Poll::Ready(Ok(guard)) => return Poll::Ready(Ok(guard)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    if let Some(guard) = guard.take() {
                        return Poll::Ready(Err(WaitError {
                            guard,
                            cancelled: error,
                        }));
                    }
                    place.give_up(cx);
                    *cancelled = Some((error, Hold::here(current())));
                }
            }
        }
        if let Some((_, hold)) = cancelled {
            hold.follow();
        }
        let Poll::Ready(guard) = Self::attempt(lock, guard, place, cx) else {
            return Poll::Pending;
        };
        let (cancelled, _) = cancelled.take().expect("set above");
        Poll::Ready(Err(WaitError { guard, cancelled }))
    }
}

impl<T> fmt::Debug for ConditionWait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionWait").finish_non_exhaustive()
    }
}

/// [`Condition::wait`] was cancelled. Has the lock, which was taken again.
///
/// Converts into [`Error`] with `?`, as the cancellation that it is; the lock is released then.
pub struct WaitError<'a, T> {
    guard: LockGuard<'a, T>,
    cancelled: Cancelled,
}

impl<'a, T> WaitError<'a, T> {
    /// The cancellation.
    pub fn cancelled(&self) -> &Cancelled {
        &self.cancelled
    }

    /// The lock.
    pub fn into_guard(self) -> LockGuard<'a, T> {
        self.guard
    }
}

impl<T> fmt::Debug for WaitError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitError").field(&self.cancelled).finish()
    }
}

impl<T> From<WaitError<'_, T>> for Error {
    fn from(error: WaitError<'_, T>) -> Self {
        error.cancelled.into()
    }
}
