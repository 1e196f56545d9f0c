use std::rc::Rc;

use serde::de::DeserializeOwned;
use tractor_runtime::{
    CancelCause, CancelKind, Cancelled, Error, Result, check_cancelled, checkpoint_if_cancelled,
    nursery,
};

use super::{Caller, Context, Half};
use crate::actor::{Connection, to_dialog};
use crate::dialog::{BodyEnd, Cause, Exit, Kind, Resolution};
use crate::endpoint::{Dialog, Path};
use crate::error::MsgTypeError;
use crate::wire::{CauseKind, Cid, Payload, Start};

/// Calls a plain function in another actor.
pub(crate) async fn call<R: DeserializeOwned>(
    conn: &Rc<Connection>,
    path: Path,
    kwargs: Payload,
) -> Result<R> {
    checkpoint_if_cancelled().await?;
    let block = Block::open(conn, Kind::Function, path, kwargs);
    let half = block.half();
    let local = loop {
        if half.exit().is_some() {
            break None;
        }
        if let Err(cancelled) = half.changed().await {
            half.outer_cancelled(cancelled.cause());
            break Some(cancelled);
        }
    };
    match (half.exited().await, local) {
        (Exit::Body, Some(cancelled)) => Err(cancelled.into()),
        (Exit::Both, Some(cancelled)) => Err(both(cancelled.into(), half)),
        _ => match half.resolution() {
            Some(Resolution::Returned(value)) => value.decode().map_err(|error| {
                MsgTypeError::new(format!("the result of {}", half.path()), error).into()
            }),
            _ => Err(half.ended()),
        },
    }
}

/// Opens a context in another actor and runs `body` beside it.
pub(crate) async fn open<D: Dialog, R: DeserializeOwned, T>(
    conn: &Rc<Connection>,
    path: Path,
    kwargs: Payload,
    body: impl AsyncFnOnce(&Context<D, Caller<R>>, D::Started) -> Result<T>,
) -> Result<T> {
    checkpoint_if_cancelled().await?;
    let block = Block::open(conn, Kind::Context, path, kwargs);
    let half = block.half();
    let first = match first_value::<D>(half).await {
        Ok(first) => first,
        Err(BeforeBody::Exited) => {
            half.exited().await;
            return Err(half.ended());
        }
        Err(BeforeBody::Cancelled(cancelled)) => {
            half.outer_cancelled(cancelled.cause());
            return match half.exited().await {
                Exit::Both => Err(both(cancelled.into(), half)),
                Exit::Remote if half.raised().is_some() => Err(half.ended()),
                _ => Err(cancelled.into()),
            };
        }
        Err(BeforeBody::Undecodable(error)) => {
            half.body_ended(failed(&error, half));
            half.exited().await;
            return Err(error);
        }
    };
    let ctx = Context::new(half.clone());
    // A nursery for its scope: what the dialog cancels.
    let result = nursery(async |scope| {
        half.begin_body(scope.scope());
        body(&ctx, first).await
    })
    .await;
    half.body_ended(body_end(&result, half));
    let outer = match result {
        Ok(_) => result_awaited(half).await.err(),
        Err(_) => None,
    };
    match (half.exited().await, result, outer) {
        (Exit::Body, Ok(_), Some(cancelled)) => Err(cancelled.into()),
        (Exit::Body | Exit::Caught, result, _) => result,
        (Exit::Remote, ..) => Err(half.ended()),
        (Exit::Both, Err(error), _) => Err(both(error, half)),
        (Exit::Both, Ok(_), Some(cancelled)) => Err(both(cancelled.into(), half)),
        (Exit::Both, Ok(_), None) => Err(half.ended()),
    }
}

enum BeforeBody {
    /// There will be no body.
    Exited,
    Cancelled(Cancelled),
    Undecodable(Error),
}

async fn first_value<D: Dialog>(half: &Rc<Half>) -> std::result::Result<D::Started, BeforeBody> {
    loop {
        if let Some(first) = half.take_first() {
            return first.decode().map_err(|error| {
                let what = format!("the first value of {}", half.path());
                BeforeBody::Undecodable(MsgTypeError::new(what, error).into())
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
        Some(cancelled) if error.is_cancelled() => BodyEnd::Cancelled {
            by_dialog: half.cancelled_scope() && check_cancelled().is_ok(),
            cause: to_dialog(cancelled.cause(), half.conn().own()),
        },
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

fn both(local: Error, half: &Half) -> Error {
    let mut errors = vec![local];
    errors.extend(half.raised());
    Error::group(format!("the context of {} failed", half.path()), errors)
}

/// The block that opened a dialog. If it is dropped before it has ended, the other side is
/// cancelled.
struct Block {
    half: Rc<Half>,
}

impl Block {
    fn open(conn: &Rc<Connection>, kind: Kind, path: Path, kwargs: Payload) -> Self {
        let name = path.to_string();
        let own = conn.own().clone();
        let start = Start::new(Cid::fresh(), path.ns, path.func, kwargs, own);
        let half = Half::parent(conn, kind, name, start);
        half.open();
        Self { half }
    }

    fn half(&self) -> &Rc<Half> {
        &self.half
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
