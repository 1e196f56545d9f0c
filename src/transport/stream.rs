use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::net::{self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use tractor_runtime::io::Io;
use tractor_runtime::{cancellable, checkpoint_if_cancelled};

use super::memory::End;
use super::outbox::Outbox;

/// Or a peer that is gone would end this process by a signal.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
/// It is a property of the socket there.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// What a connection is made of: bytes in both directions.
///
/// Waiting for either is a cancel point; a cancellation is inside of the error, and has lost
/// nothing. One task may read, and one write.
#[derive(Debug)]
pub(crate) enum ByteStream {
    /// A connected stream socket of any kind.
    Socket(Io<OwnedFd>),
    /// In this runtime.
    Memory(End),
}

impl ByteStream {
    /// Takes over a connected stream socket.
    pub(crate) fn socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        #[cfg(target_vendor = "apple")]
        net::sockopt::set_socket_nosigpipe(&socket, true)?;
        Io::new(socket).map(Self::Socket)
    }

    /// Two connected ends in this runtime.
    pub(crate) fn pair() -> (Self, Self) {
        let (ours, theirs) = super::memory::pair();
        (Self::Memory(ours), Self::Memory(theirs))
    }

    /// What connects the two, for people.
    pub(super) fn kind(&self) -> &'static str {
        let Self::Socket(io) = self else {
            return "memory";
        };
        let family = net::getsockname(io.get_ref()).map(|addr| addr.address_family());
        match family {
            Ok(AddressFamily::UNIX) => "unix",
            Ok(AddressFamily::INET | AddressFamily::INET6) => "tcp",
            _ => "a socket",
        }
    }

    /// Appends what has come, as far as `room` has capacity; nothing if no more will come.
    pub(super) async fn read(&self, room: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Socket(io) => {
                let capacity = room.capacity() - room.len();
                io.read_stream_with(capacity, |socket| {
                    let (_, count) =
                        net::recv(socket, spare_capacity(&mut *room), RecvFlags::empty())?;
                    Ok(count)
                })
                .await
            }
            Self::Memory(end) => {
                checkpoint_if_cancelled().await.map_err(io::Error::other)?;
                let read = cancellable(poll_fn(|cx| end.poll_read(cx, room)));
                read.await.map_err(io::Error::other)
            }
        }
    }

    /// Takes as much of what is to be written as it does in one go.
    pub(super) async fn write(&self, outbox: &RefCell<Outbox>) -> io::Result<()> {
        match self {
            Self::Socket(io) => {
                io.write_with(|socket| {
                    let mut outbox = outbox.borrow_mut();
                    let batch = outbox.next_batch();
                    let written = net::sendmsg(
                        socket,
                        &batch,
                        &mut SendAncillaryBuffer::default(),
                        NO_SIGNAL,
                    )?;
                    outbox.advance(written);
                    Ok(())
                })
                .await
            }
            Self::Memory(end) => {
                checkpoint_if_cancelled().await.map_err(io::Error::other)?;
                let write = cancellable(poll_fn(|cx| {
                    let mut outbox = outbox.borrow_mut();
                    let batch = outbox.next_batch();
                    end.poll_write(cx, &batch)
                        .map_ok(|written| outbox.advance(written))
                }));
                write.await.map_err(io::Error::other)?
            }
        }
    }

    /// Tells the peer that this was all. Reading goes on.
    pub(super) fn shutdown_write(&self) {
        match self {
            // It fails if the peer is gone, who then needs not be told.
            Self::Socket(io) => drop(net::shutdown(io.get_ref(), Shutdown::Write)),
            Self::Memory(end) => end.shutdown_write(),
        }
    }

    /// Ends both directions, for both ends.
    pub(super) fn shutdown(&self) {
        match self {
            // It fails if the connection is gone already, which is what is wanted.
            Self::Socket(io) => drop(net::shutdown(io.get_ref(), Shutdown::Both)),
            Self::Memory(end) => end.shutdown(),
        }
    }
}
