use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::answers::become_registrar;
use super::membership::Membership;
use super::probe::{Found, probe_all};
use super::registrar::{Registrar, usable};
use crate::actor::{Actor, ListenOptions, Listening};
use crate::error::{ListenError, NoActor, RegistryError, Result};
use crate::transport::Address;
use crate::wire::{Payload, SpawnSpec, Uid, WireAddr};

/// How often it is tried to become a registrar, where others try so too.
const TRIES: usize = 5;

/// Bytes in the path of a Unix socket, at most.
const PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// How the root of a tree is to be reached and found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    pub(crate) registrars: Vec<Address>,
    pub(crate) listen: Vec<Address>,
    pub(crate) options: ListenOptions,
}

/// What it is to the registrars that it was told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of them, unless they are there.
    #[default]
    Either,
    /// Known to them.
    Member,
    /// The one and only.
    Registrar,
}

impl Plan {
    /// Listens, and is known to the registrars or becomes one.
    pub(crate) async fn carry_out(self, actor: &Rc<Actor>) -> Result<Membership> {
        if self.registrars.is_empty() {
            listen_at(actor, &self.options, &self.listen)?;
            return Membership::enter(actor).await;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let found = probe_all(actor, &self.registrars).await?;
            let at = |which| {
                let found = self.registrars.iter().zip(&found);
                found
                    .filter(move |(_, found)| **found == which)
                    .map(|(at, _)| at.clone())
            };
            let present: Vec<_> = at(Found::Registrar).collect();
            if !present.is_empty() {
                return self.join(actor, present).await;
            }
            if let Some(address) = at(Found::Other).next() {
                return Err(RegistryError::Occupied { address }.into());
            }
            if self.role == Role::Member {
                let addresses = self.registrars;
                return Err(RegistryError::Absent { addresses }.into());
            }
            match self.preside(actor) {
                Ok(()) => return Membership::enter(actor).await,
                // Somebody else was faster, and says now who it is.
                Err(error) if is_taken(&error) && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn join(self, actor: &Rc<Actor>, present: Vec<Address>) -> Result<Membership> {
        if self.role == Role::Registrar {
            let address = present[0].clone();
            return Err(RegistryError::Exists { address }.into());
        }
        let listen = match self.listen.is_empty() {
            true => own_places(&present, actor.uid()),
            false => self.listen,
        };
        listen_at(actor, &self.options, &listen)?;
        actor.whereabouts().set_registrars(present);
        Membership::enter(actor).await
    }

    /// Becomes a registrar, at once or not at all.
    fn preside(&self, actor: &Rc<Actor>) -> Result<()> {
        let others = self
            .listen
            .iter()
            .filter(|at| !self.registrars.contains(at));
        let places: Vec<_> = self.registrars.iter().chain(others).cloned().collect();
        let addresses = listen_at(actor, &self.options, &places)?;
        let registrars = addresses[..self.registrars.len()].to_vec();
        actor.whereabouts().set_registrars(registrars);
        become_registrar(actor);
        Ok(())
    }
}

/// Makes the actor that the running task belongs to a registrar: at this address, for as long as it
/// is there. Gives the address, in which the port is known if any was to be taken.
///
/// It and the actors that it starts from now on are registered there, beside the registrars that
/// they have otherwise. Programs that are given the address join it. For the root of a tree there
/// is [`RunOptions::registry`](crate::RunOptions::registry), which looks first whether somebody
/// else is it.
///
/// # Errors
///
/// [`ListenError`]; [`NoActor`] outside of [`tractor::run`](crate::run).
pub async fn be_registrar(address: Address) -> Result<Address> {
    let actor = Actor::current().ok_or(NoActor)?;
    let here = actor.whereabouts();
    let address = listen_at(&actor, &ListenOptions::new(), &[address])?.remove(0);
    let mut registrars = here.registrars();
    registrars.push(address.clone());
    here.set_registrars(registrars);
    if !actor.is_registrar() {
        become_registrar(&actor);
    }
    if let Some(own) = Registrar::own(&actor) {
        for address in here.addresses() {
            own.register(actor.uid(), &address).await?;
        }
    }
    Ok(address)
}

/// What the parent of an actor tells it of the tree, beside what has a field of its own.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RuntimeVars {
    #[serde(rename = "_is_root")]
    is_root: bool,
    #[serde(rename = "_root_addrs")]
    root_addresses: Vec<WireAddr>,
    #[serde(rename = "_root_uid")]
    root: Option<Uid>,
}

/// Tells a child where it is to listen, who its registrars are, and who is at the top of the tree.
pub(crate) fn brief(actor: &Actor, spec: &mut SpawnSpec, listen: &[Address]) {
    let here = actor.whereabouts();
    let (root, root_addresses) = match here.root() {
        Some((root, addresses)) => (root.clone(), addresses.clone()),
        None => (actor.uid().clone(), here.addresses()),
    };
    let vars = RuntimeVars {
        is_root: false,
        root_addresses: on_the_wire(&root_addresses),
        root: Some(root),
    };
    spec.runtime_vars = Payload::encode(&vars).expect("texts can be encoded");
    spec.reg_addrs = on_the_wire(&here.registrars());
    spec.bind_addrs = Some(on_the_wire(listen));
}

/// Does what the parent said: listens, and is known to the registrars.
pub(crate) async fn settle(actor: &Rc<Actor>, spec: &SpawnSpec) -> Result<Membership> {
    let registrars = usable(&spec.reg_addrs);
    let listen = match &spec.bind_addrs {
        Some(places) => usable(places),
        None => own_places(&registrars, actor.uid()),
    };
    // Of peers in other languages there may be anything in it.
    let vars: RuntimeVars = spec.runtime_vars.decode().unwrap_or_default();
    if let Some(root) = vars.root {
        actor
            .whereabouts()
            .has_root(root, usable(&vars.root_addresses));
    }
    listen_at(actor, &ListenOptions::new(), &listen)?;
    actor.whereabouts().set_registrars(registrars);
    Membership::enter(actor).await
}

fn on_the_wire(addresses: &[Address]) -> Vec<WireAddr> {
    addresses.iter().filter_map(Address::to_wire).collect()
}

/// Listens at all of these addresses for as long as the actor is there, or at none. Says where:
/// ports that were left open are known then.
fn listen_at(actor: &Actor, options: &ListenOptions, places: &[Address]) -> Result<Vec<Address>> {
    let listening = places
        .iter()
        .map(|place| options.clone().listen(place.clone()));
    let listening = listening.collect::<Result<Vec<Listening>>>()?;
    let addresses = listening.iter().map(|it| it.address().clone()).collect();
    for listening in listening {
        actor.whereabouts().keep(listening);
    }
    Ok(addresses)
}

/// Where an actor listens that was not told: beside its registrars, once for each kind of address.
pub(crate) fn own_places(registrars: &[Address], uid: &Uid) -> Vec<Address> {
    let tcp = registrars.iter().find_map(|at| match at {
        Address::Tcp(tcp) if tcp.is_ipv6() => Some(([0, 0, 0, 0, 0, 0, 0, 1], 0).into()),
        Address::Tcp(_) => Some(([127, 0, 0, 1], 0).into()),
        _ => None,
    });
    let unix = registrars.iter().find_map(|at| match at {
        Address::Unix(path) => Some(path.parent()?),
        _ => None,
    });
    let tcp = tcp.map(Address::Tcp);
    tcp.into_iter()
        .chain(unix.map(|directory| Address::Unix(socket_in(directory, uid, PATH_LIMIT))))
        .collect()
}

/// A path that is no other actor's, and tells people whose it is if that fits.
fn socket_in(directory: &Path, uid: &Uid, limit: usize) -> PathBuf {
    let id = uid.id();
    let path = directory.join(format!("{}.{id}.sock", uid.name()));
    let is_plain = !uid.name().contains(['/', '\0']);
    match is_plain && path.as_os_str().len() <= limit {
        true => path,
        false => directory.join(format!("{id}.sock")),
    }
}

fn is_taken(error: &crate::Error) -> bool {
    let error = error.downcast_ref::<ListenError>();
    error.is_some_and(|error| error.source.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn actor_listens_beside_its_registrars() {
        let uid = Uid::new("feed", "id");
        for (registrars, expected) in [
            (
                &["/ip4/127.0.0.1/tcp/1616"][..],
                &["/ip4/127.0.0.1/tcp/0"][..],
            ),
            (&["/ip6/::1/tcp/1616"], &["/ip6/::1/tcp/0"]),
            (
                &["/unix/run/x/registry.sock"],
                &["/unix/run/x/feed.id.sock"],
            ),
            (
                &[
                    "/ip4/127.0.0.1/tcp/1616",
                    "/unix/run/r.sock",
                    "/ip4/127.0.0.1/tcp/1617",
                ],
                &["/ip4/127.0.0.1/tcp/0", "/unix/run/feed.id.sock"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(
                own_places(&addresses(registrars), &uid),
                addresses(expected)
            );
        }
    }

    // ipc/test_each_tpt.py::test_uds_sockname_compaction[darwin-104]
    // ipc/test_each_tpt.py::test_uds_sockname_compaction[linux-108]
    #[test]
    fn socket_of_any_name_has_a_path_that_fits() {
        let directory = Path::new("/run/tractor");
        for limit in [103, 107] {
            let path = socket_in(directory, &Uid::new("worker", "id"), limit);
            assert_eq!(path, directory.join("worker.id.sock"));
            let longest = "x".repeat(limit - "/run/tractor/.id.sock".len());
            let path = socket_in(directory, &Uid::new(&*longest, "id"), limit);
            assert_eq!(path.as_os_str().len(), limit);
            for name in [
                "a/b",
                "nul\0",
                "..",
                "../x",
                &format!("{longest}x"),
                &"\u{e9}".repeat(limit / 2),
            ] {
                let path = socket_in(directory, &Uid::new(name, "id"), limit);
                assert_eq!(path.parent(), Some(directory), "{name}");
                assert!(path.as_os_str().len() <= limit, "{name}");
            }
        }
    }
}
