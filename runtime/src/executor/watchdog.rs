use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Instrument, TaskInfo};

/// An [`Instrument`] that warns in the log of tasks that do not yield for long: while they do not,
/// from a thread of its own, and again with how long it took when they have.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{Runtime, Watchdog};
///
/// let runtime = Runtime::builder()
///     .instrument(Watchdog::new(Duration::from_millis(100)))
///     .build();
/// # drop(runtime);
/// ```
///
/// The target of its records is `tractor::watchdog`, and the key `task` says which task.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    limit: Duration,
    watched: Mutex<Watched>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    /// The polls that are going on, each inside of the one before.
    polls: Vec<Poll>,
    ended: bool,
}

#[derive(Debug)]
struct Poll {
    task: TaskInfo,
    since: Instant,
    reported: bool,
}

const TARGET: &str = "tractor::watchdog";

impl Watchdog {
    /// Warns of what takes longer than `limit`.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub fn new(limit: Duration) -> Rc<Self> {
        let shared = Arc::new(Shared {
            limit,
            watched: Mutex::default(),
            ended: Condvar::new(),
        });
        let watching = shared.clone();
        let thread = thread::Builder::new()
            .name("tractor-watchdog".to_owned())
            .spawn(move || watching.watch())
            .expect("a thread for the watchdog");
        Rc::new(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.ended.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Instrument for Watchdog {
    fn before_poll(&self, task: &TaskInfo) {
        self.shared.lock().polls.push(Poll {
            task: task.clone(),
            since: Instant::now(),
            reported: false,
        });
    }

    fn after_poll(&self, _task: &TaskInfo) {
        let mut watched = self.shared.lock();
        let poll = watched.polls.pop();
        // The time of what is inside of it does not count for the one around.
        if let Some(around) = watched.polls.last_mut() {
            around.since = Instant::now();
        }
        drop(watched);
        if let Some(poll) = poll {
            let took = poll.since.elapsed();
            if took >= self.shared.limit {
                let task = poll.task;
                log::warn!(
                    target: TARGET, task:% = task;
                    "{task} did not yield for {took:.2?}"
                );
            }
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut watched = self.lock();
        while !watched.ended {
            let mut wait = self.limit;
            if let Some(poll) = watched.polls.last_mut()
                && !poll.reported
            {
                let since = poll.since.elapsed();
                match self.limit.checked_sub(since) {
                    Some(left) if !left.is_zero() => wait = left,
                    _ => {
                        poll.reported = true;
                        let task = poll.task.clone();
                        drop(watched);
                        log::warn!(
                            target: TARGET, task:% = task;
                            "{task} has not yielded for {since:.2?} and goes on"
                        );
                        watched = self.lock();
                        continue;
                    }
                }
            }
            let waited = self.ended.wait_timeout(watched, wait);
            watched = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
