//! Where registrars listen in tests, and other programs that do.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::env;
use std::fs::{DirBuilder, remove_dir_all};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tractor::{Address, Result, RunOptions, SpawnOptions, current_actor, exit_code};

use super::common::{Cell, HangGuard, MARKER, Marker};

/// What an actor is found over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    Tcp,
    Unix,
}

impl Net {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Unix];

    pub(crate) fn has(self, address: &Address) -> bool {
        matches!(
            (self, address),
            (Self::Tcp, Address::Tcp(_)) | (Self::Unix, Address::Unix(_))
        )
    }
}

/// A directory for sockets, gone with the test. Nothing may be left in it then.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tractor-{}-{next}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    /// An address of this name in it, or any port.
    pub(crate) fn at(&self, net: Net, name: &str) -> Address {
        match net {
            Net::Tcp => any_port(),
            Net::Unix => Address::Unix(self.0.join(name)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let files = self.0.read_dir().unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let left = self.files();
        let _ = remove_dir_all(&self.0);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// Runs a test's tree of these actors, which find each other by their names.
pub(crate) fn tree_of_peers<T>(
    cell: Cell,
    main: impl AsyncFnOnce(SpawnOptions) -> Result<T>,
) -> Result<T> {
    let directory = Directory::new();
    let marker = Marker::new();
    let spawn = cell.place(SpawnOptions::new().env(MARKER, marker.text()));
    let _guard = HangGuard::new();
    let result = RunOptions::new()
        .registry([directory.at(Net::Unix, "registry.sock")])
        .run(async || main(spawn).await);
    marker.gone_within(Duration::ZERO);
    result
}

pub(crate) fn any_port() -> Address {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A port at which nobody listens: at an address of this host that only this process uses.
pub(crate) fn deserted() -> Address {
    static NEXT: AtomicU16 = AtomicU16::new(1616);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = [127, 64 | high, middle, low];
    Address::Tcp((host, NEXT.fetch_add(1, Ordering::Relaxed)).into())
}

/// The role of a registrar that does nothing else until it is stopped: it says where it is.
pub(crate) fn play_daemon(place: Address) -> ! {
    let options = RunOptions::new().name("daemon").be_registrar([place]);
    let ended = options.run_daemon(async || {
        say(&current_actor()?.addresses()[0].to_string());
        Ok(())
    });
    let code = ended.map_or_else(|error| exit_code(&error), |()| 0);
    std::process::exit(code.into());
}

const ROLE: &str = "TRACTOR_TEST_ROLE";
const PLACE: &str = "TRACTOR_TEST_PLACE";

/// The role that this test program was started again for, and the address that goes with it.
pub(crate) fn role() -> Option<(String, Address)> {
    let place = env::var(PLACE).ok()?;
    Some((env::var(ROLE).ok()?, place.parse().unwrap()))
}

/// What a role says first. To be called in it.
pub(crate) fn say(text: &str) {
    println!("\nsays {text}");
}

/// This test program once more, in a role: the test `plays_its_role`, alone.
pub(crate) struct Program {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    _marker: Marker,
}

impl Program {
    pub(crate) fn new(role: &str, place: &Address) -> Self {
        let marker = Marker::new();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place.to_string())
            .env(MARKER, marker.text())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            output,
            _marker: marker,
        }
    }

    /// The next thing that it says; `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(said) = line.trim_end().strip_prefix("says ") {
                return Some(said.into());
            }
        }
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert_eq!(self.ended().code(), Some(143));
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        while self.hear().is_some() {}
        self.child.wait().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of one that has ended there is nothing to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
