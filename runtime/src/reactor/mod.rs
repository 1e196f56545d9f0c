//! Readiness of file descriptors, and the wall clock's alarms: the one module that knows where they
//! come from. Today that is `async-io`, which works under any host.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use async_io::{Async, Timer};

use crate::time::Instant;

/// Runs a future on this thread, which drives the reactor when it has nothing else to do.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(future)
}

/// A file descriptor whose readiness can be waited for.
#[derive(Debug)]
pub(crate) struct Source<T>(Async<T>);

impl<T: AsFd> Source<T> {
    /// Makes the descriptor non-blocking.
    pub(crate) fn new(io: T) -> io::Result<Self> {
        Async::new(io).map(Self)
    }

    /// For descriptors that know no such mode.
    pub(crate) fn new_nonblocking(io: T) -> io::Result<Self> {
        Async::new_nonblocking(io).map(Self)
    }
}

impl<T> Source<T> {
    pub(crate) fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    pub(crate) fn into_inner(self) -> io::Result<T> {
        self.0.into_inner()
    }

    /// Waits until an attempt in this direction may succeed. Any number may wait.
    pub(crate) async fn ready(&self, direction: Direction) -> io::Result<()> {
        match direction {
            Direction::Read => self.0.readable().await,
            Direction::Write => self.0.writable().await,
        }
    }

    /// The same for one waiter a direction, who keeps nothing meanwhile: it may be told in vain.
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => self.0.poll_readable(cx),
            Direction::Write => self.0.poll_writable(cx),
        }
    }
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Wakes whoever polled it last, once the real clock is there.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Whether it is `when` already; if not, it will be called.
    pub(crate) fn poll(&mut self, when: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = when.to_std() else {
            return Poll::Pending;
        };
        let (set, timer) = self.set.get_or_insert_with(|| (when, Timer::at(at)));
        if *set != when {
            *set = when;
            timer.set_at(at);
        }
        let rung = pin!(timer).poll(cx).map(drop);
        if rung.is_ready() {
            self.set = None;
        }
        rung
    }

    pub(crate) fn unset(&mut self) {
        self.set = None;
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
