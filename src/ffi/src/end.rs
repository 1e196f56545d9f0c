use std::ffi::{CString, c_char};
use std::ptr;

use tractor::{ContextCancelled, Error, RemoteActorError};

use crate::status::c_text;

/// The endpoint returned, and `value` is what. A worker: it ended because it was asked to.
pub const TRACTOR_RETURNED: i32 = 0;

/// It was cancelled: `canceller` says by whom, as far as is known, and `requested` whether that was
/// this guest.
pub const TRACTOR_CANCELLED: i32 = 1;

/// It failed: `error_type` and `text` say of what.
pub const TRACTOR_FAILED: i32 = 2;

/// The host asked for it to end and there was no answer: in time, or because the connection was lost
/// first; `text` says which. It was given up, and nothing more comes of it.
pub const TRACTOR_UNANSWERED: i32 = 3;

/// How a worker or a context ended. It is valid, with all that it points to, until the callback that
/// is given it returns.
#[repr(C)]
#[derive(Debug)]
pub struct End {
    /// `TRACTOR_RETURNED`, `TRACTOR_CANCELLED`, `TRACTOR_FAILED` or `TRACTOR_UNANSWERED`.
    pub outcome: i32,
    /// 1 if this guest had asked for it to end before it did, else 0. One that was asked may yet have
    /// returned or failed first.
    pub requested: i32,
    /// The result, one value of MessagePack, or null.
    pub value: *const u8,
    /// How many bytes it has.
    pub value_len: usize,
    /// The type of the error, or null: what the worker itself met (`RemoteActorError` if it only passed
    /// it on), or, like `PeerLost`, `ActorDied`, `SpawnError`, what was found out here.
    pub error_type: *const c_char,
    /// The type of the first error, where the worker passed on that of another actor, or null.
    pub source_type: *const c_char,
    /// The error, as text for people, or null.
    pub text: *const c_char,
    /// The actor that asked for the cancellation, as text, or null.
    pub canceller: *const c_char,
}

/// The same as it is kept here.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    outcome: i32,
    requested: bool,
    value: Option<Vec<u8>>,
    error_type: Option<CString>,
    source_type: Option<CString>,
    text: Option<CString>,
    canceller: Option<CString>,
}

impl Ending {
    pub(crate) fn returned(value: Option<Vec<u8>>) -> Self {
        Self {
            outcome: TRACTOR_RETURNED,
            value,
            ..Self::default()
        }
    }

    pub(crate) fn cancelled(cancelled: &ContextCancelled) -> Self {
        Self {
            outcome: TRACTOR_CANCELLED,
            error_type: Some(c_text("ContextCancelled")),
            text: Some(c_text(&cancelled.to_string())),
            canceller: cancelled.canceller().map(|uid| c_text(&uid.to_string())),
            ..Self::default()
        }
    }

    /// Cancelled here, before there was anything to answer.
    pub(crate) fn withdrawn(by: Option<&str>) -> Self {
        Self {
            outcome: TRACTOR_CANCELLED,
            canceller: by.map(c_text),
            ..Self::default()
        }
    }

    pub(crate) fn unanswered(text: &str) -> Self {
        Self {
            outcome: TRACTOR_UNANSWERED,
            text: Some(c_text(text)),
            ..Self::default()
        }
    }

    pub(crate) fn failed(error: &Error) -> Self {
        if let Some(cancelled) = error.downcast_ref::<ContextCancelled>() {
            return Self::cancelled(cancelled);
        }
        let remote = error.downcast_ref::<RemoteActorError>();
        let own = error.type_name();
        let own = own.rsplit("::").next().unwrap_or(own);
        Self {
            outcome: TRACTOR_FAILED,
            error_type: Some(c_text(remote.map_or(own, RemoteActorError::boxed_type))),
            source_type: remote.map(|remote| c_text(remote.src_type())),
            text: Some(c_text(&error.to_string())),
            ..Self::default()
        }
    }

    pub(crate) fn panicked(text: &str) -> Self {
        Self {
            outcome: TRACTOR_FAILED,
            error_type: Some(c_text("Panic")),
            text: Some(c_text(text)),
            ..Self::default()
        }
    }

    pub(crate) fn requested(mut self, requested: bool) -> Self {
        self.requested = requested;
        self
    }

    /// Gives it out in the form that C knows.
    pub(crate) fn lent(&self, give: impl FnOnce(&End)) {
        let text = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let value = self.value.as_deref();
        give(&End {
            outcome: self.outcome,
            requested: self.requested.into(),
            value: value.map_or(ptr::null(), <[u8]>::as_ptr),
            value_len: value.map_or(0, <[u8]>::len),
            error_type: text(&self.error_type),
            source_type: text(&self.source_type),
            text: text(&self.text),
            canceller: text(&self.canceller),
        });
    }
}
