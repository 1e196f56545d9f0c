use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::executor::slots::ROOT_LIST;
use crate::executor::waker::Key;
use crate::executor::{Core, Polled, RuntimeHandle, Turn, poll_task, try_current};
use crate::reactor::{self, Alarm};
use crate::scope::tree::NodeId;
use crate::scope::{Entry, ScopeHandle, Spec};
use crate::testing::{Quiet, Rng, VirtualClock};
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
/// Those of `main`.
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
    core: Rc<Core>,
    entry: Entry,
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
    /// Those of `main`.
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
        let mut root = Root::new(self, Location::caller());
        let main = {
            let _entered = root.core.enter();
            main()
        };
        let mut main = pin!(Some(main));
        let result = reactor::block_on(poll_fn(|cx| root.poll(cx, main.as_mut())));
        let (calls, dropped) = {
            let _entered = root.core.enter();
            let calls = root.core.finish_calls();
            root.core.close();
            let dropped = catch_unwind(AssertUnwindSafe(|| main.set(None)));
            root.core.drop_systems();
            (calls, dropped)
        };
        root.leave();
        match (result, dropped.and(calls)) {
            (Ok(result), Ok(())) => result,
            (Err(panic), _) | (Ok(_), Err(panic)) => resume_unwind(panic),
        }
    }
}

/// Settings of a [`Runtime`].
#[derive(Debug, Default)]
pub struct RuntimeBuilder {
    clock: Option<VirtualClock>,
    seed: Option<u64>,
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

    /// The runtime.
    #[track_caller]
    pub fn build(self) -> Runtime {
        let clock = self.clock.map_or(Clock::Real, Clock::Virtual);
        Runtime {
            core: Core::new(clock, self.seed.map(Rng::new)),
            entry: Entry::Spec(Spec::new(Location::caller())),
        }
    }
}

/// The main future's place in the tree, and what it waits for between turns.
struct Root {
    core: Rc<Core>,
    entry: Entry,
    key: Key,
    node: NodeId,
    alarm: Alarm,
    quiet: Quiet,
}

impl Root {
    fn new(runtime: Runtime, location: &'static Location<'static>) -> Self {
        let Runtime { core, entry } = runtime;
        let key = core.with_slots(|slots| slots.insert(ROOT_LIST, 0));
        let node = core.tree_mut(|tree| tree.insert(None, Some(key), location));
        core.set_main(node);
        entry.enter(&core, node);
        core.wake(key);
        Self {
            core,
            entry,
            key,
            node,
            alarm: Alarm::default(),
            quiet: Quiet::default(),
        }
    }

    /// Takes turns until there is nothing to do for now.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut main: Pin<&mut Option<impl Future<Output = Result<T>>>>,
    ) -> Poll<std::thread::Result<Result<T>>> {
        loop {
            let (turn, worked) = {
                let _entered = self.core.enter();
                self.core.turn(|key| {
                    if key == self.key {
                        return poll_main(&self.core, key, self.node, main.as_mut());
                    }
                    self.core.poll_system(key);
                    Poll::Pending
                })
            };
            if worked {
                self.quiet.disturb();
            }
            match turn {
                Turn::Done(result) => return Poll::Ready(result),
                Turn::More => {
                    // Woken at once, but readiness is looked at before.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Idle(deadline) => {
                    if !self.core.call_me(cx.waker()) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let wait = self.quiet.wait(&self.core, deadline);
                    match wait {
                        crate::testing::Wait::Again => {}
                        crate::testing::Wait::Look => {
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        crate::testing::Wait::Until(when) => {
                            if self.alarm.poll(when, cx).is_pending() {
                                return Poll::Pending;
                            }
                        }
                        crate::testing::Wait::Forever => {
                            self.alarm.unset();
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }

    fn leave(self) {
        self.entry.abandon(&self.core, self.node);
        self.core.remove_node(self.node);
    }
}

fn poll_main<T>(
    core: &Rc<Core>,
    key: Key,
    node: NodeId,
    mut main: Pin<&mut Option<impl Future<Output = Result<T>>>>,
) -> Poll<std::thread::Result<Result<T>>> {
    let polled = poll_task(core, key, node, |cx| match main.as_mut().as_pin_mut() {
        Some(main) => main.poll(cx),
        None => Poll::Pending,
    });
    Poll::Ready(match polled {
        Polled::Pending => return Poll::Pending,
        Polled::Ready(result) => Ok(result),
        Polled::Cancelled(cancelled) => match catch_unwind(AssertUnwindSafe(|| main.set(None))) {
            Ok(()) => Ok(Err(cancelled.into())),
            Err(panic) => Err(panic),
        },
        Polled::Panicked(panic) => Err(panic),
    })
}
