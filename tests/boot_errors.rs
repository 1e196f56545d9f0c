//! What goes wrong before an endpoint runs: typed errors in the parent, and nothing is left.

mod common;

use std::time::{Duration, Instant};

use common::{
    Cell, MARKER, Marker, in_every_cell, over_every_transport, tree, tree_gone_within, tree_of,
};
use tractor::runtime::move_on_after;
use tractor::{
    Ending, EndpointNotFound, Error, InvalidPath, ModuleNotExposed, MsgTypeError, NoActor, Result,
    SpawnError, SpawnFailure, SpawnOptions, endpoint,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);
endpoint!(double as "math:double");

/// Not registered.
async fn triple(x: u64) -> Result<u64> {
    Ok(3 * x)
}

mod inner {
    pub(crate) async fn halve(x: u64) -> tractor::Result<u64> {
        Ok(x / 2)
    }
    tractor::endpoint!(halve);
}

/// The error of a call in a child that has this enabled.
fn refused(
    cell: Cell,
    enable: impl FnOnce(SpawnOptions) -> SpawnOptions,
    call: impl AsyncFnOnce(tractor::Portal) -> Result<u64>,
) -> Error {
    tree_of(cell, async |options| {
        tractor::nursery(async |an| {
            let portal = cell.start(an, "actor", enable(options)).await?;
            let error = call(portal).await.unwrap_err();
            an.cancel();
            Ok(error)
        })
        .await
    })
    .unwrap()
}

/// The error of a start.
fn not_started(
    limit: Duration,
    change: impl FnOnce(SpawnOptions) -> SpawnOptions,
) -> (Error, Duration) {
    let start = Instant::now();
    let error = tree_gone_within(Duration::from_secs(5), async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = change(options).handshake_limit(limit);
            an.start_actor("actor", options).await.map(|_| ())
        })
        .await
    });
    (error.unwrap_err(), start.elapsed())
}

fn failure(error: &Error) -> &SpawnFailure {
    let error: &SpawnError = error.downcast_ref().expect("it is a failed start");
    assert_eq!(error.name(), "actor");
    error.failure()
}

over_every_transport![
    endpoint_is_not_enabled,
    endpoint_of_a_module_that_is_not_enabled,
    endpoint_of_a_module_above,
    endpoint_is_not_registered,
    arguments_of_another_type,
    result_of_another_type,
    name_that_is_none,
    given_name_and_path_are_both_callable,
];

in_every_cell![failed_start_fails_nobody_else, dropped_start_is_no_death];

fn endpoint_is_not_enabled(cell: Cell) {
    let error = refused(
        cell,
        |options| options,
        async |portal| portal.run(inner::halve, 1).await,
    );
    let refused: &ModuleNotExposed = error.downcast_ref().expect("it is not exposed");
    assert_eq!(refused.path(), "boot_errors::inner:halve");
    assert_eq!(refused.actor().name(), "actor");
    let text = error.to_string();
    assert!(text.contains("actor@") && text.contains("enable"), "{text}");
}

fn endpoint_of_a_module_that_is_not_enabled(cell: Cell) {
    let error = refused(
        cell,
        |options| options.enable_module("boot_errors::inne"),
        async |portal| portal.run(inner::halve, 1).await,
    );
    assert!(error.is::<ModuleNotExposed>(), "{error:?}");
}

fn endpoint_of_a_module_above(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("boot_errors");
            let portal = cell.start(an, "actor", options).await?;
            assert_eq!(portal.run(inner::halve, 4).await?, 2);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn endpoint_is_not_registered(cell: Cell) {
    let error = refused(
        cell,
        |options| options.enable(triple),
        async |portal| portal.run(triple, 1).await,
    );
    let refused: &EndpointNotFound = error.downcast_ref().expect("it is not found");
    assert_eq!(refused.path(), "boot_errors:triple");
    assert_eq!(refused.actor().name(), "actor");
    assert!(error.to_string().contains("endpoint!"), "{error}");
}

fn arguments_of_another_type(cell: Cell) {
    let error = refused(
        cell,
        |options| options.enable_module("boot_errors::inner"),
        async |portal| portal.run_named("boot_errors::inner:halve", "four").await,
    );
    let refused: &MsgTypeError = error.downcast_ref().expect("it is of another type");
    assert_eq!(refused.actor().map(|uid| uid.name()), Some("actor"));
    let text = error.to_string();
    assert!(
        text.contains("boot_errors::inner:halve") && text.contains("u64"),
        "{text}"
    );
}

fn result_of_another_type(cell: Cell) {
    let error = tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable(inner::halve);
            let portal = cell.start(an, "actor", options).await?;
            let name = "boot_errors::inner:halve";
            let error = portal.run_named::<_, String>(name, 4).await.unwrap_err();
            an.cancel();
            Ok(error)
        })
        .await
    })
    .unwrap();
    let wrong: &MsgTypeError = error.downcast_ref().expect("it is of another type");
    assert!(
        wrong.actor().is_none() && wrong.to_string().contains("String"),
        "{wrong}"
    );
}

fn name_that_is_none(cell: Cell) {
    let error = refused(
        cell,
        |options| options,
        async |portal| portal.run_named("halve", ()).await,
    );
    assert!(error.is::<InvalidPath>(), "{error:?}");
}

fn given_name_and_path_are_both_callable(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("math").enable_module("boot_errors");
            let portal = cell.start(an, "actor", options).await?;
            let by_name: u64 = portal.run_named("math:double", 2).await?;
            let by_path: u64 = portal.run_named("boot_errors:double", 3).await?;
            assert_eq!((by_name, by_path), (4, 6));
            assert_eq!(portal.run(double, 4).await?, 8);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn child_exits_before_the_handshake() {
    let (error, _) = not_started(Duration::from_secs(10), |options| {
        options.program("/bin/sh", ["-c", "exit 3"])
    });
    let SpawnFailure::Exited(Some(status)) = failure(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(status.code(), Some(3));
    let text = error.to_string();
    assert!(
        text.contains("/bin/sh") && text.contains("tractor::run"),
        "{text}"
    );
}

#[test]
fn child_is_killed_before_the_handshake() {
    let (error, _) = not_started(Duration::from_secs(10), |options| {
        options.program("sh", ["-c", "kill -9 $$"])
    });
    assert!(
        matches!(failure(&error), SpawnFailure::Exited(Some(_))),
        "{error:?}"
    );
}

#[test]
fn child_leaves_something_behind_that_holds_the_channel() {
    let (error, _) = not_started(Duration::from_secs(10), |options| {
        options.program("sh", ["-c", "sleep 1000 & exit 4"])
    });
    let SpawnFailure::Exited(Some(status)) = failure(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(status.code(), Some(4));
}

#[test]
fn program_that_cannot_be_started() {
    let (error, _) = not_started(Duration::from_secs(10), |options| {
        options.program("/nowhere/at-all", ["x"])
    });
    let SpawnFailure::NotStarted(io) = failure(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/nowhere/at-all"), "{error}");
}

#[test]
fn program_that_never_answers() {
    let limit = Duration::from_millis(300);
    let (error, took) = not_started(limit, |options| options.program("sleep", ["1000"]));
    let SpawnFailure::TimedOut(told) = failure(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(*told, limit);
    assert!(
        took >= limit && took < limit + Duration::from_secs(5),
        "{took:?}"
    );
}

#[test]
fn program_that_answers_something_else() {
    let (error, _) = not_started(Duration::from_secs(10), |options| {
        options.program("sh", ["-c", "printf 'hello, world' >&0; sleep 1000"])
    });
    assert!(
        matches!(failure(&error), SpawnFailure::Protocol(_)),
        "{error:?}"
    );
}

#[test]
fn start_that_is_cancelled() {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let marker = Marker::new();
            let options = options
                .env(MARKER, marker.text())
                .program("sleep", ["1000"]);
            let start = an.start_actor("actor", options);
            let outcome = move_on_after(Duration::from_millis(50), start).await?;
            assert!(outcome.timed_out());
            assert_eq!(marker.processes(), []);
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn start_that_is_dropped() {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.program("sleep", ["1000"]);
            let start = async { an.start_actor("actor", options).await.map(|_| ()) };
            futures_lite::future::or(start, async {
                Ok(tractor::runtime::time::sleep(Duration::from_millis(50)).await?)
            })
            .await
        })
        .await
    })
    .unwrap();
}

fn dropped_start_is_no_death(cell: Cell) {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let start = an.start_actor("actor", options);
            assert!(futures_lite::future::poll_once(start).await.is_none());
            let end = an.next_ended().await?.expect("it was there");
            match cell {
                Cell::Process => assert!(matches!(end.ending(), Ending::Killed(_)), "{end}"),
                _ => assert_eq!(end.ending(), Ending::Unreachable, "{end}"),
            }
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn failed_start_fails_nobody_else(cell: Cell) {
    // A process is among them, for which no virtual clock waits.
    tree(async |options: SpawnOptions| {
        let options = cell.place(options);
        tractor::nursery(async |an| {
            let good = an
                .start_actor("good", options.clone().enable(inner::halve))
                .await?;
            let bad = an
                .start_actor("actor", options.program("/bin/false", [""; 0]))
                .await;
            assert!(matches!(
                failure(&bad.unwrap_err()),
                SpawnFailure::Exited(_)
            ));
            assert_eq!(good.run(inner::halve, 2).await?, 1);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn nursery_outside_of_an_actor() {
    let error = tractor::runtime::run(async || tractor::nursery(async |_| Ok(())).await);
    assert!(error.unwrap_err().is::<NoActor>());
}

#[test]
fn variable_alone_makes_no_actor() {
    // What an actor starts inherits the variable, and is none.
    tree(async |_| {
        let status = std::process::Command::new(std::env::current_exe()?)
            .args(["--exact", "name_that_is_none", "--list"])
            .env("TRACTOR_ACTOR", std::process::id().to_string())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()?;
        assert!(status.success());
        Ok(())
    })
    .unwrap();
}
