use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_lite::FutureExt;
use futures_lite::future::or;
use tractor_runtime::sync::Event;
use tractor_runtime::{
    CancelScope, Error, Outcome, Result, ScopeHandle, check_cancelled, nursery, shield,
};

use super::hold::{Hold, NeverHeld, Place};
use crate::actor::Actor;
use crate::error::{NoActor, panic_text};

/// Runs `body` with a resource that all tasks of this actor share which ask for the same: it is
/// opened by the first, and closed by the last, who waits for that.
///
/// The resource is what `open` holds for this `key`; `body` is also told whether it was there
/// already.
///
/// ```no_run
/// # use std::rc::Rc;
/// # struct Pool; impl Pool {
/// # async fn connect(_: &str) -> tractor::Result<Self> { Ok(Pool) }
/// # async fn close(&self) -> tractor::Result<()> { Ok(()) } }
/// use tractor::trionics::{Hold, maybe_open_context};
///
/// async fn pool(url: String, hold: Hold<Rc<Pool>>) -> tractor::Result<()> {
///     let pool = Rc::new(Pool::connect(&url).await?);
///     hold.hold(pool.clone()).await?;
///     pool.close().await
/// }
///
/// # async fn use_it() -> tractor::Result<()> {
/// maybe_open_context(pool, "db.example".to_owned(), async |pool, was_there| {
///     // Everybody who is in such a block has the same one.
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// `open` runs in a task of the actor, which no user's cancellation reaches: it goes on for as
/// long as somebody needs it, also if who came first is cancelled in the middle of the opening.
/// When the last user is cancelled while it waits, the opening is cancelled. A resource that is
/// being closed is not given out any more; who comes meanwhile waits, and opens it again.
///
/// If the last user is dropped rather than cancelled, the resource is closed without anybody
/// waiting for it.
///
/// # Errors
///
/// The body's; what the opening failed with, to all who waited for it and to nobody later; what
/// the closing failed with, to the last user, in place of its cancellation; [`ResourceEnded`] if
/// it ended while it was used, or what it then failed with, to all users, whose bodies are
/// cancelled; [`NoActor`] outside of [`tractor::run`](crate::run); and cancellation.
pub async fn maybe_open_context<F, K, V, T>(
    open: F,
    key: K,
    body: impl AsyncFnOnce(V, bool) -> Result<T>,
) -> Result<T>
where
    F: AsyncFn(K, Hold<V>) -> Result<()> + Copy + 'static,
    K: Eq + Hash + Clone + 'static,
    V: Clone + 'static,
{
    let actor = Actor::current().ok_or(NoActor)?;
    let table = actor.extension::<Table<F, K, V>>();
    let (user, was_there) = User::enter(&actor, &table, open, key).await?;
    let result = async {
        or(user.resource.place.held.wait(), user.resource.over.wait()).await?;
        let Some(value) = user.resource.value() else {
            return Err(user.resource.failure());
        };
        let resource = user.resource.clone();
        nursery(async |n| {
            n.start_soon::<()>(async {
                resource.over.wait().await?;
                Err(resource.failure())
            });
            let result = body(value, was_there).await;
            n.cancel();
            result
        })
        .await
    };
    let result = result.await;
    user.leave(result).await
}

/// The resources that one function has opened, by their keys.
struct Table<F, K, V> {
    resources: RefCell<HashMap<K, Rc<Resource<V>>>>,
    _of: PhantomData<fn() -> F>,
}

impl<F, K, V> Default for Table<F, K, V> {
    fn default() -> Self {
        Self {
            resources: RefCell::default(),
            _of: PhantomData,
        }
    }
}

struct Resource<V> {
    users: Cell<usize>,
    place: Rc<Place<V>>,
    scope: ScopeHandle,
    /// It is not given out any more.
    closing: Cell<bool>,
    /// Set when its task has ended.
    over: Event,
    failed: RefCell<Option<Error>>,
}

impl<V: Clone + 'static> Resource<V> {
    /// What it is, if it is there.
    fn value(&self) -> Option<V> {
        self.place.clone_value().filter(|_| !self.over.is_set())
    }

    /// What users are told when it is gone before they are.
    fn failure(&self) -> Error {
        let failed = self.failed.borrow().clone();
        failed.unwrap_or_else(|| ResourceEnded.into())
    }

    /// Nobody needs it any more.
    fn close(&self) {
        self.closing.set(true);
        match self.place.held.is_set() {
            true => self.place.release.set(),
            false => self.scope.cancel(),
        }
    }
}

/// One who needs a resource.
struct User<V: Clone + 'static> {
    resource: Rc<Resource<V>>,
    has_left: bool,
}

impl<V: Clone + 'static> User<V> {
    async fn enter<F, K>(
        actor: &Rc<Actor>,
        table: &Rc<Table<F, K, V>>,
        open: F,
        key: K,
    ) -> Result<(Self, bool)>
    where
        F: AsyncFn(K, Hold<V>) -> Result<()> + Copy + 'static,
        K: Eq + Hash + Clone + 'static,
    {
        check_cancelled()?;
        loop {
            let found = table.resources.borrow().get(&key).cloned();
            match found {
                Some(resource) if resource.closing.get() => resource.over.wait().await?,
                Some(resource) => return Ok((Self::of(resource), true)),
                None => return Ok((Self::of(begin(actor, table, open, key)?), false)),
            }
        }
    }

    fn of(resource: Rc<Resource<V>>) -> Self {
        resource.users.set(resource.users.get() + 1);
        Self {
            resource,
            has_left: false,
        }
    }

    /// Closes it if this was the last, and waits until it is closed.
    async fn leave<T>(mut self, result: Result<T>) -> Result<T> {
        self.has_left = true;
        let resource = self.resource.clone();
        if !self.release() {
            return result;
        }
        // The shield hides what could be told.
        let _ = shield(resource.over.wait()).await;
        let failed = resource.failed.take();
        match (result, failed) {
            (result, None) => result,
            (Err(error), Some(failed)) if error.id() != failed.id() && !error.is_cancelled() => {
                Err(Error::group(
                    "a resource and its last user",
                    vec![error, failed],
                ))
            }
            (_, Some(failed)) => Err(failed),
        }
    }

    /// True for the last one.
    fn release(&self) -> bool {
        let users = self.resource.users.get() - 1;
        self.resource.users.set(users);
        if users == 0 {
            self.resource.close();
        }
        users == 0
    }
}

impl<V: Clone + 'static> Drop for User<V> {
    fn drop(&mut self) {
        if !self.has_left {
            self.release();
        }
    }
}

/// Starts the task that opens it, holds it and closes it.
fn begin<F, K, V>(
    actor: &Rc<Actor>,
    table: &Rc<Table<F, K, V>>,
    open: F,
    key: K,
) -> Result<Rc<Resource<V>>>
where
    F: AsyncFn(K, Hold<V>) -> Result<()> + Copy + 'static,
    K: Eq + Hash + Clone + 'static,
    V: Clone + 'static,
{
    let scope = CancelScope::new();
    let resource = Rc::new(Resource {
        users: Cell::new(0),
        place: Place::new(),
        scope: scope.handle(),
        closing: Cell::new(false),
        over: Event::new(),
        failed: RefCell::default(),
    });
    table
        .resources
        .borrow_mut()
        .insert(key.clone(), resource.clone());
    let task = Task {
        resource: resource.clone(),
        table: table.clone(),
        key: key.clone(),
    };
    actor.services().start_soon(async move {
        let opened = open(key, task.resource.place.hold());
        let ended = AssertUnwindSafe(scope.run(opened)).catch_unwind().await;
        *task.resource.failed.borrow_mut() = match ended {
            Ok(Ok(Outcome::Completed(()))) if !task.resource.place.held.is_set() => {
                Some(NeverHeld.into())
            }
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error),
            Err(panic) => {
                let text = panic_text(&*panic);
                Some(Error::msg(format!("a shared resource panicked: {text}")))
            }
        };
        Ok(())
    })?;
    Ok(resource)
}

/// The task of a resource: when this is dropped, the resource is gone.
struct Task<F, K: Eq + Hash, V> {
    resource: Rc<Resource<V>>,
    table: Rc<Table<F, K, V>>,
    key: K,
}

impl<F, K: Eq + Hash, V> Drop for Task<F, K, V> {
    fn drop(&mut self) {
        let gone = self.table.resources.borrow_mut().remove(&self.key);
        drop(gone);
        self.resource.closing.set(true);
        self.resource.over.set();
    }
}

/// A shared resource ended while it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceEnded;

impl fmt::Display for ResourceEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shared resource ended while it was used")
    }
}

impl std::error::Error for ResourceEnded {}
