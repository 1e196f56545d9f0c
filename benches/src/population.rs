//! Which processes there are, and which of them are left.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The variable by which processes are known that belong together: those that they start inherit it.
pub(crate) const MARK: &str = "PEERS_MARK";

#[derive(Clone, Debug)]
pub(crate) struct Mark(String);

impl Mark {
    /// One that nobody had before.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{number}", std::process::id()))
    }

    /// The one that this process has itself.
    pub(crate) fn inherited() -> Self {
        Self(std::env::var(MARK).unwrap_or_default())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// All that have it and have not ended.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let marked = marked().into_iter();
        marked
            .filter_map(|(mark, process)| (mark == self.0).then_some(process))
            .collect()
    }
}

/// How many of those with a mark that this process made have not ended.
pub(crate) fn alive_by_mark() -> HashMap<String, usize> {
    let ours = format!("{}-", std::process::id());
    let mut alive = HashMap::new();
    for (mark, _) in marked() {
        if mark.starts_with(&ours) {
            *alive.entry(mark).or_default() += 1;
        }
    }
    alive
}

/// Everybody with a mark who has not ended.
fn marked() -> Vec<(String, Process)> {
    let start = format!("{MARK}=");
    let pids = fs::read_dir("/proc").expect("there is a /proc");
    pids.filter_map(|file| {
        let pid = file.ok()?.file_name().to_str()?.parse().ok()?;
        let process = Process::new(Pid::from_raw(pid)?).ok()?;
        // That of one that has ended is empty, and there is none of one that was reaped.
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mark = environment
            .split(|&byte| byte == 0)
            .find_map(|variable| variable.strip_prefix(start.as_bytes()))?;
        let mark = String::from_utf8_lossy(mark).into_owned();
        process.is_alive().then_some((mark, process))
    })
    .collect()
}

/// One process, and nobody who gets its number later.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    fd: OwnedFd,
}

impl Process {
    pub(crate) fn new(pid: Pid) -> io::Result<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, fd })
    }

    /// Whether it has not ended; reaped it need not be.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Waits for its end, so long at most, and says whether it came.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                Err(error) => panic!("a process can be waited for: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{MARK, Mark};

    #[test]
    fn processes_are_found_by_their_mark_until_they_end() {
        let mark = Mark::new();
        assert!(mark.processes().is_empty());

        // `cat` waits for the end of its input.
        let mut child = Command::new("cat")
            .env(MARK, mark.text())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let found = mark.processes();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pid.as_raw_pid() as u32, child.id());
        assert!(found[0].is_alive());
        assert!(Mark::new().processes().is_empty());

        // It has ended, though nobody has reaped it.
        drop(child.stdin.take());
        assert!(found[0].ends_within(Duration::from_secs(30)));
        assert!(!found[0].is_alive());
        assert!(mark.processes().is_empty());
        assert!(child.wait().unwrap().success());
        assert!(!found[0].is_alive());
    }
}
