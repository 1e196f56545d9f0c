use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::FutureExt;
use futures_lite::future::or;
use tractor_runtime::sync::Event;
use tractor_runtime::{Cancelled, NurseryClosed, NurseryHandle};

use super::life::{Housing, live};
use super::{Exit, Watchdog};
use crate::error::panic_text;
#[cfg(feature = "testing")]
use crate::testing::faults::channel;
use crate::transport::ByteStream;
use crate::wire::Uid;

/// An actor that is a task of its parent's runtime, until that has ended.
///
/// The task stands beside those of the actor that owns the runtime, and not among those of its
/// parent. So it hears nothing of the scopes there: like any other actor it is told to end through
/// its channel, and ends with it. And a deep tree is not polled through all of its levels.
/// Dropping this drops the task.
#[derive(Debug)]
pub(crate) struct Task {
    shared: Rc<Shared>,
}

struct Shared {
    uid: Uid,
    /// Not there while it is polled, and when it is over.
    life: RefCell<Option<Life>>,
    /// To be dropped as soon as it is not polled.
    given_up: Cell<bool>,
    task: RefCell<Option<Waker>>,
    exit: RefCell<Option<Exit>>,
    over: Event,
}

type Life = Pin<Box<dyn Future<Output = Exit>>>;

impl Task {
    /// Starts it among `tasks`, and gives this side's end of its channel. Processes that it starts
    /// are looked after by `watchdog`.
    pub(crate) fn spawn(
        uid: &Uid,
        watchdog: &Watchdog,
        tasks: &NurseryHandle,
    ) -> Result<(Self, ByteStream), NurseryClosed> {
        let (ours, theirs, doom) = channel(uid, tasks)?;
        let housing = Housing::Memory {
            watchdog: watchdog.clone(),
            tasks: tasks.clone(),
        };
        let killed = async {
            match doom {
                Some(doom) => doom.comes().await,
                None => pending().await,
            }
            None
        };
        let lived = async { Some(live(theirs, housing).await) };
        let life = AssertUnwindSafe(or(killed, lived)).catch_unwind();
        let shared = Rc::new(Shared {
            uid: uid.clone(),
            life: RefCell::new(Some(Box::pin(async {
                match life.await {
                    Ok(None) => Exit::cut_short("its task was killed"),
                    Ok(Some(lived)) => Exit::lived("task", Ok(lived)),
                    Err(panic) => Exit::lived("task", Err(panic)),
                }
            }))),
            given_up: Cell::new(false),
            task: RefCell::default(),
            exit: RefCell::default(),
            over: Event::new(),
        });
        let running = Running(shared.clone());
        tasks.start_soon(async move {
            poll_fn(|cx| running.0.poll(cx)).await;
            Ok(())
        })?;
        log::debug!(target: "tractor::spawn", "started {uid} in memory");
        Ok((Self { shared }, ours))
    }

    /// Waits until nothing is left of it.
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        self.shared.over.wait().await?;
        let exit = self.shared.exit.borrow().clone();
        Ok(exit.expect("it is there when it is over"))
    }

    /// Drops it, with all that is in it.
    pub(crate) fn end_now(&self) -> Exit {
        self.shared.give_up();
        let exit = self.shared.exit.borrow().clone();
        // It is dropped as soon as it is not polled any more.
        exit.unwrap_or_else(dropped)
    }

    /// Gives it up: it is dropped, with all that is in it.
    pub(crate) fn abandon(&self) {
        if !self.shared.over.is_set() {
            log::error!(
                target: "tractor::spawn",
                "{} is dropped: its task does not end", self.shared.uid,
            );
        }
        self.shared.give_up();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.give_up();
    }
}

impl Shared {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut life) = self.life.take() else {
            return Poll::Ready(());
        };
        self.task.replace(Some(cx.waker().clone()));
        match life.as_mut().poll(cx) {
            Poll::Ready(exit) => self.end(life, exit),
            Poll::Pending if self.given_up.get() => self.end(life, dropped()),
            Poll::Pending => {
                self.life.replace(Some(life));
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn give_up(&self) {
        self.given_up.set(true);
        let life = self.life.take();
        if let Some(life) = life {
            self.end(life, dropped());
        }
        let task = self.task.take();
        if let Some(task) = task {
            task.wake();
        }
    }

    fn end(&self, life: Life, exit: Exit) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(life))) {
            log::error!(
                target: "tractor::spawn",
                "{} panicked when it was dropped: {}", self.uid, panic_text(&*panic),
            );
        }
        log::debug!(target: "tractor::spawn", "{} ended: {exit}", self.uid);
        self.exit.replace(Some(exit));
        self.over.set();
    }
}

/// What is to happen to it, in tests.
#[cfg(not(feature = "testing"))]
enum Doom {}

#[cfg(not(feature = "testing"))]
impl Doom {
    async fn comes(self) {
        match self {}
    }
}

#[cfg(not(feature = "testing"))]
fn channel(
    _uid: &Uid,
    _tasks: &NurseryHandle,
) -> Result<(ByteStream, ByteStream, Option<Doom>), NurseryClosed> {
    let (ours, theirs) = ByteStream::pair();
    Ok((ours, theirs, None))
}

/// What the task has of it. With that it is dropped too.
struct Running(Rc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

fn dropped() -> Exit {
    Exit::cut_short("its task was dropped")
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.uid)
    }
}
