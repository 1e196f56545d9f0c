use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_lite::future::or;
use tractor::runtime::sync::{Receiver, Sender, TrySendError, channel};
use tractor::runtime::{self, CancelScope, Outcome, ScopeHandle};
use tractor::{Caller, Context, MsgStream, MsgTypeError, Raw, Result};

use super::bell::Bell;
use super::{Tree, Worker};
use crate::callbacks::ContextCallbacks;
use crate::end::Ending;

/// How many items the host may have sent that were not taken from it.
const OUTGOING: usize = 64;

/// A context with an endpoint of a worker, of which only the name is known here.
pub(crate) struct Dialog {
    id: u64,
    worker: Rc<Worker>,
    endpoint: String,
    args: RefCell<Option<Raw>>,
    callbacks: ContextCallbacks,
    /// Around the opening. Once the body runs, the body is told instead, so that the answer to the
    /// cancellation is heard.
    scope: RefCell<Option<CancelScope>>,
    opening: ScopeHandle,
    is_open: Cell<bool>,
    is_cancelled: Cell<bool>,
    is_paused: Cell<bool>,
    /// `room` is to be called.
    wants_room: Cell<bool>,
    outgoing: Sender<Raw>,
    to_send: Receiver<Raw>,
    changed: Bell,
}

/// Why an item is not sent.
pub(crate) enum NotSent {
    NoRoom,
    Closed,
}

type Ctx = Context<Raw, Caller<Raw>>;
type Items = MsgStream<Raw, Raw>;

impl Dialog {
    pub(crate) fn new(
        id: u64,
        worker: Rc<Worker>,
        endpoint: String,
        args: Raw,
        callbacks: ContextCallbacks,
    ) -> Self {
        let scope = CancelScope::new();
        let opening = scope.handle();
        let (outgoing, to_send) = channel(OUTGOING);
        Self {
            id,
            worker,
            endpoint,
            args: RefCell::new(Some(args)),
            callbacks,
            scope: RefCell::new(Some(scope)),
            opening,
            is_open: Cell::default(),
            is_cancelled: Cell::default(),
            is_paused: Cell::default(),
            wants_room: Cell::default(),
            outgoing,
            to_send,
            changed: Bell::default(),
        }
    }

    pub(crate) fn cancel(&self) {
        if self.is_cancelled.replace(true) {
            return;
        }
        if !self.is_open.get() {
            self.opening.cancel();
        }
        self.changed.ring();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }

    pub(crate) fn send(&self, item: Raw) -> std::result::Result<(), NotSent> {
        self.outgoing.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.wants_room.set(true);
                NotSent::NoRoom
            }
            _ => NotSent::Closed,
        })
    }

    /// Closes the stream when what was sent is on its way.
    pub(crate) fn close(&self) {
        self.outgoing.close();
    }

    pub(crate) fn pause(&self, pause: bool) {
        self.is_paused.set(pause);
        self.changed.ring();
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(super) async fn run(self: Rc<Self>, tree: Rc<Tree>) -> Result<()> {
        let scope = self.scope.take().expect("it is run once");
        let ended = scope.run(self.hold(&tree)).await;
        let ending = match ended {
            Ok(Outcome::Completed(ending)) => ending,
            Err(error) if !error.is_cancelled() => Ending::failed(&error),
            _ => Ending::withdrawn(tree.name().as_deref()),
        };
        tree.forget_dialog(self.id);
        self.tell_end(ending.requested(self.is_cancelled()));
        tree.breathe().await
    }

    async fn hold(&self, tree: &Tree) -> Result<Ending> {
        let portal = match self.worker.portal().await {
            // It was stopped before it was up.
            Err(_) if self.is_cancelled() => return Ok(Ending::withdrawn(tree.name().as_deref())),
            portal => portal?,
        };
        let args = self.args.take().expect("it is opened once");
        let outcome = portal
            .open_context_named(&self.endpoint, args, async |ctx: &Ctx, first: Raw| {
                self.is_open.set(true);
                self.converse(tree, ctx, &first).await
            })
            .await?;
        Ok(match outcome {
            tractor::Outcome::Returned(value) => {
                Ending::returned(Some(value.as_msgpack().to_vec()))
            }
            tractor::Outcome::Cancelled(cancelled) => Ending::cancelled(&cancelled),
            tractor::Outcome::Unreachable(lost) => Ending::unanswered(&lost.to_string()),
            _ => Ending::unanswered("it did not answer in time"),
        })
    }

    /// The body of the context.
    async fn converse(&self, tree: &Tree, ctx: &Ctx, first: &Raw) -> Result<tractor::Outcome<Raw>> {
        if !self.is_cancelled() {
            self.callbacks.started(self.id, first.as_msgpack());
            tree.breathe().await?;
        }
        if self.is_cancelled() {
            return self.cancelled(ctx).await;
        }
        // Closed at the end, for to the endpoint that is another thing than to be cancelled.
        let stream = ctx.open_stream()?;
        runtime::nursery(async |tasks| {
            let sends = tasks.start_soon(self.send_items(tree, &stream));
            let received = self.receive_items(tree, &stream).await;
            sends.cancel();
            received
        })
        .await?;
        self.to_send.close();
        or(self.cancelled(ctx), ctx.wait_for_result()).await
    }

    /// What comes of the context when it is cancelled, once it is.
    async fn cancelled(&self, ctx: &Ctx) -> Result<tractor::Outcome<Raw>> {
        self.changed.until(|| self.is_cancelled()).await?;
        ctx.cancel().await;
        ctx.wait_for_result().await
    }

    /// Until the stream ends, or the context is cancelled.
    async fn receive_items(&self, tree: &Tree, stream: &Items) -> Result<()> {
        let is_held = || self.is_cancelled() || self.is_paused.get();
        loop {
            let held = async {
                self.changed.until(is_held).await?;
                Result::Ok(None)
            };
            let received = async { Ok(Some(stream.receive().await?)) };
            match or(held, received).await? {
                Some(Some(item)) => {
                    self.callbacks.item(self.id, item.as_msgpack());
                    tree.breathe().await?;
                }
                Some(None) => return Ok(()),
                None if self.is_cancelled() => return Ok(()),
                None => {
                    let goes_on = || self.is_cancelled() || !self.is_paused.get();
                    self.changed.until(goes_on).await?;
                }
            }
        }
    }

    /// Until the host closes the stream, or the other side does.
    async fn send_items(&self, tree: &Tree, stream: &Items) -> Result<()> {
        while let Some(item) = self.to_send.next().await? {
            if self.wants_room.replace(false) && !self.is_cancelled() {
                self.callbacks.room(self.id);
                tree.breathe().await?;
            }
            match stream.send(&item).await {
                Ok(()) => {}
                Err(error) if error.is_cancelled() || error.is::<MsgTypeError>() => {
                    return Err(error);
                }
                Err(_) => {
                    // What became of the context is told to who receives.
                    self.to_send.close();
                    return Ok(());
                }
            }
        }
        stream.close();
        Ok(())
    }

    pub(super) fn tell_end(&self, ending: Ending) {
        self.to_send.close();
        self.callbacks.ended(self.id, &ending);
        self.worker.dialog_ended();
    }
}
