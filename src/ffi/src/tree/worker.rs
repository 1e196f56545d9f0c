use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use tractor::runtime::{CancelScope, Outcome, ScopeHandle};
use tractor::{Error, Portal, Result, SpawnOptions};

use super::bell::Bell;
use super::{Dialog, Tree};
use crate::callbacks::WorkerCallbacks;
use crate::end::Ending;

/// An actor that is a program.
pub(crate) struct Worker {
    id: u64,
    name: String,
    options: SpawnOptions,
    callbacks: WorkerCallbacks,
    /// Of its start, until it is up.
    scope: RefCell<Option<CancelScope>>,
    start: ScopeHandle,
    /// The way in, or why there is none.
    portal: RefCell<Option<Result<Portal>>>,
    is_stopping: Cell<bool>,
    dialogs: RefCell<Vec<Weak<Dialog>>>,
    open: Cell<usize>,
    changed: Bell,
}

impl Worker {
    pub(crate) fn new(
        id: u64,
        name: String,
        options: SpawnOptions,
        callbacks: WorkerCallbacks,
    ) -> Self {
        let scope = CancelScope::new();
        let start = scope.handle();
        Self {
            id,
            name,
            options,
            callbacks,
            scope: RefCell::new(Some(scope)),
            start,
            portal: RefCell::default(),
            is_stopping: Cell::default(),
            dialogs: RefCell::default(),
            open: Cell::default(),
            changed: Bell::default(),
        }
    }

    /// Has it end in order, after what is open with it.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        if self.portal.borrow().is_none() {
            self.start.cancel();
        }
        let dialogs: Vec<_> = self
            .dialogs
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for dialog in dialogs {
            dialog.cancel();
        }
        self.changed.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub(super) fn has_dialog(&self, dialog: &Rc<Dialog>) {
        let mut dialogs = self.dialogs.borrow_mut();
        dialogs.retain(|dialog| dialog.strong_count() > 0);
        dialogs.push(Rc::downgrade(dialog));
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn dialog_ended(&self) {
        self.open.set(self.open.get() - 1);
        self.changed.ring();
    }

    /// Waits until it is up.
    pub(super) async fn portal(&self) -> Result<Portal> {
        let known = || self.portal.borrow().is_some();
        self.changed.until(known).await?;
        let portal = self.portal.borrow();
        portal.clone().expect("it was waited for")
    }

    pub(super) async fn run(self: Rc<Self>, tree: Rc<Tree>) -> Result<()> {
        let scope = self.scope.take().expect("it is run once");
        let lived = scope.run(self.live()).await;
        let ending = match &lived {
            Ok(Outcome::Completed(())) => Ending::returned(None),
            Ok(Outcome::Cancelled(_)) => Ending::withdrawn(tree.name().as_deref()),
            Err(error) => Ending::failed(error),
        };
        self.is_up(Err(lived.err().unwrap_or_else(|| {
            Error::msg(format!("the worker {} has ended", self.name))
        })));
        let asked = self.is_stopping();
        // Whoever has lost it is told so first.
        self.is_stopping.set(true);
        self.changed.until(|| self.open.get() == 0).await?;
        tree.forget_worker(self.id);
        self.tell_end(&ending.requested(asked));
        tree.breathe().await
    }

    async fn live(&self) -> Result<()> {
        tractor::nursery(async |an| {
            let portal = an.start_actor(&self.name, self.options.clone()).await?;
            self.is_up(Ok(portal));
            self.changed
                .until(|| self.is_stopping() && self.open.get() == 0)
                .await?;
            an.cancel();
            Ok(())
        })
        .await
    }

    pub(super) fn tell_end(&self, ending: &Ending) {
        self.callbacks.ended(self.id, ending);
    }

    /// The first answer stays.
    fn is_up(&self, portal: Result<Portal>) {
        self.portal.borrow_mut().get_or_insert(portal);
        self.changed.ring();
    }
}
