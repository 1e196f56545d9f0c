#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "a test is a host, which keeps the rules of the header throughout"
)]

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::callbacks::WorkerCallbacks;
use crate::end::{End, TRACTOR_FAILED};
use crate::status::{TRACTOR_PANIC, tractor_last_error};
use crate::tree::Worker;

const LONG: u64 = 3_600_000_000_000;

fn new() -> *mut Guest {
    let mut guest = ptr::null_mut();
    let code = unsafe { tractor_guest_new(c"host".as_ptr(), &mut guest) };
    assert_eq!(code, TRACTOR_OK);
    guest
}

fn settle(guest: *mut Guest) {
    while unsafe { tractor_guest_turn(guest, 0) } != TRACTOR_IDLE {}
}

/// What a `notify` is given.
struct Notes {
    thread: Sender<ThreadId>,
    may_come: AtomicBool,
    came_late: AtomicU32,
}

impl Notes {
    fn new(thread: Sender<ThreadId>) -> Self {
        Self {
            thread,
            may_come: AtomicBool::new(true),
            came_late: AtomicU32::new(0),
        }
    }

    fn set_on(&self, guest: *mut Guest) {
        let data = ptr::from_ref(self).cast_mut().cast();
        let code = unsafe { tractor_guest_on_wake(guest, Some(noted), data) };
        assert_eq!(code, TRACTOR_OK);
    }
}

unsafe extern "C" fn noted(data: *mut c_void) {
    let notes = unsafe { &*data.cast::<Notes>() };
    if !notes.may_come.load(Ordering::SeqCst) {
        notes.came_late.fetch_add(1, Ordering::SeqCst);
    }
    let _ = notes.thread.send(thread::current().id());
}

#[test]
fn wake_of_another_thread_is_noted_there_and_makes_a_turn_due() {
    let guest = new();
    let (sender, receiver) = async_channel::unbounded::<u32>();
    let got = Rc::new(Cell::new(0));
    let tree = unsafe { &*guest }.tree.clone();
    tree.start({
        let got = got.clone();
        async move {
            while let Ok(n) = receiver.recv().await {
                got.set(got.get() + n);
            }
            Ok(())
        }
    });
    settle(guest);
    let (threads, noted) = channel();
    let notes = Notes::new(threads);
    notes.set_on(guest);
    let sends = thread::spawn(move || {
        sender.send_blocking(1).unwrap();
        sender.send_blocking(2).unwrap();
    });
    assert_eq!(noted.recv(), Ok(sends.thread().id()));
    sends.join().unwrap();
    unsafe { &*guest }.wait(None);
    settle(guest);
    assert_eq!(got.get(), 3);
    assert_eq!(unsafe { tractor_guest_free(guest, LONG) }, TRACTOR_OK);
}

#[test]
fn notify_does_not_outlive_its_guest() {
    for _ in 0..200 {
        let guest = new();
        let (sender, receiver) = async_channel::unbounded::<u32>();
        let tree = unsafe { &*guest }.tree.clone();
        tree.start(async move {
            while receiver.recv().await.is_ok() {}
            Ok(())
        });
        settle(guest);
        let (threads, _noted) = channel();
        let notes = Notes::new(threads);
        notes.set_on(guest);
        thread::scope(|scope| {
            scope.spawn(|| while sender.send_blocking(1).is_ok() {});
            settle_some(guest);
            assert_eq!(unsafe { tractor_guest_free(guest, 0) }, TRACTOR_OK);
            notes.may_come.store(false, Ordering::SeqCst);
        });
        assert_eq!(notes.came_late.load(Ordering::SeqCst), 0);
    }
}

/// Some turns, while there is always more to do.
fn settle_some(guest: *mut Guest) {
    for _ in 0..3 {
        unsafe { tractor_guest_turn(guest, 0) };
    }
}

unsafe extern "C" fn ended(data: *mut c_void, _: u64, end: *const End) {
    let outcomes = unsafe { &*data.cast::<RefCell<Vec<i32>>>() };
    outcomes.borrow_mut().push(unsafe { &*end }.outcome);
}

#[test]
fn panic_inside_ends_the_guest() {
    let guest = new();
    let outcomes = RefCell::new(Vec::<i32>::new());
    let tree = unsafe { &*guest }.tree.clone();
    let callbacks = WorkerCallbacks {
        ended: Some(ended),
        data: ptr::from_ref(&outcomes).cast_mut().cast(),
    };
    let options = tractor::SpawnOptions::new().program("sleep", ["3600"]);
    let worker = tree.add_worker(|id| Worker::new(id, "worker".into(), options, callbacks));
    settle(guest);
    tree.start(async { panic!("of no interest") });
    let mut code = TRACTOR_IDLE;
    while code >= 0 {
        code = unsafe { tractor_guest_turn(guest, 0) };
    }
    assert_eq!(code, TRACTOR_PANIC);
    let text = unsafe { CStr::from_ptr(tractor_last_error()) };
    assert_eq!(text, c"of no interest");
    assert_eq!(outcomes.take(), [TRACTOR_FAILED]);
    assert!(tree.worker(worker).is_err());
    assert_eq!(unsafe { tractor_guest_turn(guest, 0) }, TRACTOR_DONE);
    assert_eq!(unsafe { tractor_guest_free(guest, LONG) }, TRACTOR_OK);
    assert_eq!(outcomes.take(), [0; 0]);
}
