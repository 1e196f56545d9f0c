use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::future::{Nursery, run};
use super::start::{Start, StartState, TaskStatus};
use super::task::TaskHandle;
use crate::error::Result;
use crate::scope::tree::NodeId;
use crate::scope::{CancelScope, Entry, Outcome, Spec};
use crate::sync::Semaphore;

/// A nursery with settings.
#[derive(Debug)]
#[must_use = "a nursery does nothing until it is run"]
pub struct NurseryOptions {
    entry: Entry,
    limit: Option<usize>,
}

impl NurseryOptions {
    /// What [`nursery`](super::nursery) uses.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "the place of the call is kept")]
    pub fn new() -> Self {
        Self {
            entry: Entry::Spec(Spec::new(Location::caller())),
            limit: None,
        }
    }

    /// Makes `scope` the scope of the nursery: for a deadline, a shield, or a handle that was made
    /// before.
    pub fn scope(mut self, scope: CancelScope) -> Self {
        self.entry = scope.entry.into_inner();
        self
    }

    /// How many children there may be at a time of those that are started with
    /// [`Nursery::start_soon_limited`].
    ///
    /// # Panics
    ///
    /// If it is zero: none could ever be started.
    pub fn limit(mut self, children: usize) -> Self {
        assert!(
            children > 0,
            "a nursery was limited to no children at a time"
        );
        self.limit = Some(children);
        self
    }

    /// Runs `body` as [`nursery`](super::nursery) does.
    ///
    /// # Errors
    ///
    /// As [`nursery`](super::nursery), but a body that was cut short by the nursery's own scope is
    /// the outcome [`Outcome::Cancelled`].
    pub fn run<'env, T>(
        self,
        body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>,
    ) -> impl Future<Output = Result<Outcome<T>>> {
        run(self.entry, self.limit.map(Semaphore::new), body)
    }
}

/// A child to be, with settings. Made by [`Nursery::child`].
#[must_use = "a child does nothing until it is started"]
pub struct ChildOptions<'scope, 'env: 'scope> {
    nursery: &'scope Nursery<'scope, 'env>,
    origin: Origin,
}

/// Where a child comes from, and what kind of child it is.
pub(crate) struct Origin {
    pub(crate) location: &'static Location<'static>,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) service: bool,
    /// Who waits for it to start, and in which scope.
    pub(crate) start: Option<(Rc<dyn StartState>, NodeId)>,
}

impl Origin {
    #[inline]
    pub(crate) fn new(location: &'static Location<'static>) -> Self {
        Self {
            location,
            name: None,
            service: false,
            start: None,
        }
    }
}

impl<'scope, 'env> ChildOptions<'scope, 'env> {
    pub(crate) fn new(
        nursery: &'scope Nursery<'scope, 'env>,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            nursery,
            origin: Origin::new(location),
        }
    }

    /// A name for causes, dumps and logs.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.origin.name = Some(name.into());
        self
    }

    /// Makes it a service of the others: it is cancelled when the body, all children that are no
    /// services, and all pending [`start`](Nursery::start)s are done, and the nursery waits for its
    /// end. That it ends, then or before, fails nobody; an error of it does.
    pub fn service(mut self) -> Self {
        self.origin.service = true;
        self
    }

    /// Starts it, see [`Nursery::start_soon`].
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn start_soon<T: 'scope>(
        self,
        child: impl Future<Output = Result<T>> + 'scope,
    ) -> TaskHandle<'scope, T> {
        self.nursery.spawn(child, self.origin)
    }

    /// Starts it and waits until it is ready, see [`Nursery::start`].
    ///
    /// # Errors
    ///
    /// Those of [`Nursery::start`].
    pub fn start<V: 'scope>(
        self,
        child: impl AsyncFnOnce(TaskStatus<V>) -> Result<()> + 'scope,
    ) -> impl Future<Output = Result<V>> {
        Start::new(self.nursery, child, self.origin)
    }
}

impl fmt::Debug for ChildOptions<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildOptions")
            .field("name", &self.origin.name)
            .field("service", &self.origin.service)
            .finish_non_exhaustive()
    }
}
