//! Signals that end the program, taken while `run` runs.
//!
//! A process has one disposition a signal, and safe code cannot set one back to what it was. So
//! the handler that is installed once stays, and does what the default would have done whenever
//! nothing here is running.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{SigId, flag, low_level};
use tractor_runtime::io::Io;

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
        let Some(user) = User::new(stop)? else {
            return Ok(None);
        };
        let (ours, handlers) = UnixStream::pair()?;
        let mut taken = Self {
            presses: Io::new(ours)?,
            actions: Vec::new(),
            user,
        };
        if let Some(default) = &taken.user.default
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
        if let Some(default) = &self.user.default {
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

/// What this process does with a signal, besides what the runs that took it do.
struct Hooked {
    /// Whether the signal does what it does by default; `None` if the host has a handler of its
    /// own, which is then called beside ours.
    default: Option<Arc<AtomicBool>>,
    users: usize,
}

/// What a process does with a signal is the one thing here that belongs to all of it.
static HOOKED: Mutex<Option<HashMap<Stop, Hooked>>> = Mutex::new(None);

/// While there is one, the signal does not do what it does by default.
struct User {
    stop: Stop,
    default: Option<Arc<AtomicBool>>,
}

impl User {
    /// `None` if the signal is ignored.
    fn new(stop: Stop) -> io::Result<Option<Self>> {
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let hooked = match hooked.get_or_insert_default().entry(stop) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let default = match disposition(stop.number()) {
                    Disposition::Ignored => return Ok(None),
                    Disposition::Handled => None,
                    Disposition::Default => {
                        let default = Arc::new(AtomicBool::new(true));
                        flag::register_conditional_default(stop.number(), default.clone())?;
                        Some(default)
                    }
                };
                slot.insert(Hooked { default, users: 0 })
            }
        };
        hooked.users += 1;
        if let Some(default) = &hooked.default {
            default.store(false, Ordering::SeqCst);
        }
        Ok(Some(Self {
            stop,
            default: hooked.default.clone(),
        }))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let hooked = hooked
            .as_mut()
            .and_then(|hooked| hooked.get_mut(&self.stop));
        let Some(hooked) = hooked else { return };
        hooked.users -= 1;
        if let (0, Some(default)) = (hooked.users, &hooked.default) {
            default.store(true, Ordering::SeqCst);
        }
    }
}

enum Disposition {
    Default,
    Ignored,
    Handled,
}

/// Where there is no way to know, it is the usual one.
fn disposition(signal: i32) -> Disposition {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    if has("SigIgn:") {
        Disposition::Ignored
    } else if has("SigCgt:") {
        Disposition::Handled
    } else {
        Disposition::Default
    }
}
