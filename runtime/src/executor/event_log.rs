use std::panic::Location;

use super::{Instrument, TaskInfo};
use crate::cause::CancelCause;

/// An [`Instrument`] that logs what happens: tasks that begin, block and end with the target
/// `tractor::task`, at the levels debug and (for blocking) trace, and scopes that are cancelled
/// with the target `tractor::scope` at the level debug.
///
/// The keys of its records are `task` and `scope`, the place where the scope was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventLog;

const TASK: &str = "tractor::task";
const SCOPE: &str = "tractor::scope";

impl Instrument for EventLog {
    fn task_spawned(&self, task: &TaskInfo) {
        log::debug!(target: TASK, task:% = task; "{task} begins");
    }

    fn task_blocked(&self, task: &TaskInfo, operation: Option<&'static str>) {
        let operation = operation.unwrap_or("something else");
        log::trace!(target: TASK, task:% = task, operation; "{task} waits in {operation}");
    }

    fn task_exited(&self, task: &TaskInfo) {
        log::debug!(target: TASK, task:% = task; "{task} has ended");
    }

    fn scope_cancelled(&self, cause: &CancelCause, location: &'static Location<'static>) {
        log::debug!(
            target: SCOPE, scope:% = location;
            "the scope made at {location} is cancelled: {cause}"
        );
    }
}
