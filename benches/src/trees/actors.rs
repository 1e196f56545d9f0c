//! Actors with contexts on them and actors below them.

use serde::{Deserialize, Serialize};
use tractor::runtime::nursery;
use tractor::runtime::time::sleep_forever;
use tractor::{ActorNursery, Context, Dialog, Portal, Result, SpawnOptions, endpoint};

use super::Shape;
use crate::population::{MARK, Mark};

/// Actors that can do all that is here, and are counted.
pub(super) fn options(mark: &Mark) -> SpawnOptions {
    SpawnOptions::new()
        .enable_module(module_path!())
        .env(MARK, mark.text())
}

/// Starts actors side by side, with so many contexts on each, and others below them. Runs `body`
/// when all are there.
pub(super) async fn grow(
    an: &ActorNursery,
    shape: Shape,
    contexts: usize,
    mark: &Mark,
    body: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    nursery(async |n| {
        let mut starts = Vec::new();
        for number in 0..shape.first {
            starts.push(n.start(async move |status| {
                let name = format!("actor{number}");
                let portal = an.start_actor(&name, options(mark)).await?;
                occupy(&portal, shape.below(), contexts, || status.started(())).await
            }));
        }
        for start in starts {
            start.await?;
        }
        body().await
    })
    .await
}

/// Opens the contexts on one actor, and holds them.
async fn occupy(
    portal: &Portal,
    below: Option<Shape>,
    contexts: usize,
    opened: impl FnOnce(),
) -> Result<()> {
    nursery(async |n| {
        let mut starts = Vec::new();
        for _ in 0..contexts {
            starts.push(n.start(async move |status| {
                let held = async |_: &Held, ()| {
                    status.started(());
                    Ok(sleep_forever().await?)
                };
                portal.open_context(holds, (), held).await
            }));
        }
        for start in starts {
            start.await?;
        }
        if let Some(below) = below {
            n.start(async move |status| {
                let held = async |_: &Held, ()| {
                    status.started(());
                    Ok(sleep_forever().await?)
                };
                let numbers = Below {
                    first: below.first,
                    width: below.width,
                    levels: below.levels,
                    contexts,
                };
                portal.open_context(heads, numbers, held).await
            })
            .await?;
        }
        opened();
        Ok(())
    })
    .await
}

type Held = Context<Silence, tractor::Caller<()>>;

/// A dialog without a word, but that the actor's side is there.
pub(super) struct Silence;
impl Dialog for Silence {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

pub(super) async fn holds(ctx: &mut Context<Silence>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    Ok(sleep_forever().await?)
}
endpoint!(holds);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Below {
    first: usize,
    width: usize,
    levels: usize,
    contexts: usize,
}

/// Has actors below it.
pub(super) async fn heads(ctx: &mut Context<Silence>, below: Below) -> Result<()> {
    let shape = Shape {
        first: below.first,
        width: below.width,
        levels: below.levels,
    };
    // They inherit the mark of this one.
    let mark = Mark::inherited();
    tractor::nursery(async |an| {
        grow(an, shape, below.contexts, &mark, async || {
            ctx.started(()).await?;
            Ok(sleep_forever().await?)
        })
        .await
    })
    .await
}
endpoint!(heads);

/// Says in which process.
pub(super) async fn process((): ()) -> Result<i32> {
    Ok(rustix::process::getpid().as_raw_pid())
}
endpoint!(process);
