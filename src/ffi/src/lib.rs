//! A tree of actors as a guest in a host's loop.
//!
//! A guest is given turns by the host's loop: `tractor_guest_turn` runs what there is to do, for so
//! long, and comes back. In between the host waits for one descriptor, `tractor_guest_fd`, beside all
//! else that it waits for, and for `tractor_guest_next_deadline`. In the guest workers are started,
//! programs that are written in Rust with `tractor`; in a worker contexts are opened with what it
//! exposes by a name; and what comes of these is told to callbacks.
//!
//! Threads: a guest belongs to the thread that made it. On any other every function but
//! `tractor_version` and `tractor_last_error` answers TRACTOR_WRONG_THREAD, with no effect. Any number
//! of guests may share a thread. Nothing is global: no signal is taken, no logger installed, nothing
//! printed. A child that a program makes with fork(2) has to leave the guests of its parent alone.
//!
//! Callbacks run on the guest's thread, inside of `tractor_guest_turn` or `tractor_guest_free`, and at
//! no other time. (The one of `tractor_guest_on_wake` is the exception.) They may call everything but
//! these two, `tractor_guest_fd`, `tractor_guest_next_deadline` and `tractor_guest_on_wake`, which
//! answer TRACTOR_REENTRANT, with no effect. What they are given is theirs until they return. They
//! do return: an exception or a longjmp out of them is not allowed. Turns of another guest may be
//! taken in them.
//!
//! Each worker that was started, and each context that was opened, is told its end exactly once, by
//! its callback `ended`, and after that its callbacks and its `data` are used no more. Between
//! `tractor_context_cancel` and the end none of the other callbacks of that context is called.
//! `tractor_guest_free` returns when all that had not ended has been told its end.
//!
//! Workers and contexts are numbers, which are used once in a guest. To use one whose end was told,
//! or that never was, is answered with TRACTOR_GONE. The pointer to a guest is no longer valid when
//! `tractor_guest_free` has returned TRACTOR_OK.
//!
//! Values travel as MessagePack: one value is arguments (a map gives them by name), the started
//! value, an item, or the result. They nest at most 64 deep, and are passed on byte for byte.
//!
//! A turn may be taken at any time: an early one does nothing, and a late one costs lateness and
//! nothing else. What came meanwhile, also while the host was busy elsewhere, is kept.
//!
//! Functions answer with an `int32_t`. One that is negative is an error, of which
//! `tractor_last_error` tells more. None of them lets a panic of Rust out: it is TRACTOR_PANIC.

mod args;
mod callbacks;
mod context;
mod end;
mod guest;
mod status;
mod tree;
mod worker;

pub use callbacks::{ContextEnded, Notify, RoomMade, ValueCame, WorkerEnded};
pub use context::{
    ContextOptions, tractor_context_cancel, tractor_context_close, tractor_context_open,
    tractor_context_pause, tractor_context_resume, tractor_context_send,
};
pub use end::{End, TRACTOR_CANCELLED, TRACTOR_FAILED, TRACTOR_RETURNED, TRACTOR_UNANSWERED};
pub use guest::{
    Guest, TRACTOR_NEVER, tractor_guest_fd, tractor_guest_free, tractor_guest_new,
    tractor_guest_next_deadline, tractor_guest_on_wake, tractor_guest_stop, tractor_guest_turn,
};
pub use status::{
    TRACTOR_CLOSED, TRACTOR_DONE, TRACTOR_FULL, TRACTOR_GONE, TRACTOR_IDLE, TRACTOR_INVALID,
    TRACTOR_MORE, TRACTOR_OK, TRACTOR_PANIC, TRACTOR_REENTRANT, TRACTOR_SYSTEM,
    TRACTOR_WRONG_THREAD, tractor_last_error, tractor_version,
};
pub use worker::{WorkerOptions, tractor_worker_start, tractor_worker_stop};
