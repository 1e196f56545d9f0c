#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor::RunOptions;
use tractor::runtime::{Guest as Running, Progress};

use crate::args;
use crate::callbacks::{Notify, NotifyCallback};
use crate::end::Ending;
use crate::status::{
    Refused, TRACTOR_DONE, TRACTOR_IDLE, TRACTOR_MORE, TRACTOR_OK, TRACTOR_REENTRANT,
    TRACTOR_WRONG_THREAD, answered,
};
use crate::tree::Tree;

/// No deadline: only the descriptor tells when a turn is due.
pub const TRACTOR_NEVER: u64 = u64::MAX;

/// A tree of actors that lives in the host's loop. It is made by `tractor_guest_new`, and freed by
/// `tractor_guest_free`.
pub struct Guest {
    thread: ThreadId,
    /// How many of the functions are being called, one inside of another.
    depth: Cell<u32>,
    is_done: Cell<bool>,
    /// Until it is freed.
    running: RefCell<Option<Running<'static, ()>>>,
    tree: Rc<Tree>,
    notify: Arc<RwLock<NotifyCallback>>,
}

impl Guest {
    fn new(name: String) -> Result<Self, Refused> {
        let tree = Rc::new(Tree::default());
        let main = tree.clone();
        let mut running = RunOptions::new()
            .name(name)
            .guest(async move || main.main().await)?;
        let notify = Arc::new(RwLock::new(NotifyCallback::NONE));
        running.on_wake({
            let notify = notify.clone();
            // Held while it is called: when `set_notify` has returned, the former one is not.
            move || notify.read().unwrap_or_else(PoisonError::into_inner).call()
        });
        Ok(Self {
            thread: thread::current().id(),
            depth: Cell::new(0),
            is_done: Cell::new(false),
            running: RefCell::new(Some(running)),
            tree,
            notify,
        })
    }

    fn turn(&self, budget: Duration) -> Result<i32, Refused> {
        if self.is_done.get() {
            return Ok(TRACTOR_DONE);
        }
        self.tree.begin_turn(Instant::now().checked_add(budget));
        let mut running = self.running.borrow_mut();
        let running = running.as_mut().expect("it is not freed");
        let done = match catch_unwind(AssertUnwindSafe(|| running.turn(budget))) {
            Ok(Progress::More) => {
                self.tree.end_turn();
                return Ok(TRACTOR_MORE);
            }
            Ok(Progress::Idle) if self.tree.end_turn() => return Ok(TRACTOR_MORE),
            Ok(Progress::Idle) => return Ok(TRACTOR_IDLE),
            Ok(Progress::Done(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        self.is_done.set(true);
        match done {
            // Nothing is left, unless the actor itself could not begin.
            Ok(Ok(())) => self
                .tree
                .end_all(|| Ending::unanswered("the guest has ended")),
            Ok(Err(error)) => self.tree.end_all(|| Ending::failed(&error)),
            Err(panic) => {
                let text = "the library failed inside";
                self.tree.end_all(|| Ending::panicked(text));
                resume_unwind(panic);
            }
        }
        Ok(TRACTOR_DONE)
    }

    /// Ends it in order as far as there is time, and then at once.
    fn end(&self, limit: Duration) -> Result<(), Refused> {
        let _entered = self.enter();
        let in_order = if limit.is_zero() {
            Ok(())
        } else {
            catch_unwind(AssertUnwindSafe(|| self.end_within(limit)))
                .unwrap_or_else(|panic| Err(Refused::panic(&*panic)))
        };
        let running = self.running.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(running)));
        self.tree
            .end_all(|| Ending::unanswered("the guest was freed"));
        self.set_notify(NotifyCallback::NONE);
        dropped.map_err(|panic| Refused::panic(&*panic))?;
        in_order
    }

    /// Takes turns until everything has ended in order, or the time is over.
    fn end_within(&self, limit: Duration) -> Result<(), Refused> {
        self.tree.stop();
        let until = Instant::now().checked_add(limit);
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        loop {
            let budget = left().unwrap_or(Duration::MAX);
            let progress = self.turn(budget.min(Duration::from_secs(1)))?;
            if progress == TRACTOR_DONE || left().is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            if progress == TRACTOR_IDLE {
                self.wait(left());
            }
        }
    }

    /// Waits until a turn is due, or for so long.
    fn wait(&self, limit: Option<Duration>) {
        let due = Duration::from_nanos(self.next_deadline());
        let limit = Timespec::try_from(limit.unwrap_or(Duration::MAX).min(due)).ok();
        self.with_running(|running| {
            // Interrupted it is an early turn.
            let _ = poll(&mut [PollFd::new(running, PollFlags::IN)], limit.as_ref());
        });
    }

    fn next_deadline(&self) -> u64 {
        let due = self.with_running(Running::next_deadline);
        due.map_or(TRACTOR_NEVER, |due| {
            let left = due.saturating_duration_since(Instant::now());
            u64::try_from(left.as_nanos()).unwrap_or(TRACTOR_NEVER)
        })
    }

    fn with_running<T>(&self, look: impl FnOnce(&Running<'static, ()>) -> T) -> T {
        look(self.running.borrow().as_ref().expect("it is not freed"))
    }

    fn set_notify(&self, callback: NotifyCallback) {
        *self.notify.write().unwrap_or_else(PoisonError::into_inner) = callback;
    }

    fn enter(&self) -> Entered<'_> {
        self.depth.set(self.depth.get() + 1);
        Entered(self)
    }

    fn is_entered(&self) -> bool {
        self.depth.get() > 0
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("is_done", &self.is_done)
            .finish_non_exhaustive()
    }
}

/// One of the functions is being called.
struct Entered<'a>(&'a Guest);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}

/// A function that wants something of a guest's tree.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
pub(crate) unsafe fn in_guest(
    guest: *const Guest,
    work: impl FnOnce(&Rc<Tree>) -> Result<i32, Refused>,
) -> i32 {
    answered(|| {
        // SAFETY: as this function's.
        let guest = unsafe { own(guest) }?;
        let _entered = guest.enter();
        work(&guest.tree)
    })
}

/// The guest, if it belongs to this thread.
///
/// # Safety
///
/// That of [`in_guest`]; and it is not freed while the reference is used.
unsafe fn own<'a>(guest: *const Guest) -> Result<&'a Guest, Refused> {
    if guest.is_null() {
        return Err(Refused::invalid("the guest is a null pointer"));
    }
    // SAFETY: it points to a guest, and this field is never written, so any thread may read it.
    let thread = unsafe { (*guest).thread };
    if thread != thread::current().id() {
        let text = "the guest belongs to another thread";
        return Err(Refused::new(TRACTOR_WRONG_THREAD, text));
    }
    // SAFETY: it points to a guest, which only this thread uses, and by shared references alone
    // until it is freed, which is not done while one of the functions is being called.
    Ok(unsafe { &*guest })
}

/// The guest, where none of the functions is being called.
///
/// # Safety
///
/// That of [`own`].
unsafe fn outside<'a>(guest: *const Guest) -> Result<&'a Guest, Refused> {
    // SAFETY: as this function's.
    let guest = unsafe { own(guest) }?;
    if guest.is_entered() {
        let text = "a callback of this guest must not call this";
        return Err(Refused::new(TRACTOR_REENTRANT, text));
    }
    Ok(guest)
}

/// Makes a guest, the root of a tree of actors with this name, which belongs to this thread. Nothing
/// of it runs before its first turn.
///
/// On TRACTOR_OK `*guest` is to be freed with `tractor_guest_free`; else it is null.
/// TRACTOR_INVALID: a pointer is null, or the name not UTF-8. TRACTOR_SYSTEM: there are no
/// descriptors left.
///
/// # Safety
///
/// `name` is null or text that ends with a zero; `guest` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_new(name: *const c_char, guest: *mut *mut Guest) -> i32 {
    answered(|| {
        if guest.is_null() {
            return Err(Refused::invalid("where to put the guest is a null pointer"));
        }
        // SAFETY: it is not null, and as this function's.
        unsafe { guest.write(std::ptr::null_mut()) };
        // SAFETY: as this function's.
        let name = unsafe { args::text("the name", name) }?;
        let made = Box::new(Guest::new(name)?);
        // SAFETY: as above.
        unsafe { guest.write(Box::into_raw(made)) };
        Ok(TRACTOR_OK)
    })
}

/// Gives the guest a turn: runs what is ready and what is due, with the callbacks that come of it,
/// until nothing is or `budget_ns` nanoseconds are used up. At least a little is done; what a
/// callback takes counts, and it is not cut short.
///
/// TRACTOR_MORE: call it again soon; the descriptor stays readable. TRACTOR_IDLE: wait for the
/// descriptor and the next deadline. TRACTOR_DONE: the guest was stopped and has ended; nothing is
/// left of its workers, and it is to be freed. TRACTOR_REENTRANT: in a callback of this guest.
/// TRACTOR_PANIC.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_turn(guest: *mut Guest, budget_ns: u64) -> i32 {
    answered(|| {
        // SAFETY: as this function's.
        let guest = unsafe { outside(guest) }?;
        let _entered = guest.enter();
        guest.turn(Duration::from_nanos(budget_ns))
    })
}

/// The descriptor that is readable when a turn is due, the same one until the guest is freed. Poll it
/// beside others, and do nothing else with it: neither read nor close it. On Linux it tells of
/// deadlines too.
///
/// Negative if there is none: TRACTOR_INVALID, TRACTOR_WRONG_THREAD. In a callback it is
/// TRACTOR_REENTRANT.
///
/// # Safety
///
/// That of `tractor_guest_turn`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_fd(guest: *const Guest) -> i32 {
    answered(|| {
        // SAFETY: as this function's.
        let guest = unsafe { outside(guest) }?;
        Ok(guest.with_running(|running| running.as_fd().as_raw_fd()))
    })
}

/// In how many nanoseconds from now a turn has to be taken at the latest: 0 if there is something to
/// do at once, TRACTOR_NEVER if only the descriptor tells. To be asked after each turn. (What is called
/// between turns makes the descriptor readable.) In a callback it is TRACTOR_REENTRANT.
///
/// # Safety
///
/// That of `tractor_guest_turn`; `ns` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_next_deadline(guest: *const Guest, ns: *mut u64) -> i32 {
    answered(|| {
        // SAFETY: as this function's.
        let guest = unsafe { outside(guest) }?;
        if ns.is_null() {
            return Err(Refused::invalid(
                "where to put the deadline is a null pointer",
            ));
        }
        // SAFETY: it is not null, and as this function's.
        unsafe { ns.write(guest.next_deadline()) };
        Ok(TRACTOR_OK)
    })
}

/// Has `notify` called whenever something wakes the guest outside of its turns, once after each
/// TRACTOR_IDLE. It is for hosts that can be woken more directly than by the descriptor, not instead
/// of it: the descriptor alone tells when a worker has sent something.
///
/// `notify` is called on any thread, also on the guest's own in the middle of a call such as
/// `tractor_context_send`. It has a turn taken soon, and takes none itself (on the guest's own thread
/// that is TRACTOR_REENTRANT, on others TRACTOR_WRONG_THREAD). A null pointer ends it. When this, or
/// `tractor_guest_free`, has returned, the former one runs no more, nor will again: a `notify` must
/// not wait for the guest's thread. TRACTOR_REENTRANT: in a callback of this guest.
///
/// # Safety
///
/// That of `tractor_guest_turn`; `notify` may be called with `data` on any thread, until another is
/// set or the guest is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_on_wake(
    guest: *mut Guest,
    notify: Notify,
    data: *mut c_void,
) -> i32 {
    answered(|| {
        // SAFETY: as this function's.
        let guest = unsafe { outside(guest) }?;
        guest.set_notify(NotifyCallback { notify, data });
        Ok(TRACTOR_OK)
    })
}

/// Has everything in the guest end in order, in the turns to come: all contexts are cancelled, and
/// when their workers have answered or 616 ms are over, the workers are ended as by
/// `tractor_worker_stop`. Then a turn answers TRACTOR_DONE. Nothing new is taken any more. Again has
/// no effect. May be called in a callback.
///
/// # Safety
///
/// That of `tractor_guest_turn`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_stop(guest: *mut Guest) -> i32 {
    // SAFETY: as this function's.
    unsafe {
        in_guest(guest, |tree| {
            tree.stop();
            Ok(TRACTOR_OK)
        })
    }
}

/// Ends the guest and frees it. What was not stopped yet is, in order, while this blocks the thread
/// and takes turns, with their callbacks, for at most `limit_ns` nanoseconds; then what is left of its
/// workers is killed and waited for, and all that has not been told its end is told
/// TRACTOR_UNANSWERED. With 0 that is done at once.
///
/// On TRACTOR_OK the pointer is no longer valid, and none of the callbacks is called any more. A null
/// pointer is TRACTOR_OK. TRACTOR_REENTRANT, in a callback of this guest, and TRACTOR_WRONG_THREAD:
/// nothing was done, and it is still to be freed. After TRACTOR_PANIC it is freed as after TRACTOR_OK.
///
/// # Safety
///
/// That of `tractor_guest_turn`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_guest_free(guest: *mut Guest, limit_ns: u64) -> i32 {
    if guest.is_null() {
        return TRACTOR_OK;
    }
    answered(|| {
        // SAFETY: as this function's.
        let ended = unsafe { outside(guest) }?.end(Duration::from_nanos(limit_ns));
        // SAFETY: it was made by `Box::into_raw` in `tractor_guest_new`; none of the functions is
        // being called but this one, and no reference is used any more.
        drop(unsafe { Box::from_raw(guest) });
        ended.map(|()| TRACTOR_OK)
    })
}
