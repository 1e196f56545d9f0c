//! A descriptor with one user a direction, that can be closed under them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, Waker};

use super::{Busy, Closed, Io};
use crate::executor::Leaf;
use crate::reactor::Direction;

#[derive(Debug)]
pub(crate) struct Exclusive<T> {
    io: Io<T>,
    lanes: [Lane; 2],
    closed: Cell<bool>,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    taken: Cell<bool>,
    ended: Cell<bool>,
    /// Who waits here; left behind by one that has given up.
    waiter: RefCell<Option<Waker>>,
    /// The operation that is under way by polls.
    polled: RefCell<Leaf>,
}

impl<T: AsFd> Exclusive<T> {
    pub(crate) fn new(io: T) -> io::Result<Self> {
        Ok(Self {
            io: Io::new(io)?,
            lanes: Default::default(),
            closed: Cell::new(false),
        })
    }
}

impl<T> Exclusive<T> {
    pub(crate) fn get_ref(&self) -> &T {
        self.io.get_ref()
    }

    pub(crate) fn into_inner(self) -> io::Result<T> {
        self.io.into_inner()
    }

    /// Takes a direction for one operation, or several in a row.
    pub(crate) fn take(&self, direction: Direction) -> io::Result<Taken<'_, T>> {
        self.is_open(direction)?;
        if self.lane(direction).taken.replace(true) {
            return Err(Busy::error());
        }
        Ok(Taken {
            exclusive: self,
            direction,
        })
    }

    /// One operation by itself.
    pub(crate) async fn run<R>(
        &self,
        direction: Direction,
        attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.take(direction)?.run(attempt).await
    }

    /// One attempt at a read: see [`Io::read_stream_with`].
    pub(crate) fn read_stream(
        &self,
        room: usize,
        read: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.io.read_stream(room, read)
    }

    /// One operation as a poll.
    pub(crate) fn poll<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let lane = self.lane(direction);
        if lane.taken.get() {
            return Poll::Ready(Err(Busy::error()));
        }
        let mut leaf = lane.polled.take();
        let polled = self.io.poll_attempt(direction, &mut leaf, cx, |io, waker| {
            self.attempt(direction, waker, || attempt(io))
        });
        if polled.is_pending() {
            lane.polled.replace(leaf);
        }
        polled
    }

    /// Ends a direction: no operation in it from now on. Busy if one is under way.
    pub(crate) fn end(&self, direction: Direction) -> io::Result<()> {
        if self.lane(direction).taken.get() {
            return Err(Busy::error());
        }
        self.lane(direction).ended.set(true);
        Ok(())
    }

    /// Ends every operation that is under way, and those to come.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        for lane in &self.lanes {
            if let Some(waiter) = lane.waiter.take() {
                waiter.wake();
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn attempt<R>(
        &self,
        direction: Direction,
        waker: &Waker,
        attempt: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.is_open(direction)?;
        let result = attempt();
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.lane(direction).waiter.replace(Some(waker.clone()));
        }
        result
    }

    fn is_open(&self, direction: Direction) -> io::Result<()> {
        if self.closed.get() || self.lane(direction).ended.get() {
            return Err(Closed::error());
        }
        Ok(())
    }

    fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction as usize]
    }
}

impl<T: AsFd> AsFd for Exclusive<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// A direction that nobody else may use until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a, T> {
    exclusive: &'a Exclusive<T>,
    direction: Direction,
}

impl<T> Taken<'_, T> {
    pub(crate) async fn run<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let Self {
            exclusive,
            direction,
        } = *self;
        exclusive
            .io
            .attempt(direction, |io, waker| {
                exclusive.attempt(direction, waker, || attempt(io))
            })
            .await
    }

    /// Waits until an attempt may succeed.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let Self {
            exclusive,
            direction,
        } = *self;
        exclusive
            .io
            .attempt(direction, |_, waker| {
                exclusive.attempt(direction, waker, || exclusive.io.is_ready(direction))
            })
            .await
    }

    /// Writes all of `data` with `write`, which says how much went; `data` is what is left.
    pub(crate) async fn write_all(
        &self,
        data: &mut &[u8],
        mut write: impl FnMut(&T, &[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if data.is_empty() {
            crate::checkpoint().await?;
        }
        while !data.is_empty() {
            let written = self.run(|io| write(io, data)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            *data = &data[written..];
        }
        Ok(())
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let lane = self.exclusive.lane(self.direction);
        lane.taken.set(false);
        lane.waiter.take();
    }
}
