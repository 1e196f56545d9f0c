//! Actors of one tree that talk to each other, and cancel each other.

mod common;
#[path = "common/places.rs"]
mod places;

use std::cell::{Cell as Flag, RefCell};
use std::fmt;
use std::time::Duration;

use common::{Cell, in_every_cell};
use places::tree_of_peers;
use serde::{Deserialize, Serialize, Serializer};
use tractor::runtime::{shield, time};
use tractor::{
    Caller, Context, ContextCancelled, Dialog, Error, MsgTypeError, Outcome, Portal,
    RemoteActorError, Result, SpawnOptions, StreamClosed, endpoint, find_actor, wait_for_actor,
};

struct Plain;
impl Dialog for Plain {
    type Started = ();
    type ToChild = ();
    type ToParent = u32;
}

async fn sleep_here(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep_here);

async fn count_up(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for number in 0.. {
        stream.send(&number).await?;
        time::sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}
endpoint!(count_up);

/// Cannot be encoded.
struct Opaque;

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is opaque"))
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        unreachable!("it is never sent")
    }
}

struct Opaques;
impl Dialog for Opaques {
    type Started = Opaque;
    type ToChild = ();
    type ToParent = ();
}

/// Fails to start while it talks to somebody else, whom it cancels.
async fn fail_to_start(ctx: &mut Context<Opaques>, peer: String) -> Result<()> {
    let peer = reach(&peer).await?;
    let body = async |peer_ctx: &Context<Plain, Caller<()>>, ()| {
        let stream = peer_ctx.open_stream()?;
        assert_eq!(stream.receive().await?, Some(0));
        let started = ctx.started(Opaque).await;
        assert!(peer_ctx.cancel().await);
        started
    };
    peer.open_context(count_up, (), body).await
}
endpoint!(fail_to_start);

thread_local! {
    /// Whether `just_call` has seen what became of its peer.
    static WAS_TOLD: Flag<bool> = const { Flag::new(false) };
}

async fn was_told((): ()) -> Result<bool> {
    Ok(WAS_TOLD.get())
}
endpoint!(was_told);

/// Takes what `count_up` at the peer sends, until that is cancelled.
async fn just_call(ctx: &mut Context<Plain>, peer: String) -> Result<()> {
    let peer = reach(&peer).await?;
    let mut id = None;
    let body = async |peer_ctx: &Context<Plain, Caller<()>>, ()| {
        let stream = peer_ctx.open_stream()?;
        assert_eq!(stream.receive().await?, Some(0));
        ctx.started(()).await?;
        while let Ok(item) = stream.receive().await {
            assert!(item.is_some(), "it does not end by itself");
        }
        let error = peer_ctx.wait_for_result().await.unwrap_err();
        let Some(cancelled) = error.downcast_ref::<ContextCancelled>() else {
            panic!("{error:?}")
        };
        assert_eq!(name(cancelled.canceller()), "canceller");
        assert_eq!(cancelled.src_uid().name(), "sleeper");
        assert_eq!(name(peer_ctx.canceller().as_ref()), "canceller");
        assert!(!peer_ctx.cancel_called() && !peer_ctx.cancel_acked());
        let remote = peer_ctx.remote_error().expect("it came from there");
        assert_eq!(remote.id(), error.id());
        assert_eq!(ctx.canceller(), None);
        id = Some(error.id());
        WAS_TOLD.set(true);
        Err::<(), _>(error)
    };
    let error = peer.open_context(count_up, (), body).await.unwrap_err();
    assert_eq!(Some(error.id()), id);
    Err(error)
}
endpoint!(just_call);

/// Cancels the actor there when it is told to.
async fn cancel_there(ctx: &mut Context<Plain>, peer: String) -> Result<()> {
    let peer = reach(&peer).await?;
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    stream.receive().await?;
    assert!(peer.cancel_actor().await);
    Ok(time::sleep_forever().await?)
}
endpoint!(cancel_there);

/// What a body fails with.
#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of the body")
    }
}

impl std::error::Error for Own {}

async fn reach(name: &str) -> Result<Portal> {
    Ok(find_actor(name).await?.expect("it is there"))
}

fn name(uid: Option<&tractor::Uid>) -> &str {
    uid.map_or("nobody", |uid| uid.name())
}

/// Runs a test with actors of these names.
fn with_actors<T>(
    cell: Cell,
    names: &[&str],
    body: impl AsyncFnOnce(&[Portal]) -> Result<T>,
) -> Result<T> {
    tree_of_peers(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("peers");
            let mut portals = Vec::new();
            for name in names {
                portals.push(an.start_actor(name, options.clone()).await?);
            }
            let result = body(&portals).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    endpoint_that_fails_to_start_and_cancels_its_peer,
    third_actor_cancels_a_peer,
    body_fails_while_it_is_told_of_a_third_actor,
    actor_that_a_peer_starts_for_another,
];

// test_inter_peer_cancellation.py::test_do_not_swallow_error_before_started_by_remote_contextcancelled
fn endpoint_that_fails_to_start_and_cancels_its_peer(cell: Cell) {
    let error = with_actors(cell, &["failing", "counting"], async |portals| {
        portals[0]
            .open_context(
                fail_to_start,
                "counting".into(),
                async |_, _| -> Result<()> { panic!("it never started") },
            )
            .await
    })
    .unwrap_err();
    let wrong: &MsgTypeError = error.downcast_ref().expect("the first value is the reason");
    assert!(wrong.to_string().contains("it is opaque"), "{wrong}");
    assert_eq!(name(wrong.actor()), "failing");
    assert!(error.group_name().is_none(), "{error:?}");
}

type Ctx = Context<Plain, Caller<()>>;

/// The three contexts of a root whose `sleeper` is cancelled by `canceller`, and what came of that.
fn cancelled_by_a_third(cell: Cell, then: impl Fn([&Ctx; 3], Error) -> Result<()>) -> Error {
    let names = ["sleeper", "caller", "canceller"];
    with_actors(cell, &names, async |portals| {
        let [sleeper, caller, canceller] = portals else {
            unreachable!("there are three");
        };
        let innermost = async |contexts: [&Ctx; 3]| {
            contexts[2].open_stream()?.send(&()).await?;
            let error = contexts[0].wait_for_result().await.unwrap_err();
            // What comes of this is not to overtake what the other is told.
            let told = async {
                while !caller.run(was_told, ()).await? {
                    time::sleep(Duration::from_millis(1)).await?;
                }
                Ok::<_, Error>(())
            };
            shield(told).await?;
            then(contexts, error)
        };
        let cancelled = async |sleeping: &Ctx, calling: &Ctx| {
            let body =
                async |cancelling: &Ctx, ()| innermost([sleeping, calling, cancelling]).await;
            canceller
                .open_context(cancel_there, "sleeper".into(), body)
                .await
        };
        let called = async |sleeping: &Ctx| {
            let body = async |calling: &Ctx, ()| Box::pin(cancelled(sleeping, calling)).await;
            caller.open_context(just_call, "sleeper".into(), body).await
        };
        let body = async |sleeping: &Ctx, ()| Box::pin(called(sleeping)).await;
        sleeper.open_context(sleep_here, (), body).await
    })
    .unwrap_err()
}

// test_inter_peer_cancellation.py::test_peer_canceller[rte_during_ctxerr=False]
fn third_actor_cancels_a_peer(cell: Cell) {
    let error = cancelled_by_a_third(cell, |[sleeping, calling, cancelling], error| {
        let cancelled: &ContextCancelled = error.downcast_ref().expect("it was cancelled");
        assert_eq!(name(cancelled.canceller()), "canceller");
        assert_eq!(cancelled.src_uid().name(), "sleeper");
        assert_eq!(name(sleeping.canceller().as_ref()), "canceller");
        assert!(!sleeping.cancel_called() && !sleeping.cancel_acked());
        let outcome = sleeping.outcome().and_then(|outcome| outcome.err());
        for same in [sleeping.remote_error(), sleeping.maybe_error(), outcome] {
            assert_eq!(same.map(|same| same.id()), Some(error.id()));
        }
        assert!(!calling.cancel_called() && !cancelling.cancel_called());
        assert!(cancelling.remote_error().is_none());
        Err(error)
    });
    for leaf in error.leaves() {
        let Some(cancelled) = leaf.downcast_ref::<ContextCancelled>() else {
            panic!("{error:?}")
        };
        assert_eq!(name(cancelled.canceller()), "canceller", "{error:?}");
    }
}

// test_inter_peer_cancellation.py::test_peer_canceller[rte_during_ctxerr=True]
fn body_fails_while_it_is_told_of_a_third_actor(cell: Cell) {
    let kept = RefCell::new(None);
    let error = cancelled_by_a_third(cell, |contexts, error| {
        let [sleeping, ..] = contexts;
        assert!(error.is::<ContextCancelled>(), "{error:?}");
        assert_eq!(name(sleeping.canceller().as_ref()), "canceller");
        assert!(!sleeping.cancel_acked());
        kept.replace(Some(contexts.map(Clone::clone)));
        Err(Own.into())
    });
    assert!(error.is::<Own>(), "{error:?}");
    let [sleeping, calling, cancelling] = kept.take().expect("the body has run");
    assert_eq!(name(sleeping.canceller().as_ref()), "canceller");
    assert!(!sleeping.cancel_acked());
    assert_eq!(name(calling.canceller().as_ref()), "canceller");
    // The failure has cancelled what was still running.
    assert!(cancelling.cancel_called(), "{cancelling:?}");
    assert_eq!(name(cancelling.canceller().as_ref()), "root");
}

/// Names of actors to start, and who they are then.
struct Spawns;
impl Dialog for Spawns {
    type Started = ();
    type ToChild = String;
    type ToParent = String;
}

/// Starts actors for others.
async fn spawn_for_others(ctx: &mut Context<Spawns>, cell: Cell) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    tractor::nursery(async |an| {
        while let Some(name) = stream.receive().await? {
            let options = cell.place(SpawnOptions::new());
            let portal = an
                .start_actor(&name, options.enable_module("peers"))
                .await?;
            stream.send(&portal.uid().to_string()).await?;
        }
        Ok(time::sleep_forever().await?)
    })
    .await
}
endpoint!(spawn_for_others);

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

/// Echoes, and fails after so many.
async fn echo(ctx: &mut Context<Echo>, fails_after: Option<u32>) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
        count += 1;
        if Some(count) == fails_after {
            return Err(Own.into());
        }
    }
    Ok(())
}
endpoint!(echo);

async fn converse(portal: &Portal, rounds: u32, fails_after: Option<u32>) -> Result<()> {
    let body = async |ctx: &Context<Echo, Caller<()>>, ()| {
        let stream = ctx.open_stream()?;
        for number in 0..rounds {
            match stream.send(&number).await {
                // Why it ended is told below.
                Err(error) if error.is::<StreamClosed>() => break,
                sent => sent?,
            }
            match stream.receive().await? {
                Some(echo) => assert_eq!(echo, number),
                None => break,
            }
        }
        Ok(())
    };
    portal.open_context(echo, fails_after, body).await
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Client {
    fails_after: Option<u32>,
    /// It catches what ends it, cleans up and passes it on.
    catches: bool,
}

/// Has the peer start `little-bro`, says who that is, and talks to it.
async fn client(
    ctx: &mut Context<Spawns>,
    (peer, cell, how): (String, Cell, Client),
) -> Result<()> {
    let peer = reach(&peer).await?;
    let body = async |spawning: &Context<Spawns, Caller<()>>, ()| {
        let spawns = spawning.open_stream()?;
        spawns.send(&"little-bro".into()).await?;
        let uid = spawns.receive().await?.expect("it is started");
        let little_bro = wait_for_actor("little-bro").await?;
        assert_eq!(little_bro.uid().to_string(), uid);
        ctx.started(()).await?;
        let stream = ctx.open_stream()?;
        stream.send(&uid).await?;
        converse(&little_bro, 10, None).await?;
        // Not before the other has talked to it too.
        stream.receive().await?;
        let rounds = if how.fails_after.is_some() {
            u32::MAX
        } else {
            100
        };
        converse(&little_bro, rounds, how.fails_after).await?;
        Ok(time::sleep_forever().await?)
    };
    let ended = peer.open_context(spawn_for_others, cell, body).await;
    if how.catches {
        shield(time::sleep(Duration::from_millis(10))).await?;
    }
    ended
}
endpoint!(client);

// test_inter_peer_cancellation.py::test_peer_spawns_and_cancels_service_subactor[None-None]
// test_inter_peer_cancellation.py::test_peer_spawns_and_cancels_service_subactor[None-KeyboardInterrupt]
// test_inter_peer_cancellation.py::test_peer_spawns_and_cancels_service_subactor[0.5-None]
// test_inter_peer_cancellation.py::test_peer_spawns_and_cancels_service_subactor[0.5-KeyboardInterrupt]
fn actor_that_a_peer_starts_for_another(cell: Cell) {
    for fails_after in [None, Some(5)] {
        for catches in [false, true] {
            let how = Client {
                fails_after,
                catches,
            };
            let result = with_actors(cell, &["server", "client"], async |portals| {
                let args = (String::from("server"), cell, how);
                portals[1]
                    .open_context(
                        client,
                        args,
                        async |ctx: &Context<Spawns, Caller<()>>, ()| {
                            let stream = ctx.open_stream()?;
                            let uid = stream.receive().await?;
                            let little_bro = reach("little-bro").await?;
                            assert_eq!(uid, Some(little_bro.uid().to_string()), "{how:?}");
                            converse(&little_bro, 10, None).await?;
                            stream.send(&"go on".into()).await?;
                            if fails_after.is_some() {
                                time::sleep_forever().await?;
                            }
                            assert!(ctx.cancel().await, "{how:?}");
                            let outcome = ctx.wait_for_result().await?;
                            let Outcome::Cancelled(cancelled) = outcome else {
                                panic!("{how:?}: {outcome:?}");
                            };
                            assert_eq!(name(cancelled.canceller()), "root", "{how:?}");
                            assert!(ctx.cancel_acked(), "{how:?}");
                            // It ended with the context in which it was started.
                            assert!(find_actor("little-bro").await?.is_none(), "{how:?}");
                            Ok(())
                        },
                    )
                    .await
            });
            match (result, fails_after) {
                (Ok(()), None) => {}
                (Err(error), Some(_)) => {
                    let remote: &RemoteActorError = error.downcast_ref().expect("it fails");
                    assert_eq!(remote.boxed_type(), "RemoteActorError", "{how:?}");
                    assert_eq!(remote.src_type(), "Own", "{how:?}");
                    assert_eq!(remote.src_uid().name(), "little-bro", "{how:?}");
                    let path: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
                    assert_eq!(path, ["little-bro", "client"], "{how:?}");
                }
                (result, _) => panic!("{how:?}: {result:?}"),
            }
        }
    }
}
