//! The way in: a root actor on this thread.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::{CancelCause, CancelKind, Guest, Runtime, finally, time};

use crate::actor::{Actor, Enabled, ListenOptions, host};
use crate::discovery::{Membership, Plan, Role};
use crate::dump;
use crate::endpoint::{Endpoint, Table, path_of};
use crate::error::{Error, Result};
use crate::signals::{Stop, Taken};
use crate::spawn::{Exposed, Watchdog, enter_if_actor, is_entered_aside, on_the_wire};
use crate::transport::Address;
use crate::wire::{Limits, Uid};

/// How long the actors of a tree may take to say what they do when SIGUSR1 asks for it.
const DUMP_LIMIT: Duration = Duration::from_secs(1);

/// Runs `main` as the root actor of a tree, on this thread, until it is done.
///
/// In a process that was started as an actor this serves that actor instead, and ends the
/// process with it: `main` is not called.
///
/// The first SIGINT, SIGTERM or SIGHUP cancels `main`, with the cause
/// [`CancelKind::Signal`]; another one kills the children that are still there. One that comes
/// before this thread took notice of the first, because it is stuck in code that does not come
/// back, ends the program as if it had not been taken. What the error means for the exit status of the program tells [`exit_code`].
///
/// # Errors
///
/// Those of `main`; [`BootError`](crate::BootError) if two endpoints have one name.
///
/// # Panics
///
/// Inside of another `run` on the same thread, and when `main` panics.
#[track_caller]
pub fn run<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    RunOptions::new().run(main)
}

/// What [`run`] does besides running `main`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    name: String,
    signals: Vec<Stop>,
    exposed: Vec<Exposed>,
    plan: Plan,
    plain: bool,
    limits: Limits,
}

impl RunOptions {
    /// The name `root`, all four signals, and nothing enabled.
    pub fn new() -> Self {
        Self {
            name: "root".into(),
            signals: Stop::ALL.into_iter().chain([Stop::Dump]).collect(),
            exposed: Vec::new(),
            plan: Plan::default(),
            plain: false,
            limits: Limits::new(),
        }
    }

    /// The name of the actor.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Lets other actors run this endpoint here: those that this one starts, and those that
    /// connect to where it listens.
    #[must_use]
    pub fn enable<K>(mut self, endpoint: impl Endpoint<K>) -> Self {
        self.exposed.push(Exposed::Function(path_of(endpoint)));
        self
    }

    /// Lets other actors run every endpoint of this module and of those below it.
    #[must_use]
    pub fn enable_module(mut self, module: impl Into<String>) -> Self {
        self.exposed.push(Exposed::Module(module.into()));
        self
    }

    /// Where actors of this tree listen for others, and find them: with the registrars at these
    /// addresses.
    ///
    /// If one of them is there, this actor joins it: it and all that it starts, and what these
    /// start, can be found there by their names, in whatever program. If none is there, this
    /// actor becomes the registrar, and listens at all of the addresses itself. Of several
    /// programs that start at once, one becomes it, and the others join.
    ///
    /// An actor that is to be found also listens. Where, it can be [told](Self::listen); else one
    /// that joins takes any port of this host, or a socket in the directory of its registrar's.
    /// Its entry is gone when it is.
    ///
    /// Port 0 is no registrar's, and stands for any that is free: this actor becomes the
    /// registrar there.
    ///
    /// [`run`](Self::run) fails with [`RegistryError::Occupied`](crate::RegistryError::Occupied) if
    /// somebody who is no registrar listens at one of them.
    #[must_use]
    pub fn registry(self, registrars: impl IntoIterator<Item = Address>) -> Self {
        self.with(Role::Either, registrars)
    }

    /// As [`registry`](Self::registry), but without a registrar there
    /// [`run`](Self::run) fails with [`RegistryError::Absent`](crate::RegistryError::Absent).
    #[must_use]
    pub fn join_registry(self, registrars: impl IntoIterator<Item = Address>) -> Self {
        self.with(Role::Member, registrars)
    }

    /// As [`registry`](Self::registry), but if there is a registrar already
    /// [`run`](Self::run) fails with [`RegistryError::Exists`](crate::RegistryError::Exists).
    #[must_use]
    pub fn be_registrar(self, registrars: impl IntoIterator<Item = Address>) -> Self {
        self.with(Role::Registrar, registrars)
    }

    fn with(mut self, role: Role, registrars: impl IntoIterator<Item = Address>) -> Self {
        self.plan.role = role;
        self.plan.registrars = registrars.into_iter().collect();
        self
    }

    /// An address at which the actor listens from the beginning, beside the others that it was
    /// given; as a registrar also at those of the [registry](Self::registry).
    ///
    /// [`run`](Self::run) fails with [`ListenError`](crate::ListenError) if it cannot.
    #[must_use]
    pub fn listen(mut self, address: Address) -> Self {
        self.plan.listen.push(address);
        self
    }

    /// How it listens there.
    #[must_use]
    pub fn listen_options(mut self, options: ListenOptions) -> Self {
        self.plan.options = options;
        self
    }

    /// Whether the actor speaks to peers of this library as it does to all others: in the protocol
    /// that they have in common with those in other languages, without flow control and the causes
    /// of cancellations. It is for programs that are to behave alike with both.
    #[must_use]
    pub fn plain_protocol(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// What peers may make the actor hold, and the actors of its tree that are given no other
    /// [limits](crate::SpawnOptions::limits). The defaults of [`Limits`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether SIGINT cancels `main`.
    #[must_use]
    pub fn sigint(self, take: bool) -> Self {
        self.signal(Stop::Interrupt, take)
    }

    /// Whether SIGTERM cancels `main`.
    #[must_use]
    pub fn sigterm(self, take: bool) -> Self {
        self.signal(Stop::Terminate, take)
    }

    /// Whether SIGHUP cancels `main`.
    #[must_use]
    pub fn sighup(self, take: bool) -> Self {
        self.signal(Stop::HangUp, take)
    }

    /// Whether SIGUSR1 has the whole tree [dumped](crate::dump_tree) to the standard error.
    #[must_use]
    pub fn sigusr1(self, take: bool) -> Self {
        self.signal(Stop::Dump, take)
    }

    fn signal(mut self, signal: Stop, take: bool) -> Self {
        self.signals.retain(|other| *other != signal);
        if take {
            self.signals.push(signal);
        }
        self
    }

    /// Runs the actor for what others call here, until it is cancelled, by a signal or by
    /// somebody who may. `up` is called when it listens, and is registered.
    ///
    /// # Errors
    ///
    /// Those of `up` and of [`run`](Self::run), and the cancellation unless another actor asked
    /// for it.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run) does.
    #[track_caller]
    pub fn run_daemon(self, up: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        self.run(async || {
            up().await?;
            match time::sleep_forever().await {
                Err(cancelled) if cancelled.cause().peer().is_none() => Err(cancelled.into()),
                _ => Ok(()),
            }
        })
    }

    /// See [`run`](fn@run).
    ///
    /// # Errors
    ///
    /// Those of [`run`](fn@run), and why the actor cannot be reached or found as it is to be.
    ///
    /// # Panics
    ///
    /// As [`run`](fn@run) does.
    #[track_caller]
    pub fn run<T>(self, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        enter_if_actor();
        tractor_runtime::run(async || self.host(main).await)
    }

    /// The root actor as a future, for any executor: as [`run`](Self::run), but it takes no signals,
    /// and the program's other work goes on beside it.
    ///
    /// A host whose actors are processes calls [`enter_if_actor`] first thing in its `main`, for
    /// its children are the same program. Where it did not, `main` here fails to start any in a
    /// child, so that nothing recurses.
    ///
    /// Dropped before it is done, it kills the actors that were started and waits until they are
    /// gone, with nothing cancelled before. To end it in order, cancel what it runs.
    ///
    /// # Errors
    ///
    /// The future gives those of [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// The future panics when `main` does.
    #[track_caller]
    pub fn run_in<T>(
        self,
        main: impl AsyncFnOnce() -> Result<T>,
    ) -> impl Future<Output = Result<T>> {
        let runtime = Runtime::builder().build();
        runtime.run_in(async || self.without_signals().host(main).await)
    }

    /// The root actor as a guest in somebody else's loop, which has it take its turns: as
    /// [`run_in`](Self::run_in) otherwise.
    ///
    /// [`Guest::end`] cancels it, and waits until it has ended in order.
    ///
    /// # Errors
    ///
    /// Those of the operating system, if it has no descriptors left for a runtime.
    #[track_caller]
    pub fn guest<'main, T>(
        self,
        main: impl AsyncFnOnce() -> Result<T> + 'main,
    ) -> io::Result<Guest<'main, T>>
    where
        T: 'main,
    {
        let runtime = Runtime::builder().build();
        runtime.guest(async || self.without_signals().host(main).await)
    }

    /// Runs `main` as the root of a tree in a test or a simulation: with a virtual clock that jumps
    /// when everybody waits, and in an order that `seed` decides. No signal is taken.
    ///
    /// Actors that are started [in memory](crate::SpawnOptions::in_memory) are under the same
    /// clock and the same order, and so a tree of them takes no time, and repeats exactly. Of
    /// threads and processes the clock knows nothing: it may jump while they are at work.
    ///
    /// # Errors
    ///
    /// Those of [`run`](fn@run). The seed is then printed.
    ///
    /// # Panics
    ///
    /// As [`run`](fn@run) does.
    #[cfg(feature = "testing")]
    #[track_caller]
    pub fn run_seeded<T>(self, seed: u64, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let options = self.without_signals();
        tractor_runtime::testing::run_seeded(seed, async || options.host(main).await)
    }

    pub(crate) fn without_signals(mut self) -> Self {
        self.signals.clear();
        self
    }

    /// Runs `main` as the root actor, in the runtime that this is called in.
    pub(crate) async fn host<T>(self, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let table = Table::new()?;
        let uid = Uid::fresh(self.name);
        let enabled = Enabled::from_wire(&on_the_wire(&self.exposed, &table));
        let actor = Actor::new(uid, table, enabled, Watchdog::default(), self.limits);
        if is_entered_aside() {
            actor.goes_astray();
        }
        host(actor, async |actor| {
            if self.plain {
                actor.be_plain();
            }
            take_signals(actor, &self.signals)?;
            let membership = self.plan.carry_out(actor).await?;
            // What all of a program may be in, and not to be in each of these futures.
            finally(Box::pin(main()), Membership::LEAVE_LIMIT, async || {
                membership.leave().await;
            })
            .await
        })
        .await
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The exit status that a program is to have after [`run`] gave this error: 128 and the number
/// of the signal that cancelled it (130 for SIGINT), and 1 for anything else.
pub fn exit_code(error: &Error) -> u8 {
    let cause = error.cancelled().map(|cancelled| cancelled.cause());
    let signal = cause
        .filter(|cause| cause.kind() == CancelKind::Signal)
        .and_then(CancelCause::reason);
    let signal = signal.and_then(|name| Stop::ALL.into_iter().find(|stop| stop.name() == name));
    signal.map_or(1, |stop| 128 + stop.number() as u8)
}

/// Cancels the actor at the first signal, and kills its children at every further one.
fn take_signals(actor: &Rc<Actor>, signals: &[Stop]) -> Result<()> {
    let first = Rc::new(Cell::new(true));
    for &stop in signals {
        let Some(taken) = Taken::new(stop)? else {
            continue;
        };
        let first = first.clone();
        let services = actor.services();
        let actor = actor.clone();
        services.start_soon::<()>(async move {
            loop {
                taken.pressed().await?;
                log::info!(target: "tractor::actor", "{}", stop.name());
                if stop == Stop::Dump {
                    let dump = dump::of(&actor, DUMP_LIMIT).await?;
                    // It is for people who look there; there is nobody else to be told.
                    let _ = io::stderr().write_all(dump.as_bytes());
                } else if first.replace(false) {
                    actor.cancel(CancelCause::new(CancelKind::Signal).with_reason(stop.name()));
                } else {
                    actor.kill_children();
                }
            }
        })?;
    }
    Ok(())
}
