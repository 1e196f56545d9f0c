use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::stream::has_room;
use super::{Close, Closed, Exclusive, ReceiveStream, SendStream};
use crate::reactor::Direction;

/// A pipe of the operating system.
///
/// # Errors
///
/// Those of the operating system.
pub fn pipe() -> io::Result<(PipeSender, PipeReceiver)> {
    let (receiver, sender) = io::pipe()?;
    Ok((PipeSender::new(sender)?, PipeReceiver::new(receiver)?))
}

/// The end of a pipe, or a terminal or other device, that bytes are sent to.
///
/// A program that does not ignore `SIGPIPE`, as Rust's do, is ended by sending to a pipe that
/// nobody receives from.
#[derive(Debug)]
pub struct PipeSender(End);

/// The end of a pipe, or a terminal or other device, that bytes are received from.
#[derive(Debug)]
pub struct PipeReceiver(End);

/// Given up when it is closed, and closed when the last operation under way has seen that.
struct End(RefCell<Option<Rc<Exclusive<OwnedFd>>>>);

impl PipeSender {
    /// Puts a descriptor into non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of the operating system, also for what cannot be polled, like a regular file.
    pub fn new(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        End::new(descriptor.into()).map(Self)
    }

    /// The descriptor, which stays open while this is kept.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn descriptor(&self) -> io::Result<impl AsFd + use<>> {
        self.0.open()
    }

    /// Sends as much of `data` as there is room for. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`send_rest`](SendStream::send_rest); nothing was sent then.
    pub async fn send_some(&self, data: &[u8]) -> io::Result<usize> {
        let end = self.0.open()?;
        end.run(Direction::Write, |pipe| write(pipe, data)).await
    }
}

impl PipeReceiver {
    /// Puts a descriptor into non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of the operating system, also for what cannot be polled, like a regular file.
    pub fn new(descriptor: impl Into<OwnedFd>) -> io::Result<Self> {
        End::new(descriptor.into()).map(Self)
    }

    /// The descriptor, which stays open while this is kept.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn descriptor(&self) -> io::Result<impl AsFd + use<>> {
        self.0.open()
    }
}

impl End {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let exclusive = Exclusive::new(descriptor)?;
        Ok(Self(RefCell::new(Some(Rc::new(exclusive)))))
    }

    fn open(&self) -> io::Result<Rc<Exclusive<OwnedFd>>> {
        self.0.borrow().clone().ok_or_else(Closed::error)
    }

    fn close(&self) {
        if let Some(end) = self.0.take() {
            end.close();
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.borrow() {
            Some(end) => fmt::Debug::fmt(end.get_ref(), f),
            None => f.write_str("closed"),
        }
    }
}

impl Close for PipeSender {
    fn close(&self) {
        self.0.close();
    }
}

impl Close for PipeReceiver {
    fn close(&self) {
        self.0.close();
    }
}

impl SendStream for PipeSender {
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()> {
        let end = self.0.open()?;
        let taken = end.take(Direction::Write)?;
        taken.write_all(data, write).await
    }

    async fn send_ready(&self) -> io::Result<()> {
        let end = self.0.open()?;
        let taken = end.take(Direction::Write)?;
        taken.ready().await
    }

    /// Closes it.
    async fn send_eof(&self) -> io::Result<()> {
        crate::checkpoint().await?;
        if let Ok(end) = self.0.open() {
            drop(end.take(Direction::Write)?);
            self.0.close();
        }
        Ok(())
    }
}

impl ReceiveStream for PipeReceiver {
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        has_room(buffer)?;
        let end = self.0.open()?;
        end.run(Direction::Read, |pipe| read(pipe, buffer)).await
    }
}

impl AsyncRead for PipeReceiver {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let end = self.0.open()?;
        end.poll(Direction::Read, cx, |pipe| read(pipe, buffer))
    }
}

impl AsyncWrite for PipeSender {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let end = self.0.open()?;
        end.poll(Direction::Write, cx, |pipe| write(pipe, data))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close();
        Poll::Ready(Ok(()))
    }
}

fn read(pipe: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(pipe, buffer)?)
}

fn write(pipe: &OwnedFd, data: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(pipe, data)?)
}
