//! Where the code that runs is: the scope and the task that poll it. Kept in plain thread-local
//! cells, so that an operation that need not wait costs a few loads and stores.

use std::cell::Cell;
use std::task::{Context, Waker};

use super::waker::Key;
use super::{DELIVERIES_PER_POLL, OPERATIONS_PER_POLL, Operation, PATIENCE_PER_DELIVERY};
use crate::scope::tree::NodeId;

pub(crate) struct Here {
    node: Cell<NodeId>,
    /// The task that polls: its own wakers carry this key.
    task: Cell<Option<Key>>,
    /// Whether the scope is effectively cancelled.
    cancelled: Cell<bool>,
    /// How many operations the task may do at once before one yields.
    operations: Cell<u32>,
    /// What this poll of the task may still spend on operations begun when cancelled.
    patience: Cell<u32>,
    /// Counts the changes of flags anywhere in the tree: a place that is restored after one must
    /// look again whether it is cancelled.
    changes: Cell<u64>,
    /// The operation that was pending last in this poll of the task.
    operation: Cell<Option<Operation>>,
    cancel_points: Cell<u64>,
    schedule_points: Cell<u64>,
}

/// What is put aside while another task is polled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    node: NodeId,
    task: Option<Key>,
    cancelled: bool,
    operations: u32,
    patience: u32,
    operation: Option<Operation>,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self {
        node: NodeId::NONE,
        task: None,
        cancelled: false,
        operations: OPERATIONS_PER_POLL,
        patience: DELIVERIES_PER_POLL * PATIENCE_PER_DELIVERY,
        operation: None,
    };
}

thread_local! {
    static HERE: Here = const {
        Here {
            node: Cell::new(Place::NOWHERE.node),
            task: Cell::new(Place::NOWHERE.task),
            cancelled: Cell::new(Place::NOWHERE.cancelled),
            operations: Cell::new(Place::NOWHERE.operations),
            patience: Cell::new(Place::NOWHERE.patience),
            operation: Cell::new(None),
            changes: Cell::new(0),
            cancel_points: Cell::new(0),
            schedule_points: Cell::new(0),
        }
    };
}

/// The visit of a task-like frame. Goes back to the place before when dropped.
pub(crate) struct TaskVisit {
    before: Place,
    changes: u64,
}

impl Drop for TaskVisit {
    #[inline]
    fn drop(&mut self) {
        Here::restore(self.before);
        Here::look_again(self.changes);
    }
}

/// The visit of a scope in the same task. Goes back to the scope before when dropped.
pub(crate) struct ScopeVisit {
    node: NodeId,
    cancelled: bool,
    changes: u64,
}

impl Drop for ScopeVisit {
    #[inline]
    fn drop(&mut self) {
        HERE.with(|here| {
            here.node.set(self.node);
            here.cancelled.set(self.cancelled);
        });
        Here::look_again(self.changes);
    }
}

impl Here {
    /// Goes into a task-like frame: with shares of its own.
    #[inline]
    pub(crate) fn visit_task(node: NodeId, task: Key, cancelled: bool) -> TaskVisit {
        let before = Self::replace(Place {
            node,
            task: Some(task),
            cancelled,
            ..Place::NOWHERE
        });
        TaskVisit {
            before,
            changes: Self::changes(),
        }
    }

    /// Goes into a scope of the same task.
    #[inline]
    pub(crate) fn visit_scope(node: NodeId, cancelled: bool) -> ScopeVisit {
        HERE.with(|here| ScopeVisit {
            node: here.node.replace(node),
            cancelled: here.cancelled.replace(cancelled),
            changes: here.changes.get(),
        })
    }

    #[inline]
    pub(crate) fn replace(place: Place) -> Place {
        HERE.with(|here| Place {
            node: here.node.replace(place.node),
            task: here.task.replace(place.task),
            cancelled: here.cancelled.replace(place.cancelled),
            operations: here.operations.replace(place.operations),
            patience: here.patience.replace(place.patience),
            operation: here.operation.replace(place.operation),
        })
    }

    #[inline]
    pub(crate) fn restore(place: Place) {
        Self::replace(place);
    }

    /// The runtime whose task polls here.
    #[inline]
    pub(crate) fn executor() -> Option<u16> {
        HERE.with(|here| here.task.get()).map(Key::executor)
    }

    #[inline]
    pub(crate) fn node() -> NodeId {
        HERE.with(|here| here.node.get())
    }

    #[inline]
    pub(crate) fn is_cancelled() -> bool {
        HERE.with(|here| here.cancelled.get())
    }

    /// Notes in which operation the task waits.
    #[inline]
    pub(crate) fn waits_in(operation: Operation) {
        HERE.with(|here| here.operation.set(Some(operation)));
    }

    /// In which operation the task waits, as far as it was noted in this poll.
    #[inline]
    pub(crate) fn operation() -> Option<Operation> {
        HERE.with(|here| here.operation.get())
    }

    pub(crate) fn set_cancelled(cancelled: bool) {
        HERE.with(|here| here.cancelled.set(cancelled));
    }

    /// Notes that flags in the tree changed.
    pub(crate) fn tree_changed() {
        HERE.with(|here| here.changes.set(here.changes.get() + 1));
    }

    /// Whether `waker` is the one of the task that runs.
    #[inline]
    pub(crate) fn owns(waker: &Waker) -> bool {
        HERE.with(|here| match here.task.get() {
            Some(task) => Key::of(waker) == Some(task),
            None => false,
        })
    }

    /// Counts a cancel point; whether the scope is cancelled.
    #[inline]
    pub(crate) fn cancel_point() -> bool {
        HERE.with(|here| {
            here.cancel_points.set(here.cancel_points.get() + 1);
            here.cancelled.get()
        })
    }

    /// Counts a schedule point and takes an operation from the task's share. False if the
    /// share is used up, and the operation has to yield first.
    #[inline]
    pub(crate) fn schedule_point() -> bool {
        HERE.with(|here| {
            here.schedule_points.set(here.schedule_points.get() + 1);
            let left = here.operations.get().checked_sub(1);
            here.operations.set(left.unwrap_or(OPERATIONS_PER_POLL));
            left.is_some()
        })
    }

    /// Whether the task may be told once more in this poll that it is cancelled. That takes an
    /// operation from its share too, but cannot yield: the frame would be dropped. The next scope
    /// that is begun outside of the cancelled one does.
    pub(crate) fn deliver() -> bool {
        Self::take_operation();
        Self::spend(PATIENCE_PER_DELIVERY)
    }

    /// Whether a scope may be begun here: not if the task has used up its share, and has to yield
    /// first; nor in a loop that begins them for ever in a cancelled scope. What is inside of them
    /// answers for itself, so they are counted too, as a fraction of a delivery.
    #[inline]
    pub(crate) fn may_begin(cx: &Context<'_>) -> bool {
        HERE.with(|here| {
            if here.cancelled.get() {
                return Self::spend(1);
            }
            if here.operations.get() > 0 {
                return true;
            }
            here.operations.set(OPERATIONS_PER_POLL);
            cx.waker().wake_by_ref();
            false
        })
    }

    /// Whether a nursery may be opened here, as [`may_begin`](Self::may_begin). Takes an operation
    /// from the task's share, since its body and children have shares of their own.
    #[inline]
    pub(crate) fn may_open(cx: &Context<'_>) -> bool {
        let may_begin = Self::may_begin(cx);
        if may_begin {
            Self::take_operation();
        }
        may_begin
    }

    pub(crate) fn counts() -> (u64, u64) {
        HERE.with(|here| (here.cancel_points.get(), here.schedule_points.get()))
    }

    /// How often flags in trees have changed on this thread.
    #[inline]
    pub(crate) fn changes() -> u64 {
        HERE.with(|here| here.changes.get())
    }

    /// Looks again whether this place is cancelled, if flags changed since there were so many changes.
    #[inline]
    pub(crate) fn look_again(changes: u64) {
        if Self::changes() != changes {
            Self::refresh();
        }
    }

    #[cold]
    fn refresh() {
        if let Some(core) = super::try_current() {
            core.refresh_here();
        }
    }

    #[inline]
    fn take_operation() {
        HERE.with(|here| {
            let left = here.operations.get();
            here.operations.set(left.saturating_sub(1));
        });
    }

    fn spend(price: u32) -> bool {
        HERE.with(|here| {
            let left = here.patience.get().checked_sub(price);
            here.patience.set(left.unwrap_or(here.patience.get()));
            left.is_some()
        })
    }
}
