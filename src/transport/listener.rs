use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType, sockopt};
use rustix::process::getuid;
use tractor_runtime::io::Io;

use super::{Address, ByteStream};

/// A socket that takes connections. A Unix socket's file goes with it.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(Io<TcpListener>),
    Unix {
        listener: Io<UnixListener>,
        _file: SocketFile,
    },
}

impl Listener {
    /// Listens at an address, and says at which: a port that was left open is known then.
    pub(crate) fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = Address::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(Io::new(listener)?), address))
            }
            Address::Unix(path) => {
                private_directory(path)?;
                let listener = bind_unix(path)?;
                let listener = Self::Unix {
                    _file: SocketFile::new(path)?,
                    listener: Io::new(listener)?,
                };
                Ok((listener, address.clone()))
            }
        }
    }

    /// Waits until there is a connection to be accepted, and leaves it there.
    ///
    /// # Errors
    /// Those of the system, and cancellation.
    pub(crate) async fn arrival(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.readable().await,
            Self::Unix { listener, .. } => listener.readable().await,
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of one connection or of the moment: the listener goes on. And cancellation.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.read_with(TcpListener::accept).await?;
                socket.set_nodelay(true)?;
                Ok(Accepted {
                    stream: ByteStream::socket(socket)?,
                    peer: peer.to_string(),
                })
            }
            Self::Unix { listener, .. } => {
                let (socket, _) = listener.read_with(UnixListener::accept).await?;
                check_user(&socket)?;
                Ok(Accepted {
                    stream: ByteStream::socket(socket)?,
                    peer: "a Unix socket".into(),
                })
            }
        }
    }
}

/// A connection that was taken.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: ByteStream,
    /// Where it is from, for the log.
    pub(crate) peer: String,
}

/// Connects to an address.
pub(crate) async fn connect(address: &Address) -> io::Result<ByteStream> {
    match address {
        Address::Tcp(address) => connect_tcp(address).await,
        Address::Unix(path) => {
            let socket = socket(AddressFamily::UNIX)?;
            // It is there at once, or fails: the queue of who listens is full, for instance.
            net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            check_user(&socket)?;
            ByteStream::socket(socket)
        }
    }
}

async fn connect_tcp(address: &SocketAddr) -> io::Result<ByteStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family)?;
    let begun = net::connect(&socket, address);
    let io = Io::new(socket)?;
    match begun {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            io.writable().await?;
            sockopt::socket_error(&io)??;
        }
        Err(error) => return Err(error.into()),
    }
    sockopt::set_tcp_nodelay(&io, true)?;
    ByteStream::socket(io.into_inner()?)
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    // No program that is started meanwhile is to inherit it.
    #[cfg(target_os = "linux")]
    let socket = net::socket_with(family, SocketType::STREAM, net::SocketFlags::CLOEXEC, None)?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket = net::socket(family, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        socket
    };
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Only processes of the same user are talked to.
#[cfg(target_os = "linux")]
fn check_user(socket: impl AsFd) -> io::Result<()> {
    let peer = sockopt::socket_peercred(socket)?.uid;
    if peer != getuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the peer is user {}", peer.as_raw()),
        ));
    }
    Ok(())
}

/// The directory lets nobody else in.
#[cfg(not(target_os = "linux"))]
fn check_user(_socket: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// The directory of the socket, which is made if there is none, is to be this user's alone.
fn private_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if path.is_absolute() => parent,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path of a Unix socket has to be absolute",
            ));
        }
    };
    if let Err(error) = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != getuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a directory that is open to this user alone (mode 0700)",
                directory.display()
            ),
        ));
    }
    Ok(())
}

/// Removes what is left of a Unix socket at which nobody listens any more.
pub(crate) fn remove_abandoned(address: &Address) {
    if let Address::Unix(path) = address
        && is_abandoned(path).unwrap_or(false)
        && fs::remove_file(path).is_ok()
    {
        log::info!(target: "tractor::wire", "{} was left behind: removed", path.display());
    }
}

/// Binds a path, also where a socket was left behind at which nobody listens any more.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // Of two that replace the same one, the second would replace the first one's.
    let directory = File::open(path.parent().unwrap_or(path))?;
    flock(&directory, FlockOperation::LockExclusive)?;
    let error = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        bound => return bound,
    };
    let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
    if !is_socket || !is_abandoned(path)? {
        return Err(error);
    }
    log::info!(target: "tractor::wire", "{} was left behind: replaced", path.display());
    fs::remove_file(path)?;
    UnixListener::bind(path)
}

/// Whether nobody listens at a socket that is there.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    let socket = socket(AddressFamily::UNIX)?;
    Ok(net::connect(&socket, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED))
}

/// The file of a Unix socket, removed when dropped unless it is another one by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            id: file_id(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
