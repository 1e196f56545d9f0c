//! File descriptors in non-blocking mode, with cancel points, and streams of bytes over them.
//!
//! [`Io`] makes any descriptor wait for its turn. On it stand the sockets of [`net`](crate::net)
//! and the [pipes](pipe), which speak two languages: their own, where buffers are the caller's
//! and it is always known how many bytes have gone, and the traits [`AsyncRead`] and [`AsyncWrite`]
//! of the ecosystem.
//!
//! [`SendStream`], [`ReceiveStream`] and [`Stream`] are what all streams have in common; the
//! conformance suites of [`testing`](crate::testing) check them.
//!
//! [`AsyncRead`]: futures_lite::io::AsyncRead
//! [`AsyncWrite`]: futures_lite::io::AsyncWrite

mod error;
mod exclusive;
mod pipe;
mod stapled;
mod stream;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use error::{Busy, Closed};
pub use pipe::{PipeReceiver, PipeSender, pipe};
pub use stapled::Stapled;
pub use stream::{Close, ReceiveStream, SendStream, Stream};

pub(crate) use exclusive::Exclusive;
pub(crate) use stream::has_room;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::executor::Leaf;
use crate::reactor::{Direction, Source, poll_ready};

/// Something with a file descriptor, whose operations wait without blocking the thread.
///
/// Every operation is a checkpoint. A cancellation is an [`io::Error`] that carries
/// [`Cancelled`](crate::Cancelled), and becomes that again by `?` into [`Error`](crate::Error);
/// the operation has then had no effect.
///
/// Any number of tasks may wait for one descriptor. All are woken when it is ready, and those who
/// come too late wait again.
pub struct Io<T> {
    source: Source<T>,
}

impl<T: AsFd> Io<T> {
    /// Puts the descriptor into non-blocking mode and registers it.
    ///
    /// # Errors
    ///
    /// Those of the operating system, also for what cannot be polled, like a regular file.
    pub fn new(io: T) -> io::Result<Self> {
        Source::new(io).map(|source| Self { source })
    }

    /// Registers a descriptor that has no non-blocking mode to be put into.
    pub(crate) fn new_nonblocking(io: T) -> io::Result<Self> {
        Source::new_nonblocking(io).map(|source| Self { source })
    }
}

impl<T> Io<T> {
    /// What is inside.
    pub fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    /// Takes it out; it stays in non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn into_inner(self) -> io::Result<T> {
        self.source.into_inner()
    }

    /// Waits until there is something to read, or an end of file or error to be told.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation.
    pub async fn readable(&self) -> io::Result<()> {
        self.attempt(Direction::Read, |_, _| self.is_ready(Direction::Read))
            .await
    }

    /// Waits until something can be written, or an error is to be told.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation.
    pub async fn writable(&self) -> io::Result<()> {
        self.attempt(Direction::Write, |_, _| self.is_ready(Direction::Write))
            .await
    }

    /// Tries `read`, and again whenever the descriptor may be readable, until it is something
    /// other than [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of `read`, and cancellation; then `read` has not succeeded.
    pub async fn read_with<R>(&self, mut read: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.attempt(Direction::Read, |io, _| read(io)).await
    }

    /// As [`read_with`](Self::read_with), for a stream socket and a `read` that has room for so
    /// many bytes and says how many it got. Where it got fewer, there were no more, and the next
    /// read waits without having tried: that saves a system call a message.
    ///
    /// # Errors
    ///
    /// Those of `read`, and cancellation; then `read` has not succeeded.
    pub async fn read_stream_with(
        &self,
        room: usize,
        mut read: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.attempt(Direction::Read, |_, _| self.read_stream(room, &mut read))
            .await
    }

    /// One attempt of the same.
    pub(crate) fn read_stream(
        &self,
        room: usize,
        read: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.source.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = read(self.get_ref())?;
        // None at all is the end, which is told as often as it is asked for.
        if (1..room).contains(&count) {
            self.source.set_empty();
        }
        Ok(count)
    }

    /// Tries `write`, and again whenever the descriptor may be writable, until it is something
    /// other than [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of `write`, and cancellation; then `write` has not succeeded.
    pub async fn write_with<R>(&self, mut write: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.attempt(Direction::Write, |io, _| write(io)).await
    }

    /// Whether it is ready now, or has an error or end of file to tell; if not, it would have to wait.
    pub(crate) fn is_ready(&self, direction: Direction) -> io::Result<()> {
        let events = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        let mut fds = [PollFd::from_borrowed_fd(self.source.fd(), events)];
        match poll(&mut fds, Some(&Timespec::default()))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }

    /// The one loop of all operations: tries until there is an answer other than that it would
    /// have to wait.
    pub(crate) async fn attempt<R>(
        &self,
        direction: Direction,
        mut attempt: impl FnMut(&T, &Waker) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut leaf = Leaf::default();
        let mut ready = pin!(None);
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                retry(
                    cx,
                    |waker| attempt(self.get_ref(), waker),
                    |cx| poll_ready(ready.as_mut(), || self.source.ready(direction), cx),
                )
            })
        })
        .await?
    }

    /// The same as a poll, for one caller a direction, who keeps the state of the operation.
    pub(crate) fn poll_attempt<R>(
        &self,
        direction: Direction,
        leaf: &mut Leaf,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&T, &Waker) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let polled = leaf.poll(cx, |cx| {
            retry(
                cx,
                |waker| attempt(self.get_ref(), waker),
                |cx| self.source.poll_ready(direction, cx),
            )
        });
        polled.map(|result| result?)
    }
}

impl<T: AsFd> AsFd for Io<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for Io<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Io").field(self.get_ref()).finish()
    }
}

/// Tries, and waits whenever it has to.
fn retry<R>(
    cx: &mut Context<'_>,
    mut attempt: impl FnMut(&Waker) -> io::Result<R>,
    mut wait: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<R>> {
    loop {
        match attempt(cx.waker()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return Poll::Ready(result),
        }
        match wait(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
