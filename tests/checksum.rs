//! The main example beside coreutils, and what is left when it or a part of it is killed.
//!
//! The amounts are small here. `.ci/long/checksum` and `.ci/long/kill` run the same tests with
//! large ones, which they pass in the environment.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any run takes; what takes longer hangs.
const HANG: Duration = Duration::from_secs(30);

/// When everything has to be gone.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn prints_what_sha256sum_prints() {
    let place = Place::new("prints");
    place.generate();
    for paths in [
        &["."][..],
        &["tree/", "./tree//0", "tree/0/.", "plain", "plain"],
        &[
            "link to a file",
            "link to a directory",
            "pipe",
            "link to a directory/",
        ],
    ] {
        for workers in ["1", "3"] {
            let run = place.run(&[&["--workers", workers], paths].concat());
            assert_eq!(run.status.code(), Some(0), "{run:?}");
            assert_lines(&run.output, &place.expected(paths));
            assert_eq!(run.errors, "");
        }
    }
}

#[test]
fn worker_killed_half_way_loses_nothing() {
    let place = Place::new("chaos");
    place.generate();
    let expected = place.expected(&["."]);
    for workers in ["1", "2", "5"] {
        let run = place.run(&["--chaos", "--workers", workers, "."]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert!(
            run.errors.starts_with("checksum: killed process "),
            "{run:?}"
        );
        assert_lines(&run.output, &expected);
    }
}

#[test]
fn file_removed_after_it_was_listed() {
    let place = Place::new("removed");
    place.generate();
    // One worker reads in order, and has much to read before it comes to the last file.
    place.write_hole("large");
    let last = place.path("~last");
    for attempt in 0.. {
        fs::write(&last, "soon gone").expect("a file can be written");
        let mut run = place.start(&["--workers", "1", "."], None);
        // There are workers only after the files have been listed.
        place.wait_for_workers(&mut run);
        fs::remove_file(&last).expect("the file is there");
        let run = run.finish();

        // On a machine that is so busy, this test may not have run in time.
        if run.status.success() && attempt < 5 {
            continue;
        }
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        assert!(run.errors.contains("~last"), "{run:?}");
        assert!(run.errors.contains("No such file"), "{run:?}");
        return assert_lines(&run.output, &place.expected(&["."]));
    }
}

#[test]
fn file_that_cannot_be_read() {
    let place = Place::new("unreadable");
    fs::write(place.path("good"), "good").expect("a file can be written");
    // A regular file that not even root can read from the beginning.
    let run = place.run(&["good", "/proc/self/mem"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.errors.contains("/proc/self/mem"), "{run:?}");
    assert_lines(&run.output, &place.expected(&["good"]));
}

#[test]
fn argument_that_does_not_exist() {
    let place = Place::new("missing");
    fs::write(place.path("good"), "good").expect("a file can be written");
    let run = place.run(&["nowhere", "good", "good/", ""]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.errors.contains("\"nowhere\""), "{run:?}");
    assert!(run.errors.contains("\"good/\""), "{run:?}");
    assert_lines(&run.output, &place.expected(&["good"]));
}

#[test]
fn nothing_to_do() {
    let place = Place::new("nothing");
    let run = place.run(&["."]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!((run.output.len(), run.errors.as_str()), (0, ""));
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    let place = Place::new("usage");
    for arguments in [
        &[][..],
        &["--workers", "0", "."],
        &["--workers"],
        &["--unknown", "."],
    ] {
        let run = place.run(arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {run:?}");
        assert!(run.errors.starts_with("usage: "), "{arguments:?}: {run:?}");
    }
}

#[test]
fn reader_that_has_read_enough() {
    let place = Place::new("enough");
    place.generate();
    let mut run = place.start(&["."], Some(Stdio::piped()));
    let output = run.child.stdout.take().expect("it is piped");
    let mut first = Vec::new();
    let read = BufReader::new(output).read_until(b'\n', &mut first);
    assert!(read.expect("there is a line") > 0);
    run.wait();
    assert_eq!(fs::read(place.root.join("errors")).unwrap(), b"");
}

#[test]
fn root_killed_at_any_moment_leaves_nothing() {
    at_random_moments("root", |place, mut run, _expected| {
        kill(run.child.id(), Signal::KILL);
        run.wait();
        place.assert_left_clean();
    });
}

#[test]
fn worker_killed_at_any_moment_loses_nothing() {
    at_random_moments("worker", |place, run, expected| {
        if let Some(worker) = place.workers().first() {
            kill(*worker, Signal::KILL);
        }
        let run = run.finish();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert_lines(&run.output, expected);
        place.assert_left_clean();
    });
}

#[test]
fn interrupted_at_any_moment_leaves_nothing() {
    at_random_moments("interrupted", |place, run, _expected| {
        kill(run.child.id(), Signal::INT);
        let interrupted = Instant::now();
        let run = run.finish();
        let took = interrupted.elapsed();
        assert!(took < SOON + slack(), "took {took:?} to end");
        // A run may end before the signal, or be hit before it has begun to listen for signals.
        let ended = matches!(run.status.code(), Some(130 | 0));
        assert!(ended || run.status.signal() == Some(2), "{run:?}");
        place.assert_left_clean();
    });
}

#[test]
fn interrupted_while_a_worker_is_stopped() {
    let place = Place::new("stopped");
    place.write_hole("large");
    let mut run = place.start(&["--workers", "1", "."], None);
    for worker in place.wait_for_workers(&mut run) {
        kill(worker, Signal::STOP);
    }
    kill(run.child.id(), Signal::INT);
    let interrupted = Instant::now();
    let run = run.finish();
    let took = interrupted.elapsed();
    assert!(took < SOON + slack(), "took {took:?} to end");
    assert_eq!(run.status.code(), Some(130), "{run:?}");
    place.assert_left_clean();
}

/// Runs the example again and again, and lets `strike` at it after a random time.
fn at_random_moments(name: &str, strike: impl Fn(&Place, Running, &[u8])) {
    let place = Place::new(name);
    place.generate();
    let expected = place.expected(&["."]);
    let began = Instant::now();
    place.run(&["."]);
    let whole_run = began.elapsed();

    let mut random = fastrand::Rng::with_seed(place.seed);
    for round in 0..amount("ROUNDS", 3) {
        let moment = whole_run.mul_f64(random.f64() * 1.1);
        println!("round {round}: after {moment:?} of {whole_run:?}");
        let run = place.start(&["."], None);
        thread::sleep(moment);
        strike(&place, run, &expected);
    }
    thread::sleep(SOON);
    assert_eq!(place.processes(), [], "something came back");
}

/// Directories that are removed at the end, and a mark in the environment of all that runs there.
struct Place {
    root: PathBuf,
    mark: String,
    seed: u64,
}

/// The example, started in a place.
struct Running {
    child: Child,
    place: PathBuf,
}

/// The example, ended.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    errors: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let unique = format!("checksum-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(&unique);
        for inside in ["data", "tmp"] {
            fs::create_dir_all(root.join(inside)).expect("a temporary directory can be made");
        }
        let seed = amount("SEED", fastrand::u32(..) as usize) as u64;
        println!("CHECKSUM_SEED={seed}");
        Self {
            root,
            mark: format!("CHECKSUM_MARK={unique}"),
            seed,
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join("data").join(name)
    }

    /// Files of all kinds and names, as many as the environment asks for.
    fn generate(&self) {
        let files = amount("FILES", 300);
        let bytes = amount("MEGABYTES", 16) << 20;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut content = vec![0; 1 << 20];
        random.fill(&mut content);
        let mut write = |path: &Path, size: usize| {
            let mut file = File::create(path).expect("a file can be made");
            let mut rest = size;
            while rest > 0 {
                let from = random.usize(..content.len());
                let piece = &content[from..content.len().min(from + rest)];
                file.write_all(piece).expect("a file can be written");
                rest -= piece.len();
            }
        };

        // One that is a quarter of all, and many small ones, a tenth of which are empty.
        fs::create_dir(self.path("tree")).expect("a directory can be made");
        write(&self.path("tree/large"), bytes / 4);
        for directory in 0..10 {
            let inner = self.path(format!("tree/{directory}/in side"));
            fs::create_dir_all(&inner).expect("a directory can be made");
        }
        for file in 0..files {
            let size = match file % 10 {
                0 => 0,
                kind => bytes * 3 / 4 / files * kind / 5,
            };
            let directory = match file % 3 {
                0 => format!("tree/{}/in side", file % 7),
                _ => format!("tree/{}", file % 10),
            };
            write(&self.path(directory).join(name(file)), size);
        }

        // What find does not list, or lists under another name.
        write(&self.path("plain"), 100);
        write(&self.path("-dash"), 100);
        for (target, link) in [
            ("plain", "link to a file"),
            ("tree", "link to a directory"),
            ("nowhere", "link to nothing"),
        ] {
            symlink(target, self.path(link)).expect("a link can be made");
        }
        let made = Command::new("mkfifo").arg(self.path("pipe")).status();
        assert!(made.expect("coreutils are there").success());
    }

    /// A file that takes its time to be read, and none to be written.
    fn write_hole(&self, name: &str) {
        let file = File::create(self.path(name)).expect("a file can be made");
        file.set_len(200 << 20).expect("it need not be filled");
    }

    /// What coreutils print. A listing without files is not given to them: they would read their
    /// standard input.
    fn expected(&self, paths: &[&str]) -> Vec<u8> {
        const PRINT: &str = r#"find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 --no-run-if-empty sha256sum"#;
        let output = Command::new("sh")
            .args(["-c", PRINT, "sh"])
            .args(paths)
            .current_dir(self.path(""))
            .output()
            .expect("findutils and coreutils are there");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments, None).finish()
    }

    /// Output goes to files, so that nobody has to read it while the example runs.
    fn start(&self, arguments: &[&str], output: Option<Stdio>) -> Running {
        let file = |name| File::create(self.root.join(name)).expect("a file can be made");
        let (name, value) = self.mark.split_once('=').expect("a mark has a value");
        // A job in the background may have been told to ignore Ctrl-C, which is inherited.
        let child = Command::new("env")
            .arg("--default-signal=INT")
            .arg(example())
            .args(arguments)
            .current_dir(self.path(""))
            .env(name, value)
            .env("TMPDIR", self.root.join("tmp"))
            .env("XDG_RUNTIME_DIR", self.root.join("tmp"))
            .stdin(Stdio::null())
            .stdout(output.unwrap_or_else(|| file("output").into()))
            .stderr(file("errors"))
            .spawn()
            .expect("the example can be started");
        Running {
            child,
            place: self.root.clone(),
        }
    }

    /// All processes that were started here and are not zombies.
    fn processes(&self) -> Vec<u32> {
        processes_marked(&[&self.mark])
    }

    /// Those that a tractor started.
    fn workers(&self) -> Vec<u32> {
        processes_marked(&[&self.mark, "TRACTOR_ACTOR="])
    }

    /// Waits until there are workers, or it is too late for them.
    fn wait_for_workers(&self, run: &mut Running) -> Vec<u32> {
        loop {
            let workers = self.workers();
            if !workers.is_empty() || run.child.try_wait().is_ok_and(|end| end.is_some()) {
                return workers;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A second is enough for every process and file to be gone.
    fn assert_left_clean(&self) {
        let until = Instant::now() + SOON + slack();
        loop {
            let processes = self.processes();
            let files: Vec<_> = fs::read_dir(self.root.join("tmp"))
                .expect("the directory is there")
                .collect();
            if processes.is_empty() && files.is_empty() {
                return;
            }
            let late = Instant::now() > until;
            assert!(
                !late,
                "left behind: processes {processes:?}, files {files:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for process in self.processes() {
            kill(process, Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Running {
    /// Waits for the end. The place kills what hangs.
    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + HANG;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < until, "the example hangs");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn finish(mut self) -> Ended {
        let status = self.wait();
        let read = |name| fs::read(self.place.join(name)).expect("output went to a file");
        Ended {
            status,
            output: read("output"),
            errors: String::from_utf8_lossy(&read("errors")).into_owned(),
        }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, standard error: {:?}", self.status, self.errors)
    }
}

/// Names that need care, each with a number that makes it the only one.
fn name(number: usize) -> OsString {
    let start: &[u8] = match number % 9 {
        0 => b"plain",
        1 => b"with spaces ",
        2 => b"new\nline",
        3 => br"back\slash",
        4 => b"-dash",
        5 => b"\xff\xfe not utf-8",
        6 => b"carriage\rreturn",
        7 => "\u{fc}nic\u{f6}de".as_bytes(),
        _ => b"tab\t'quote\"*?$",
    };
    let mut name = start.to_vec();
    name.extend(number.to_string().into_bytes());
    OsString::from_vec(name)
}

/// The processes in whose environment there are variables that start so.
fn processes_marked(marks: &[&str]) -> Vec<u32> {
    let listing = fs::read_dir("/proc").expect("there is a /proc");
    let numbers = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = numbers
        .filter(|process| {
            // Processes come and go meanwhile; a zombie has no environment.
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            marks.iter().all(|mark| {
                let mut variables = environment.split(|&byte| byte == 0);
                variables.any(|variable| variable.starts_with(mark.as_bytes()))
            })
        })
        .collect();
    fastrand::shuffle(&mut found);
    found
}

fn kill(process: u32, signal: Signal) {
    let process = Pid::from_raw(process as i32).expect("a process has a number");
    // It may have ended by itself.
    let _ = kill_process(process, signal);
}

#[track_caller]
fn assert_lines(actual: &[u8], expected: &[u8]) {
    if actual == expected {
        return;
    }
    let lines = |text: &[u8]| -> Vec<String> {
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines.map(|line| line.escape_ascii().to_string()).collect()
    };
    let (actual, expected) = (lines(actual), lines(expected));
    let same = actual.iter().zip(&expected).take_while(|(a, b)| a == b);
    let first = same.count();
    panic!(
        "{} lines, not {}; line {first} is {:?}, not {:?}",
        actual.len(),
        expected.len(),
        actual.get(first),
        expected.get(first),
    );
}

/// A number from the environment, by which the long checks ask for more.
fn amount(name: &str, otherwise: usize) -> usize {
    match std::env::var(format!("CHECKSUM_{name}")) {
        Ok(text) => text.parse().expect("the amount is a number"),
        Err(_) => otherwise,
    }
}

/// What a busy machine may add to a promised time. The long checks allow nothing.
fn slack() -> Duration {
    Duration::from_millis(amount("SLACK_MS", 5000) as u64)
}

/// The example's program. `cargo test` has built it, unless it was asked for this test alone.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let this = std::env::current_exe().expect("a test is a file");
        let profile = this
            .ancestors()
            .nth(2)
            .expect("it is in deps/ of a profile");
        let example = profile.join("examples/checksum");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = ["examples/checksum.rs", "src", "runtime/src"];
        if changed(&example)
            < sources
                .iter()
                .filter_map(|path| changed(&source.join(path)))
                .max()
        {
            let mut build = Command::new(env!("CARGO"));
            build
                .args(["build", "--quiet", "--example", "checksum"])
                .current_dir(source);
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().expect("cargo is there").success());
        }
        example
    })
}

/// When a file, or the newest file in a directory, was last changed.
fn changed(path: &Path) -> Option<SystemTime> {
    let found = fs::metadata(path).ok()?;
    if found.is_dir() {
        let entries = fs::read_dir(path).ok()?;
        entries
            .filter_map(|entry| changed(&entry.ok()?.path()))
            .max()
    } else {
        found.modified().ok()
    }
}
