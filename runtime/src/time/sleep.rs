use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Instant;
use crate::cause::Cancelled;
use crate::executor::{Core, Leaf, current};
use crate::scope::deadlines::DeadlineId;

/// The time on the clock of the current runtime: of the operating system's monotonic clock, or of
/// the virtual one that the runtime was built with.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn now() -> Instant {
    current().now()
}

/// Waits for `duration` from now, never less. A checkpoint, also if the duration is zero.
///
/// After a cancellation nothing is left behind.
///
/// # Panics
///
/// When polled outside of a runtime.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Until::For(duration))
}

/// Waits until `deadline`, never less. A checkpoint, also if the deadline has passed.
///
/// After a cancellation nothing is left behind.
///
/// # Panics
///
/// When polled outside of a runtime.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Until::At(deadline))
}

/// Waits until it is cancelled. A checkpoint that only ever ends with `Err`.
pub fn sleep_forever() -> Sleep {
    Sleep::new(Until::Cancelled)
}

/// The future of [`sleep`], [`sleep_until`] and [`sleep_forever`].
///
/// The duration of a `sleep` counts from the first poll.
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Sleep {
    until: Until,
    leaf: Leaf,
    armed: Option<Armed>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    For(Duration),
    At(Instant),
    Cancelled,
}

#[derive(Debug)]
struct Armed {
    core: Rc<Core>,
    id: DeadlineId,
    when: Instant,
    waker: Waker,
}

impl Sleep {
    #[inline]
    fn new(until: Until) -> Self {
        Self {
            until,
            leaf: Leaf::default(),
            armed: None,
        }
    }
}

impl Future for Sleep {
    type Output = Result<(), Cancelled>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { until, leaf, armed } = self.get_mut();
        if let Until::For(duration) = *until {
            // Not the time when deadlines were last looked at: the sleep would end early.
            *until = Until::At(now() + duration);
        }
        let result = leaf.poll(cx, |cx| {
            let when = match *until {
                Until::At(when) => when,
                _ => return Poll::Pending,
            };
            match armed {
                Some(armed) => armed.poll(cx),
                None => {
                    let core = current();
                    if when <= core.now() {
                        return Poll::Ready(());
                    }
                    *armed = Some(Armed::new(core, when, cx.waker()));
                    Poll::Pending
                }
            }
        });
        if result.is_ready() {
            *armed = None;
        }
        result
    }
}

impl Armed {
    #[inline]
    fn new(core: Rc<Core>, when: Instant, waker: &Waker) -> Self {
        let waker = waker.clone();
        let id = core.tree_mut(|tree| tree.arm_timer(when, waker.clone()));
        Self {
            core,
            id,
            when,
            waker,
        }
    }

    /// Timers leave the heap when the clock is looked at, so the time of that says which did.
    #[inline]
    fn has_fired(&self) -> bool {
        self.when <= self.core.looked_at()
    }

    #[inline]
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.has_fired() {
            return Poll::Ready(());
        }
        if !self.waker.will_wake(cx.waker()) {
            self.waker = cx.waker().clone();
            let waker = self.waker.clone();
            let before = self.core.tree_mut(|tree| {
                tree.timer_mut(self.id)
                    .map(|kept| std::mem::replace(kept, waker))
            });
            drop(before);
        }
        Poll::Pending
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if !self.has_fired() {
            let waker = self.core.tree_mut(|tree| tree.disarm_timer(self.id));
            drop(waker);
        }
    }
}
