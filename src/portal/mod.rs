//! Calling into another actor.

mod connect;
mod share;

use std::any::type_name;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::{CancelCause, CancelKind, Outcome as Ended, move_on_after, shield};

use crate::actor::{Ack, Connection};
use crate::context::{Caller, Context, ContextOptions, call, open, open_one_way};
use crate::dump::{self, TreeDump};
use crate::endpoint::{Dialog, Path, encode_args};
use crate::error::{InvalidPath, MsgTypeError, Result};
use crate::stream::{ReceiveStream, SendStream};
use crate::wire::{Payload, Start, Uid};

pub use connect::connect;
pub(crate) use connect::{connect_alone, greet_at};
pub(crate) use share::Line;

/// How long [`Portal::cancel_actor`] waits for the answer.
const ACK_BOUND: Duration = Duration::from_millis(500);

/// A way into another actor: calls its endpoints, and cancels it.
///
/// Cloning is cheap, and any number of tasks may use it at once. Dropping it changes nothing.
#[derive(Clone)]
pub struct Portal {
    line: Line,
    /// Told when the actor was asked to end, if it is a child of this one.
    asked: Option<Rc<dyn Fn(Rc<Ack>)>>,
}

impl Portal {
    /// Has the connection to itself.
    pub(crate) fn new(conn: Rc<Connection>, asked: Option<Rc<dyn Fn(Rc<Ack>)>>) -> Self {
        let line = Line::whole(conn);
        Self { line, asked }
    }

    fn over(line: Line) -> Self {
        Self { line, asked: None }
    }

    /// The actor at the other end.
    pub fn uid(&self) -> &Uid {
        self.conn().peer()
    }

    /// Whether the connection is up, and was not given up by this portal or a clone of it.
    pub fn is_connected(&self) -> bool {
        !self.line.is_given_up() && self.conn().is_up()
    }

    /// Calls a plain endpoint and waits for its result. A checkpoint.
    ///
    /// If this is cancelled, or dropped, the endpoint is cancelled; cancelled, it waits for the
    /// answer, at most 616 ms.
    ///
    /// # Errors
    ///
    /// What the endpoint failed with, as a [`RemoteActorError`](crate::RemoteActorError);
    /// [`ModuleNotExposed`](crate::ModuleNotExposed), [`EndpointNotFound`](crate::EndpointNotFound) and
    /// [`MsgTypeError`] if it was not run; [`ContextCancelled`](crate::ContextCancelled) if the
    /// actor was cancelled; [`PeerLost`](crate::PeerLost); and cancellation.
    pub async fn run<F, A, R>(&self, endpoint: F, args: A) -> Result<R>
    where
        F: AsyncFn(A) -> Result<R> + Copy + 'static,
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = self.path_of(&endpoint);
        let kwargs = self.arguments(&path, &args)?;
        call(&self.line, path, kwargs).await
    }

    /// Calls a plain endpoint by its name, `namespace:function`, for what is no function of this
    /// program: see [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for another name, and those of [`run`](Self::run).
    pub async fn run_named<A, R>(&self, name: &str, args: A) -> Result<R>
    where
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = named(name)?;
        let kwargs = self.arguments(&path, &args)?;
        call(&self.line, path, kwargs).await
    }

    /// Opens a context with an endpoint, and runs `body` with this side of it and the value that
    /// the endpoint handed over. A checkpoint.
    ///
    /// When the body has returned, this waits for the endpoint to end too. The two are one scope:
    /// if the endpoint fails or the connection is lost, the body is cancelled; if the body fails
    /// or is cancelled, the endpoint is, and its answer is waited for, at most 616 ms.
    ///
    /// # Errors
    ///
    /// The body's; what the endpoint failed with, and both as a group if both failed; those of
    /// [`run`](Self::run). A cancellation that the body asked for through its context is none; if
    /// another task asked, the body is cut short and its cancellation comes out.
    pub async fn open_context<F, D, A, R, T>(
        &self,
        endpoint: F,
        args: A,
        body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
    ) -> Result<T>
    where
        F: AsyncFn(&mut Context<D>, A) -> Result<R> + Copy + 'static,
        D: Dialog,
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = self.path_of(&endpoint);
        let kwargs = self.arguments(&path, &args)?;
        let options = ContextOptions::new();
        open(&self.line, path, kwargs, options, body).await?.value()
    }

    /// Opens a context with these options, and tells apart how its body ended: see
    /// [`open_context`](Self::open_context). A body that was cut short because another task
    /// [cancelled](Context::cancel) the context is no error here, but
    /// [`Cancelled`](tractor_runtime::Outcome::Cancelled).
    ///
    /// # Errors
    ///
    /// Those of [`open_context`](Self::open_context), but that one.
    pub async fn open_context_with<F, D, A, R, T>(
        &self,
        options: ContextOptions,
        endpoint: F,
        args: A,
        body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
    ) -> Result<Ended<T>>
    where
        F: AsyncFn(&mut Context<D>, A) -> Result<R> + Copy + 'static,
        D: Dialog,
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = self.path_of(&endpoint);
        let kwargs = self.arguments(&path, &args)?;
        let ended = open(&self.line, path, kwargs, options, body).await?;
        Ok(ended.outcome())
    }

    /// Opens a context with an endpoint by its name, `namespace:function`: see
    /// [`open_context`](Self::open_context).
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for another name, and those of [`open_context`](Self::open_context).
    pub async fn open_context_named<D, A, R, T>(
        &self,
        name: &str,
        args: A,
        body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
    ) -> Result<T>
    where
        D: Dialog,
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = named(name)?;
        let kwargs = self.arguments(&path, &args)?;
        let options = ContextOptions::new();
        open(&self.line, path, kwargs, options, body).await?.value()
    }

    /// Opens a context with an endpoint by its name, with these options: see
    /// [`open_context_with`](Self::open_context_with).
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for another name, and those of
    /// [`open_context_with`](Self::open_context_with).
    pub async fn open_context_named_with<D, A, R, T>(
        &self,
        options: ContextOptions,
        name: &str,
        args: A,
        body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
    ) -> Result<Ended<T>>
    where
        D: Dialog,
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = named(name)?;
        let kwargs = self.arguments(&path, &args)?;
        let ended = open(&self.line, path, kwargs, options, body).await?;
        Ok(ended.outcome())
    }

    /// Has an endpoint send items, one way, and runs `body` beside it. A checkpoint.
    ///
    /// The endpoint is a function `async fn(&mut SendStream<T>, A) -> Result<()>`. When it
    /// returns the stream ends. When the body returns, whoever still sends is cancelled, and its
    /// answer is waited for, at most 616 ms.
    ///
    /// # Errors
    ///
    /// Those of [`open_context`](Self::open_context).
    pub async fn open_stream_from<F, T, A, V>(
        &self,
        endpoint: F,
        args: A,
        body: impl AsyncFnOnce(&ReceiveStream<T>) -> Result<V>,
    ) -> Result<V>
    where
        F: AsyncFn(&mut SendStream<T>, A) -> Result<()> + Copy + 'static,
        T: Serialize + DeserializeOwned,
        A: Serialize,
    {
        let path = self.path_of(&endpoint);
        let kwargs = self.arguments(&path, &args)?;
        let options = ContextOptions::new();
        let ended = open_one_way(&self.line, path, kwargs, options, body).await?;
        ended.value()
    }

    /// Has an endpoint send items by its name, `namespace:function`: see
    /// [`open_stream_from`](Self::open_stream_from). With options for how it is received.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for another name, and those of [`open_context`](Self::open_context).
    pub async fn open_stream_from_named<T, A, V>(
        &self,
        options: ContextOptions,
        name: &str,
        args: A,
        body: impl AsyncFnOnce(&ReceiveStream<T>) -> Result<V>,
    ) -> Result<V>
    where
        T: DeserializeOwned,
        A: Serialize,
    {
        let path = named(name)?;
        let kwargs = self.arguments(&path, &args)?;
        let ended = open_one_way(&self.line, path, kwargs, options, body).await?;
        ended.value()
    }

    /// Asks the actor to cancel everything it does and end. True if it said that it will, within
    /// 500 ms; shielded.
    ///
    /// A child that does not end in its grace is ended by force, by its nursery.
    #[track_caller]
    pub fn cancel_actor(&self) -> impl Future<Output = bool> {
        let cause = CancelCause::new(CancelKind::Requested);
        async move {
            if self.line.is_given_up() {
                return false;
            }
            let ack = self.conn().request_cancel_actor(&cause);
            if let Some(asked) = &self.asked {
                asked(ack.clone());
            }
            let answered = move_on_after(ACK_BOUND, async { Ok(ack.event.wait().await?) });
            let _ = shield(answered).await;
            ack.accepted.get()
        }
    }

    /// What the actor and all below it consist of now, as [`dump_tree`](crate::dump_tree) says of this
    /// one. Nothing changes there. A checkpoint.
    ///
    /// It is waited for 1 s. An actor that does not answer in time, this one included, is in the dump
    /// as such. Whoever may cancel an actor may see into it: those above it, who comes over a Unix
    /// socket, and over TCP whom
    /// [`allow_remote_cancel`](crate::ListenOptions::allow_remote_cancel) lets in.
    ///
    /// # Errors
    ///
    /// A [`RemoteActorError`](crate::RemoteActorError) of the type `PermissionDenied` if it may not;
    /// that the actor is of a library that has no such dump; [`PeerLost`](crate::PeerLost); and
    /// cancellation.
    pub async fn dump_tree(&self) -> Result<TreeDump> {
        self.line.check()?;
        dump::of_peer(self.conn()).await
    }

    /// Ends the connection, when what was sent has been written. The dialogs on it that are still
    /// open end with [`PeerLost`](crate::PeerLost). A child ends that loses its parent so.
    ///
    /// If the connection was given to others too (see [`connect`]), this only gives up this portal
    /// and its clones: the dialogs that they have opened are cancelled, and end with
    /// [`PeerLost`](crate::PeerLost) here all the same; the connection ends when the others have
    /// given it up too. Again has no effect.
    pub fn disconnect(&self) {
        self.line.give_up();
    }

    /// Calls what the other actor answers itself.
    pub(crate) async fn run_own<A, R>(&self, func: &str, args: A) -> Result<R>
    where
        A: Serialize,
        R: DeserializeOwned,
    {
        let path = Path {
            ns: Start::SELF.into(),
            func: func.into(),
        };
        let kwargs = self.arguments(&path, &args)?;
        call(&self.line, path, kwargs).await
    }

    pub(crate) fn leads_to_registrar(&self) -> bool {
        self.conn().leads_to_registrar()
    }

    pub(crate) fn holds_registrations(&self) -> bool {
        self.conn().holds_registrations()
    }

    fn conn(&self) -> &Rc<Connection> {
        self.line.conn()
    }

    fn arguments<A: Serialize>(&self, path: &Path, args: &A) -> Result<Payload> {
        encode_args(args, &self.conn().link().limits())
            .map_err(|error| MsgTypeError::new(format!("the arguments of {path}"), error).into())
    }

    fn path_of<F>(&self, _endpoint: &F) -> Path {
        let function = type_name::<F>();
        match self.conn().actor() {
            Some(actor) => actor.table().path_of(function),
            None => Path::of_function(function),
        }
    }
}

fn named(name: &str) -> Result<Path> {
    Path::of_name(name).ok_or_else(|| InvalidPath { name: name.into() }.into())
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Portal({})", self.uid())
    }
}
