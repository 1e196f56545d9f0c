use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tractor_runtime::{Cancelled, NurseryHandle};

use super::{Process, SpawnOptions, Task, Thread, Watchdog};
use crate::error::panic_text;
use crate::transport::ByteStream;
use crate::wire::{Aid, Limits, Message, Uid, append_message};

/// How long a drop waits for what is not there any more but for the system, or cannot be forced.
pub(super) const END_LIMIT: Duration = Duration::from_secs(5);

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
    Here {
        /// For people.
        reason: String,
        failed: bool,
    },
}

impl Home {
    /// Starts an actor that is a child of `own`, and gives the channel to it. One in memory is one
    /// of `tasks`. A process [is greeted](Self::is_greeted).
    ///
    /// To be called from a thread that lives as long as the child may.
    pub(crate) fn start(
        uid: &Uid,
        options: &SpawnOptions,
        watchdog: &Watchdog,
        tasks: &NurseryHandle,
        own: Aid,
        limits: &Limits,
    ) -> io::Result<(Self, ByteStream)> {
        Ok(match options.place {
            Place::Process => {
                let mut greeting = Vec::new();
                let aid = Message::Aid(Box::new(own));
                append_message(&mut greeting, &aid, limits).map_err(io::Error::other)?;
                let (process, channel) = Process::spawn(uid, options, watchdog, &greeting)?;
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

    /// Whether its parent's `Aid` was sent.
    pub(crate) fn is_greeted(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    /// Waits until it has ended and nothing is left of it but, perhaps, what a process has
    /// started: see [`descendants_gone`](Self::descendants_gone).
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        match self {
            Self::Process(process) => process.wait().await,
            Self::Thread(thread) => thread.wait().await,
            Self::Task(task) => task.wait().await,
        }
    }

    /// Waits, when it has ended, until what it had started is gone too; false if that is not so
    /// within the limit. What is in this process has seen to that itself.
    pub(crate) async fn descendants_gone(&self, limit: Duration) -> Result<bool, Cancelled> {
        match self {
            Self::Process(process) => process.descendants_gone(limit).await,
            Self::Thread(_) | Self::Task(_) => Ok(true),
        }
    }

    /// Has it end at once, as far as that can be done without waiting.
    pub(crate) fn doom(&self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Thread(thread) => thread.cut(),
            Self::Task(_) => {}
        }
    }

    /// Blocks this thread until nothing is left of it, for some seconds since it was
    /// [doomed](Self::doom) at most, and of what it had started, but no longer than `descendants`
    /// for that; false if that is still there.
    pub(crate) fn end_now(&self, since: Instant, descendants: Duration) -> (Exit, bool) {
        let until = since + END_LIMIT;
        match self {
            Self::Process(process) => process.end_now(until, descendants),
            Self::Thread(thread) => (thread.end_now(until), true),
            Self::Task(task) => (task.end_now(), true),
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
        let (reason, failed) = match lived {
            Ok(Err(error)) if !error.is_cancelled() => {
                (format!("its {what} failed: {error}"), true)
            }
            Ok(_) => (format!("its {what} has ended"), false),
            Err(panic) => (
                format!("its {what} panicked: {}", panic_text(&*panic)),
                true,
            ),
        };
        Self::Here { reason, failed }
    }

    /// Of what was in this process and did not end by itself.
    pub(super) fn cut_short(reason: &str) -> Self {
        Self::Here {
            reason: reason.into(),
            failed: true,
        }
    }

    /// Whether it ended otherwise than an actor does that is cancelled or has nothing to do.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::Process(status) => !status.is_some_and(|status| status.success()),
            Self::Here { failed, .. } => *failed,
        }
    }

    /// Whether it is a process that was killed, or is not known to have ended in another way.
    pub(crate) fn is_kill(&self) -> bool {
        let kill = Some(Signal::KILL.as_raw());
        matches!(self, Self::Process(status) if status.is_none_or(|status| status.signal() == kill))
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Process(status) => *status,
            Self::Here { .. } => None,
        }
    }

    /// For people, where there is no status.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Process(_) => None,
            Self::Here { reason, .. } => Some(reason),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Some(status)) => write!(f, "{status}"),
            Self::Process(None) => f.write_str("its exit status is unknown"),
            Self::Here { reason, .. } => f.write_str(reason),
        }
    }
}
