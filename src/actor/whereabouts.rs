use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use super::{Actor, Connection, Listening};
use crate::discovery::Entries;
use crate::transport::Address;
use crate::wire::Uid;

/// Where an actor stands in its tree, and where it can be reached.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    /// A root has none.
    parent: OnceCell<Weak<Connection>>,
    /// Who is at the top of the tree. It is known when the actor has a parent.
    root: OnceCell<(Uid, Vec<Address>)>,
    /// The registrars that know this actor and those that it starts; if it is one, with its own
    /// addresses.
    registrars: RefCell<Vec<Address>>,
    /// Everywhere it listens.
    places: RefCell<Vec<Place>>,
    /// How often that has changed.
    changes: Cell<u64>,
    /// What its registrars know of it.
    entries: RefCell<Weak<Entries>>,
    /// Where it has listened since it was there.
    listening: RefCell<Vec<Listening>>,
}

/// Where an actor listens once. What listens at the same address later is another one.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) address: Address,
}

impl Whereabouts {
    pub(crate) fn has_parent(&self, parent: &Rc<Connection>) {
        let _ = self.parent.set(Rc::downgrade(parent));
    }

    pub(crate) fn parent(&self) -> Option<Rc<Connection>> {
        self.parent.get()?.upgrade()
    }

    pub(crate) fn is_root(&self) -> bool {
        self.parent.get().is_none()
    }

    pub(crate) fn has_root(&self, uid: Uid, addresses: Vec<Address>) {
        let _ = self.root.set((uid, addresses));
    }

    pub(crate) fn root(&self) -> Option<&(Uid, Vec<Address>)> {
        self.root.get()
    }

    pub(crate) fn set_registrars(&self, registrars: Vec<Address>) {
        *self.registrars.borrow_mut() = registrars;
    }

    pub(crate) fn registrars(&self) -> Vec<Address> {
        self.registrars.borrow().clone()
    }

    /// The registrars that are not this actor itself.
    pub(crate) fn other_registrars(&self) -> Vec<Address> {
        let own = self.places.borrow();
        let registrars = self.registrars.borrow();
        let is_other = |at: &&Address| !own.iter().any(|place| place.address == **at);
        registrars.iter().filter(is_other).cloned().collect()
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        let places = self.places.borrow();
        places.iter().map(|place| place.address.clone()).collect()
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.places.borrow().clone()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    fn change(&self) -> u64 {
        self.changes.set(self.changes.get() + 1);
        self.changes.get()
    }

    /// From now on the registrars are told when it listens elsewhere.
    pub(crate) fn is_entered(&self, entries: &Rc<Entries>) {
        *self.entries.borrow_mut() = Rc::downgrade(entries);
    }

    pub(crate) fn entries(&self) -> Option<Rc<Entries>> {
        self.entries.borrow().upgrade()
    }

    /// Goes on listening until [`stop_listening`](Self::stop_listening), or the actor's end.
    pub(crate) fn keep(&self, listening: Listening) {
        self.listening.borrow_mut().push(listening);
    }

    pub(crate) fn stop_listening(&self) -> Vec<Listening> {
        self.listening.take()
    }
}

impl Actor {
    /// Whoever looks for it finds it there from now on, as soon as its registrars know.
    pub(super) fn listens_at(self: &Rc<Self>, address: Address) -> Place {
        let here = self.whereabouts();
        let id = here.change();
        let place = Place { id, address };
        here.places.borrow_mut().push(place.clone());
        if let Some((registry, address)) = self.registry().zip(place.address.to_wire())
            && let Err(full) = registry.register(self.uid(), &address, None)
        {
            log::warn!(target: "tractor::actor", "{} is not registered: {full}", self.uid());
        }
        self.tell_registrars();
        place
    }

    pub(super) fn listens_no_more_at(self: &Rc<Self>, place: &Place) {
        let here = self.whereabouts();
        here.change();
        here.places
            .borrow_mut()
            .retain(|other| other.id != place.id);
        if let Some((registry, address)) = self.registry().zip(place.address.to_wire()) {
            registry.withdraw(self.uid(), &address);
        }
        self.tell_registrars();
    }

    fn tell_registrars(self: &Rc<Self>) {
        if let Some(entries) = self.whereabouts().entries() {
            entries.catch_up(self);
        }
    }
}
