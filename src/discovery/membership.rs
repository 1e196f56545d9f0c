use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::sync::Event;
use tractor_runtime::{Outcome, move_on_after, nursery};

use super::Registrar;
use crate::actor::{Actor, Place};
use crate::error::{Error, RegistryError, Result};
use crate::transport::Address;

/// How long the registrars may take to forget an actor that ends.
const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// How long a registrar may take to be told where an actor listens.
const ENTRY_LIMIT: Duration = Duration::from_secs(3);

/// That an actor can be found: its entries with its registrars.
#[derive(Debug)]
pub(crate) struct Membership {
    actor: Rc<Actor>,
    entries: Rc<Entries>,
}

/// What the registrars of an actor know of it. They are told one by one, each at its own pace.
#[derive(Debug)]
pub(crate) struct Entries(Vec<Rc<Entry>>);

#[derive(Debug)]
struct Entry {
    at: Address,
    /// The connection that the entry ends with, where it does.
    held: RefCell<Option<Rc<Registrar>>>,
    /// What the registrar knows, or may know.
    told: RefCell<Vec<Told>>,
    /// Somebody tells the registrar at the moment. There is one at a time, or what is told first
    /// might come last.
    telling: RefCell<Option<Rc<Event>>>,
    /// Why the registrar could not be told the last time.
    failed: RefCell<Option<Error>>,
    /// Nothing more is to be told.
    left: Event,
}

#[derive(Debug)]
struct Told {
    place: Place,
    /// The registrar has said so.
    is_sure: bool,
}

impl Membership {
    /// How long it takes to leave, at most: a call that is given up is cancelled, and the answer
    /// to that is waited for in its turn.
    pub(crate) const LEAVE_LIMIT: Duration = Duration::from_millis(1200);

    /// Enters an actor with all of its registrars, wherever it listens. If there are any, one of
    /// them has to take it. From now on they are told when it listens elsewhere.
    pub(crate) async fn enter(actor: &Rc<Actor>) -> Result<Self> {
        let here = actor.whereabouts();
        let (uid, listens) = (actor.uid(), here.addresses());
        if let Some(own) = Registrar::own(actor) {
            for address in &listens {
                own.register(uid, address).await?;
            }
        }
        let others = here.other_registrars().into_iter();
        let entries = Rc::new(Entries(others.map(|at| Rc::new(Entry::new(at))).collect()));
        let (mut is_entered, mut refused) = (false, None);
        for entry in &entries.0 {
            match entry.tell(actor).await {
                Ok(()) => is_entered = true,
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    let at = &entry.at;
                    log::warn!(target: "tractor::actor", "{uid} is not registered at {at}: {error}");
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if !is_entered && !actor.is_registrar() => Err(error),
            _ => {
                here.is_entered(&entries);
                let actor = actor.clone();
                Ok(Self { actor, entries })
            }
        }
    }

    /// Takes the entries back, as far as the registrars answer. To be shielded.
    pub(crate) async fn leave(self) {
        let actor = &self.actor;
        let left = nursery(async |n| {
            for entry in &self.entries.0 {
                entry.left.set();
                n.start_soon(async move {
                    if let Err(error) = entry.take_back(actor).await {
                        let (uid, at) = (actor.uid(), &entry.at);
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

impl Entries {
    /// Has the registrars told where the actor listens now, soon.
    pub(crate) fn catch_up(&self, actor: &Rc<Actor>) {
        for entry in &self.0 {
            entry.catch_up(actor);
        }
    }

    /// Waits until the registrars were told.
    ///
    /// # Errors
    ///
    /// Cancellation, and why one could not be.
    pub(super) async fn settled(&self) -> Result<()> {
        let mut failed = None;
        for entry in &self.0 {
            entry.settled().await?;
            failed = failed.or_else(|| entry.failed.borrow().clone());
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Entry {
    fn new(at: Address) -> Self {
        Self {
            at,
            held: RefCell::default(),
            told: RefCell::default(),
            telling: RefCell::default(),
            failed: RefCell::default(),
            left: Event::new(),
        }
    }

    fn catch_up(self: &Rc<Self>, actor: &Rc<Actor>) {
        // Who tells it at the moment looks again.
        if self.left.is_set() || self.telling.borrow().is_some() {
            return;
        }
        let telling = Telling::new(self);
        let (entry, listening) = (self.clone(), actor.clone());
        // If the actor takes no more tasks it ends, and its entries with it.
        let _ = actor.services().start_soon(async move {
            let _telling = telling;
            entry.follow(&listening).await
        });
    }

    /// Tells the registrar, and again if it was not the last word meanwhile.
    async fn follow(&self, actor: &Actor) -> Result<()> {
        loop {
            let changes = actor.whereabouts().changes();
            let failed = self.tell(actor).await.err();
            if let Some(error) = &failed {
                if error.is_cancelled() {
                    return Err(error.clone());
                }
                let (uid, at) = (actor.uid(), &self.at);
                log::warn!(
                    target: "tractor::actor",
                    "{at} is not told where {uid} listens: {error}",
                );
            }
            *self.failed.borrow_mut() = failed;
            if actor.whereabouts().changes() == changes {
                return Ok(());
            }
        }
    }

    /// Tells the registrar what it does not know yet.
    async fn tell(&self, actor: &Actor) -> Result<()> {
        match move_on_after(ENTRY_LIMIT, self.tell_all(actor)).await? {
            Outcome::Completed(()) => Ok(()),
            Outcome::Cancelled(_) => {
                let address = self.at.clone();
                Err(RegistryError::Silent { address }.into())
            }
        }
    }

    async fn tell_all(&self, actor: &Actor) -> Result<()> {
        if !self.holds_on() {
            // What was entered over it has ended with it.
            *self.held.borrow_mut() = None;
            self.told.borrow_mut().clear();
        }
        let places = actor.whereabouts().places();
        let (news, stale) = self.difference(&places);
        if self.left.is_set() || news.is_empty() && stale.is_empty() {
            return Ok(());
        }
        // Nothing is on its way yet that would have to be waited for.
        let left = async { Ok(self.left.wait().await.map(|()| None)?) };
        let Some(registrar) = or(async { self.registrar().await.map(Some) }, left).await? else {
            return Ok(());
        };
        // New ones first: the actor is not to be nowhere between two places.
        for place in news {
            if self.left.is_set() {
                return Ok(());
            }
            self.add(actor, &registrar, place).await?;
        }
        if places.is_empty() {
            // Not address by address: another actor may be at one of them by now.
            registrar.unregister(actor.uid()).await?;
            self.told.borrow_mut().clear();
            return Ok(());
        }
        for place in stale {
            if self.left.is_set() {
                return Ok(());
            }
            let is_there = places.iter().any(|it| it.address == place.address);
            if !is_there {
                delete(actor, &registrar, &place.address).await?;
            }
            self.forget(&place);
        }
        Ok(())
    }

    async fn add(&self, actor: &Actor, registrar: &Registrar, place: Place) -> Result<()> {
        let told = |is_sure| {
            self.forget(&place);
            let place = place.clone();
            self.told.borrow_mut().push(Told { place, is_sure });
        };
        told(false);
        registrar.register(actor.uid(), &place.address).await?;
        told(true);
        Ok(())
    }

    fn forget(&self, place: &Place) {
        let mut told = self.told.borrow_mut();
        told.retain(|told| told.place.id != place.id);
    }

    /// The places that the registrar is not known to know, and those that it knows for nothing.
    fn difference(&self, places: &[Place]) -> (Vec<Place>, Vec<Place>) {
        let told = self.told.borrow();
        let is_told = |place: &&Place| told.iter().any(|it| it.is_sure && it.place.id == place.id);
        let is_stale = |place: &&Place| !places.iter().any(|it| it.id == place.id);
        let news = places.iter().filter(|place| !is_told(place));
        let stale = told.iter().map(|it| &it.place).filter(is_stale);
        (news.cloned().collect(), stale.cloned().collect())
    }

    /// Whether the connection is there that the entry ends with, if it does with one.
    fn holds_on(&self) -> bool {
        let held = self.held.borrow();
        held.as_ref().is_none_or(|held| held.is_connected())
    }

    async fn registrar(&self) -> Result<Rc<Registrar>> {
        if let Some(held) = self.held.borrow().clone() {
            return Ok(held);
        }
        let registrar = Rc::new(Registrar::connect(&self.at).await?);
        if registrar.holds() {
            *self.held.borrow_mut() = Some(registrar.clone());
        }
        Ok(registrar)
    }

    async fn settled(&self) -> Result<()> {
        loop {
            let Some(told) = self.telling.borrow().clone() else {
                return Ok(());
            };
            told.wait().await?;
        }
    }

    async fn take_back(&self, actor: &Actor) -> Result<()> {
        // An entry that is on its way is not to come after this.
        self.settled().await?;
        let held = self.held.take();
        match held {
            Some(registrar) if registrar.is_connected() => registrar.unregister(actor.uid()).await,
            // The entry has ended with its connection.
            Some(_) => Ok(()),
            None if self.told.borrow().is_empty() => Ok(()),
            None => {
                Registrar::connect(&self.at)
                    .await?
                    .unregister(actor.uid())
                    .await
            }
        }
    }
}

/// Has an address deleted, unless it is another actor's by now.
async fn delete(actor: &Actor, registrar: &Registrar, address: &Address) -> Result<()> {
    let known = registrar.find(actor.uid().id()).await?;
    if known.contains(address) {
        registrar.delete_addr(address).await?;
    }
    Ok(())
}

/// That somebody tells a registrar.
struct Telling(Rc<Entry>);

impl Telling {
    fn new(entry: &Rc<Entry>) -> Self {
        *entry.telling.borrow_mut() = Some(Rc::default());
        Self(entry.clone())
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(told) = self.0.telling.take() {
            told.set();
        }
    }
}
