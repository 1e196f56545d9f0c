//! A queue of waiting operations, first come first served, from which any may withdraw.

use std::task::{Context, Waker};

use slab::Slab;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u32);

#[derive(Debug)]
pub(crate) struct Waiters<T> {
    entries: Slab<Entry<T>>,
    head: u32,
    tail: u32,
    queued: usize,
}

#[derive(Debug)]
struct Entry<T> {
    previous: u32,
    next: u32,
    queued: bool,
    value: T,
}

const NIL: u32 = u32::MAX;

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Waiters<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            head: NIL,
            tail: NIL,
            queued: 0,
        }
    }

    pub(crate) fn push(&mut self, value: T) -> Ticket {
        let index = self.entries.insert(Entry {
            previous: self.tail,
            next: NIL,
            queued: true,
            value,
        }) as u32;
        match self.entries.get_mut(self.tail as usize) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.queued += 1;
        Ticket(index)
    }

    /// Takes an entry away, whether it is in the queue still or was served.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> T {
        self.unlink(ticket);
        self.entries.remove(ticket.0 as usize).value
    }

    /// Takes the first out of the queue, and keeps its entry until it comes for it.
    pub(crate) fn serve(&mut self) -> Option<&mut T> {
        let ticket = self.first()?;
        self.unlink(ticket);
        Some(self.get_mut(ticket))
    }

    /// Takes an entry out of the queue, and keeps it until it comes for it.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        self.unlink(ticket);
    }

    /// Takes the first for which `matches` holds out of the queue, and keeps its entry.
    pub(crate) fn serve_where(&mut self, matches: impl Fn(&T) -> bool) -> Option<&mut T> {
        let mut next = self.head;
        while let Some(entry) = self.entries.get(next as usize) {
            if matches(&entry.value) {
                self.unlink(Ticket(next));
                return Some(self.get_mut(Ticket(next)));
            }
            next = entry.next;
        }
        None
    }

    /// How many are in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> &mut T {
        &mut self.entries[ticket.0 as usize].value
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.first().map(|ticket| self.remove(ticket))
    }

    /// All entries, served or not, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.value)
    }

    /// All entries, served or not, in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| &mut entry.value)
    }

    fn first(&self) -> Option<Ticket> {
        (self.head != NIL).then_some(Ticket(self.head))
    }

    fn unlink(&mut self, ticket: Ticket) {
        let entry = &mut self.entries[ticket.0 as usize];
        if !std::mem::take(&mut entry.queued) {
            return;
        }
        self.queued -= 1;
        let (previous, next) = (entry.previous, entry.next);
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.head = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.tail = previous,
        }
    }
}

/// Has whoever polls now called instead. What comes back is to be dropped when nothing is borrowed.
#[must_use = "dropping a waker may run foreign code"]
pub(crate) fn renew(waker: &mut Waker, cx: &Context<'_>) -> Option<Waker> {
    (!waker.will_wake(cx.waker())).then(|| std::mem::replace(waker, cx.waker().clone()))
}
