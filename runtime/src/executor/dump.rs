//! What there is in a runtime, for people who look for what hangs.

use std::fmt;
use std::panic::Location;

use super::{Core, Here, TaskId, current};
use crate::cause::CancelCause;
use crate::nursery::BODY;
use crate::scope::tree::NodeId;
use crate::time::Instant;

/// What the runtime that this code runs in consists of now: tasks, nurseries and scopes. Its
/// `Display` is the tree as text.
///
/// ```
/// use tractor_runtime::{dump, nursery, run, testing::wait_all_tasks_blocked, time::sleep_forever};
///
/// run(async || {
///     nursery(async |n| {
///         n.start_soon_named("waits", async { Ok(sleep_forever().await?) });
///         wait_all_tasks_blocked().await?;
///         let text = dump().to_string();
///         assert!(text.contains("task `waits`"));
///         assert!(text.contains("blocked on time::sleep::Sleep"));
///         n.cancel();
///         Ok(())
///     })
///     .await
/// })
/// # .ok();
/// ```
///
/// From another thread, or for a runtime that hangs, let a
/// [`RuntimeHandle`](crate::RuntimeHandle) call it.
///
/// # Panics
///
/// Outside of a runtime.
#[track_caller]
pub fn dump() -> Dump {
    Dump::of(&current())
}

/// The answer of [`dump`]: a tree, kept as a list in which everything is followed by what is in it.
#[derive(Clone, Debug)]
pub struct Dump {
    now: Instant,
    entries: Vec<DumpEntry>,
}

/// One task, nursery or scope of a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DumpEntry {
    /// In how many others it is.
    pub depth: usize,
    /// What it is.
    pub kind: DumpKind,
    /// The name, of a task that has one.
    pub name: Option<String>,
    /// Where it was made.
    pub location: &'static Location<'static>,
    /// When it is cancelled by the clock, if it is not before.
    pub deadline: Option<Instant>,
    /// When its grace ends, if it was asked to stop.
    pub grace_end: Option<Instant>,
    /// Whether it hides the cancellation of what is around it.
    pub shielded: bool,
    /// Whether its own scope was cancelled.
    pub cancel_called: bool,
    /// Whether operations under it say that they are cancelled.
    pub cancelled: bool,
    /// Why, the first cause that reached it.
    pub cause: Option<CancelCause>,
    /// What a task or a body does.
    pub state: Option<TaskState>,
    node: NodeId,
    executor: u16,
}

/// What an entry of a [`Dump`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DumpKind {
    /// The main task, or a child of a nursery.
    Task,
    /// The body of a nursery, which runs in the task that opened it.
    Body,
    /// The scope of a nursery.
    Nursery,
    /// Any other scope, shield, or place of a variable.
    Scope,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is polled right now: this code runs in it, or in a task inside of it.
    Running,
    /// It was woken and will run.
    Ready,
    /// It waits in this operation of the runtime: in the one that was polled last, if in several.
    Blocked(String),
    /// It waits for the nurseries that are inside of it.
    InNursery,
    /// It waits in a future of another library.
    Elsewhere,
}

/// The modules of operations that something outside of the runtime ends.
const FROM_OUTSIDE: [&str; 5] = ["io::", "net::", "process::", "signal", "thread::"];

/// How an operation is called that somebody waits in.
pub(crate) type Operation = fn() -> &'static str;

impl Dump {
    pub(crate) fn of(core: &Core) -> Self {
        let tree = core.tree.borrow();
        let slots = core.slots.borrow();
        let names = core.names.borrow();
        let running = Vec::from_iter(std::iter::successors(Some(Here::node()), |&node| {
            tree.parent(node)
        }));
        let mut entries: Vec<DumpEntry> = Vec::new();
        tree.walk(core.main.get(), |depth, node, view| {
            let member = view.task.and_then(|key| slots.member(key));
            let kind = match member {
                Some(BODY) => DumpKind::Body,
                Some(_) => DumpKind::Task,
                None if view.holding => DumpKind::Nursery,
                None => DumpKind::Scope,
            };
            let state = view.task.map(|key| {
                if running.contains(&node) {
                    TaskState::Running
                } else if slots.is_queued(key) {
                    TaskState::Ready
                } else {
                    match view.operation {
                        Some(operation) => TaskState::Blocked(readable(operation())),
                        None => TaskState::Elsewhere,
                    }
                }
            });
            let name = if node == core.main.get() {
                Some("main".to_owned())
            } else {
                names.get(&node).map(|name| name.to_string())
            };
            entries.push(DumpEntry {
                depth,
                kind,
                name,
                location: view.location,
                deadline: view.deadline,
                grace_end: view.grace_end,
                shielded: view.shielded,
                cancel_called: view.cancel_called,
                cancelled: view.cancelled,
                cause: view.cause.cloned(),
                state,
                node,
                executor: core.id(),
            });
        });
        let mut dump = Self {
            now: core.now(),
            entries,
        };
        dump.find_who_waits_for_nurseries();
        dump
    }

    /// The tasks, nurseries and scopes: each followed by what is in it.
    pub fn entries(&self) -> &[DumpEntry] {
        &self.entries
    }

    /// What the clock said.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The first task of this name.
    pub fn task(&self, name: &str) -> Option<&DumpEntry> {
        let mut tasks = self.entries.iter();
        tasks.find(|entry| entry.kind == DumpKind::Task && entry.name.as_deref() == Some(name))
    }

    /// A task that waits in nothing of ours, but has a nursery in it that no task between polls,
    /// waits for that.
    fn find_who_waits_for_nurseries(&mut self) {
        let mut tasks: Vec<usize> = Vec::new();
        let mut waits = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            tasks.retain(|&task| self.entries[task].depth < entry.depth);
            match entry.kind {
                DumpKind::Task | DumpKind::Body => tasks.push(index),
                DumpKind::Nursery => waits.extend(tasks.last().copied()),
                DumpKind::Scope => {}
            }
        }
        for task in waits {
            let state = &mut self.entries[task].state;
            if *state == Some(TaskState::Elsewhere) {
                *state = Some(TaskState::InNursery);
            }
        }
    }
}

impl DumpEntry {
    /// Which task it is; `None` for what is none.
    pub fn task(&self) -> Option<TaskId> {
        (self.kind == DumpKind::Task).then_some(TaskId {
            executor: self.executor,
            node: self.node,
        })
    }

    /// Whether something outside of the runtime may wake it, as far as can be told.
    pub(crate) fn may_go_on(&self) -> bool {
        match &self.state {
            Some(TaskState::Blocked(operation)) => FROM_OUTSIDE
                .iter()
                .any(|module| operation.starts_with(module)),
            Some(TaskState::InNursery) | None => false,
            Some(TaskState::Running | TaskState::Ready | TaskState::Elsewhere) => true,
        }
    }

    fn write(&self, now: Instant, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DumpKind::Task => "task",
            DumpKind::Body => "body",
            DumpKind::Nursery => "nursery",
            DumpKind::Scope => "scope",
        })?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        write!(f, " ({})", self.location)?;
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(deadline) = self.deadline {
            when(f, "deadline", deadline, now)?;
        }
        if let Some(end) = self.grace_end {
            when(f, "stopping, grace ends", end, now)?;
        }
        if self.shielded {
            f.write_str(", shielded")?;
        }
        if self.cancelled {
            f.write_str(if self.cancel_called {
                ", cancelled"
            } else {
                ", cancelled from further out"
            })?;
            if let Some(cause) = &self.cause {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

fn when(f: &mut fmt::Formatter<'_>, what: &str, at: Instant, now: Instant) -> fmt::Result {
    if at >= now {
        write!(f, ", {what} in {:.2?}", at - now)
    } else {
        write!(f, ", {what} {:.2?} ago", now - at)
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            write!(f, "{:indent$}", "", indent = entry.depth * 2)?;
            entry.write(self.now, f)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Ready => f.write_str("ready"),
            Self::Blocked(operation) => write!(f, "blocked on {operation}"),
            Self::InNursery => f.write_str("blocked on its nursery"),
            Self::Elsewhere => f.write_str("blocked on a future of another library"),
        }
    }
}

/// The name of the future out of that of the function that polls it.
fn readable(operation: &str) -> String {
    let operation = operation.trim_start_matches('<');
    let end = operation.find(" as ").unwrap_or(operation.len());
    let mut name = &operation[..end];
    while let Some(outer) = name
        .strip_suffix("::{{closure}}")
        .or_else(|| name.strip_suffix("::poll"))
    {
        name = outer;
    }
    let name = name.split('<').next().unwrap_or(name);
    let name = name.strip_prefix("tractor_runtime::").unwrap_or(name);
    name.to_owned()
}
