use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use tractor_runtime::sync::Event;
use tractor_runtime::{Error, Result};

use crate::portal::Portal;
use crate::wire::Uid;

/// An actor that runs one function, as
/// [`run_in_actor`](crate::ActorNursery::run_in_actor) started it.
///
/// It belongs to the nursery, and dropping this changes nothing. Clones are the same actor.
#[derive(Clone)]
pub struct ActorTask<R> {
    portal: Portal,
    ended: Rc<Ended<R>>,
}

/// What came of the function.
pub(super) struct Ended<R> {
    result: RefCell<Option<Result<R>>>,
    is_known: Event,
}

impl<R> ActorTask<R> {
    pub(super) fn new(portal: Portal) -> (Self, Rc<Ended<R>>) {
        let ended = Rc::new(Ended {
            result: RefCell::default(),
            is_known: Event::new(),
        });
        let task = Self {
            portal,
            ended: ended.clone(),
        };
        (task, ended)
    }

    /// The actor.
    pub fn uid(&self) -> &Uid {
        self.portal.uid()
    }

    /// A way into the actor, which lasts as long as its function.
    pub fn portal(&self) -> &Portal {
        &self.portal
    }

    /// Whether it is known what came of the function.
    pub fn is_finished(&self) -> bool {
        self.ended.is_known.is_set()
    }

    /// Waits for what the function returns. A checkpoint; it can be called again, also when the
    /// nursery is over, and gives the same.
    ///
    /// # Errors
    ///
    /// What the function failed with, always the same error: the nursery fails of it all the same;
    /// those of [`Portal::run`]; and cancellation.
    pub async fn wait_for_result(&self) -> Result<R>
    where
        R: Clone,
    {
        if !self.is_finished() {
            self.ended.is_known.wait().await?;
        }
        let result = self.ended.result.borrow();
        match &*result {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::msg(format!("{} was never asked", self.uid()))),
        }
    }
}

impl<R> Ended<R> {
    pub(super) fn with(&self, result: Result<R>) {
        *self.result.borrow_mut() = Some(result);
        self.is_known.set();
    }
}

impl<R> fmt::Debug for ActorTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorTask")
            .field("uid", self.uid())
            .field("finished", &self.is_finished())
            .finish()
    }
}
