//! Scopes: entering, leaving, and cancelling through many of them.

use std::cell::Cell;
use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;

use tokio_util::sync::CancellationToken;
use tractor_runtime::{CancelScope, checkpoint, nursery, time::sleep_forever};

use crate::hosts;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

pub(super) fn workloads() -> Vec<Workload> {
    let mut workloads = vec![enter_and_exit()];
    workloads.extend([10, 100, 1_000].map(cancel_nested));
    workloads
}

const ENTRIES: usize = 10_000;

/// A scope is made, entered with a body that is ready at once, and left.
///
/// The clock runs over 10,000 of them; the figure is the time of one. tokio's nearest thing is a
/// child token and a future that runs until it is cancelled; moro's is a scope without children.
fn enter_and_exit() -> Workload {
    Workload::new("enter and exit a scope", Unit::Nanoseconds)
        .side(US, |watch| {
            hosts::tractor(async || {
                while watch.again() {
                    let started = watch.start();
                    for entry in 0..ENTRIES {
                        let scope = CancelScope::new();
                        black_box(scope.run(async { Ok(black_box(entry)) }).await?);
                    }
                    watch.stop(started, ENTRIES);
                }
                Ok(())
            });
        })
        .side("tokio", |watch| {
            hosts::tokio(async move {
                let parent = CancellationToken::new();
                while watch.again() {
                    let started = watch.start();
                    for entry in 0..ENTRIES {
                        let token = parent.child_token();
                        let outcome = token.run_until_cancelled(async { black_box(entry) }).await;
                        black_box(outcome);
                    }
                    watch.stop(started, ENTRIES);
                }
            });
        })
        .side("moro", |watch| {
            hosts::smol(async move |_| {
                while watch.again() {
                    let started = watch.start();
                    for entry in 0..ENTRIES {
                        black_box(moro_local::async_scope!(|_scope| black_box(entry)).await);
                    }
                    watch.stop(started, ENTRIES);
                }
            });
        })
        .trio("scope", 0)
        .target(Target::Times(0.15, "tokio"))
}

/// A task sits `depth` scopes deep in a wait, and the outermost scope is cancelled from another
/// task.
///
/// The clock starts before the call that cancels and stops when the task has been joined. Each
/// of tokio's levels has a child token of its own and runs until that is cancelled.
fn cancel_nested(depth: usize) -> Workload {
    Workload::new(format!("cancel {depth} nested scopes"), Unit::Microseconds)
        .side(US, move |watch| nested_scopes(watch, depth))
        .side("tokio", move |watch| nested_tokens(watch, depth))
        .trio("nested", depth)
        .point("scopes", depth, 1)
        .target(Target::Times(0.25, "tokio"))
}

fn nested_scopes(watch: Stopwatch, depth: usize) {
    hosts::tractor(async || {
        nursery(async |n| {
            while watch.again() {
                let outermost = CancelScope::new();
                let handle = outermost.handle();
                let blocked = Rc::new(Cell::new(false));
                let task = n.start_soon(scopes(outermost, depth, blocked.clone()));
                while !blocked.get() {
                    checkpoint().await?;
                }

                let started = watch.start();
                handle.cancel();
                task.await?;
                watch.stop(started, 1);
            }
            Ok(())
        })
        .await
    });
}

fn scopes(
    scope: CancelScope,
    depth: usize,
    blocked: Rc<Cell<bool>>,
) -> Nested<tractor_runtime::Result<()>> {
    Box::pin(async move {
        if depth == 1 {
            blocked.set(true);
            scope.run(async { Ok(sleep_forever().await?) }).await?;
        } else {
            let inner = scopes(CancelScope::new(), depth - 1, blocked);
            scope.run(inner).await?;
        }
        Ok(())
    })
}

fn nested_tokens(watch: Stopwatch, depth: usize) {
    hosts::tokio(async move {
        while watch.again() {
            let outermost = CancellationToken::new();
            let blocked = Rc::new(Cell::new(false));
            let task = tokio::task::spawn_local(tokens(outermost.clone(), depth, blocked.clone()));
            while !blocked.get() {
                tokio::task::yield_now().await;
            }

            let started = watch.start();
            outermost.cancel();
            task.await.expect("the task does not panic");
            watch.stop(started, 1);
        }
    });
}

fn tokens(token: CancellationToken, depth: usize, blocked: Rc<Cell<bool>>) -> Nested<()> {
    Box::pin(async move {
        if depth == 1 {
            blocked.set(true);
            token.run_until_cancelled(pending::<()>()).await;
        } else {
            let inner = tokens(token.child_token(), depth - 1, blocked);
            token.run_until_cancelled(inner).await;
        }
    })
}

/// Both sides box each level, because the depth is only known when they run.
type Nested<T> = Pin<Box<dyn Future<Output = T>>>;
