use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::Runtime;
use super::running::{Running, Step};
use crate::error::Result;
use crate::reactor::{Driver, Reactor};
use crate::scope::ScopeHandle;
use crate::time::Instant;

impl Runtime {
    /// The runtime as a guest in somebody else's loop, which has it take its turns.
    ///
    /// # Errors
    ///
    /// Those of the operating system, if it has no descriptors left for a runtime.
    #[track_caller]
    pub fn guest<'main, T>(
        mut self,
        main: impl AsyncFnOnce() -> Result<T> + 'main,
    ) -> io::Result<Guest<'main, T>>
    where
        T: 'main,
    {
        let location = Location::caller();
        let driver = Driver::new()?;
        let reactor = driver.reactor().clone();
        let bell = Arc::new(Bell {
            reactor: reactor.clone(),
            notify: Mutex::new(None),
        });
        let root = self.root();
        // A host that only polls the descriptor comes for the first turn too.
        reactor.ring();
        let begin = move || -> Main<'main, T> { Box::pin(async move { main().await }) };
        Ok(Guest {
            running: Box::pin(Running::new(self, Some(reactor), location, begin)),
            waker: Waker::from(bell.clone()),
            driver,
            bell,
            root,
            next: Next::Now,
        })
    }
}

/// A runtime that lives in a host's loop, on the host's thread.
///
/// It runs only while the host calls [`turn`](Self::turn). When it has nothing to do for now, it is
/// for the host to find out when it has: by polling one descriptor ([`AsFd`]), or by
/// [a callback](Self::on_wake); and by [the next deadline](Self::next_deadline).
///
/// Turns may come early, late, or where nothing is to be done: an early one returns at once, and a
/// late one costs lateness and nothing else. Any number of guests may share a thread, and their turns may
/// be taken inside of one another's tasks.
///
/// Dropped before it is done, it drops its tasks at once, with nothing cancelled before;
/// [`end`](Self::end) gives them a chance to clean up.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{Progress, Runtime, time::sleep};
///
/// let mut guest = Runtime::builder().build().guest(async || {
///     sleep(Duration::from_millis(1)).await?;
///     Ok("done")
/// })?;
/// let value = loop {
///     match guest.turn(Duration::from_millis(5)) {
///         Progress::Done(result) => break result.unwrap(),
///         Progress::More => {}
///         Progress::Idle => {
///             // Here a host does what it is there for, or sleeps: with `poll(2)`, say.
///             std::thread::sleep(guest.until_next_turn().unwrap());
///         }
///     }
/// };
/// assert_eq!(value, "done");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Guest<'main, T> {
    running: Pin<Box<Running<Main<'main, T>>>>,
    driver: Driver,
    bell: Arc<Bell>,
    waker: Waker,
    root: ScopeHandle,
    next: Next,
}

/// The future of `main`, whose type has no name.
type Main<'main, T> = Pin<Box<dyn Future<Output = Result<T>> + 'main>>;

/// What a turn of a [`Guest`] leaves.
#[derive(Debug)]
#[must_use = "the guest may be done"]
pub enum Progress<T> {
    /// The main future is done, and nothing is left of the runtime.
    Done(Result<T>),
    /// The budget is used up: there is more to do at once.
    More,
    /// There is nothing to do until the descriptor is readable, the callback is called, or the next
    /// deadline comes.
    Idle,
}

/// When the next turn is to be taken.
#[derive(Clone, Copy, Debug)]
enum Next {
    Now,
    At(Instant),
    WhenWoken,
    Never,
}

impl<T> Guest<'_, T> {
    /// Runs what is ready and what is due, until nothing is or `budget` is used up. At least one turn
    /// of up to 256 polls of tasks is taken; a task that does not yield can make it longer.
    ///
    /// # Panics
    ///
    /// When `main` panics, and when called again after [`Progress::Done`]. Also if the system does not
    /// tell any more which descriptors are ready: then nothing that waits would ever go on, and the
    /// guest is to be dropped.
    pub fn turn(&mut self, budget: Duration) -> Progress<T> {
        assert!(
            !matches!(self.next, Next::Never),
            "a guest that was done was given another turn"
        );
        let until = Instant::real_now() + budget;
        loop {
            self.running.as_mut().entered(|| self.driver.look());
            match self.running.as_mut().turn(&self.waker) {
                Step::Done(result) => {
                    self.next = Next::Never;
                    return Progress::Done(self.running.as_mut().finish(result));
                }
                Step::More => {
                    self.next = Next::Now;
                    if Instant::real_now() >= until {
                        // A host that only polls the descriptor comes back at once.
                        self.driver.reactor().ring();
                        return Progress::More;
                    }
                }
                Step::Idle(when) => {
                    self.driver.set_alarm(when);
                    self.next = when.map_or(Next::WhenWoken, Next::At);
                    return Progress::Idle;
                }
            }
        }
    }

    /// When a turn has to be taken at the latest: a moment that is over if there is more to do at
    /// once, and `None` if only a wake brings something to do.
    ///
    /// On Linux the descriptor tells this too. A virtual clock has no part in it.
    pub fn next_deadline(&self) -> Option<std::time::Instant> {
        match self.next {
            Next::Now => Some(std::time::Instant::now()),
            Next::At(when) => when.to_std(),
            Next::WhenWoken | Next::Never => None,
        }
    }

    /// How long a host may wait for the descriptor at most, before it takes the next turn: nothing if
    /// there is more to do at once, and `None` for as long as it likes. The time limit of a
    /// `poll(2)`, as [`next_deadline`](Self::next_deadline) says it now.
    pub fn until_next_turn(&self) -> Option<Duration> {
        let when = self.next_deadline()?;
        Some(when.saturating_duration_since(std::time::Instant::now()))
    }

    /// Has `notify` called, on whatever thread, whenever something wakes the guest outside of its
    /// turns: the host then takes one soon, and not inside of `notify`. It is called once for each
    /// [`Progress::Idle`], not for the readiness of descriptors, and not for deadlines.
    pub fn on_wake(&mut self, notify: impl Fn() + Send + Sync + 'static) {
        *self.bell.notify() = Some(Arc::new(notify));
    }

    /// A handle to the scope around everything: cancelled, `main` is, and the next turn tells it.
    pub fn root(&self) -> ScopeHandle {
        self.root.clone()
    }

    /// Cancels `main` and blocks this thread until it is done, or for `limit`; then what is still
    /// there is dropped. `None` if it had to be.
    ///
    /// # Panics
    ///
    /// When `main` panics.
    #[track_caller]
    pub fn end(mut self, limit: Duration) -> Option<Result<T>> {
        if matches!(self.next, Next::Never) {
            return None;
        }
        self.root.cancel();
        let until = Instant::real_now() + limit;
        loop {
            let now = Instant::real_now();
            match self.turn(until - now) {
                Progress::Done(result) => return Some(result),
                _ if now >= until => return None,
                Progress::More => {}
                Progress::Idle => {
                    let when = match self.next {
                        Next::At(when) => when.min(until),
                        _ => until,
                    };
                    self.running
                        .as_mut()
                        .entered(|| self.driver.wait(Some(when)));
                }
            }
        }
    }
}

impl<T> AsFd for Guest<'_, T> {
    /// Readable when a turn is due, from the first on. Poll it, and do nothing else with it. A turn
    /// that is idle leaves it unreadable, so it may also be watched for edges.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.reactor().as_fd()
    }
}

impl<T> AsRawFd for Guest<'_, T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T> fmt::Debug for Guest<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Makes the guest's descriptor readable, and calls the host.
struct Bell {
    reactor: Arc<Reactor>,
    notify: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Bell {
    fn notify(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn Fn() + Send + Sync>>> {
        self.notify.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reactor.ring();
        let notify = self.notify().clone();
        if let Some(notify) = notify {
            notify();
        }
    }
}

#[cfg(all(test, target_os = "linux", not(tractor_portable_poller)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::super::Runtime;
    use super::{Driver, Progress};
    use crate::time;

    /// Sets what it has when dropped.
    struct Dropped<'a>(&'a Cell<bool>);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    // core/test_guest_mode.py::test_guest_mode_internal_errors
    #[test]
    fn host_is_told_that_the_system_tells_of_no_descriptors() {
        let dropped = Cell::new(false);
        let mut guest = Runtime::builder()
            .build()
            .guest(async || {
                let _dropped = Dropped(&dropped);
                Ok(time::sleep_forever().await?)
            })
            .unwrap();
        let mut other = Runtime::builder().build().guest(async || Ok(1)).unwrap();
        assert!(matches!(guest.turn(Duration::ZERO), Progress::Idle));

        guest.driver = Driver::broken().unwrap();
        for _ in 0..2 {
            let turn = catch_unwind(AssertUnwindSafe(|| guest.turn(Duration::ZERO)));
            let panic = turn.expect_err("nothing could wake it");
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains("which descriptors are ready"), "{text}");
        }
        assert!(!dropped.get());
        drop(guest);
        assert!(dropped.get());

        // To another guest of the thread it is nothing.
        let Progress::Done(Ok(one)) = other.turn(Duration::ZERO) else {
            panic!("it need not wait");
        };
        assert_eq!(one, 1);
    }
}
