use std::fmt;
use std::io;
use std::process::{self, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{ChildExit, Stage};
use crate::io::{PipeReceiver, PipeSender};

/// How long a drop waits for a process that was killed.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// How often it looks.
const POLL: Duration = Duration::from_millis(1);

/// A process that was started by a [`Command`](super::Command).
///
/// Dropping it kills the process, or its group if it leads one, and reaps it, which is waited for:
/// no process is left.
pub struct Process {
    /// Where its input comes from, if it was to have a pipe.
    pub stdin: Option<PipeSender>,
    /// Where its output goes, if it was to have a pipe.
    pub stdout: Option<PipeReceiver>,
    /// Where its error output goes, if it was to have a pipe of its own.
    pub stderr: Option<PipeReceiver>,
    exit: ChildExit,
    streams: Option<Streams>,
    /// Whether it leads a process group.
    group: bool,
}

struct Streams {
    stdin: Option<process::ChildStdin>,
    stdout: Option<process::ChildStdout>,
    stderr: Option<process::ChildStderr>,
}

impl Process {
    pub(super) fn start(command: &mut process::Command, group: bool) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let streams = Streams {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        match ChildExit::new(child) {
            Ok(exit) => Ok(Self {
                stdin: None,
                stdout: None,
                stderr: None,
                exit,
                streams: Some(streams),
                group,
            }),
            Err((error, mut child)) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The ends of its pipes.
    pub(super) fn take_streams(
        &mut self,
    ) -> io::Result<(
        Option<PipeSender>,
        Option<PipeReceiver>,
        Option<PipeReceiver>,
    )> {
        let Some(streams) = self.streams.take() else {
            return Ok((None, None, None));
        };
        let stdin = streams.stdin.map(PipeSender::new).transpose()?;
        let stdout = streams.stdout.map(PipeReceiver::new).transpose()?;
        let stderr = streams.stderr.map(PipeReceiver::new).transpose()?;
        Ok((stdin, stdout, stderr))
    }

    /// The process id, for as long as it has not been reaped.
    pub fn id(&self) -> u32 {
        self.exit.id()
    }

    /// Waits until it has ended, and reaps it. `None` if somebody else did, so that it is not known
    /// how it ended. Any number of tasks may wait. A checkpoint.
    ///
    /// # Errors
    ///
    /// Cancellation; the process goes on.
    pub async fn wait(&self) -> io::Result<Option<ExitStatus>> {
        self.exit.wait().await
    }

    /// How it has ended, if it has: the outer `None` if not, the inner one if that is not known.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn status(&self) -> io::Result<Option<Option<ExitStatus>>> {
        self.exit.try_wait()
    }

    /// Asks it to end, with `SIGTERM`.
    ///
    /// # Errors
    ///
    /// Those of the operating system. None if it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        self.send(Signal::TERM)
    }

    /// Ends it, with `SIGKILL`.
    ///
    /// # Errors
    ///
    /// Those of the operating system. None if it has ended.
    pub fn kill(&self) -> io::Result<()> {
        self.send(Signal::KILL)
    }

    /// Sends it a signal by number.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and [invalid input](io::ErrorKind::InvalidInput) for a number
    /// that has no name. None if it has ended.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        match Signal::from_named_raw(number) {
            Some(signal) => self.send(signal),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Waits until it has ended, and leaves it unreaped.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.exit.ended().await
    }

    /// Reaps it when it has ended, and kills what is left of its group.
    pub(super) fn reap_all(&self) {
        if self.group {
            let _ = self.kill();
        }
        let _ = self.exit.try_wait();
    }

    /// Until it is reaped its id is nobody else's.
    fn send(&self, signal: Signal) -> io::Result<()> {
        if self.exit.stage()? == Stage::Reaped {
            return Ok(());
        }
        let Some(pid) = Pid::from_raw(self.id() as i32) else {
            return Ok(());
        };
        let sent = if self.group {
            kill_process_group(pid, signal)
        } else {
            kill_process(pid, signal)
        };
        match sent {
            // Only the leader, which has ended, is left of the group.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
        let start = Instant::now();
        while let Ok(None) = self.exit.try_wait() {
            if start.elapsed() > REAP_LIMIT {
                log::error!(
                    target: "tractor::process",
                    "{self:?} is not gone {REAP_LIMIT:?} after it was killed",
                );
                return;
            }
            thread::sleep(POLL);
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id())?;
        match self.status() {
            Ok(None) => f.write_str(" (running)"),
            Ok(Some(Some(status))) => write!(f, " ({status})"),
            Ok(Some(None)) => f.write_str(" (ended)"),
            Err(error) => write!(f, " ({error})"),
        }
    }
}
