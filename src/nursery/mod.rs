//! Actors that live and end with a block.

mod child;
mod daemon;
mod report;
mod task;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::sync::Event;
use tractor_runtime::{CancelCause, CancelKind, TaskHandle, checkpoint_if_cancelled, shield};

pub use daemon::{Daemon, DaemonOver, Restart, RestartLimit};
pub(crate) use report::Ends;
pub use report::{ActorEnd, Ending, TeardownReport};
pub use task::ActorTask;

use child::{Child, Siblings};

use crate::actor::Actor;
use crate::endpoint::{Endpoint, PlainKind};
use crate::error::{ContextCancelled, Error, NoActor, PeerLost, Result, SpawnError, SpawnFailure};
use crate::portal::Portal;
use crate::spawn::{Home, SpawnOptions, is_marked};
use crate::transport::ByteStream;
use crate::wire::Uid;

/// Runs `body` with a nursery in which it starts actors, and waits for them.
///
/// ```no_run
/// # async fn double(x: u64) -> tractor::Result<u64> { Ok(2 * x) }
/// # tractor::endpoint!(double);
/// # fn main() -> tractor::Result<()> {
/// use tractor::SpawnOptions;
///
/// tractor::run(async || {
///     tractor::nursery(async |an| {
///         let portal = an.start_actor("doubler", SpawnOptions::new().enable(double)).await?;
///         assert_eq!(portal.run(double, 21).await?, 42);
///         an.cancel();
///         Ok(())
///     })
///     .await
/// })
/// # }
/// ```
///
/// Actors go on until they are cancelled: by [`ActorNursery::cancel`], by
/// [`Portal::cancel_actor`], or with the nursery, because its body failed, an actor died, or
/// the scope around it was cancelled. When this returns all of them are gone: processes are
/// reaped, and threads joined unless they were [abandoned](SpawnOptions::abandon_after).
///
/// If a foreign combinator drops this, or the host of the runtime drops that, processes are killed
/// and reaped at once, with the actors below them, and threads lose their channel and are waited
/// for, all together at most 5 s; actors in memory are dropped. The
/// [report](ActorNursery::teardown_report) tells of that too.
///
/// # Errors
///
/// The body's; [`ActorDied`](crate::ActorDied) if an actor ended that nobody had asked to;
/// [`NoActor`] outside of [`tractor::run`](crate::run); and cancellation.
pub async fn nursery<T>(body: impl AsyncFnOnce(&ActorNursery) -> Result<T>) -> Result<T> {
    let actor = Actor::current().ok_or(NoActor)?;
    tractor_runtime::nursery(async |tasks| {
        let nursery = ActorNursery {
            nest: Nest {
                actor,
                siblings: Siblings {
                    tasks: tasks.handle(),
                    children: Rc::default(),
                },
                ends: Rc::default(),
                asked: Rc::default(),
            },
        };
        // Most of a program may be in it, and not to be in each future around it.
        Box::pin(body(&nursery)).await
    })
    .await
}

/// Where actors are started. Made by [`nursery`].
pub struct ActorNursery {
    nest: Nest,
}

impl ActorNursery {
    /// Starts an actor, as a process of its own unless the options say otherwise, and waits until
    /// it can be called.
    ///
    /// If this is cancelled or dropped, the actor is ended; cancelled, it is gone afterwards.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], which says why; nothing is left of the actor. And cancellation.
    pub async fn start_actor(&self, name: &str, options: SpawnOptions) -> Result<Portal> {
        checkpoint_if_cancelled().await?;
        let (child, channel) = self.nest.spawn(name, &options)?;
        let task = (self.nest.siblings.tasks).start_soon(child.clone().supervise(channel))?;
        started(&child, task).await
    }

    /// Starts an actor that is started again when it ends, and waits until it can be called the
    /// first time.
    ///
    /// ```no_run
    /// # async fn double(x: u64) -> tractor::Result<u64> { Ok(2 * x) }
    /// # tractor::endpoint!(double);
    /// # async fn all(an: &tractor::ActorNursery) -> tractor::Result<()> {
    /// use tractor::{Restart, SpawnOptions};
    ///
    /// let options = SpawnOptions::new().enable(double);
    /// let daemon = an.start_daemon("doubler", options, Restart::on_failure()).await?;
    /// // Whichever it is by then.
    /// daemon.portal().await?.run(double, 21).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`start_actor`](Self::start_actor). Later, the nursery fails of an actor that is
    /// not to be started again, or has ended too often: [`RestartLimit`].
    pub async fn start_daemon(
        &self,
        name: &str,
        options: SpawnOptions,
        restart: Restart,
    ) -> Result<Daemon> {
        checkpoint_if_cancelled().await?;
        let (child, channel) = self.nest.spawn(name, &options)?;
        let (daemon, lives) =
            daemon::begin(self.nest.clone(), child.clone(), channel, options, restart);
        let task = self.nest.siblings.tasks.start_soon(lives)?;
        started(&child, task).await?;
        Ok(daemon)
    }

    /// Starts an actor, waits until it is there, and has it run this endpoint, which is enabled
    /// for it. When that has ended, the actor is ended.
    ///
    /// If the endpoint fails, the nursery does, which cancels the others; the errors of those
    /// that failed before they were told are kept. An endpoint that ends with an error because its
    /// actor was asked to end fails nobody.
    ///
    /// # Errors
    ///
    /// Those of [`start_actor`](Self::start_actor). The endpoint's are those of the nursery, and
    /// of [`ActorTask::wait_for_result`].
    pub async fn run_in_actor<F, A, R>(
        &self,
        name: &str,
        options: SpawnOptions,
        endpoint: F,
        args: A,
    ) -> Result<ActorTask<R>>
    where
        F: AsyncFn(A) -> Result<R> + Endpoint<PlainKind<A, R>>,
        A: Serialize + 'static,
        R: DeserializeOwned + Clone + 'static,
    {
        let portal = self.start_actor(name, options.enable(endpoint)).await?;
        let (task, ended) = ActorTask::new(portal.clone());
        let asked = self.nest.child(portal.uid());
        self.nest.siblings.tasks.start_soon(async move {
            let result = portal.run(endpoint, args).await;
            let is_asked = asked.is_some_and(|child| child.is_asked());
            let failed = result.as_ref().err().cloned();
            ended.with(result);
            match failed {
                Some(error) if is_asked && is_end_of_actor(&error) => {}
                Some(error) => return Err(error),
                None => drop(portal.cancel_actor().await),
            }
            Ok(())
        })?;
        Ok(task)
    }

    /// Asks every actor of this nursery to end; processes that do not in their grace are ended by
    /// force. Does not wait: the nursery does, at its end.
    #[track_caller]
    pub fn cancel(&self) {
        let cause = CancelCause::new(CancelKind::Requested);
        self.nest.asked.set();
        for child in self.nest.siblings.living() {
            child.ask(&cause);
        }
    }

    /// [`cancel`](Self::cancel) with less time than the actors would have from their
    /// [options](SpawnOptions::grace), also when they were asked already. More time it does not
    /// give them.
    #[track_caller]
    pub fn cancel_within(&self, grace: Duration) {
        let cause = CancelCause::new(CancelKind::Requested);
        self.nest.asked.set();
        for child in self.nest.siblings.living() {
            child.ask_within(&cause, grace);
        }
    }

    /// Waits for the next actor of this nursery that ends, in whatever way, and says how it did;
    /// `None` when there is none, or was none to begin with. Each end is given once; only the
    /// latest 1,000 are kept. A checkpoint; if it is cancelled, nothing is lost.
    ///
    /// # Errors
    ///
    /// Cancellation: with it comes the death of an actor that nobody had asked to end.
    pub async fn next_ended(&self) -> Result<Option<ActorEnd>> {
        Ok(self.nest.ends.next().await?)
    }

    /// How the actors of this nursery end, and those below them: to be looked at when it is over.
    pub fn teardown_report(&self) -> TeardownReport {
        TeardownReport::new(self.nest.ends.clone())
    }
}

/// Whether this is what a call ends with whose actor was asked to end.
fn is_end_of_actor(error: &Error) -> bool {
    error.is::<ContextCancelled>() || error.is::<PeerLost>()
}

/// Waits until the start of a child has come to an end.
async fn started(child: &Rc<Child>, task: TaskHandle<'static, ()>) -> Result<Portal> {
    let mut starting = Starting {
        task,
        is_over: false,
    };
    if let Err(cancelled) = child.booted().wait().await {
        starting.task.cancel();
        // The shield hides what could be told.
        let _ = shield(starting.task.gone()).await;
        return Err(cancelled.into());
    }
    starting.is_over = true;
    let portal = child.portal();
    if portal.is_err() {
        // It may have answered and be about to end, since it was asked to.
        child.gone().wait().await?;
    }
    portal
}

/// What the actors of one nursery have in common.
#[derive(Clone)]
struct Nest {
    actor: Rc<Actor>,
    siblings: Siblings,
    ends: Rc<Ends>,
    /// Set when all were asked to end.
    asked: Rc<Event>,
}

impl Nest {
    /// Starts an actor, which its supervision is to see through its life.
    fn spawn(
        &self,
        name: &str,
        options: &SpawnOptions,
    ) -> std::result::Result<(Rc<Child>, ByteStream), SpawnError> {
        let failed = |failure| SpawnError {
            name: name.into(),
            program: options.program_text(),
            failure,
        };
        if is_marked() || self.actor.is_astray() {
            return Err(failed(SpawnFailure::NotEntered));
        }
        if let Some(address) = options.listen.iter().find(|at| at.to_wire().is_none()) {
            let text = format!("{address} is no text, and cannot be told to it");
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(failed(SpawnFailure::NotStarted(error)));
        }
        let uid = Uid::fresh(name);
        let watchdog = self.actor.watchdog();
        let (home, channel) = Home::start(
            &uid,
            options,
            watchdog,
            self.actor.yard(),
            self.actor.aid(),
            &self.actor.limits(),
        )
        .map_err(|error| failed(SpawnFailure::NotStarted(error)))?;
        let child = Child::new(
            &self.actor,
            &self.ends,
            &self.siblings,
            uid,
            home,
            options.clone(),
        );
        // Kept in mind for as long as it is there.
        let mut children = self.siblings.children.borrow_mut();
        children.retain(|child| child.strong_count() > 0);
        children.push(Rc::downgrade(&child));
        Ok((child, channel))
    }

    fn child(&self, uid: &Uid) -> Option<Rc<Child>> {
        self.siblings
            .living()
            .into_iter()
            .find(|child| child.uid() == uid)
    }
}

impl fmt::Debug for ActorNursery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children = self.nest.siblings.living();
        f.debug_set()
            .entries(children.iter().map(|child| child.uid()))
            .finish()
    }
}

/// A start that nobody waits for any more does not go on.
struct Starting {
    task: TaskHandle<'static, ()>,
    is_over: bool,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.is_over {
            self.task.cancel();
        }
    }
}
