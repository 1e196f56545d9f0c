//! What runs in a guest: its workers and contexts, each a task, and what the host wants of them.
//!
//! The host's calls only note what is wanted, and ring: the tasks look, in the next turn or later in
//! this one. So a call may come from inside of a callback, which is inside of a task.

mod bell;
mod dialog;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use tractor::runtime;
use tractor::{Result, current_actor};

use bell::Bell;
pub(crate) use dialog::{Dialog, NotSent};
pub(crate) use worker::Worker;

use crate::end::Ending;
use crate::status::{Refused, TRACTOR_GONE};

/// A task to be.
type Job = Pin<Box<dyn Future<Output = Result<()>>>>;

/// The tree of a guest.
#[derive(Default)]
pub(crate) struct Tree {
    workers: RefCell<BTreeMap<u64, Rc<Worker>>>,
    dialogs: RefCell<BTreeMap<u64, Rc<Dialog>>>,
    last_id: Cell<u64>,
    /// What is to be started by the next turn.
    jobs: RefCell<VecDeque<Job>>,
    is_stopping: Cell<bool>,
    changed: Bell,
    /// When the budget of this turn is used up.
    until: Cell<Option<Instant>>,
    /// Whose turn's budget is used up wait for the next.
    turn: Cell<u64>,
    next_turn: Bell,
    has_waiting: Cell<bool>,
    /// The root actor, for people, once it is there.
    name: RefCell<Option<String>>,
}

impl Tree {
    /// The root's main: it goes on until it is [stopped](Self::stop) and no worker is left.
    pub(crate) async fn main(self: Rc<Self>) -> Result<()> {
        *self.name.borrow_mut() = Some(current_actor()?.uid().to_string());
        runtime::nursery(async |tasks| {
            loop {
                while let Some(job) = self.next_job() {
                    tasks.start_soon(job);
                }
                if self.is_over() {
                    return Ok(());
                }
                let may_go_on = || !self.jobs.borrow().is_empty() || self.is_over();
                self.changed.until(may_go_on).await?;
            }
        })
        .await
    }

    pub(crate) fn add_worker(self: &Rc<Self>, worker: impl FnOnce(u64) -> Worker) -> u64 {
        let id = self.next_id();
        let worker = Rc::new(worker(id));
        self.workers.borrow_mut().insert(id, worker.clone());
        self.start(worker.run(self.clone()));
        id
    }

    pub(crate) fn add_dialog(self: &Rc<Self>, dialog: impl FnOnce(u64) -> Dialog) -> u64 {
        let id = self.next_id();
        let dialog = Rc::new(dialog(id));
        dialog.worker().has_dialog(&dialog);
        self.dialogs.borrow_mut().insert(id, dialog.clone());
        self.start(dialog.run(self.clone()));
        id
    }

    pub(crate) fn worker(&self, id: u64) -> std::result::Result<Rc<Worker>, Refused> {
        let worker = self.workers.borrow().get(&id).cloned();
        worker
            .ok_or_else(|| Refused::new(TRACTOR_GONE, format!("there is no worker {id} any more")))
    }

    pub(crate) fn dialog(&self, id: u64) -> std::result::Result<Rc<Dialog>, Refused> {
        let dialog = self.dialogs.borrow().get(&id).cloned();
        dialog
            .ok_or_else(|| Refused::new(TRACTOR_GONE, format!("there is no context {id} any more")))
    }

    /// Has everything end in order.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
        let workers: Vec<_> = self.workers.borrow().values().cloned().collect();
        for worker in workers {
            worker.stop();
        }
        self.changed.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub(crate) fn begin_turn(&self, until: Option<Instant>) {
        self.until.set(until);
    }

    /// Whether something is left for the next turn, which is then due.
    pub(crate) fn end_turn(&self) -> bool {
        let is_left = self.has_waiting.replace(false);
        if is_left {
            self.turn.set(self.turn.get() + 1);
            self.next_turn.ring();
        }
        is_left
    }

    /// After a callback: leaves the rest for the next turn if this one's budget is used up. A turn of
    /// the runtime itself is longer: it looks at the time after up to 256 polls.
    async fn breathe(&self) -> Result<()> {
        if self
            .until
            .get()
            .is_some_and(|until| Instant::now() >= until)
        {
            let turn = self.turn.get();
            self.has_waiting.set(true);
            self.next_turn.until(|| self.turn.get() != turn).await?;
        }
        Ok(())
    }

    /// Tells everything that is still there that it has ended so. Nothing runs any more.
    pub(crate) fn end_all(&self, ending: impl Fn() -> Ending) {
        self.jobs.take();
        // Dialogs first: a worker ends after what is open with it. A callback may start another.
        self.is_stopping.set(true);
        while let Some((_, dialog)) = pop(&self.dialogs) {
            dialog.tell_end(ending().requested(dialog.is_cancelled()));
        }
        while let Some((_, worker)) = pop(&self.workers) {
            worker.tell_end(&ending().requested(worker.is_stopping()));
        }
    }

    fn is_over(&self) -> bool {
        self.is_stopping() && self.workers.borrow().is_empty()
    }

    fn name(&self) -> Option<String> {
        self.name.borrow().clone()
    }

    pub(crate) fn start(&self, job: impl Future<Output = Result<()>> + 'static) {
        self.jobs.borrow_mut().push_back(Box::pin(job));
        self.changed.ring();
    }

    fn next_job(&self) -> Option<Job> {
        self.jobs.borrow_mut().pop_front()
    }

    fn next_id(&self) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        id
    }

    fn forget_worker(&self, id: u64) {
        self.workers.borrow_mut().remove(&id);
        self.changed.ring();
    }

    fn forget_dialog(&self, id: u64) {
        self.dialogs.borrow_mut().remove(&id);
    }
}

fn pop<T>(map: &RefCell<BTreeMap<u64, T>>) -> Option<(u64, T)> {
    map.borrow_mut().pop_first()
}
