//! Readiness of file descriptors, and the wall clock's alarms: the one module that knows where they
//! come from.
//!
//! A runtime that has its thread for itself, or takes turns there, has a [`Reactor`] of its own. One
//! that is a future on somebody else's executor, and descriptors that are registered outside of
//! any runtime, use `async-io`.

mod own;
mod poller;
mod shared;

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_io::{Async, Readable, Writable};
use pin_project_lite::pin_project;

pub(crate) use own::{Driver, Reactor};
pub(crate) use shared::Alarm;

use crate::executor::try_current;

/// The reactor of the runtime that runs here, if it has one of its own.
fn current() -> Option<Arc<Reactor>> {
    try_current()?.reactor().cloned()
}

/// A file descriptor whose readiness can be waited for.
#[derive(Debug)]
pub(crate) enum Source<T> {
    Own(own::Source<T>),
    Shared(Async<T>, fn(&T) -> BorrowedFd<'_>),
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl<T: AsFd> Source<T> {
    /// Makes the descriptor non-blocking.
    pub(crate) fn new(io: T) -> io::Result<Self> {
        match current() {
            Some(reactor) => {
                rustix::io::ioctl_fionbio(&io, true)?;
                own::Source::new(io, &reactor).map(Self::Own)
            }
            None => Async::new(io).map(|io| Self::Shared(io, T::as_fd)),
        }
    }

    /// For descriptors that know no such mode.
    pub(crate) fn new_nonblocking(io: T) -> io::Result<Self> {
        match current() {
            Some(reactor) => own::Source::new(io, &reactor).map(Self::Own),
            None => Async::new_nonblocking(io).map(|io| Self::Shared(io, T::as_fd)),
        }
    }
}

impl<T> Source<T> {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(source) => source.fd(),
            Self::Shared(source, fd) => fd(source.get_ref()),
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        match self {
            Self::Own(source) => source.io(),
            Self::Shared(source, _) => source.get_ref(),
        }
    }

    pub(crate) fn into_inner(self) -> io::Result<T> {
        match self {
            Self::Own(source) => source.into_inner(),
            Self::Shared(source, _) => source.into_inner(),
        }
    }

    /// Says that there was nothing left to read just now.
    pub(crate) fn set_empty(&self) {
        if let Self::Own(source) = self {
            source.set_empty();
        }
    }

    /// Whether a read is known to be in vain. Then to wait is to wait for something to read.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Own(source) if source.is_empty())
    }

    /// Waits until another attempt in this direction may succeed, for a caller whose last one did
    /// not. Any number may wait.
    pub(crate) fn ready(&self, direction: Direction) -> Ready<'_, T> {
        match (self, direction) {
            (Self::Own(source), direction) => Ready::Own {
                event: source.next_event(direction),
            },
            (Self::Shared(source, _), Direction::Read) => Ready::Readable {
                ready: source.readable(),
            },
            (Self::Shared(source, _), Direction::Write) => Ready::Writable {
                ready: source.writable(),
            },
        }
    }

    /// The same for one waiter a direction, who keeps nothing meanwhile: whoever is woken has to
    /// make another attempt before asking again.
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match (self, direction) {
            (Self::Own(source), direction) => source.poll_event(direction, cx),
            (Self::Shared(source, _), Direction::Read) => source.poll_readable(cx),
            (Self::Shared(source, _), Direction::Write) => source.poll_writable(cx),
        }
    }
}

pin_project! {
    /// The future of [`Source::ready`].
    #[project = ReadyProjection]
    pub(crate) enum Ready<'a, T> {
        Own { event: own::NextEvent<'a, T> },
        Readable { #[pin] ready: Readable<'a, T> },
        Writable { #[pin] ready: Writable<'a, T> },
    }
}

impl<T> Future for Ready<'_, T> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ReadyProjection::Own { event } => event.poll(cx),
            ReadyProjection::Readable { ready } => ready.poll(cx),
            ReadyProjection::Writable { ready } => ready.poll(cx),
        }
    }
}

/// Polls a readiness future that is made anew when it is over.
pub(crate) fn poll_ready<F: Future<Output = io::Result<()>>>(
    mut ready: Pin<&mut Option<F>>,
    make: impl FnOnce() -> F,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if ready.is_none() {
        ready.set(Some(make()));
    }
    let polled = match ready.as_mut().as_pin_mut() {
        Some(ready) => ready.poll(cx),
        None => Poll::Pending,
    };
    if polled.is_ready() {
        ready.set(None);
    }
    polled
}
