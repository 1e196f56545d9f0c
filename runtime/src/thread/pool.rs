//! The threads. They belong to the process: runtimes come and go.
//!
//! Calls and futures have threads of their own, so that calls that block cannot keep a future from
//! being polled. There are as many threads for calls as there are calls at once, which limiters
//! keep in bounds; futures share as many as the machine has processors.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use async_executor::{Executor, Task};

use crate::cause::Cancelled;
use crate::executor::Leaf;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

/// What a thread is called while it does nothing, or nothing that has a name.
pub(super) const NAME: &str = "tractor-thread";

pub(super) static CALLS: Pool = Pool::new(IDLE, || usize::MAX);

pub(super) static FUTURES: Pool = Pool::new(IDLE, || {
    thread::available_parallelism().map_or(1, usize::from)
});

/// How many calls and futures are in threads now, those that were abandoned included.
pub fn active_threads() -> usize {
    CALLS.count().jobs + FUTURES.count().jobs
}

/// Waits until no call and no future is in a thread of this process. A checkpoint.
///
/// # Errors
///
/// [`Cancelled`] if the scope is.
pub async fn wait_all_threads_completed() -> Result<(), Cancelled> {
    let mut leaf = Leaf::default();
    poll_fn(|cx| {
        leaf.poll(cx, |cx| {
            lock(&WAITING).push(cx.waker().clone());
            // After that, or the last of them could end in between.
            if active_threads() == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    })
    .await
}

/// Those who wait for the next call or future to be over.
static WAITING: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

pub(super) struct Pool {
    executor: Executor<'static>,
    count: Mutex<Count>,
    most: fn() -> usize,
    idle: Duration,
}

#[derive(Clone, Copy)]
pub(super) struct Count {
    jobs: usize,
    threads: usize,
}

impl Pool {
    const fn new(idle: Duration, most: fn() -> usize) -> Self {
        Self {
            executor: Executor::new(),
            count: Mutex::new(Count {
                jobs: 0,
                threads: 0,
            }),
            most,
            idle,
        }
    }

    /// Has `future` polled by the threads, of which there are enough from now on.
    pub(super) fn spawn<T: Send + 'static>(
        &'static self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<Task<T>> {
        let job = self.admit()?;
        Ok(self.executor.spawn(async move {
            let value = future.await;
            drop(job);
            value
        }))
    }

    /// Has `work` run by a thread, and then what that gives, for which nobody waits.
    pub(super) fn call<D: FnOnce()>(
        &'static self,
        work: impl FnOnce() -> D + Send + 'static,
    ) -> io::Result<()> {
        let job = self.admit()?;
        let task = self.executor.spawn(async move {
            let deliver = work();
            // The thread is free before anybody learns of the result, so that the next call, which
            // may come of it, finds one.
            drop(job);
            deliver();
        });
        task.detach();
        Ok(())
    }

    fn admit(&'static self) -> io::Result<Job> {
        let job = {
            let mut count = self.lock();
            count.jobs += 1;
            let job = Job(self);
            if count.threads >= count.jobs.min((self.most)()) {
                return Ok(job);
            }
            count.threads += 1;
            job
        };
        let thread = thread::Builder::new().name(NAME.into());
        match thread.spawn(|| self.work()) {
            Ok(_) => Ok(job),
            Err(error) => {
                let mut count = self.lock();
                count.threads -= 1;
                drop(count);
                drop(job);
                Err(error)
            }
        }
    }

    /// What a thread does.
    fn work(&self) {
        let parker = Arc::new(Parker(thread::current()));
        loop {
            // The executor catches no panics; those of calls and futures were caught inside.
            let worked = catch_unwind(AssertUnwindSafe(|| {
                parker.run(self.executor.tick(), self.idle)
            }));
            if let Ok(None) = worked {
                let mut count = self.lock();
                // Work that was admitted meanwhile relies on this thread.
                if count.threads > count.jobs.min((self.most)()) {
                    count.threads -= 1;
                    return;
                }
            }
        }
    }

    fn count(&self) -> Count {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        lock(&self.count)
    }
}

/// A call or future that is counted, until this is dropped.
struct Job(&'static Pool);

impl Drop for Job {
    fn drop(&mut self) {
        self.0.lock().jobs -= 1;
        for waker in std::mem::take(&mut *lock(&WAITING)) {
            waker.wake();
        }
    }
}

/// Runs futures on a thread of the pool, which sleeps until it is woken.
struct Parker(Thread);

impl Parker {
    /// `None` if the future had to wait for `limit`.
    fn run<T>(self: &Arc<Self>, future: impl Future<Output = T>, limit: Duration) -> Option<T> {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let end = Instant::now() + limit;
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return Some(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn gone(pool: &Pool) {
        let start = Instant::now();
        while pool.count().threads > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "a thread stays");
            thread::yield_now();
        }
    }

    // core/test_thread_cache.py::test_idle_threads_exit
    #[test]
    fn idle_threads_end() {
        static POOL: Pool = Pool::new(Duration::from_millis(5), || usize::MAX);
        let (sender, receiver) = channel();
        for _ in 0..3 {
            let sender = sender.clone();
            POOL.call(move || move || sender.send(()).unwrap()).unwrap();
        }
        for _ in 0..3 {
            receiver.recv().unwrap();
        }
        gone(&POOL);
        assert_eq!(POOL.count().jobs, 0);
    }

    // core/test_thread_cache.py::test_race_between_idle_exit_and_job_assignment
    #[test]
    fn no_job_is_lost_to_a_thread_that_ends() {
        static POOL: Pool = Pool::new(Duration::ZERO, || usize::MAX);
        for i in 0..2_000 {
            let (sender, receiver) = channel();
            POOL.call(move || move || sender.send(i).unwrap()).unwrap();
            assert_eq!(receiver.recv_timeout(Duration::from_secs(30)), Ok(i));
        }
        gone(&POOL);
    }

    // core/test_thread_cache.py::test_raise_in_deliver
    #[test]
    fn delivery_that_panics_costs_no_thread() {
        static POOL: Pool = Pool::new(Duration::from_millis(5), || 1);
        let (sender, receiver) = channel();
        POOL.call(|| || panic!("in the delivery")).unwrap();
        POOL.call(move || move || sender.send(()).unwrap()).unwrap();
        receiver.recv_timeout(Duration::from_secs(30)).unwrap();
        gone(&POOL);
    }

    #[test]
    fn no_more_threads_than_allowed() {
        static POOL: Pool = Pool::new(Duration::from_millis(5), || 2);
        let (sender, receiver) = channel();
        for _ in 0..50 {
            let sender = sender.clone();
            POOL.call(move || move || sender.send(POOL.count().threads).unwrap())
                .unwrap();
        }
        for _ in 0..50 {
            assert!(receiver.recv().unwrap() <= 2);
        }
        gone(&POOL);
    }
}
