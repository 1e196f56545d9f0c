use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use crate::io::{Close, Exclusive, ReceiveStream, SendStream};
use crate::reactor::Direction;

/// A connection over TCP.
pub type TcpStream = SocketStream<std::net::TcpStream>;

/// A connection over a Unix socket.
pub type UnixStream = SocketStream<net::UnixStream>;

/// Or a peer that is gone would end this process by a signal.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
/// It is a property of the socket there.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// A connected stream socket.
///
/// One task may receive and one may send at a time; another one is told [`Busy`](crate::io::Busy).
/// The traits of `futures-io` are implemented for it and, so that one task may read and another
/// write, for references to it.
///
/// [`close`](Close::close) ends the connection for both ends; the descriptor is freed when this is
/// dropped, which closes it too.
pub struct SocketStream<S> {
    socket: Exclusive<S>,
}

impl<S: AsFd> SocketStream<S> {
    /// Takes over a connected stream socket. Over TCP, small pieces are sent without delay from
    /// now on (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn new(socket: S) -> io::Result<Self> {
        #[cfg(target_vendor = "apple")]
        rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
        // What is sent is to go out at once. Sockets that are not TCP's know no such thing.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let socket = Exclusive::new(socket)?;
        Ok(Self { socket })
    }

    /// Receives into several buffers, one after the other, as
    /// [`receive_some`](ReceiveStream::receive_some) does. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`receive_some`](ReceiveStream::receive_some).
    pub async fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = |socket: &S| Ok(rustix::io::readv(socket, buffers)?);
        self.socket.run(Direction::Read, read).await
    }

    /// Sends as much of `data` as there is room for. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`send_rest`](SendStream::send_rest); nothing was sent then.
    pub async fn send_some(&self, data: &[u8]) -> io::Result<usize> {
        let send = |socket: &S| write(socket, data);
        self.socket.run(Direction::Write, send).await
    }

    /// Sends as much of several buffers, one after the other, as there is room for. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`send_rest`](SendStream::send_rest); nothing was sent then.
    pub async fn send_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let send = |socket: &S| write_vectored(socket, data);
        self.socket.run(Direction::Write, send).await
    }
}

impl<S> SocketStream<S> {
    /// The socket, for its options and addresses.
    pub fn get_ref(&self) -> &S {
        self.socket.get_ref()
    }

    /// Takes the socket out; it stays in non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn into_inner(self) -> io::Result<S> {
        self.socket.into_inner()
    }
}

impl UnixStream {
    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = net::UnixStream::pair()?;
        Ok((Self::new(a)?, Self::new(b)?))
    }
}

impl<S: AsFd> Close for SocketStream<S> {
    fn close(&self) {
        if !self.socket.is_closed() {
            self.socket.close();
            // It fails if the connection is gone already.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
    }
}

impl<S: AsFd> SendStream for SocketStream<S> {
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()> {
        let taken = self.socket.take(Direction::Write)?;
        taken
            .write_all(data, |socket, data| write(socket, data))
            .await
    }

    async fn send_ready(&self) -> io::Result<()> {
        self.socket.take(Direction::Write)?.ready().await
    }

    async fn send_eof(&self) -> io::Result<()> {
        crate::checkpoint().await?;
        if self.socket.is_closed() {
            return Ok(());
        }
        self.socket.end(Direction::Write)?;
        match shutdown(&self.socket, Shutdown::Write) {
            // The peer is gone, and needs not be told.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<S: AsFd> ReceiveStream for SocketStream<S> {
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::io::has_room(buffer)?;
        let room = buffer.len();
        let receive = |_: &S| self.socket.read_stream(room, |socket| read(socket, buffer));
        self.socket.run(Direction::Read, receive).await
    }
}

impl<S: AsFd> AsFd for SocketStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for SocketStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketStream").field(self.get_ref()).finish()
    }
}

impl<S: AsFd> AsyncRead for &SocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.socket.poll(Direction::Read, cx, |_| {
            self.socket.read_stream(room, |socket| read(socket, buffer))
        })
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll(Direction::Read, cx, |socket| {
            Ok(rustix::io::readv(socket, buffers)?)
        })
    }
}

impl<S: AsFd> AsyncWrite for &SocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket
            .poll(Direction::Write, cx, |socket| write(socket, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket
            .poll(Direction::Write, cx, |socket| write_vectored(socket, data))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that this was all, also if the scope is cancelled.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.end(Direction::Write)?;
        let _ = shutdown(&self.socket, Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsFd + Unpin> AsyncRead for SocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, buffers)
    }
}

impl<S: AsFd + Unpin> AsyncWrite for SocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

fn read(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, _) = recv(socket, buffer, RecvFlags::empty())?;
    Ok(count)
}

fn write(socket: impl AsFd, data: &[u8]) -> io::Result<usize> {
    Ok(send(socket, data, NO_SIGNAL)?)
}

fn write_vectored(socket: impl AsFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut none = SendAncillaryBuffer::default();
    Ok(sendmsg(socket, data, &mut none, NO_SIGNAL)?)
}
