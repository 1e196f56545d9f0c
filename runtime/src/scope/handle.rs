use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::tree::NodeId;
use crate::cause::{CancelCause, CancelKind};
use crate::error::{Error, Result};
use crate::executor::{Core, try_current};
use crate::time::Instant;

/// What a scope is to be like when it is entered.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) deadline: Option<When>,
    pub(crate) shield: bool,
    pub(crate) cause: Option<CancelCause>,
    /// Asked to stop by then, for this cause.
    pub(crate) stop: Option<Box<(When, CancelCause)>>,
    pub(crate) location: &'static Location<'static>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    At(Instant),
    /// So long after the entry.
    In(Duration),
}

impl Spec {
    pub(crate) fn new(location: &'static Location<'static>) -> Self {
        Self {
            deadline: None,
            shield: false,
            cause: None,
            stop: None,
            location,
        }
    }

    /// Makes a node that was just put into the tree what this says.
    pub(crate) fn apply(&self, core: &Core, node: NodeId) {
        if self.shield {
            core.change(|tree, woken| tree.enter_shielded(node, woken));
        }
        if let Some(cause) = &self.cause {
            core.change(|tree, woken| tree.cancel(node, cause, woken));
        }
        if let Some(deadline) = self.deadline {
            let now = core.now();
            core.change(|tree, woken| {
                tree.set_deadline(node, Some(deadline.counted_from(now)));
                tree.expire_one(node, now, woken);
            });
        }
        if let Some((end, cause)) = self.stop.as_deref() {
            let now = core.now();
            core.change(|tree, woken| {
                tree.stop(node, end.counted_from(now), cause, woken);
                tree.expire_one(node, now, woken);
            });
        }
    }
}

impl When {
    /// The moment, if it is known before the entry.
    fn moment(self) -> Option<Instant> {
        match self {
            Self::At(when) => Some(when),
            Self::In(_) => None,
        }
    }

    fn counted_from(self, now: Instant) -> Instant {
        match self {
            Self::At(when) => when,
            Self::In(time) => now + time,
        }
    }
}

/// A scope from outside: to cancel it, to change it while it runs, and to ask what became of it.
///
/// Clones are of the same scope. A handle is valid before the scope is entered (what is said then
/// is remembered), while it runs, and afterwards, when changes have no effect on anybody.
#[derive(Clone)]
pub struct ScopeHandle(Rc<RefCell<Phase>>);

enum Phase {
    Unentered(Spec),
    Active { core: Rc<Core>, node: NodeId },
    Exited(Exit),
}

#[derive(Clone, Debug)]
struct Exit {
    cancel_called: bool,
    caught: bool,
    cause: Option<CancelCause>,
    deadline: Option<Instant>,
    shielded: bool,
}

impl ScopeHandle {
    pub(crate) fn new(spec: Spec) -> Self {
        Self(Rc::new(RefCell::new(Phase::Unentered(spec))))
    }

    /// Cancels the scope: every operation of the runtime under it says so from now on, and
    /// what then still waits, unshielded, is dropped.
    ///
    /// Takes effect at once, and again has no effect. Cancelling a scope that was not entered yet
    /// cancels its first checkpoint; one that was left already, nothing.
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::new(CancelKind::Requested));
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        let (core, node) = {
            match &mut *self.0.borrow_mut() {
                Phase::Unentered(spec) => {
                    spec.cause.get_or_insert(cause);
                    return;
                }
                Phase::Exited(exit) => {
                    exit.cancel_called = true;
                    exit.cause.get_or_insert(cause);
                    return;
                }
                Phase::Active { core, node } => (core.clone(), *node),
            }
        };
        if !core.is_closed() {
            core.change(|tree, woken| tree.cancel(node, &cause, woken));
        }
    }

    /// Asks the scope to stop within `grace`; then it is cancelled.
    ///
    /// Who cares to know sees it with [`stopping`](crate::stopping),
    /// [`until_stopping`](crate::until_stopping) or [`is_stopping`](crate::is_stopping), and ends
    /// in its own time; everything else goes on until the grace is over. A shield hides this as it
    /// hides a cancellation. A second call may bring the end nearer, never further away, and the
    /// first cause stays. The end of the grace counts in the effective deadline.
    ///
    /// A scope that was not entered yet is asked at its entry, and its grace counts from this call,
    /// or from the entry if this was called outside of a runtime.
    #[track_caller]
    pub fn stop(&self, grace: Duration) {
        self.stop_because(grace, CancelCause::new(CancelKind::Requested));
    }

    /// [`stop`](Self::stop) for a cause made elsewhere: with which the scope is cancelled when the
    /// grace is over.
    pub fn stop_because(&self, grace: Duration, cause: CancelCause) {
        if let Some((core, node)) = self.active() {
            let until = core.now() + grace;
            core.change(|tree, woken| tree.stop(node, until, &cause, woken));
        } else if let Phase::Unentered(spec) = &mut *self.0.borrow_mut() {
            let end = match try_current() {
                Some(core) => When::At(core.now() + grace),
                None => When::In(grace),
            };
            match &mut spec.stop {
                Some(stop) => match (&mut stop.0, end) {
                    (When::At(before), When::At(end)) => *before = end.min(*before),
                    (When::In(before), When::In(grace)) => *before = grace.min(*before),
                    // What was said outside of a runtime gives way to a moment.
                    (before, end) => *before = end,
                },
                none => *none = Some(Box::new((end, cause))),
            }
        }
    }

    /// When the grace of [`stop`](Self::stop) ends and the scope is cancelled, while it runs.
    pub fn grace_end(&self) -> Option<Instant> {
        let (core, node) = self.active()?;
        core.tree(|tree| tree.grace_end(node))
    }

    /// Whether anybody asked for this scope to be cancelled, or its deadline has passed: looks at
    /// the clock, and cancels the scope if it has.
    pub fn cancel_called(&self) -> bool {
        if let Some((core, node)) = self.active() {
            let now = core.now();
            core.change(|tree, woken| tree.expire_one(node, now, woken));
            return core.tree(|tree| tree.is_cancel_called(node));
        }
        match &mut *self.0.borrow_mut() {
            Phase::Exited(exit) => exit.cancel_called,
            Phase::Unentered(spec) => {
                if let (None, Some(When::At(deadline)), Some(core)) =
                    (&spec.cause, spec.deadline, try_current())
                    && deadline <= core.now()
                {
                    spec.cause = Some(CancelCause::at(CancelKind::Deadline, None, spec.location));
                }
                spec.cause.is_some()
            }
            // Its runtime is over, and its clock with it.
            Phase::Active { core, node } => core.tree(|tree| tree.is_cancel_called(*node)),
        }
    }

    /// Whether the scope cut its work short: it was left by a cancellation that it absorbed.
    /// False before it is left.
    pub fn cancelled_caught(&self) -> bool {
        match &*self.0.borrow() {
            Phase::Exited(exit) => exit.caught,
            _ => false,
        }
    }

    /// Why the scope is cancelled: the first cause that reached it.
    pub fn cause(&self) -> Option<CancelCause> {
        match &*self.0.borrow() {
            Phase::Unentered(spec) => spec.cause.clone(),
            Phase::Active { core, node } => core.tree(|tree| tree.cause(*node).cloned()),
            Phase::Exited(exit) => exit.cause.clone(),
        }
    }

    /// When the scope is cancelled by the clock. `None` also for a timeout before the entry, from
    /// which it will count.
    pub fn deadline(&self) -> Option<Instant> {
        match &*self.0.borrow() {
            Phase::Unentered(spec) => spec.deadline.and_then(When::moment),
            Phase::Active { core, node } => core.tree(|tree| tree.deadline(*node)),
            Phase::Exited(exit) => exit.deadline,
        }
    }

    /// Moves the deadline, or takes it away. One in the past cancels at the next batch, not in
    /// this call. A scope that was cancelled stays so.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        match &mut *self.0.borrow_mut() {
            Phase::Unentered(spec) => spec.deadline = deadline.map(When::At),
            Phase::Active { core, node } => {
                core.tree_mut(|tree| tree.set_deadline(*node, deadline));
                core.call_host();
            }
            Phase::Exited(exit) => exit.deadline = deadline,
        }
    }

    /// Sets the deadline to `timeout` from now; before the entry, from then.
    pub fn set_timeout(&self, timeout: Duration) {
        let deadline = match &mut *self.0.borrow_mut() {
            Phase::Unentered(spec) => {
                spec.deadline = Some(When::In(timeout));
                return;
            }
            Phase::Active { core, .. } => core.now() + timeout,
            Phase::Exited(_) => return,
        };
        self.set_deadline(Some(deadline));
    }

    /// Whether the scope hides the cancellation of those around it.
    pub fn shielded(&self) -> bool {
        match &*self.0.borrow() {
            Phase::Unentered(spec) => spec.shield,
            Phase::Active { core, node } => core.tree(|tree| tree.is_shielded(*node)),
            Phase::Exited(exit) => exit.shielded,
        }
    }

    /// Makes the scope hide the cancellation of those around it, or no longer. Both take effect at
    /// once. Its own `cancel()` and deadline are not hidden.
    pub fn set_shield(&self, shield: bool) {
        if let Some((core, node)) = self.active() {
            core.change(|tree, woken| tree.set_shield(node, shield, woken));
            return;
        }
        match &mut *self.0.borrow_mut() {
            Phase::Unentered(spec) => spec.shield = shield,
            Phase::Exited(exit) => exit.shielded = shield,
            Phase::Active { .. } => {}
        }
    }

    /// Whether the scope was entered, and not left yet.
    pub fn is_active(&self) -> bool {
        matches!(&*self.0.borrow(), Phase::Active { .. })
    }

    /// Whether the scope was left, or the future that runs it was dropped.
    pub fn is_exited(&self) -> bool {
        matches!(&*self.0.borrow(), Phase::Exited(_))
    }

    /// Whether operations under the scope say now that they are cancelled: by this scope or by one
    /// around it.
    pub fn is_effectively_cancelled(&self) -> bool {
        self.active()
            .is_some_and(|(core, node)| core.tree(|tree| tree.is_effective(node)))
    }

    /// Ties a handle that was made late to a scope that runs already.
    pub(crate) fn activate(&self, core: &Rc<Core>, node: NodeId) {
        let mut phase = self.0.borrow_mut();
        if matches!(&*phase, Phase::Unentered(_)) {
            *phase = Phase::Active {
                core: core.clone(),
                node,
            };
        }
    }

    /// Whether the scope, or one around it that no shield hides, was asked to stop or is cancelled.
    pub fn is_stopping(&self) -> bool {
        self.active().is_some_and(|(core, node)| {
            core.tree(|tree| tree.is_stopping(node) || tree.is_effective(node))
        })
    }

    fn active(&self) -> Option<(Rc<Core>, NodeId)> {
        match &*self.0.borrow() {
            Phase::Active { core, node } if !core.is_closed() => Some((core.clone(), *node)),
            _ => None,
        }
    }

    /// Nobody can enter the scope any more, if nobody has.
    fn give_up(&self) {
        let phase = &mut *self.0.borrow_mut();
        if let Phase::Unentered(spec) = phase {
            *phase = Phase::Exited(Exit {
                cancel_called: spec.cause.is_some(),
                caught: false,
                cause: spec.cause.take(),
                deadline: spec.deadline.and_then(When::moment),
                shielded: spec.shield,
            });
        }
    }

    fn exit(&self, core: &Core, node: NodeId, caught: bool) {
        let exit = core.tree(|tree| Exit {
            cancel_called: tree.is_cancel_called(node),
            caught,
            cause: tree.cause(node).cloned(),
            deadline: tree.deadline(node),
            shielded: tree.is_shielded(node),
        });
        let before = self.0.replace(Phase::Exited(exit));
        drop(before);
    }
}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, core) = match &*self.0.borrow() {
            Phase::Unentered(_) => ("unentered", try_current()),
            Phase::Active { core, .. } => ("active", Some(core.clone())),
            Phase::Exited(_) => ("exited", try_current()),
        };
        write!(f, "ScopeHandle({phase}")?;
        // The deadline of a scope of another thread's runtime cannot be related to any clock.
        if let (Some(deadline), Some(core)) = (self.deadline(), core) {
            let now = core.now();
            if deadline >= now {
                write!(f, ", deadline in {:.2?}", deadline - now)?;
            } else {
                write!(f, ", deadline {:.2?} ago", now - deadline)?;
            }
        }
        if self.shielded() {
            f.write_str(", shielded")?;
        }
        if let Some(cause) = self.cause() {
            write!(f, ", cancelled: {cause}")?;
        }
        f.write_str(")")
    }
}

/// How a scope is entered and left, for scope futures and nurseries alike.
#[derive(Debug)]
pub(crate) enum Entry {
    Spec(Spec),
    Handle(ScopeHandle),
}

impl Entry {
    /// The handle, made if nobody asked for it before.
    pub(crate) fn handle(&mut self) -> ScopeHandle {
        if let Self::Spec(spec) = self {
            *self = Self::Handle(ScopeHandle::new(spec.clone()));
        }
        match self {
            Self::Handle(handle) => handle.clone(),
            Self::Spec(_) => unreachable!("it was just replaced"),
        }
    }

    pub(crate) fn with_spec(&mut self, f: impl FnOnce(&mut Spec)) {
        match self {
            Self::Spec(spec) => f(spec),
            Self::Handle(handle) => {
                if let Phase::Unentered(spec) = &mut *handle.0.borrow_mut() {
                    f(spec);
                }
            }
        }
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        match self {
            Self::Spec(spec) => spec.location,
            Self::Handle(handle) => match &*handle.0.borrow() {
                Phase::Unentered(spec) => spec.location,
                _ => Location::caller(),
            },
        }
    }

    /// Makes the node what was asked for, and ties the handle to it.
    pub(crate) fn enter(&self, core: &Rc<Core>, node: NodeId) {
        match self {
            Self::Spec(spec) => spec.apply(core, node),
            Self::Handle(handle) => {
                let active = Phase::Active {
                    core: core.clone(),
                    node,
                };
                if let Phase::Unentered(spec) = handle.0.replace(active) {
                    spec.apply(core, node);
                }
            }
        }
    }

    /// What comes out of a scope that is left with `result`: takes the cancellations out if it
    /// is this scope's to absorb them.
    pub(crate) fn exit<T>(
        &self,
        core: &Core,
        node: NodeId,
        result: Result<T>,
    ) -> std::result::Result<T, Exited> {
        let mut caught = false;
        let result = result.map_err(|error| {
            if !error.contains_cancelled() || !core.tree(|tree| tree.absorbs(node)) {
                return Exited::Failed(error);
            }
            caught = true;
            let cause = core.cancelled_at(node).cause().clone();
            match error.without_cancelled() {
                None => Exited::Cancelled(cause),
                Some(rest) => Exited::Failed(rest),
            }
        });
        if let Self::Handle(handle) = self {
            handle.exit(core, node, caught);
        }
        result
    }

    /// Leaves a scope whose future is dropped before it was polled.
    pub(crate) fn give_up(&self) {
        if let Self::Handle(handle) = self {
            handle.give_up();
        }
    }

    /// Leaves a scope whose future is dropped.
    pub(crate) fn abandon(&self, core: &Core, node: NodeId) {
        if let Self::Handle(handle) = self {
            handle.exit(core, node, false);
        }
    }
}

/// A scope that was left without a value.
#[derive(Debug)]
pub(crate) enum Exited {
    /// Nothing but cancellations, and absorbed.
    Cancelled(CancelCause),
    Failed(Error),
}
