use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

use tractor_runtime::Cancelled;

use super::{Process, SpawnOptions, Thread, Watchdog};
use crate::wire::Uid;

/// Where a child actor runs.
#[derive(Debug)]
pub(crate) enum Home {
    Process(Process),
    Thread(Thread),
}

/// What an actor is started as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Process,
    Thread,
}

/// How a child actor ended.
#[derive(Clone, Debug)]
pub(crate) enum Exit {
    /// With its process; `None` if somebody else reaped that.
    Process(Option<ExitStatus>),
    /// With its thread, which ended so.
    Thread(String),
}

impl Home {
    /// Starts an actor, and gives the channel to it.
    ///
    /// To be called from a thread that lives as long as the child may.
    pub(crate) fn start(
        uid: &Uid,
        options: &SpawnOptions,
        watchdog: &Watchdog,
    ) -> io::Result<(Self, UnixStream)> {
        Ok(match options.place {
            Place::Process => {
                let (process, channel) = Process::spawn(uid, options)?;
                (Self::Process(process), channel)
            }
            Place::Thread => {
                let (thread, channel) = Thread::spawn(uid, watchdog)?;
                (Self::Thread(thread), channel)
            }
        })
    }

    /// Waits until it has ended and nothing is left of it but, perhaps, what a process has
    /// started: see [`group_gone`](Self::group_gone).
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        match self {
            Self::Process(process) => process.wait().await,
            Self::Thread(thread) => thread.wait().await,
        }
    }

    /// Waits a moment for what a process that was reaped left in its group.
    pub(crate) async fn group_gone(&self) -> Result<(), Cancelled> {
        match self {
            Self::Process(process) => process.group_gone().await,
            Self::Thread(_) => Ok(()),
        }
    }

    /// Makes sure that it is not waited for any more: a process is ended at once, a thread is
    /// abandoned.
    pub(crate) fn kill(&self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Thread(thread) => thread.abandon(),
        }
    }
}

impl Exit {
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Process(status) => *status,
            Self::Thread(_) => None,
        }
    }

    /// For people, where there is no status.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Process(_) => None,
            Self::Thread(reason) => Some(reason),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Some(status)) => write!(f, "{status}"),
            Self::Process(None) => f.write_str("its exit status is unknown"),
            Self::Thread(reason) => f.write_str(reason),
        }
    }
}
