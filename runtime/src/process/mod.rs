//! Running programs, and waiting for processes.
//!
//! [`Command`] runs a program to its end, under the scopes around it: when they are cancelled, the
//! program is asked to end, killed if it does not, and reaped before the call returns.

mod child;
mod command;
mod outlet;

use std::cell::RefCell;
use std::io;
use std::process::{Child, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

pub use child::Process;
pub use command::{Command, ExitFailed, Output};

use crate::io::Io;

/// How far a child process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not ended.
    Running,
    /// It has ended, and how is still to be asked: its process id is nobody else's until then.
    Ended,
    /// It has ended and was reaped, by this or by somebody else (a host that ignores `SIGCHLD`,
    /// say): its process id may be another's by now.
    Reaped,
}

/// A child process whose exit can be awaited, by any number of tasks.
///
/// Dropping it neither ends nor reaps the process.
#[derive(Debug)]
pub struct ChildExit {
    child: RefCell<Child>,
    /// None if it was gone, reaped by somebody else, before it could be watched.
    notice: Option<Io<notice::Notice>>,
}

impl ChildExit {
    /// Watches a process that was started.
    ///
    /// # Errors
    ///
    /// Those of the operating system; the child is then given back.
    pub fn new(child: Child) -> Result<Self, (io::Error, Child)> {
        let notice = match notice::of(&child).and_then(Io::new_nonblocking) {
            Ok(notice) => Some(notice),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => None,
            Err(error) => return Err((error, child)),
        };
        Ok(Self {
            child: RefCell::new(child),
            notice,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Looks how far the process is, and leaves it at that: it is not reaped.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn stage(&self) -> io::Result<Stage> {
        let pid = Pid::from_child(&self.child.borrow());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(None) => Ok(Stage::Running),
            Ok(Some(_)) => Ok(Stage::Ended),
            Err(Errno::CHILD) => Ok(Stage::Reaped),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process has ended, and does not reap it.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation; the process goes on.
    pub async fn ended(&self) -> io::Result<()> {
        while self.stage()? == Stage::Running {
            self.noticed().await?;
        }
        Ok(())
    }

    /// Waits until the process has ended, and reaps it. `None` if somebody else did (a host that
    /// ignores `SIGCHLD`, say), and how it ended is not known.
    ///
    /// # Errors
    ///
    /// Cancellation; the process goes on.
    pub async fn wait(&self) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            self.noticed().await?;
        }
    }

    async fn noticed(&self) -> io::Result<()> {
        match &self.notice {
            Some(notice) => notice.readable().await,
            None => Ok(crate::checkpoint().await?),
        }
    }

    /// Reaps the process if it has ended: the outer `None` if it has not, the inner one if how it
    /// ended is not known.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn try_wait(&self) -> io::Result<Option<Option<ExitStatus>>> {
        match self.child.borrow_mut().try_wait() {
            Ok(status) => Ok(status.map(Some)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CHILD) => Ok(Some(None)),
            Err(error) => Err(error),
        }
    }
}

/// Where the notice of an exit comes from: a process descriptor.
#[cfg(target_os = "linux")]
mod notice {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::process::Child;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    pub(super) type Notice = OwnedFd;

    pub(super) fn of(child: &Child) -> io::Result<Notice> {
        Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
    }
}

/// Where the notice of an exit comes from: a thread that waits for it, and leaves the reaping to
/// others.
#[cfg(not(target_os = "linux"))]
mod notice {
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::process::Child;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    pub(super) type Notice = UnixStream;

    pub(super) fn of(child: &Child) -> io::Result<Notice> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let pid = Pid::from_child(child);
        std::thread::Builder::new()
            .name("tractor-wait".to_owned())
            .spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                let _ = waitid(WaitId::Pid(pid), options);
                drop(theirs);
            })?;
        Ok(ours)
    }
}
