//! Actors as processes, as threads and as tasks: starting, watching and ending them, from both sides.

mod boot;
mod enter;
mod home;
mod life;
mod options;
mod platform;
mod process;
mod task;
mod thread;

pub(crate) use boot::{Watchdog, is_entered_aside, is_marked};
pub use enter::enter_if_actor;
pub(crate) use home::{Exit, Home};
pub(crate) use options::{Exposed, on_the_wire};
pub use options::{Output, SpawnOptions};
pub(crate) use process::{Process, seconds};
pub(crate) use task::Task;
pub(crate) use thread::Thread;

/// The variable that says which process a child was started by.
const MARK: &str = "TRACTOR_ACTOR";
