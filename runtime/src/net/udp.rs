use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use crate::io::{Close, Exclusive};
use crate::reactor::Direction;

/// A socket for datagrams over UDP.
///
/// One task may receive and one may send at a time; another one is told [`Busy`](crate::io::Busy).
/// Every operation is a checkpoint.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Exclusive<net::UdpSocket>,
}

impl UdpSocket {
    /// A socket at an address; port 0 is a free one.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::new(net::UdpSocket::bind(address)?)
    }

    /// Takes over a socket.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn new(socket: net::UdpSocket) -> io::Result<Self> {
        let socket = Exclusive::new(socket)?;
        Ok(Self { socket })
    }

    /// From now on everything is sent to this address, and received from nowhere else.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.get_ref().connect(address)
    }

    /// The socket, for its options and addresses.
    pub fn get_ref(&self) -> &net::UdpSocket {
        self.socket.get_ref()
    }

    /// Waits for a datagram, and puts as much of it into `buffer` as has room; the rest is lost.
    ///
    /// # Errors
    ///
    /// Cancellation, and then no datagram was taken; [`Busy`](crate::io::Busy) and
    /// [`Closed`](crate::io::Closed); those of the operating system.
    pub async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let receive = |socket: &net::UdpSocket| socket.recv_from(buffer);
        self.socket.run(Direction::Read, receive).await
    }

    /// Waits for a datagram from where it is connected to.
    ///
    /// # Errors
    ///
    /// Those of [`receive_from`](Self::receive_from).
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let receive = |socket: &net::UdpSocket| socket.recv(buffer);
        self.socket.run(Direction::Read, receive).await
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Cancellation, and then nothing was sent; [`Busy`](crate::io::Busy) and
    /// [`Closed`](crate::io::Closed); those of the operating system.
    pub async fn send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        let send = |socket: &net::UdpSocket| socket.send_to(datagram, address);
        self.socket.run(Direction::Write, send).await
    }

    /// Sends a datagram to where it is connected to.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let send = |socket: &net::UdpSocket| socket.send(datagram);
        self.socket.run(Direction::Write, send).await
    }
}

impl Close for UdpSocket {
    /// The descriptor is freed when it is dropped.
    fn close(&self) {
        self.socket.close();
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
