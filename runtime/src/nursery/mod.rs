//! Nurseries: a scope whose children may borrow, and are all gone when it is left.

mod future;
mod handle;
mod start;
mod task;

pub(crate) use future::BODY;
pub use future::{Nursery, NurseryOptions, nursery};
pub use handle::NurseryHandle;
pub use start::{NotStarted, TaskStatus};
pub use task::{ChildCancelled, ChildPanicked, Gone, NurseryClosed, TaskHandle};
