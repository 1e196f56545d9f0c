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
//! This file uses nothing but atomics and the queue, both by way of `super::sync`, so that a test
//! can put a model checker's in their place.

use super::sync::{AtomicBool, Bell, Ordering, Queue, fence};

pub(crate) struct Mailbox {
    posted: Queue<u64>,
    /// Holds one bell while the owner wants to be called.
    bell: Queue<Bell>,
    open: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            posted: Queue::unbounded(),
            bell: Queue::unbounded(),
            open: AtomicBool::new(false),
        }
    }

    /// Posts a key from any thread, and calls the owner.
    pub(crate) fn post(&self, key: u64) {
        // A closed mailbox may open again right now. Then the key is stale, and harmless.
        if self.open.load(Ordering::Acquire) {
            let _ = self.posted.push(key);
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

    /// Owner: how many messages there are now.
    pub(crate) fn len(&self) -> usize {
        self.posted.len()
    }

    /// Owner: takes the next message.
    pub(crate) fn take(&self) -> Option<u64> {
        self.posted.pop().ok()
    }

    /// Owner: asks to be called at the next message. False if there are messages now, and then
    /// the bell may have been rung or not.
    pub(crate) fn hang_up(&self, bell: &Bell) -> bool {
        while self.bell.pop().is_ok() {}
        let _ = self.bell.push(bell.clone());
        fence(Ordering::SeqCst);
        self.posted.is_empty()
    }

    /// Owner: takes no more messages, and calls nobody.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.discard();
    }

    fn discard(&self) {
        while self.bell.pop().is_ok() {}
        while self.posted.pop().is_ok() {}
    }
}
