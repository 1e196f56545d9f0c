//! What the suites share: a guard against hanging, ways to run a test, and errors to fail with.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor_runtime::testing::{self, VirtualClock};
use tractor_runtime::{Guest, Progress, Result, Runtime};

/// No test may take longer.
const HANG: Duration = Duration::from_secs(30);

/// Runs a test under the virtual clock, which jumps to the next deadline whenever all is blocked, and with
/// a random order of scheduling whose seed is printed on failure.
#[track_caller]
pub(crate) fn trial(main: impl AsyncFnOnce() -> Result<()> + Send + 'static) {
    guarded(|| testing::run(main).unwrap());
}

/// Runs a test under a virtual clock that moves only when the test says so.
#[track_caller]
pub(crate) fn trial_with_clock(
    main: impl AsyncFnOnce(VirtualClock) -> Result<()> + Send + 'static,
) {
    guarded(|| {
        let clock = VirtualClock::new();
        Runtime::builder()
            .clock(clock.clone())
            .build()
            .run(async || main(clock).await)
            .unwrap();
    });
}

/// Runs a test under the clock of the machine.
#[track_caller]
pub(crate) fn trial_in_real_time(main: impl AsyncFnOnce() -> Result<()> + Send + 'static) {
    guarded(|| tractor_runtime::run(main).unwrap());
}

/// Runs a test under the clock of the machine in every kind of host: with the thread for itself, as a
/// future on somebody else's executor, and as a guest in a loop that polls its descriptor.
#[track_caller]
pub(crate) fn trial_in_every_host(main: impl AsyncFnOnce() -> Result<()> + Clone + Send + 'static) {
    let [own, future, guest] = [main.clone(), main.clone(), main];
    guarded(|| tractor_runtime::run(own).unwrap());
    guarded(|| async_io::block_on(Runtime::builder().build().run_in(future)).unwrap());
    guarded(|| host(Runtime::builder().build().guest(guest).unwrap()).unwrap());
}

/// A host that has nothing to do but to poll a guest's descriptor.
pub(crate) fn host<T>(mut guest: Guest<'_, T>) -> Result<T> {
    loop {
        match guest.turn(Duration::ZERO) {
            Progress::Done(result) => return result,
            Progress::More => {}
            Progress::Idle => wait_for(&guest),
        }
    }
}

/// Waits until a guest is to be given a turn.
pub(crate) fn wait_for<T>(guest: &Guest<'_, T>) {
    let left = guest.until_next_turn();
    let left = left.map(|left| Timespec::try_from(left).unwrap());
    poll(&mut [PollFd::new(guest, PollFlags::IN)], left.as_ref()).unwrap();
}

/// Runs a test on a thread of its own and fails it if it hangs.
#[track_caller]
pub(crate) fn guarded<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    guarded_with_stack(8 << 20, test)
}

/// The same with a stack of this many bytes.
#[track_caller]
pub(crate) fn guarded_with_stack<T: Send + 'static>(
    bytes: usize,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, finished) = channel();
    let thread = thread::Builder::new()
        .stack_size(bytes)
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(test));
            let _ = done.send(());
            result
        })
        .unwrap();
    if let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(HANG) {
        panic!("still running after {HANG:?}");
    }
    match thread.join().unwrap() {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    }
}

/// An error to fail with, told apart by its letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boom(pub(crate) &'static str);

impl fmt::Display for Boom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boom {}", self.0)
    }
}

impl std::error::Error for Boom {}

/// The letters of the `Boom`s in an error, sorted.
pub(crate) fn booms(error: &tractor_runtime::Error) -> Vec<&'static str> {
    let mut letters: Vec<_> = error
        .leaves()
        .filter_map(|leaf| leaf.downcast_ref::<Boom>())
        .map(|boom| boom.0)
        .collect();
    letters.sort_unstable();
    letters
}

/// What happened, in order.
#[derive(Debug, Default)]
pub(crate) struct Log(RefCell<Vec<String>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut seen = self.seen();
        seen.sort_unstable();
        seen
    }

    pub(crate) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Notes when it is dropped.
#[derive(Debug)]
pub(crate) struct NoteDrop<'a>(pub(crate) &'a Log, pub(crate) &'static str);

impl Drop for NoteDrop<'_> {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// A future of a library that knows nothing of scopes: it pends until its waker is taken from the
/// cell and woken, once.
pub(crate) async fn foreign_wait(cell: &RefCell<Option<Waker>>) {
    let mut waited = false;
    poll_fn(|cx| {
        if waited && cell.borrow().is_none() {
            return Poll::Ready(());
        }
        waited = true;
        *cell.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}
