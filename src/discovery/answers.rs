use std::collections::HashMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::actor::{Actor, Connection, Office, Registry};
use crate::endpoint::Handler;
use crate::error::Result;
use crate::wire::{Uid, WireAddr};

/// Makes an actor a registrar, which is known to itself.
pub(super) fn become_registrar(actor: &Actor) {
    let registry = Rc::new(Registry::default());
    let answers = answers(&registry);
    actor.become_registrar(Office { registry, answers });
}

fn answers(registry: &Rc<Registry>) -> HashMap<&'static str, Handler> {
    HashMap::from([
        (
            "register_actor",
            told(registry, async |registry, conn, args: Register| {
                let holder = conn.holds_registrations().then(|| conn.id());
                registry.register(&args.uid, &args.addr, holder)?;
                forget_with(&registry, &conn)
            }),
        ),
        (
            "unregister_actor",
            told(registry, async |registry, conn, args: Unregister| {
                if !registry.unregister(&args.uid) {
                    let (peer, uid) = (conn.peer(), args.uid);
                    log::info!(target: "tractor::actor", "{peer} unregisters {uid}, who is not known");
                }
                Ok(())
            }),
        ),
        (
            "find_actor",
            told(registry, async |registry, _, args: Named| {
                Ok(registry.find(&args.name))
            }),
        ),
        (
            "wait_for_actor",
            told(registry, async |registry, _, args: Named| {
                Ok(registry.wait_for(&args.name).await?)
            }),
        ),
        (
            "get_registry",
            told(registry, async |registry, _, (): ()| {
                Ok(Listed(registry.entries()))
            }),
        ),
        (
            "delete_addr",
            told(registry, async |registry, _, args: Addressed| {
                Ok(registry.delete(&args.addr))
            }),
        ),
    ])
}

fn told<A, R>(
    registry: &Rc<Registry>,
    function: impl AsyncFn(Rc<Registry>, Rc<Connection>, A) -> Result<R> + Copy + 'static,
) -> Handler
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    let registry = registry.clone();
    Handler::told(move |conn, args| {
        let registry = registry.clone();
        async move { function(registry, conn, args).await }
    })
}

/// Sees to it that what a connection holds ends with it.
fn forget_with(registry: &Rc<Registry>, conn: &Rc<Connection>) -> Result<()> {
    let Some(actor) = conn.actor() else {
        return Ok(());
    };
    if !conn.holds_registrations() || !registry.is_new_holder(conn.id()) {
        return Ok(());
    }
    let (registry, conn) = (registry.clone(), conn.clone());
    actor.services().start_soon(async move {
        conn.read_ended().wait().await?;
        registry.forget(conn.id());
        Ok(())
    })?;
    Ok(())
}

/// What is told to a registrar, and asked.
#[derive(Serialize, Deserialize)]
pub(super) struct Register {
    pub(super) uid: Uid,
    pub(super) addr: WireAddr,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Unregister {
    pub(super) uid: Uid,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Addressed {
    pub(super) addr: WireAddr,
}

/// Everyone: a map from `name.id`.
struct Listed(Vec<(Uid, Vec<WireAddr>)>);

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (uid, addresses) in &self.0 {
            map.serialize_entry(&format!("{}.{}", uid.name(), uid.id()), addresses)?;
        }
        map.end()
    }
}
