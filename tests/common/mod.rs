//! What tests that start processes share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use serde::{Deserialize, Serialize};
use tractor::runtime::io::Io;
use tractor::{ActorNursery, Address, Portal, Result, SpawnOptions, connect, current_actor};

/// A test that takes longer hangs.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// The variable by which the processes of one test are found.
pub(crate) const MARKER: &str = "TRACTOR_TEST_MARKER";

/// What the actors of a test are, and what connects them: the table over which the tests of what
/// actors do to each other run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cell {
    /// Processes over pairs of sockets.
    Process,
    /// Threads over pairs of sockets.
    Thread,
    /// Tasks of one runtime over pipes in memory.
    Memory,
    // As these are, but talked to over a connection to where they listen.
    ProcessTcp,
    ProcessUnix,
    ThreadTcp,
    ThreadUnix,
}

impl Cell {
    pub(crate) fn place(self, options: SpawnOptions) -> SpawnOptions {
        match self {
            Self::Process | Self::ProcessTcp | Self::ProcessUnix => options,
            Self::Thread | Self::ThreadTcp | Self::ThreadUnix => options.in_thread(),
            Self::Memory => options.in_memory(),
        }
    }

    /// Starts an actor, and gives the portal over which this cell talks to it.
    pub(crate) async fn start(
        self,
        an: &ActorNursery,
        name: &str,
        options: SpawnOptions,
    ) -> Result<Portal> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tractor-{}-cell-{next}", process::id()));
        let at = match self {
            Self::Process | Self::Thread | Self::Memory => {
                return an.start_actor(name, options).await;
            }
            Self::ProcessTcp | Self::ThreadTcp => "/ip4/127.0.0.1/tcp/0".parse()?,
            Self::ProcessUnix | Self::ThreadUnix => Address::Unix(directory.join("actor.sock")),
        };
        let options = options.listen(at).enable(listens_at);
        let parents = an.start_actor(name, options).await?;
        let listens = parents.run(listens_at, ()).await?;
        let portal = connect(&listens.parse()?).await;
        // It is made by who listens. The connection goes on without it.
        let _ = fs::remove_dir_all(directory);
        portal
    }
}

async fn listens_at((): ()) -> Result<String> {
    Ok(current_actor()?.addresses()[0].to_string())
}
tractor::endpoint!(listens_at);

/// Makes a test for each cell of the table out of each of these functions. These are for tests of
/// what a parent and its child are to each other, which another connection between them is not.
#[allow(unused_macros, reason = "each test program uses a part of it")]
macro_rules! in_every_cell {
    ($($test:ident),* $(,)?) => {
        $(
            $crate::common::in_cells!($test: process = Process, thread = Thread, memory = Memory);
        )*
    };
}

/// And these for tests of what any two actors do, over whatever is between them. The actors in
/// memory have the one pipe alone: with a socket beside it they had no virtual clock.
#[allow(unused_macros, reason = "each test program uses a part of it")]
macro_rules! over_every_transport {
    ($($test:ident),* $(,)?) => {
        $(
            $crate::common::in_cells!(
                $test:
                process = Process, process_tcp = ProcessTcp, process_unix = ProcessUnix,
                thread = Thread, thread_tcp = ThreadTcp, thread_unix = ThreadUnix,
                memory = Memory
            );
        )*
    };
}

#[allow(unused_macros, reason = "each test program uses a part of it")]
macro_rules! in_cells {
    ($test:ident: $($name:ident = $cell:ident),*) => {
        mod $test {
            $(
                #[test]
                fn $name() {
                    super::$test($crate::common::Cell::$cell);
                }
            )*
        }
    };
}
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use in_every_cell;
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use {in_cells, over_every_transport};

/// Runs a test's tree of these actors, as [`tree`] does. Those in memory have a virtual clock.
pub(crate) fn tree_of<T>(
    cell: Cell,
    main: impl AsyncFnOnce(SpawnOptions) -> Result<T>,
) -> Result<T> {
    if cell == Cell::Memory {
        let _guard = HangGuard::new();
        return tractor::testing::run(async || main(cell.place(SpawnOptions::new())).await);
    }
    tree(async |options| main(cell.place(options)).await)
}

/// Runs a test's tree, and looks afterwards that nothing of it is left. The options given to it
/// mark every process that they start.
pub(crate) fn tree<T>(main: impl AsyncFnOnce(SpawnOptions) -> Result<T>) -> Result<T> {
    tree_gone_within(Duration::ZERO, main)
}

/// The same for a tree with programs in it that are no actors: what these start is killed, but
/// nobody here can reap it.
pub(crate) fn tree_gone_within<T>(
    limit: Duration,
    main: impl AsyncFnOnce(SpawnOptions) -> Result<T>,
) -> Result<T> {
    let marker = Marker::new();
    let options = SpawnOptions::new().env(MARKER, marker.text());
    let _guard = HangGuard::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        tractor::run(async || main(options).await)
    }));
    marker.gone_within(limit);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// This test program again.
pub(crate) fn this_program() -> Command {
    program(std::env::current_exe().expect("this program has a path"))
}

/// A program in which every signal has its default action to begin with: whoever runs the tests may
/// have them ignore SIGINT, as a shell has its background jobs, and that is inherited.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut program = Command::new("env");
    program.arg("--default-signal").arg(path);
    program
}

/// Nothing that an actor could run. To be asked for it is the end of one in a process that is
/// [armed](arm): it says in the log that it refuses, and there that panics, outside of every
/// endpoint.
pub(crate) async fn explosive((): ()) -> Result<()> {
    Ok(())
}

pub(crate) fn arm() {
    struct Bomb;

    impl log::Log for Bomb {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let text = record.args().to_string();
            if text.starts_with("refused") && text.contains("explosive") {
                panic!("it went off");
            }
        }

        fn flush(&self) {}
    }

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Bomb).expect("the test program has no other");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// Ends the test program if a test takes too long, so that the runner says which it was.
pub(crate) struct HangGuard {
    _done: std::sync::mpsc::Sender<()>,
}

impl HangGuard {
    pub(crate) fn new() -> Self {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let (done, waited) = channel::<()>();
        thread::spawn(move || {
            if waited.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs");
                process::abort();
            }
        });
        Self { _done: done }
    }
}

/// A text that is in the environment of the processes of one test, and of no others.
pub(crate) struct Marker(String);

impl Marker {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{next}", process::id()))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The processes that run with this marker, this one excepted.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let entry = format!("{MARKER}={}", self.0);
        let processes = fs::read_dir("/proc").expect("there is /proc");
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| pid != process::id() && !is_zombie(pid) && has(pid, &entry))
            .collect()
    }

    /// Waits until none is left; panics if that takes longer than promised.
    pub(crate) fn gone_within(&self, limit: Duration) {
        let start = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < limit, "left behind: {left:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until there are so many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<u32> {
        let start = Instant::now();
        loop {
            let found = self.processes();
            if found.len() == count {
                return found;
            }
            assert!(
                start.elapsed() < HANG,
                "{count} wanted, there are {found:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn has(pid: u32, entry: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ
        .split(|&byte| byte == 0)
        .any(|other| other == entry.as_bytes())
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    state == Some("Z")
}

/// The processes with the marker that this one has itself, and this one.
pub(crate) fn marked_like_this() -> Vec<u32> {
    let marker = Marker(std::env::var(MARKER).expect("this process is marked"));
    let mut processes = marker.processes();
    processes.push(process::id());
    processes
}

/// Runs what blocks on a thread of its own, while the actor goes on.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (ours, theirs) = UnixStream::pair()?;
    let thread = thread::spawn(move || {
        // Closed when the work is done, or has failed.
        let _theirs = theirs;
        work()
    });
    Io::new(ours)?.readable().await?;
    Ok(thread.join().expect("the peer does not panic"))
}
