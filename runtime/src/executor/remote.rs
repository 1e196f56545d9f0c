//! What crosses threads: wakes of a runtime from elsewhere, the call that gets its attention,
//! and its end.
//!
//! One [`Mailbox`] stands for one runtime after the other and is never freed, so a waker that
//! outlived its runtime finds a mailbox that is closed or belongs to a later one; what it posts
//! there names no living slot and is ignored, or wakes a task for nothing.
//!
//! # Why no wake is lost
//!
//! A sender posts its key, and then takes the bell, if there is one, and rings it. The owner
//! hangs up the bell, and then looks once more whether anything was posted before it sleeps.
//! Sequentially consistent fences stand between the two steps of either side, so at least one of
//! them sees the other: the sender the bell, or the owner the key.
//!
//! # Why it does not grow
//!
//! Keys that are posted again and again while the owner is busy are thrown together whenever
//! there are twice as many as were different the last time. So there are never more than that and
//! a few.
//!
//! This file uses nothing but atomics, a lock and a queue, by way of `super::sync`, so that a test
//! can put a model checker's in their place.

use super::sync::{AtomicBool, Bell, Mutex, Ordering, Queue, fence};

pub(crate) struct Mailbox {
    posted: Mutex<Posted>,
    /// Whether nothing is posted. Changed with the lock held; read without it.
    empty: AtomicBool,
    /// Holds one bell while the owner wants to be called.
    bell: Queue<Bell>,
    open: AtomicBool,
}

struct Posted {
    keys: Vec<u64>,
    /// How many there may be before those that are equal are thrown together.
    limit: usize,
}

/// How many keys are kept without a look whether some are equal.
const FEW: usize = 64;

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            posted: Mutex::new(Posted {
                keys: Vec::new(),
                limit: FEW,
            }),
            empty: AtomicBool::new(true),
            bell: Queue::unbounded(),
            open: AtomicBool::new(false),
        }
    }

    /// Posts a key from any thread, and calls the owner.
    pub(crate) fn post(&self, key: u64) {
        // A closed mailbox may open again right now. Then the key is stale, and harmless.
        if self.open.load(Ordering::Acquire) {
            self.with_posted(|posted| {
                posted.push(key);
                self.empty.store(false, Ordering::Release);
            });
            self.ring();
        }
    }

    /// Calls the owner without a message.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if let Ok(bell) = self.bell.pop() {
            bell.wake();
        }
    }

    /// Owner: begins to take messages.
    pub(crate) fn open(&self) {
        self.discard();
        self.open.store(true, Ordering::Release);
    }

    /// Owner: whether there are no messages now.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Acquire)
    }

    /// Owner: takes all messages that there are now. `keys` must be empty.
    pub(crate) fn take_all(&self, keys: &mut Vec<u64>) {
        self.with_posted(|posted| {
            std::mem::swap(&mut posted.keys, keys);
            posted.limit = FEW;
            self.empty.store(true, Ordering::Release);
        });
    }

    /// Owner: asks to be called at the next message. False if there are messages now, and then
    /// the bell may have been rung or not.
    pub(crate) fn hang_up(&self, bell: &Bell) -> bool {
        while self.bell.pop().is_ok() {}
        let _ = self.bell.push(bell.clone());
        fence(Ordering::SeqCst);
        self.is_empty()
    }

    /// Owner: takes no more messages, and calls nobody.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.discard();
    }

    fn discard(&self) {
        while self.bell.pop().is_ok() {}
        self.take_all(&mut Vec::new());
    }

    fn with_posted(&self, f: impl FnOnce(&mut Posted)) {
        let posted = self.posted.lock();
        f(&mut posted.unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Posted {
    fn push(&mut self, key: u64) {
        if self.keys.len() >= self.limit {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.limit = FEW.max(self.keys.len() * 2);
        }
        self.keys.push(key);
    }
}
