//! Contexts that are cancelled by another task than the body's, and endpoints that have something
//! left to do then.

mod common;

use std::cell::{Cell as Flag, RefCell};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{
    CancelCause, CancelKind, CancelScope, Outcome as Ended, check_cancelled, checkpoint, nursery,
    shield, sync::Event, time,
};
use tractor::{
    Caller, Context, ContextCancelled, ContextOptions, Dialog, Error, Outcome, Portal,
    RemoteActorError, Result, SpawnOptions, endpoint,
};

struct Plain;
impl Dialog for Plain {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

async fn sleeper(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    Ok(time::sleep_forever().await?)
}
endpoint!(sleeper);

/// Sleeps, and cleans up when it is cancelled.
async fn cleaner(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let slept = time::sleep_forever().await;
    shield(time::sleep(Duration::from_millis(50))).await?;
    check_cancelled()?;
    Ok(slept?)
}
endpoint!(cleaner);

/// Fails, cleans up, is cancelled meanwhile and passes that over.
async fn failer(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let error = Error::msg("on its own");
    shield(async {
        while !ctx.cancel_called() {
            time::sleep(Duration::from_millis(1)).await?;
        }
        time::sleep(Duration::from_millis(50)).await
    })
    .await?;
    assert!(check_cancelled().is_err(), "it was cancelled meanwhile");
    Err(error)
}
endpoint!(failer);

thread_local! {
    /// How often `teller` was called in the actor of this thread.
    static CALLED: Flag<u32> = const { Flag::new(0) };
}

/// Is cancelled no sooner than `teller` was called.
async fn outlasts(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    let before = CALLED.get();
    ctx.started(()).await?;
    shield(async {
        while CALLED.get() == before {
            time::sleep(Duration::from_millis(1)).await?;
        }
        Ok::<_, Error>(())
    })
    .await?;
    Ok(check_cancelled()?)
}
endpoint!(outlasts);

/// Fails with what its context says of who cancelled it.
async fn teller(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    CALLED.set(CALLED.get() + 1);
    let _ = ctx.started(()).await;
    time::sleep_forever().await.unwrap_err();
    let canceller = ctx.canceller();
    let canceller = canceller.as_ref().map_or("nobody", |uid| uid.name());
    let called = ctx.cancel_called();
    Err(Error::msg(format!("{canceller}, called: {called}")))
}
endpoint!(teller);

/// Cancels a scope of its own, and before it has left that it is cancelled with its actor.
async fn late(ctx: &mut Context<Plain>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let cancelled_here = Event::new();
    nursery(async |n| {
        n.start_soon(async {
            time::sleep_forever().await.unwrap_err();
            cancelled_here.set();
            Ok(())
        });
        let scope = CancelScope::new();
        let handle = scope.handle();
        let body = async {
            handle.cancel();
            let told = checkpoint().await;
            shield(cancelled_here.wait()).await?;
            Ok(told?)
        };
        scope.run(body).await.map(drop)
    })
    .await
}
endpoint!(late);

/// Cancels the actor that started this one.
async fn cancels_parent((): ()) -> Result<bool> {
    let parent = tractor::parent().ok_or(Error::msg("a child has a parent"))?;
    Ok(parent.cancel_actor().await)
}
endpoint!(cancels_parent);

/// Has a third actor cancel this one.
async fn ends_by_third((): ()) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().in_memory().enable(cancels_parent);
        let portal = an.start_actor("third", options).await?;
        portal.run(cancels_parent, ()).await?;
        Ok(time::sleep_forever().await?)
    })
    .await
}
endpoint!(ends_by_third);

/// Why an endpoint was cancelled, as its actor sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    kind: String,
    peer: Option<String>,
    reason: Option<String>,
    origin: Option<(String, String)>,
    text: String,
}

/// What was seen in this process, by the cell of the test.
static SEEN: Mutex<BTreeMap<String, Seen>> = Mutex::new(BTreeMap::new());

async fn seen(cell: String) -> Result<Option<Seen>> {
    Ok(SEEN.lock().unwrap().remove(&cell))
}
endpoint!(seen);

/// Sleeps below so many more actors, and keeps why it was cancelled.
async fn sleep_below(ctx: &mut Context<Plain>, (levels, cell): (u32, String)) -> Result<()> {
    if levels > 0 {
        return tractor::nursery(async |an| {
            let options = SpawnOptions::new().in_memory().enable(sleep_below);
            let portal = an.start_actor(&format!("below{levels}"), options).await?;
            let body = async |_: &Ctx, ()| {
                ctx.started(()).await?;
                Ok(time::sleep_forever().await?)
            };
            portal
                .open_context(sleep_below, (levels - 1, cell), body)
                .await
        })
        .await;
    }
    ctx.started(()).await?;
    let cancelled = time::sleep_forever().await.unwrap_err();
    let cause = cancelled.cause();
    let seen = Seen {
        kind: cause.kind().to_string(),
        peer: cause.peer().map(|peer| peer.name().into()),
        reason: cause.reason().map(Into::into),
        origin: cause
            .origin()
            .map(|origin| (origin.peer().name().into(), origin.place().into())),
        text: cause.to_string(),
    };
    SEEN.lock().unwrap().insert(cell, seen);
    Err(cancelled.into())
}
endpoint!(sleep_below);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("cancels_from_elsewhere");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    another_task_cancels_the_context_and_then_the_actor,
    another_task_cancels_the_actor,
    endpoint_cleans_up_behind_a_shield,
    error_of_an_endpoint_that_is_cancelled_while_it_cleans_up,
    endpoint_that_cancels_itself_is_cancelled_with_its_actor,
    endpoint_knows_who_cancelled_its_actor,
    endpoint_that_is_called_when_its_actor_ends_knows_who_cancelled_that,
    first_canceller_of_an_endpoint_is_kept,
    cause_comes_down_whole_through_all_actors,
];

type Ctx = Context<Plain, Caller<()>>;

// test_oob_cancellation.py::test_cancel_ctx_with_parent_side_entered_in_bg_task[True]
fn another_task_cancels_the_context_and_then_the_actor(cell: Cell) {
    with_actor(cell, async |portal| {
        let (open, kept) = (Event::new(), RefCell::new(None));
        nursery(async |n| {
            let body = async |ctx: &Ctx, ()| {
                *kept.borrow_mut() = Some(ctx.clone());
                open.set();
                Ok(time::sleep_forever().await?)
            };
            let options = ContextOptions::new();
            let opened = n.start_soon(portal.open_context_with(options, sleeper, (), body));
            open.wait().await?;
            let ctx: Ctx = kept.take().expect("it is open");
            assert!(ctx.cancel().await);
            // The answer cuts the body short, and is no error.
            let ended: Ended<()> = opened.await?;
            assert!(ended.is_cancelled());
            assert!(portal.cancel_actor().await);
            assert!(ctx.cancel_called() && ctx.cancel_acked() && ctx.cancelled_caught());
            let outcome = ctx.wait_for_result().await?;
            let Outcome::Cancelled(cancelled) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_oob_cancellation.py::test_cancel_ctx_with_parent_side_entered_in_bg_task[False]
fn another_task_cancels_the_actor(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let (open, kept) = (Event::new(), RefCell::new(None));
        nursery(async |n| {
            let body = async |ctx: &Ctx, ()| {
                *kept.borrow_mut() = Some(ctx.clone());
                open.set();
                Ok::<(), _>(time::sleep_forever().await?)
            };
            n.start_soon(portal.open_context(sleeper, (), body));
            open.wait().await?;
            let ctx: Ctx = kept.take().expect("it is open");
            assert!(portal.cancel_actor().await);
            let error = ctx.wait_for_result().await.unwrap_err();
            assert!(!ctx.cancel_called() && !ctx.cancel_acked());
            assert_eq!(ctx.remote_error().map(|error| error.id()), Some(error.id()));
            // The block raises it too.
            Ok::<(), _>(time::sleep_forever().await?)
        })
        .await
    })
    .unwrap_err();
    let cancelled: &ContextCancelled = error.downcast_ref().expect("it is raised");
    assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
    assert!(error.group_name().is_none(), "{error:?}");
}

// test_remote_exc_relay.py::test_unmasked_remote_exc[Cancelled spec]
fn endpoint_cleans_up_behind_a_shield(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(cleaner, (), async |ctx: &Ctx, ()| {
                time::sleep(Duration::from_millis(10)).await?;
                let start = time::now();
                assert!(ctx.cancel().await, "within its bound");
                assert!(time::now() - start >= Duration::from_millis(50));
                let outcome = ctx.wait_for_result().await?;
                assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
                let again = ctx.wait_for_result().await?;
                assert!(matches!(again, Outcome::Cancelled(_)), "{again:?}");
                Ok(())
            })
            .await
    })
    .unwrap();
}

fn error_of_an_endpoint_that_is_cancelled_while_it_cleans_up(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        portal
            .open_context(failer, (), async |ctx: &Ctx, ()| {
                ctx.cancel().await;
                let error = ctx.wait_for_result().await.unwrap_err();
                assert!(ctx.cancel_called() && !ctx.cancel_acked());
                Err::<(), _>(error)
            })
            .await
    })
    .unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!(remote.message(), "on its own");
}

/// Whoever ends the whole is the canceller, though the endpoint was told by its own scope first.
fn endpoint_that_cancels_itself_is_cancelled_with_its_actor(cell: Cell) {
    let mut cancellers = None;
    // What the nursery makes of an actor that others end is another matter.
    let _ = with_actor(cell, async |portal| {
        let open = Event::new();
        nursery(async |n| {
            let cancelled = n.start_soon(async {
                let body = async |_: &Ctx, ()| {
                    open.set();
                    Ok::<(), _>(time::sleep_forever().await?)
                };
                let error = portal.open_context(late, (), body).await.unwrap_err();
                Ok(error.downcast_ref::<ContextCancelled>().cloned())
            });
            open.wait().await?;
            portal.run(ends_by_third, ()).await.unwrap_err();
            let cancelled = cancelled.await?.expect("its actor was cancelled");
            let canceller = cancelled.canceller().map(|uid| uid.name().to_owned());
            let origin = cancelled.origin().map(|it| it.peer().name().to_owned());
            cancellers = canceller.zip(origin);
            Ok(())
        })
        .await
    });
    let third = String::from("third");
    assert_eq!(cancellers, Some((third.clone(), third)));
}

/// What the endpoint that fails with it says.
fn told<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    remote.message().to_owned()
}

fn endpoint_knows_who_cancelled_its_actor(cell: Cell) {
    let mut both = Vec::new();
    for by_third in [false, true] {
        let _ = with_actor(cell, async |portal| {
            let open = Event::new();
            nursery(async |n| {
                let result = n.start_soon(async {
                    let body = async |_: &Ctx, ()| {
                        open.set();
                        Ok::<(), _>(time::sleep_forever().await?)
                    };
                    Ok(portal.open_context(teller, (), body).await)
                });
                open.wait().await?;
                if by_third {
                    portal.run(ends_by_third, ()).await.unwrap_err();
                } else {
                    assert!(portal.cancel_actor().await);
                }
                both.push(told(result.await?));
                Ok(())
            })
            .await
        });
    }
    assert_eq!(both, ["root, called: true", "third, called: true"]);
}

fn endpoint_that_is_called_when_its_actor_ends_knows_who_cancelled_that(cell: Cell) {
    let mut late = String::new();
    let _ = with_actor(cell, async |portal| {
        let open = Event::new();
        nursery(async |n| {
            n.start_soon(async {
                let body = async |_: &Ctx, ()| {
                    open.set();
                    Ok::<(), _>(time::sleep_forever().await?)
                };
                let _ = portal.open_context(outlasts, (), body).await;
                Ok(())
            });
            open.wait().await?;
            assert!(portal.cancel_actor().await);
            let body = async |_: &Ctx, ()| Ok::<(), _>(time::sleep_forever().await?);
            late = told(portal.open_context(teller, (), body).await);
            Ok(())
        })
        .await
    });
    assert_eq!(late, "root, called: true");
}

/// The endpoint cleans up for its caller when its actor is cancelled.
fn first_canceller_of_an_endpoint_is_kept(cell: Cell) {
    let mut outcome = None;
    let _ = with_actor(cell, async |portal| {
        portal
            .open_context(cleaner, (), async |ctx: &Ctx, ()| {
                nursery(async |n| {
                    n.start_soon(async {
                        ctx.cancel().await;
                        Ok(())
                    });
                    time::sleep(Duration::from_millis(10)).await?;
                    portal.run(ends_by_third, ()).await.unwrap_err();
                    Ok(())
                })
                .await?;
                outcome = Some(ctx.wait_for_result().await);
                Ok(())
            })
            .await
    });
    let Some(Ok(Outcome::Cancelled(cancelled))) = outcome else {
        panic!("it is this side's own: {outcome:?}");
    };
    assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
}

/// Each is asked by the one above it, and the last one still knows who began, where, and why.
fn cause_comes_down_whole_through_all_actors(cell: Cell) {
    let (seen, line) = with_actor(cell, async |portal| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let key = format!("{cell:?}");
        let mut line = 0;
        let body = async |_: &Ctx, ()| {
            let cause = CancelCause::new(CancelKind::Shutdown).with_reason("enough");
            line = cause.location().line();
            handle.cancel_because(cause);
            Ok::<(), _>(time::sleep_forever().await?)
        };
        let ended = scope
            .run(portal.open_context(sleep_below, (2, key.clone()), body))
            .await?;
        assert!(ended.is_cancelled());
        Ok((portal.run(seen, key).await?, line))
    })
    .unwrap();
    let seen = seen.expect("it was cancelled");
    assert_eq!(seen.kind, CancelKind::Shutdown.to_string());
    assert_eq!(seen.peer.as_deref(), Some("below2"));
    assert_eq!(seen.reason.as_deref(), Some("enough"));
    let (who, place) = seen.origin.expect("all of these actors say");
    assert_eq!(who, "root");
    assert!(
        place.contains(&format!("cancels_from_elsewhere.rs:{line}:")),
        "{place}"
    );
    assert!(seen.text.contains(&place), "{}", seen.text);
}
