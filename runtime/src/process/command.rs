use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::Pin;
use std::process::{self, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use super::child::Process;
use super::outlet::{Outlet, Relay};
use crate::error::{Error, Result};
use crate::io::{Close, PipeReceiver, PipeSender, SendStream};
use crate::time::sleep;
use crate::{TaskStatus, cancellable, checkpoint, move_on_after, nursery, shield};

/// How long a process has to end when it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long the end of the output of a process that was ended is waited for, which others may hold
/// open.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// As much of its error output is told with a program's failure.
const TAIL: usize = 1024;

/// How to run a program.
///
/// ```
/// use tractor_runtime::{process::Command, run};
///
/// let output = run(async || {
///     let command = Command::new("tr").args(["a-z", "A-Z"]).input("hello").capture_stdout();
///     command.run().await
/// });
/// assert_eq!(output.unwrap().stdout, b"HELLO");
/// ```
#[must_use = "a command does nothing until it is run or opened"]
pub struct Command {
    command: process::Command,
    input: Option<Vec<u8>>,
    stdin: Use,
    stdout: Use,
    stderr: Use,
    stdout_relay: Option<Relay>,
    stderr_relay: Option<Relay>,
    merged: bool,
    check: bool,
    group: bool,
    grace: Duration,
    deliver: Option<Deliver>,
}

/// What becomes of a standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// What the standard library's command says; for its input, the end of the file.
    Given,
    Capture,
    Pipe,
}

type Deliver = Rc<dyn Fn(&Process) -> Pin<Box<dyn Future<Output = Result<()>> + '_>>>;

impl Command {
    /// A program, looked for in `PATH` if it has no slash, without arguments. Its input is empty,
    /// and its output goes where this process's does.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = process::Command::new(program);
        command.stdin(Stdio::null());
        command.into()
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory that it runs in.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// What its input is to be. A program that does not read all of it is no error.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Keeps its output for [`Output::stdout`].
    pub fn capture_stdout(mut self) -> Self {
        self.stdout = Use::Capture;
        self
    }

    /// Keeps its error output for [`Output::stderr`]. If the program fails, the end of it is also in
    /// what [`ExitFailed`] shows.
    pub fn capture_stderr(mut self) -> Self {
        self.stderr = Use::Capture;
        self
    }

    /// Tells the log what it writes, line by line as it comes: with the level *info* and the target
    /// `tractor::process`, as `[label:out] line`. Its output is then a pipe, and not the terminal that
    /// this process may have. With [`capture_stdout`](Self::capture_stdout) it is kept too.
    ///
    /// Bytes that are no text are replaced, and a line of more than 64 KiB is told in parts.
    pub fn relay_stdout(mut self, label: impl AsRef<str>) -> Self {
        self.stdout_relay = Some(Relay::new(label.as_ref(), "out"));
        self
    }

    /// [`relay_stdout`](Self::relay_stdout) for its error output, as `[label:err] line`.
    pub fn relay_stderr(mut self, label: impl AsRef<str>) -> Self {
        self.stderr_relay = Some(Relay::new(label.as_ref(), "err"));
        self
    }

    /// Its error output goes where its output does.
    pub fn stderr_to_stdout(mut self) -> Self {
        self.merged = true;
        self
    }

    /// Gives its input to whoever holds the [`Process`], as [`Process::stdin`].
    pub fn pipe_stdin(mut self) -> Self {
        self.stdin = Use::Pipe;
        self
    }

    /// Gives its output to whoever holds the [`Process`], as [`Process::stdout`].
    pub fn pipe_stdout(mut self) -> Self {
        self.stdout = Use::Pipe;
        self
    }

    /// Gives its error output to whoever holds the [`Process`], as [`Process::stderr`].
    pub fn pipe_stderr(mut self) -> Self {
        self.stderr = Use::Pipe;
        self
    }

    /// Whether an exit status other than success is an error, [`ExitFailed`]. It is by default.
    pub fn check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// Whether it leads a process group of its own. Then signals go to the whole group, what is
    /// left of the group is killed when the process has ended because of a cancellation, and
    /// Ctrl-C at a terminal does not reach it.
    pub fn process_group(mut self, group: bool) -> Self {
        self.group = group;
        self
    }

    /// How long it has to end when it was cancelled, before it is killed: 5 s if nothing else is
    /// said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What to do when it is cancelled, in place of `SIGTERM`, the grace and `SIGKILL`. Runs under a
    /// shield, and is cancelled when the process has ended; if it fails, the process is killed,
    /// and the error is told with the cancellation.
    pub fn deliver_cancel(
        mut self,
        deliver: impl AsyncFn(&Process) -> Result<()> + 'static,
    ) -> Self {
        let deliver = Rc::new(deliver);
        self.deliver = Some(Rc::new(move |process| {
            let deliver = deliver.clone();
            Box::pin(async move { deliver(process).await })
        }));
        self
    }

    /// Runs it to its end. A checkpoint.
    ///
    /// # Errors
    ///
    /// That it cannot be started; [`ExitFailed`]. Cancellation: the process is asked to end, killed
    /// if it does not, and waited for; it is gone, and so are the pipes.
    pub async fn run(self) -> Result<Output> {
        self.run_with(TaskStatus::ignored()).await
    }

    /// [`run`](Self::run) for [`Nursery::start`](crate::Nursery::start), which gives the process
    /// when it has been started.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub async fn run_with(mut self, status: TaskStatus<Rc<Process>>) -> Result<Output> {
        checkpoint().await?;
        let input = self.input.take();
        let check = self.check;
        let deliver = self
            .deliver
            .take()
            .unwrap_or_else(|| ask_then_kill(self.grace));
        let Opened {
            process,
            stdin,
            stdout,
            stderr,
        } = self.start(input.is_some())?;
        let process = Rc::new(process);
        status.started(process.clone());
        let outlets: Vec<_> = stdout.iter().chain(&stderr).collect();
        let running = nursery(async |n| {
            if let (Some(stdin), Some(input)) = (&stdin, &input) {
                n.start_soon(feed(stdin, input));
            }
            for outlet in &outlets {
                n.start_soon(outlet.drain());
            }
            Ok(process.wait().await?)
        });
        let ended = match cancellable(running).await {
            Ok(ended) => ended,
            Err(cancelled) => Err(cancelled.into()),
        };
        let ended = match ended {
            Ok(status) => Ok(status),
            Err(error) => Err(shield(stop(&process, &outlets, deliver, error)).await),
        };
        let stdout = stdout.map(Outlet::finish).unwrap_or_default();
        let stderr = stderr.map(Outlet::finish).unwrap_or_default();
        let output = Output {
            status: ended?,
            stdout,
            stderr,
        };
        if check && output.status.is_some_and(|status| !status.success()) {
            return Err(ExitFailed { output }.into());
        }
        Ok(output)
    }

    /// Starts it, for the caller to look after. Not a checkpoint.
    ///
    /// # Errors
    ///
    /// That it cannot be started. [Invalid input](io::ErrorKind::InvalidInput) if it was to be fed,
    /// captured or relayed: that is for [`run`](Self::run).
    pub fn open(self) -> io::Result<Process> {
        let captures = self.stdout == Use::Capture || self.stderr == Use::Capture;
        let relays = self.stdout_relay.is_some() || self.stderr_relay.is_some();
        if self.input.is_some() || captures || relays {
            let text = "input, captures and relays are for a command that is run";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.start(false).map(|opened| opened.process)
    }

    fn start(mut self, fed: bool) -> io::Result<Opened> {
        let relays_piped = self.stdout == Use::Pipe && self.stdout_relay.is_some()
            || self.stderr == Use::Pipe && self.stderr_relay.is_some();
        if relays_piped {
            let text = "what is relayed has no pipe for others";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if fed || self.stdin == Use::Pipe {
            self.command.stdin(Stdio::piped());
        }
        let pipes_stdout = self.stdout != Use::Given || self.stdout_relay.is_some();
        let pipes_stderr = self.stderr != Use::Given || self.stderr_relay.is_some();
        let mut merged = None;
        if self.merged && pipes_stdout {
            let (ours, theirs) = io::pipe()?;
            self.command.stdout(theirs.try_clone()?).stderr(theirs);
            merged = Some(PipeReceiver::new(ours)?);
        } else if self.merged {
            let theirs = rustix::io::dup(rustix::stdio::stdout())?;
            self.command.stderr(theirs);
        }
        if pipes_stdout && !self.merged {
            self.command.stdout(Stdio::piped());
        }
        if pipes_stderr && !self.merged {
            self.command.stderr(Stdio::piped());
        }
        if self.group {
            self.command.process_group(0);
        }
        let mut process = Process::start(&mut self.command, self.group)?;
        // The command's copies of the child's ends go with it, or no end of file would ever come.
        drop(self.command);
        let (mut stdin, stdout, mut stderr) = process.take_streams()?;
        let mut stdout = merged.or(stdout);
        if self.stdin == Use::Pipe && !fed {
            process.stdin = stdin.take();
        }
        if self.stdout == Use::Pipe {
            process.stdout = stdout.take();
        }
        if self.stderr == Use::Pipe {
            process.stderr = stderr.take();
        }
        let outlet = |stream: Option<PipeReceiver>, keeps: Use, relay| {
            stream.map(|stream| Outlet::new(stream, keeps == Use::Capture, relay))
        };
        Ok(Opened {
            process,
            stdin,
            stdout: outlet(stdout, self.stdout, self.stdout_relay),
            stderr: outlet(stderr, self.stderr, self.stderr_relay),
        })
    }
}

/// A command of the standard library, with its settings; it is not to have pipes.
impl From<process::Command> for Command {
    fn from(command: process::Command) -> Self {
        Self {
            command,
            input: None,
            stdin: Use::Given,
            stdout: Use::Given,
            stderr: Use::Given,
            stdout_relay: None,
            stderr_relay: None,
            merged: false,
            check: true,
            group: false,
            grace: GRACE,
            deliver: None,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.command, f)
    }
}

/// A process, and its streams that are not the user's.
struct Opened {
    process: Process,
    stdin: Option<PipeSender>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
}

async fn feed(stdin: &PipeSender, input: &[u8]) -> Result<()> {
    match stdin.send_all(input).await {
        // It has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        sent => sent?,
    }
    stdin.close();
    Ok(())
}

/// Ends the process, however long that takes. What is to be told in the end.
async fn stop(process: &Process, outlets: &[&Outlet], deliver: Deliver, error: Error) -> Error {
    let failure = RefCell::new(None);
    let stopped = nursery(async |n| {
        let delivering = n.start_soon(async {
            let delivered = deliver(process).await;
            if let Err(error) = delivered
                && !error.is_cancelled()
            {
                failure.replace(Some(error));
                let _ = process.kill();
            }
            Ok(())
        });
        // What it still writes is read, or it would wait for that instead of ending.
        let reading: Vec<_> = outlets
            .iter()
            .map(|outlet| {
                n.start_soon(async {
                    let _ = outlet.drain().await;
                    Ok(())
                })
            })
            .collect();
        process.ended().await?;
        delivering.cancel();
        process.reap_all();
        let read = async {
            for reading in reading {
                reading.await?;
            }
            Ok(())
        };
        move_on_after(LAST_WORDS, read).await?;
        n.cancel();
        Ok(())
    })
    .await;
    process.reap_all();
    let mut errors = vec![error];
    errors.extend(failure.into_inner());
    errors.extend(stopped.err().filter(|error| !error.is_cancelled()));
    Error::group("a process that was ended", errors)
}

fn ask_then_kill(grace: Duration) -> Deliver {
    Rc::new(move |process| {
        Box::pin(async move {
            // One that was stopped sees it when it goes on.
            for asked in [process.terminate(), process.signal(SIGCONT)] {
                if let Err(error) = asked {
                    log::warn!(target: "tractor::process", "cannot ask {process:?} to end: {error}");
                }
            }
            sleep(grace).await?;
            log::warn!(
                target: "tractor::process",
                "{process:?} did not end in {grace:?}, and is killed",
            );
            Ok(process.kill()?)
        })
    })
}

const SIGCONT: i32 = rustix::process::Signal::CONT.as_raw();

/// What came of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// How it ended; `None` if somebody else reaped it, so that it is not known.
    pub status: Option<ExitStatus>,
    /// What was captured of its output.
    pub stdout: Vec<u8>,
    /// What was captured of its error output.
    pub stderr: Vec<u8>,
}

/// A program ended with another status than success. Its `Display` has the end of the error output in it,
/// up to 1 KiB, if that was captured.
#[derive(Clone, Debug)]
pub struct ExitFailed {
    output: Output,
}

impl ExitFailed {
    /// How it ended, and what was captured.
    pub fn output(&self) -> &Output {
        &self.output
    }
}

impl fmt::Display for ExitFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.output.status {
            Some(status) => write!(f, "the process ended with {status}")?,
            None => f.write_str("the process ended")?,
        }
        let stderr = self.output.stderr.trim_ascii_end();
        if stderr.is_empty() {
            return Ok(());
        }
        let tail = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(TAIL)..]);
        write!(f, "; its error output ends with:\n{tail}")
    }
}

impl std::error::Error for ExitFailed {}
