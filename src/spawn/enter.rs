use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::{Error, Result, move_on_after, time};

use super::boot::{Inherited, Watchdog};
use crate::actor::{Actor, Connection, Enabled, host, parent_lost};
use crate::endpoint::Table;
use crate::transport::{Link, LinkReader, Received};
use crate::wire::{Aid, Features, Limits, Message, SpawnSpec, Uid};

/// The grace of an actor whose parent is gone before it said how long it is.
const BOOT_GRACE: Duration = Duration::from_millis(500);

/// How long a child that cannot run tries to say so.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);

/// Exit status of a child that was cancelled, which is how an actor ends.
const ENDED: i32 = 0;
const FAILED: i32 = 1;
const PANICKED: i32 = 101;

/// Becomes the actor that this process was started to be, if it was: then it does not return,
/// but ends the process with the actor. In any other process it does nothing.
///
/// [`tractor::run`](crate::run) calls it. Call it earlier for a child to skip what `main` does
/// before that.
pub fn enter_if_actor() {
    match Inherited::take() {
        Ok(None) => {}
        Ok(Some(inherited)) => exit(serve(inherited)),
        Err(error) => {
            log::error!(target: "tractor::spawn", "this process cannot become an actor: {error}");
            exit(FAILED);
        }
    }
}

fn serve(inherited: Inherited) -> i32 {
    let served = catch_unwind(AssertUnwindSafe(|| {
        let watchdog = Watchdog::default();
        watchdog.start(&inherited.channel, BOOT_GRACE)?;
        tractor_runtime::run(async || be_actor(inherited, watchdog).await)
    }));
    match served {
        Ok(Ok(())) => ENDED,
        Ok(Err(error)) if error.is_cancelled() => ENDED,
        Ok(Err(error)) => {
            log::error!(target: "tractor::spawn", "the actor failed: {error}");
            FAILED
        }
        // The hook has reported it.
        Err(_) => PANICKED,
    }
}

async fn be_actor(inherited: Inherited, watchdog: Watchdog) -> Result<()> {
    let link = Link::new(inherited.channel, Limits::default())?;
    let mut reader = link.reader();
    let (parent, spec) = greeting(&mut reader).await?;
    if let Some(ms) = spec.grace_ms {
        watchdog.set_grace(Duration::from_millis(ms));
    }
    if let Some(level) = spec
        .loglevel
        .as_deref()
        .and_then(|level| level.parse().ok())
    {
        log::set_max_level(level);
    }
    let uid = spec.uid.unwrap_or_else(|| Uid::fresh("actor"));
    let table = match Table::new() {
        Ok(table) => table,
        Err(error) => {
            let error = Error::from(error);
            let msg = crate::error::to_wire(&error, &uid);
            farewell(&link, &Message::Error(Box::new(msg))).await?;
            return Err(error);
        }
    };
    let actor = Actor::new(
        uid.clone(),
        table,
        Enabled::from_wire(&spec.enable_modules),
        watchdog,
    );
    host(actor, async |actor| {
        link.send(&Message::Aid(Box::new(own_aid(&uid))))?;
        let conn = Connection::new(actor, &parent, link);
        let services = actor.services();
        let task = conn.clone().read(reader);
        services.start_soon(async { Ok(task.await?) })?;
        let task = conn.clone().write();
        services.start_soon(async { Ok(task.await?) })?;
        services.start_soon(watch_parent(actor.clone(), conn))?;
        time::sleep_forever().await?;
        Ok(())
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

/// What this process says of itself in the handshake.
pub(crate) fn own_aid(uid: &Uid) -> Aid {
    Aid {
        uid: uid.clone(),
        pid: Some(std::process::id().into()),
        is_registrar: Some(false),
        is_probe: false,
        features: Some(Features::ours()),
    }
}
