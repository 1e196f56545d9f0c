use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use slab::Slab;

use super::handle::NurseryHandle;
use super::options::{ChildOptions, NurseryOptions, Origin};
use super::start::{Start, StartState, TaskStatus};
use super::task::{Child, End, Task, TaskHandle, erase, lend};
use crate::cause::{CancelCause, CancelKind, Cancelled};
use crate::error::{Error, Result};
use crate::executor::slots::ListId;
use crate::executor::waker::Key;
use crate::executor::{BATCHES_PER_POLL, Core, Here, Polled, current, poll_task};
use crate::scope::tree::NodeId;
use crate::scope::{Entry, Link, Outcome, ScopeHandle, checkpoint};
use crate::sync::Semaphore;

/// Runs `body` with a nursery, and returns when the body and all children have ended.
///
/// Children may borrow from whatever outlives this call, and from the nursery. The nursery has a
/// scope of its own, in which body and children run. When one of them fails, that scope is
/// cancelled, and every error that is not this cancellation comes out: one as itself, several as
/// a group.
///
/// ```
/// use tractor_runtime::{nursery, run};
///
/// run(async || {
///     let words = ["borrowed", "by", "children"];
///     let total: usize = nursery(async |n| {
///         let handles = words.each_ref().map(|word| n.start_soon(async move { Ok(word.len()) }));
///         let mut total = 0;
///         for handle in handles {
///             total += handle.await?;
///         }
///         Ok(total)
///     })
///     .await?;
///     assert_eq!(total, 18);
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// Waiting for the children at the end is no cancel point: it is they who see a cancellation.
/// If a foreign combinator (`select!`) drops this future, the children are dropped at once, without
/// a chance to clean up; to stop early, cancel the nursery or a scope around it instead.
///
/// # Errors
///
/// As said above. If the nursery's own scope is cancelled and cut the body short, so that there is
/// no value, the error is that [`Cancelled`]; [`NurseryOptions::run`] tells this apart.
///
/// # Panics
///
/// With the first panic of the body or a child, when all others have been cancelled and have
/// ended. Further panics are logged.
#[track_caller]
pub fn nursery<'env, T>(
    body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>,
) -> impl Future<Output = Result<T>> {
    let run = NurseryOptions::new().run(body);
    async move {
        match run.await? {
            Outcome::Completed(value) => Ok(value),
            Outcome::Cancelled(cause) => Err(Cancelled::new(cause).into()),
        }
    }
}

pub(super) fn run<'env, T>(
    entry: Entry,
    limit: Option<Semaphore>,
    body: impl for<'scope> AsyncFnOnce(&'scope Nursery<'scope, 'env>) -> Result<T>,
) -> impl Future<Output = Result<Outcome<T>>> {
    let nursery = Rc::new_cyclic(|this| Nursery::new(this.clone(), entry, limit));
    // Nobody but the body and the children, for whom every 'scope must do, sees for how long
    // the nursery is lent.
    let body = body(lend(&nursery));
    NurseryFuture {
        body: Some(body),
        value: None,
        nursery,
    }
}

/// The body and the children of a running [`nursery`], to start more.
///
/// `'scope` is how long children live, `'env` what they may borrow from.
pub struct Nursery<'scope, 'env: 'scope> {
    this: Weak<Nursery<'static, 'static>>,
    location: &'static Location<'static>,
    entry: RefCell<Entry>,
    place: RefCell<Option<Place>>,
    closed: Cell<bool>,
    children: RefCell<Slab<Entered>>,
    /// How many of the children are services.
    services: Cell<u32>,
    /// For those that are started only when there is room.
    limit: Option<Semaphore>,
    /// How many `start` calls have neither a value nor a result yet.
    pub(crate) starting: Cell<u32>,
    errors: RefCell<Vec<Error>>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Where an open nursery is.
struct Place {
    link: Link,
    list: ListId,
    body: Option<Seat>,
}

/// What makes a body or a child something that can be woken and cancelled.
#[derive(Clone, Copy)]
struct Seat {
    key: Key,
    node: NodeId,
}

struct Entered {
    child: Rc<dyn Child>,
    seat: Seat,
    service: bool,
    /// Who waits for it to start.
    start: Option<Rc<dyn StartState>>,
}

/// What the ready list calls the body. Children are called by their number.
pub(crate) const BODY: u32 = u32::MAX;

impl<'scope, 'env> Nursery<'scope, 'env> {
    /// Starts a child: it runs from the next batch on, as code of the nursery's scope.
    ///
    /// A child that is started in a cancelled nursery runs up to its first checkpoint.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn start_soon<T: 'scope>(
        &'scope self,
        child: impl Future<Output = Result<T>> + 'scope,
    ) -> TaskHandle<'scope, T> {
        self.spawn(child, Origin::new(Location::caller()))
    }

    /// [`start_soon`](Self::start_soon) with a name for causes and dumps.
    #[track_caller]
    pub fn start_soon_named<T: 'scope>(
        &'scope self,
        name: impl Into<Cow<'static, str>>,
        child: impl Future<Output = Result<T>> + 'scope,
    ) -> TaskHandle<'scope, T> {
        self.child().name(name).start_soon(child)
    }

    /// A child with settings: a name, or to be a service of the others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tractor_runtime::{nursery, run, time::{sleep, sleep_forever}};
    ///
    /// run(async || {
    ///     nursery(async |n| {
    ///         n.child().name("heartbeat").service().start_soon(async {
    ///             loop {
    ///                 sleep(Duration::from_millis(1)).await?;
    ///             }
    ///             # #[allow(unreachable_code)]
    ///             Ok(())
    ///         });
    ///         n.start_soon(async { Ok(sleep(Duration::from_millis(5)).await?) });
    ///         Ok(()) // the heart stops when the other child is done
    ///     })
    ///     .await
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn child(&'scope self) -> ChildOptions<'scope, 'env> {
        ChildOptions::new(self, Location::caller())
    }

    /// Starts a child when there is room for it: when fewer of those that were started in this way
    /// run than [`NurseryOptions::limit`](super::NurseryOptions::limit) says; first come, first
    /// served. Without a limit there always is. A checkpoint.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use tractor_runtime::{NurseryOptions, checkpoint, run};
    ///
    /// run(async || {
    ///     let running = Cell::new(0);
    ///     NurseryOptions::new()
    ///         .limit(3)
    ///         .run(async |n| {
    ///             for _ in 0..100 {
    ///                 n.start_soon_limited(async {
    ///                     running.set(running.get() + 1);
    ///                     assert!(running.get() <= 3);
    ///                     checkpoint().await?;
    ///                     running.set(running.get() - 1);
    ///                     Ok(())
    ///                 })
    ///                 .await?;
    ///             }
    ///             Ok(())
    ///         })
    ///         .await?;
    ///     Ok(())
    /// })
    /// # .unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope of the caller is: then the child has not been started, and is
    /// dropped.
    #[track_caller]
    pub fn start_soon_limited<T: 'scope>(
        &'scope self,
        child: impl Future<Output = Result<T>> + 'scope,
    ) -> impl Future<Output = std::result::Result<TaskHandle<'scope, T>, Cancelled>> {
        let origin = Origin::new(Location::caller());
        async move {
            let Some(limit) = &self.limit else {
                checkpoint().await?;
                return Ok(self.spawn(child, origin));
            };
            let room = limit.acquire().await?;
            let child = async move {
                let _room = room;
                child.await
            };
            Ok(self.spawn(child, origin))
        }
    }

    /// Starts a child, and waits until it says with [`TaskStatus::started`] that it is ready.
    ///
    /// Until then the child is in the scope of the caller, and from then on in the nursery's. So
    /// a caller that is cancelled cancels the child, and waits for it: the result is then what the
    /// child made of it. If this future is dropped by a foreign combinator before it gave the
    /// value, the child is cancelled, also if it has started, and the nursery waits for it.
    ///
    /// # Errors
    ///
    /// The child's own error, if it failed before it was ready, and then the nursery does not fail;
    /// [`NotStarted`](super::NotStarted) if it ended without a word;
    /// [`NurseryClosed`](super::NurseryClosed).
    ///
    /// # Panics
    ///
    /// When awaited in another runtime than the nursery's, whose scopes the child cannot be in.
    #[track_caller]
    pub fn start<V: 'scope>(
        &'scope self,
        child: impl AsyncFnOnce(TaskStatus<V>) -> Result<()> + 'scope,
    ) -> impl Future<Output = Result<V>> {
        Start::new(self, child, Origin::new(Location::caller()))
    }

    /// A handle to start children from elsewhere that do not borrow.
    pub fn handle(&self) -> NurseryHandle {
        NurseryHandle::new(self.strong())
    }

    /// The scope of this nursery.
    pub fn scope(&self) -> ScopeHandle {
        let before = self.entry.borrow_mut().handle();
        if let Some(place) = &*self.place.borrow() {
            before.activate(&place.link.core, place.link.node);
        }
        before
    }

    /// Cancels the body and all children.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::new(CancelKind::Requested));
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        match &*self.place.borrow() {
            Some(Place { link, .. }) if !link.core.is_closed() => {
                link.core
                    .change(|tree, woken| tree.cancel(link.node, &cause, woken));
            }
            _ => self.scope().cancel_because(cause),
        }
    }

    /// Asks body and children to stop within `grace`; then they are cancelled. See
    /// [`ScopeHandle::stop`].
    #[track_caller]
    pub fn stop(&self, grace: Duration) {
        let cause = CancelCause::new(CancelKind::Requested);
        self.scope().stop_because(grace, cause);
    }

    /// Whether the nursery takes no more children.
    pub fn is_closed(&self) -> bool {
        let place = self.place.borrow();
        let runtime_gone = place
            .as_ref()
            .is_some_and(|place| place.link.core.is_closed());
        self.closed.get() || runtime_gone
    }

    fn new(this: Weak<Nursery<'static, 'static>>, entry: Entry, limit: Option<Semaphore>) -> Self {
        Self {
            this,
            location: entry.location(),
            entry: RefCell::new(entry),
            place: RefCell::new(None),
            closed: Cell::new(false),
            children: RefCell::new(Slab::new()),
            services: Cell::new(0),
            limit,
            starting: Cell::new(0),
            errors: RefCell::default(),
            panic: Cell::new(None),
            scope: PhantomData,
            env: PhantomData,
        }
    }

    pub(crate) fn strong(&self) -> Rc<Nursery<'static, 'static>> {
        let this = self.this.upgrade();
        this.expect("a nursery is in its Rc for as long as it can be borrowed")
    }

    /// Where the nursery is; opens it if this is its first use.
    #[inline]
    fn place(&self) -> (Rc<Core>, NodeId, ListId) {
        if let Some(place) = &*self.place.borrow() {
            return (place.link.core.clone(), place.link.node, place.list);
        }
        let place = self.open();
        let (core, node, list) = (place.link.core.clone(), place.link.node, place.list);
        self.place.replace(Some(place));
        (core, node, list)
    }

    /// Whether the code that runs is a task of the runtime that the nursery is in.
    pub(super) fn is_of_this_runtime(&self) -> bool {
        let (core, ..) = self.place();
        Here::executor() == Some(core.id())
    }

    /// Where the nursery is, for a poll of it, which it follows; `None` if it has to be opened.
    #[inline]
    fn follow(&self) -> Option<(Rc<Core>, ListId)> {
        let mut place = self.place.borrow_mut();
        let place = place.as_mut()?;
        place.link.follow();
        Some((place.link.core.clone(), place.list))
    }

    fn open(&self) -> Place {
        let entry = self.entry.borrow();
        let link = Link::open(current(), self.location);
        let core = link.core.clone();
        core.tree_mut(|tree| tree.set_holding(link.node, true));
        entry.enter(&core, link.node);
        let (list, key) = core.with_slots(|slots| {
            let list = slots.add_list();
            (list, slots.insert(list, BODY))
        });
        let node = core.tree_mut(|tree| tree.insert(Some(link.node), Some(key), self.location));
        // Nobody is told to poll the list: whoever opens the nursery is about to.
        core.wake(key);
        Place {
            link,
            list,
            body: Some(Seat { key, node }),
        }
    }

    /// Puts a child into the nursery, in its scope or under that of whoever waits for it to start.
    pub(crate) fn spawn<T: 'scope, F: Future<Output = Result<T>> + 'scope>(
        &self,
        future: F,
        origin: Origin,
    ) -> TaskHandle<'scope, T> {
        let Origin {
            location,
            name,
            service,
            start,
        } = origin;
        let task = Task::new(future);
        if self.is_closed() {
            task.drop_future();
            task.end(End::Refused);
            return TaskHandle::new(task, None);
        }
        let (core, scope, list) = self.place();
        let parent = start.as_ref().map_or(scope, |(_, caller)| *caller);
        let seat = {
            let mut children = self.children.borrow_mut();
            let vacant = children.vacant_entry();
            let key = core.with_slots(|slots| slots.insert(list, vacant.key() as u32));
            let node = core.tree_mut(|tree| tree.insert(Some(parent), Some(key), location));
            let seat = Seat { key, node };
            vacant.insert(Entered {
                child: erase(task.clone()),
                seat,
                service,
                start: start.map(|(state, _)| state),
            });
            seat
        };
        self.services.set(self.services.get() + u32::from(service));
        if let Some(name) = name {
            core.name_task(seat.node, name.into());
        }
        if core.is_instrumented() {
            core.tell_spawned(seat.key, seat.node);
        }
        core.wake(seat.key);
        TaskHandle::new(task, Some((core, seat.node)))
    }

    /// Moves a child that has started into the scope of the nursery.
    pub(crate) fn adopt(&self, node: NodeId) {
        let (core, scope, _) = self.place();
        core.change(|tree, woken| tree.reparent(node, Some(scope), woken));
    }

    /// Polls the nursery's future again, to look whether it is done.
    pub(crate) fn nudge(&self) {
        let place = self.place.borrow();
        if let Some(place) = &*place {
            let poller = place.link.core.with_slots(|slots| slots.poller(place.list));
            if let Some(poller) = poller {
                poller.wake();
            }
        }
    }

    fn poll_child(&self, core: &Rc<Core>, key: Key, number: u32) {
        let (child, node) = match self.children.borrow().get(number as usize) {
            Some(entered) => (entered.child.clone(), entered.seat.node),
            None => return,
        };
        match poll_task(core, key, node, |cx| child.poll(cx)) {
            Polled::Pending => {}
            Polled::Ready(result) => self.child_ended(core, number, result),
            Polled::Cancelled(cancelled) => {
                match catch_unwind(AssertUnwindSafe(|| child.drop_future())) {
                    Ok(()) => self.child_ended(core, number, Err(cancelled.into())),
                    Err(panic) => self.child_panicked(core, number, panic),
                }
            }
            Polled::Panicked(panic) => {
                let dropped = catch_unwind(AssertUnwindSafe(|| child.drop_future()));
                if let Err(panic) = dropped {
                    log_panic(self.location, panic.as_ref());
                }
                self.child_panicked(core, number, panic);
            }
        }
    }

    fn child_ended(&self, core: &Rc<Core>, number: u32, result: Result<()>) {
        let (child, seat, start) = self.take_child(number);
        let wanted = child.is_wanted();
        let failed = |error: &Error| End::Failed(wanted.then(|| error.clone()));
        let (end, error) = match result {
            Ok(()) => (End::Returned, None),
            // A cancellation that is the child's alone ends with the child.
            Err(error)
                if error.contains_cancelled() && core.tree(|tree| tree.absorbs(seat.node)) =>
            {
                match error.without_cancelled() {
                    Some(rest) => (failed(&rest), Some(rest)),
                    None => {
                        let cancelled = core.cancelled_at(seat.node);
                        (End::Cancelled(cancelled.cause().clone()), None)
                    }
                }
            }
            Err(error) => (failed(&error), Some(error)),
        };
        let error = match start {
            Some(start) => start.ended(&end, error),
            None => error,
        };
        if let Some(error) = error {
            self.failed(core, error, |error| {
                self.blame(core, seat.node, format!("a child failed: {}", text(error)))
            });
        }
        self.unseat(core, seat);
        child.end(end);
    }

    fn child_panicked(&self, core: &Rc<Core>, number: u32, panic: Box<dyn Any + Send>) {
        let (child, seat, start) = self.take_child(number);
        if let Some(start) = start {
            start.ended(&End::Panicked, None);
        }
        let cause = self.blame(core, seat.node, "a child panicked".to_owned());
        self.unseat(core, seat);
        child.end(End::Panicked);
        self.panicked(core, panic, &cause);
    }

    /// Cancels the children that are there for others, when there are no others any more.
    #[cold]
    fn cancel_services(&self, core: &Core) {
        let children = self.children.borrow();
        let nodes = children.iter().map(|(_, entered)| entered.seat.node);
        let nodes: Vec<_> = core.tree(|tree| {
            nodes
                .filter(|node| !tree.is_cancel_called(*node))
                .collect::<Vec<_>>()
        });
        drop(children);
        if nodes.is_empty() {
            return;
        }
        let cause = CancelCause::at(CancelKind::Shutdown, None, self.location)
            .with_reason("all that it was a service of has ended");
        for node in nodes {
            core.change(|tree, woken| tree.cancel(node, &cause, woken));
        }
    }

    /// The cause of the cancellation of all by the failure of one.
    fn blame(&self, core: &Core, node: NodeId, reason: String) -> CancelCause {
        let label = core.label(node);
        let location = label.as_ref().map_or(self.location, |label| label.location);
        CancelCause::at(CancelKind::SiblingFailed, label, location).with_reason(reason)
    }

    fn take_child(&self, number: u32) -> (Rc<dyn Child>, Seat, Option<Rc<dyn StartState>>) {
        let entered = self.children.borrow_mut().remove(number as usize);
        let services = self.services.get() - u32::from(entered.service);
        self.services.set(services);
        (entered.child, entered.seat, entered.start)
    }

    fn unseat(&self, core: &Core, seat: Seat) {
        if core.is_instrumented() {
            core.tell_exited(seat.key, seat.node);
        }
        core.forget_name(seat.node);
        core.with_slots(|slots| slots.remove(seat.key));
        core.remove_node(seat.node);
    }

    /// Keeps an error of the body or a child, and cancels the rest.
    fn failed(&self, core: &Core, error: Error, cause: impl FnOnce(&Error) -> CancelCause) {
        let scope = self.scope_node();
        if !core.tree(|tree| tree.is_cancel_called(scope)) {
            // A cancellation from further out stays the cause.
            let cause = match core.tree(|tree| tree.cause(scope).cloned()) {
                Some(cause) => cause,
                None => cause(&error),
            };
            core.change(|tree, woken| tree.cancel(scope, &cause, woken));
        }
        self.errors.borrow_mut().push(error);
    }

    fn panicked(&self, core: &Core, panic: Box<dyn Any + Send>, cause: &CancelCause) {
        let scope = self.scope_node();
        core.change(|tree, woken| tree.cancel(scope, cause, woken));
        match self.panic.take() {
            None => self.panic.set(Some(panic)),
            Some(first) => {
                self.panic.set(Some(first));
                log_panic(self.location, panic.as_ref());
            }
        }
    }

    fn scope_node(&self) -> NodeId {
        match &*self.place.borrow() {
            Some(place) => place.link.node,
            None => NodeId::NONE,
        }
    }

    /// The errors of body and children as one. An error that came twice, from a child and from
    /// whoever awaited that child, counts once.
    fn error(&self) -> Option<Error> {
        let mut errors = self.errors.take();
        if errors.len() > 1 {
            let mut known = HashSet::new();
            errors.retain(|error| error.is_cancelled() || known.insert(error.id()));
        }
        let same_cancellation = |error: &Error| match (error.cancelled(), errors[0].cancelled()) {
            (Some(one), Some(first)) => error.is_cancelled() && one.cause().same_as(first.cause()),
            _ => false,
        };
        match errors.len() {
            0 => None,
            // Nothing but one cancellation, told many times.
            _ if errors.iter().all(same_cancellation) => errors.into_iter().next(),
            _ => Some(Error::group("several tasks of a nursery failed", errors)),
        }
    }
}

impl fmt::Debug for Nursery<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nursery")
            .field("children", &self.children.borrow().len())
            .field("closed", &self.closed.get())
            .finish_non_exhaustive()
    }
}

pin_project! {
    struct NurseryFuture<F, T> {
        #[pin]
        body: Option<F>,
        value: Option<T>,
        nursery: Rc<Nursery<'static, 'static>>,
    }

    impl<F, T> PinnedDrop for NurseryFuture<F, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            abandon(this.nursery, this.body);
        }
    }
}

impl<T, F: Future<Output = Result<T>>> Future for NurseryFuture<F, T> {
    type Output = Result<Outcome<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let nursery = &**this.nursery;
        assert!(
            !nursery.closed.get(),
            "a nursery was polled after it was done"
        );
        let (core, list, mut batches) = match nursery.follow() {
            Some((core, list)) if Here::owns(cx.waker()) => (core, list, BATCHES_PER_POLL),
            Some((core, list)) => (core, list, 1),
            None => {
                if !Here::may_open(cx) {
                    return Poll::Pending;
                }
                let (core, _, list) = nursery.place();
                (core, list, 1)
            }
        };
        // What became ready behind a batch that was stopped did not wake this nursery, which was
        // queued already. So it comes in this poll, behind the rest of that batch.
        let (poller, rest) = core.with_slots(|slots| slots.begin_poll(list, cx.waker()));
        drop(poller);
        let mut begun = rest == 0;
        let mut batch = if begun { core.begin_batch(list) } else { rest };
        let mut first = true;
        'batches: loop {
            for _ in 0..batch {
                // One at least, or a nursery deep down would never get its turn.
                if !core.take_poll() && !first {
                    break 'batches;
                }
                first = false;
                match core.with_slots(|slots| slots.pop_batch(list)) {
                    None => break,
                    Some((key, BODY)) => {
                        poll_body(nursery, &core, key, this.body.as_mut(), this.value);
                    }
                    Some((key, number)) => nursery.poll_child(&core, key, number),
                }
            }
            if std::mem::replace(&mut begun, true) {
                batches -= 1;
                if batches == 0 || !core.goes_on(list) {
                    break;
                }
            }
            batch = core.begin_batch(list);
        }
        let children = nursery.children.borrow().len();
        let services = nursery.services.get() as usize;
        let goes_on = this.body.is_some() || nursery.starting.get() > 0 || children > services;
        if goes_on || services > 0 {
            if let Some(poller) = core.with_slots(|slots| slots.end_poll(list)) {
                poller.wake();
            }
            if !goes_on {
                nursery.cancel_services(&core);
            }
            return Poll::Pending;
        }
        nursery.closed.set(true);
        let place = nursery.place.borrow_mut().take();
        let place = place.expect("a polled nursery is open");
        let poller = core.with_slots(|slots| slots.remove_list(list));
        drop(poller);
        let value = this.value.take();
        let result = match nursery.error() {
            Some(error) => Err(error),
            None => Ok(()),
        };
        let exit = nursery.entry.borrow().exit(&core, place.link.node, result);
        drop(place);
        if let Some(panic) = nursery.panic.take() {
            resume_unwind(panic);
        }
        Poll::Ready(match (Outcome::from_exit(exit), value) {
            (Ok(_), Some(value)) => Ok(Outcome::Completed(value)),
            (Ok(Outcome::Cancelled(cause)), None) => Ok(Outcome::Cancelled(cause)),
            (Ok(Outcome::Completed(())), None) => {
                unreachable!("a body gave neither a value nor an error")
            }
            (Err(error), _) => Err(error),
        })
    }
}

fn poll_body<T, F: Future<Output = Result<T>>>(
    nursery: &Nursery<'_, '_>,
    core: &Rc<Core>,
    key: Key,
    mut body: Pin<&mut Option<F>>,
    value: &mut Option<T>,
) {
    let seat = match &*nursery.place.borrow() {
        Some(Place {
            body: Some(seat), ..
        }) => *seat,
        _ => return,
    };
    let polled = poll_task(core, key, seat.node, |cx| {
        match body.as_mut().as_pin_mut() {
            Some(body) => body.poll(cx),
            None => Poll::Pending,
        }
    });
    let result = match polled {
        Polled::Pending => return,
        Polled::Ready(result) => Ok(result),
        Polled::Cancelled(cancelled) => Ok(Err(cancelled.into())),
        Polled::Panicked(panic) => Err(panic),
    };
    let dropped = catch_unwind(AssertUnwindSafe(|| body.set(None)));
    if let Some(place) = &mut *nursery.place.borrow_mut() {
        place.body = None;
    }
    nursery.unseat(core, seat);
    // The body runs in the task that opened the nursery.
    let scope = nursery.scope_node();
    match (result, dropped) {
        (Ok(Ok(done)), Ok(())) => *value = Some(done),
        (Ok(Err(error)), Ok(())) => nursery.failed(core, error, |error| {
            nursery.blame(core, scope, format!("the body failed: {}", text(error)))
        }),
        (Ok(_), Err(panic)) | (Err(panic), Ok(())) => {
            let cause = nursery.blame(core, scope, "the body panicked".to_owned());
            nursery.panicked(core, panic, &cause);
        }
        (Err(panic), Err(second)) => {
            log_panic(nursery.location, second.as_ref());
            let cause = nursery.blame(core, scope, "the body panicked".to_owned());
            nursery.panicked(core, panic, &cause);
        }
    }
}

/// Drops what is left of a nursery whose future is dropped: the children, then the body, then the
/// nursery itself.
fn abandon<F>(nursery: &Nursery<'_, '_>, mut body: Pin<&mut Option<F>>) {
    nursery.closed.set(true);
    let Some(core) = nursery
        .place
        .borrow()
        .as_ref()
        .map(|place| place.link.core.clone())
    else {
        return;
    };
    let mut first_panic = None;
    let mut guard = |drop: &mut dyn FnMut()| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(drop)) {
            match &first_panic {
                None => first_panic = Some(panic),
                Some(_) => log_panic(nursery.location, panic.as_ref()),
            }
        }
    };
    loop {
        let number = match nursery.children.borrow().iter().next() {
            Some((number, _)) => number as u32,
            None => break,
        };
        let (child, seat, start) = nursery.take_child(number);
        guard(&mut || child.drop_future());
        let cause = CancelCause::at(CancelKind::ParentCancelled, None, nursery.location)
            .with_reason("its nursery was dropped");
        nursery.unseat(&core, seat);
        let end = End::Cancelled(cause);
        if let Some(start) = start {
            start.ended(&end, None);
        }
        child.end(end);
    }
    guard(&mut || body.set(None));
    let Some(place) = nursery.place.borrow_mut().take() else {
        return;
    };
    if let Some(seat) = place.body {
        nursery.unseat(&core, seat);
    }
    let poller = core.with_slots(|slots| slots.remove_list(place.list));
    drop(poller);
    nursery.entry.borrow().abandon(&core, place.link.node);
    drop(place);
    let first_panic = first_panic.or_else(|| nursery.panic.take());
    match first_panic {
        Some(panic) if std::thread::panicking() => log_panic(nursery.location, panic.as_ref()),
        Some(panic) => resume_unwind(panic),
        None => {}
    }
}

/// What an error says of itself. That is foreign code: a panic in it is no reason to drop the siblings.
fn text(error: &Error) -> String {
    catch_unwind(AssertUnwindSafe(|| error.to_string()))
        .unwrap_or_else(|_| "its error panics when it is shown".to_owned())
}

fn log_panic(location: &'static Location<'static>, panic: &(dyn Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    log::error!(
        target: "tractor::nursery", scope:% = location;
        "one more panic in the nursery of {location}: {text}"
    );
}
