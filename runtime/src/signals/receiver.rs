use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::{SigId, flag, low_level};

use super::disposition::User;
use crate::io::{Busy, Io};

/// Takes signals from what they do by default, until it is dropped.
///
/// A signal that comes several times before it is received is received once. Those that come
/// between two looks are received in the order of their numbers, and none before one that was
/// there earlier.
///
/// Signals that were not received when it is dropped are raised again, for whatever they do then.
///
/// ```
/// use tractor_runtime::{run, signals::SignalReceiver};
///
/// # const SIGUSR2: i32 = 12;
/// # fn raise(signal: i32) { signal_hook::low_level::raise(signal).unwrap() }
/// run(async || {
///     let signals = SignalReceiver::open([SIGUSR2])?;
///     raise(SIGUSR2);
///     assert_eq!(signals.receive().await?, SIGUSR2);
///     Ok(())
/// })
/// # .unwrap();
/// ```
#[derive(Debug)]
pub struct SignalReceiver {
    rings: Io<UnixStream>,
    taken: Vec<Taken>,
    /// Seen, and not received.
    seen: RefCell<VecDeque<i32>>,
    receiving: Cell<bool>,
}

/// One signal.
#[derive(Debug)]
struct Taken {
    signal: i32,
    came: Arc<AtomicBool>,
    actions: Vec<SigId>,
    user: User,
}

impl SignalReceiver {
    /// Takes these signals.
    ///
    /// # Errors
    ///
    /// [`NotASignal`], inside of an [`io::Error`], if there is none among them, or one that cannot
    /// be taken; those of the operating system. Then nothing is taken.
    pub fn open(signals: impl IntoIterator<Item = i32>) -> io::Result<Self> {
        let mut signals: Vec<i32> = signals.into_iter().collect();
        signals.sort_unstable();
        signals.dedup();
        if signals.is_empty() {
            return Err(NotASignal { number: None }.into());
        }
        if let Some(&number) = signals.iter().find(|&&number| !can_be_taken(number)) {
            let number = Some(number);
            return Err(NotASignal { number }.into());
        }
        let (ours, handlers) = UnixStream::pair()?;
        let mut receiver = Self {
            rings: Io::new(ours)?,
            taken: Vec::new(),
            seen: RefCell::default(),
            receiving: Cell::new(false),
        };
        for signal in signals {
            receiver.taken.push(Taken {
                signal,
                came: Arc::default(),
                actions: Vec::new(),
                user: User::new(signal)?,
            });
            let taken = receiver.taken.last_mut().expect("it was just put there");
            // First the flag, and then the ring that has somebody look at it.
            let came = flag::register(signal, taken.came.clone())?;
            taken.actions.push(came);
            let ring = low_level::pipe::register(signal, handlers.try_clone()?)?;
            taken.actions.push(ring);
        }
        Ok(receiver)
    }

    /// Waits for a signal, and gives its number. A checkpoint.
    ///
    /// # Errors
    ///
    /// Cancellation, and then none was taken; [`Busy`] if another task receives.
    pub async fn receive(&self) -> io::Result<i32> {
        let _receiving = Receiving::new(&self.receiving)?;
        self.rings
            .read_with(|mut rings| {
                // Before the look: what rings later is seen by the look, or rings again.
                while rings.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
                self.look();
                let signal = self.seen.borrow_mut().pop_front();
                signal.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            })
            .await
    }

    /// A signal that has come, without waiting.
    pub fn try_receive(&self) -> Option<i32> {
        self.look();
        self.seen.borrow_mut().pop_front()
    }

    /// From now on the next such signal does what it does by default.
    pub(super) fn let_default(&self) {
        for taken in &self.taken {
            if let Some(default) = taken.user.default() {
                default.store(true, Ordering::SeqCst);
            }
        }
    }

    fn look(&self) {
        let mut seen = self.seen.borrow_mut();
        for taken in &self.taken {
            if taken.came.swap(false, Ordering::SeqCst) && !seen.contains(&taken.signal) {
                seen.push_back(taken.signal);
            }
        }
    }
}

impl Drop for SignalReceiver {
    fn drop(&mut self) {
        for taken in &mut self.taken {
            for action in taken.actions.drain(..) {
                low_level::unregister(action);
            }
        }
        self.look();
        // Each has its own disposition again before the first is raised.
        let ignored = |taken: &Taken| taken.user.default().is_none();
        let seen = self.seen.take();
        let again: Vec<i32> = seen
            .into_iter()
            .filter(|signal| {
                // A handler of the host was called when the signal came.
                let taken = self.taken.iter().find(|taken| taken.signal == *signal);
                taken.is_some_and(|taken| !ignored(taken))
            })
            .collect();
        self.taken.clear();
        for signal in again {
            let _ = low_level::raise(signal);
        }
    }
}

struct Receiving<'a>(&'a Cell<bool>);

impl<'a> Receiving<'a> {
    fn new(receiving: &'a Cell<bool>) -> io::Result<Self> {
        if receiving.replace(true) {
            return Err(Busy::error());
        }
        Ok(Self(receiving))
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Whether a handler of ours may be installed for it.
fn can_be_taken(number: i32) -> bool {
    (1..=64).contains(&number) && !signal_hook::consts::FORBIDDEN.contains(&number)
}

/// What was to be received is no signal, or none that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASignal {
    number: Option<i32>,
}

impl fmt::Display for NotASignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(
                f,
                "{number} is not the number of a signal that can be taken"
            ),
            None => f.write_str("there is no signal to be taken"),
        }
    }
}

impl std::error::Error for NotASignal {}

impl From<NotASignal> for io::Error {
    fn from(error: NotASignal) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
