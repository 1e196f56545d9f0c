//! One epoll set with an eventfd as the bell and a timerfd as the alarm, so that the set's own
//! descriptor is readable whenever there is something to do, and a wait is one system call.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::Event;

/// The tokens of the bell and the alarm. Those of descriptors are smaller.
const BELL: u64 = u64::MAX;
const ALARM: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(in crate::reactor) struct Poller {
    set: OwnedFd,
    bell: OwnedFd,
    alarm: OwnedFd,
}

impl Poller {
    pub(in crate::reactor) fn new() -> io::Result<Self> {
        let poller = Self {
            set: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            alarm: timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
        };
        // Neither is ever read: each ring, and each time the alarm goes off, is an edge.
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller.set, &poller.bell, EventData::new_u64(BELL), edge)?;
        epoll::add(&poller.set, &poller.alarm, EventData::new_u64(ALARM), edge)?;
        Ok(poller)
    }

    /// One that the system answers nothing but errors for.
    #[cfg(test)]
    pub(in crate::reactor) fn broken() -> io::Result<Self> {
        Ok(Self {
            set: std::fs::File::open("/dev/null")?.into(),
            ..Self::new()?
        })
    }

    /// Registers a descriptor, of which is told what there is to read.
    pub(in crate::reactor) fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.set,
            fd,
            EventData::new_u64(token),
            interest(false),
        )?)
    }

    /// Whether it is also told when there is room to write. What it is ready for now is told anew.
    pub(in crate::reactor) fn tell_of_room(
        &self,
        fd: impl AsFd,
        token: u64,
        tell: bool,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            &self.set,
            fd,
            EventData::new_u64(token),
            interest(tell),
        )?)
    }

    pub(in crate::reactor) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.set, fd)?)
    }

    /// Sets the alarm, in place of an earlier one.
    pub(in crate::reactor) fn set_alarm(&self, after: Duration) -> io::Result<()> {
        // Zero would take it back.
        let after = after.max(Duration::from_nanos(1));
        let alarm = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(after).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            }),
        };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &alarm)?;
        Ok(())
    }

    /// Waits for events, the bell or the alarm; or only looks.
    pub(in crate::reactor) fn wait(&self, events: &mut Events, block: bool) -> io::Result<()> {
        let at_once = Timespec::default();
        let timeout = if block { None } else { Some(&at_once) };
        match epoll::wait(
            &self.set,
            rustix::buffer::spare_capacity(&mut events.list),
            timeout,
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a wait, this one or the next. From any thread.
    pub(in crate::reactor) fn ring(&self) {
        // Full, it has been rung often enough.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Readable while there are events to be looked at.
    pub(in crate::reactor) fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

fn interest(room: bool) -> EventFlags {
    let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
    flags.set(EventFlags::OUT, room);
    flags
}

/// Room for the events of one wait.
pub(in crate::reactor) struct Events {
    list: Vec<epoll::Event>,
}

impl Events {
    pub(in crate::reactor) fn new() -> Self {
        Self {
            list: Vec::with_capacity(256),
        }
    }

    /// Whether there may be more than there was room for.
    pub(in crate::reactor) fn is_full(&self) -> bool {
        self.list.len() == self.list.capacity()
    }

    pub(in crate::reactor) fn drain(&mut self) -> impl Iterator<Item = Event> {
        self.list.drain(..).filter_map(|event| {
            let (flags, data) = (event.flags, event.data);
            let token = data.u64();
            let over = EventFlags::HUP | EventFlags::ERR;
            let read = EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI | over;
            (token < ALARM).then_some(Event {
                token,
                readable: flags.intersects(read),
                writable: flags.intersects(EventFlags::OUT | over),
                closed: flags.intersects(EventFlags::RDHUP | over),
            })
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
