//! The driver that works on the runtime's own thread: it sleeps where the descriptors are, and
//! nobody has to be woken to hand readiness over.
//!
//! # Why no readiness is lost
//!
//! A descriptor is registered once, and its events are told by the edge. Whoever waits has tried
//! before, in vain. What changed after that try is an event that has not been told yet, as events
//! are told between polls only, on the thread that polls. One that is told while nobody waits is of
//! no interest: whoever comes next tries first.
//!
//! That there is room to write is told only from when somebody waited for it, as else everything
//! that the other end reads would wake this thread: to ask for it has the system tell also what was
//! so before. It is asked for until room has been told of that nobody waited for.
//!
//! Where a stream was read to its end for now, the next reader need not find that out: `empty` says
//! so until there is an event. It is set on the thread that polls, after a read that came after all
//! events that were told; and should it be another runtime's that tells them, whoever then waits
//! moves the descriptor here first.
//!
//! A descriptor that is used under another runtime than before moves there, and the system tells
//! anew what it is ready for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::Direction;
use super::poller::{Events, Poller};
use crate::time::Instant;

/// What one runtime's descriptors are registered with.
#[derive(Debug)]
pub(crate) struct Reactor {
    poller: Poller,
    sources: Mutex<Sources>,
}

#[derive(Debug, Default)]
struct Sources {
    slots: Slab<Arc<Slot>>,
    generation: u32,
}

/// The thread's side of a reactor: who waits for it, and tells what it finds.
#[derive(Debug)]
pub(crate) struct Driver {
    reactor: Arc<Reactor>,
    events: Events,
    woken: Vec<Waker>,
    /// For when the alarm was set last.
    alarm: Option<Instant>,
}

impl Driver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::with(Poller::new()?))
    }

    /// One for which the system tells of nothing any more.
    #[cfg(all(test, target_os = "linux", not(tractor_portable_poller)))]
    pub(crate) fn broken() -> io::Result<Self> {
        Ok(Self::with(Poller::broken()?))
    }

    fn with(poller: Poller) -> Self {
        Self {
            reactor: Arc::new(Reactor {
                poller,
                sources: Mutex::default(),
            }),
            events: Events::new(),
            woken: Vec::new(),
            alarm: None,
        }
    }

    pub(crate) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Wakes those whose descriptors have become ready since this was last asked, without
    /// waiting.
    pub(crate) fn look(&mut self) {
        self.poll(false);
    }

    /// The same, but waits until there is an event, the bell is rung, or it is `until`.
    pub(crate) fn wait(&mut self, until: Option<Instant>) {
        self.set_alarm(until);
        self.poll(true);
    }

    /// Has a wait end, and on Linux the descriptor become readable, by `when` at the latest. One that
    /// is set for an earlier moment is left: it costs a wake-up, and less often than a deadline
    /// that is moved with every message costs system calls.
    pub(crate) fn set_alarm(&mut self, when: Option<Instant>) {
        let Some(when) = when else { return };
        let now = Instant::real_now();
        if !self.alarm.is_some_and(|set| now < set && set <= when) {
            self.alarm = Some(when);
            self.reactor
                .poller
                .set_alarm(when - now)
                .expect("an alarm of the system can be set");
        }
    }

    fn poll(&mut self, block: bool) {
        let mut there_is_more = self.poll_some(block);
        // What is left would be no news to a host that watches for edges.
        while there_is_more {
            there_is_more = self.poll_some(false);
        }
    }

    /// Tells as many events as there is room for; whether there may be more.
    fn poll_some(&mut self, block: bool) -> bool {
        self.reactor
            .poller
            .wait(&mut self.events, block)
            .expect("the system tells which descriptors are ready");
        let full = self.events.is_full();
        {
            let sources = lock(&self.reactor.sources);
            for event in self.events.drain() {
                if let Some(slot) = sources.find(event.token) {
                    if event.closed {
                        slot.closed.store(true, Ordering::Relaxed);
                    }
                    if event.readable {
                        slot.empty.store(false, Ordering::Relaxed);
                    }
                    let mut waiting = lock(&slot.waiting);
                    if event.readable {
                        waiting.read.wake(&mut self.woken);
                    }
                    if event.writable {
                        waiting.room_is_unwanted = waiting.write.is_empty();
                        waiting.write.wake(&mut self.woken);
                    }
                }
            }
        }
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        full
    }
}

impl Reactor {
    /// Ends a wait, this one or the next. From any thread.
    pub(crate) fn ring(&self) {
        self.poller.ring();
    }

    /// Becomes readable when there is something to look at.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn register(&self, fd: impl AsFd) -> io::Result<Arc<Slot>> {
        let mut sources = lock(&self.sources);
        sources.generation = sources.generation.wrapping_add(1) & GENERATION_MASK;
        let generation = sources.generation;
        let entry = sources.slots.vacant_entry();
        let slot = Arc::new(Slot {
            token: u64::from(generation) << 32 | entry.key() as u64,
            empty: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        self.poller.add(fd, slot.token)?;
        entry.insert(slot.clone());
        Ok(slot)
    }

    fn unregister(&self, fd: impl AsFd, slot: &Slot) -> io::Result<()> {
        let mut sources = lock(&self.sources);
        if sources.find(slot.token).is_some() {
            sources.slots.remove(slot.token as u32 as usize);
        }
        self.poller.remove(fd)
    }
}

/// Generations of slots are as long as leaves the largest tokens to the pollers.
const GENERATION_MASK: u32 = u32::MAX >> 2;

impl Sources {
    fn find(&self, token: u64) -> Option<&Arc<Slot>> {
        let slot = self.slots.get(token as u32 as usize)?;
        (slot.token == token).then_some(slot)
    }
}

/// Who waits for a descriptor.
#[derive(Debug)]
struct Slot {
    token: u64,
    /// Whether there was nothing left to read, and no event since.
    empty: AtomicBool,
    /// Whether the other end may have closed: that is told once, maybe together with data, and so
    /// nothing is taken for empty any more.
    closed: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    read: Waiters,
    write: Waiters,
    /// Whether room to write is told of.
    tells_of_room: bool,
    /// Whether it was last told of while nobody waited for it.
    room_is_unwanted: bool,
}

impl Waiting {
    fn of(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

#[derive(Debug, Default)]
struct Waiters {
    many: Vec<(u64, Waker)>,
    one: Option<Waker>,
    last: u64,
}

impl Waiters {
    fn wake(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.many.drain(..).map(|(_, waker)| waker));
        woken.extend(self.one.take());
    }

    fn is_empty(&self) -> bool {
        self.many.is_empty() && self.one.is_none()
    }

    fn add(&mut self, waker: &Waker) -> u64 {
        self.last += 1;
        self.many.push((self.last, waker.clone()));
        self.last
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.many.iter().position(|(other, _)| *other == ticket)
    }
}

/// A descriptor that is registered with the reactor of the runtime that uses it.
#[derive(Debug)]
pub(crate) struct Source<T> {
    /// `None` once it was taken out.
    io: Option<T>,
    /// How to get at the descriptor, also where nothing is known of the type.
    fd: fn(&T) -> BorrowedFd<'_>,
    home: Mutex<Home>,
}

#[derive(Clone, Debug)]
struct Home {
    reactor: Arc<Reactor>,
    slot: Arc<Slot>,
}

impl<T> Source<T> {
    pub(crate) fn new(io: T, reactor: &Arc<Reactor>) -> io::Result<Self>
    where
        T: AsFd,
    {
        let slot = reactor.register(&io)?;
        Ok(Self {
            io: Some(io),
            fd: T::as_fd,
            home: Mutex::new(Home {
                reactor: reactor.clone(),
                slot,
            }),
        })
    }

    pub(crate) fn io(&self) -> &T {
        self.io.as_ref().expect("it is taken out by value")
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        (self.fd)(self.io())
    }

    pub(crate) fn into_inner(mut self) -> io::Result<T> {
        self.unregister()?;
        Ok(self.io.take().expect("it is taken out once"))
    }

    /// Says that there was nothing left to read just now: until the next event nobody need try.
    pub(crate) fn set_empty(&self) {
        let slot = &lock(&self.home).slot;
        let closed = slot.closed.load(Ordering::Relaxed);
        slot.empty.store(!closed, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.home).slot.empty.load(Ordering::Relaxed)
    }

    /// Waits for the next event. The caller has tried before, and tries again after.
    pub(crate) fn next_event(&self, direction: Direction) -> NextEvent<'_, T> {
        NextEvent {
            source: self,
            direction,
            ticket: None,
        }
    }

    /// The same for one waiter a direction, who is never ready: it has to try whenever it is polled.
    pub(crate) fn poll_event(
        &self,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let home = match self.here() {
            Ok(home) => home,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let mut waiting = lock(&home.slot.waiting);
        match &mut waiting.of(direction).one {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        match self.ask_for_room(&home, &mut waiting, direction) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Has the system tell of room to write from now on if that is what is waited for, and no longer
    /// if nobody has waited for it lately.
    fn ask_for_room(
        &self,
        home: &Home,
        waiting: &mut Waiting,
        direction: Direction,
    ) -> io::Result<()> {
        let tell = match direction {
            Direction::Write => {
                waiting.room_is_unwanted = false;
                true
            }
            Direction::Read => waiting.tells_of_room && !waiting.room_is_unwanted,
        };
        if tell != waiting.tells_of_room {
            let poller = &home.reactor.poller;
            poller.tell_of_room(self.fd(), home.slot.token, tell)?;
            waiting.tells_of_room = tell;
        }
        Ok(())
    }

    /// The place with the reactor of the runtime that runs here, where it is moved if need be.
    fn here(&self) -> io::Result<MutexGuard<'_, Home>> {
        let mut home = lock(&self.home);
        let Some(reactor) = super::current() else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this descriptor belongs to a runtime that waits for it on its own thread: take it \
                 out, and make it anew where it is used",
            ));
        };
        if !Arc::ptr_eq(&reactor, &home.reactor) {
            let slot = reactor.register(self.fd())?;
            let before = std::mem::replace(&mut *home, Home { reactor, slot });
            // Those who wait under the other runtime have to come after it.
            let mut woken = Vec::new();
            {
                let mut waiting = lock(&before.slot.waiting);
                waiting.read.wake(&mut woken);
                waiting.write.wake(&mut woken);
            }
            for waker in woken {
                waker.wake();
            }
            before.reactor.unregister(self.fd(), &before.slot)?;
        }
        Ok(home)
    }

    fn unregister(&self) -> io::Result<()> {
        let home = lock(&self.home);
        home.reactor.unregister(self.fd(), &home.slot)
    }
}

impl<T> Drop for Source<T> {
    fn drop(&mut self) {
        if self.io.is_some()
            && let Err(error) = self.unregister()
        {
            log::warn!(target: "tractor::io", "a descriptor was not registered any more: {error}");
        }
    }
}

/// The future of [`Source::next_event`].
#[derive(Debug)]
pub(crate) struct NextEvent<'a, T> {
    source: &'a Source<T>,
    direction: Direction,
    ticket: Option<(Arc<Slot>, u64)>,
}

impl<T> NextEvent<'_, T> {
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some((slot, ticket)) = &self.ticket {
            let mut waiting = lock(&slot.waiting);
            let waiters = waiting.of(self.direction);
            let Some(at) = waiters.position(*ticket) else {
                drop(waiting);
                self.ticket = None;
                return Poll::Ready(Ok(()));
            };
            waiters.many[at].1.clone_from(cx.waker());
            return Poll::Pending;
        }
        let home = match self.source.here() {
            Ok(home) => home,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let mut waiting = lock(&home.slot.waiting);
        let asked = (self.source).ask_for_room(&home, &mut waiting, self.direction);
        if let Err(error) = asked {
            return Poll::Ready(Err(error));
        }
        let ticket = waiting.of(self.direction).add(cx.waker());
        self.ticket = Some((home.slot.clone(), ticket));
        Poll::Pending
    }
}

impl<T> Drop for NextEvent<'_, T> {
    fn drop(&mut self) {
        if let Some((slot, ticket)) = self.ticket.take() {
            let waker = {
                let mut waiting = lock(&slot.waiting);
                let waiters = waiting.of(self.direction);
                let at = waiters.position(ticket);
                at.map(|at| waiters.many.swap_remove(at))
            };
            drop(waker);
        }
    }
}

/// Nothing that is done under these locks leaves things half done when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
