use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tractor_runtime::sync::Event;
use tractor_runtime::{Cancelled, checkpoint_if_cancelled};

use crate::spawn::{Exit, seconds};
use crate::wire::Uid;

/// How many ends are kept: the latest.
pub(crate) const KEPT: usize = 1000;

/// What became of the actors of a nursery, and of those below them that ended with their parents:
/// who was told when, who said what, who had to be forced.
///
/// It is from [`ActorNursery::teardown_report`](crate::ActorNursery::teardown_report), grows while
/// actors end, and can be read when the nursery is over. The latest 1,000 ends are kept.
#[derive(Clone)]
pub struct TeardownReport {
    ends: Rc<Ends>,
}

impl TeardownReport {
    pub(super) fn new(ends: Rc<Ends>) -> Self {
        Self { ends }
    }

    /// The actors that have ended, in the order in which this was told: children before their
    /// parents.
    pub fn actors(&self) -> Vec<ActorEnd> {
        self.ends.all.borrow().iter().cloned().collect()
    }

    /// Whether everybody who was asked to end did so in time, and left nothing.
    pub fn is_clean(&self) -> bool {
        let ends = self.ends.all.borrow();
        ends.iter()
            .all(|end| end.is_complete && matches!(end.ending, Ending::Acked))
    }
}

impl fmt::Display for TeardownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for end in &*self.ends.all.borrow() {
            writeln!(f, "{end}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TeardownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.ends.all.borrow()).finish()
    }
}

/// How one actor ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActorEnd {
    #[serde(with = "as_pair")]
    uid: Uid,
    #[serde(with = "as_pair")]
    parent: Uid,
    ending: Ending,
    ack: Option<Duration>,
    took: Option<Duration>,
    status: Option<i32>,
    exit: String,
    is_complete: bool,
}

/// What brought about the end of an actor. Durations are those from when it was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ending {
    /// Nobody had asked it to.
    Died,
    /// Somebody else than its parent had asked it to.
    Left,
    /// It was asked, said that it would, and did.
    Acked,
    /// It was asked, and ended in its grace, but nothing was heard of it.
    Unreachable,
    /// By SIGTERM, after this long.
    Terminated(Duration),
    /// By SIGKILL, after this long.
    Killed(Duration),
    /// It is no process, did not end, and was given up after this long.
    Abandoned(Duration),
}

impl ActorEnd {
    pub(super) fn new(uid: &Uid, parent: &Uid, ending: Ending, exit: &Exit) -> Self {
        Self {
            uid: uid.clone(),
            parent: parent.clone(),
            ending,
            ack: None,
            took: None,
            status: exit.status().map(ExitStatusExt::into_raw),
            exit: exit.to_string(),
            is_complete: true,
        }
    }

    pub(super) fn asked(mut self, took: Option<Duration>, ack: Option<Duration>) -> Self {
        self.took = took;
        self.ack = ack;
        self
    }

    pub(super) fn complete(mut self, is_complete: bool) -> Self {
        self.is_complete = is_complete;
        self
    }

    /// The actor.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The actor that had started it.
    pub fn parent(&self) -> &Uid {
        &self.parent
    }

    /// What brought it about.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// How long after it was asked it was heard to say that it would; `None` if it was not.
    pub fn ack(&self) -> Option<Duration> {
        self.ack
    }

    /// How long after it was asked it was gone; `None` if nobody had asked.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// How its process ended. `None` if it was not a process of its own, or if somebody else
    /// reaped that.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status.map(ExitStatus::from_raw)
    }

    /// Whether all that it had started was gone too when it was waited for no more.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl fmt::Display for ActorEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (of {}): ", self.uid, self.parent)?;
        match self.ending {
            Ending::Died => f.write_str("died")?,
            Ending::Left => f.write_str("left")?,
            Ending::Acked => f.write_str("ended when asked")?,
            Ending::Unreachable => f.write_str("ended without a word")?,
            Ending::Terminated(after) => write!(f, "SIGTERM after {}", seconds(after))?,
            Ending::Killed(after) => write!(f, "SIGKILL after {}", seconds(after))?,
            Ending::Abandoned(after) => write!(f, "abandoned after {}", seconds(after))?,
        }
        if let Some(ack) = self.ack {
            write!(f, ", heard after {}", seconds(ack))?;
        }
        if let Some(took) = self.took {
            write!(f, ", gone after {}", seconds(took))?;
        }
        write!(f, " ({})", self.exit)?;
        match self.is_complete {
            true => Ok(()),
            false => f.write_str(", and left something behind"),
        }
    }
}

/// The ends of the actors of one nursery, or those that an actor has to tell its parent of.
#[derive(Default)]
pub(crate) struct Ends {
    all: RefCell<VecDeque<ActorEnd>>,
    /// Of children themselves, those that nobody took yet.
    news: RefCell<VecDeque<ActorEnd>>,
    changed: RefCell<Rc<Event>>,
    children: Cell<usize>,
}

impl Ends {
    /// A child is there, or is to be.
    pub(super) fn expect(&self) {
        self.children.set(self.children.get() + 1);
    }

    /// It will not come, or is gone.
    pub(super) fn expect_no_more(&self) {
        self.children.set(self.children.get() - 1);
        self.change();
    }

    /// A child has ended.
    pub(super) fn child(&self, end: ActorEnd) {
        push(&self.news, end.clone());
        self.told(end);
    }

    /// An actor somewhere below has ended.
    pub(crate) fn told(&self, end: ActorEnd) {
        push(&self.all, end);
        self.change();
    }

    pub(crate) fn take(&self) -> Vec<ActorEnd> {
        self.all.take().into()
    }

    /// The next child that ended; `None` when there are none.
    pub(super) async fn next(&self) -> Result<Option<ActorEnd>, Cancelled> {
        checkpoint_if_cancelled().await?;
        loop {
            let next = self.news.borrow_mut().pop_front();
            if next.is_some() || self.children.get() == 0 {
                return Ok(next);
            }
            let changed = self.changed.borrow().clone();
            changed.wait().await?;
        }
    }

    fn change(&self) {
        self.changed.take().set();
    }
}

fn push(ends: &RefCell<VecDeque<ActorEnd>>, end: ActorEnd) {
    let mut ends = ends.borrow_mut();
    if ends.len() == KEPT {
        ends.pop_front();
    }
    ends.push_back(end);
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.all.borrow()).finish()
    }
}

/// An actor's identity as it travels anywhere: its name and its id.
mod as_pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::wire::Uid;

    pub(super) fn serialize<S: Serializer>(uid: &Uid, serializer: S) -> Result<S::Ok, S::Error> {
        (uid.name(), uid.id()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uid, D::Error> {
        let (name, id) = <(String, String)>::deserialize(from)?;
        Ok(Uid::new(name, id))
    }
}
