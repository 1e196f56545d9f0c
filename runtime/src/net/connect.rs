use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::os::unix;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, bind, connect, sockopt};

use super::listener::{at, stream_socket, tcp_socket};
use super::{TcpStream, UnixStream};
use crate::io::Io;
use crate::sync::Event;
use crate::time::sleep;
use crate::{checkpoint, move_on_after, nursery};

/// How long an attempt has before the next one begins beside it.
const DELAY: Duration = Duration::from_millis(250);

/// How long to wait before looking again whether a Unix listener has room: it tells nobody.
const ROOM: Duration = Duration::from_millis(5);

/// Connects to a TCP port of a host, at whichever of its addresses answers first. A checkpoint.
///
/// # Errors
///
/// Cancellation, and then no connection is left; those of [`resolve`](super::resolve);
/// [`ConnectFailed`] inside of an [`io::Error`], if no address answers.
pub async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    Connector::new().connect(host, port).await
}

/// Connects to a Unix socket. A checkpoint.
///
/// # Errors
///
/// Cancellation, and then no connection is left; those of the operating system.
pub async fn connect_unix(path: impl AsRef<Path>) -> io::Result<UnixStream> {
    let path = path.as_ref();
    let address = SocketAddrUnix::new(path)?;
    checkpoint().await?;
    loop {
        let socket = stream_socket(AddressFamily::UNIX, None)?;
        match connect(&socket, &address) {
            Ok(()) => return UnixStream::new(unix::net::UnixStream::from(socket)),
            Err(Errno::AGAIN) => sleep(ROOM).await?,
            Err(error) => return Err(at(path.display(), error.into())),
        }
    }
}

/// How to connect over TCP.
#[derive(Clone, Debug)]
pub struct Connector {
    delay: Duration,
    local: Option<IpAddr>,
}

impl Connector {
    /// With 250 ms between attempts, from whatever address the system chooses.
    pub fn new() -> Self {
        Self {
            delay: DELAY,
            local: None,
        }
    }

    /// How long an attempt has before the next one begins beside it.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The address to connect from.
    #[must_use]
    pub fn local_address(mut self, address: IpAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Connects to a port of a host. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`connect_tcp`].
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = super::resolve(host, port).await?;
        self.connect_any(addresses).await
    }

    /// Connects to whichever of these addresses answers first, whoever resolved them. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`connect_tcp`].
    pub async fn connect_any(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> io::Result<TcpStream> {
        let attempt = async |address| self.attempt(address).await;
        happy_eyeballs(addresses, self.delay, attempt).await
    }

    async fn attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        checkpoint().await?;
        let failed = |error: Errno| at(address, error.into());
        let socket = tcp_socket(address)?;
        if let Some(local) = self.local {
            bind(&socket, &SocketAddr::new(local, 0)).map_err(failed)?;
        }
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
        let socket = Io::new(net::TcpStream::from(socket))?;
        socket.writable().await?;
        sockopt::socket_error(&socket)?.map_err(failed)?;
        TcpStream::new(socket.into_inner()?)
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

/// Tries one address after the other, the next one as soon as one has failed or had `delay`, until
/// one succeeds; the others are then cancelled, and what they had is dropped. The second address
/// to be tried is of another kind than the first, if there is one.
///
/// # Errors
///
/// Cancellation, and then nothing is left of any attempt. [`ConnectFailed`] inside of an
/// [`io::Error`] of the last failure's kind if all have failed.
pub async fn happy_eyeballs<S>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    delay: Duration,
    attempt: impl AsyncFn(SocketAddr) -> io::Result<S>,
) -> io::Result<S> {
    let mut addresses: Vec<_> = addresses.into_iter().collect();
    alternate(&mut addresses);
    let failed: Vec<_> = addresses.iter().map(|_| Event::new()).collect();
    let failures = RefCell::new(Vec::new());
    let winner = Cell::new(None);
    let won = Cell::new(false);
    let over = nursery(async |n| {
        for (&address, failed) in addresses.iter().zip(&failed) {
            let (attempt, failures, winner, won) = (&attempt, &failures, &winner, &won);
            n.start_soon(async move {
                match attempt(address).await {
                    Ok(stream) => {
                        // One that comes too late is dropped.
                        if !won.replace(true) {
                            winner.set(Some(stream));
                        }
                        n.cancel();
                    }
                    Err(error) if is_cancelled(&error) => return Err(error.into()),
                    Err(error) => {
                        failures.borrow_mut().push((address, error));
                        failed.set();
                    }
                }
                Ok(())
            });
            let waited = move_on_after(delay, async { Ok(failed.wait().await?) }).await;
            if won.get() {
                break;
            }
            waited?;
        }
        Ok(())
    })
    .await;
    if let Some(stream) = winner.take() {
        return Ok(stream);
    }
    over?;
    let attempts = failures.into_inner();
    let kind = attempts.last().map(|(_, error)| error.kind());
    Err(io::Error::new(
        kind.unwrap_or(io::ErrorKind::NotFound),
        ConnectFailed { attempts },
    ))
}

/// Puts an address of another kind second, as RFC 6555 (section 5.4) has it.
fn alternate(addresses: &mut [SocketAddr]) {
    let Some(first) = addresses.first() else {
        return;
    };
    let ipv6 = first.is_ipv6();
    if let Some(other) = addresses.iter().position(|other| other.is_ipv6() != ipv6) {
        addresses[1..=other].rotate_right(1);
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<crate::Cancelled>())
}

/// Every attempt to connect has failed, or there was no address to try.
#[derive(Debug)]
pub struct ConnectFailed {
    attempts: Attempts,
}

/// The addresses that were tried, and what came of them, in the order in which they failed.
pub type Attempts = Vec<(SocketAddr, io::Error)>;

impl ConnectFailed {
    /// What came of each attempt.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }
}

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.attempts[..] {
            [] => f.write_str("no address to connect to"),
            [(_, error)] => write!(f, "cannot connect: {error}"),
            attempts => {
                write!(f, "cannot connect: {} attempts failed", attempts.len())?;
                for (i, (_, error)) in attempts.iter().enumerate() {
                    write!(f, "{} {error}", if i == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConnectFailed {}
