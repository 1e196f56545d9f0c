use std::io;
use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{Cancelled, Error, Outcome, move_on_after};

use super::Portal;
use super::share::Shares;
use crate::actor::{Actor, Connection, greet};
use crate::error::{ConnectError, NoActor, Result};
use crate::transport::{Address, Link, LinkReader, connect as connect_stream};
use crate::wire::{Aid, Limits};

/// Connects to an actor that listens at an address, within the time for the
/// [handshake](crate::Limits::handshake), 10 s by default. A checkpoint.
///
/// If this actor is connected to that one already, because it was connected to or found at the same
/// address before, the portal shares that connection: there is one, however often and by however many
/// tasks the actor is looked for. It lasts until one of the two actors ends, or until
/// [`Portal::disconnect`] was called once for each time that it was given out. A connection that was
/// lost is not given out again.
///
/// A connection to another address of the same actor is another one, and so is that between parent
/// and child: what they let each other do differs.
///
/// The other actor can call here what this one exposes; it can cancel this one only if both are
/// processes of one user and the connection is a Unix socket.
///
/// # Errors
///
/// [`ConnectError`]; [`NoActor`] outside of [`tractor::run`](crate::run); and cancellation, after
/// which there is no connection more than before.
pub async fn connect(address: &Address) -> Result<Portal> {
    let actor = Actor::current().ok_or(NoActor)?;
    // Who is there can only be known from who answers: another actor may have taken over the
    // address from one that is still connected.
    let (aid, link, reader) = greet_for(&actor, address).await?;
    let shares = actor.extension::<Shares>();
    if let Some(line) = shares.line_to(&aid.uid, address) {
        return Ok(Portal::over(line));
    }
    let conn = serve(&actor, address, &aid, link, reader)?;
    Ok(Portal::over(shares.add(conn, address)))
}

/// [`connect`], with a connection that nobody else is given: what is registered over it lasts no
/// longer than it.
pub(crate) async fn connect_alone(address: &Address) -> Result<Portal> {
    let actor = Actor::current().ok_or(NoActor)?;
    let (aid, link, reader) = greet_for(&actor, address).await?;
    Ok(Portal::new(
        serve(&actor, address, &aid, link, reader)?,
        None,
    ))
}

async fn greet_for(actor: &Actor, address: &Address) -> Result<(Aid, Rc<Link>, LinkReader)> {
    let limits = actor.limits();
    let greeted = greet_at(address, actor.aid(), limits.handshake, limits).await?;
    greeted.map_err(|source| {
        let address = address.clone();
        ConnectError { address, source }.into()
    })
}

fn serve(
    actor: &Rc<Actor>,
    address: &Address,
    aid: &Aid,
    link: Rc<Link>,
    reader: LinkReader,
) -> Result<Rc<Connection>> {
    let conn = Connection::new(actor, aid, link);
    if !matches!(address, Address::Unix(_)) {
        conn.deny_cancel();
    }
    actor.services().start_soon(conn.clone().serve(reader))?;
    Ok(conn)
}

/// Connects, says who this is, and hears who is there.
///
/// # Errors
///
/// Cancellation. Why there is no connection is in the result.
pub(crate) async fn greet_at(
    address: &Address,
    own: Aid,
    limit: Duration,
    limits: Limits,
) -> Result<io::Result<(Aid, Rc<Link>, LinkReader)>> {
    let greeted = async {
        let link = match connect_stream(address).await {
            Ok(stream) => Link::over(stream, limits),
            Err(error) => {
                // The runtime reports a cancellation inside an `io::Error`.
                return match error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<Cancelled>())
                {
                    Some(cancelled) => Err(Error::from(cancelled.clone())),
                    None => Ok(Err(error)),
                };
            }
        };
        let mut reader = link.reader();
        let aid = greet(own, &link, &mut reader).await?;
        let aid = aid.map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason));
        Ok(aid.map(|aid| (aid, link, reader)))
    };
    Ok(match move_on_after(limit, greeted).await? {
        Outcome::Completed(greeted) => greeted,
        Outcome::Cancelled(_) => Err(io::ErrorKind::TimedOut.into()),
    })
}
