//! File descriptors in non-blocking mode, with cancel points.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::task::Poll;

use crate::executor::Leaf;
use crate::reactor::{Source, poll_ready};

/// Something with a file descriptor, whose operations wait without blocking the thread.
///
/// Every operation is a checkpoint. A cancellation is an [`io::Error`] that carries
/// [`Cancelled`](crate::Cancelled), and becomes that again by `?` into [`Error`](crate::Error);
/// the operation has then had no effect.
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
        let mut leaf = Leaf::default();
        let mut ready = pin!(None);
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                poll_ready(ready.as_mut(), || self.source.readable(), cx)
            })
        })
        .await?
    }

    /// Waits until something can be written, or an error is to be told.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation.
    pub async fn writable(&self) -> io::Result<()> {
        let mut leaf = Leaf::default();
        let mut ready = pin!(None);
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                poll_ready(ready.as_mut(), || self.source.writable(), cx)
            })
        })
        .await?
    }

    /// Tries `read`, and again whenever the descriptor may be readable, until it is something
    /// other than [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of `read`, and cancellation; then `read` has not succeeded.
    pub async fn read_with<R>(&self, mut read: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let mut leaf = Leaf::default();
        let mut ready = pin!(None);
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                loop {
                    match read(self.get_ref()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                    match poll_ready(ready.as_mut(), || self.source.readable(), cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
        })
        .await?
    }

    /// Tries `write`, and again whenever the descriptor may be writable, until it is something
    /// other than [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    ///
    /// Those of `write`, and cancellation; then `write` has not succeeded.
    pub async fn write_with<R>(&self, mut write: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let mut leaf = Leaf::default();
        let mut ready = pin!(None);
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                loop {
                    match write(self.get_ref()) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                    match poll_ready(ready.as_mut(), || self.source.writable(), cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
        })
        .await?
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
