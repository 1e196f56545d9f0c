//! The slots of tasks and the lists of those that are ready.
//!
//! A slot stands for what can be woken: the main future, and every child and body of a nursery.
//! It belongs to the ready list of whoever polls it: list 0 is the executor's, the others are
//! nurseries'. A list with something in it has had its own poller woken.

use std::task::Waker;

use slab::Slab;

use super::waker::{Key, MAX_SLOTS};

#[derive(Debug)]
pub(crate) struct Slots {
    executor: u16,
    next_generation: u32,
    slots: Slab<Slot>,
    lists: Slab<List>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    queued: bool,
    /// The next in the ready list, while queued.
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
    /// Wakes the poller of the list. The executor's own list has none.
    poller: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListId(u32);

/// The generation of slots that ended while they were queued: no key has it.
const ENDED: u32 = u32::MAX;

/// The list of what the executor polls itself.
pub(crate) const ROOT_LIST: ListId = ListId(0);

impl Slots {
    pub(crate) fn new(executor: u16) -> Self {
        let mut lists = Slab::new();
        lists.insert(List::default());
        Self {
            executor,
            next_generation: 0,
            slots: Slab::new(),
            lists,
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, list: ListId, member: u32) -> Key {
        assert!(
            self.slots.len() < MAX_SLOTS,
            "too many tasks in one runtime"
        );
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let key = |index| Key::new(self.executor, generation, index);
        let generation = key(0).generation();
        let index = self.slots.insert(Slot {
            generation,
            queued: false,
            next: 0,
            list: list.0,
            member,
        }) as u32;
        key(index)
    }

    /// Ends a slot. One that is queued (a task may wake itself in its last poll) keeps its place
    /// until it is popped.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) {
        match self.slots.get_mut(key.index() as usize) {
            Some(slot) if slot.generation != key.generation() => {}
            Some(slot) if slot.queued => slot.generation = ENDED,
            Some(_) => {
                self.slots.remove(key.index() as usize);
            }
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

    /// Says who polls the list from now on.
    #[inline]
    pub(crate) fn set_poller(&mut self, list: ListId, waker: &Waker) -> Option<Waker> {
        let poller = &mut self.lists[list.0 as usize].poller;
        match poller {
            Some(poller) if poller.will_wake(waker) => None,
            poller => poller.replace(waker.clone()),
        }
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
            let list = slot.list;
            self.push(ListId(list), key.index());
            let poller = self.lists[list as usize].poller.as_ref()?;
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
            list.batch = list.batch.saturating_sub(1);
            list.head = (list.len > 0).then_some(slot.next);
            slot.queued = false;
            if slot.generation != ENDED {
                let key = Key::new(self.executor, slot.generation, index);
                return Some((key, slot.member));
            }
            self.slots.remove(index as usize);
        }
    }

    /// How many tasks are left of a batch that was stopped.
    #[inline]
    pub(crate) fn rest(&self, list: ListId) -> u32 {
        self.lists[list.0 as usize].batch
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
            self.push(list, index);
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
        let living = self.slots.iter().map(|(_, slot)| slot);
        living
            .filter(|slot| slot.generation != ENDED)
            .map(|slot| (slot.member, slot.queued))
    }

    #[inline]
    fn push(&mut self, list: ListId, index: u32) {
        let list = &mut self.lists[list.0 as usize];
        match list.head {
            None => list.head = Some(index),
            Some(_) => self.slots[list.tail as usize].next = index,
        }
        list.tail = index;
        list.len += 1;
    }
}
