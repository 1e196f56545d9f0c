use std::rc::Rc;

use tractor_runtime::nursery;

use super::Registrar;
use super::registrar::preferred;
use crate::actor::Actor;
use crate::error::{NoActor, RegistryError, Result};
use crate::portal::{Portal, connect};
use crate::transport::Address;

/// The first actor of this name that can be reached, or the one of this id, of those that the
/// registrars of this actor know; `None` if there is none. A checkpoint.
///
/// All registrars are asked at once, and what they know is tried in their order. An address that
/// nobody serves, or another actor than was looked for, is deleted at the registrar that gave it.
/// The connection is as that of [`connect`](crate::connect).
///
/// ```no_run
/// # async fn double(x: u64) -> tractor::Result<u64> { Ok(2 * x) }
/// # tractor::endpoint!(double);
/// # async fn f() -> tractor::Result<()> {
/// if let Some(portal) = tractor::find_actor("doubler").await? {
///     println!("{}", portal.run(double, 21).await?);
///     portal.disconnect();
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`RegistryError::Without`] if this actor has no registrar; those of [`Registrar::connect`] if
/// none of them can be asked; [`ConnectError`](crate::ConnectError) if an address is served by no
/// actor at all, or by this one; [`NoActor`] outside of [`tractor::run`](crate::run); and
/// cancellation.
pub async fn find_actor(name: &str) -> Result<Option<Portal>> {
    let asked = ask_all(async |registrar| Ok(registrar.find(name).await?)).await?;
    for (registrar, found) in asked {
        if !found.is_empty()
            && let Some(portal) = registrar.find_actor(name).await?
        {
            return Ok(Some(portal));
        }
    }
    Ok(None)
}

/// Waits until there is an actor of this name that can be reached, at any registrar of this
/// actor. A checkpoint.
///
/// # Errors
///
/// Those of [`find_actor`]: a registrar that is lost meanwhile is waited for no more.
pub async fn wait_for_actor(name: &str) -> Result<Portal> {
    let registrars = registrars().await?;
    let found = nursery(async |n| {
        let mut waiting = Vec::new();
        let (found, first) = tractor_runtime::sync::channel(registrars.len());
        for registrar in registrars {
            let found = found.clone();
            waiting.push(n.start_soon(async move {
                // There is room for all.
                let portal = registrar.wait_for_actor(name).await;
                let _ = found.try_send(portal.map(|portal| Found(Some(portal))));
                Ok(())
            }));
        }
        drop(found);
        let mut failed = None;
        loop {
            match first.recv().await {
                Ok(Ok(found)) => {
                    n.cancel();
                    return Ok(found);
                }
                Ok(Err(error)) if error.is_cancelled() => return Err(error),
                Ok(Err(error)) => drop(failed.get_or_insert(error)),
                Err(error) => return Err(failed.unwrap_or_else(|| error.into())),
            }
        }
    });
    Ok(found.await?.take())
}

/// An actor that was found, and is disconnected again unless whoever looked for it takes it: several
/// registrars may find it at the same time, and the search may be cancelled.
struct Found(Option<Portal>);

impl Found {
    fn take(mut self) -> Portal {
        self.0.take().expect("it is taken once")
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some(portal) = &self.0 {
            portal.disconnect();
        }
    }
}

/// Where the first actor of this name is, or the one of this id, of those that the registrars of
/// this actor know: the nearest of its addresses. Nobody looks whether it is still there. A
/// checkpoint.
///
/// # Errors
///
/// Those of [`find_actor`], except that nothing is connected to but the registrars.
pub async fn query_actor(name: &str) -> Result<Option<Address>> {
    let asked = ask_all(async |registrar| Ok(registrar.find(name).await?)).await?;
    Ok(asked.iter().find_map(|(_, found)| preferred(found)))
}

/// The first registrar of this actor that can be reached: this actor itself, if it is one. A
/// checkpoint.
///
/// # Errors
///
/// [`RegistryError::Without`] if this actor has no registrar; those of [`Registrar::connect`] if
/// none of them can be reached.
pub async fn registrar() -> Result<Registrar> {
    let actor = Actor::current().ok_or(NoActor)?;
    if let Some(own) = Registrar::own(&actor) {
        return Ok(own);
    }
    let mut failed = None;
    for address in actor.whereabouts().other_registrars() {
        match Registrar::connect(&address).await {
            Ok(registrar) => return Ok(registrar),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or_else(|| RegistryError::Without.into()))
}

/// The actor that started this one. `None` in a root, and outside of [`tractor::run`](crate::run).
pub fn parent() -> Option<Portal> {
    let parent = Actor::current()?.whereabouts().parent()?;
    Some(Portal::new(parent, None))
}

/// The root of the tree that this actor is in: its parent, or connected to where it listens.
/// `None` in the root itself, and if the root does not listen. A checkpoint if it has to be
/// connected to.
///
/// # Errors
///
/// Those of [`connect`](crate::connect).
pub async fn find_root() -> Result<Option<Portal>> {
    let actor = Actor::current().ok_or(NoActor)?;
    let Some((root, addresses)) = actor.whereabouts().root() else {
        return Ok(None);
    };
    if let Some(parent) = actor.whereabouts().parent()
        && parent.peer() == root
    {
        return Ok(Some(Portal::new(parent, None)));
    }
    match preferred(addresses) {
        Some(address) => Ok(Some(connect(&address).await?)),
        None => Ok(None),
    }
}

/// Takes no more connections at the addresses at which this actor has listened since it began, and
/// is found there no more. What is connected stays so. A checkpoint.
///
/// # Errors
///
/// [`NoActor`] outside of [`tractor::run`](crate::run); what went wrong with a registrar, where the
/// addresses may still be found then; and cancellation. Nobody can connect in any case.
pub async fn stop_listening() -> Result<()> {
    let actor = Actor::current().ok_or(NoActor)?;
    for listening in actor.whereabouts().stop_listening() {
        listening.close().await?;
    }
    match actor.whereabouts().entries() {
        Some(entries) => entries.settled().await,
        None => Ok(()),
    }
}

/// Asks all registrars of this actor that can be reached, at once.
async fn ask_all<T>(
    question: impl AsyncFn(&Registrar) -> Result<T>,
) -> Result<Vec<(Registrar, T)>> {
    let registrars = registrars().await?;
    let question = &question;
    let answers = nursery(async |n| {
        let asked = registrars.into_iter().map(|registrar| {
            n.start_soon(async move {
                let answer = question(&registrar).await;
                Ok(answer.map(|answer| (registrar, answer)))
            })
        });
        let mut answers = Vec::new();
        for asked in asked.collect::<Vec<_>>() {
            answers.push(asked.await?);
        }
        Ok(answers)
    })
    .await?;
    some_of(answers)
}

/// All registrars of this actor that can be reached.
async fn registrars() -> Result<Vec<Registrar>> {
    let actor: Rc<Actor> = Actor::current().ok_or(NoActor)?;
    let own = Registrar::own(&actor);
    let addresses = actor.whereabouts().other_registrars();
    if own.is_none() && addresses.is_empty() {
        return Err(RegistryError::Without.into());
    }
    let connected = nursery(async |n| {
        let connecting = addresses
            .iter()
            .map(|address| n.start_soon(async { Ok(Registrar::connect(address).await) }));
        let mut connected: Vec<_> = own.into_iter().map(Ok).collect();
        for connecting in connecting.collect::<Vec<_>>() {
            connected.push(connecting.await?);
        }
        Ok(connected)
    })
    .await?;
    some_of(connected)
}

/// What there is, or why there is nothing.
fn some_of<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut there, mut failed) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(value) => there.push(value),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => {
                log::info!(target: "tractor::actor", "a registrar is not asked: {error}");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if there.is_empty() => Err(error),
        _ => Ok(there),
    }
}
