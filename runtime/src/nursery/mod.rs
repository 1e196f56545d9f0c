//! Nurseries: a scope whose children may borrow, and are all gone when it is left.

mod future;
mod handle;
mod options;
mod shared;
mod start;
mod task;

pub(crate) use future::BODY;
pub use future::{Nursery, nursery};
pub use handle::NurseryHandle;
pub use options::{ChildOptions, NurseryOptions};
pub use shared::SharedTask;
pub use start::{NotStarted, TaskStatus};
pub use task::{ChildCancelled, ChildPanicked, Gone, NurseryClosed, TaskHandle};
