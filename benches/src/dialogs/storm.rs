use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tractor::runtime::sync::Event;
use tractor::runtime::time::{sleep, sleep_forever};
use tractor::runtime::{CancelScope, Outcome as Ended, move_on_after, nursery, shield};
use tractor::{
    ActorDied, Address, Caller, Context, ContextCancelled, Outcome, Portal, Result, SpawnOptions,
    Uid, connect, current_actor, endpoint,
};

use super::actors::Talk;
use super::relay::Relay;
use crate::stopwatch::Stopwatch;
use crate::workload::{US, Unit, Workload};

/// Contexts at once that are cancelled by their two sides.
const BY_SIDES: usize = 900;

/// After them, those that are cancelled with their actor, by a third one.
const BY_THIRD: usize = 100;

/// What has not ended by then is lost.
const LIMIT: Duration = Duration::from_secs(10);

/// How they are called who cancel.
const ROOT: &str = "root";
const ACTOR: &str = "actor";
const THIRD: &str = "third";

/// Contexts on one connection, on which one message of ten is late, cancelled by everybody who can:
/// by the scope around them, by their body, by their endpoint, by both sides at once, and at last
/// with their actor by a third one.
///
/// The clock runs from the start of the actor to when the last context has ended; the figure is the
/// time of one. What counts is that all end, on both sides, and say who cancelled them.
pub(super) fn workloads() -> Vec<Workload> {
    let name = "cancelled from all sides, one message of ten late";
    let workload = Workload::new(name, Unit::Microseconds)
        .side(US, ours)
        // A million cancels in all rounds together.
        .samples_a_round(70);
    vec![workload]
}

fn ours(watch: Stopwatch) {
    let directory = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .expect("sockets have a place");
    let relays = RefCell::default();
    tractor::run(async || {
        tractor::nursery(async |an| {
            let third = an.start_actor(THIRD, options()).await?;
            for number in 0.. {
                if !watch.again() {
                    break;
                }
                let at = directory.path().join(number.to_string());
                storm(&third, &at, &relays, &watch).await?;
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .expect("the measurement does not fail");
    for relay in relays.into_inner() {
        relay.join().expect("the line worked");
    }
}

fn options() -> SpawnOptions {
    SpawnOptions::new().enable_module(module_path!())
}

/// The life of one actor.
async fn storm(
    third: &Portal,
    at: &Path,
    relays: &RefCell<Vec<Relay>>,
    watch: &Stopwatch,
) -> Result<()> {
    let here = Tally::default();
    let there = Cell::new(Tally::default());
    let started = watch.start();
    let ended = tractor::nursery(async |an| {
        let address = Address::Unix(at.to_owned());
        let options = options().listen(address.clone());
        let actor = an.start_actor(ACTOR, options).await?;
        let line = at.with_extension("line");
        relays.borrow_mut().push(Relay::listen(&line, at)?);
        let late = connect(&Address::Unix(line)).await?;

        let plans = (0..BY_SIDES).map(|_| Plan::by_sides());
        many(&late, plans, &here, &|| ()).await?;
        there.set(actor.run(tally, ()).await?);

        let (open, all_open) = (Cell::new(0), Event::new());
        let opened = || {
            open.set(open.get() + 1);
            if open.get() == BY_THIRD {
                all_open.set();
            }
        };
        // The parent may hear of the actor's end on its own line first, and the contexts are not to
        // be cancelled for that.
        shield(nursery(async |n| {
            n.start_soon::<()>(async {
                all_open.wait().await?;
                sleep(shortly()).await?;
                third.run(cancels, address).await
            });
            let plans = (0..BY_THIRD).map(|_| Plan::default());
            many(&late, plans, &here, &opened).await
        }))
        .await
    })
    .await;
    watch.stop(started, BY_SIDES + BY_THIRD);
    match ended {
        // Whatever becomes of an actor that others end.
        Err(error) if !error.is::<ContextCancelled>() && !error.is::<ActorDied>() => Err(error)?,
        _ => {}
    }

    here.count(watch, "here", BY_SIDES + BY_THIRD);
    there.take().count(watch, "at the endpoint", BY_SIDES);
    Ok(())
}

/// How contexts ended at one side.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tally {
    ended: Cell<usize>,
    wrong: Cell<usize>,
}

impl Tally {
    fn add(&self, plan: Plan, canceller: Option<&Uid>) {
        self.ended.set(self.ended.get() + 1);
        if !plan.is_laid_to(canceller) {
            eprintln!("{plan:?} is laid to {canceller:?}");
            self.wrong.set(self.wrong.get() + 1);
        }
    }

    fn count(&self, watch: &Stopwatch, side: &str, of: usize) {
        watch.count(&format!("lost {side}"), of - self.ended.get(), of);
        watch.count(&format!("laid to another {side}"), self.wrong.get(), of);
    }
}

/// Who cancels a context, and how long after its start; nobody leaves it to the third actor.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Plan {
    scope: Option<Duration>,
    body: Option<Duration>,
    endpoint: Option<Duration>,
}

impl Plan {
    /// By one at least.
    fn by_sides() -> Self {
        let who = fastrand::u8(1..8);
        let cancels = |bit| (who & bit != 0).then(shortly);
        Self {
            scope: cancels(1),
            body: cancels(2),
            endpoint: cancels(4),
        }
    }

    fn is_laid_to(self, canceller: Option<&Uid>) -> bool {
        match canceller.map(Uid::name) {
            Some(ROOT) => self.scope.is_some() || self.body.is_some(),
            Some(ACTOR) => self.endpoint.is_some(),
            Some(THIRD) => self.scope.or(self.body).or(self.endpoint).is_none(),
            _ => false,
        }
    }
}

/// Up to 2 ms.
fn shortly() -> Duration {
    Duration::from_micros(fastrand::u64(..2000))
}

/// Opens contexts side by side, says of each when it is open, and waits until all have ended.
async fn many(
    portal: &Portal,
    plans: impl Iterator<Item = Plan>,
    tally: &Tally,
    opened: &dyn Fn(),
) -> Result<()> {
    let all = nursery(async |n| {
        for plan in plans {
            n.start_soon::<()>(async move {
                tally.add(plan, one(portal, plan, opened).await?.as_ref());
                Ok(())
            });
        }
        Ok(())
    });
    move_on_after(LIMIT, all).await.map(drop)
}

/// Opens a context, and says who cancelled it.
async fn one(portal: &Portal, plan: Plan, opened: &dyn Fn()) -> Result<Option<Uid>> {
    let around = CancelScope::new();
    let scope = around.handle();
    let body = async |ctx: &Context<Talk, Caller<()>>, ()| {
        opened();
        if let Some(after) = plan.scope {
            scope.set_timeout(after);
        }
        if let Some(after) = plan.body {
            sleep(after).await?;
            ctx.cancel().await;
        }
        ctx.wait_for_result().await
    };
    Ok(
        match around.run(portal.open_context(stormy, plan, body)).await {
            Ok(Ended::Completed(Outcome::Cancelled(cancelled))) => cancelled.canceller().cloned(),
            // The scope around it is this actor's own.
            Ok(Ended::Cancelled(_)) => Some(current_actor()?.uid().clone()),
            Ok(Ended::Completed(_)) => None,
            Err(error) => error
                .downcast_ref::<ContextCancelled>()
                .and_then(|cancelled| cancelled.canceller().cloned()),
        },
    )
}

thread_local! {
    static ENDPOINTS: Tally = Tally::default();
}

async fn stormy(ctx: &mut Context<Talk>, plan: Plan) -> Result<()> {
    ctx.started(()).await?;
    let cancelled = async {
        if let Some(after) = plan.endpoint {
            sleep(after).await?;
            ctx.cancel();
        }
        sleep_forever().await
    };
    let cancelled = cancelled.await;
    ENDPOINTS.with(|tally| tally.add(plan, ctx.canceller().as_ref()));
    Ok(cancelled?)
}
endpoint!(stormy);

/// How the contexts ended at this side.
async fn tally((): ()) -> Result<Tally> {
    Ok(ENDPOINTS.with(|tally| Tally {
        ended: tally.ended.take().into(),
        wrong: tally.wrong.take().into(),
    }))
}
endpoint!(tally);

/// Cancels the actor at this address.
async fn cancels(address: Address) -> Result<()> {
    let cancelled = connect(&address).await?.cancel_actor().await;
    assert!(cancelled, "it answers");
    Ok(())
}
endpoint!(cancels);
