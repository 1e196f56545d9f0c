use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::frame::Hold;
use super::tree::EffectiveDeadline;
use crate::cause::Cancelled;
use crate::executor::{Here, Leaf, current};

/// Lets the other tasks run, and then says whether the scope is cancelled.
///
/// # Errors
///
/// [`Cancelled`] if it is, also if its deadline passed in the meantime.
#[inline]
pub fn checkpoint() -> Checkpoint {
    Checkpoint {
        leaf: Leaf::default(),
        yielded: false,
    }
}

/// Says whether the scope is cancelled. Yields only when the task had its share of operations for
/// now. Does not look at the clock: [`check_cancelled`] does.
///
/// # Errors
///
/// [`Cancelled`] if it is.
#[inline]
pub fn checkpoint_if_cancelled() -> CheckpointIfCancelled {
    CheckpointIfCancelled { _private: () }
}

/// Lets the other tasks run, whether the scope is cancelled or not.
pub fn cancel_shielded_checkpoint() -> ShieldedCheckpoint {
    ShieldedCheckpoint { hold: None }
}

/// Whether the current scope is cancelled, for code that does not await: looks at the clock, so
/// that a deadline that passed while this task was computing counts.
///
/// # Errors
///
/// [`Cancelled`] if it is.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn check_cancelled() -> Result<(), Cancelled> {
    let core = current();
    let now = core.now();
    let mut node = Here::node();
    // The scope that is late is this one or one around it.
    while let EffectiveDeadline::At(deadline) =
        core.tree(|tree| tree.effective_deadline(Here::node()))
    {
        if deadline > now {
            return Ok(());
        }
        core.change(|tree, woken| tree.expire_one(node, now, woken));
        match core.tree(|tree| tree.parent(node)) {
            Some(parent) => node = parent,
            None => break,
        }
    }
    if Here::is_cancelled() {
        return Err(core.cancelled_here());
    }
    Ok(())
}

/// When the current scope will be cancelled by the clock: the earliest deadline of it and of those
/// around it, up to the first shield. Does not look at the clock. Where no task runs, none applies.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn current_effective_deadline() -> EffectiveDeadline {
    current().tree(|tree| tree.effective_deadline(Here::node()))
}

/// The future of [`checkpoint`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Checkpoint {
    leaf: Leaf,
    yielded: bool,
}

impl Future for Checkpoint {
    type Output = Result<(), Cancelled>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { leaf, yielded } = self.get_mut();
        if *yielded && Here::is_cancelled() {
            return Poll::Ready(Err(current().cancelled_here()));
        }
        leaf.poll(cx, |cx| {
            if std::mem::replace(yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

/// The future of [`checkpoint_if_cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct CheckpointIfCancelled {
    _private: (),
}

impl Future for CheckpointIfCancelled {
    type Output = Result<(), Cancelled>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Leaf::begin(cx)
    }
}

/// The future of [`cancel_shielded_checkpoint`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct ShieldedCheckpoint {
    /// A frame that is cancelled must not be dropped just for yielding.
    hold: Option<Hold>,
}

impl Future for ShieldedCheckpoint {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.hold.take().is_some() {
            return Poll::Ready(());
        }
        Here::schedule_point();
        self.hold = Some(Hold::here(current()));
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
