//! What all actors of a tree are doing, for people who look for what hangs.

use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{Error, Result, dump, move_on_after, nursery};

use crate::actor::{Actor, Connection};
use crate::error::{self, NoActor, PeerLost};
use crate::wire::ErrorMsg;

/// How long an actor has to say what it is doing, with those below it. One that is stuck does not.
const LIMIT: Duration = Duration::from_secs(1);

/// What this actor and all below it consist of now: their contexts, tasks, nurseries and scopes.
/// A checkpoint.
///
/// Actors are asked at the same time, and each has 1 s to answer, for itself and those below it.
/// One that does not is in the dump as such. An actor of another tree is asked through
/// [`Portal::dump_tree`](crate::Portal::dump_tree). [`run`](fn@crate::run) writes the dump of the root to
/// the standard error when the process gets SIGUSR1.
///
/// # Errors
///
/// [`NoActor`] outside of [`tractor::run`](crate::run), and cancellation.
pub async fn dump_tree() -> Result<TreeDump> {
    let actor = Actor::current().ok_or(NoActor)?;
    Ok(TreeDump {
        text: of(&actor, LIMIT).await?,
    })
}

/// The answer of [`dump_tree`] and [`Portal::dump_tree`](crate::Portal::dump_tree). Its `Display` is text in lines, each actor below the one that has
/// started it.
#[derive(Clone)]
pub struct TreeDump {
    text: String,
}

impl fmt::Display for TreeDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TreeDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Of an actor and those below it, which may take so long.
pub(crate) async fn of(actor: &Rc<Actor>, limit: Duration) -> Result<String> {
    let connections = actor.connections();
    let mut text = format!("actor {} (process {})\n", actor.uid(), std::process::id());
    for conn in &connections {
        for dialog in conn.shown_dialogs() {
            let _ = writeln!(text, "  {dialog}");
        }
    }
    push_indented(&mut text, &dump().to_string());
    let children = connections.iter().filter(|conn| conn.is_to_child());
    let answers = nursery(async |n| {
        let asked: Vec<_> = children
            .map(|conn| n.start_soon(below(conn.clone(), limit)))
            .collect();
        let mut answers: Vec<String> = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await?);
        }
        Ok(answers)
    });
    for answer in answers.await? {
        push_indented(&mut text, &answer);
    }
    Ok(text)
}

/// Of an actor of another tree, or of this one, and those below it.
pub(crate) async fn of_peer(conn: &Connection) -> Result<TreeDump> {
    if !conn.dumps() {
        let text = format!("{} does not know how to say what it is doing", conn.peer());
        return Err(Error::msg(text));
    }
    let text = match ask(conn, LIMIT).await? {
        Some(answer) => answer.map_err(|error| error::from_wire(*error, None))?,
        None if !conn.is_up() => {
            let lost = conn.lost().unwrap_or_else(|| PeerLost {
                peer: conn.peer().clone(),
                status: None,
                reason: None,
            });
            return Err(lost.into());
        }
        None => silent(conn),
    };
    Ok(TreeDump { text })
}

/// Of a child, which may take so long.
async fn below(child: Rc<Connection>, limit: Duration) -> Result<String> {
    Ok(match ask(&child, limit).await? {
        Some(Ok(text)) => text,
        Some(Err(error)) => format!("actor {}: {error}\n", child.peer()),
        None => silent(&child),
    })
}

/// `None` if there is no answer in time.
async fn ask(
    peer: &Connection,
    limit: Duration,
) -> Result<Option<std::result::Result<String, Box<ErrorMsg>>>> {
    // Less time for those below, so that one that is stuck there does not hide the others.
    let answer = peer.request_dump(limit * 3 / 4);
    let answered = move_on_after(limit, async { Ok(answer.event.wait().await?) }).await;
    peer.forget_dump(&answer);
    answered?;
    Ok(answer.text.take())
}

fn silent(peer: &Connection) -> String {
    format!("actor {} does not answer\n", peer.peer())
}

fn push_indented(text: &mut String, part: &str) {
    for line in part.lines() {
        let _ = writeln!(text, "  {line}");
    }
}
