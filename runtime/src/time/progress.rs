use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::scope::{CancelScope, Outcome, ScopeHandle, TooSlow};

/// Runs `work` for as long as it makes progress: it is cancelled when it has not called
/// [`Progress::made`] for `limit`.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{run, time::{fail_when_stalled, sleep}};
///
/// run(async || {
///     fail_when_stalled(Duration::from_millis(500), async |progress| {
///         for _ in 0..10 {
///             sleep(Duration::from_millis(1)).await?; // a piece of a download, say
///             progress.made();
///         }
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
///
/// # Errors
///
/// [`TooSlow`] if it was cancelled so; those of `work`.
#[track_caller]
pub fn fail_when_stalled<T>(
    limit: Duration,
    work: impl AsyncFnOnce(Progress) -> Result<T>,
) -> impl Future<Output = Result<T>> {
    let location = Location::caller();
    let outcome = move_on_when_stalled(limit, work);
    async move {
        match outcome.await? {
            Outcome::Completed(value) => Ok(value),
            // Nobody else can cancel this scope.
            Outcome::Cancelled(_) => Err(Error::from(TooSlow::at(location))),
        }
    }
}

/// Runs `work` for as long as it makes progress, as [`fail_when_stalled`]; the outcome says whether
/// it was cancelled.
///
/// # Errors
///
/// Those of `work`.
#[track_caller]
pub fn move_on_when_stalled<T>(
    limit: Duration,
    work: impl AsyncFnOnce(Progress) -> Result<T>,
) -> impl Future<Output = Result<Outcome<T>>> {
    let scope = CancelScope::new().timeout(limit);
    let progress = Progress {
        scope: scope.handle(),
        limit,
    };
    scope.run(async move { work(progress).await })
}

/// With which work says that it makes progress.
#[derive(Clone, Debug)]
pub struct Progress {
    scope: ScopeHandle,
    limit: Duration,
}

impl Progress {
    /// There was progress: the time that may pass until the next begins now. Too late, it has no
    /// effect.
    pub fn made(&self) {
        self.scope.set_timeout(self.limit);
    }

    /// How long may pass without progress.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}
