//! The building blocks of the mailbox, as the real machine has them.

pub(crate) use concurrent_queue::ConcurrentQueue as Queue;
pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};
pub(crate) use std::task::Waker as Bell;
