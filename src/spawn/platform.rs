//! What operating systems do differently.
//!
//! Linux is what is tested. Elsewhere the same promises are kept with what there is: a child is told
//! from other programs by its parent's id alone, one that boots does not die with its parent but
//! soon after it, and the ends of processes are looked for now and then.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::event::PollFlags;
use rustix::process::Pid;

#[cfg(target_os = "linux")]
mod here {
    use super::*;

    /// The process that made a connected socket.
    pub(in crate::spawn) fn maker(socket: impl AsFd) -> Option<Pid> {
        Some(rustix::net::sockopt::socket_peercred(socket).ok()?.pid)
    }

    /// Whether this process is to die with the thread that started it.
    pub(in crate::spawn) fn die_with_parent(die: bool) -> io::Result<()> {
        let signal = die.then_some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    }

    pub(in crate::spawn) fn is_first_thread() -> bool {
        rustix::thread::gettid() == rustix::process::getpid()
    }

    /// By what the end of a peer is told, when nothing is read.
    pub(in crate::spawn) const PEER_GONE: PollFlags = PollFlags::RDHUP;

    /// This executable, also where its file was moved or replaced since.
    pub(in crate::spawn) fn executable() -> io::Result<PathBuf> {
        Ok("/proc/self/exe".into())
    }
}

#[cfg(not(target_os = "linux"))]
mod here {
    use super::*;

    pub(in crate::spawn) fn maker(socket: impl AsFd) -> Option<Pid> {
        rustix::net::sockopt::socket_type(socket).ok()?;
        rustix::process::getppid()
    }

    pub(in crate::spawn) fn die_with_parent(_die: bool) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::spawn) fn is_first_thread() -> bool {
        std::thread::current().name() == Some("main")
    }

    pub(in crate::spawn) const PEER_GONE: PollFlags = PollFlags::HUP;

    pub(in crate::spawn) fn executable() -> io::Result<PathBuf> {
        std::env::current_exe()
    }
}

pub(super) use here::*;
