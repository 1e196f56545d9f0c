use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

use super::stream::SocketStream;
use crate::io::{Close, Exclusive};
use crate::reactor::Direction;

/// Where connections come from.
///
/// Only one task may accept at a time.
#[allow(
    async_fn_in_trait,
    reason = "a runtime is one thread: nobody needs these futures to be `Send`"
)]
pub trait Listener: Close {
    /// What a connection is.
    type Stream;

    /// Waits for the next connection. A checkpoint.
    ///
    /// # Errors
    ///
    /// Cancellation, and then no connection was taken; [`Busy`](crate::io::Busy) and
    /// [`Closed`](crate::io::Closed); those of the operating system. A connection that failed
    /// before it could be taken is no error: the next one is waited for.
    async fn accept(&self) -> io::Result<Self::Stream>;
}

/// A TCP socket that listens.
pub type TcpListener = SocketListener<net::TcpListener>;

/// A Unix socket that listens. Its name in the file system stays until somebody removes it.
pub type UnixListener = SocketListener<unix::net::UnixListener>;

/// A socket that listens.
pub struct SocketListener<L> {
    socket: Exclusive<L>,
}

impl<L: AsFd> SocketListener<L> {
    /// Takes over a socket that listens.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and [invalid input](io::ErrorKind::InvalidInput) if it does
    /// not listen.
    pub fn new(socket: L) -> io::Result<Self> {
        // Where it cannot be asked it is believed.
        #[cfg(not(target_vendor = "apple"))]
        if let Ok(false) = sockopt::socket_acceptconn(&socket) {
            let text = "the socket does not listen";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let socket = Exclusive::new(socket)?;
        Ok(Self { socket })
    }
}

impl<L> SocketListener<L> {
    /// The socket, for its options and address.
    pub fn get_ref(&self) -> &L {
        self.socket.get_ref()
    }
}

impl TcpListener {
    /// Listens at an address. An IPv6 wildcard does not take IPv4 connections as well.
    ///
    /// The address may be taken again as soon as nobody listens there, though connections from
    /// before linger.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with_backlog(address, u32::MAX)
    }

    /// The same with a limit to the connections that wait to be accepted; the system has one of
    /// its own.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn bind_with_backlog(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = tcp_socket(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &address)?;
        listen(
            &socket,
            i32::try_from(backlog.min(0xffff)).unwrap_or(0xffff),
        )?;
        Self::new(net::TcpListener::from(socket))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }
}

impl UnixListener {
    /// Listens at a path that does not exist yet.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(unix::net::UnixListener::bind(path)?)
    }
}

/// Listens at a TCP port of every address that `host` has here, leaving out kinds of addresses
/// that this machine does not know. Port 0 is a free port, another one for each address. A
/// checkpoint.
///
/// # Errors
///
/// Cancellation, those of [`resolve`](super::resolve), and those of the operating system; then
/// it listens nowhere.
pub async fn listen_tcp(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    listen_at(super::resolve(host, port).await?, TcpListener::bind)
}

pub(super) fn listen_at<L>(
    addresses: Vec<SocketAddr>,
    mut bind: impl FnMut(SocketAddr) -> io::Result<L>,
) -> io::Result<Vec<L>> {
    let mut listeners = Vec::new();
    let mut unknown = None;
    for address in addresses {
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_unknown_family(&error) => unknown = Some(error),
            Err(error) => return Err(at(address, error)),
        }
    }
    match unknown {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

pub(super) fn is_unknown_family(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// The error with the address that it is about.
pub(super) fn at(address: impl fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

pub(super) fn tcp_socket(address: SocketAddr) -> io::Result<std::os::fd::OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    stream_socket(family, Some(ipproto::TCP))
}

pub(super) fn stream_socket(
    family: AddressFamily,
    protocol: Option<rustix::net::Protocol>,
) -> io::Result<std::os::fd::OwnedFd> {
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socket_with(family, SocketType::STREAM, flags, protocol)?)
    }
    #[cfg(target_vendor = "apple")]
    {
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::empty(), protocol)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }
}

impl<L: Accept> Listener for SocketListener<L> {
    type Stream = SocketStream<L::Socket>;

    async fn accept(&self) -> io::Result<Self::Stream> {
        let accept = |socket: &L| {
            loop {
                match socket.accept() {
                    Err(error) if is_of_a_connection(&error) => {}
                    result => return result,
                }
            }
        };
        SocketStream::new(self.socket.run(Direction::Read, accept).await?)
    }
}

impl<L> Close for SocketListener<L> {
    /// The descriptor is freed when it is dropped, and what connects until then is refused.
    fn close(&self) {
        self.socket.close();
    }
}

impl<L: AsFd> AsFd for SocketListener<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<L: fmt::Debug> fmt::Debug for SocketListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketListener")
            .field(self.get_ref())
            .finish()
    }
}

/// A socket that listens, in non-blocking mode. Sealed.
pub trait Accept: AsFd {
    #[doc(hidden)]
    type Socket: AsFd;
    #[doc(hidden)]
    fn accept(&self) -> io::Result<Self::Socket>;
}

impl Accept for net::TcpListener {
    type Socket = net::TcpStream;
    fn accept(&self) -> io::Result<net::TcpStream> {
        self.accept().map(|(socket, _)| socket)
    }
}

impl Accept for unix::net::UnixListener {
    type Socket = unix::net::UnixStream;
    fn accept(&self) -> io::Result<unix::net::UnixStream> {
        self.accept().map(|(socket, _)| socket)
    }
}

/// Whether the error says something of one connection, which is gone, and nothing of the listener.
fn is_of_a_connection(error: &io::Error) -> bool {
    // Linux tells here what happened to the connection while it waited.
    const OF_A_CONNECTION: &[Errno] = &[
        Errno::CONNABORTED,
        Errno::PERM,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        #[cfg(target_os = "linux")]
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OF_A_CONNECTION.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    struct Faulty {
        inner: unix::net::UnixListener,
        faults: RefCell<VecDeque<Errno>>,
    }

    impl AsFd for Faulty {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.inner.as_fd()
        }
    }

    impl Accept for Faulty {
        type Socket = unix::net::UnixStream;
        fn accept(&self) -> io::Result<unix::net::UnixStream> {
            match self.faults.borrow_mut().pop_front() {
                Some(fault) => Err(fault.into()),
                None => Accept::accept(&self.inner),
            }
        }
    }

    // trio/test_highlevel_socket.py::test_SocketListener_accept_errors
    #[test]
    fn errors_of_connections_are_passed_over_and_those_of_the_listener_told() {
        let directory = std::env::temp_dir().join(format!("tractor-accept-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let _ = std::fs::remove_file(&path);
        crate::run(async || {
            let listener = SocketListener::new(Faulty {
                inner: unix::net::UnixListener::bind(&path)?,
                faults: RefCell::new(
                    [
                        Errno::CONNABORTED,
                        Errno::MFILE,
                        Errno::FAULT,
                        Errno::CONNABORTED,
                    ]
                    .into(),
                ),
            })?;
            let _client = unix::net::UnixStream::connect(&path)?;
            for expected in [Errno::MFILE, Errno::FAULT] {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(Errno::from_io_error(&error), Some(expected));
            }
            listener.accept().await?;
            Ok(())
        })
        .unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }

    // trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_some_address_families_unavailable
    #[test]
    fn kinds_of_addresses_that_the_machine_does_not_know_are_left_out() {
        let addresses: Vec<SocketAddr> = vec![
            ([127, 0, 0, 1], 1).into(),
            ([0, 0, 0, 0, 0, 0, 0, 1], 2).into(),
        ];
        for known in [[false, false], [false, true], [true, false], [true, true]] {
            let listeners = listen_at(addresses.clone(), |address| {
                if known[usize::from(address.is_ipv6())] {
                    Ok(address)
                } else {
                    Err(Errno::AFNOSUPPORT.into())
                }
            });
            match listeners {
                Ok(listeners) => {
                    let expected = addresses.iter().zip(known);
                    let expected = expected.filter(|(_, known)| *known).map(|(a, _)| *a);
                    assert_eq!(listeners, expected.collect::<Vec<_>>());
                    assert!(!listeners.is_empty());
                }
                Err(error) => {
                    assert_eq!(known, [false, false]);
                    assert!(is_unknown_family(&error));
                }
            }
        }
    }

    // trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_socket_fails_not_afnosupport
    // trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_multiple_host_cleanup_on_error
    #[test]
    fn other_error_closes_the_listeners_that_were_there() {
        let open = std::rc::Rc::new(());
        let addresses = vec![
            ([127, 0, 0, 1], 1).into(),
            ([127, 0, 0, 2], 2).into(),
            ([127, 0, 0, 3], 3).into(),
        ];
        let mut left = 2;
        let error = listen_at(addresses, |_| {
            if left == 0 {
                return Err(Errno::INVAL.into());
            }
            left -= 1;
            Ok(open.clone())
        })
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("127.0.0.3:3: "), "{error}");
        assert_eq!(std::rc::Rc::strong_count(&open), 1);
    }
}
