//! The SHA-256 of every regular file under some paths, by a pool of worker processes:
//!
//! ```text
//! cargo run --release --example checksum -- src runtime
//! ```
//!
//! prints what `find src runtime -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` prints.
//! Try Ctrl-C, or `kill -9` of any of the processes while it runs: a worker that dies is replaced
//! and nothing is lost, and when the root dies nothing stays behind.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tractor::runtime::{checkpoint, nursery, time::sleep};
use tractor::{ActorDied, Context, Dialog, PeerLost, SpawnError, SpawnFailure, SpawnOptions};

const USAGE: &str = "usage: checksum [--workers N] [--chaos] [--] PATH...";

/// Files that a worker has been asked for and has not answered.
const IN_FLIGHT: usize = 8;

/// Workers that may die over one file before it is given up.
const DEATHS: usize = 3;

/// How long a worker that was asked to end may take: one that is stopped, say, takes for ever.
const GRACE: Duration = Duration::from_millis(400);

/// How often there is something new to be seen.
const REFRESH: Duration = Duration::from_millis(40);

fn main() -> ExitCode {
    // A worker is this program started again. It serves in here, and goes no further.
    tractor::enter_if_actor();

    let Some(options) = Options::parse(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let screen = Screen::start();
    let outcome = tractor::run(async || checksum(&options, &screen).await);

    let status = match &outcome {
        Ok(()) => u8::from(screen.complained.get()),
        Err(error) => tractor::exit_code(error),
    };
    if status > 128 {
        // A signal: whoever reads our output is not waited for.
        return ExitCode::from(status);
    }
    if let Err(error) = screen.finish() {
        // Who has read enough, as `head` has, does not want to be told.
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("checksum: standard output: {error}");
        }
        return ExitCode::FAILURE;
    }
    if let Err(error) = outcome {
        eprintln!("checksum: {error}");
    }
    ExitCode::from(status)
}

struct Options {
    workers: NonZeroUsize,
    chaos: bool,
    paths: Vec<OsString>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut options = Self {
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            chaos: false,
            paths: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_bytes() {
                b"--workers" => options.workers = arguments.next()?.to_str()?.parse().ok()?,
                b"--chaos" => options.chaos = true,
                b"--" => options.paths.extend(arguments.by_ref()),
                [b'-', ..] => return None,
                _ => options.paths.push(argument),
            }
        }
        (!options.paths.is_empty()).then_some(options)
    }
}

/// Lists the files, and keeps as many workers busy with them as were asked for.
async fn checksum(options: &Options, screen: &Screen) -> tractor::Result<()> {
    let files = list(&options.paths, screen).await?;
    let workers = options.workers.get().min(files.len());
    let job = Job::new(files, workers, options.chaos, screen);
    nursery(async |n| {
        let showing = n.start_soon(show(&job));
        nursery(async |n| {
            for slot in 0..workers {
                n.start_soon(keep_worker(slot, &job));
            }
            Ok(())
        })
        .await?;
        showing.cancel();
        Ok(())
    })
    .await
}

/// Shows what there is to be seen, every now and then until it is cancelled.
async fn show(job: &Job<'_>) -> tractor::Result<()> {
    loop {
        sleep(REFRESH).await?;
        job.screen.refresh(job.finished.get(), job.files.len())?;
    }
}

/// Keeps one worker going until nothing is left to do. When its process dies, what it had not
/// answered goes back to all, and a new process takes its place.
async fn keep_worker(slot: usize, job: &Job<'_>) -> tractor::Result<()> {
    let mut in_flight = VecDeque::new();
    while !job.todo.borrow().is_empty() {
        let outcome = run_worker(slot, job, &mut in_flight).await;
        job.workers.borrow_mut()[slot] = None;

        let Err(error) = outcome else { break };
        if !is_death(&error) {
            return Err(error);
        }
        if job.deaths_over(in_flight.front().copied()) == DEATHS {
            let Some(file) = in_flight.pop_front() else {
                return Err(error);
            };
            job.finish(file, Err(error.to_string()));
        }
        job.give_back(in_flight.drain(..));
    }
    Ok(())
}

/// Whether the process of a worker is gone, which may happen to any process at any time.
fn is_death(error: &tractor::Error) -> bool {
    let unborn = error.downcast_ref().map(SpawnError::failure);
    error.is::<ActorDied>()
        || error.is::<PeerLost>()
        || matches!(unborn, Some(SpawnFailure::Exited(_)))
}

/// One worker, from the start of its process to its end.
///
/// It has a nursery of its own, so that its death is an error here and not in the other workers.
async fn run_worker(
    slot: usize,
    job: &Job<'_>,
    in_flight: &mut VecDeque<usize>,
) -> tractor::Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(hash_files).grace(GRACE);
        let worker = an.start_actor(&format!("worker_{slot}"), options).await?;
        worker
            .open_context(hash_files, (), async |ctx, pid| {
                job.workers.borrow_mut()[slot] = Pid::from_raw(pid as i32);
                let stream = ctx.open_stream()?;
                loop {
                    let more = job.take(IN_FLIGHT - in_flight.len());
                    in_flight.extend(&more);
                    for file in more {
                        let name = job.files[file].as_bytes();
                        stream.send(&Name(name.to_vec())).await?;
                    }
                    let Some(&file) = in_flight.front() else {
                        return Ok(());
                    };
                    let Some(answer) = stream.receive().await? else {
                        return Err(tractor::Error::msg("a worker stopped before its time"));
                    };
                    in_flight.pop_front();
                    job.finish(file, answer);
                }
            })
            .await?;
        an.cancel();
        Ok(())
    })
    .await
}

/// What the root and a worker say to each other.
struct Hashing;

impl Dialog for Hashing {
    /// The number of the worker's process.
    type Started = u32;
    type ToChild = Name;
    /// The digest in hexadecimal, or why there is none.
    type ToParent = Result<String, String>;
}

/// The name of a file, which need not be UTF-8.
#[derive(Serialize, Deserialize)]
struct Name(#[serde(with = "serde_bytes")] Vec<u8>);

tractor::endpoint!(hash_files);

/// Runs in a worker: answers each name with the digest of that file, in the order of asking.
async fn hash_files(ctx: &mut Context<Hashing>, (): ()) -> tractor::Result<()> {
    ctx.started(std::process::id()).await?;
    let stream = ctx.open_stream()?;
    while let Some(Name(name)) = stream.receive().await? {
        let answer = match digest(Path::new(OsStr::from_bytes(&name))).await {
            Err(error) if error.is_cancelled() => return Err(error),
            answer => answer.map_err(|error| error.to_string()),
        };
        stream.send(&answer).await?;
    }
    Ok(())
}

/// The digest of one file. However long the file is, it can be cancelled after each piece.
async fn digest(path: &Path) -> tractor::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        checkpoint().await?;
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The files and how far they are. The tasks that keep the workers share it by reference.
struct Job<'a> {
    files: Vec<OsString>,
    todo: RefCell<VecDeque<usize>>,
    finished: Cell<usize>,
    /// The next file to be printed, and the answers that came before its own did.
    next: Cell<usize>,
    early: RefCell<BTreeMap<usize, Result<String, String>>>,
    /// How many workers died over a file, or with nothing to do.
    deaths: RefCell<BTreeMap<Option<usize>, usize>>,
    /// The processes that can be killed, and whether one of them is still to be.
    workers: RefCell<Vec<Option<Pid>>>,
    chaos: Cell<bool>,
    screen: &'a Screen,
}

impl<'a> Job<'a> {
    fn new(files: Vec<OsString>, workers: usize, chaos: bool, screen: &'a Screen) -> Self {
        Self {
            todo: RefCell::new((0..files.len()).collect()),
            files,
            finished: Cell::new(0),
            next: Cell::new(0),
            early: RefCell::default(),
            deaths: RefCell::default(),
            workers: RefCell::new(vec![None; workers]),
            chaos: Cell::new(chaos),
            screen,
        }
    }

    fn take(&self, at_most: usize) -> Vec<usize> {
        let mut todo = self.todo.borrow_mut();
        let count = at_most.min(todo.len());
        todo.drain(..count).collect()
    }

    /// The files come first again: what is to be printed next may be among them.
    fn give_back(&self, files: impl DoubleEndedIterator<Item = usize>) {
        let mut todo = self.todo.borrow_mut();
        for file in files.rev() {
            todo.push_front(file);
        }
    }

    fn deaths_over(&self, file: Option<usize>) -> usize {
        let mut deaths = self.deaths.borrow_mut();
        let count = deaths.entry(file).or_default();
        *count += 1;
        *count
    }

    /// Keeps an answer, and prints as many as are in order.
    fn finish(&self, file: usize, answer: Result<String, String>) {
        self.early.borrow_mut().insert(file, answer);
        while let Some(answer) = self.early.borrow_mut().remove(&self.next.get()) {
            let name = &self.files[self.next.get()];
            match answer {
                Ok(digest) => self.screen.print(&line(&digest, name)),
                Err(reason) => self.screen.complain(name, &reason),
            }
            self.next.set(self.next.get() + 1);
        }

        self.finished.set(self.finished.get() + 1);
        // Workers do come up.
        self.deaths.borrow_mut().remove(&None);
        if self.finished.get() * 2 >= self.files.len() && self.chaos.take() {
            self.kill_any_worker();
        }
    }

    fn kill_any_worker(&self) {
        let workers: Vec<Pid> = self.workers.borrow().iter().copied().flatten().collect();
        if let Some(victim) = fastrand::choice(workers)
            && kill_process(victim, Signal::KILL).is_ok()
        {
            let number = victim.as_raw_nonzero();
            self.screen.say(&format!("killed process {number}"));
        }
    }
}

/// What `find PATHS -type f` lists, sorted by bytes.
async fn list(paths: &[OsString], screen: &Screen) -> tractor::Result<Vec<OsString>> {
    let mut files = Vec::new();
    let mut directories = Vec::new();
    for path in paths {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => files.push(path.clone()),
            Ok(found) if found.is_dir() => directories.push(PathBuf::from(path)),
            Ok(_) => {}
            Err(error) => screen.complain(path, &error),
        }
    }
    while let Some(directory) = directories.pop() {
        checkpoint().await?;
        let inside = fs::read_dir(&directory).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_file() {
                    files.push(entry.path().into_os_string());
                } else if kind.is_dir() {
                    directories.push(entry.path());
                }
            }
            Ok(())
        });
        if let Err(error) = inside {
            screen.complain(directory.as_os_str(), &error);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A line as sha256sum prints it, which escapes what would break a line, and says so in front.
fn line(digest: &str, name: &OsStr) -> Vec<u8> {
    let mut line = format!("{digest}  ").into_bytes();
    let unescaped = line.len() + name.len();
    for &byte in name.as_bytes() {
        match byte {
            b'\\' => line.extend(br"\\"),
            b'\n' => line.extend(br"\n"),
            b'\r' => line.extend(br"\r"),
            _ => line.push(byte),
        }
    }
    if line.len() > unescaped {
        line.insert(0, b'\\');
    }
    line.push(b'\n');
    line
}

/// Standard output and standard error, written by a thread of their own: a reader that has stopped
/// reading, such as a pager, keeps neither the workers from going on nor Ctrl-C from working.
struct Screen {
    next: RefCell<Frame>,
    frames: mpsc::Sender<Frame>,
    thread: JoinHandle<io::Result<()>>,
    complained: Cell<bool>,
}

/// What comes onto the screen at a time.
#[derive(Default)]
struct Frame {
    lines: Vec<u8>,
    notes: String,
    finished: usize,
    files: usize,
}

impl Screen {
    fn start() -> Self {
        let (frames, to_draw) = mpsc::channel();
        Self {
            next: RefCell::default(),
            frames,
            thread: thread::spawn(move || draw(&to_draw)),
            complained: Cell::new(false),
        }
    }

    fn print(&self, line: &[u8]) {
        self.next.borrow_mut().lines.extend(line);
    }

    /// There is something that could not be read: the rest is done, and the exit status is 1.
    fn complain(&self, name: &OsStr, reason: &dyn Display) {
        self.complained.set(true);
        self.say(&format!("{:?}: {reason}", Path::new(name)));
    }

    fn say(&self, text: &str) {
        self.next.borrow_mut().notes += &format!("checksum: {text}\n");
    }

    /// Fails when standard output cannot be written to any more.
    fn refresh(&self, finished: usize, files: usize) -> tractor::Result<()> {
        let mut frame = self.next.take();
        (frame.finished, frame.files) = (finished, files);
        Ok(self.frames.send(frame)?)
    }

    /// Waits until all has been written.
    fn finish(self) -> io::Result<()> {
        // If nobody takes it, the thread says why.
        let _ = self.frames.send(self.next.take());
        drop(self.frames);
        let drawn = self.thread.join();
        drawn.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn draw(frames: &mpsc::Receiver<Frame>) -> io::Result<()> {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let has_bar = err.is_terminal();
    for frame in frames {
        if has_bar {
            let _ = write!(err, "\r\x1b[K");
        }
        let _ = write!(err, "{}", frame.notes);
        out.write_all(&frame.lines)?;
        out.flush()?;
        if has_bar && frame.files > 0 {
            let filled = "#".repeat(40 * frame.finished / frame.files);
            let _ = write!(err, "[{filled:<40}] {} of {}", frame.finished, frame.files);
        }
    }
    Ok(())
}
