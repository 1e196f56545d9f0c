//! Signals that end the program, taken while `run` runs.
//!
//! A process has one disposition a signal, and safe code cannot set one back to what it was. So
//! the handler that is installed once stays, and does what the default would have done whenever
//! nothing here is running.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{SigId, flag, low_level};
use tractor_runtime::io::Io;
use tractor_runtime::signals::User;

/// A signal that asks the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    Interrupt,
    Terminate,
    HangUp,
    /// This one does not end it, but asks what it is doing.
    Dump,
}

impl Stop {
    pub(crate) const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
            Self::Dump => "SIGUSR1",
        }
    }

    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
            Self::HangUp => SIGHUP,
            Self::Dump => SIGUSR1,
        }
    }
}

/// One signal, taken until this is dropped.
pub(crate) struct Taken {
    presses: Io<UnixStream>,
    actions: Vec<SigId>,
    user: User,
}

impl Taken {
    /// `None` if the signal was ignored when the program came to run, as `nohup` and background
    /// jobs have it: then it stays ignored.
    pub(crate) fn new(stop: Stop) -> io::Result<Option<Self>> {
        let Some(user) = User::unless_ignored(stop.number())? else {
            return Ok(None);
        };
        let (ours, handlers) = UnixStream::pair()?;
        let mut taken = Self {
            presses: Io::new(ours)?,
            actions: Vec::new(),
            user,
        };
        if let Some(default) = taken.user.default()
            && stop != Stop::Dump
        {
            // Until somebody has taken notice of the first press, a second one ends the program
            // at once: it may be stuck in code that never comes back here.
            let armed = flag::register(stop.number(), default.clone())?;
            taken.actions.push(armed);
        }
        let told = low_level::pipe::register(stop.number(), handlers)?;
        taken.actions.push(told);
        Ok(Some(taken))
    }

    /// Waits for the next press.
    pub(crate) async fn pressed(&self) -> io::Result<()> {
        let read = |mut stream: &UnixStream| stream.read(&mut [0; 1]);
        self.presses.read_with(read).await?;
        if let Some(default) = self.user.default() {
            default.store(false, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            low_level::unregister(action);
        }
    }
}
