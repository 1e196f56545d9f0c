//! An indexed heap of deadlines: arming at the end and disarming anywhere are cheap, because
//! most deadlines never fire.

use slab::Slab;

use crate::time::Instant;

/// A deadline that is armed. Not valid after it fired or was disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadlineId(u32);

#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    /// A 4-ary min-heap. Equal instants are in the order of arming.
    heap: Vec<Due>,
    entries: Slab<Entry<T>>,
    next_order: u32,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    when: Instant,
    order: u32,
    entry: u32,
}

#[derive(Debug)]
struct Entry<T> {
    position: u32,
    target: T,
}

const ARITY: usize = 4;

impl<T> Deadlines<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: Vec::new(),
            entries: Slab::new(),
            next_order: 0,
        }
    }

    pub(crate) fn arm(&mut self, when: Instant, target: T) -> DeadlineId {
        let position = self.heap.len();
        let entry = self.entries.insert(Entry {
            position: position as u32,
            target,
        }) as u32;
        let order = self.next_order;
        self.next_order = order.wrapping_add(1);
        self.heap.push(Due { when, order, entry });
        self.sift_up(position);
        DeadlineId(entry)
    }

    pub(crate) fn disarm(&mut self, id: DeadlineId) -> T {
        let Entry { position, target } = self.entries.remove(id.0 as usize);
        self.remove_at(position as usize);
        target
    }

    pub(crate) fn rearm(&mut self, id: DeadlineId, when: Instant) {
        let position = self.entries[id.0 as usize].position as usize;
        self.heap[position].when = when;
        self.heap[position].order = self.next_order;
        self.next_order = self.next_order.wrapping_add(1);
        self.restore(position);
    }

    pub(crate) fn target_mut(&mut self, id: DeadlineId) -> &mut T {
        &mut self.entries[id.0 as usize].target
    }

    /// Takes one deadline that is not later than `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(DeadlineId, T)> {
        let first = *self.heap.first()?;
        if first.when > now {
            return None;
        }
        let id = DeadlineId(first.entry);
        Some((id, self.disarm(id)))
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|due| due.when)
    }

    #[cfg(test)]
    pub(crate) fn armed(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.heap
            .iter()
            .map(|due| (due.when, &self.entries[due.entry as usize].target))
    }

    fn remove_at(&mut self, position: usize) {
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.restore(position);
        }
    }

    fn restore(&mut self, position: usize) {
        if !self.sift_up(position) {
            self.sift_down(position);
        }
    }

    /// Moves the element towards the root; whether it moved.
    fn sift_up(&mut self, mut position: usize) -> bool {
        let start = position;
        let due = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !due.before(&self.heap[parent]) {
                break;
            }
            self.put(position, self.heap[parent]);
            position = parent;
        }
        self.put(position, due);
        position != start
    }

    fn sift_down(&mut self, mut position: usize) {
        let due = self.heap[position];
        loop {
            let first = position * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(least) = (first..last).reduce(|a, b| {
                if self.heap[b].before(&self.heap[a]) {
                    b
                } else {
                    a
                }
            }) else {
                break;
            };
            if !self.heap[least].before(&due) {
                break;
            }
            self.put(position, self.heap[least]);
            position = least;
        }
        self.put(position, due);
    }

    fn put(&mut self, position: usize, due: Due) {
        self.entries[due.entry as usize].position = position as u32;
        self.heap[position] = due;
    }
}

impl Due {
    fn before(&self, other: &Self) -> bool {
        (self.when, self.order) < (other.when, other.order)
    }
}
