//! Calls of plain functions in another actor.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Cell, HangGuard, in_every_cell, over_every_transport, tree, tree_of};
use tractor::runtime::{TooSlow, fail_after, nursery, time};
use tractor::{Error, PeerLost, Portal, RemoteActorError, Result, SpawnOptions, endpoint};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn length(text: String) -> Result<usize> {
    Ok(text.len())
}
endpoint!(length);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

async fn fail(text: String) -> Result<()> {
    Err(Error::group(
        "two",
        vec![
            Error::msg(text.clone()),
            std::fmt::Error.into(),
            Error::msg(text),
        ],
    ))
}
endpoint!(fail);

async fn log_level((): ()) -> Result<String> {
    Ok(log::max_level().to_string())
}
endpoint!(log_level);

async fn environment(name: String) -> Result<Option<String>> {
    Ok(std::env::var(name).ok())
}
endpoint!(environment);

/// How many sockets this process has.
async fn sockets((): ()) -> Result<usize> {
    let descriptors = std::fs::read_dir("/proc/self/fd")?;
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:"));
    // The watchdog has a descriptor of its own for the same one.
    Ok(sockets.collect::<BTreeSet<_>>().len())
}
endpoint!(sockets);

fn with_actor<T>(
    cell: Cell,
    options: impl FnOnce(SpawnOptions) -> SpawnOptions,
    body: impl AsyncFnOnce(&Portal) -> Result<T>,
) -> Result<T> {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options(marked).enable_module("calls");
            let portal = cell.start(an, "actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

over_every_transport![
    a_call_gives_its_result,
    many_tasks_share_a_portal,
    many_calls_with_large_arguments_at_once,
    call_that_is_too_slow_is_cancelled,
    group_of_errors_is_one_error_of_the_endpoint,
];

// The parent knows how it ended.
in_every_cell![call_of_an_actor_that_is_gone];

fn a_call_gives_its_result(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "doubler", options.enable(double)).await?;
            assert_eq!(portal.run(double, 21).await?, 42);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn many_tasks_share_a_portal(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "doubler", options.enable(double)).await?;
            nursery(async |n| {
                for x in 0..100 {
                    let portal = &portal;
                    n.start_soon(async move {
                        assert_eq!(portal.run(double, x).await?, 2 * x);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

/// Together they are more than may wait for a peer that does not read, and so is the last one.
fn many_calls_with_large_arguments_at_once(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "counter", options.enable(length)).await?;
            nursery(async |n| {
                for len in (0..40).map(|_| 300 << 10).chain([6 << 20]) {
                    let portal = &portal;
                    n.start_soon(async move {
                        assert_eq!(portal.run(length, "x".repeat(len)).await?, len);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn call_that_is_cancelled_while_it_waits_for_room_is_not_made() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    async fn count(_: String) -> Result<u32> {
        Ok(CALLS.fetch_add(1, Ordering::Relaxed) + 1)
    }
    endpoint!(count as "calls:count");
    let _guard = HangGuard::new();
    tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new().in_thread().enable(count);
            let portal = an.start_actor("counter", options).await?;
            // None of these is written before all of them have begun.
            nursery(async |n| {
                for _ in 0..10 {
                    let portal = &portal;
                    n.start_soon(async move { portal.run(count, "x".repeat(2 << 20)).await });
                }
                n.start_soon(async {
                    n.cancel();
                    Ok(())
                });
                Ok(())
            })
            .await?;
            let calls = portal.run(count, String::new()).await?;
            assert!(calls < 10, "{calls} of them were made");
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn call_that_is_too_slow_is_cancelled(cell: Cell) {
    with_actor(
        cell,
        |options| options,
        async |portal| {
            let limit = Duration::from_millis(30);
            let error = fail_after(limit, portal.run(sleep, ())).await.unwrap_err();
            assert!(
                error.is::<TooSlow>() && error.group_name().is_none(),
                "{error:?}"
            );
            // The actor is none the worse for it.
            assert_eq!(portal.run(double, 4).await?, 8);
            Ok(())
        },
    )
    .unwrap();
}

fn group_of_errors_is_one_error_of_the_endpoint(cell: Cell) {
    with_actor(
        cell,
        |options| options,
        async |portal| {
            let error = portal.run(fail, "broken".into()).await.unwrap_err();
            let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
            assert!(remote.message().contains("broken"), "{remote}");
            assert_eq!(
                remote.trace().matches("broken").count(),
                2,
                "{}",
                remote.trace()
            );
            Ok(())
        },
    )
    .unwrap();
}

fn call_of_an_actor_that_is_gone(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        let portal = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options.enable(double)).await?;
            assert!(portal.is_connected());
            assert!(portal.cancel_actor().await);
            Ok(portal)
        })
        .await?;
        assert!(!portal.is_connected());
        assert!(!portal.cancel_actor().await);
        let error = portal.run(double, 1).await.unwrap_err();
        let lost: &PeerLost = error.downcast_ref().expect("it is gone");
        assert_eq!(lost.peer(), portal.uid());
        let status = lost.status().and_then(|status| status.code());
        assert_eq!(status, (cell == Cell::Process).then_some(0));
        Ok(())
    })
    .unwrap();
}

#[test]
fn level_of_logs_and_environment_reach_the_child() {
    let (level, value) = with_actor(
        Cell::Process,
        |options| {
            options
                .log_level(log::LevelFilter::Debug)
                .env("TRACTOR_TEST_VALUE", "value")
        },
        async |portal| {
            let name = String::from("TRACTOR_TEST_VALUE");
            Ok((
                portal.run(log_level, ()).await?,
                portal.run(environment, name).await?,
            ))
        },
    )
    .unwrap();
    assert_eq!((&*level, value.as_deref()), ("DEBUG", Some("value")));
}

#[test]
fn actor_has_its_own_channel_and_no_other() {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            for name in ["first", "second", "third"] {
                let options = options.clone().enable(sockets);
                let portal = an.start_actor(name, options).await?;
                assert_eq!(portal.run(sockets, ()).await?, 1, "{name}");
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}
