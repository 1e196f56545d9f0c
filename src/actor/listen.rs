use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use rustix::io::Errno;
use tractor_runtime::sync::Event;
use tractor_runtime::{
    CancelScope, Error, Outcome, ScopeHandle, checkpoint, move_on_after, nursery, time,
};

use super::{Actor, Connection, Place};
use crate::error::{ListenError, NoActor, Result};
use crate::transport::{Accepted, Address, Link, LinkReader, Listener, Received};
use crate::wire::{Aid, Message};

/// How long a listener rests when the system has no more descriptors, or the like.
const REST: Duration = Duration::from_millis(100);

/// How long what was still to be written to a peer may take when the peer has ended.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Listens at an address with the default [`ListenOptions`].
///
/// # Errors
///
/// Those of [`ListenOptions::listen`].
pub fn listen(address: Address) -> Result<Listening> {
    ListenOptions::new().listen(address)
}

/// How an actor listens, and what it lets those do who connect.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    insecure: bool,
    allow_remote_cancel: bool,
    /// If it is not that of the actor.
    handshake_limit: Option<Duration>,
    /// The same.
    unknown: Option<usize>,
}

impl ListenOptions {
    /// Loopback only; nobody cancels the actor over TCP; the actor's [`Limits`](crate::Limits).
    pub fn new() -> Self {
        Self {
            insecure: false,
            allow_remote_cancel: false,
            handshake_limit: None,
            unknown: None,
        }
    }

    /// Whether other hosts may connect, if the address lets them. There is no encryption, and
    /// everybody who can reach the port can call what the actor exposes.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Whether who connected over TCP may cancel the whole actor. Processes of the same user
    /// that come over a Unix socket may in any case.
    #[must_use]
    pub fn allow_remote_cancel(mut self, allow: bool) -> Self {
        self.allow_remote_cancel = allow;
        self
    }

    /// How long a peer may take to say who it is. By default as long as the actor's
    /// [limits](crate::Limits::handshake) say.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake_limit = Some(limit);
        self
    }

    /// How many connections may be there at once whose peer has not said who it is. When one
    /// more comes, the oldest of them is closed, and only then is that one taken: no more
    /// descriptors than this are held for them. By default as many as the actor's
    /// [limits](crate::Limits::unknown) say, and at least 1.
    #[must_use]
    pub fn unknown_limit(mut self, connections: usize) -> Self {
        self.unknown = Some(connections.max(1));
        self
    }

    /// Listens at an address. Peers can call what the actor exposes, until the [`Listening`] is
    /// closed or dropped, or the actor ends. An actor may listen at any number of addresses.
    ///
    /// Its registrars are told that it is there, and when it no longer is. That is soon, and not
    /// waited for: a registrar that is gone or slow has no say in where an actor listens. It is
    /// told all that it missed with the next change. Whoever looks for an actor that is at several
    /// addresses is given all of them, and takes the nearest, and of those the latest: a Unix socket
    /// before a port of its own host, and that before another one's.
    ///
    /// The directory of a Unix socket has to be this user's alone (mode 0700), and is made if
    /// there is none. A socket that was left behind there is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; [`NoActor`] outside of [`tractor::run`](crate::run).
    pub fn listen(self, address: Address) -> Result<Listening> {
        let actor = Actor::current().ok_or(NoActor)?;
        let failed = |source| ListenError {
            address: address.clone(),
            source,
        };
        if let Address::Tcp(tcp) = &address
            && !tcp.ip().is_loopback()
            && !self.insecure
        {
            let text = "other hosts could connect, which needs `ListenOptions::insecure`";
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, text)).into());
        }
        let (listener, address) = Listener::bind(&address).map_err(failed)?;
        let may_cancel = self.allow_remote_cancel || matches!(address, Address::Unix(_));
        let scope = CancelScope::new();
        let listening = Listening {
            address: address.clone(),
            scope: scope.handle(),
            closed: Rc::default(),
        };
        let limits = actor.limits();
        let gate = Rc::new(Gate {
            actor: actor.clone(),
            handshake_limit: self.handshake_limit.unwrap_or(limits.handshake),
            unknown_limit: self.unknown.unwrap_or(limits.unknown),
            may_cancel,
            unknown: RefCell::default(),
        });
        let closed = Closed {
            place: actor.listens_at(address.clone()),
            actor: actor.clone(),
            event: listening.closed.clone(),
        };
        actor.services().start_soon(async move {
            let _closed = closed;
            scope.run(gate.accept(listener, address)).await?;
            Ok(())
        })?;
        Ok(listening)
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// An address at which this actor listens, until this is closed or dropped. Connections that were
/// made go on.
#[must_use = "nobody listens any more when this is dropped"]
pub struct Listening {
    address: Address,
    scope: ScopeHandle,
    closed: Rc<Event>,
}

impl Listening {
    /// Where: with the port, where any was to be taken.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address of a TCP listener.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            _ => None,
        }
    }

    /// Takes no more connections, and waits until the address is free again. A checkpoint. If it
    /// is cancelled, the listener closes all the same. The registrars of the actor are told after
    /// that, and not waited for.
    ///
    /// # Errors
    ///
    /// Cancellation.
    pub async fn close(self) -> Result<()> {
        self.scope.cancel();
        Ok(self.closed.wait().await?)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.scope.cancel();
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({})", self.address)
    }
}

/// Says when a listener is gone, however it went.
struct Closed {
    actor: Rc<Actor>,
    place: Place,
    event: Rc<Event>,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.actor.listens_no_more_at(&self.place);
        self.event.set();
    }
}

/// What stands between a listener and the actor.
struct Gate {
    actor: Rc<Actor>,
    handshake_limit: Duration,
    unknown_limit: usize,
    may_cancel: bool,
    /// The connections whose peer has not said who it is, the oldest first. Never more than the
    /// limit.
    unknown: RefCell<VecDeque<Rc<Unknown>>>,
}

/// A connection whose peer has not said who it is.
struct Unknown {
    scope: ScopeHandle,
    /// It is none of these any more.
    gone: Event,
}

/// Keeps a connection among the unknown until its peer has said who it is, or it is closed.
struct AmongUnknown {
    gate: Rc<Gate>,
    unknown: Rc<Unknown>,
}

impl Gate {
    async fn accept(self: Rc<Self>, listener: Listener, address: Address) -> Result<()> {
        log::debug!(target: "tractor::wire", "{}: listening at {address}", self.actor.uid());
        loop {
            match self.next(&listener).await {
                Ok(accepted) => self.clone().take(accepted)?,
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    log::warn!(
                        target: "tractor::wire",
                        "{}: no connection at {address}: {error}", self.actor.uid(),
                    );
                    if is_of_the_system(&error) {
                        time::sleep(REST).await?;
                    }
                }
            }
        }
    }

    /// The next connection, once there is room for it among the unknown.
    async fn next(&self, listener: &Listener) -> Result<Accepted> {
        if self.is_full() {
            // Nobody has to go before somebody comes.
            listener.arrival().await?;
            self.make_room().await?;
        }
        Ok(listener.accept().await?)
    }

    fn is_full(&self) -> bool {
        self.unknown.borrow().len() >= self.unknown_limit
    }

    /// Closes the oldest of the unknown, unless another is gone by then.
    async fn make_room(&self) -> Result<()> {
        // Who was taken last is heard first: it may have said who it is before it was taken.
        checkpoint().await?;
        if self.is_full() {
            let oldest = self.unknown.borrow()[0].clone();
            oldest.scope.cancel();
            oldest.gone.wait().await?;
        }
        Ok(())
    }

    fn take(self: Rc<Self>, accepted: Accepted) -> Result<()> {
        let scope = CancelScope::new();
        let unknown = self.unknown(scope.handle());
        let services = self.actor.services();
        services.clone().start_soon(async move {
            let Accepted { stream, peer } = accepted;
            let link = Link::over(stream, self.actor.limits());
            let mut reader = link.reader();
            let limit = self.handshake_limit;
            let greeted = async {
                let greeted = scope
                    .run(greet(self.actor.aid(), &link, &mut reader))
                    .await?;
                Ok(match greeted {
                    Outcome::Completed(greeted) => greeted,
                    Outcome::Cancelled(_) => Err("too many have not said who they are".into()),
                })
            };
            let greeted = move_on_after(limit, greeted).await;
            let aid = match greeted? {
                Outcome::Completed(Ok(aid)) => aid,
                Outcome::Completed(Err(reason)) => {
                    self.turn_away(&peer, &reason);
                    return Ok(());
                }
                Outcome::Cancelled(_) => {
                    let reason = format!("it did not say who it is within {limit:?}");
                    self.turn_away(&peer, &reason);
                    return Ok(());
                }
            };
            drop(unknown);
            if aid.is_probe {
                log::debug!(target: "tractor::wire", "{}: asked who is here", aid.uid);
                return Ok(());
            }
            let conn = Connection::new(&self.actor, &aid, link);
            if !self.may_cancel {
                conn.deny_cancel();
            }
            conn.serve(reader).await
        })?;
        Ok(())
    }

    fn unknown(self: &Rc<Self>, scope: ScopeHandle) -> AmongUnknown {
        let unknown = Rc::new(Unknown {
            scope,
            gone: Event::new(),
        });
        self.unknown.borrow_mut().push_back(unknown.clone());
        AmongUnknown {
            gate: self.clone(),
            unknown,
        }
    }

    fn turn_away(&self, peer: &str, reason: &str) {
        log::warn!(
            target: "tractor::wire",
            "{}: {peer} was turned away: {reason}", self.actor.uid(),
        );
    }
}

impl Drop for AmongUnknown {
    fn drop(&mut self) {
        self.gate
            .unknown
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, &self.unknown));
        self.unknown.gone.set();
    }
}

/// Tells the peer who this is, and hears who it is, or why not.
pub(crate) async fn greet(
    own: Aid,
    link: &Link,
    reader: &mut LinkReader,
) -> Result<std::result::Result<Aid, String>> {
    let uid = own.uid.clone();
    link.send(&Message::Aid(Box::new(own)))?;
    // What writing fails with is seen by the reader. It is tried first: a peer that has said who it
    // is already is heard at once.
    let written = async { link.write_loop().await.map(|_| ()) };
    or(written, link.flushed()).await?;
    Ok(match reader.next().await? {
        Received::Message(Message::Aid(aid)) if aid.uid == uid => {
            Err("it says that it is this actor".into())
        }
        Received::Message(Message::Aid(aid)) => Ok(*aid),
        Received::Message(message) => Err(format!("it sent {} first", message.name())),
        Received::Ended => Err("it closed the connection without a word".into()),
        Received::Broken(error) => Err(error.to_string()),
    })
}

impl Connection {
    /// Talks to the peer until it ends, and then says what is left to say.
    pub(crate) async fn serve(self: Rc<Self>, reader: LinkReader) -> Result<()> {
        self.begin_to_serve();
        nursery(async |n| {
            let conn = self.clone();
            let writing = n.start_soon(async move { Ok(conn.write().await?) });
            self.clone().read(reader).await?;
            move_on_after(DRAIN_LIMIT, async { Ok(writing.gone().await?) }).await?;
            self.lose(None);
            n.cancel();
            Ok(())
        })
        .await
    }
}

/// Whether an error will come again at once, for it is not of the connection.
fn is_of_the_system(error: &Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        )
    })
}
