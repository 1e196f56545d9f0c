use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Actor;
use crate::error::{NoActor, panic_text};

/// Leaves something to be done when this actor ends: after its main task and its endpoints have
/// ended, whether they did their work, failed, panicked or were cancelled, and while it can still
/// be reached. What was left last is done first. A panic in one is logged, and the others are
/// done.
///
/// Nothing is done in a process that is killed.
///
/// # Errors
///
/// [`NoActor`] outside of an actor.
pub fn on_actor_end(what: impl FnOnce() + 'static) -> Result<(), NoActor> {
    let actor = Actor::current().ok_or(NoActor)?;
    actor.ends.0.borrow_mut().push(Box::new(what));
    Ok(())
}

/// What is to be done when the actor ends, the last first.
#[derive(Default)]
pub(super) struct Ends(RefCell<Vec<Box<dyn FnOnce()>>>);

impl Ends {
    /// Does it. Again does what was left meanwhile.
    pub(super) fn run(&self) {
        loop {
            let Some(end) = self.0.borrow_mut().pop() else {
                return;
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(end)) {
                log::error!(
                    target: "tractor::actor",
                    "what was left for the end of the actor panicked: {}", panic_text(&*panic),
                );
            }
        }
    }
}

/// If nobody else has done it.
impl Drop for Ends {
    fn drop(&mut self) {
        self.run();
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ends({})", self.0.borrow().len())
    }
}
