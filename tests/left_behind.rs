//! Nothing is left behind: trees of 1 + 3 + 9 processes with ten contexts on every edge, of which
//! one at random is ended, stopped or cut off at a random moment.
//!
//! `LEFT_BEHIND_ROUNDS` says how many trees, `LEFT_BEHIND_SEED` which.

mod common;

use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use common::{MARKER, Marker};
use rustix::process::{Pid, Signal, kill_process};
use tractor::runtime::{fail_after, nursery, time};
use tractor::{Context, Dialog, Portal, Result, SpawnOptions, endpoint, exit_code};

const GRACE: Duration = Duration::from_millis(500);
const TERM_GRACE: Duration = Duration::from_millis(200);
const ORPHAN_GRACE: Duration = Duration::from_millis(300);
const DESCENDANTS_GRACE: Duration = Duration::from_millis(1000);

/// How long they may take to be there: whoever is stopped on the way holds up the others.
const GROWTH: Duration = Duration::from_secs(4);

/// How long the root lives once all are there.
const LIFE: Duration = Duration::from_millis(600);

/// What two levels take at most to be ended by force, each after the other, and those below them
/// to end themselves.
const BOUND: Duration = Duration::from_millis(2 * (500 + 200) + 300 + 2 * 1000);
const SLACK: Duration = Duration::from_secs(5);

const ROLE: &str = "TRACTOR_TEST_ROLE";

/// Where actors say that they are there.
const DIR: &str = "TRACTOR_TEST_DIR";
const FAULT: &str = "TRACTOR_TEST_FAULT";

const WIDTH: usize = 3;
const CONTEXTS: usize = 10;

struct Work;
impl Dialog for Work {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

/// Sends back what comes.
async fn work(ctx: &mut Context<Work>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
    }
    Ok(())
}
endpoint!(work);

/// An actor with so many levels below it.
async fn level(ctx: &mut Context<Work>, (name, below): (String, u32)) -> Result<()> {
    here(&name)?;
    tractor::nursery(async |an| {
        nursery(async |n| {
            n.start_soon(fault(name.clone()));
            if below > 0 {
                n.start(async |status| grow(an, &name, below, || status.started(())).await)
                    .await?;
            }
            ctx.started(()).await?;
            Ok(time::sleep_forever().await?)
        })
        .await
    })
    .await
}
endpoint!(level);

/// Starts what is to be below an actor, calls all of it, and says when everybody is there.
async fn grow(an: &tractor::ActorNursery, name: &str, below: u32, up: impl FnOnce()) -> Result<()> {
    nursery(async |n| {
        let mut starts = Vec::new();
        for number in 0..WIDTH {
            let name = format!("{name}.{number}");
            starts.push(n.start(async move |status| {
                let options = SpawnOptions::new()
                    .env_remove(ROLE)
                    .enable_module("left_behind")
                    .grace(GRACE)
                    .term_grace(TERM_GRACE)
                    .orphan_grace(ORPHAN_GRACE)
                    .descendants_grace(DESCENDANTS_GRACE);
                let portal = an.start_actor(&name, options).await?;
                let cut = name.clone();
                portal
                    .open_context(level, (name, below - 1), async |_, ()| {
                        nursery(async |n| {
                            for _ in 0..CONTEXTS {
                                n.start_soon(ping(&portal));
                            }
                            n.start_soon(cut_off(&portal, cut));
                            status.started(());
                            Ok(())
                        })
                        .await
                    })
                    .await
            }));
        }
        for start in starts {
            start.await?;
        }
        up();
        Ok(())
    })
    .await
}

async fn ping(portal: &Portal) -> Result<()> {
    portal
        .open_context(work, (), async |ctx, ()| {
            let stream = ctx.open_stream()?;
            for number in 0.. {
                stream.send(&number).await?;
                assert_eq!(stream.receive().await?.unwrap_or(number), number);
                time::sleep(Duration::from_millis(20)).await?;
            }
            Ok(())
        })
        .await
}

fn here(name: &str) -> Result<()> {
    let file = PathBuf::from(env::var(DIR)?).join(std::process::id().to_string());
    Ok(fs::write(file, name)?)
}

/// What an actor is to do to itself, or its parent to it, and when.
fn planned(name: &str) -> Option<(String, Duration)> {
    let fault = env::var(FAULT).ok()?;
    let mut words = fault.split(' ');
    let (kind, whose, ms) = (words.next()?, words.next()?, words.next()?);
    (whose == name).then(|| Some((kind.into(), Duration::from_millis(ms.parse().ok()?))))?
}

async fn fault(name: String) -> Result<()> {
    let Some((kind, after)) = planned(&name) else {
        return Ok(());
    };
    time::sleep(after).await?;
    match &*kind {
        "abort" => std::process::abort(),
        "panic" => panic!("as it was told"),
        "overflow" => {
            println!("{}", overflow(1));
            Ok(())
        }
        _ => Ok(()),
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    overflow(room[7] + 1) + room[3]
}

async fn cut_off(portal: &Portal, name: String) -> Result<()> {
    if let Some((kind, after)) = planned(&name)
        && kind == "close"
    {
        time::sleep(after).await?;
        portal.disconnect();
    }
    Ok(())
}

/// In a process that a test here started this is the root; otherwise nothing.
#[test]
fn plays_its_role() {
    if env::var(ROLE).is_err() {
        return;
    }
    let result = tractor::run(async || {
        here("root")?;
        let dir = PathBuf::from(env::var(DIR)?);
        tractor::nursery(async |an| {
            nursery(async |n| {
                n.start_soon(fault("root".into()));
                let up = dir.clone();
                let growing =
                    n.start(async |status| grow(an, "root", 2, || status.started(())).await);
                fail_after(GROWTH, growing).await?;
                fs::write(up.join("up"), "")?;
                time::sleep(LIFE).await?;
                fs::write(dir.join("ending"), "")?;
                n.cancel();
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    });
    let dir = PathBuf::from(env::var(DIR).unwrap());
    let text = match &result {
        Ok(()) => String::from("ok"),
        Err(error) => format!("{error:?}"),
    };
    fs::write(dir.join("result"), text).unwrap();
    std::process::exit(result.map_or_else(|error| exit_code(&error).into(), |()| 0));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// From outside.
    Signal(Signal),
    /// By the actor itself, or its parent.
    Itself(&'static str),
}

const KINDS: [Kind; 9] = [
    Kind::Signal(Signal::KILL),
    Kind::Signal(Signal::TERM),
    Kind::Signal(Signal::INT),
    Kind::Signal(Signal::HUP),
    Kind::Signal(Signal::STOP),
    Kind::Itself("abort"),
    Kind::Itself("panic"),
    Kind::Itself("overflow"),
    Kind::Itself("close"),
];

/// One tree and what happens to it.
struct Round {
    kind: Kind,
    /// Whom it happens to: the name, or for a signal the how manieth of those that are there.
    whose: String,
    pick: usize,
    after: Duration,
    /// Whether it waits until everybody is there.
    when_up: bool,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of ", self.kind)?;
        match self.kind {
            Kind::Signal(_) => write!(f, "number {}", self.pick)?,
            Kind::Itself(_) => f.write_str(&self.whose)?,
        }
        write!(
            f,
            " after {:?}{}",
            self.after,
            if self.when_up {
                ", when all are there"
            } else {
                ""
            }
        )
    }
}

impl Round {
    fn new(random: &mut fastrand::Rng) -> Self {
        let kind = KINDS[random.usize(..KINDS.len())];
        let mut whose = String::from("root");
        // Nobody cuts the root off.
        let least = usize::from(kind == Kind::Itself("close"));
        for _ in 0..random.usize(least..3) {
            whose = format!("{whose}.{}", random.usize(..WIDTH));
        }
        let when_up = random.bool();
        let latest = if when_up { 300 } else { 900 };
        Self {
            kind,
            whose,
            pick: random.usize(..1000),
            after: Duration::from_millis(random.u64(..latest)),
            when_up,
        }
    }

    fn run(&self, dir: &Path) -> std::result::Result<(), String> {
        let marker = Marker::new();
        let (said, temporary) = (dir.join("said"), dir.join("tmp"));
        fs::create_dir_all(&said).unwrap();
        fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new("env");
        command
            .arg("--default-signal")
            .arg(env::current_exe().unwrap())
            .args(["--exact", "plays_its_role", "--nocapture"])
            .env(ROLE, "root")
            .env(DIR, &said)
            .env(MARKER, marker.text())
            .env("TMPDIR", &temporary)
            .env("XDG_RUNTIME_DIR", &temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Kind::Itself(kind) = self.kind {
            command.env(
                FAULT,
                format!("{kind} {} {}", self.whose, self.after.as_millis()),
            );
        }
        let mut root = command.spawn().unwrap();
        let whose = match self.kind {
            Kind::Itself(_) => Some(self.whose.clone()),
            Kind::Signal(signal) => self.strike(signal, &mut root, &said, &marker),
        };
        let result = self.check(&mut root, &said, &temporary, &marker, whose);
        // Nothing of a round that failed is to be in the way of the next.
        for pid in marker.processes() {
            let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
        }
        let _ = root.kill();
        let _ = root.wait();
        result
    }

    /// Sends a signal to somebody, and says to whom if he had said who he is.
    fn strike(
        &self,
        signal: Signal,
        root: &mut Child,
        said: &Path,
        marker: &Marker,
    ) -> Option<String> {
        let start = Instant::now();
        while self.when_up && !said.join("up").exists() && start.elapsed() < SLACK * 2 {
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(self.after);
        let mut there = marker.processes();
        if there.is_empty() {
            return None;
        }
        there.sort_unstable();
        let pid = there[self.pick % there.len()];
        let whose = fs::read_to_string(said.join(pid.to_string())).ok();
        let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
        if pid == root.id() && signal == Signal::STOP {
            // Somebody who looks after it finds that it does nothing.
            thread::sleep(Duration::from_millis(100));
            let _ = root.kill();
        }
        whose
    }

    fn check(
        &self,
        root: &mut Child,
        said: &Path,
        temporary: &Path,
        marker: &Marker,
        whose: Option<String>,
    ) -> std::result::Result<(), String> {
        let bound = BOUND + SLACK;
        let status = ended_within(root, GROWTH + LIFE + Duration::from_secs(1) + bound)
            .ok_or_else(|| format!("the root does not end: {}", tree_of(marker, said)))?;
        let start = Instant::now();
        loop {
            let left = marker.processes();
            if left.is_empty() {
                break;
            }
            if start.elapsed() > bound {
                return Err(format!("left behind: {}", tree_of(marker, said)));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let files: Vec<_> = fs::read_dir(temporary).unwrap().flatten().collect();
        if !files.is_empty() {
            return Err(format!("left behind: {files:?}"));
        }
        let result = fs::read_to_string(said.join("result")).unwrap_or_default();
        let is_root = whose.as_deref() == Some("root");
        let told = match self.kind {
            // It ends in order, with an exit status that says so.
            Kind::Signal(Signal::TERM | Signal::INT | Signal::HUP) if is_root => {
                status.code() == Some(0) || result.contains("signal") || status.signal().is_some()
            }
            Kind::Signal(Signal::KILL | Signal::STOP) if is_root => true,
            Kind::Itself(_) if is_root => status.code() != Some(0) || result == "ok",
            // What is stopped is ended by force, and fails nobody; the peer that waits may time out.
            Kind::Signal(Signal::STOP) => true,
            _ => match &whose {
                // The one it happened to is named, if it was not to end anyway.
                Some(name) => result == "ok" && !self.when_up || names(&result, name),
                None => true,
            },
        };
        match told {
            true => Ok(()),
            false => Err(format!("{whose:?} is not named: {status}: {result}")),
        }
    }
}

fn names(result: &str, name: &str) -> bool {
    result.contains(&format!("{name}@"))
}

fn tree_of(marker: &Marker, said: &Path) -> String {
    let left = marker.processes().into_iter().map(|pid| {
        let name = fs::read_to_string(said.join(pid.to_string())).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default();
        format!(
            "{pid} {name:?} {}",
            state.chars().take(12).collect::<String>()
        )
    });
    left.collect::<Vec<_>>().join("; ")
}

fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn trees_leave_nothing_behind_whatever_happens_to_one_of_them() {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let rounds = number("LEFT_BEHIND_ROUNDS").unwrap_or(3);
    let seed = number("LEFT_BEHIND_SEED").unwrap_or_else(|| fastrand::u64(..));
    // Nobody is interested in the cores of those that are told to abort.
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .unwrap();
    let dir = env::temp_dir().join(format!("tractor-left-behind-{}", std::process::id()));
    let mut failed = 0;
    for number in 0..rounds {
        let seed = seed.wrapping_add(number);
        let round = Round::new(&mut fastrand::Rng::with_seed(seed));
        if let Err(why) = round.run(&dir) {
            failed += 1;
            eprintln!("LEFT_BEHIND_SEED={seed} LEFT_BEHIND_ROUNDS=1: {round}: {why}");
        }
        let _ = fs::remove_dir_all(&dir);
    }
    assert_eq!(failed, 0, "of {rounds} trees");
}
