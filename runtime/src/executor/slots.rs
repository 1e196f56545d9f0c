//! The slots of tasks and the lists of those that are ready.
//!
//! A slot stands for what can be woken: the main future, and every child and body of a nursery.
//! It belongs to the ready list of whoever polls it: list 0 is the executor's, the others are
//! nurseries'. A list with something in it has had its own poller woken, or is being polled.

use std::task::Waker;

use slab::Slab;

use super::waker::{Key, MAX_SLOTS};

#[derive(Debug)]
pub(crate) struct Slots {
    executor: u16,
    next_generation: u32,
    /// Those that are not in use are chained by `next`, from `free` on.
    slots: Vec<Slot>,
    free: u32,
    lists: Slab<List>,
    /// How many slots are queued, in all lists.
    ready: u32,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    queued: bool,
    /// The next in the ready list, while queued; the next that is free, while free.
    next: u32,
    list: u32,
    /// What the owner of the list calls this task.
    member: u32,
}

#[derive(Debug, Default)]
struct List {
    head: Option<u32>,
    tail: u32,
    len: u32,
    /// How many at the front belong to the batch that runs, or was stopped half way.
    batch: u32,
    /// Whether its poller polls it now, and will look at it before it waits.
    polled: bool,
    /// Wakes the poller of the list. The executor's own list has none.
    poller: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListId(u32);

/// The generation of slots that ended while they were queued: no key has it.
const ENDED: u32 = u32::MAX;

/// The generation of slots that are not in use.
const FREE: u32 = ENDED - 1;

const NIL: u32 = u32::MAX;

/// The list of what the executor polls itself.
pub(crate) const ROOT_LIST: ListId = ListId(0);

impl Slots {
    pub(crate) fn new(executor: u16) -> Self {
        let mut lists = Slab::new();
        lists.insert(List::default());
        Self {
            executor,
            next_generation: 0,
            slots: Vec::new(),
            free: NIL,
            lists,
            ready: 0,
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, list: ListId, member: u32) -> Key {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let key = |index| Key::new(self.executor, generation, index);
        let generation = key(0).generation();
        let new = Slot {
            generation,
            queued: false,
            next: NIL,
            list: list.0,
            member,
        };
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let index = std::mem::replace(&mut self.free, slot.next);
            *slot = new;
            return key(index);
        }
        let index = self.slots.len();
        assert!(index < MAX_SLOTS, "too many tasks in one runtime");
        self.slots.push(new);
        key(index as u32)
    }

    /// Ends a slot. One that is queued (a task may wake itself in its last poll) keeps its place
    /// until it is popped.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) {
        match self.slots.get_mut(key.index() as usize) {
            Some(slot) if slot.generation != key.generation() => {}
            Some(slot) if slot.queued => slot.generation = ENDED,
            Some(_) => self.release(key.index()),
            None => {}
        }
    }

    /// What the owner of its list calls a task.
    pub(crate) fn member(&self, key: Key) -> Option<u32> {
        let slot = self.slots.get(key.index() as usize)?;
        (slot.generation == key.generation()).then_some(slot.member)
    }

    /// Whether a task is ready.
    pub(crate) fn is_queued(&self, key: Key) -> bool {
        let slot = self.slots.get(key.index() as usize);
        slot.is_some_and(|slot| slot.generation == key.generation() && slot.queued)
    }

    pub(crate) fn add_list(&mut self) -> ListId {
        ListId(self.lists.insert(List::default()) as u32)
    }

    /// Takes a list out whose slots have all ended.
    pub(crate) fn remove_list(&mut self, list: ListId) -> Option<Waker> {
        while self.pop(list).is_some() {}
        self.lists.remove(list.0 as usize).poller
    }

    /// Says who polls the list from now on, and that this begins: until
    /// [`end_poll`](Self::end_poll) nobody is woken to poll it. What comes back is the waker of who
    /// polled it before, and how many tasks are left of a batch that was stopped.
    #[inline]
    pub(crate) fn begin_poll(&mut self, list: ListId, waker: &Waker) -> (Option<Waker>, u32) {
        let list = &mut self.lists[list.0 as usize];
        list.polled = true;
        let before = match &mut list.poller {
            Some(poller) if poller.will_wake(waker) => None,
            poller => poller.replace(waker.clone()),
        };
        (before, list.batch)
    }

    /// Says that the list is not polled any more. If something in it is ready its poller is queued,
    /// or handed out to be woken.
    #[inline]
    pub(crate) fn end_poll(&mut self, list: ListId) -> Option<Waker> {
        let list = &mut self.lists[list.0 as usize];
        list.polled = false;
        if list.len == 0 {
            return None;
        }
        let poller = list.poller.as_ref()?;
        match Key::of(poller) {
            Some(key) if key.executor() == self.executor => self.wake(key),
            _ => Some(poller.clone()),
        }
    }

    /// Whether something in this list is ready, and nothing else is in the whole runtime.
    #[inline]
    pub(crate) fn is_alone(&self, list: ListId) -> bool {
        let len = self.lists[list.0 as usize].len;
        len > 0 && len == self.ready
    }

    /// The waker of who polls the list.
    pub(crate) fn poller(&self, list: ListId) -> Option<Waker> {
        self.lists[list.0 as usize].poller.clone()
    }

    /// Queues a task, and those that have to poll so that it is reached. A waker that is not of
    /// this runtime is handed out, to be called when nothing is borrowed.
    #[inline]
    pub(crate) fn wake(&mut self, mut key: Key) -> Option<Waker> {
        loop {
            let slot = self.slots.get_mut(key.index() as usize)?;
            if slot.generation != key.generation() || slot.queued {
                return None;
            }
            slot.queued = true;
            let list = &mut self.lists[slot.list as usize];
            // If there is one already behind a batch that was stopped, the poller was woken for
            // that, and takes all of them when it is polled.
            let told = list.polled || list.len > list.batch;
            list.push(&mut self.slots, key.index());
            self.ready += 1;
            if told {
                return None;
            }
            let poller = list.poller.as_ref()?;
            match Key::of(poller) {
                Some(poller) if poller.executor() == self.executor => key = poller,
                _ => return Some(poller.clone()),
            }
        }
    }

    /// Takes the first ready task of a list: its key, and what the owner calls it.
    #[inline]
    pub(crate) fn pop(&mut self, list: ListId) -> Option<(Key, u32)> {
        let list = &mut self.lists[list.0 as usize];
        loop {
            let index = list.head?;
            let slot = &mut self.slots[index as usize];
            list.len -= 1;
            self.ready -= 1;
            list.batch = list.batch.saturating_sub(1);
            list.head = (list.len > 0).then_some(slot.next);
            slot.queued = false;
            if slot.generation != ENDED {
                let key = Key::new(self.executor, slot.generation, index);
                return Some((key, slot.member));
            }
            slot.generation = FREE;
            slot.next = std::mem::replace(&mut self.free, index);
        }
    }

    /// Makes everything that is ready now one batch, of so many.
    #[inline]
    pub(crate) fn begin_batch(&mut self, list: ListId) -> u32 {
        let list = &mut self.lists[list.0 as usize];
        list.batch = list.len;
        list.batch
    }

    /// The same in another order: `pick(n)` gives a number below `n`.
    pub(crate) fn begin_shuffled_batch(
        &mut self,
        list: ListId,
        mut pick: impl FnMut(usize) -> usize,
    ) -> u32 {
        let mut indices = Vec::new();
        while let Some((key, _)) = self.pop(list) {
            indices.push(key.index());
        }
        for i in (1..indices.len()).rev() {
            indices.swap(i, pick(i + 1));
        }
        for index in indices {
            self.slots[index as usize].queued = true;
            self.ready += 1;
            self.lists[list.0 as usize].push(&mut self.slots, index);
        }
        self.begin_batch(list)
    }

    /// Takes the next task of the batch.
    #[inline]
    pub(crate) fn pop_batch(&mut self, list: ListId) -> Option<(Key, u32)> {
        if self.lists[list.0 as usize].batch == 0 {
            return None;
        }
        self.pop(list)
    }

    /// The living tasks: what the owner calls each, and whether it is ready.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (u32, bool)> {
        let living = self.slots.iter();
        living
            .filter(|slot| slot.generation < FREE)
            .map(|slot| (slot.member, slot.queued))
    }

    #[inline]
    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.generation = FREE;
        slot.next = std::mem::replace(&mut self.free, index);
    }
}

impl List {
    #[inline]
    fn push(&mut self, slots: &mut [Slot], index: u32) {
        match self.head {
            None => self.head = Some(index),
            Some(_) => slots[self.tail as usize].next = index,
        }
        self.tail = index;
        self.len += 1;
    }
}
