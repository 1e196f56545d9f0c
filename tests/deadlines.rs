//! Deadlines that reach into another actor, and endpoints that say how long they are shielded.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use common::{Cell, HangGuard, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockets::{Peer, aid, any_port, aside, start};
use tractor::runtime::{
    CancelScope, Outcome as Ended, TooSlow, fail_after, nursery, shield, sync::Event, time,
};
use tractor::{
    CancelKind, Context, ContextCancelled, ContextOptions, Dialog, Error, Outcome, Portal, Result,
    RunOptions, SpawnOptions, endpoint, listen,
};

const SHORT: Duration = Duration::from_millis(100);

/// What a cancellation with a bound is given on top: the machine may be busy.
const SLACK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Saw {
    kind: String,
    by: Option<String>,
}

thread_local! {
    /// What cancelled the endpoint that ran last in this actor.
    static SAW: RefCell<Option<Saw>> = const { RefCell::new(None) };
}

async fn what_was_seen((): ()) -> Result<Option<Saw>> {
    Ok(SAW.take())
}
endpoint!(what_was_seen);

/// Sleeps, and remembers what woke it.
async fn sleeps((): ()) -> Result<()> {
    let Err(cancelled) = time::sleep_forever().await else {
        return Ok(());
    };
    let cause = cancelled.cause();
    SAW.set(Some(Saw {
        kind: cause.kind().to_string(),
        by: cause.peer().map(|peer| peer.name().to_owned()),
    }));
    Err(cancelled.into())
}
endpoint!(sleeps);

struct Plain;
impl Dialog for Plain {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

async fn sleeps_in_context(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    sleeps(()).await
}
endpoint!(sleeps_in_context);

/// Cannot be cancelled for so long, and says so.
async fn shielded(ctx: &mut Context<Plain>, limit: Duration) -> Result<u32> {
    ctx.shield_for(2 * limit, async {
        ctx.started(()).await?;
        time::sleep(limit).await?;
        Ok(7)
    })
    .await?
}
endpoint!(shielded);

/// The same, but says nothing.
async fn silently_shielded(ctx: &mut Context<Plain>, limit: Duration) -> Result<()> {
    ctx.started(()).await?;
    tractor::runtime::shield(time::sleep(limit)).await?;
    Ok(())
}
endpoint!(silently_shielded);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("deadlines");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    deadline_of_a_caller_is_its_own_error,
    deadline_around_a_context_is_its_own_error,
    call_in_time_is_not_disturbed,
    deadline_that_is_moved_later_is_moved_there_too,
    deadline_of_the_actor_is_not_that_of_a_context,
    context_that_timed_out_is_asked_when_its_run_is_over,
    shield_that_was_announced_is_waited_for,
    shield_that_was_not_announced_is_not,
    bound_of_a_cancellation_is_the_callers,
];

fn deadline_of_a_caller_is_its_own_error(cell: Cell) {
    with_actor(cell, async |portal| {
        let start = time::now();
        let error = fail_after(SHORT, portal.run(sleeps, ()))
            .await
            .expect_err("too slow");
        assert!(error.is::<TooSlow>(), "{error:?}");
        assert!(time::now() - start >= SHORT);
        let saw = portal
            .run(what_was_seen, ())
            .await?
            .expect("it was cancelled");
        assert_eq!(saw.kind, CancelKind::Deadline.to_string());
        assert_eq!(saw.by.as_deref(), Some("root"));
        Ok(())
    })
    .unwrap();
}

fn deadline_around_a_context_is_its_own_error(cell: Cell) {
    with_actor(cell, async |portal| {
        let start = time::now();
        let context = portal.open_context(sleeps_in_context, (), async |ctx, ()| {
            ctx.wait_for_result().await?;
            Ok(())
        });
        let error = fail_after(SHORT, context).await.expect_err("too slow");
        assert!(error.is::<TooSlow>(), "{error:?}");
        assert!(time::now() - start >= SHORT);
        let saw = portal
            .run(what_was_seen, ())
            .await?
            .expect("it was cancelled");
        assert_eq!(saw.kind, CancelKind::Deadline.to_string());
        Ok(())
    })
    .unwrap();
}

fn call_in_time_is_not_disturbed(cell: Cell) {
    with_actor(cell, async |portal| {
        let seen = fail_after(SLACK, portal.run(what_was_seen, ())).await?;
        assert_eq!(seen, None);
        // The deadline of that call is over before this one ends.
        let context = portal.open_context(sleeps_in_context, (), async |ctx, ()| {
            time::sleep(2 * SHORT).await?;
            assert!(ctx.outcome().is_none(), "it still runs");
            assert!(ctx.cancel().await);
            Ok(())
        });
        fail_after(SLACK, context).await
    })
    .unwrap();
}

fn deadline_that_is_moved_later_is_moved_there_too(cell: Cell) {
    with_actor(cell, async |portal| {
        let scope = tractor::runtime::CancelScope::new().timeout(SHORT);
        let handle = scope.handle();
        let ended = scope
            .run(async {
                portal
                    .open_context(sleeps_in_context, (), async |ctx, ()| {
                        handle.set_timeout(60 * SLACK);
                        // Longer than what was first said, and the slack on top of it.
                        time::sleep(4 * SHORT).await?;
                        assert!(ctx.outcome().is_none(), "{:?}", ctx.outcome());
                        ctx.cancel().await;
                        Ok(())
                    })
                    .await
            })
            .await?;
        assert!(matches!(ended, Ended::Completed(())), "{ended:?}");
        Ok(())
    })
    .unwrap();
}

/// An actor is ended by the deadline around its nursery, under a context of another task of this
/// actor, which has a deadline of its own, but a later one.
fn deadline_of_the_actor_is_not_that_of_a_context(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        let (there, open, kept) = (Event::new(), Event::new(), RefCell::new(None));
        nursery(async |n| {
            n.start_soon(async {
                there.wait().await?;
                let portal: Portal = kept.take().expect("it is there");
                let context = portal.open_context(sleeps_in_context, (), async |_, ()| {
                    open.set();
                    // For longer than a test may take.
                    Ok::<(), Error>(time::sleep(20 * SLACK).await?)
                });
                let error = fail_after(10 * SLACK, context).await.expect_err("it ends");
                let Some(cancelled) = error.downcast_ref::<ContextCancelled>() else {
                    panic!("{error:?}");
                };
                assert_eq!(cancelled.kind(), CancelKind::Deadline);
                assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
                Ok(())
            });
            let scope = CancelScope::new();
            let handle = scope.handle();
            let options = options.enable_module("deadlines");
            let ended = scope.run(tractor::nursery(async |an| {
                kept.replace(Some(an.start_actor("actor", options).await?));
                there.set();
                open.wait().await?;
                handle.set_timeout(SHORT);
                Ok::<(), Error>(time::sleep_forever().await?)
            }));
            assert!(ended.await?.timed_out());
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn context_that_timed_out_is_asked_when_its_run_is_over(cell: Cell) {
    let ctx = with_actor(cell, async |portal| {
        let kept = RefCell::new(None);
        let context = portal.open_context(sleeps_in_context, (), async |ctx, ()| {
            kept.replace(Some(ctx.clone()));
            // Until the endpoint has said that its time is over.
            shield(async {
                while ctx.remote_error().is_none() {
                    time::sleep(Duration::from_millis(1)).await?;
                }
                Ok::<(), Error>(())
            })
            .await
        });
        let error = fail_after(SHORT, context).await.expect_err("too slow");
        assert!(error.is::<TooSlow>(), "{error:?}");
        Ok(kept.take().expect("the body has run"))
    })
    .unwrap();
    let outcome = ctx.outcome().expect("it has ended").unwrap();
    let Outcome::Cancelled(cancelled) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cancelled.kind(), CancelKind::Deadline);
    assert_eq!(ctx.state_name(), "timed-out");
    assert!(ctx.open_stream().unwrap_err().is::<ContextCancelled>());
}

fn shield_that_was_announced_is_waited_for(cell: Cell) {
    with_actor(cell, async |portal| {
        let limit = Duration::from_millis(900);
        let options = ContextOptions::new().cancel_bound(Duration::from_millis(10));
        let ended = portal
            .open_context_with(options, shielded, limit, async |ctx, ()| {
                assert!(ctx.cancel().await, "it is waited for");
                match ctx.wait_for_result().await? {
                    Outcome::Returned(value) => Ok(value),
                    other => panic!("its value wins: {other:?}"),
                }
            })
            .await?;
        assert!(matches!(ended, Ended::Completed(7)), "{ended:?}");
        Ok(())
    })
    .unwrap();
}

fn shield_that_was_not_announced_is_not(cell: Cell) {
    with_actor(cell, async |portal| {
        let start = time::now();
        let limit = Duration::from_secs(2);
        portal
            .open_context(silently_shielded, limit, async |ctx, ()| {
                assert!(!ctx.cancel().await, "it is not answered in time");
                assert!(time::now() - start >= Duration::from_millis(616));
                assert!(matches!(ctx.wait_for_result().await?, Outcome::Unanswered));
                assert_eq!(ctx.state_name(), "unanswered");
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn bound_of_a_cancellation_is_the_callers(cell: Cell) {
    with_actor(cell, async |portal| {
        let start = time::now();
        let bound = Duration::from_millis(50);
        let options = ContextOptions::new().cancel_bound(bound);
        let limit = Duration::from_secs(2);
        portal
            .open_context_with(options, silently_shielded, limit, async |ctx, ()| {
                assert!(!ctx.cancel().await);
                let took = time::now() - start;
                assert!(took >= bound && took < bound + SLACK, "{took:?}");
                Ok(())
            })
            .await?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn endpoint_ends_in_time_though_its_caller_says_nothing_more() {
    let _guard = HangGuard::new();
    let run = || {
        RunOptions::new().enable(sleeps).run(async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut peer = Peer::new(&address);
                let mut aid = aid("mute", false);
                aid["x_features"] = json!({"causes": true, "discards": true});
                peer.send(&aid);
                peer.receive().expect("it says who it is");
                let mut call = start("mute", "deadlines", "sleeps");
                call["x_deadline_ms"] = json!(100);
                let began = Instant::now();
                peer.send(&call);
                assert_eq!(peer.receive().unwrap()["msg_type"], "StartAck");
                let error = peer.receive().expect("it answers");
                let took = began.elapsed();
                // What was given, and the least that is added to it.
                assert!(
                    took >= Duration::from_millis(150) && took < SLACK,
                    "{took:?}"
                );
                assert_eq!(error["boxed_type_str"], "ContextCancelled");
                assert_eq!(error["canceller"][0], "mute");
                assert_eq!(error["x_cause"]["kind"], "deadline");
            })
            .await
        })
    };
    run().unwrap();
}
