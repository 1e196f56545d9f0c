//! What operating systems do differently.
//!
//! Linux is what is tested. Elsewhere the same promises are kept with what there is: a child is told
//! from other programs by its parent's id alone, one that boots does not die with its parent but
//! soon after it, and the ends of processes are looked for now and then.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

    /// This process is to die with the thread that started it.
    pub(in crate::spawn) fn die_with_parent() -> io::Result<()> {
        let signal = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    }

    /// It is not to any more. If it is stopped when that thread ends, it goes on, or it would never
    /// see that it has lost its parent.
    pub(in crate::spawn) fn outlive_parent() -> io::Result<()> {
        let signal = Some(rustix::process::Signal::CONT);
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

    /// Takes the descriptors that came with the first bytes in a socket, and leaves the bytes. Waits
    /// until there are some, or the peer is gone.
    pub(in crate::spawn) fn descriptors_in(channel: impl AsFd) -> io::Result<Vec<OwnedFd>> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC;
        rustix::io::retry_on_intr(|| recvmsg(&channel, &mut bytes, &mut ancillary, flags))?;
        let rights = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        Ok(rights.flatten().collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod here {
    use super::*;

    pub(in crate::spawn) fn maker(socket: impl AsFd) -> Option<Pid> {
        rustix::net::sockopt::socket_type(socket).ok()?;
        rustix::process::getppid()
    }

    pub(in crate::spawn) fn die_with_parent() -> io::Result<()> {
        Ok(())
    }

    pub(in crate::spawn) fn outlive_parent() -> io::Result<()> {
        Ok(())
    }

    pub(in crate::spawn) fn is_first_thread() -> bool {
        std::thread::current().name() == Some("main")
    }

    pub(in crate::spawn) const PEER_GONE: PollFlags = PollFlags::HUP;

    pub(in crate::spawn) fn executable() -> io::Result<PathBuf> {
        std::env::current_exe()
    }

    /// To look at bytes without taking them does not give what came with them.
    pub(in crate::spawn) fn descriptors_in(_channel: impl AsFd) -> io::Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}

pub(super) use here::*;

/// How many descriptors fit in one message, at most.
const MOST_DESCRIPTORS: usize = 250;

/// Writes to a socket that has room for it, with copies of these descriptors; the first ones, if
/// they are too many.
pub(super) fn send_with(
    channel: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = &descriptors[..descriptors.len().min(MOST_DESCRIPTORS)];
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    let sent = rustix::io::retry_on_intr(|| {
        let bytes = [IoSlice::new(bytes)];
        sendmsg(&channel, &bytes, &mut ancillary, SendFlags::empty())
    })?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}
