//! What all actors of a tree are doing, for people who look for what hangs.

use std::fmt::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{Outcome, Result, dump, move_on_after, nursery};

use crate::actor::{Actor, Connection};
use crate::error::NoActor;

/// How long an actor has to say what it is doing, with those below it. One that is stuck does not.
const LIMIT: Duration = Duration::from_secs(1);

/// What this actor and all below it consist of now: their contexts, tasks, nurseries and scopes.
/// A checkpoint.
///
/// Actors are asked at the same time, and each has 1 s to answer, for itself and those below it.
/// One that does not is in the dump as such. [`run`](fn@crate::run) writes the dump of the root to
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

/// The answer of [`dump_tree`]. Its `Display` is text in lines, each actor below the one that has
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
        for context in conn.dialog_paths() {
            let _ = writeln!(text, "  context with {}: {context}", conn.peer());
        }
    }
    push_indented(&mut text, &dump().to_string());
    let children = connections.iter().filter(|conn| conn.is_to_child());
    let below = nursery(async |n| {
        let asked: Vec<_> = children
            .map(|conn| n.start_soon(ask(conn.clone(), limit)))
            .collect();
        let mut answers: Vec<String> = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await?);
        }
        Ok(answers)
    });
    for answer in below.await? {
        push_indented(&mut text, &answer);
    }
    Ok(text)
}

async fn ask(child: Rc<Connection>, limit: Duration) -> Result<String> {
    // Less time for those below, so that one that is stuck there does not hide the others.
    let answer = child.request_dump(limit * 3 / 4);
    let answered = async { Ok(answer.event.wait().await?) };
    if let Outcome::Completed(()) = move_on_after(limit, answered).await?
        && let Some(text) = answer.text.take()
    {
        return Ok(text);
    }
    Ok(format!("actor {} does not answer\n", child.peer()))
}

fn push_indented(text: &mut String, part: &str) {
    for line in part.lines() {
        let _ = writeln!(text, "  {line}");
    }
}
