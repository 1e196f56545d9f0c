use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{Outcome, move_on_after, nursery};

use super::Registrar;
use crate::actor::Actor;
use crate::error::{RegistryError, Result};
use crate::transport::Address;

/// How long the registrars may take to forget an actor that ends.
const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// How long a registrar may take to enter an actor.
const ENTRY_LIMIT: Duration = Duration::from_secs(3);

/// That an actor can be found: its entries with its registrars.
#[derive(Debug)]
pub(crate) struct Membership {
    actor: Rc<Actor>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: Address,
    /// The connection that the entry ends with, where it does.
    held: Option<Registrar>,
}

impl Membership {
    /// How long it takes to leave, at most: a call that is given up is cancelled, and the answer
    /// to that is waited for in its turn.
    pub(crate) const LEAVE_LIMIT: Duration = Duration::from_millis(1200);

    /// Enters an actor with all of its registrars, wherever it listens. If there are any, one of
    /// them has to take it.
    pub(crate) async fn enter(actor: &Rc<Actor>) -> Result<Self> {
        let (uid, listens) = (actor.uid(), actor.whereabouts().addresses());
        let mut membership = Self {
            actor: actor.clone(),
            entries: Vec::new(),
        };
        if let Some(own) = Registrar::own(actor) {
            for address in &listens {
                own.register(uid, address).await?;
            }
        }
        if listens.is_empty() {
            return Ok(membership);
        }
        let mut refused = None;
        for at in actor.whereabouts().other_registrars() {
            match membership.enter_at(&at, &listens).await {
                Ok(entry) => membership.entries.push(entry),
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    log::warn!(target: "tractor::actor", "{uid} is not registered at {at}: {error}");
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if membership.entries.is_empty() && !actor.is_registrar() => Err(error),
            _ => Ok(membership),
        }
    }

    async fn enter_at(&self, at: &Address, listens: &[Address]) -> Result<Entry> {
        let entered = async {
            let registrar = Registrar::connect(at).await?;
            for address in listens {
                registrar.register(self.actor.uid(), address).await?;
            }
            Ok(registrar)
        };
        match move_on_after(ENTRY_LIMIT, entered).await? {
            Outcome::Completed(registrar) => Ok(Entry {
                at: at.clone(),
                held: registrar.holds().then_some(registrar),
            }),
            Outcome::Cancelled(_) => {
                let address = at.clone();
                Err(RegistryError::Silent { address }.into())
            }
        }
    }

    /// Takes the entries back, as far as the registrars answer. To be shielded.
    pub(crate) async fn leave(self) {
        let actor = &self.actor;
        let left = nursery(async |n| {
            for entry in self.entries {
                n.start_soon(async move {
                    let at = entry.at.clone();
                    if let Err(error) = entry.take_back(actor).await {
                        let uid = actor.uid();
                        log::info!(
                            target: "tractor::actor",
                            "{uid} stays registered at {at}: {error}",
                        );
                    }
                    Ok(())
                });
            }
            Ok(())
        });
        match move_on_after(EXIT_LIMIT, left).await {
            Ok(Outcome::Completed(())) => {}
            _ => log::info!(
                target: "tractor::actor",
                "{} may stay registered: a registrar does not answer", actor.uid(),
            ),
        }
    }
}

impl Entry {
    async fn take_back(self, actor: &Actor) -> Result<()> {
        match self.held {
            Some(registrar) if registrar.is_connected() => registrar.unregister(actor.uid()).await,
            // The entry has ended with its connection.
            Some(_) => Ok(()),
            None => {
                Registrar::connect(&self.at)
                    .await?
                    .unregister(actor.uid())
                    .await
            }
        }
    }
}
