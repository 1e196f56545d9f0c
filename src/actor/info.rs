use super::Actor;
use crate::error::{NoActor, Result};
use crate::transport::Address;
use crate::wire::Uid;

/// What an actor is, at the moment it was asked. Made by [`current_actor`].
#[derive(Clone, Debug)]
pub struct ActorInfo {
    uid: Uid,
    is_root: bool,
    is_registrar: bool,
    addresses: Vec<Address>,
    registrars: Vec<Address>,
}

/// The actor that the running task belongs to.
///
/// # Errors
///
/// [`NoActor`] outside of [`tractor::run`](crate::run).
pub fn current_actor() -> Result<ActorInfo> {
    let actor = Actor::current().ok_or(NoActor)?;
    let here = actor.whereabouts();
    Ok(ActorInfo {
        uid: actor.uid().clone(),
        is_root: here.is_root(),
        is_registrar: actor.is_registrar(),
        addresses: here.addresses(),
        registrars: here.registrars(),
    })
}

impl ActorInfo {
    /// Who it is.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Whether no other actor started it.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Whether others register with it.
    pub fn is_registrar(&self) -> bool {
        self.is_registrar
    }

    /// Everywhere it listens.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where its registrars listen, which are also those of the actors that it starts. A registrar
    /// is its own.
    pub fn registrars(&self) -> &[Address] {
        &self.registrars
    }
}
