use std::future::pending;
use std::rc::Rc;

use futures_lite::future::or;
use serde::de::DeserializeOwned;
use tractor_runtime::time::{self, Instant};
use tractor_runtime::{
    CancelCause, CancelKind, Cancelled, EffectiveDeadline, Error, Outcome, Result, check_cancelled,
    checkpoint_if_cancelled, current_effective_deadline, nursery,
};

use super::half::whole_ms;
use super::{Caller, Context, ContextOptions, Half};
use crate::actor::to_dialog;
use crate::dialog::{BodyEnd, Cause, Exit, Kind, Resolution};
use crate::endpoint::{Dialog, Path};
use crate::error::{ContextCancelled, MsgTypeError};
use crate::portal::Line;
use crate::stream::{MsgStream, ReceiveStream};
use crate::wire::{CauseKind, Cid, Payload, Start};

/// How a body ended that did not fail.
pub(crate) enum Ended<T> {
    Completed(T),
    /// Its dialog cut it short: with what it ended, and why.
    Cut(Error, CancelCause),
}

impl<T> Ended<T> {
    /// With the cancellation as the error that it is to whoever wants a value.
    pub(crate) fn value(self) -> Result<T> {
        match self {
            Self::Completed(value) => Ok(value),
            Self::Cut(error, _) => Err(error),
        }
    }

    pub(crate) fn outcome(self) -> Outcome<T> {
        match self {
            Self::Completed(value) => Outcome::Completed(value),
            Self::Cut(_, cause) => Outcome::Cancelled(cause),
        }
    }
}

/// Calls a plain function in another actor.
pub(crate) async fn call<R: DeserializeOwned>(
    line: &Line,
    path: Path,
    kwargs: Payload,
) -> Result<R> {
    checkpoint_if_cancelled().await?;
    line.ready().await?;
    let block = Block::open(line, Kind::Function, path, kwargs, &ContextOptions::new());
    let half = block.half();
    let answered = async {
        loop {
            if half.exit().is_some() {
                return None;
            }
            if let Err(cancelled) = half.changed().await {
                half.outer_cancelled(cancelled.cause());
                return Some(cancelled);
            }
        }
    };
    let local = block.in_time(answered).await;
    match (half.exited().await, local) {
        (Exit::Body, Some(cancelled)) => Err(cancelled.into()),
        (Exit::Both, Some(cancelled)) => Err(both(cancelled.into(), half)),
        _ => match half.resolution() {
            Some(Resolution::Returned(value)) => value.decode().map_err(|error| {
                MsgTypeError::new(format!("the result of {}", half.path()), error).into()
            }),
            _ => Err(ended(half)),
        },
    }
}

/// Opens a context in another actor and runs `body` beside it.
pub(crate) async fn open<D: Dialog, R: DeserializeOwned, T>(
    line: &Line,
    path: Path,
    kwargs: Payload,
    options: ContextOptions,
    body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
) -> Result<Ended<T>> {
    checkpoint_if_cancelled().await?;
    line.ready().await?;
    let block = Block::open(line, Kind::Context, path, kwargs, &options);
    let ctx = Context::new(block.half().clone());
    block.run(async |first| body(&ctx, first).await).await
}

/// Has another actor send items, and runs `body` beside it.
pub(crate) async fn open_one_way<R, T>(
    line: &Line,
    path: Path,
    kwargs: Payload,
    options: ContextOptions,
    body: impl AsyncFnOnce(&ReceiveStream<R>) -> Result<T>,
) -> Result<Ended<T>> {
    checkpoint_if_cancelled().await?;
    line.ready().await?;
    let block = Block::open(line, Kind::OneWay, path, kwargs, &options);
    let half = block.half();
    block
        .run(async |(): ()| {
            half.open_stream(None)?;
            body(&MsgStream::new(half.clone())).await
        })
        .await
}

enum BeforeBody {
    /// There will be no body.
    Exited,
    Cancelled(Cancelled),
    Undecodable(Error),
}

async fn first_value<V: DeserializeOwned>(half: &Rc<Half>) -> std::result::Result<V, BeforeBody> {
    loop {
        if let Some(first) = half.take_first() {
            return first.decode().map_err(|error| {
                BeforeBody::Undecodable(half.undecodable("the first value", error))
            });
        }
        if half.exit().is_some() {
            return Err(BeforeBody::Exited);
        }
        half.changed().await.map_err(BeforeBody::Cancelled)?;
    }
}

/// Waits, after the body has returned, for what becomes of the endpoint.
async fn result_awaited(half: &Rc<Half>) -> std::result::Result<(), Cancelled> {
    while half.exit().is_none() {
        if let Err(cancelled) = half.changed().await {
            half.outer_cancelled(cancelled.cause());
            return Err(cancelled);
        }
    }
    Ok(())
}

fn body_end<T>(result: &Result<T>, half: &Half) -> BodyEnd {
    let error = match result {
        Ok(_) => return BodyEnd::Returned,
        Err(error) => error,
    };
    match error.cancelled() {
        Some(cancelled) if error.is_cancelled() => {
            // What is outside counts, if a scope further in was cancelled before it.
            let outer = check_cancelled().err();
            let cause = outer.as_ref().unwrap_or(cancelled).cause();
            BodyEnd::Cancelled {
                by_dialog: half.cancelled_scope() && outer.is_none(),
                cause: to_dialog(cause, half.conn().own()),
            }
        }
        _ => failed(error, half),
    }
}

fn failed(error: &Error, half: &Half) -> BodyEnd {
    let remote = half.raised();
    let is_remote =
        remote.is_some_and(|remote| error.leaves().any(|leaf| leaf.id() == remote.id()));
    BodyEnd::Failed {
        is_remote,
        cause: Cause::new(CauseKind::SiblingFailed, half.conn().own().clone())
            .because(error.to_string()),
    }
}

/// What became of the endpoint, for who waits here.
fn ended(half: &Half) -> Error {
    match check_cancelled() {
        Err(cancelled) if is_own_cancel(half) => cancelled.into(),
        _ => half.ended(),
    }
}

/// Whether the endpoint was cancelled by this actor. Where the task here is cancelled too that is
/// the same cancellation: it had the peer's whole actor cancelled, and that came first.
fn is_own_cancel(half: &Half) -> bool {
    let raised = half.raised();
    let cancelled = raised
        .as_ref()
        .and_then(Error::downcast_ref::<ContextCancelled>);
    cancelled.and_then(ContextCancelled::canceller) == Some(half.conn().own())
}

fn both(local: Error, half: &Half) -> Error {
    if local.is_cancelled() && is_own_cancel(half) {
        return local;
    }
    let mut errors = vec![local];
    errors.extend(half.raised());
    Error::group(format!("the context of {} failed", half.path()), errors)
}

/// The block that opened a dialog. If it is dropped before it has ended, the other side is
/// cancelled.
struct Block {
    half: Rc<Half>,
    /// The deadline that the peer was told of.
    deadline: Option<Instant>,
}

impl Block {
    fn open(
        line: &Line,
        kind: Kind,
        path: Path,
        kwargs: Payload,
        options: &ContextOptions,
    ) -> Self {
        let conn = line.conn();
        let name = path.to_text();
        let own = conn.own().clone();
        let mut start = Start::new(Cid::fresh(), path.ns, path.func, kwargs, own);
        let mut deadline = None;
        if conn.features().deadlines
            && let EffectiveDeadline::At(at) = current_effective_deadline()
        {
            start.deadline_ms = Some(whole_ms(at.saturating_duration_since(time::now())));
            deadline = Some(at);
        }
        let half = Half::parent(conn, kind, name, start, options.buffering());
        if let Some(deadline) = deadline {
            half.set_due(deadline);
        }
        half.set_cancel_bound(options.cancel_bound);
        half.open();
        line.opened(&half);
        Self { half, deadline }
    }

    fn half(&self) -> &Rc<Half> {
        &self.half
    }

    /// Runs the body when the first value is there, and waits for both sides.
    async fn run<V: DeserializeOwned, T>(
        &self,
        body: impl AsyncFnOnce(V) -> Result<T>,
    ) -> Result<Ended<T>> {
        self.in_time(self.run_body(body)).await
    }

    async fn run_body<V: DeserializeOwned, T>(
        &self,
        body: impl AsyncFnOnce(V) -> Result<T>,
    ) -> Result<Ended<T>> {
        let half = &self.half;
        let first = match first_value::<V>(half).await {
            Ok(first) => first,
            Err(BeforeBody::Exited) => {
                half.exited().await;
                return Err(ended(half));
            }
            Err(BeforeBody::Cancelled(cancelled)) => {
                half.outer_cancelled(cancelled.cause());
                return match half.exited().await {
                    Exit::Both => Err(both(cancelled.into(), half)),
                    Exit::Remote if half.raised().is_some() => Err(ended(half)),
                    _ => Err(cancelled.into()),
                };
            }
            Err(BeforeBody::Undecodable(error)) => {
                half.local_ended(&error);
                half.body_ended(failed(&error, half));
                half.exited().await;
                return Err(error);
            }
        };
        // A nursery for its scope: what the dialog cancels.
        let result = nursery(async |scope| {
            half.begin_body(scope.scope());
            body(first).await
        })
        .await;
        if let Err(error) = &result {
            half.local_ended(error);
        }
        half.body_ended(body_end(&result, half));
        let outer = match result {
            Ok(_) => result_awaited(half).await.err(),
            Err(_) => None,
        };
        match (half.exited().await, result, outer) {
            (Exit::Body, Ok(_), Some(cancelled)) => Err(cancelled.into()),
            (Exit::Body, Ok(value), None) => {
                if half.has_expired() {
                    // That deadline is due here too.
                    check_cancelled()?;
                }
                Ok(Ended::Completed(value))
            }
            (Exit::Caught, Err(error), _) => match half.scope_cause() {
                Some(cause) => Ok(Ended::Cut(error, cause)),
                None => Err(error),
            },
            (Exit::Body | Exit::Caught, result, _) => result.map(Ended::Completed),
            (Exit::Remote, ..) => Err(ended(half)),
            (Exit::Both, Err(error), _) => Err(both(error, half)),
            (Exit::Both, Ok(_), Some(cancelled)) => Err(both(cancelled.into(), half)),
            (Exit::Both, Ok(_), None) => Err(ended(half)),
        }
    }

    /// Does `work`, and tells the peer meanwhile if there is more time for it than was said.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> T {
        match self.deadline {
            Some(deadline) => or(work, self.keep_deadline(deadline)).await,
            None => work.await,
        }
    }

    /// Never ends. A deadline that was moved is found out when the former one is due, early
    /// enough: what the peer was told it takes with some slack.
    async fn keep_deadline<T>(&self, mut told: Instant) -> T {
        while time::sleep_until(told).await.is_ok() {
            match current_effective_deadline() {
                EffectiveDeadline::At(later) if later > told => {
                    told = later;
                    self.half.deadline_moved(Some(later));
                }
                EffectiveDeadline::None => {
                    self.half.deadline_moved(None);
                    break;
                }
                _ => break,
            }
        }
        pending().await
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.half.exit().is_some() {
            return;
        }
        let cause = CancelCause::new(CancelKind::Requested)
            .with_reason("the block that opened the context was dropped");
        self.half
            .block_dropped(to_dialog(&cause, self.half.conn().own()));
    }
}
