use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::running::{Running, Step};
use crate::error::Result;
use crate::executor::{Core, Instrument, RuntimeHandle, try_current};
use crate::reactor::{Driver, Reactor};
use crate::scope::{Entry, ScopeHandle, Spec};
use crate::testing::{Rng, VirtualClock};
use crate::time::clock::Clock;

/// Runs `main` on this thread until it is done.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::{move_on_after, run, time::sleep_forever};
///
/// let outcome = run(async || {
///     move_on_after(Duration::from_millis(1), async {
///         sleep_forever().await?;
///         Ok(())
///     })
///     .await
/// });
/// assert!(outcome.unwrap().timed_out());
/// ```
///
/// # Errors
///
/// Those of `main`, and of the operating system if it has no descriptors left for a runtime.
///
/// # Panics
///
/// Inside of another `run` on the same thread, and when `main` panics.
#[track_caller]
pub fn run<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    Runtime::builder().build().run(main)
}

/// Whether this code runs inside of a runtime.
pub fn in_runtime() -> bool {
    try_current().is_some()
}

/// A runtime that is about to run.
#[derive(Debug)]
pub struct Runtime {
    pub(super) core: Rc<Core>,
    pub(super) entry: Entry,
}

impl Runtime {
    /// A runtime with settings.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// A handle to the scope around everything: cancelled, `main` is, and whatever came of that is
    /// what [`run`](Self::run) returns.
    pub fn root(&mut self) -> ScopeHandle {
        self.entry.handle()
    }

    /// A handle for other threads, to have functions run on this one once the runtime runs.
    pub fn handle(&self) -> RuntimeHandle {
        self.core.handle()
    }

    /// Runs `main` on this thread until it is done.
    ///
    /// # Errors
    ///
    /// Those of `main`, and of the operating system if it has no descriptors left for a runtime.
    ///
    /// # Panics
    ///
    /// Inside of another `run` on the same thread, and when `main` panics, or a call that was given to
    /// a [`RuntimeHandle`].
    #[track_caller]
    pub fn run<T>(self, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        assert!(
            !in_runtime(),
            "`run` was called from inside of a running tractor runtime"
        );
        let location = Location::caller();
        let mut driver = Driver::new()?;
        let reactor = driver.reactor().clone();
        let bell = Waker::from(Arc::new(Bell(reactor.clone())));
        let begin = || main();
        let mut running = pin!(Running::new(self, Some(reactor), location, begin));
        let result = loop {
            match running.as_mut().turn(&bell) {
                Step::Done(result) => break result,
                Step::More => running.as_mut().entered(|| driver.look()),
                Step::Idle(when) => running.as_mut().entered(|| driver.wait(when)),
            }
        };
        running.finish(result)
    }
}

/// Ends a wait of the reactor.
struct Bell(Arc<Reactor>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring();
    }
}

/// Settings of a [`Runtime`].
#[derive(Default)]
pub struct RuntimeBuilder {
    clock: Option<VirtualClock>,
    seed: Option<u64>,
    instruments: Vec<Rc<dyn Instrument>>,
}

impl RuntimeBuilder {
    /// Takes the time from a virtual clock.
    #[must_use]
    pub fn clock(mut self, clock: VirtualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Runs tasks that are ready at the same time in an order that `seed` decides.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells `instrument` what happens in the runtime, besides those that were given before.
    #[must_use]
    pub fn instrument(mut self, instrument: Rc<dyn Instrument>) -> Self {
        self.instruments.push(instrument);
        self
    }

    /// The runtime.
    #[track_caller]
    pub fn build(self) -> Runtime {
        let clock = self.clock.map_or(Clock::Real, Clock::Virtual);
        let core = Core::new(clock, self.seed.map(Rng::new));
        for instrument in self.instruments {
            core.add_instrument(instrument);
        }
        Runtime {
            core,
            entry: Entry::Spec(Spec::new(Location::caller())),
        }
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("clock", &self.clock)
            .field("seed", &self.seed)
            .field("instruments", &self.instruments.len())
            .finish()
    }
}
