//! How many tasks have come to a point: a count of the thread's, so that no task has to carry
//! anything for it.

use std::cell::Cell;

thread_local! {
    static TALLY: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn clear() {
    TALLY.set(0);
}

pub(super) fn add() {
    TALLY.set(TALLY.get() + 1);
}

pub(super) fn count() -> usize {
    TALLY.get()
}
