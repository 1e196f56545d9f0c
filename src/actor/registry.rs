use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use tractor_runtime::Cancelled;
use tractor_runtime::sync::Event;

use super::ConnectionId;
use crate::wire::{Uid, WireAddr};

/// Which actors can be reached, and where, in the order in which they came. A registrar has one.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<Vec<Entry>>,
    /// The connections whose end is waited for.
    holders: RefCell<HashSet<ConnectionId>>,
    /// Set at the next registration. Made by whoever waits.
    registered: RefCell<Option<Rc<Event>>>,
}

#[derive(Debug)]
struct Entry {
    uid: Uid,
    addresses: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    address: WireAddr,
    /// The address is forgotten when this connection has ended.
    holder: Option<ConnectionId>,
}

/// The registry takes no more.
#[derive(Debug)]
pub(crate) struct RegistryFull;

impl fmt::Display for RegistryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registry takes no more")
    }
}

impl std::error::Error for RegistryFull {}

impl Registry {
    /// Actors that are kept, at most, and addresses of each.
    const ACTORS: usize = 16_384;
    const ADDRESSES: usize = 64;

    /// Says where an actor can be reached. The address is nobody else's from now on.
    pub(crate) fn register(
        &self,
        uid: &Uid,
        address: &WireAddr,
        holder: Option<ConnectionId>,
    ) -> Result<(), RegistryFull> {
        let known = Known {
            address: address.clone(),
            holder,
        };
        {
            let mut entries = self.entries.borrow_mut();
            for entry in entries.iter_mut().filter(|entry| entry.uid != *uid) {
                entry.addresses.retain(|known| known.address != *address);
            }
            entries.retain(|entry| !entry.addresses.is_empty());
            let count = entries.len();
            match entries.iter_mut().find(|entry| entry.uid == *uid) {
                None if count >= Self::ACTORS => return Err(RegistryFull),
                None => entries.push(Entry {
                    uid: uid.clone(),
                    addresses: vec![known],
                }),
                Some(Entry { addresses, .. }) => {
                    match addresses.iter().position(|it| it.address == *address) {
                        Some(at) => addresses[at] = known,
                        None if addresses.len() >= Self::ADDRESSES => return Err(RegistryFull),
                        None => addresses.push(known),
                    }
                }
            }
        }
        if let Some(event) = self.registered.take() {
            event.set();
        }
        Ok(())
    }

    /// Forgets an actor. False if it was not known.
    pub(crate) fn unregister(&self, uid: &Uid) -> bool {
        let mut entries = self.entries.borrow_mut();
        let before = entries.len();
        entries.retain(|entry| entry.uid != *uid);
        entries.len() < before
    }

    /// Forgets that an actor is at an address. Another one may be there by now.
    pub(crate) fn withdraw(&self, uid: &Uid, address: &WireAddr) {
        let mut entries = self.entries.borrow_mut();
        for entry in entries.iter_mut().filter(|entry| entry.uid == *uid) {
            entry.addresses.retain(|it| it.address != *address);
        }
        entries.retain(|entry| !entry.addresses.is_empty());
    }

    /// Forgets an address, and says whose it was.
    pub(crate) fn delete(&self, address: &WireAddr) -> Option<Uid> {
        let mut entries = self.entries.borrow_mut();
        let at = entries
            .iter()
            .position(|entry| entry.addresses.iter().any(|it| it.address == *address))?;
        let uid = entries[at].uid.clone();
        entries[at].addresses.retain(|it| it.address != *address);
        if entries[at].addresses.is_empty() {
            entries.remove(at);
        }
        Some(uid)
    }

    /// Whether this connection is to be waited for from now on, and was not before.
    pub(crate) fn is_new_holder(&self, holder: ConnectionId) -> bool {
        self.holders.borrow_mut().insert(holder)
    }

    /// Forgets what was held by a connection.
    pub(crate) fn forget(&self, holder: ConnectionId) {
        self.holders.borrow_mut().remove(&holder);
        let mut entries = self.entries.borrow_mut();
        for entry in entries.iter_mut() {
            entry.addresses.retain(|known| known.holder != Some(holder));
        }
        entries.retain(|entry| !entry.addresses.is_empty());
    }

    /// Where the first actor of this name is, or the actor of this id.
    pub(crate) fn find(&self, name: &str) -> Option<Vec<WireAddr>> {
        let entries = self.entries.borrow();
        let is_it = |entry: &&Entry| entry.uid.name() == name || entry.uid.id() == name;
        entries.iter().find(is_it).map(Entry::addresses)
    }

    /// Waits for an actor of this name, and says where all of them are.
    pub(crate) async fn wait_for(&self, name: &str) -> Result<Vec<WireAddr>, Cancelled> {
        loop {
            let found = self.all_named(name);
            if !found.is_empty() {
                return Ok(found);
            }
            let event = self.registered.borrow_mut().get_or_insert_default().clone();
            event.wait().await?;
        }
    }

    fn all_named(&self, name: &str) -> Vec<WireAddr> {
        let entries = self.entries.borrow();
        let named = entries.iter().filter(|entry| entry.uid.name() == name);
        named.flat_map(Entry::addresses).collect()
    }

    /// All actors, and where they are.
    pub(crate) fn entries(&self) -> Vec<(Uid, Vec<WireAddr>)> {
        let entries = self.entries.borrow();
        let entries = entries
            .iter()
            .map(|entry| (entry.uid.clone(), entry.addresses()));
        entries.collect()
    }
}

impl Entry {
    fn addresses(&self) -> Vec<WireAddr> {
        self.addresses
            .iter()
            .map(|known| known.address.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tractor_runtime::{Result, move_on_after, nursery, testing};

    use super::*;

    fn uid(name: &str, id: &str) -> Uid {
        Uid::new(name, id)
    }

    fn at(port: u16) -> WireAddr {
        WireAddr::Tcp("127.0.0.1".into(), port)
    }

    const HOLDER: ConnectionId = ConnectionId(1);
    const OTHER: ConnectionId = ConnectionId(2);

    #[test]
    fn addresses_are_kept_in_the_order_in_which_they_came() {
        let registry = Registry::default();
        let [a, b] = [uid("a", "1"), uid("b", "2")];
        for (uid, port) in [(&a, 1), (&b, 2), (&a, 3), (&a, 1)] {
            registry.register(uid, &at(port), None).unwrap();
        }
        assert_eq!(
            registry.entries(),
            [(a.clone(), vec![at(1), at(3)]), (b.clone(), vec![at(2)])]
        );
        assert!(registry.unregister(&a));
        assert!(!registry.unregister(&a));
        assert_eq!(registry.entries(), [(b, vec![at(2)])]);
    }

    #[test]
    fn address_is_one_actors_at_a_time() {
        let registry = Registry::default();
        let [a, b] = [uid("a", "1"), uid("b", "2")];
        registry.register(&a, &at(1), None).unwrap();
        registry.register(&a, &at(2), None).unwrap();
        registry.register(&b, &at(1), None).unwrap();
        assert_eq!(
            registry.entries(),
            [(a, vec![at(2)]), (b.clone(), vec![at(1)])]
        );
        registry.register(&b, &at(2), None).unwrap();
        assert_eq!(registry.entries(), [(b, vec![at(1), at(2)])]);
    }

    #[test]
    fn deleted_address_takes_its_actor_along_if_it_was_the_last() {
        let registry = Registry::default();
        let a = uid("a", "1");
        registry.register(&a, &at(1), None).unwrap();
        registry.register(&a, &at(2), None).unwrap();
        assert_eq!(registry.delete(&at(1)), Some(a.clone()));
        assert_eq!(registry.delete(&at(1)), None);
        assert_eq!(registry.find("a"), Some(vec![at(2)]));
        assert_eq!(registry.delete(&at(2)), Some(a));
        assert_eq!(registry.entries(), []);
    }

    #[test]
    fn address_is_withdrawn_by_the_actor_that_is_there_only() {
        let registry = Registry::default();
        let [a, b] = [uid("a", "1"), uid("b", "2")];
        registry.register(&a, &at(1), None).unwrap();
        registry.register(&a, &at(2), None).unwrap();
        registry.register(&b, &at(2), None).unwrap();
        registry.withdraw(&a, &at(2));
        assert_eq!(
            registry.entries(),
            [(a.clone(), vec![at(1)]), (b.clone(), vec![at(2)])]
        );
        registry.withdraw(&a, &at(1));
        assert_eq!(registry.entries(), [(b, vec![at(2)])]);
    }

    #[test]
    fn first_of_a_name_is_found_and_anyone_by_its_id() {
        let registry = Registry::default();
        registry.register(&uid("twin", "1"), &at(1), None).unwrap();
        registry.register(&uid("twin", "2"), &at(2), None).unwrap();
        assert_eq!(registry.find("twin"), Some(vec![at(1)]));
        assert_eq!(registry.find("2"), Some(vec![at(2)]));
        assert_eq!(registry.find("nobody"), None);
    }

    #[test]
    fn end_of_a_connection_forgets_what_it_held_and_nothing_else() {
        let registry = Registry::default();
        let [a, b] = [uid("a", "1"), uid("b", "2")];
        assert!(registry.is_new_holder(HOLDER));
        assert!(!registry.is_new_holder(HOLDER));
        registry.register(&a, &at(1), Some(HOLDER)).unwrap();
        registry.register(&a, &at(2), Some(OTHER)).unwrap();
        registry.register(&a, &at(3), None).unwrap();
        registry.register(&b, &at(4), Some(HOLDER)).unwrap();
        // It is another one's from now on.
        registry.register(&b, &at(5), Some(HOLDER)).unwrap();
        registry.register(&b, &at(5), Some(OTHER)).unwrap();
        registry.forget(HOLDER);
        assert_eq!(
            registry.entries(),
            [(a, vec![at(2), at(3)]), (b, vec![at(5)])]
        );
        assert!(registry.is_new_holder(HOLDER));
    }

    #[test]
    fn full_registry_refuses_what_is_new_and_keeps_what_it_has() {
        let registry = Registry::default();
        let a = uid("a", "1");
        for port in 0..Registry::ADDRESSES {
            registry.register(&a, &at(port as u16), None).unwrap();
        }
        assert!(registry.register(&a, &at(9999), None).is_err());
        registry.register(&a, &at(0), None).unwrap();
        assert_eq!(registry.find("a").unwrap().len(), Registry::ADDRESSES);
    }

    #[test]
    fn who_waits_is_told_of_all_actors_of_the_name() -> Result<()> {
        testing::run(async || {
            let registry = Registry::default();
            nursery(async |n| {
                let waiting = n.start_soon(async { Ok(registry.wait_for("late").await?) });
                testing::wait_all_tasks_blocked().await?;
                registry.register(&uid("early", "0"), &at(9), None).unwrap();
                testing::wait_all_tasks_blocked().await?;
                assert!(!waiting.is_finished());
                registry.register(&uid("late", "1"), &at(1), None).unwrap();
                registry.register(&uid("late", "2"), &at(2), None).unwrap();
                assert_eq!(waiting.await?, [at(1), at(2)]);
                Ok(())
            })
            .await?;
            let waited = async { Ok(registry.wait_for("1").await?) };
            let waited = move_on_after(Duration::from_secs(1), waited).await?;
            assert!(waited.is_cancelled(), "an id is no name");
            Ok(())
        })
    }
}
