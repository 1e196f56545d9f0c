use tractor_runtime::{Result, nursery as tasks};

use crate::actor::Actor;
use crate::error::NoActor;
use crate::nursery::nursery;
use crate::portal::Portal;
use crate::spawn::SpawnOptions;

/// Starts so many actors at once, runs `body` with all of them, and ends them.
///
/// They are called `<name of this actor>.worker_0` and so on.
///
/// # Errors
///
/// The body's, and those of [`nursery`](crate::nursery) and
/// [`start_actor`](crate::ActorNursery::start_actor).
pub async fn open_actor_cluster<T>(
    count: usize,
    options: SpawnOptions,
    body: impl AsyncFnOnce(&Cluster) -> Result<T>,
) -> Result<T> {
    let own = Actor::current().ok_or(NoActor)?.uid().name().to_owned();
    nursery(async |an| {
        let names = (0..count).map(|number| format!("{own}.worker_{number}"));
        let actors = tasks(async |n| {
            let starts: Vec<_> = names
                .map(|name| {
                    let options = options.clone();
                    n.start_soon(async move { an.start_actor(&name, options).await })
                })
                .collect();
            let mut actors = Vec::with_capacity(count);
            for start in starts {
                actors.push(start.await?);
            }
            Ok(actors)
        });
        let cluster = Cluster {
            actors: actors.await?,
        };
        let value = body(&cluster).await?;
        an.cancel();
        Ok(value)
    })
    .await
}

/// Actors that were started together. Made by [`open_actor_cluster`].
#[derive(Debug)]
pub struct Cluster {
    actors: Vec<Portal>,
}

impl Cluster {
    /// Ways into all of them, in the order of their numbers.
    pub fn portals(&self) -> &[Portal] {
        &self.actors
    }

    /// The way into the one of this name.
    pub fn portal(&self, name: &str) -> Option<&Portal> {
        self.actors
            .iter()
            .find(|portal| portal.uid().name() == name)
    }
}
