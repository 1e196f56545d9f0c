use std::cell::Cell;
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tractor_runtime::process::{ChildExit, Stage};
use tractor_runtime::{Cancelled, Error, time};

use super::boot::Adopted;
use super::home::END_LIMIT;
use super::{Exit, MARK, Output, SpawnOptions, Watchdog, platform};
use crate::transport::ByteStream;
use crate::wire::Uid;

/// How often something is looked after that cannot be waited for.
const POLL: Duration = Duration::from_millis(2);

/// How long what a process left behind in its group is waited for, when it was killed: these are
/// nobody's children here, and whoever reaps them may not.
const GROUP_LIMIT: Duration = Duration::from_millis(200);

/// A child process that leads a process group of its own, until it is reaped.
///
/// The group is signalled only while its leader is not reaped: until then the id is
/// nobody else's. Dropping kills the group and reaps.
#[derive(Debug)]
pub(crate) struct Process {
    uid: Uid,
    pid: Pid,
    exit: ChildExit,
    exited: Cell<Option<Status>>,
    /// It hears at once when this process lost its parent.
    _adopted: Adopted,
    /// Ends with the last process that has it: the child, and whoever it started as actors.
    lifeline: PipeReader,
}

/// How a process ended; `None` if somebody else reaped it.
type Status = Option<ExitStatus>;

impl Process {
    /// Starts the program, with one end of a pair of sockets as its standard input, in which there
    /// is a greeting already. The other end is given back.
    ///
    /// To be called from a thread that lives as long as the child may.
    pub(crate) fn spawn(
        uid: &Uid,
        options: &SpawnOptions,
        watchdog: &Watchdog,
        greeting: &[u8],
    ) -> io::Result<(Self, ByteStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let adopted = watchdog.adopt(&ours)?;
        let (lifeline, theirs_too) = io::pipe()?;
        // It waits in the socket, so that there is no moment when the child is without it.
        platform::send_with(&ours, greeting, &watchdog.lifelines(&theirs_too))?;
        drop(theirs_too);
        let ours = ByteStream::socket(ours)?;
        let child = command(options)?.stdin(OwnedFd::from(theirs)).spawn()?;
        // The command is gone by now, and with it the only other copy of the child's end: the
        // end of the child is the end of the stream.
        let pid = Pid::from_child(&child);
        let exit = match ChildExit::new(child) {
            Ok(exit) => exit,
            Err((error, mut child)) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                return Err(error);
            }
        };
        log::debug!(target: "tractor::spawn", "started {uid} as process {pid}");
        let process = Self {
            uid: uid.clone(),
            pid,
            exit,
            exited: Cell::new(None),
            _adopted: adopted,
            lifeline,
        };
        Ok((process, ours))
    }

    /// Waits until the process has ended, and reaps it with whatever it left in its group.
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        loop {
            self.reap_if_ended();
            if let Some(status) = self.exited.get() {
                return Ok(Exit::Process(status));
            }
            if let Err(error) = self.exit.ended().await {
                let error = Error::from(error);
                if let Some(cancelled) = error.cancelled() {
                    return Err(cancelled.clone());
                }
                log::error!(target: "tractor::spawn", "cannot watch {}: {error}", self.uid);
                time::sleep(POLL).await?;
            }
        }
    }

    /// Waits, when the process was reaped, for what it had left in its group and what was killed
    /// with it: a moment, for it need not be more. And, as long as the limit, for the actors below
    /// it, which end themselves; false if they do not.
    pub(crate) async fn descendants_gone(&self, limit: Duration) -> Result<bool, Cancelled> {
        let start = time::now();
        // To ask is all that is allowed now. As long as somebody is left the id is not given away.
        while test_kill_process_group(self.pid).is_ok() && time::now() - start < GROUP_LIMIT {
            time::sleep(POLL).await?;
        }
        while !self.lifeline_ended() {
            if time::now() - start >= limit {
                return Ok(false);
            }
            time::sleep(POLL).await?;
        }
        Ok(true)
    }

    /// Kills the process and its group, and blocks this thread until it is reaped, or until then.
    /// Then, for no longer than `descendants`, until the actors below it have ended; false if they
    /// have not.
    pub(crate) fn end_now(&self, until: Instant, descendants: Duration) -> (Exit, bool) {
        self.reap_if_ended();
        self.kill();
        while self.exited.get().is_none() && Instant::now() < until {
            thread::sleep(POLL);
            self.reap_if_ended();
        }
        let Some(status) = self.exited.get() else {
            log::error!(
                target: "tractor::spawn",
                "{} (process {}) is not gone {} s after it was killed",
                self.uid, self.pid, END_LIMIT.as_secs(),
            );
            return (Exit::Process(None), false);
        };
        let until = until.min(Instant::now() + descendants);
        let mut complete = self.lifeline_ended();
        while !complete && Instant::now() < until {
            thread::sleep(POLL);
            complete = self.lifeline_ended();
        }
        (Exit::Process(status), complete)
    }

    fn lifeline_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.lifeline, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(ready) => ready > 0,
            Err(error) => error != Errno::INTR,
        }
    }

    /// Ends the process and its group at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Signals the group, unless its leader was reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.exited.get().is_some() || self.taken_by_another() {
            return;
        }
        log::debug!(target: "tractor::spawn", "signal {signal:?} to {}", self.uid);
        if let Err(error) = kill_process_group(self.pid, signal)
            && error != Errno::SRCH
        {
            log::warn!(target: "tractor::spawn", "signal {signal:?} to {}: {error}", self.uid);
        }
    }

    fn reap_if_ended(&self) {
        match self.exit.stage() {
            Ok(Stage::Running) => return,
            Ok(Stage::Ended) => {
                // What the leader started and left behind goes with it.
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            Ok(Stage::Reaped) | Err(_) => {}
        }
        let exit = match self.exit.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) => return,
            Err(_) => None,
        };
        log::debug!(target: "tractor::spawn", "{} ended: {exit:?}", self.uid);
        self.exited.set(Some(exit));
    }

    /// Whether somebody else reaps the children of this process, as the kernel does when
    /// SIGCHLD is ignored.
    fn taken_by_another(&self) -> bool {
        let taken = matches!(self.exit.stage(), Ok(Stage::Reaped));
        if taken {
            self.exited.set(Some(None));
        }
        taken
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited.get().is_some() {
            return;
        }
        self.end_now(Instant::now() + END_LIMIT, Duration::ZERO);
    }
}

fn command(options: &SpawnOptions) -> io::Result<Command> {
    let mut command = match &options.program {
        Some((program, args)) => {
            let mut command = Command::new(program);
            command.args(args);
            command
        }
        None => {
            let mut args = std::env::args_os();
            let mut command = Command::new(platform::executable()?);
            if let Some(name) = args.next() {
                command.arg0(name);
            }
            command.args(args);
            command
        }
    };
    if options.env_clear {
        command.env_clear();
    }
    if let Some(dir) = &options.current_dir {
        command.current_dir(dir);
    }
    command.stdout(stdio(&options.stdout)?);
    command.stderr(stdio(&options.stderr)?);
    for (key, value) in &options.env {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
        .env(MARK, std::process::id().to_string())
        .process_group(0);
    Ok(command)
}

fn stdio(output: &Output) -> io::Result<Stdio> {
    Ok(match output {
        Output::Inherit => Stdio::inherit(),
        Output::Null => Stdio::null(),
        Output::Append(path) => File::options().append(true).create(true).open(path)?.into(),
    })
}

/// A duration for people: `1.6 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
