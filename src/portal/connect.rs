use std::io;
use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{Cancelled, Error, Outcome, move_on_after};

use super::Portal;
use crate::actor::{Actor, Connection, greet};
use crate::error::{ConnectError, NoActor, Result};
use crate::transport::{Address, Link, LinkReader, connect as connect_stream};
use crate::wire::{Aid, Limits};

/// How long the other actor may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Connects to an actor that listens at an address, within 10 s. A checkpoint.
///
/// The connection lasts until one of the two actors ends, or [`Portal::disconnect`].
/// The other actor can call here what this one exposes; it can cancel this one only if both are
/// processes of one user and the connection is a Unix socket.
///
/// # Errors
///
/// [`ConnectError`]; [`NoActor`] outside of [`tractor::run`](crate::run); and cancellation, after
/// which there is no connection.
pub async fn connect(address: &Address) -> Result<Portal> {
    let actor = Actor::current().ok_or(NoActor)?;
    let greeted = greet_at(address, actor.aid(), LIMIT).await?;
    let (aid, link, reader) = greeted.map_err(|source| ConnectError {
        address: address.clone(),
        source,
    })?;
    let conn = Connection::new(&actor, &aid, link);
    if !matches!(address, Address::Unix(_)) {
        conn.deny_cancel();
    }
    actor.services().start_soon(conn.clone().serve(reader))?;
    Ok(Portal::new(conn, None))
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
) -> Result<io::Result<(Aid, Rc<Link>, LinkReader)>> {
    let greeted = async {
        let link = match connect_stream(address).await {
            Ok(stream) => Link::over(stream, Limits::default()),
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
