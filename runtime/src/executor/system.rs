//! Tasks of the runtime's own, beside the main one and under no scope. They end with the runtime.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;

use super::slots::ROOT_LIST;
use super::waker::Key;
use super::{Core, Polled, poll_task};
use crate::scope::tree::NodeId;

#[derive(Default)]
pub(crate) struct Systems {
    tasks: RefCell<HashMap<Key, System>>,
    closed: Cell<bool>,
}

struct System {
    node: NodeId,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Core {
    /// Begins a task of the runtime's own. Dropped at once when the runtime is over.
    pub(crate) fn spawn_system(self: &Rc<Self>, future: impl Future<Output = ()> + 'static) {
        let future = Box::pin(future);
        if self.systems.closed.get() {
            return;
        }
        let key = self.with_slots(|slots| slots.insert(ROOT_LIST, crate::nursery::BODY));
        let node = self.tree_mut(|tree| tree.insert(None, Some(key), Location::caller()));
        self.name_task(node, "system".into());
        let system = System { node, future };
        self.systems.tasks.borrow_mut().insert(key, system);
        self.wake(key);
    }

    /// Polls the one that was woken.
    pub(crate) fn poll_system(self: &Rc<Self>, key: Key) {
        let system = self.systems.tasks.borrow_mut().remove(&key);
        let Some(mut system) = system else { return };
        let polled = poll_task(self, key, system.node, |cx| system.future.as_mut().poll(cx));
        if let Polled::Panicked(_) = polled {
            log::error!(target: "tractor::thread", "a task of the runtime's own panicked");
        }
        match polled {
            Polled::Pending if !self.systems.closed.get() => {
                self.systems.tasks.borrow_mut().insert(key, system);
            }
            _ => self.end_system(key, system),
        }
    }

    /// Drops all of them. The runtime must have been entered.
    pub(crate) fn drop_systems(self: &Rc<Self>) {
        self.systems.closed.set(true);
        loop {
            let key = self.systems.tasks.borrow().keys().next().copied();
            let Some(key) = key else { return };
            let system = self.systems.tasks.borrow_mut().remove(&key);
            if let Some(system) = system {
                self.end_system(key, system);
            }
        }
    }

    fn end_system(&self, key: Key, System { node, future }: System) {
        if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            log::error!(target: "tractor::thread", "the drop of a task of the runtime's own panicked");
        }
        self.forget_name(node);
        self.remove_node(node);
        self.with_slots(|slots| slots.remove(key));
    }
}
