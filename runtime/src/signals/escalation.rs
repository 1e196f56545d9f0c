use std::time::Duration;

use super::SignalReceiver;
use crate::cause::{CancelCause, CancelKind};
use crate::error::Result;
use crate::scope::ScopeHandle;

/// Ends a scope in steps, one for each signal: the first asks it [to stop](ScopeHandle::stop), the
/// second cancels it, and the third does what the signal does by default.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{CancelScope, nursery, run, signals::Escalation, time::sleep_forever};
///
/// # const SIGUSR1: i32 = 10;
/// # fn raise(signal: i32) { signal_hook::low_level::raise(signal).unwrap() }
/// let outcome = run(async || {
///     let scope = CancelScope::new();
///     let escalation = Escalation::open([SIGUSR1], Duration::from_secs(10))?;
///     let handle = scope.handle();
///     nursery(async |n| {
///         let signals = n.start_soon(async move { escalation.run(&handle, |_| {}).await });
///         # raise(SIGUSR1);
///         # n.start_soon(async {
///         #     tractor_runtime::time::sleep(Duration::from_millis(20)).await?;
///         #     Ok(raise(SIGUSR1))
///         # });
///         let outcome = scope.run(async { Ok(sleep_forever().await?) }).await;
///         signals.cancel();
///         outcome
///     })
///     .await
/// });
/// assert!(outcome.unwrap().is_cancelled());
/// ```
#[derive(Debug)]
pub struct Escalation {
    signals: SignalReceiver,
    grace: Duration,
}

/// What a signal has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// The scope was asked to stop; it is cancelled when its grace is over.
    Stop(i32),
    /// The scope was cancelled. The next signal does what it does by default.
    Cancel(i32),
}

impl Escalation {
    /// Takes these signals, as a [`SignalReceiver`] does. A scope that was asked to stop is
    /// cancelled after `grace` without a second signal.
    ///
    /// # Errors
    ///
    /// Those of [`SignalReceiver::open`].
    pub fn open(signals: impl IntoIterator<Item = i32>, grace: Duration) -> Result<Self> {
        let signals = SignalReceiver::open(signals)?;
        Ok(Self { signals, grace })
    }

    /// Ends `scope` in steps, and calls `pressed` after each, until it is cancelled itself. Not to be
    /// run in `scope`.
    ///
    /// # Errors
    ///
    /// Cancellation.
    pub async fn run(self, scope: &ScopeHandle, mut pressed: impl FnMut(Press)) -> Result<()> {
        let first = self.signals.receive().await?;
        scope.stop(self.grace);
        pressed(Press::Stop(first));
        let second = self.signals.receive().await?;
        // Before anything else: what follows may take long.
        self.signals.let_default();
        let cause = CancelCause::new(CancelKind::Signal).with_reason(format!("signal {second}"));
        scope.cancel_because(cause);
        pressed(Press::Cancel(second));
        loop {
            // A handler of the host's is in charge from now on, if it has one.
            self.signals.receive().await?;
        }
    }
}
