use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use super::{Connection, Listening};
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
    addresses: RefCell<Vec<Address>>,
    /// Where it has listened since it was there.
    listening: RefCell<Vec<Listening>>,
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
        let own = self.addresses.borrow();
        let registrars = self.registrars.borrow();
        let others = registrars.iter().filter(|at| !own.contains(at));
        others.cloned().collect()
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.addresses.borrow().clone()
    }

    pub(super) fn listens_at(&self, address: Address) {
        self.addresses.borrow_mut().push(address);
    }

    pub(super) fn listens_no_more_at(&self, address: &Address) {
        let mut addresses = self.addresses.borrow_mut();
        if let Some(at) = addresses.iter().position(|other| other == address) {
            addresses.remove(at);
        }
    }

    /// Goes on listening until [`stop_listening`](Self::stop_listening), or the actor's end.
    pub(crate) fn keep(&self, listening: Listening) {
        self.listening.borrow_mut().push(listening);
    }

    pub(crate) fn stop_listening(&self) -> Vec<Listening> {
        self.listening.take()
    }
}
