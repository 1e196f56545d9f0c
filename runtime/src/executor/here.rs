//! Where the code that runs is: the scope and the task that poll it. Kept in plain thread-local
//! cells, so that an operation that need not wait costs a load and a branch.

use std::cell::Cell;
use std::task::Waker;

use super::waker::Key;
use super::{DELIVERIES_PER_POLL, OPERATIONS_PER_POLL, PATIENCE_PER_DELIVERY};
use crate::scope::tree::NodeId;

/// The position of the code that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    /// The task that polls: its own wakers carry this key.
    pub(crate) task: Option<Key>,
    /// Whether the scope is effectively cancelled.
    pub(crate) cancelled: bool,
    /// How many operations may succeed at once before one yields.
    operations: u32,
    /// What this poll of this task may still spend on operations begun when cancelled.
    patience: u32,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self {
        node: NodeId::NONE,
        task: None,
        cancelled: false,
        operations: OPERATIONS_PER_POLL,
        patience: DELIVERIES_PER_POLL * PATIENCE_PER_DELIVERY,
    };
}

pub(crate) struct Here {
    place: Cell<Place>,
    /// Counts the changes of flags anywhere in the tree: a place that is restored after one must
    /// look again whether it is cancelled.
    changes: Cell<u64>,
    cancel_points: Cell<u64>,
    schedule_points: Cell<u64>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            place: Cell::new(Place::NOWHERE),
            changes: Cell::new(0),
            cancel_points: Cell::new(0),
            schedule_points: Cell::new(0),
        }
    };
}

/// Goes back to the place before when dropped.
pub(crate) struct Visit {
    before: Place,
    same_task: bool,
    changes: u64,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut before = self.before;
        if self.same_task {
            let place = HERE.with(|here| here.place.get());
            before.operations = place.operations;
            before.patience = place.patience;
        }
        Here::restore(before);
        if Here::changes() != self.changes
            && let Some(core) = super::try_current()
        {
            core.refresh_here();
        }
    }
}

impl Here {
    /// Goes into a task-like frame: with a share of operations of its own.
    pub(crate) fn visit_task(node: NodeId, task: Key, cancelled: bool) -> Visit {
        let place = Place {
            node,
            task: Some(task),
            cancelled,
            ..Place::NOWHERE
        };
        Visit {
            before: Self::replace(place),
            same_task: false,
            changes: Self::changes(),
        }
    }

    /// Goes into a scope of the same task.
    pub(crate) fn visit_scope(node: NodeId, cancelled: bool) -> Visit {
        HERE.with(|here| {
            let before = here.place.get();
            here.place.set(Place {
                node,
                cancelled,
                ..before
            });
            Visit {
                before,
                same_task: true,
                changes: here.changes.get(),
            }
        })
    }

    pub(crate) fn replace(place: Place) -> Place {
        HERE.with(|here| here.place.replace(place))
    }

    pub(crate) fn restore(place: Place) {
        HERE.with(|here| here.place.set(place));
    }

    pub(crate) fn node() -> NodeId {
        HERE.with(|here| here.place.get().node)
    }

    pub(crate) fn changes() -> u64 {
        HERE.with(|here| here.changes.get())
    }

    /// Notes that flags in the tree changed.
    pub(crate) fn tree_changed() {
        HERE.with(|here| here.changes.set(here.changes.get() + 1));
    }

    pub(crate) fn is_cancelled() -> bool {
        HERE.with(|here| here.place.get().cancelled)
    }

    pub(crate) fn set_cancelled(cancelled: bool) {
        HERE.with(|here| {
            here.place.set(Place {
                cancelled,
                ..here.place.get()
            });
        });
    }

    /// Whether `waker` is the one of the task that runs.
    pub(crate) fn owns(waker: &Waker) -> bool {
        HERE.with(|here| match here.place.get().task {
            Some(task) => Key::of(waker) == Some(task),
            None => false,
        })
    }

    /// Counts a cancel point; whether the scope is cancelled.
    pub(crate) fn cancel_point() -> bool {
        HERE.with(|here| {
            here.cancel_points.set(here.cancel_points.get() + 1);
            here.place.get().cancelled
        })
    }

    /// Counts a schedule point and takes an operation from the task's share. False if the
    /// share is used up, and the operation has to yield first.
    pub(crate) fn schedule_point() -> bool {
        HERE.with(|here| {
            let place = here.place.get();
            let within = place.operations > 0;
            here.schedule_points.set(here.schedule_points.get() + 1);
            here.place.set(Place {
                operations: if within {
                    place.operations - 1
                } else {
                    OPERATIONS_PER_POLL
                },
                ..place
            });
            within
        })
    }

    /// Whether the task may be told once more in this poll that it is cancelled.
    pub(crate) fn deliver() -> bool {
        Self::spend(PATIENCE_PER_DELIVERY)
    }

    /// Whether a scope or nursery may be begun here: always, but for a loop that begins them for
    /// ever in a cancelled scope. What is inside of them answers for itself, so they are counted
    /// too, as a fraction of a delivery.
    pub(crate) fn may_begin() -> bool {
        !Self::is_cancelled() || Self::spend(1)
    }

    fn spend(price: u32) -> bool {
        HERE.with(|here| {
            let place = here.place.get();
            let left = place.patience.checked_sub(price);
            here.place.set(Place {
                patience: left.unwrap_or(place.patience),
                ..place
            });
            left.is_some()
        })
    }

    pub(crate) fn counts() -> (u64, u64) {
        HERE.with(|here| (here.cancel_points.get(), here.schedule_points.get()))
    }
}
