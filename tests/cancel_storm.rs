//! Many contexts on one connection that are cancelled by everybody at once: by their bodies, by tasks
//! beside these, by their endpoints, and with their whole actor by a third one.
//!
//! `STORM_ROUNDS` says how often, `STORM_SEED` from which seed on.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell as Flag, RefCell};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use common::{Cell, HangGuard, tree_of};
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use tractor::runtime::{Outcome as Ended, nursery, time};
use tractor::{
    ActorDied, Caller, Context, ContextCancelled, ContextOptions, Dialog, Error, Outcome, PeerLost,
    Portal, Result, SpawnOptions, endpoint, testing,
};

/// The system's allocator, with a count of the bytes that the process has asked for and not given
/// back: what one thread allocates another may free.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is passed on to `System` unchanged, which upholds the contract; counting
// neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `block` came from `System` through `alloc`, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Held by each test, so that the bytes are those of one.
static ALONE: Mutex<()> = Mutex::new(());

/// Contexts at a time.
const CONTEXTS: u64 = 100;

/// Rounds with one actor, before a third one ends it.
const ROUNDS_OF_AN_ACTOR: u64 = 10;

thread_local! {
    /// Endpoints and bodies that run in the actors of this thread.
    static LIVE: Flag<isize> = const { Flag::new(0) };
    /// How many contexts ended in each way.
    static ENDED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

fn tally(how: &'static str) {
    ENDED.with_borrow_mut(|ended| *ended.entry(how).or_default() += 1);
}

/// These ways to end were taken, or the storm shows nothing.
fn check_tally(ways: &[&str]) {
    let ended = ENDED.take();
    println!("{ended:?}");
    for &how in ways {
        assert!(ended.contains_key(how), "none {how}: {ended:?}");
    }
}

struct Live;

impl Live {
    fn new() -> Self {
        LIVE.set(LIVE.get() + 1);
        Self
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

/// What happens to one context, and when, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Plan {
    number: u64,
    body_cancels: Option<u64>,
    task_cancels: Option<u64>,
    endpoint_cancels: Option<u64>,
    endpoint_returns: Option<u64>,
    streams: bool,
}

impl Plan {
    fn random(number: u64, rng: &mut Rng) -> Self {
        let mut maybe = |of: u64| (rng.u64(0..of) == 0).then(|| rng.u64(0..20));
        let mut plan = Self {
            number,
            body_cancels: maybe(3),
            task_cancels: maybe(3),
            endpoint_cancels: maybe(3),
            endpoint_returns: maybe(3),
            streams: false,
        };
        plan.streams = rng.bool();
        let ends = [
            plan.body_cancels,
            plan.task_cancels,
            plan.endpoint_cancels,
            plan.endpoint_returns,
        ];
        if ends.iter().all(Option::is_none) {
            plan.endpoint_returns = Some(rng.u64(0..20));
        }
        plan
    }

    fn is_cancelled_here(&self) -> bool {
        self.body_cancels.is_some() || self.task_cancels.is_some()
    }
}

struct Storm;
impl Dialog for Storm {
    type Started = u64;
    type ToChild = u64;
    type ToParent = u64;
}

async fn stormy(ctx: &mut Context<Storm>, plan: Plan) -> Result<u64> {
    let _live = Live::new();
    ctx.started(plan.number).await?;
    nursery(async |n| {
        if let Some(when) = plan.endpoint_cancels {
            let ctx = ctx.clone();
            n.start_soon(async move {
                ms(when).await?;
                ctx.cancel();
                Ok(())
            });
        }
        if plan.streams {
            let stream = ctx.open_stream()?;
            n.start_soon(async move {
                // Until the other side has enough, or its window is full.
                for item in 0_u64.. {
                    if stream.send(&item).await.is_err() {
                        break;
                    }
                    if item % 20 == 0 {
                        ms(1).await?;
                    }
                }
                Ok(())
            });
        }
        match plan.endpoint_returns {
            Some(when) => ms(when).await?,
            None => time::sleep_forever().await?,
        }
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(plan.number)
}
endpoint!(stormy);

/// Has a third actor cancel this one.
async fn ends_by_third(third: SpawnedAs) -> Result<()> {
    tractor::nursery(async |an| {
        let options = third.options().enable(cancels_parent);
        let portal = an.start_actor("third", options).await?;
        portal.run(cancels_parent, ()).await?;
        Ok(time::sleep_forever().await?)
    })
    .await
}
endpoint!(ends_by_third);

async fn cancels_parent((): ()) -> Result<bool> {
    let parent = tractor::parent().ok_or(Error::msg("a child has a parent"))?;
    Ok(parent.cancel_actor().await)
}
endpoint!(cancels_parent);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum SpawnedAs {
    Thread,
    Memory,
}

impl SpawnedAs {
    fn options(self) -> SpawnOptions {
        match self {
            Self::Thread => SpawnOptions::new().in_thread(),
            Self::Memory => SpawnOptions::new().in_memory(),
        }
    }
}

async fn ms(count: u64) -> Result<()> {
    Ok(time::sleep(Duration::from_millis(count)).await?)
}

/// One actor: some rounds, and one in which it is cancelled by a third.
async fn storm(spawned_as: SpawnedAs, rounds: u64, rng: &mut Rng) -> Result<()> {
    let ended = tractor::nursery(async |an| {
        let options = spawned_as.options().enable(stormy).enable(ends_by_third);
        let portal = an.start_actor("actor", options).await?;
        for _ in 1..rounds {
            round(&portal, rng, None).await?;
        }
        let when = rng.u64(1..20);
        round(&portal, rng, Some((when, spawned_as))).await?;
        Ok(())
    })
    .await;
    // Whatever the nursery makes of an actor that others end.
    match ended {
        Err(error) if !error.is::<ContextCancelled>() && !error.is::<ActorDied>() => Err(error),
        _ => Ok(()),
    }
}

async fn round(portal: &Portal, rng: &mut Rng, third: Option<(u64, SpawnedAs)>) -> Result<()> {
    let plans: Vec<_> = (0..CONTEXTS)
        .map(|number| Plan::random(number, rng))
        .collect();
    let ended = nursery(async |n| {
        if let Some((when, spawned_as)) = third {
            n.start_soon(async move {
                ms(when).await?;
                let error = portal.run(ends_by_third, spawned_as).await.unwrap_err();
                let cancelled = error.downcast_ref::<ContextCancelled>();
                let by = cancelled.and_then(ContextCancelled::canceller);
                assert_eq!(by.map(|by| by.name()), Some("third"), "{error:?}");
                Ok(())
            });
        }
        let contexts: Vec<_> = plans
            .iter()
            .map(|&plan| n.start_soon(one(portal, plan, third.is_some())))
            .collect();
        let mut ended = 0;
        for context in contexts {
            context.await?;
            ended += 1;
        }
        Ok(ended)
    })
    .await?;
    assert_eq!(ended, CONTEXTS, "none is lost");
    Ok(())
}

/// Opens a context, and holds how it ends against who asked for that.
async fn one(portal: &Portal, plan: Plan, has_third: bool) -> Result<()> {
    let result = portal
        .open_context_with(
            ContextOptions::new(),
            stormy,
            plan,
            async |ctx: &Context<Storm, Caller<u64>>, number| {
                let _live = Live::new();
                assert_eq!(number, plan.number, "the first value of another context");
                body(ctx, plan).await
            },
        )
        .await;
    match result {
        Ok(Ended::Completed(Outcome::Returned(number))) => {
            assert_eq!(number, plan.number, "the value of another context");
            assert!(plan.endpoint_returns.is_some(), "{plan:?}");
            tally("returned");
        }
        Ok(Ended::Completed(Outcome::Cancelled(cancelled))) => {
            assert!(plan.is_cancelled_here(), "{plan:?}: {cancelled}");
            assert_eq!(by(&cancelled), "root", "{plan:?}: {cancelled}");
            tally("cancelled here");
        }
        Ok(Ended::Cancelled(cause)) => {
            assert!(plan.task_cancels.is_some(), "{plan:?}: {cause}");
            tally("body cut short");
        }
        Ok(Ended::Completed(other)) => panic!("{plan:?}: {other:?}"),
        Err(error) => {
            if error.is::<PeerLost>() {
                assert!(has_third, "{plan:?}: {error:?}");
                tally("lost");
                return Ok(());
            }
            let cancelled = error.downcast_ref::<ContextCancelled>();
            match cancelled.map(by) {
                Some("actor") => {
                    assert!(plan.endpoint_cancels.is_some(), "{plan:?}: {error:?}");
                    tally("by itself");
                }
                Some("third") => {
                    assert!(has_third, "{plan:?}: {error:?}");
                    tally("by the third");
                }
                _ => panic!("{plan:?}: {error:?}"),
            }
        }
    }
    Ok(())
}

async fn body(ctx: &Context<Storm, Caller<u64>>, plan: Plan) -> Result<Outcome<u64>> {
    nursery(async |n| {
        if let Some(when) = plan.task_cancels {
            let ctx = ctx.clone();
            n.start_soon(async move {
                ms(when).await?;
                ctx.cancel().await;
                Ok(())
            });
        }
        if plan.streams {
            let stream = ctx.open_stream()?;
            n.start_soon(async move {
                while let Ok(Some(_)) = stream.receive().await {}
                Ok(())
            });
        }
        if let Some(when) = plan.body_cancels {
            ms(when).await?;
            ctx.cancel().await;
        }
        let outcome = ctx.wait_for_result().await?;
        n.cancel();
        Ok(outcome)
    })
    .await
}

fn by(cancelled: &ContextCancelled) -> &str {
    cancelled.canceller().map_or("nobody", |uid| uid.name())
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("it is a number"))
}

fn seed() -> u64 {
    let seed = setting("STORM_SEED", fastrand::u64(..));
    println!("STORM_SEED={seed}");
    seed
}

#[test]
fn none_is_lost_and_none_is_laid_to_another() {
    let _alone = ALONE.lock();
    let seed = seed();
    let actors = setting("STORM_ROUNDS", 100).div_ceil(ROUNDS_OF_AN_ACTOR);
    let mut bytes = Vec::with_capacity(actors as usize);
    for actor in 0..actors {
        let seed = seed.wrapping_add(actor);
        // A limit for each, for the whole may be told to take hours.
        let _guard = HangGuard::new();
        let result = testing::run_seeded(seed, async || {
            storm(
                SpawnedAs::Memory,
                ROUNDS_OF_AN_ACTOR,
                &mut Rng::with_seed(seed),
            )
            .await
        });
        result.unwrap_or_else(|error| panic!("STORM_SEED={seed}: {error:?}"));
        assert_eq!(LIVE.get(), 0, "STORM_SEED={seed}: tasks are left");
        bytes.push(BYTES.load(Ordering::Relaxed));
    }
    check_tally(&[
        "returned",
        "cancelled here",
        "body cut short",
        "by itself",
        "by the third",
    ]);
    // Later actors leave no more behind than earlier ones, but for what grows once.
    let (early, late) = (bytes[bytes.len() / 2], bytes[bytes.len() - 1]);
    assert!(late - early < 4096, "{early} bytes, and then {late}");
}

#[test]
fn none_is_lost_over_sockets_either() {
    let _alone = ALONE.lock();
    let mut rng = Rng::with_seed(seed());
    tree_of(Cell::Thread, async |_: SpawnOptions| {
        storm(SpawnedAs::Thread, 3, &mut rng).await
    })
    .unwrap();
    assert_eq!(LIVE.get(), 0, "tasks are left");
    // Whether the third comes early enough is up to the machine here.
    check_tally(&["returned", "cancelled here", "by itself"]);
}
