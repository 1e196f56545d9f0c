use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::frame::{Frame, Link};
use super::handle::{Entry, Exited, ScopeHandle, Spec, When};
use crate::cause::{CancelCause, CancelKind};
use crate::error::{Error, Result};
use crate::executor::current;
use crate::time::Instant;

/// A cancel scope to be: [`run`](Self::run) it with the work that it is to cover.
///
/// ```
/// use tractor_runtime::{CancelScope, run, time::sleep_forever};
///
/// run(async || {
///     let scope = CancelScope::new();
///     let handle = scope.handle();
///     let outcome = scope
///         .run(async {
///             handle.cancel();
///             sleep_forever().await?; // says that it is cancelled
///             Ok("not reached")
///         })
///         .await?;
///     assert!(outcome.is_cancelled() && handle.cancelled_caught());
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// Running consumes the scope, so it cannot be entered twice.
#[derive(Debug)]
#[must_use = "a scope does nothing until it is run"]
pub struct CancelScope {
    pub(crate) entry: RefCell<Entry>,
}

impl CancelScope {
    /// A scope with no deadline and no shield.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "the place of the call is kept")]
    pub fn new() -> Self {
        Self {
            entry: RefCell::new(Entry::Spec(Spec::new(Location::caller()))),
        }
    }

    /// Cancels the scope at `deadline`. If that has passed at the entry, the first checkpoint is
    /// cancelled.
    pub fn deadline(self, deadline: Instant) -> Self {
        self.with(|spec| spec.deadline = Some(When::At(deadline)))
    }

    /// Cancels the scope when it was entered for `timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|spec| spec.deadline = Some(When::In(timeout)))
    }

    /// Hides the cancellation of the scopes around this one from the work inside.
    pub fn shield(self, shield: bool) -> Self {
        self.with(|spec| spec.shield = shield)
    }

    /// A handle to the scope, to keep, pass on, and ask afterwards.
    pub fn handle(&self) -> ScopeHandle {
        self.entry.borrow_mut().handle()
    }

    /// Runs `work` in this scope. Neither the entry nor the exit is a checkpoint.
    ///
    /// # Errors
    ///
    /// What `work` fails with, less the cancellations that are this scope's to absorb: it is
    /// cancelled, and no scope around it that it can see is. An error that is nothing but such
    /// cancellations is the outcome [`Outcome::Cancelled`].
    pub fn run<T, F: Future<Output = Result<T>>>(self, work: F) -> Scoped<F> {
        Scoped {
            frame: Frame::new(work),
            entry: self.entry.into_inner(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        self.entry.get_mut().with_spec(change);
        self
    }
}

/// Runs `work` for at most `timeout`; then it is cancelled and the outcome says so.
///
/// # Errors
///
/// Those of `work`, see [`CancelScope::run`].
#[track_caller]
pub fn move_on_after<T, F: Future<Output = Result<T>>>(timeout: Duration, work: F) -> Scoped<F> {
    CancelScope::new().timeout(timeout).run(work)
}

/// Runs `work` until `deadline`; then it is cancelled and the outcome says so.
///
/// # Errors
///
/// Those of `work`, see [`CancelScope::run`].
#[track_caller]
pub fn move_on_at<T, F: Future<Output = Result<T>>>(deadline: Instant, work: F) -> Scoped<F> {
    CancelScope::new().deadline(deadline).run(work)
}

/// Runs `work` for at most `timeout`.
///
/// # Errors
///
/// [`TooSlow`] if the time was over first; those of `work`.
#[track_caller]
pub fn fail_after<T, F: Future<Output = Result<T>>>(timeout: Duration, work: F) -> FailAfter<F> {
    FailAfter {
        scoped: move_on_after(timeout, work),
        location: Location::caller(),
    }
}

/// Runs `work` until `deadline`.
///
/// # Errors
///
/// [`TooSlow`] if the deadline came first; those of `work`.
#[track_caller]
pub fn fail_at<T, F: Future<Output = Result<T>>>(deadline: Instant, work: F) -> FailAfter<F> {
    FailAfter {
        scoped: move_on_at(deadline, work),
        location: Location::caller(),
    }
}

pin_project! {
    /// The future of a scope. Made by [`CancelScope::run`] and by the functions for timeouts.
    ///
    /// Polled under another scope than before, it moves there. Dropped, it drops the work at
    /// once: what combinators like `select!` do to the loser.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scoped<F> {
        // The work goes first: it is dropped while the scope is still in the tree.
        #[pin]
        frame: Frame<F>,
        entry: Entry,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match this.frame.link() {
                Some(link) => this.entry.abandon(&link.core, link.node),
                None => this.entry.give_up(),
            }
        }
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Scoped<F> {
    type Output = Result<Outcome<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut frame = this.frame;
        let entry = this.entry;
        let polled = frame.as_mut().poll(cx, || {
            let link = Link::open(current(), entry.location());
            entry.enter(&link.core, link.node);
            link
        });
        let result = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(result)) => result,
            Poll::Ready(Err(cancelled)) => Err(cancelled.into()),
        };
        let link = frame.link().expect("a polled frame has a node");
        let outcome = entry.exit(&link.core, link.node, result);
        frame.close();
        Poll::Ready(Outcome::from_exit(outcome))
    }
}

/// What became of the work in a scope that did not fail.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    /// It came to its end.
    Completed(T),
    /// The scope was cancelled, for this cause, and cut it short.
    Cancelled(CancelCause),
}

impl<T> Outcome<T> {
    pub(crate) fn from_exit(exit: std::result::Result<T, Exited>) -> Result<Self> {
        match exit {
            Ok(value) => Ok(Self::Completed(value)),
            Err(Exited::Cancelled(cause)) => Ok(Self::Cancelled(cause)),
            Err(Exited::Failed(error)) => Err(error),
        }
    }

    /// The value, if the work came to its end.
    pub fn completed(self) -> Option<T> {
        match self {
            Self::Completed(value) => Some(value),
            Self::Cancelled(_) => None,
        }
    }

    /// Whether the scope cut the work short.
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// Whether it did so because a deadline passed.
    pub fn timed_out(&self) -> bool {
        self.cause()
            .is_some_and(|cause| cause.kind() == CancelKind::Deadline)
    }

    /// Why the scope cut the work short.
    pub fn cause(&self) -> Option<&CancelCause> {
        match self {
            Self::Completed(_) => None,
            Self::Cancelled(cause) => Some(cause),
        }
    }
}

pin_project! {
    /// The future of [`fail_after`] and [`fail_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct FailAfter<F> {
        #[pin]
        scoped: Scoped<F>,
        location: &'static Location<'static>,
    }
}

impl<T, F: Future<Output = Result<T>>> Future for FailAfter<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let location = *this.location;
        this.scoped.poll(cx).map(|outcome| match outcome? {
            Outcome::Completed(value) => Ok(value),
            // Nobody else can cancel this scope. The cause may be another one all the same: that
            // of a scope further out which has been hidden by a shield since.
            Outcome::Cancelled(_) => Err(Error::from(TooSlow::at(location))),
        })
    }
}

/// The deadline of a [`fail_after`] or [`fail_at`] passed before the work was done.
#[derive(Clone, Debug)]
pub struct TooSlow {
    location: &'static Location<'static>,
}

impl TooSlow {
    pub(crate) fn at(location: &'static Location<'static>) -> Self {
        Self { location }
    }

    /// Where the timeout was set.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too slow: the deadline set at {} passed", self.location)
    }
}

impl std::error::Error for TooSlow {}
