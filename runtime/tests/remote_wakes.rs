//! A model of everything that can happen between a runtime and wakes from other threads.
//!
//! The module under test is compiled again here, with the atomics of a model checker, which then
//! tries every order of the steps of all threads, and every value that a load may see.

#[path = "../src/executor/remote.rs"]
#[allow(dead_code, reason = "not all of it is modelled")]
mod remote;

/// What the module is built of. The queue is as weak as a queue without locks may be: whether it
/// is empty is a load of its own, which alone orders nothing.
mod sync {
    use std::collections::VecDeque;

    pub(crate) use loom::sync::Mutex;
    use loom::sync::atomic::AtomicUsize;
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
    use loom::sync::{Arc, Condvar};

    pub(crate) struct Queue<T> {
        len: AtomicUsize,
        items: Mutex<VecDeque<T>>,
    }

    impl<T> Queue<T> {
        pub(crate) fn unbounded() -> Self {
            Self {
                len: AtomicUsize::new(0),
                items: Mutex::new(VecDeque::new()),
            }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            self.items.lock().unwrap().push_back(item);
            self.len.fetch_add(1, Ordering::Release);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Result<T, ()> {
            if self.is_empty() {
                return Err(());
            }
            let item = self.items.lock().unwrap().pop_front().ok_or(())?;
            self.len.fetch_sub(1, Ordering::AcqRel);
            Ok(item)
        }

        fn is_empty(&self) -> bool {
            self.len.load(Ordering::Acquire) == 0
        }
    }

    /// What the owner sleeps on.
    #[derive(Clone)]
    pub(crate) struct Bell(Arc<(Mutex<bool>, Condvar)>);

    impl Bell {
        pub(crate) fn new() -> Self {
            Self(Arc::new((Mutex::new(false), Condvar::new())))
        }

        pub(crate) fn wake(self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }

        /// Sleeps until the bell was rung. The model fails if nobody is left who could.
        pub(crate) fn sleep(&self) {
            let mut rung = self.0.0.lock().unwrap();
            while !*rung {
                rung = self.0.1.wait(rung).unwrap();
            }
            *rung = false;
        }
    }
}

use loom::sync::Arc;
use loom::thread;

use remote::Mailbox;
use sync::Bell;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(threads);
}

/// Sleeps and takes keys, as a runtime does, until it has them all.
fn take_all(mailbox: &Mailbox, mut expected: Vec<u64>) {
    let bell = Bell::new();
    loop {
        for key in taken(mailbox) {
            expected.retain(|&wanted| wanted != key);
        }
        if expected.is_empty() {
            return;
        }
        if mailbox.hang_up(&bell) {
            bell.sleep();
        }
    }
}

fn taken(mailbox: &Mailbox) -> Vec<u64> {
    let mut keys = Vec::new();
    if !mailbox.is_empty() {
        mailbox.take_all(&mut keys);
    }
    keys
}

#[test]
fn wake_between_an_empty_queue_and_going_to_sleep() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        let remote = mailbox.clone();
        let waking = thread::spawn(move || remote.post(1));
        take_all(&mailbox, vec![1]);
        waking.join().unwrap();
    });
}

#[test]
fn wakes_from_two_threads() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        let threads = [1, 2].map(|key| {
            let remote = mailbox.clone();
            thread::spawn(move || remote.post(key))
        });
        take_all(&mailbox, vec![1, 2]);
        for waking in threads {
            waking.join().unwrap();
        }
    });
}

#[test]
fn two_wakes_from_one_thread() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        let remote = mailbox.clone();
        let waking = thread::spawn(move || {
            remote.post(1);
            remote.post(2);
        });
        take_all(&mailbox, vec![1, 2]);
        waking.join().unwrap();
    });
}

#[test]
fn wake_races_the_drop_of_the_runtime() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        let bell = Bell::new();
        mailbox.hang_up(&bell);
        let remote = mailbox.clone();
        let waking = thread::spawn(move || {
            remote.post(1);
            remote.post(2);
        });
        mailbox.close();
        waking.join().unwrap();
        assert!(taken(&mailbox).iter().all(|key| *key < 3));
        remote_post_is_ignored(&mailbox);
    });
}

/// Nothing that is posted to a closed mailbox is kept.
fn remote_post_is_ignored(mailbox: &Mailbox) {
    taken(mailbox);
    mailbox.post(9);
    assert!(mailbox.is_empty() && taken(mailbox).is_empty());
}

#[test]
fn wakes_while_the_owner_takes_earlier_ones() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        mailbox.post(1);
        let remote = mailbox.clone();
        let waking = thread::spawn(move || {
            remote.post(1);
            remote.post(2);
        });
        let seen = taken(&mailbox);
        assert!(seen.contains(&1));
        if !seen.contains(&2) {
            take_all(&mailbox, vec![2]);
        }
        waking.join().unwrap();
    });
}

#[test]
fn wakes_of_the_same_tasks_again_and_again_are_thrown_together() {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.check(|| {
        let mailbox = Mailbox::new();
        mailbox.open();
        for turn in 0..2_000 {
            mailbox.post(turn % 100);
        }
        let mut keys = taken(&mailbox);
        assert!(keys.len() <= 200, "{} keys are kept", keys.len());
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys, Vec::from_iter(0..100));
    });
}

#[test]
fn late_wake_meets_the_runtime_that_comes_after() {
    model(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.open();
        let remote = mailbox.clone();
        let late = thread::spawn(move || remote.post(1));
        mailbox.close();
        mailbox.open();
        let remote = mailbox.clone();
        let waking = thread::spawn(move || remote.post(2));
        // The late key may come or not. The one of the later runtime has to come.
        take_all(&mailbox, vec![2]);
        late.join().unwrap();
        waking.join().unwrap();
    });
}
