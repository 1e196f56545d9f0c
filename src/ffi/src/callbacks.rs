//! Functions of the host.
//!
//! # Invariant
//!
//! What is given to the host's functions is what the host gave with them, and values that are there
//! until they return. That they can be called so is the host's promise to the function that took
//! them, whose `# Safety` says so. Those of workers and contexts are called on the guest's thread, and
//! not after `ended`.

use std::ffi::c_void;
use std::ptr;

use crate::end::{End, Ending};

/// A worker has ended: `data` as it was given, the worker, and how.
pub type WorkerEnded =
    Option<unsafe extern "C" fn(data: *mut c_void, worker: u64, end: *const End)>;

/// A context has ended: `data` as it was given, the context, and how.
pub type ContextEnded =
    Option<unsafe extern "C" fn(data: *mut c_void, context: u64, end: *const End)>;

/// A value came, one of MessagePack: the first, or an item of the stream.
pub type ValueCame = Option<
    unsafe extern "C" fn(data: *mut c_void, context: u64, value: *const u8, value_len: usize),
>;

/// There is room for items again.
pub type RoomMade = Option<unsafe extern "C" fn(data: *mut c_void, context: u64)>;

/// A turn is due: `data` as it was given.
pub type Notify = Option<unsafe extern "C" fn(data: *mut c_void)>;

/// The functions for what comes of a context.
#[derive(Clone, Copy)]
pub(crate) struct ContextCallbacks {
    pub(crate) started: ValueCame,
    pub(crate) item: ValueCame,
    pub(crate) room: RoomMade,
    pub(crate) ended: ContextEnded,
    pub(crate) data: *mut c_void,
}

impl ContextCallbacks {
    pub(crate) fn started(&self, context: u64, value: &[u8]) {
        self.value(self.started, context, value);
    }

    pub(crate) fn item(&self, context: u64, value: &[u8]) {
        self.value(self.item, context, value);
    }

    fn value(&self, callback: ValueCame, context: u64, value: &[u8]) {
        if let Some(callback) = callback {
            // SAFETY: the invariant of this module.
            unsafe { callback(self.data, context, value.as_ptr(), value.len()) };
        }
    }

    pub(crate) fn room(&self, context: u64) {
        if let Some(callback) = self.room {
            // SAFETY: the invariant of this module.
            unsafe { callback(self.data, context) };
        }
    }

    pub(crate) fn ended(&self, context: u64, ending: &Ending) {
        if let Some(callback) = self.ended {
            // SAFETY: the invariant of this module.
            ending.lent(|end| unsafe { callback(self.data, context, ptr::from_ref(end)) });
        }
    }
}

/// The functions for what comes of a worker.
#[derive(Clone, Copy)]
pub(crate) struct WorkerCallbacks {
    pub(crate) ended: WorkerEnded,
    pub(crate) data: *mut c_void,
}

impl WorkerCallbacks {
    pub(crate) fn ended(&self, worker: u64, ending: &Ending) {
        if let Some(callback) = self.ended {
            // SAFETY: the invariant of this module.
            ending.lent(|end| unsafe { callback(self.data, worker, ptr::from_ref(end)) });
        }
    }
}

/// The function that is told of wakes.
pub(crate) struct NotifyCallback {
    pub(crate) notify: Notify,
    pub(crate) data: *mut c_void,
}

// SAFETY: the data is only handed to the function, of which the host said that any thread may call
// it so: see `tractor_guest_on_wake`.
unsafe impl Send for NotifyCallback {}
// SAFETY: as above.
unsafe impl Sync for NotifyCallback {}

impl NotifyCallback {
    pub(crate) const NONE: Self = Self {
        notify: None,
        data: ptr::null_mut(),
    };

    pub(crate) fn call(&self) {
        if let Some(notify) = self.notify {
            // SAFETY: the invariant of this module; from which thread does not matter, as above.
            unsafe { notify(self.data) };
        }
    }
}
