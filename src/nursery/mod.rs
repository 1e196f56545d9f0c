//! Actors that live and end with a block.

mod child;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use tractor_runtime::{
    CancelCause, CancelKind, NurseryHandle, TaskHandle, checkpoint_if_cancelled, shield,
};

use child::Child;

use crate::actor::Actor;
use crate::error::{NoActor, Result, SpawnError, SpawnFailure};
use crate::portal::Portal;
use crate::spawn::{Home, SpawnOptions, is_marked};
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
/// If a foreign combinator drops this, processes are killed and reaped at once, and threads lose
/// their channel and are waited for, either at most 5 s; actors in memory are dropped.
///
/// # Errors
///
/// The body's; [`ActorDied`](crate::ActorDied) if an actor ended that nobody had asked to;
/// [`NoActor`] outside of [`tractor::run`](crate::run); and cancellation.
pub async fn nursery<T>(body: impl AsyncFnOnce(&ActorNursery) -> Result<T>) -> Result<T> {
    let actor = Actor::current().ok_or(NoActor)?;
    tractor_runtime::nursery(async |tasks| {
        let nursery = ActorNursery {
            actor,
            tasks: tasks.handle(),
            children: RefCell::default(),
        };
        body(&nursery).await
    })
    .await
}

/// Where actors are started. Made by [`nursery`].
pub struct ActorNursery {
    actor: Rc<Actor>,
    tasks: NurseryHandle,
    children: RefCell<Vec<Weak<Child>>>,
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
        let failed = |failure| SpawnError {
            name: name.into(),
            program: options.program_text(),
            failure,
        };
        if is_marked() || self.actor.is_astray() {
            return Err(failed(SpawnFailure::NotEntered).into());
        }
        if let Some(address) = options.listen.iter().find(|at| at.to_wire().is_none()) {
            let text = format!("{address} is no text, and cannot be told to it");
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(failed(SpawnFailure::NotStarted(error)).into());
        }
        let uid = Uid::fresh(name);
        let (home, channel) = Home::start(&uid, &options, self.actor.watchdog(), &self.tasks)
            .map_err(|error| failed(SpawnFailure::NotStarted(error)))?;
        let child = Child::new(&self.actor, uid, home, options);
        self.remember(&child);
        let mut starting = Starting {
            task: self.tasks.start_soon(child.clone().supervise(channel))?,
            is_over: false,
        };
        if let Err(cancelled) = child.booted().wait().await {
            starting.task.cancel();
            // The shield hides what could be told.
            let _ = shield(starting.task.gone()).await;
            return Err(cancelled.into());
        }
        starting.is_over = true;
        child.portal()
    }

    /// Asks every actor of this nursery to end; processes that do not in their grace are ended by
    /// force. Does not wait: the nursery does, at its end.
    #[track_caller]
    pub fn cancel(&self) {
        let cause = CancelCause::new(CancelKind::Requested);
        for child in self.children.borrow().iter().filter_map(Weak::upgrade) {
            child.ask(&cause);
        }
    }

    /// Keeps a child in mind for as long as it is there.
    fn remember(&self, child: &Rc<Child>) {
        let mut children = self.children.borrow_mut();
        children.retain(|child| child.strong_count() > 0);
        children.push(Rc::downgrade(child));
    }
}

impl fmt::Debug for ActorNursery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children = self.children.borrow();
        f.debug_set()
            .entries(
                children
                    .iter()
                    .filter_map(Weak::upgrade)
                    .map(|child| child.uid().clone()),
            )
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
