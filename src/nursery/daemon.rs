use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::sync::Event;
use tractor_runtime::time::Instant;
use tractor_runtime::{Error, Result, checkpoint_if_cancelled, time};

use super::Nest;
use super::child::Child;
use crate::error::{ActorDied, SpawnError};
use crate::portal::Portal;
use crate::spawn::{SpawnOptions, seconds};
use crate::transport::ByteStream;

/// What is done when an actor ends that nobody had asked to: see
/// [`start_daemon`](crate::ActorNursery::start_daemon).
///
/// ```
/// use std::time::Duration;
/// use tractor::Restart;
///
/// let restart = Restart::on_failure()
///     .limit(5, Duration::from_secs(60))
///     .delay(Duration::from_millis(100));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    when: When,
    most: usize,
    within: Duration,
    delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Never,
    OnFailure,
    Always,
}

impl Restart {
    /// The nursery fails: [`ActorDied`].
    pub fn never() -> Self {
        Self::new(When::Never)
    }

    /// It is started again, unless it has ended with the exit status 0 (or, if it is no process,
    /// neither failed nor panicked): then it is done, which is no error.
    pub fn on_failure() -> Self {
        Self::new(When::OnFailure)
    }

    /// It is started again however it ended.
    pub fn always() -> Self {
        Self::new(When::Always)
    }

    fn new(when: When) -> Self {
        Self {
            when,
            most: 3,
            within: Duration::from_secs(10),
            delay: Duration::ZERO,
        }
    }

    /// How many times it is started again within any time of this length, at most: one time more
    /// is an error of the nursery, [`RestartLimit`]. 3 within 10 s by default.
    #[must_use]
    pub fn limit(mut self, most: usize, within: Duration) -> Self {
        self.most = most;
        self.within = within;
        self
    }

    /// How long it takes until it is started again. By default no time.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// An actor that is started again when it ends: from
/// [`start_daemon`](crate::ActorNursery::start_daemon).
///
/// It belongs to the nursery, and dropping this changes nothing. Clones are the same daemon.
#[derive(Clone)]
pub struct Daemon {
    state: Rc<State>,
}

/// One life of a daemon.
type Life = Pin<Box<dyn Future<Output = Result<()>>>>;

struct State {
    name: String,
    child: RefCell<Rc<Child>>,
    /// When it was started again.
    restarts: RefCell<VecDeque<Instant>>,
    count: Cell<u64>,
    /// Set when there is another child, or none will come, and then replaced.
    changed: RefCell<Rc<Event>>,
    is_over: Cell<bool>,
}

impl Daemon {
    /// Its name. Each time it is started it has another [`Uid`](crate::Uid).
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// A way into the actor as it is now: while it is being started again, this waits until it is
    /// there. A checkpoint. What was asked of it before it ended has failed with
    /// [`PeerLost`](crate::PeerLost), and is not repeated.
    ///
    /// # Errors
    ///
    /// [`DaemonOver`] when it will not be started again; and cancellation.
    pub async fn portal(&self) -> Result<Portal> {
        checkpoint_if_cancelled().await?;
        loop {
            let changed = self.state.changed.borrow().clone();
            let child = self.state.child.borrow().clone();
            child.booted().wait().await?;
            match child.portal() {
                Ok(portal) if portal.is_connected() => return Ok(portal),
                _ if self.state.is_over.get() => {
                    let name = self.state.name.clone();
                    return Err(DaemonOver { name }.into());
                }
                _ => changed.wait().await?,
            }
        }
    }

    /// How many times it was started again.
    pub fn restarts(&self) -> u64 {
        self.state.count.get()
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("name", &self.state.name)
            .field("restarts", &self.restarts())
            .finish()
    }
}

/// Begins the life of a daemon. The future sees it through all of its lives.
pub(super) fn begin(
    nest: Nest,
    child: Rc<Child>,
    channel: ByteStream,
    options: SpawnOptions,
    restart: Restart,
) -> (Daemon, impl Future<Output = Result<()>>) {
    let state = Rc::new(State {
        name: child.uid().name().into(),
        child: RefCell::new(child.clone()),
        restarts: RefCell::default(),
        count: Cell::new(0),
        changed: RefCell::default(),
        is_over: Cell::new(false),
    });
    let over = Over(state.clone());
    let life = child.supervise(channel);
    let lives = async move {
        let state = over.0.clone();
        let mut life: Life = Box::pin(life);
        loop {
            let ended = life.await;
            let child = state.child.borrow().clone();
            let why = match ended {
                Ok(()) if child.is_asked() => return Ok(()),
                // It was told to who wanted it. Who started it again wants it no more.
                Ok(()) => match child.portal() {
                    Err(error) if state.count.get() > 0 => error,
                    _ => return Ok(()),
                },
                Err(error) => match error.downcast_ref::<ActorDied>() {
                    Some(died) if restart.when == When::OnFailure && !died.exit.is_failure() => {
                        return Ok(());
                    }
                    Some(_) if restart.when != When::Never => error,
                    _ => return Err(error),
                },
            };
            life = match state.again(&nest, &options, restart, why).await? {
                Some(life) => life,
                None => return Ok(()),
            };
        }
    };
    (Daemon { state }, lives)
}

impl State {
    /// Starts it again, as often as it takes and is allowed; not at all once everybody was asked to
    /// end.
    async fn again(
        &self,
        nest: &Nest,
        options: &SpawnOptions,
        restart: Restart,
        mut why: Error,
    ) -> Result<Option<Life>> {
        loop {
            if !self.may_again(restart) {
                return Err(RestartLimit {
                    name: self.name.clone(),
                    most: restart.most,
                    within: restart.within,
                    last: why,
                }
                .into());
            }
            log::warn!(target: "tractor::spawn", "{} is started again: {why}", self.name);
            or(time::sleep(restart.delay), nest.asked.wait()).await?;
            if nest.asked.is_set() {
                return Ok(None);
            }
            self.count.set(self.count.get() + 1);
            match nest.spawn(&self.name, options) {
                Ok((child, channel)) => {
                    *self.child.borrow_mut() = child.clone();
                    self.changed.take().set();
                    return Ok(Some(Box::pin(child.supervise(channel))));
                }
                Err(failed) => why = failed.into(),
            }
        }
    }
}

impl State {
    /// Whether it is within the limit to start it again now.
    fn may_again(&self, restart: Restart) -> bool {
        let now = time::now();
        let mut restarts = self.restarts.borrow_mut();
        restarts.retain(|at| now - *at < restart.within);
        let may = restarts.len() < restart.most;
        if may {
            restarts.push_back(now);
        }
        may
    }
}

/// Tells those who wait for a daemon that there will be none.
struct Over(Rc<State>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        self.0.changed.take().set();
    }
}

/// An actor has ended too often to be started again.
#[derive(Debug)]
pub struct RestartLimit {
    name: String,
    most: usize,
    within: Duration,
    last: Error,
}

impl RestartLimit {
    /// The name of the actor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended the last time: an [`ActorDied`] or a [`SpawnError`].
    pub fn last(&self) -> &Error {
        &self.last
    }
}

impl fmt::Display for RestartLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the actor `{}` has ended again after it was started again {} times within {}: {}",
            self.name,
            self.most,
            seconds(self.within),
            self.last
        )
    }
}

impl std::error::Error for RestartLimit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let died = self.last.downcast_ref::<ActorDied>();
        let died = died.map(|died| died as &(dyn std::error::Error + 'static));
        died.or_else(|| Some(self.last.downcast_ref::<SpawnError>()?))
    }
}

/// A daemon has ended and is not started again.
#[derive(Clone, Debug)]
pub struct DaemonOver {
    name: String,
}

impl fmt::Display for DaemonOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the actor `{}` has ended, and is not started again",
            self.name
        )
    }
}

impl std::error::Error for DaemonOver {}
