use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use futures_lite::FutureExt;
use tractor_runtime::{CancelCause, CancelKind, CancelScope, Outcome, Result, check_cancelled};

use super::connection::to_dialog;
use super::{Actor, Connection};
use crate::context::Half;
use crate::dialog::EndpointEnd;
use crate::endpoint::{Call, Handler, Path, Running};
use crate::error::{self, EndpointNotFound, ModuleNotExposed, MsgTypeError};
use crate::wire::{Cid, ErrorMsg, Payload, Start, Uid};

/// Runs the endpoint that a peer asked for, or tells it why not.
pub(super) fn serve(actor: &Rc<Actor>, conn: &Rc<Connection>, start: Start) {
    let path = Path {
        ns: start.ns,
        func: start.func,
    };
    let half = received(conn, start.cid, path.to_text(), start.deadline_ms);
    match find(actor, &path) {
        Ok(handler) => invoke(actor, half, handler, start.kwargs, MsgTypeError::TYPE),
        Err(error) => refuse(&half, error),
    }
}

/// Answers what a peer asks of the actor itself.
pub(super) fn answer(actor: &Rc<Actor>, conn: &Rc<Connection>, start: Start, answer: &Handler) {
    let path = format!("{}:{}", start.ns, start.func);
    let half = received(conn, start.cid, path, start.deadline_ms);
    invoke(actor, half, answer, start.kwargs, "TypeError");
}

fn received(conn: &Rc<Connection>, cid: Cid, path: String, deadline_ms: Option<u64>) -> Rc<Half> {
    let half = Half::child(conn, cid.clone(), path);
    conn.insert(cid, half.clone());
    if let Some(ms) = deadline_ms {
        half.set_deadline(ms);
    }
    half
}

/// Runs a function, unless its arguments are of the wrong type.
fn invoke(actor: &Rc<Actor>, half: Rc<Half>, handler: &Handler, kwargs: Payload, wrong_type: &str) {
    let call = Call {
        kwargs,
        half: half.clone(),
    };
    // The arguments are read by code of the program, which is not to cost the actor.
    let running = match catch_unwind(AssertUnwindSafe(|| handler.call(call))) {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => {
            let text = format!("the arguments of {}: {error}", half.path());
            return refuse(&half, refusal(actor, wrong_type, text));
        }
        Err(panic) => return refuse(&half, panicked(&half, panic)),
    };
    let scope = CancelScope::new();
    half.set_scope(scope.handle());
    half.accept(handler.functype);
    if let Some(cause) = actor.endpoints().scope().cause() {
        // The actor was cancelled before.
        half.cancel_endpoint(to_dialog(&cause, actor.uid()));
    }
    let invoked = Invoked { half: Some(half) };
    // If the actor takes no more tasks the future is dropped, which answers the peer.
    let _ = actor.endpoints().start_soon(invoked.run(scope, running));
}

fn refuse(half: &Rc<Half>, error: Box<ErrorMsg>) {
    let (path, peer) = (half.path(), half.conn().peer());
    log::info!(target: "tractor::dialog", "refused {path} to {peer}: {error}");
    half.refuse(error);
}

fn find<'a>(actor: &'a Actor, path: &Path) -> std::result::Result<&'a Handler, Box<ErrorMsg>> {
    if !actor.exposes(path) {
        let text = format!("{path} is not exposed by {}", actor.uid());
        return Err(refusal(actor, ModuleNotExposed::TYPE, text));
    }
    actor.table().get(path).ok_or_else(|| {
        let text = format!("{} has no endpoint {path}", actor.uid());
        refusal(actor, EndpointNotFound::TYPE, text)
    })
}

fn refusal(actor: &Actor, type_str: &str, text: String) -> Box<ErrorMsg> {
    Box::new(ErrorMsg::new(actor.uid().clone(), type_str, text))
}

fn panicked(half: &Half, panic: Box<dyn Any + Send>) -> Box<ErrorMsg> {
    let text = error::panic_text(&*panic);
    // What it was thrown with may panic in turn when it is dropped. What that throws is kept.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(another);
    }
    log::error!(target: "tractor::dialog", "{} panicked: {text}", half.path());
    Box::new(ErrorMsg::new(half.conn().own().clone(), "Panic", text))
}

/// An endpoint at work. Its peer gets exactly one answer, also if this is dropped.
struct Invoked {
    half: Option<Rc<Half>>,
}

impl Invoked {
    async fn run(mut self, scope: CancelScope, running: Running) -> Result<()> {
        let result = AssertUnwindSafe(scope.run(running)).catch_unwind().await;
        let Some(half) = self.half.take() else {
            return Ok(());
        };
        if let Ok(Err(error)) = &result {
            half.local_ended(error);
        }
        // What an error says of itself is code of the program too.
        let end = result.and_then(|result| {
            let own = half.conn().own();
            catch_unwind(AssertUnwindSafe(|| ended(result, own)))
        });
        half.endpoint_ended(match end {
            Ok(end) => end,
            Err(panic) => EndpointEnd::Failed(panicked(&half, panic)),
        });
        Ok(())
    }
}

fn ended(result: Result<Outcome<Payload>>, own: &Uid) -> EndpointEnd {
    match result {
        Ok(Outcome::Completed(value)) => EndpointEnd::Returned(value),
        Ok(Outcome::Cancelled(cause)) => EndpointEnd::Cancelled(to_dialog(&cause, own)),
        Err(error) => match error.cancelled() {
            Some(cancelled) if error.is_cancelled() => {
                // The actor's cancellation counts, if a scope further in was cancelled before it.
                let outer = check_cancelled().err();
                let cause = outer.as_ref().unwrap_or(cancelled).cause();
                EndpointEnd::Cancelled(to_dialog(cause, own))
            }
            _ => EndpointEnd::Failed(Box::new(error::to_wire(&error, own))),
        },
    }
}

impl Drop for Invoked {
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            let cause = CancelCause::new(CancelKind::Shutdown);
            half.endpoint_dropped(to_dialog(&cause, half.conn().own()));
        }
    }
}
