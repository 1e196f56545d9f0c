use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use pin_project_lite::pin_project;

use super::Runtime;
use crate::error::Result;
use crate::executor::slots::ROOT_LIST;
use crate::executor::waker::Key;
use crate::executor::{Core, Polled, Turn, poll_task};
use crate::reactor::Reactor;
use crate::scope::Entry;
use crate::scope::tree::NodeId;
use crate::testing::{Quiet, Wait};
use crate::time::Instant;
use crate::time::clock::Clock;

pin_project! {
    /// A runtime that has begun, with its main future. Whoever has it takes its turns; dropped before it
    /// is done, it takes down what is there.
    pub(super) struct Running<F> {
        root: Root,
        #[pin]
        main: Option<F>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            this.end();
        }
    }
}

/// What came of a turn.
pub(super) enum Step<T> {
    /// The main future is done, or panicked.
    Done(std::thread::Result<Result<T>>),
    /// Look at readiness, and take another turn.
    More,
    /// Wait until the waker is called, for readiness, or until then.
    Idle(Option<Instant>),
}

impl<F> Running<F> {
    /// Begins: calls `main`, whose future is polled by the first turn.
    pub(super) fn new(
        runtime: Runtime,
        reactor: Option<Arc<Reactor>>,
        location: &'static Location<'static>,
        main: impl FnOnce() -> F,
    ) -> Self {
        let root = Root::new(runtime, reactor, location);
        let main = {
            let _entered = root.core.enter();
            root.core.tell_run_started(root.key, root.node);
            main()
        };
        Self {
            root,
            main: Some(main),
        }
    }

    /// Ends the runtime: takes its tasks down, with the runtime current, and hands out the panic of
    /// the last of them, if one panicked.
    fn take_down(self: Pin<&mut Self>) -> std::thread::Result<()> {
        let mut this = self.project();
        let root = this.root;
        if root.over {
            return Ok(());
        }
        root.over = true;
        let (calls, dropped) = {
            let _entered = root.core.enter();
            let calls = root.core.finish_calls();
            root.core.close();
            let dropped = catch_unwind(AssertUnwindSafe(|| this.main.set(None)));
            root.core.drop_systems();
            root.core.tell_run_ended(root.key, root.node);
            (calls, dropped)
        };
        root.entry.abandon(&root.core, root.node);
        root.core.remove_node(root.node);
        dropped.and(calls)
    }

    /// The same for a runtime that is dropped: a panic goes on unless one is on its way.
    fn end(self: Pin<&mut Self>) {
        if let Err(panic) = self.take_down()
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl<T, F: Future<Output = Result<T>>> Running<F> {
    /// Takes a turn: runs what is ready, and what is due. With nothing left to do, `waker` is called by
    /// the next wake that comes from outside of a turn.
    pub(super) fn turn(self: Pin<&mut Self>, waker: &Waker) -> Step<T> {
        let this = self.project();
        let (root, mut main) = (this.root, this.main);
        root.tell_of_the_wait(None);
        loop {
            let (turn, worked) = {
                let _entered = root.core.enter();
                root.core.turn(|key| {
                    if key == root.key {
                        return poll_main(&root.core, key, root.node, main.as_mut());
                    }
                    root.core.poll_system(key);
                    Poll::Pending
                })
            };
            if worked {
                root.quiet.disturb();
                root.moved = true;
            }
            match turn {
                Turn::Done(result) => return Step::Done(result),
                // Woken at once, but readiness is looked at before.
                Turn::More => return Step::More,
                Turn::Idle(deadline) => {
                    if !root.core.call_me(waker) {
                        return Step::More;
                    }
                    if let Clock::Virtual(clock) = root.core.clock() {
                        clock.watch(waker);
                    }
                    let until = match root.quiet.wait(&root.core, deadline) {
                        Wait::Again => continue,
                        Wait::Look => return Step::More,
                        Wait::Until(when) => Some(when),
                        Wait::Forever => {
                            let _entered = root.core.enter();
                            root.core.report_deadlock(std::mem::take(&mut root.moved));
                            None
                        }
                    };
                    root.tell_of_the_wait(Some(deadline));
                    return Step::Idle(until);
                }
            }
        }
    }

    /// Ends the runtime, and tells what came of it.
    pub(super) fn finish(
        self: Pin<&mut Self>,
        result: std::thread::Result<Result<T>>,
    ) -> Result<T> {
        match (result, self.take_down()) {
            (Ok(result), Ok(())) => result,
            (Err(panic), _) | (Ok(_), Err(panic)) => resume_unwind(panic),
        }
    }

    /// Has the events of the runtime's reactor told by `tell`, with the runtime current, so that
    /// its tasks are woken the short way.
    pub(super) fn entered<R>(self: Pin<&mut Self>, tell: impl FnOnce() -> R) -> R {
        let this = self.project();
        let _entered = this.root.core.enter();
        tell()
    }
}

/// The main future's place in the tree, and what is known of what it waits for.
struct Root {
    core: Rc<Core>,
    entry: Entry,
    key: Key,
    node: NodeId,
    quiet: Quiet,
    /// Whether the instruments were told that it waits.
    waits: bool,
    /// Whether something has run since it was looked for a deadlock.
    moved: bool,
    over: bool,
}

impl Root {
    fn new(
        runtime: Runtime,
        reactor: Option<Arc<Reactor>>,
        location: &'static Location<'static>,
    ) -> Self {
        let Runtime { core, entry } = runtime;
        if let Some(reactor) = reactor {
            core.set_reactor(reactor);
        }
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
            quiet: Quiet::default(),
            waits: false,
            moved: false,
            over: false,
        }
    }

    /// Tells the instruments that the runtime begins to wait, until then at most, or does no longer.
    fn tell_of_the_wait(&mut self, begins: Option<Option<Instant>>) {
        if !self.core.is_instrumented() || self.waits == begins.is_some() {
            return;
        }
        self.waits = begins.is_some();
        let _entered = self.core.enter();
        self.core.tell(|instrument| match begins {
            Some(until) => instrument.before_wait(until),
            None => instrument.after_wait(),
        });
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
        // What cancelled the whole counts, if a scope further in was cancelled before it.
        Polled::Ready(Err(error))
            if error.is_cancelled() && core.tree(|tree| tree.is_effective(node)) =>
        {
            Ok(Err(core.cancelled_at(node).into()))
        }
        Polled::Ready(result) => Ok(result),
        Polled::Cancelled(cancelled) => match catch_unwind(AssertUnwindSafe(|| main.set(None))) {
            Ok(()) => Ok(Err(cancelled.into())),
            Err(panic) => Err(panic),
        },
        Polled::Panicked(panic) => Err(panic),
    })
}
