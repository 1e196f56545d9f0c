use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{
    Pid, Signal, getpgrp, getpid, getppid, kill_current_process_group, kill_process,
};

use super::{MARK, platform};

/// Exit status of a child whose parent was gone before it could begin.
const ORPHANED: i32 = 1;

/// Whether this process was started as an actor and has not become one yet.
///
/// The variable alone means nothing, for it is inherited by everything that an actor starts: only
/// that the socket on descriptor 0 was made by the process that it names makes a child.
pub(crate) fn is_marked() -> bool {
    marked_by().is_some()
}

fn marked_by() -> Option<Pid> {
    let told: i32 = std::env::var(MARK).ok()?.parse().ok()?;
    let made = platform::maker(std::io::stdin())?;
    (told == made.as_raw_pid()).then_some(made)
}

/// Whether this process became an actor on another thread than its first one.
///
/// A test runner that was started as an actor does, if nothing makes it one before its `main`: one
/// of its tests is where the actor is entered, and the others go on beside it. What these would
/// start is this runner again, and so on.
pub(crate) fn is_entered_aside() -> bool {
    ASIDE.load(Ordering::Relaxed)
}

static ASIDE: AtomicBool = AtomicBool::new(false);

/// What a child has from its parent.
pub(crate) struct Inherited {
    pub(crate) channel: UnixStream,
    /// By whose ends those above see that this process is gone.
    pub(crate) lifelines: Vec<OwnedFd>,
}

impl Inherited {
    /// Takes the channel, if this process is a child. From then on it is none any more to itself,
    /// and its standard input is the null device.
    ///
    /// Until [`Watchdog::start`] the child dies with its parent.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        static TAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parent) = marked_by() else {
            return Ok(None);
        };
        platform::die_with_parent()?;
        // A parent that died before that would never be told of.
        if getppid() != Some(parent) {
            std::process::exit(ORPHANED);
        }
        ASIDE.store(!platform::is_first_thread(), Ordering::Relaxed);
        let channel = fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some(Self {
            lifelines: platform::descriptors_in(&channel)?,
            channel: channel.into(),
        }))
    }
}

/// A thread that waits for the end of the parent, and ends this process if the actor does not do
/// that itself in time: the actor may be stuck.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    grace_ms: AtomicU64,
    /// The channels to the children of this process. They are told along with it, for a chain of
    /// actors that are all stuck would take a grace for each otherwise.
    children: Mutex<Vec<Arc<UnixStream>>>,
    /// What this process has from those above, and gives to those below.
    lifelines: OnceLock<Vec<OwnedFd>>,
}

impl Watchdog {
    /// Starts the thread, which takes over from the signal of the parent's death.
    pub(crate) fn start(
        &self,
        channel: &UnixStream,
        lifelines: Vec<OwnedFd>,
        grace: Duration,
    ) -> io::Result<()> {
        let _ = self.shared.lifelines.set(lifelines);
        self.set_grace(grace);
        let channel = channel.as_fd().try_clone_to_owned()?;
        let shared = self.shared.clone();
        thread::Builder::new()
            .name("tractor-watchdog".into())
            .spawn(move || shared.watch(&channel))?;
        platform::outlive_parent()?;
        Ok(())
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        let ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.shared.grace_ms.store(ms, Ordering::Relaxed);
    }

    /// What a child is given: this one of its own, and those from above.
    pub(crate) fn lifelines<'a>(&'a self, own: &'a impl AsFd) -> Vec<BorrowedFd<'a>> {
        let above = self.shared.lifelines.get().map_or(&[][..], |above| above);
        let above = above.iter().map(AsFd::as_fd);
        std::iter::once(own.as_fd()).chain(above).collect()
    }

    /// Tells this child too, until the answer is dropped.
    pub(crate) fn adopt(&self, channel: &UnixStream) -> io::Result<Adopted> {
        let channel = Arc::new(channel.try_clone()?);
        self.shared.children().push(channel.clone());
        Ok(Adopted {
            shared: self.shared.clone(),
            channel,
        })
    }
}

/// A child that is told when this process lost its parent.
#[derive(Debug)]
pub(crate) struct Adopted {
    shared: Arc<Shared>,
    channel: Arc<UnixStream>,
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let channel = &self.channel;
        self.shared
            .children()
            .retain(|other| !Arc::ptr_eq(other, channel));
    }
}

impl Shared {
    fn watch(&self, channel: &OwnedFd) {
        loop {
            let mut fds = [PollFd::new(channel, platform::PEER_GONE)];
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::error!(target: "tractor::spawn", "cannot watch the parent: {error}");
                    break;
                }
            }
        }
        for child in &*self.children() {
            let _ = child.shutdown(std::net::Shutdown::Both);
        }
        thread::sleep(Duration::from_millis(self.grace_ms.load(Ordering::Relaxed)));
        log::warn!(
            target: "tractor::spawn",
            "the parent is gone, and this actor did not end in its grace: killed"
        );
        // With what it started, if the group is its own.
        if getpgrp() == getpid() {
            let _ = kill_current_process_group(Signal::KILL);
        }
        let _ = kill_process(getpid(), Signal::KILL);
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Arc<UnixStream>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
