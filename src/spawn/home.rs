use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::thread;

use tractor_runtime::{Cancelled, NurseryHandle};

use super::{Process, SpawnOptions, Task, Thread, Watchdog};
use crate::error::panic_text;
use crate::transport::ByteStream;
use crate::wire::Uid;

/// Where a child actor runs.
#[derive(Debug)]
pub(crate) enum Home {
    Process(Process),
    Thread(Thread),
    Task(Task),
}

/// What an actor is started as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Process,
    Thread,
    Memory,
}

/// How a child actor ended.
#[derive(Clone, Debug)]
pub(crate) enum Exit {
    /// With its process; `None` if somebody else reaped that.
    Process(Option<ExitStatus>),
    /// With its thread or task of this process, which ended so.
    Here(String),
}

impl Home {
    /// Starts an actor, and gives the channel to it. What it needs a task for is one of `tasks`.
    ///
    /// To be called from a thread that lives as long as the child may.
    pub(crate) fn start(
        uid: &Uid,
        options: &SpawnOptions,
        watchdog: &Watchdog,
        tasks: &NurseryHandle,
    ) -> io::Result<(Self, ByteStream)> {
        Ok(match options.place {
            Place::Process => {
                let (process, channel) = Process::spawn(uid, options, watchdog)?;
                (Self::Process(process), channel)
            }
            Place::Thread => {
                let (thread, channel) = Thread::spawn(uid, watchdog)?;
                (Self::Thread(thread), channel)
            }
            Place::Memory => {
                let spawned = Task::spawn(uid, watchdog, tasks);
                let (task, channel) = spawned.map_err(io::Error::other)?;
                (Self::Task(task), channel)
            }
        })
    }

    /// Waits until it has ended and nothing is left of it but, perhaps, what a process has
    /// started: see [`group_gone`](Self::group_gone).
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        match self {
            Self::Process(process) => process.wait().await,
            Self::Thread(thread) => thread.wait().await,
            Self::Task(task) => task.wait().await,
        }
    }

    /// Waits a moment for what a process that was reaped left in its group.
    pub(crate) async fn group_gone(&self) -> Result<(), Cancelled> {
        match self {
            Self::Process(process) => process.group_gone().await,
            Self::Thread(_) | Self::Task(_) => Ok(()),
        }
    }

    /// Makes sure that it is not waited for any more: a process is ended at once, a thread is
    /// abandoned, a task is dropped.
    pub(crate) fn kill(&self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Thread(thread) => thread.abandon(),
            Self::Task(task) => task.abandon(),
        }
    }
}

impl Exit {
    /// Of what lived in this process, as `what`.
    pub(super) fn lived(what: &str, lived: thread::Result<tractor_runtime::Result<()>>) -> Self {
        Self::Here(match lived {
            Ok(Err(error)) if !error.is_cancelled() => format!("its {what} failed: {error}"),
            Ok(_) => format!("its {what} has ended"),
            Err(panic) => format!("its {what} panicked: {}", panic_text(&*panic)),
        })
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Process(status) => *status,
            Self::Here(_) => None,
        }
    }

    /// For people, where there is no status.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Process(_) => None,
            Self::Here(reason) => Some(reason),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Some(status)) => write!(f, "{status}"),
            Self::Process(None) => f.write_str("its exit status is unknown"),
            Self::Here(reason) => f.write_str(reason),
        }
    }
}
