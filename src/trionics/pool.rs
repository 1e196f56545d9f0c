use std::cell::RefCell;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::sync::{Receiver, Sender, channel};
use tractor_runtime::{Result, nursery};

use super::cluster::open_actor_cluster;
use crate::portal::Portal;
use crate::spawn::SpawnOptions;

/// Starts so many actors at once, and runs `body` with them as a pool of workers, which take one
/// call at a time each. Afterwards they are ended.
///
/// ```no_run
/// # async fn double(x: u64) -> tractor::Result<u64> { Ok(2 * x) }
/// # tractor::endpoint!(double);
/// # async fn all() -> tractor::Result<()> {
/// use tractor::{SpawnOptions, trionics::worker_pool};
///
/// worker_pool(4, SpawnOptions::new().enable(double), async |pool| {
///     let mut sum = 0;
///     pool.map(double, 0..1_000_000, async |_, doubled| {
///         sum += doubled;
///         Ok(())
///     })
///     .await?;
///     println!("{sum}");
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// A worker that dies fails the pool, as [`ActorDied`](crate::ActorDied), with whatever it was
/// doing.
///
/// # Errors
///
/// The body's, and those of [`open_actor_cluster`].
///
/// # Panics
///
/// If the pool is to have no workers.
pub async fn worker_pool<T>(
    workers: usize,
    options: SpawnOptions,
    body: impl AsyncFnOnce(&WorkerPool) -> Result<T>,
) -> Result<T> {
    assert!(workers > 0, "a pool needs workers");
    open_actor_cluster(workers, options, async |cluster| {
        let (free, idle) = channel(workers);
        for portal in cluster.portals() {
            free.send(portal.clone()).await?;
        }
        let pool = WorkerPool {
            workers,
            free,
            idle,
        };
        body(&pool).await
    })
    .await
}

/// Actors that can do the same. Made by [`worker_pool`].
pub struct WorkerPool {
    workers: usize,
    free: Sender<Portal>,
    idle: Receiver<Portal>,
}

impl WorkerPool {
    /// Calls an endpoint at the first worker that is free: who comes first, is first. A
    /// checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`Portal::run`], and cancellation.
    pub async fn run<F, A, R>(&self, endpoint: F, args: A) -> Result<R>
    where
        F: AsyncFn(A) -> Result<R> + Copy + 'static,
        A: Serialize,
        R: DeserializeOwned,
    {
        let worker = self.worker().await?;
        worker.portal.run(endpoint, args).await
    }

    /// Calls an endpoint with each of the inputs, and `each` with the number of the input and the
    /// result, as the results come: not in the order of the inputs. A checkpoint.
    ///
    /// An input is taken when there is a worker for it and the results before it go away: at
    /// most twice as many are under way as there are workers, however many inputs there are and
    /// however long `each` takes.
    ///
    /// # Errors
    ///
    /// What the first call that failed has failed with, or `each`: the others are cancelled, and
    /// the pool can be used as before. And cancellation.
    pub async fn map<F, A, R>(
        &self,
        endpoint: F,
        inputs: impl IntoIterator<Item = A>,
        mut each: impl AsyncFnMut(usize, R) -> Result<()>,
    ) -> Result<()>
    where
        F: AsyncFn(A) -> Result<R> + Copy + 'static,
        A: Serialize,
        R: DeserializeOwned,
    {
        let inputs = RefCell::new(inputs.into_iter().enumerate());
        let (inputs, (results, done)) = (&inputs, channel(self.workers));
        nursery(async |n| {
            for _ in 0..self.workers {
                let results = results.clone();
                n.start_soon(async move {
                    loop {
                        let worker = self.worker().await?;
                        let Some((number, args)) = inputs.borrow_mut().next() else {
                            return Ok(());
                        };
                        let result = worker.portal.run(endpoint, args).await?;
                        drop(worker);
                        results.send((number, result)).await?;
                    }
                });
            }
            drop(results);
            loop {
                match done.recv().await {
                    Ok((number, result)) => each(number, result).await?,
                    Err(tractor_runtime::sync::RecvError::Closed) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await
    }

    async fn worker(&self) -> Result<Busy<'_>> {
        Ok(Busy {
            portal: self.idle.recv().await?,
            pool: self,
        })
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("workers", &self.workers)
            .field("idle", &self.idle.len())
            .finish()
    }
}

/// A worker that has something to do, until this is dropped.
struct Busy<'a> {
    portal: Portal,
    pool: &'a WorkerPool,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        // There is room for all of them.
        let _ = self.pool.free.try_send(self.portal.clone());
    }
}
