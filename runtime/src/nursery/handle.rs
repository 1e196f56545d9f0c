use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::future::Nursery;
use super::options::Origin;
use super::task::{NurseryClosed, TaskHandle};
use crate::cause::CancelCause;
use crate::error::Result;
use crate::scope::ScopeHandle;

/// Starts children in a nursery from anywhere on its thread, for as long as it is open.
///
/// Its children own what they use. Does not keep the nursery open.
///
/// A host of the runtime may use it too, between turns: what is started is a child of the nursery,
/// and the [`TaskHandle`] can be awaited in the host's own tasks, and cancelled by them.
#[derive(Clone)]
pub struct NurseryHandle {
    nursery: Rc<Nursery<'static, 'static>>,
}

impl NurseryHandle {
    pub(crate) fn new(nursery: Rc<Nursery<'static, 'static>>) -> Self {
        Self { nursery }
    }

    /// Starts a child, see [`Nursery::start_soon`].
    ///
    /// # Errors
    ///
    /// [`NurseryClosed`] if the nursery has been left; the child is dropped.
    #[track_caller]
    pub fn start_soon<T: 'static>(
        &self,
        child: impl Future<Output = Result<T>> + 'static,
    ) -> std::result::Result<TaskHandle<'static, T>, NurseryClosed> {
        if self.nursery.is_closed() {
            return Err(NurseryClosed { _private: () });
        }
        Ok(self.nursery.spawn(child, Origin::new(Location::caller())))
    }

    /// Cancels the body and all children.
    #[track_caller]
    pub fn cancel(&self) {
        self.nursery.cancel();
    }

    /// [`cancel`](Self::cancel) for a cause made elsewhere.
    pub fn cancel_because(&self, cause: CancelCause) {
        self.nursery.cancel_because(cause);
    }

    /// Asks body and children to stop within `grace`; then they are cancelled. See
    /// [`ScopeHandle::stop`].
    #[track_caller]
    pub fn stop(&self, grace: Duration) {
        self.nursery.stop(grace);
    }

    /// The scope of the nursery.
    pub fn scope(&self) -> ScopeHandle {
        self.nursery.scope()
    }

    /// Whether the nursery takes no more children.
    pub fn is_closed(&self) -> bool {
        self.nursery.is_closed()
    }
}

impl fmt::Debug for NurseryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NurseryHandle").field(&self.nursery).finish()
    }
}
