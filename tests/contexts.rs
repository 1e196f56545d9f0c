//! Contexts between two actors: one scope, two halves.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Cell, in_every_cell, over_every_transport, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{CancelScope, nursery, sync::Event, time};
use tractor::{
    ActorDied, CancelKind, Context, ContextCancelled, ContextMisuse, Dialog, Error, Outcome,
    PeerLost, RemoteActorError, Result, SpawnOptions, endpoint,
};

/// A first value, and no stream.
struct Plain;
impl Dialog for Plain {
    type Started = u32;
    type ToChild = ();
    type ToParent = ();
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Then {
    Return,
    ReturnUnstarted,
    StartTwice,
    Fail,
    Panic,
    CancelItself,
    Sleep,
    Exit(i32),
}

async fn act(ctx: &mut Context<Plain>, then: Then) -> Result<String> {
    if then != Then::ReturnUnstarted {
        ctx.started(7).await?;
    }
    match then {
        Then::Return | Then::ReturnUnstarted => Ok("result".into()),
        Then::StartTwice => match ctx.started(8).await {
            Err(error) if error.is::<ContextMisuse>() => Ok("refused".into()),
            other => Ok(format!("{other:?}")),
        },
        Then::Fail => Err(std::io::Error::other("broken").into()),
        Then::Panic => panic!("as it was told"),
        Then::CancelItself => {
            ctx.cancel();
            time::sleep_forever().await?;
            unreachable!("it is cancelled");
        }
        Then::Sleep => {
            time::sleep_forever().await?;
            unreachable!("it is cancelled");
        }
        Then::Exit(status) => std::process::exit(status),
    }
}
endpoint!(act);

/// Sleeps, and writes into a file with what cause it was cancelled.
async fn report(ctx: &mut Context<Plain>, file: PathBuf) -> Result<()> {
    ctx.started(0).await?;
    let cancelled = time::sleep_forever().await.expect_err("it never wakes");
    let cause = cancelled.cause();
    let peer = cause.peer().map(|peer| peer.name().to_owned());
    let text = format!(
        "{:?} by {} of {:?}",
        cause.kind(),
        peer.unwrap_or_default(),
        ctx.canceller()
    );
    fs::write(file, text)?;
    Err(cancelled.into())
}
endpoint!(report);

async fn add((a, b): (u32, u32)) -> Result<u32> {
    Ok(a + b)
}
endpoint!(add);

/// The same again one actor further down.
async fn relay((cell, then): (Cell, Then)) -> Result<String> {
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new().enable(act));
        let portal = cell.start(an, "below", options).await?;
        let result = portal
            .open_context(act, then, async |ctx, _| ctx.wait_for_result().await)
            .await?;
        an.cancel();
        Ok(result.returned().unwrap_or_default())
    })
    .await
}
endpoint!(relay);

struct File(PathBuf);

impl File {
    fn new(cell: Cell, name: &str) -> Self {
        let name = format!("tractor-{}-{name}-{cell:?}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens one context with `act`, in a child of its own.
fn with_act<T>(
    cell: Cell,
    then: Then,
    body: impl AsyncFnOnce(&Context<Plain, tractor::Caller<String>>, u32) -> Result<T>,
) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "actor", options.enable(act)).await?;
            let result = portal.open_context(act, then, body).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

over_every_transport![
    first_value_and_result,
    result_that_nobody_waits_for,
    started_twice_is_refused,
    return_without_started,
    endpoint_fails_while_the_body_sleeps,
    endpoint_fails_and_the_body_asks,
    actor_survives_a_panic_of_its_endpoint,
    body_cancels_and_goes_on,
    body_of_a_nursery_in_the_body_is_the_same_task,
    another_task_cancels_and_the_body_is_cut_short,
    endpoint_cancels_itself,
    body_fails_and_the_endpoint_is_cancelled_by_the_parent,
    deadline_around_a_context_reaches_the_endpoint,
    dropped_block_cancels_the_endpoint,
    error_keeps_its_source_over_two_relays,
];

// Only its parent may expect it to end.
in_every_cell![actor_is_cancelled_under_a_context];

fn first_value_and_result(cell: Cell) {
    let (first, result) = with_act(cell, Then::Return, async |ctx, first| {
        Ok((first, ctx.wait_for_result().await?.returned()))
    })
    .unwrap();
    assert_eq!((first, result.as_deref()), (7, Some("result")));
}

fn result_that_nobody_waits_for(cell: Cell) {
    assert_eq!(
        with_act(cell, Then::Return, async |_, first| Ok(first)).unwrap(),
        7
    );
}

fn started_twice_is_refused(cell: Cell) {
    let result = with_act(cell, Then::StartTwice, async |ctx, _| {
        ctx.wait_for_result().await
    });
    assert_eq!(result.unwrap().returned().as_deref(), Some("refused"));
}

fn return_without_started(cell: Cell) {
    let error = with_act(cell, Then::ReturnUnstarted, async |_, _| Ok(())).unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert!(remote.message().contains("started"), "{remote}");
}

fn endpoint_fails_while_the_body_sleeps(cell: Cell) {
    let error = with_act(cell, Then::Fail, async |_, _| {
        Ok(time::sleep_forever().await?)
    })
    .unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!((remote.src_type(), remote.message()), ("Error", "broken"));
    assert_eq!(remote.src_uid().name(), "actor");
    assert_eq!(remote.relay_path(), [remote.src_uid().clone()]);
    assert!(error.group_name().is_none(), "{error:?}");
}

fn endpoint_fails_and_the_body_asks(cell: Cell) {
    let error = with_act(cell, Then::Fail, async |ctx, _| ctx.wait_for_result().await).unwrap_err();
    assert!(
        error.is::<RemoteActorError>() && error.group_name().is_none(),
        "{error:?}"
    );
}

fn actor_survives_a_panic_of_its_endpoint(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable(act).enable(add);
            let portal = cell.start(an, "actor", options).await?;
            let error = portal
                .open_context(act, Then::Panic, async |ctx, _| ctx.wait_for_result().await)
                .await
                .unwrap_err();
            let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
            assert_eq!(
                (remote.src_type(), remote.message()),
                ("Panic", "as it was told")
            );
            assert_eq!(portal.run(add, (1, 2)).await?, 3);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn body_cancels_and_goes_on(cell: Cell) {
    let outcome = with_act(cell, Then::Sleep, async |ctx, _| {
        assert!(!ctx.cancel_called());
        assert!(ctx.cancel().await, "the endpoint has ended");
        assert!(ctx.cancel_called() && ctx.cancel_acked());
        time::sleep(Duration::from_millis(1)).await?;
        let refused = ctx.open_stream().unwrap_err();
        assert!(refused.is::<ContextCancelled>(), "{refused:?}");
        assert_eq!(
            Some(refused.id()),
            ctx.remote_error().map(|error| error.id())
        );
        ctx.wait_for_result().await
    })
    .unwrap();
    let Outcome::Cancelled(cancelled) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cancelled.src_uid().name(), "actor");
    assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
    assert_eq!(cancelled.kind(), CancelKind::Requested);
}

fn body_of_a_nursery_in_the_body_is_the_same_task(cell: Cell) {
    let outcome = with_act(cell, Then::Sleep, async |ctx, _| {
        nursery(async |_| {
            assert!(ctx.cancel().await, "the endpoint has ended");
            time::sleep(Duration::from_millis(1)).await?;
            ctx.wait_for_result().await
        })
        .await
    })
    .unwrap();
    assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
}

fn another_task_cancels_and_the_body_is_cut_short(cell: Cell) {
    let error = with_act(cell, Then::Sleep, async |ctx, _| {
        nursery(async |n| {
            n.start_soon(async {
                assert!(ctx.cancel().await);
                Ok(())
            });
            Ok(time::sleep_forever().await?)
        })
        .await
    })
    .unwrap_err();
    assert!(error.is_cancelled(), "{error:?}");
    let cause = error.cancelled().unwrap().cause();
    assert_eq!(cause.kind(), CancelKind::Requested);
    assert!(cause.peer().is_none(), "{cause}");
}

fn endpoint_cancels_itself(cell: Cell) {
    let error = with_act(cell, Then::CancelItself, async |_, _| {
        Ok(time::sleep_forever().await?)
    });
    let error = error.unwrap_err();
    let cancelled: &ContextCancelled = error.downcast_ref().expect("it is raised");
    assert_eq!(cancelled.canceller(), Some(cancelled.src_uid()));
    assert_eq!(cancelled.src_uid().name(), "actor");
}

fn body_fails_and_the_endpoint_is_cancelled_by_the_parent(cell: Cell) {
    let file = File::new(cell, "body_fails");
    let error = tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "actor", options.enable(report)).await?;
            let error = portal
                .open_context(report, file.path().into(), async |_, _| {
                    Err::<(), _>(Error::msg("of the body"))
                })
                .await
                .unwrap_err();
            // The answer was waited for.
            let text = fs::read_to_string(file.path())?;
            assert!(
                text.starts_with("SiblingFailed by root of Some(root@"),
                "{text}"
            );
            Err::<(), _>(error)
        })
        .await
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "of the body");
}

fn deadline_around_a_context_reaches_the_endpoint(cell: Cell) {
    let file = File::new(cell, "deadline");
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "actor", options.enable(report)).await?;
            let scope = CancelScope::new();
            let handle = scope.handle();
            let context = portal.open_context(report, file.path().into(), async |_, _| {
                // Not before the endpoint is there, or it might never be.
                handle.set_timeout(Duration::from_millis(20));
                Ok(time::sleep_forever().await?)
            });
            let outcome = scope.run(context).await?;
            assert!(outcome.timed_out());
            let text = fs::read_to_string(file.path())?;
            assert!(text.starts_with("Deadline by root"), "{text}");
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn dropped_block_cancels_the_endpoint(cell: Cell) {
    let file = File::new(cell, "dropped");
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "actor", options.enable(report)).await?;
            let begun = Event::new();
            let context = portal.open_context(report, file.path().into(), async |_, _| {
                begun.set();
                std::future::pending::<Result<()>>().await
            });
            futures_lite::future::or(async { Ok(begun.wait().await?) }, context).await?;
            while fs::read_to_string(file.path())
                .unwrap_or_default()
                .is_empty()
            {
                time::sleep(Duration::from_millis(1)).await?;
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn actor_is_cancelled_under_a_context(cell: Cell) {
    let file = File::new(cell, "actor_cancelled");
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options.enable(report)).await?;
            let error = portal
                .open_context(report, file.path().into(), async |_, _| {
                    assert!(portal.cancel_actor().await);
                    Ok(time::sleep_forever().await?)
                })
                .await
                .unwrap_err();
            // Not asked for through the context, so it is raised.
            let cancelled: &ContextCancelled = error.downcast_ref().expect("it is raised");
            assert_eq!(cancelled.canceller().map(|uid| uid.name()), Some("root"));
            let text = fs::read_to_string(file.path())?;
            assert!(text.starts_with("Requested by root"), "{text}");
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn child_dies_under_a_context() {
    let error = tree_of(Cell::Process, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options.enable(act)).await?;
            portal
                .open_context(act, Then::Exit(9), async |_, _| {
                    let cancelled = time::sleep_forever().await.expect_err("it never wakes");
                    assert_eq!(cancelled.cause().kind(), CancelKind::PeerLost);
                    let peer = cancelled.cause().peer().map(|peer| peer.name().to_owned());
                    assert_eq!(peer.as_deref(), Some("actor"));
                    Err::<(), Error>(cancelled.into())
                })
                .await
        })
        .await
    })
    .unwrap_err();
    let died: &ActorDied = error.downcast_ref().expect("the nursery says it");
    assert_eq!(died.status().and_then(|status| status.code()), Some(9));
    let lost: &PeerLost = error.downcast_ref().expect("the context says it");
    assert_eq!(lost.status().and_then(|status| status.code()), Some(9));
    assert_eq!(lost.peer(), died.uid());
}

fn error_keeps_its_source_over_two_relays(cell: Cell) {
    let error = tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "middle", options.enable(relay)).await?;
            assert_eq!(portal.run(relay, (cell, Then::Return)).await?, "result");
            let error = portal.run(relay, (cell, Then::Fail)).await.unwrap_err();
            an.cancel();
            Ok(error)
        })
        .await
    })
    .unwrap();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!((remote.src_type(), remote.message()), ("Error", "broken"));
    assert_eq!(remote.boxed_type(), "RemoteActorError");
    assert_eq!(remote.src_uid().name(), "below");
    let path: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
    assert_eq!(path, ["below", "middle"]);
}
