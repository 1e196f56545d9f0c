use std::cell::RefCell;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use futures_lite::future::or;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tractor_runtime::io::Io;
use tractor_runtime::sync::Event;
use tractor_runtime::{Cancelled, Error};

use super::boot::Adopted;
use super::home::END_LIMIT;
use super::life::{Housing, live};
use super::{Exit, Watchdog};
use crate::transport::ByteStream;
use crate::wire::Uid;

const WHAT: &str = "thread";

/// An actor on a thread of this process, with an executor of its own, until it is joined.
///
/// Nobody can kill it. It ends when it is cancelled and when its channel ends. Dropping this cuts
/// the channel and waits, but not for ever.
#[derive(Debug)]
pub(crate) struct Thread {
    uid: Uid,
    channel: UnixStream,
    /// Ends with the thread.
    over: Io<UnixStream>,
    thread: RefCell<Option<JoinHandle<Exit>>>,
    exit: RefCell<Option<Exit>>,
    abandoned: Event,
    _adopted: Adopted,
}

impl Thread {
    /// Starts it, and gives this side's end of its channel. Processes that it starts are looked
    /// after by `watchdog`.
    pub(crate) fn spawn(uid: &Uid, watchdog: &Watchdog) -> io::Result<(Self, ByteStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (over, ends) = UnixStream::pair()?;
        let (over, channel) = (Io::new(over)?, ours.try_clone()?);
        let adopted = watchdog.adopt(&ours)?;
        let ours = ByteStream::socket(ours)?;
        let watchdog = watchdog.clone();
        let thread = Builder::new()
            .name(uid.name().replace('\0', " "))
            .spawn(move || {
                let _ends = ends;
                run(theirs, watchdog)
            })?;
        log::debug!(target: "tractor::spawn", "started {uid} as a thread");
        let thread = Self {
            uid: uid.clone(),
            channel,
            over,
            thread: RefCell::new(Some(thread)),
            exit: RefCell::default(),
            abandoned: Event::new(),
            _adopted: adopted,
        };
        Ok((thread, ours))
    }

    /// Waits until the thread has ended, and joins it; or until it is abandoned.
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        loop {
            if let Some(exit) = &*self.exit.borrow() {
                return Ok(exit.clone());
            }
            let over = async {
                self.over.read_with(read).await?;
                Ok::<_, Error>(true)
            };
            let abandoned = async {
                self.abandoned.wait().await?;
                Ok(false)
            };
            match or(over, abandoned).await {
                Ok(true) => self.join(),
                Ok(false) => {}
                Err(error) => match error.cancelled() {
                    Some(cancelled) => return Err(cancelled.clone()),
                    // Nothing is ever written to it, so it is over all the same.
                    None => self.join(),
                },
            }
        }
    }

    /// Ends the channel, which an actor that comes back to its executor takes for its own end.
    pub(crate) fn cut(&self) {
        // It fails if it is cut already.
        let _ = self.channel.shutdown(Shutdown::Both);
    }

    /// Gives it up: what waits for it goes on, and so may the thread.
    pub(crate) fn abandon(&self) {
        if self.exit.borrow().is_some() {
            return;
        }
        self.cut();
        log::error!(
            target: "tractor::spawn",
            "{} is abandoned: its thread does not end, and may go on", self.uid,
        );
        self.thread.take();
        self.exit
            .replace(Some(Exit::cut_short("its thread was abandoned")));
        self.abandoned.set();
    }

    /// Cuts its channel, and blocks this thread until it has ended and is joined; or until then,
    /// and abandons it.
    pub(crate) fn end_now(&self, until: Instant) -> Exit {
        if self.exit.borrow().is_none() {
            self.cut();
            match self.is_over_by(until) {
                true => self.join(),
                false => self.abandon(),
            }
        }
        let exit = self.exit.borrow().clone();
        exit.expect("it was joined or abandoned")
    }

    /// Whether it was given up.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.is_set()
    }

    fn is_over_by(&self, until: Instant) -> bool {
        let mut fds = [PollFd::new(&self.over, PollFlags::IN)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("it is a few seconds");
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => {}
                polled => return polled.is_ok_and(|ready| ready > 0),
            }
        }
    }

    fn join(&self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let joined = thread.join();
        let exit = joined.unwrap_or_else(|panic| Exit::lived(WHAT, Err(panic)));
        log::debug!(target: "tractor::spawn", "{} ended: {exit}", self.uid);
        self.exit.replace(Some(exit));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end_now(Instant::now() + END_LIMIT);
    }
}

fn read(mut stream: &UnixStream) -> io::Result<usize> {
    stream.read(&mut [0; 1])
}

/// All that the thread does. How it ended is told to people.
fn run(channel: UnixStream, watchdog: Watchdog) -> Exit {
    let housing = Housing::Shared(watchdog);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        tractor_runtime::run(async || live(ByteStream::socket(channel)?, housing).await)
    }));
    Exit::lived(WHAT, lived)
}
