use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use slab::Slab;

use crate::cause::{CancelCause, CancelKind};
use crate::error::Result;
use crate::scope::{CancelScope, Outcome, ScopeHandle, Scoped};
use crate::sync::{Event, Wait};

/// Cancels work in many places that have no scope in common.
///
/// Each place runs its work with [`run`](Self::run), in a scope of its own that follows the token.
/// Clones are the same token. Unlike a scope, a token is not bound to where it was made; that nobody
/// forgets to wait for the work is for the nurseries to see to, as always.
///
/// ```
/// use tractor_runtime::{CancelToken, nursery, run, time::sleep_forever};
///
/// run(async || {
///     let session = CancelToken::new();
///     nursery(async |n| {
///         n.start_soon(session.run(async { Ok(sleep_forever().await?) }));
///         nursery(async |deeper| {
///             deeper.start_soon(session.run(async { Ok(sleep_forever().await?) }));
///             session.cancel();
///             Ok(())
///         })
///         .await
///     })
///     .await
/// })
/// # .unwrap();
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Rc<Shared>);

#[derive(Default)]
struct Shared {
    cause: RefCell<Option<CancelCause>>,
    cancelled: Event,
    followers: RefCell<Slab<Follower>>,
    /// The place among the followers of the token that this is a child of.
    #[expect(dead_code, reason = "given up when dropped")]
    parent: Option<Seat>,
}

enum Follower {
    Scope(ScopeHandle),
    Token(Weak<Shared>),
}

impl CancelToken {
    /// A token that nothing follows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, or by itself.
    pub fn child(&self) -> Self {
        Self(Rc::new_cyclic(|child| Shared {
            cause: RefCell::new(self.cause()),
            cancelled: {
                let event = Event::new();
                if self.is_cancelled() {
                    event.set();
                }
                event
            },
            followers: RefCell::default(),
            parent: Some(self.seat(Follower::Token(child.clone()))),
        }))
    }

    /// Runs `work` in a scope that is cancelled with this token.
    ///
    /// # Errors
    ///
    /// As [`CancelScope::run`]: a cancellation by the token ends at this scope, with an
    /// [`Outcome`] that says so.
    #[track_caller]
    pub fn run<T, F: Future<Output = Result<T>>>(&self, work: F) -> Linked<F> {
        self.run_in(CancelScope::new(), work)
    }

    /// [`run`](Self::run) in a scope that was made before, with a deadline for example.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_in<T, F: Future<Output = Result<T>>>(
        &self,
        scope: CancelScope,
        work: F,
    ) -> Linked<F> {
        let handle = scope.handle();
        if let Some(cause) = self.cause() {
            handle.cancel_because(cause);
        }
        Linked {
            scoped: scope.run(work),
            seat: Some(self.seat(Follower::Scope(handle))),
        }
    }

    /// Cancels all that follow the token, now and later. Again has no effect.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::new(CancelKind::Requested));
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        // All are marked before anybody is told: who is told may look at another token.
        let (mut todo, mut tokens, mut scopes) = (vec![self.0.clone()], Vec::new(), Vec::new());
        while let Some(token) = todo.pop() {
            if token.cause.borrow().is_some() {
                continue;
            }
            token.cause.replace(Some(cause.clone()));
            for (_, follower) in token.followers.borrow().iter() {
                match follower {
                    Follower::Scope(scope) => scopes.push(scope.clone()),
                    Follower::Token(child) => todo.extend(child.upgrade()),
                }
            }
            tokens.push(token);
        }
        for scope in scopes {
            scope.cancel_because(cause.clone());
        }
        for token in tokens {
            token.cancelled.set();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cause.borrow().is_some()
    }

    /// Why it was cancelled.
    pub fn cause(&self) -> Option<CancelCause> {
        self.0.cause.borrow().clone()
    }

    /// Waits until it is cancelled. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) if the scope is.
    pub fn cancelled(&self) -> Wait<'_> {
        self.0.cancelled.wait()
    }

    fn seat(&self, follower: Follower) -> Seat {
        Seat {
            key: self.0.followers.borrow_mut().insert(follower),
            token: self.0.clone(),
        }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cause", &self.cause())
            .field("followers", &self.0.followers.borrow().len())
            .finish()
    }
}

/// A place among the followers of a token. Given up when dropped.
struct Seat {
    token: Rc<Shared>,
    key: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let follower = self.token.followers.borrow_mut().remove(self.key);
        drop(follower);
    }
}

pin_project! {
    /// The future of [`CancelToken::run`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Linked<F> {
        #[pin]
        scoped: Scoped<F>,
        // Given up when the scope is left.
        seat: Option<Seat>,
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Linked<F> {
    type Output = Result<Outcome<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.scoped.poll(cx);
        if polled.is_ready() {
            *this.seat = None;
        }
        polled
    }
}

impl<F> fmt::Debug for Linked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linked").finish_non_exhaustive()
    }
}
