//! The same by way of the `polling` crate, for systems without epoll. Its descriptor does not tell
//! that the alarm went off.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polling::PollMode;

use super::Event;

#[derive(Debug)]
pub(in crate::reactor) struct Poller {
    poller: polling::Poller,
    alarm: Mutex<Option<Instant>>,
}

impl Poller {
    pub(in crate::reactor) fn new() -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        if !poller.supports_edge() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            poller,
            alarm: Mutex::new(None),
        })
    }

    /// Registers a descriptor, of which is told what there is to read.
    pub(in crate::reactor) fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        let interest = interest(token, false);
        // SAFETY: the descriptor is removed before it is closed: its owner is a `Source`, which
        // does so when it is dropped or taken apart (see there).
        unsafe { self.poller.add_with_mode(fd, interest, PollMode::Edge) }
    }

    /// Whether it is also told when there is room to write. What it is ready for now is told anew.
    pub(in crate::reactor) fn tell_of_room(
        &self,
        fd: impl AsFd,
        token: u64,
        tell: bool,
    ) -> io::Result<()> {
        let interest = interest(token, tell);
        self.poller
            .modify_with_mode(fd.as_fd(), interest, PollMode::Edge)
    }

    pub(in crate::reactor) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        self.poller.delete(fd)
    }

    /// Sets the alarm, in place of an earlier one.
    pub(in crate::reactor) fn set_alarm(&self, after: Duration) -> io::Result<()> {
        *self.alarm() = Instant::now().checked_add(after);
        Ok(())
    }

    /// Waits for events, the bell or the alarm; or only looks.
    pub(in crate::reactor) fn wait(&self, events: &mut Events, block: bool) -> io::Result<()> {
        events.list.clear();
        let alarm = *self.alarm();
        let waited = match (block, alarm) {
            (false, _) => self.poller.wait(&mut events.list, Some(Duration::ZERO)),
            (true, Some(when)) => self.poller.wait_deadline(&mut events.list, when),
            (true, None) => self.poller.wait(&mut events.list, None),
        };
        // It goes off once.
        let mut alarm = self.alarm();
        if alarm.is_some_and(|when| when <= Instant::now()) {
            *alarm = None;
        }
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends a wait, this one or the next. From any thread.
    pub(in crate::reactor) fn ring(&self) {
        // It can fail only where the system has lost what the poller is made of.
        let _ = self.poller.notify();
    }

    fn alarm(&self) -> MutexGuard<'_, Option<Instant>> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable while there are events to be looked at, but not when the alarm went off.
    pub(in crate::reactor) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

fn interest(token: u64, room: bool) -> polling::Event {
    polling::Event::new(token as usize, true, room)
}

/// Room for the events of one wait.
#[derive(Debug)]
pub(in crate::reactor) struct Events {
    list: polling::Events,
}

impl Events {
    pub(in crate::reactor) fn new() -> Self {
        Self {
            list: polling::Events::new(),
        }
    }

    /// Whether there may be more than there was room for.
    pub(in crate::reactor) fn is_full(&self) -> bool {
        self.list.len() == self.list.capacity().get()
    }

    pub(in crate::reactor) fn drain(&mut self) -> impl Iterator<Item = Event> {
        self.list.iter().map(|event| Event {
            token: event.key as u64,
            readable: event.readable,
            writable: event.writable,
            // Not every system says.
            closed: true,
        })
    }
}
