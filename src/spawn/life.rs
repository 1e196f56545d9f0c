use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::{Error, NurseryHandle, Result, finally, move_on_after, time};

use super::boot::Watchdog;
use crate::actor::{Actor, Connection, Enabled, host, parent_lost};
use crate::discovery::{Membership, settle};
use crate::endpoint::Table;
use crate::transport::{ByteStream, Link, LinkReader, Received};
use crate::wire::{Aid, Limits, Message, SpawnSpec, Uid};

/// How long a child that cannot run tries to say so.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);

/// What a child actor has of the process that it runs in.
pub(super) enum Housing {
    /// All of it, and with it what is there once a process.
    Process(Watchdog),
    /// A thread of it; the watchdog is that of the actor it belongs to.
    Shared(Watchdog),
    /// A task of such a thread, beside which the tasks of those stand that it starts in memory.
    Memory {
        watchdog: Watchdog,
        tasks: NurseryHandle,
    },
}

impl Housing {
    /// Sets what is there once a process.
    fn furnish(&self, spec: &SpawnSpec) {
        let Self::Process(watchdog) = self else {
            return;
        };
        if let Some(ms) = spec.grace_ms {
            watchdog.set_grace(Duration::from_millis(ms));
        }
        let level = spec.loglevel.as_deref();
        if let Some(level) = level.and_then(|level| level.parse().ok()) {
            log::set_max_level(level);
        }
    }

    fn tasks(&self) -> Option<NurseryHandle> {
        match self {
            Self::Memory { tasks, .. } => Some(tasks.clone()),
            Self::Process(_) | Self::Shared(_) => None,
        }
    }

    fn into_watchdog(self) -> Watchdog {
        match self {
            Self::Process(watchdog) | Self::Shared(watchdog) | Self::Memory { watchdog, .. } => {
                watchdog
            }
        }
    }
}

/// The life of a child actor from its parent's first word to the end of its channel, which is
/// also its own end. What ends it otherwise is its cancellation.
pub(super) async fn live(channel: ByteStream, housing: Housing) -> Result<()> {
    // Until the parent has said which, and if it does not.
    let link = Link::over(channel, Limits::default());
    let mut reader = link.reader();
    let (parent, spec) = greeting(&mut reader).await?;
    let limits = spec.limits.unwrap_or_default();
    reader.set_limits(limits);
    housing.furnish(&spec);
    let uid = spec.uid.clone().unwrap_or_else(|| Uid::fresh("actor"));
    let level = spec.loglevel.as_deref();
    let level = level.and_then(|level| level.parse().ok());
    let table = match Table::new() {
        Ok(table) => table,
        Err(error) => {
            let error = Error::from(error);
            let msg = crate::error::to_wire(&error, &uid);
            farewell(&link, &Message::Error(Box::new(msg))).await?;
            return Err(error);
        }
    };
    let tasks = housing.tasks();
    let actor = Actor::new(
        uid.clone(),
        table,
        Enabled::from_wire(&spec.enable_modules),
        housing.into_watchdog(),
        limits,
    );
    if let Some(tasks) = tasks {
        actor.is_one_of(tasks);
    }
    host(actor, async |actor| {
        actor.set_log_level(level);
        let conn = Connection::new(actor, &parent, link.clone());
        actor.whereabouts().has_parent(&conn);
        let membership = match settle(actor, &spec).await {
            Ok(membership) => membership,
            Err(error) => {
                let msg = crate::error::to_wire(&error, &uid);
                farewell(&link, &Message::Error(Box::new(msg))).await?;
                return Err(error);
            }
        };
        link.send(&Message::Aid(Box::new(actor.aid())))?;
        let services = actor.services();
        let task = conn.clone().read(reader);
        services.start_soon(async { Ok(task.await?) })?;
        let task = conn.clone().write();
        services.start_soon(async { Ok(task.await?) })?;
        services.start_soon(watch_parent(actor.clone(), conn))?;
        let cancelled = async { Ok(time::sleep_forever().await?) };
        finally(cancelled, Membership::LEAVE_LIMIT, async || {
            membership.leave().await;
        })
        .await
    })
    .await
}

/// Ends the actor with the connection to its parent.
async fn watch_parent(actor: Rc<Actor>, conn: Rc<Connection>) -> Result<()> {
    conn.read_ended().wait().await?;
    conn.lose(None);
    actor.cancel(parent_lost(conn.peer()));
    Ok(())
}

/// What a parent says first.
async fn greeting(reader: &mut LinkReader) -> Result<(Aid, SpawnSpec)> {
    let parent = match reader.next().await? {
        Received::Message(Message::Aid(aid)) => *aid,
        other => return Err(unexpected(other)),
    };
    match reader.next().await? {
        Received::Message(Message::SpawnSpec(spec)) => Ok((parent, *spec)),
        other => Err(unexpected(other)),
    }
}

fn unexpected(received: Received) -> Error {
    match received {
        Received::Message(message) => Error::msg(format!(
            "the parent sent {} in the handshake",
            message.name()
        )),
        Received::Ended => Error::msg("the parent is gone"),
        Received::Broken(error) => error.into(),
    }
}

/// Says a last word before the connection is given up.
async fn farewell(link: &Rc<Link>, message: &Message) -> Result<()> {
    link.send(message)?;
    let written = async { link.write_loop().await.map(|_| ()) };
    let written = async { Ok(or(link.flushed(), written).await?) };
    move_on_after(FAREWELL_LIMIT, written).await?;
    Ok(())
}
