//! Actors as processes: starting, watching and ending them, from both sides.

mod boot;
mod enter;
mod options;
mod platform;
mod process;

pub(crate) use boot::{Watchdog, is_marked};
pub use enter::enter_if_actor;
pub(crate) use enter::own_aid;
pub use options::SpawnOptions;
pub(crate) use process::{Exit, Process, seconds};

/// The variable that says which process a child was started by.
const MARK: &str = "TRACTOR_ACTOR";
