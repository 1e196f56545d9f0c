use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers::{Addressed, Named, Register, Unregister};
use crate::actor::{Actor, Registry};
use crate::error::{ConnectError, NoActor, Result};
use crate::portal::{Portal, connect, connect_alone};
use crate::transport::Address;
use crate::wire::{Uid, WireAddr};

/// How many addresses of one name are tried that nobody serves.
const TRIES: usize = 64;

/// An actor that knows where others are: this one itself, or one that it is connected to.
///
/// The connection ends when this is dropped.
pub struct Registrar {
    uid: Uid,
    way: Way,
}

enum Way {
    Own(Rc<Registry>),
    Peer(Portal),
}

impl Registrar {
    /// Connects to the registrar that listens at an address, within the time for the
    /// [handshake](crate::Limits::handshake), unless it is this actor
    /// itself. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], also if who listens there is no registrar;
    /// [`NoActor`](crate::NoActor) outside of [`tractor::run`](crate::run); and cancellation.
    pub async fn connect(address: &Address) -> Result<Self> {
        let actor = Actor::current().ok_or(NoActor)?;
        if actor.whereabouts().addresses().contains(address)
            && let Some(own) = Self::own(&actor)
        {
            return Ok(own);
        }
        let portal = connect_alone(address).await?;
        if !portal.leads_to_registrar() {
            portal.disconnect();
            let reason = format!("{} is no registrar", portal.uid());
            return Err(ConnectError {
                address: address.clone(),
                source: io::Error::new(io::ErrorKind::InvalidData, reason),
            }
            .into());
        }
        Ok(Self {
            uid: portal.uid().clone(),
            way: Way::Peer(portal),
        })
    }

    /// This actor, if it is one.
    pub(super) fn own(actor: &Actor) -> Option<Self> {
        Some(Self {
            uid: actor.uid().clone(),
            way: Way::Own(actor.registry()?.clone()),
        })
    }

    /// The registrar.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The first actor of this name that can be reached, or the one of this id; `None` if there
    /// is none. A checkpoint.
    ///
    /// An address that nobody serves, or another actor than was looked for, is deleted at the
    /// registrar. The connection is as that of [`connect`](crate::connect).
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if an address is served by no actor at all, and those of
    /// [`entries`](Self::entries).
    pub async fn find_actor(&self, name: &str) -> Result<Option<Portal>> {
        for _ in 0..TRIES {
            let Some(address) = preferred(&self.find(name).await?) else {
                return Ok(None);
            };
            if let Some(portal) = self.reach(name, &address).await? {
                return Ok(Some(portal));
            }
        }
        Ok(None)
    }

    /// Waits until there is an actor of this name that can be reached. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`find_actor`](Self::find_actor).
    pub async fn wait_for_actor(&self, name: &str) -> Result<Portal> {
        loop {
            let Some(address) = preferred(&self.wait_for(name).await?) else {
                let text = format!("{name} is at no address that can be connected to");
                return Err(crate::Error::msg(text));
            };
            if let Some(portal) = self.reach(name, &address).await? {
                return Ok(portal);
            }
        }
    }

    /// Where the first actor of this name is, or the one of this id: nowhere, if it is not known.
    /// A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`entries`](Self::entries).
    pub async fn find(&self, name: &str) -> Result<Vec<Address>> {
        let found = match &self.way {
            Way::Own(registry) => registry.find(name),
            Way::Peer(portal) => ask(portal, "find_actor", named(name)).await?,
        };
        Ok(usable(&found.unwrap_or_default()))
    }

    /// Waits for an actor of this name, and says where those are that have it. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`entries`](Self::entries).
    pub async fn wait_for(&self, name: &str) -> Result<Vec<Address>> {
        let found: Vec<_> = match &self.way {
            Way::Own(registry) => registry.wait_for(name).await?,
            Way::Peer(portal) => ask(portal, "wait_for_actor", named(name)).await?,
        };
        Ok(usable(&found))
    }

    /// Everyone who is known, and where: in the order in which they came, if the registrar is
    /// this actor itself, and else in that of their names. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`PeerLost`](crate::PeerLost); what the registrar answers instead, as a
    /// [`RemoteActorError`](crate::RemoteActorError); and cancellation.
    pub async fn entries(&self) -> Result<Vec<(Uid, Vec<Address>)>> {
        let portal = match &self.way {
            Way::Own(registry) => {
                let entries = registry.entries().into_iter();
                return Ok(entries.map(|(uid, at)| (uid, usable(&at))).collect());
            }
            Way::Peer(portal) => portal,
        };
        let entries: BTreeMap<String, Vec<WireAddr>> = ask(portal, "get_registry", ()).await?;
        let entries = entries.into_iter().filter_map(|(uid, at)| {
            let (name, id) = uid.rsplit_once('.')?;
            Some((Uid::new(name, id), usable(&at)))
        });
        Ok(entries.collect())
    }

    /// Says where an actor is. If the registrar is one of this library, the entry ends with the
    /// connection; else it lasts until it is taken back. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`entries`](Self::entries).
    pub async fn register(&self, uid: &Uid, address: &Address) -> Result<()> {
        let Some(addr) = address.to_wire() else {
            return Err(crate::Error::msg(format!("{address} is no text")));
        };
        match &self.way {
            Way::Own(registry) => Ok(registry.register(uid, &addr, None)?),
            Way::Peer(portal) => {
                let uid = uid.clone();
                ask(portal, "register_actor", Register { uid, addr }).await
            }
        }
    }

    /// Forgets an actor. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`entries`](Self::entries).
    pub async fn unregister(&self, uid: &Uid) -> Result<()> {
        match &self.way {
            Way::Own(registry) => {
                registry.unregister(uid);
                Ok(())
            }
            Way::Peer(portal) => {
                let uid = uid.clone();
                ask(portal, "unregister_actor", Unregister { uid }).await
            }
        }
    }

    /// Forgets an address, and says whose it was. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`entries`](Self::entries).
    pub async fn delete_addr(&self, address: &Address) -> Result<Option<Uid>> {
        let Some(addr) = address.to_wire() else {
            return Ok(None);
        };
        match &self.way {
            Way::Own(registry) => Ok(registry.delete(&addr)),
            Way::Peer(portal) => ask(portal, "delete_addr", Addressed { addr }).await,
        }
    }

    /// Whether what is registered here has to be held.
    pub(super) fn holds(&self) -> bool {
        match &self.way {
            Way::Own(_) => false,
            Way::Peer(portal) => portal.holds_registrations(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match &self.way {
            Way::Own(_) => true,
            Way::Peer(portal) => portal.is_connected(),
        }
    }

    /// Connects to the actor at an address, unless it is not there any more.
    async fn reach(&self, name: &str, address: &Address) -> Result<Option<Portal>> {
        match connect(address).await {
            Ok(portal) if is_it(portal.uid(), name) => return Ok(Some(portal)),
            // The address has been taken over.
            Ok(portal) => portal.disconnect(),
            Err(error) if error.downcast_ref().is_some_and(is_deserted) => {}
            Err(error) => return Err(error),
        }
        log::info!(
            target: "tractor::actor",
            "{name} is not at {address} any more: {} is told", self.uid,
        );
        self.delete_addr(address).await?;
        Ok(None)
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        if let Way::Peer(portal) = &self.way {
            portal.disconnect();
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registrar({})", self.uid)
    }
}

async fn ask<R: DeserializeOwned>(portal: &Portal, func: &str, args: impl Serialize) -> Result<R> {
    portal.run_own(func, args).await
}

fn named(name: &str) -> Named {
    Named { name: name.into() }
}

fn is_it(uid: &Uid, name: &str) -> bool {
    uid.name() == name || uid.id() == name
}

/// Nobody listens there.
fn is_deserted(error: &ConnectError) -> bool {
    matches!(
        error.source.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Those that this host can connect to.
pub(super) fn usable(addresses: &[WireAddr]) -> Vec<Address> {
    addresses.iter().filter_map(Address::from_wire).collect()
}

/// The nearest: a Unix socket before this host's ports, and these before others; of two that are
/// equally near, the one that came later.
pub(super) fn preferred(addresses: &[Address]) -> Option<Address> {
    let distance = |address: &&Address| match address {
        Address::Unix(_) => 0,
        address if address.is_local() => 1,
        _ => 2,
    };
    addresses.iter().rev().min_by_key(distance).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_address_is_preferred_and_the_latest_of_equals() {
        let addresses = [
            "/ip4/127.0.0.1/tcp/1",
            "/unix/run/a.sock",
            "/ip4/192.0.2.1/tcp/2",
            "/unix/run/b.sock",
            "/ip4/127.0.0.1/tcp/3",
            "/ip4/192.0.2.1/tcp/4",
        ]
        .map(|text| text.parse::<Address>().unwrap());
        let mut left = addresses.to_vec();
        for expected in [3, 1, 4, 0, 5, 2] {
            let found = preferred(&left).unwrap();
            assert_eq!(found, addresses[expected]);
            left.retain(|other| *other != found);
        }
        assert_eq!(preferred(&left), None);
    }
}
