use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_lite::FutureExt;
use futures_lite::future::or;
use tractor_runtime::sync::Event;
use tractor_runtime::{Cancelled, NurseryClosed, NurseryHandle, shield};

use super::life::{Housing, live};
use super::{Exit, Watchdog};
use crate::transport::ByteStream;
use crate::wire::Uid;

/// An actor that is a task of its parent's runtime, until that has ended.
///
/// The task hears nothing of the scopes around it: like any other actor it is told to end through
/// its channel, and ends with it. It is a child of the nursery that the actor was started in, so
/// it is dropped with that.
#[derive(Debug)]
pub(crate) struct Task {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    uid: Uid,
    /// Set when it is not waited for any more.
    given_up: Event,
    exit: RefCell<Option<Exit>>,
    over: Event,
}

impl Task {
    /// Starts it, and gives this side's end of its channel. Processes that it starts are looked
    /// after by `watchdog`.
    pub(crate) fn spawn(
        uid: &Uid,
        watchdog: &Watchdog,
        tasks: &NurseryHandle,
    ) -> Result<(Self, ByteStream), NurseryClosed> {
        let (ours, theirs) = ByteStream::pair();
        let shared = Rc::new(Shared {
            uid: uid.clone(),
            given_up: Event::new(),
            exit: RefCell::default(),
            over: Event::new(),
        });
        let housing = Housing::Shared(watchdog.clone());
        let task = run(theirs, housing, Running(shared.clone()));
        tasks.start_soon(shield(task))?;
        log::debug!(target: "tractor::spawn", "started {uid} in memory");
        Ok((Self { shared }, ours))
    }

    /// Waits until nothing is left of it.
    pub(crate) async fn wait(&self) -> Result<Exit, Cancelled> {
        self.shared.over.wait().await?;
        let exit = self.shared.exit.borrow().clone();
        Ok(exit.unwrap_or_else(dropped))
    }

    /// Gives it up: when its task has its turn next it is dropped, with all that is in it.
    pub(crate) fn abandon(&self) {
        if !self.shared.over.is_set() {
            log::error!(
                target: "tractor::spawn",
                "{} is dropped: its task does not end", self.shared.uid,
            );
        }
        self.shared.given_up.set();
    }
}

impl Drop for Task {
    /// A task whose nursery was dropped is dropped by that. This is for one that nobody came to
    /// look after.
    fn drop(&mut self) {
        self.shared.given_up.set();
    }
}

/// Says when the task is gone, however it went.
struct Running(Rc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.over.set();
    }
}

/// All that the task does. How it ended is told to people.
async fn run(
    channel: ByteStream,
    housing: Housing,
    running: Running,
) -> tractor_runtime::Result<()> {
    let shared = &running.0;
    let given_up = async {
        // The shield around this hides every cancellation.
        let _ = shared.given_up.wait().await;
        None
    };
    // What is dropped when it is given up may panic, which is to be caught too.
    let lived = async { or(given_up, async { Some(live(channel, housing).await) }).await };
    let exit = match AssertUnwindSafe(lived).catch_unwind().await {
        Ok(Some(lived)) => Exit::lived("task", Ok(lived)),
        Ok(None) => dropped(),
        Err(panic) => Exit::lived("task", Err(panic)),
    };
    log::debug!(target: "tractor::spawn", "{} ended: {exit}", shared.uid);
    shared.exit.replace(Some(exit));
    Ok(())
}

fn dropped() -> Exit {
    Exit::cut_short("its task was dropped")
}
