//! What a nursery does for its actors: one cancels all, results, restarts, and how they ended.

mod common;

use std::cell::{Cell as StdCell, RefCell};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use common::{Cell, HangGuard, MARKER, Marker, in_every_cell, tree, tree_of};
use rustix::process::{Pid, Signal, getpid, kill_process};
use tractor::runtime::sync::{Event, channel};
use tractor::runtime::{CancelScope, NurseryHandle, move_on_after, nursery, shield, time};
use tractor::trionics::{Hold, maybe_open_context};
use tractor::{
    ActorDied, Context, ContextCancelled, Dialog, Ending, Error, MsgTypeError, Output, PeerLost,
    RemoteActorError, Restart, RestartLimit, Result, SpawnError, SpawnFailure, SpawnOptions,
    endpoint, exit_code,
};

async fn ten((): ()) -> Result<u32> {
    Ok(10)
}
endpoint!(ten);

async fn fail(after_ms: u64) -> Result<()> {
    time::sleep(Duration::from_millis(after_ms)).await?;
    Err(Error::msg("assertion failed"))
}
endpoint!(fail);

async fn sleep((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleep);

async fn say(word: Option<String>) -> Result<Option<String>> {
    Ok(word)
}
endpoint!(say);

async fn pid((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(pid);

async fn leave(status: i32) -> Result<()> {
    std::process::exit(status)
}
endpoint!(leave);

/// Shields itself for so long.
async fn linger(ms: u64) -> Result<()> {
    shield(time::sleep(Duration::from_millis(ms))).await?;
    Ok(())
}
endpoint!(linger);

fn options(options: SpawnOptions) -> SpawnOptions {
    options.enable_module("supervision")
}

fn only_remote(error: &Error, message: &str) {
    let remote: Vec<_> = error.leaves().collect();
    assert_eq!(remote.len(), 1, "{error:?}");
    let remote: &RemoteActorError = remote[0].downcast_ref().expect("from another actor");
    assert_eq!(remote.message(), message);
}

in_every_cell![
    error_of_a_function_in_an_actor,
    arguments_of_a_function_in_an_actor_are_wrong,
    result_of_a_function_in_an_actor,
    result_is_the_same_inside_and_after_the_nursery,
    daemon_is_called_and_cancelled,
    actor_is_cancelled_with_its_nursery,
    actor_is_ended_by_an_error_of_the_body,
    one_function_fails_beside_daemons,
    call_of_a_daemon_fails_beside_functions,
    call_of_a_daemon_fails_after_functions_have_returned,
    function_of_an_actor_that_is_asked_to_end_fails_nobody,
    nursery_that_waits_for_a_daemon_is_cancelled_without_force,
    task_that_one_context_started_in_the_nursery_of_another_fails,
    children_are_told_of_as_they_end,
    actor_has_less_time_than_its_options_give,
    ends_of_a_tree_are_known_afterwards,
    actor_is_told_to_end_before_its_context_is,
];

// test_cancellation.py::test_remote_error[no_args]
fn error_of_a_function_in_an_actor(cell: Cell) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let task = an.run_in_actor("fails", marked, fail, 0).await?;
            let error = task.wait_for_result().await.unwrap_err();
            only_remote(&error, "assertion failed");
            let again = task.wait_for_result().await.unwrap_err();
            assert_eq!(again.id(), error.id());
            Err::<(), _>(error)
        })
        .await
    });
    // The same error from the body and from the nursery is one.
    only_remote(&error.unwrap_err(), "assertion failed");
}

async fn add(args: (u32, u32)) -> Result<u32> {
    Ok(args.0 + args.1)
}
endpoint!(add as "supervision:add");

// test_cancellation.py::test_remote_error[unexpected_args]
fn arguments_of_a_function_in_an_actor_are_wrong(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("adds", options(marked)).await?;
            let name = "supervision:add";
            let error = portal.run_named::<_, u32>(name, "two").await.unwrap_err();
            assert!(error.is::<MsgTypeError>(), "{error:?}");
            assert_eq!(error.leaves().count(), 1);
            assert_eq!(portal.run_named::<_, u32>(name, (2, 3)).await?, 5);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_spawning.py::test_run_in_actor_same_func_in_child
fn result_of_a_function_in_an_actor(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let task = an.run_in_actor("ten", marked, ten, ()).await?;
            assert_eq!(format!("{an:?}"), format!("{{{:?}}}", task.uid()));
            assert_eq!(task.wait_for_result().await?, 10);
            Ok(())
        })
        // It is not asked to end by anybody else than the nursery.
        .await
    })
    .unwrap();
}

// test_spawning.py::test_most_beautiful_word[return_str]
// test_spawning.py::test_most_beautiful_word[return_None]
fn result_is_the_same_inside_and_after_the_nursery(cell: Cell) {
    for word in [Some(String::from("tractor")), None] {
        tree_of(cell, async |marked: SpawnOptions| {
            let task = tractor::nursery(async |an| {
                let task = an.run_in_actor("says", marked, say, word.clone()).await?;
                assert_eq!(task.wait_for_result().await?, word);
                Ok(task)
            })
            .await?;
            assert!(task.is_finished() && !task.portal().is_connected());
            assert_eq!(task.wait_for_result().await?, word);
            Ok(())
        })
        .unwrap();
    }
}

// test_spawning.py::test_movie_theatre_convo
fn daemon_is_called_and_cancelled(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("frank", options(marked)).await?;
            assert_eq!(portal.run(ten, ()).await?, 10);
            let word = Some(String::from("words"));
            assert_eq!(portal.run(say, word.clone()).await?, word);
            assert!(portal.cancel_actor().await);
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_cancellation.py::test_cancel_single_subactor[nursery_cancel]
fn actor_is_cancelled_with_its_nursery(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("nothin", options(marked)).await?;
            portal.run(ten, ()).await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_cancellation.py::test_cancel_single_subactor[KeyboardInterrupt]
fn actor_is_ended_by_an_error_of_the_body(cell: Cell) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("nothin", options(marked)).await?;
            portal.run(ten, ()).await?;
            Err::<(), _>(Error::msg("interrupted"))
        })
        .await
    });
    assert_eq!(error.unwrap_err().to_string(), "interrupted");
}

// test_cancellation.py::test_some_cancels_all[1_run_in_actor_fails]
fn one_function_fails_beside_daemons(cell: Cell) {
    let mut report = None;
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            report = Some(an.teardown_report());
            an.start_actor("daemon", options(marked.clone())).await?;
            an.run_in_actor("fails", marked, fail, 0).await?;
            sleep(()).await
        })
        .await
    });
    only_remote(&error.unwrap_err(), "assertion failed");
    assert_eq!(report.unwrap().actors().len(), 2);
}

// test_cancellation.py::test_some_cancels_all[1_daemon_actors_fail]
fn call_of_a_daemon_fails_beside_functions(cell: Cell) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("daemon", options(marked.clone())).await?;
            for number in 0..3 {
                let name = format!("sleeps {number}");
                an.run_in_actor(&name, marked.clone(), sleep, ()).await?;
            }
            portal.run(fail, 0).await
        })
        .await
    });
    only_remote(&error.unwrap_err(), "assertion failed");
}

// test_cancellation.py::test_some_cancels_all[1_daemon_actors_fail_all_run_in_actors_dun_quick]
fn call_of_a_daemon_fails_after_functions_have_returned(cell: Cell) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("daemon", options(marked.clone())).await?;
            let mut tasks = Vec::new();
            for number in 0..3 {
                let name = format!("quick {number}");
                tasks.push(an.run_in_actor(&name, marked.clone(), ten, ()).await?);
            }
            for task in tasks {
                assert_eq!(task.wait_for_result().await?, 10);
            }
            portal.run(fail, 10).await
        })
        .await
    });
    only_remote(&error.unwrap_err(), "assertion failed");
}

/// What failed before it was told is kept; who was only told is not an error.
#[test]
fn several_functions_fail() {
    for count in [2, 3, 25] {
        let error = tree_of(Cell::Thread, async |marked: SpawnOptions| {
            tractor::nursery(async |an| {
                for number in 0..count {
                    let name = format!("fails {number}");
                    an.run_in_actor(&name, marked.clone(), fail, 100).await?;
                }
                sleep(()).await
            })
            .await
        })
        .unwrap_err();
        let leaves: Vec<_> = error.leaves().collect();
        assert!((1..=count).contains(&leaves.len()), "{error:?}");
        for leaf in leaves {
            let remote: &RemoteActorError = leaf.downcast_ref().expect("from another actor");
            assert_eq!(remote.message(), "assertion failed");
        }
    }
}

fn function_of_an_actor_that_is_asked_to_end_fails_nobody(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        let task = tractor::nursery(async |an| {
            let task = an.run_in_actor("sleeps", marked, sleep, ()).await?;
            an.cancel();
            Ok(task)
        })
        .await?;
        let error = task.wait_for_result().await.unwrap_err();
        // The actor may be gone before it hears what it is to run.
        let ended = error.is::<ContextCancelled>() || error.is::<PeerLost>();
        assert!(ended, "{error:?}");
        Ok(())
    })
    .unwrap();
}

// test_cancellation.py::test_fast_graceful_cancel_when_spawn_task_in_soft_proc_wait_for_daemon
fn nursery_that_waits_for_a_daemon_is_cancelled_without_force(cell: Cell) {
    let mut report = None;
    let error = tree_of(cell, async |marked: SpawnOptions| {
        let options = options(marked).grace(Duration::from_secs(1000));
        nursery(async |n| {
            let waits = Event::new();
            let waits = std::rc::Rc::new(waits);
            let left = waits.clone();
            let report = &mut report;
            n.start_soon(async move {
                tractor::nursery(async |an| {
                    *report = Some(an.teardown_report());
                    an.start_actor("daemon", options).await?;
                    left.set();
                    Ok(())
                })
                .await
            });
            waits.wait().await?;
            time::sleep(Duration::from_millis(20)).await?;
            Err::<(), _>(Error::msg("interrupted"))
        })
        .await
    });
    assert_eq!(error.unwrap_err().to_string(), "interrupted");
    let report = report.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.actors().len(), 1);
}

thread_local! {
    static STASHED: RefCell<Option<NurseryHandle>> = const { RefCell::new(None) };
}

struct Service;
impl Dialog for Service {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

/// Opens a nursery in which other contexts start tasks.
async fn serve(ctx: &mut Context<Service>, (): ()) -> Result<()> {
    nursery(async |n| {
        STASHED.set(Some(n.handle()));
        ctx.started(()).await?;
        sleep(()).await
    })
    .await
}
endpoint!(serve);

async fn start_in_there(ctx: &mut Context<Service>, (): ()) -> Result<()> {
    let tasks = STASHED.take().expect("the service has begun");
    let (sender, receiver) = channel::<u32>(8);
    for _ in 0..2 {
        let receiver = receiver.clone();
        tasks.start_soon(async move {
            loop {
                receiver.recv().await?;
            }
            #[allow(unreachable_code, reason = "it says what the task gives")]
            Ok(())
        })?;
    }
    tasks.start_soon::<()>(async {
        time::sleep(Duration::from_millis(20)).await?;
        Err(Error::msg("name not found"))
    })?;
    ctx.started(()).await?;
    loop {
        sender.send(1).await?;
        time::sleep(Duration::from_millis(1)).await?;
    }
}
endpoint!(start_in_there);

// test_child_manages_service_nursery.py::test_actor_managed_trio_nursery_task_error_cancels_aio[asyncio_mode=False]
// test_trioisms.py::test_stashed_child_nursery[False]
fn task_that_one_context_started_in_the_nursery_of_another_fails(cell: Cell) {
    let error = tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("manager", options(marked)).await?;
            portal
                .open_context(serve, (), async |_, ()| {
                    portal
                        .open_context(start_in_there, (), async |_, ()| sleep(()).await)
                        .await
                })
                .await
        })
        .await
    })
    .unwrap_err();
    only_remote(&error, "name not found");
}

fn children_are_told_of_as_they_end(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            assert!(an.next_ended().await?.is_none());
            let slow = an.start_actor("slow", options(marked.clone())).await?;
            let quick = an.run_in_actor("quick", marked, ten, ()).await?;
            let first = an.next_ended().await?.expect("one has ended");
            assert_eq!((first.uid(), first.ending()), (quick.uid(), Ending::Acked));
            // Nobody ends by himself.
            let next = move_on_after(Duration::from_millis(5), an.next_ended()).await?;
            assert!(next.timed_out());
            nursery(async |n| {
                let second = n.start_soon(an.next_ended());
                time::sleep(Duration::from_millis(5)).await?;
                assert!(slow.cancel_actor().await);
                let second = second.await?.expect("one has ended");
                assert_eq!(second.uid(), slow.uid());
                assert!(second.ack().is_some() && second.took() >= second.ack());
                assert_eq!(second.status().is_some(), cell == Cell::Process);
                Ok(())
            })
            .await?;
            assert!(an.next_ended().await?.is_none());
            Ok(())
        })
        .await
    })
    .unwrap();
}

fn actor_has_less_time_than_its_options_give(cell: Cell) {
    for asked_before in [false, true] {
        let mut report = None;
        tree_of(cell, async |marked: SpawnOptions| {
            let options = options(marked)
                .grace(Duration::from_secs(1000))
                .abandon_after(Duration::ZERO);
            tractor::nursery(async |an| {
                report = Some(an.teardown_report());
                let portal = an.start_actor("lingers", options).await?;
                nursery(async |n| {
                    n.start_soon(async {
                        let _ = portal.run(linger, 3_000).await;
                        Ok(())
                    });
                    time::sleep(Duration::from_millis(20)).await?;
                    if asked_before {
                        assert!(portal.cancel_actor().await);
                    }
                    an.cancel_within(Duration::from_millis(10));
                    // More time they do not get.
                    an.cancel_within(Duration::from_secs(1000));
                    Ok(())
                })
                .await
            })
            .await
        })
        .unwrap();
        let report = report.unwrap();
        let ends = report.actors();
        assert_eq!(ends.len(), 1);
        assert!(!report.is_clean());
        match (cell, ends[0].ending()) {
            (Cell::Process, Ending::Terminated(after)) => {
                assert!(after >= Duration::from_millis(10), "{report}");
            }
            (_, Ending::Abandoned(after)) if cell != Cell::Process => {
                assert!(after >= Duration::from_millis(10), "{report}");
            }
            _ => panic!("{report}"),
        }
        assert!(ends[0].ack().is_some() || !asked_before);
    }
}

/// So many actors below this one, each with as many, down to a depth.
async fn grow((cell, breadth, depth): (Cell, u32, u32)) -> Result<()> {
    tractor::nursery(async |an| {
        nursery(async |n| {
            for number in 0..breadth {
                n.start_soon(async move {
                    let options = cell.place(SpawnOptions::new().enable_module("supervision"));
                    let portal = an
                        .start_actor(&format!("{depth}.{number}"), options)
                        .await?;
                    match depth {
                        1 => portal.run(sleep, ()).await,
                        _ => portal.run(grow, (cell, breadth, depth - 1)).await,
                    }
                });
            }
            Ok(())
        })
        .await
    })
    .await
}
endpoint!(grow);

async fn count((): ()) -> Result<usize> {
    Ok(common::marked_like_this().len())
}
endpoint!(count);

fn ends_of_a_tree_are_known_afterwards(cell: Cell) {
    let mut report = None;
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            report = Some(an.teardown_report());
            let options = options(marked).grace(Duration::from_secs(1000));
            let top = an.start_actor("top", options).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let error = top.run(grow, (cell, 2, 2)).await.unwrap_err();
                    assert!(error.is::<ContextCancelled>(), "{error:?}");
                    Ok(())
                });
                match cell {
                    Cell::Process => {
                        while top.run(count, ()).await? < 7 {
                            time::sleep(Duration::from_millis(5)).await?;
                        }
                    }
                    _ => time::sleep(Duration::from_millis(300)).await?,
                }
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
    let report = report.unwrap();
    let ends = report.actors();
    let mut names: Vec<_> = ends.iter().map(|end| end.uid().name().to_owned()).collect();
    assert_eq!(names.pop().as_deref(), Some("top"));
    names.sort();
    assert_eq!(
        names,
        ["1.0", "1.0", "1.1", "1.1", "2.0", "2.1"],
        "{report}"
    );
    for (place, end) in ends.iter().enumerate() {
        // Parents come after their children.
        let parent = ends.iter().position(|other| other.uid() == end.parent());
        assert!(parent.is_none_or(|parent| parent > place), "{report}");
        assert_ne!(end.ending(), Ending::Died, "{report}");
        assert!(end.is_complete(), "{report}");
    }
}

/// Its nursery is cancelled and so is the context, whose body takes its time.
fn actor_is_told_to_end_before_its_context_is(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        let lives = tractor::nursery(async |an| {
            let portal = an.start_actor("actor", options(marked)).await?;
            portal
                .open_context(serve, (), async |_, ()| {
                    let cancelled = sleep(()).await;
                    shield(time::sleep(Duration::from_millis(100))).await?;
                    cancelled
                })
                .await
        });
        // It is one cancellation, and no error of the actor.
        let outcome = move_on_after(Duration::from_millis(200), lives).await?;
        assert!(outcome.timed_out());
        Ok(())
    })
    .unwrap();
}

// test_spawning.py::test_loglevel_propagated_to_subactor[loglevel=debug]
// test_spawning.py::test_loglevel_propagated_to_subactor[loglevel=cancel]
// test_spawning.py::test_loglevel_propagated_to_subactor[loglevel=critical]
#[test]
fn log_level_reaches_children_and_theirs() {
    use log::LevelFilter;

    tree(async |marked: SpawnOptions| {
        for level in [LevelFilter::Debug, LevelFilter::Info, LevelFilter::Off] {
            tractor::nursery(async |an| {
                let own = options(marked.clone()).log_level(level);
                let portal = an.start_actor("logs", own).await?;
                let levels = portal.run(log_levels, ()).await?;
                let expected = [level.to_string(), level.to_string(), "TRACE".into()];
                assert_eq!(levels, expected);
                an.cancel();
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .unwrap();
}

async fn log_level((): ()) -> Result<String> {
    Ok(log::max_level().to_string())
}
endpoint!(log_level);

/// The level here, of a child, and of a child with a level of its own.
async fn log_levels((): ()) -> Result<Vec<String>> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(log_level);
        let below = an.start_actor("logs too", options.clone()).await?;
        let other = options.log_level(log::LevelFilter::Trace);
        let other = an.start_actor("logs more", other).await?;
        let levels = vec![
            log_level(()).await?,
            below.run(log_level, ()).await?,
            other.run(log_level, ()).await?,
        ];
        an.cancel();
        Ok(levels)
    })
    .await
}
endpoint!(log_levels);

/// Its directory, what it has of the environment, and a line on either output.
async fn surroundings((): ()) -> Result<(PathBuf, Option<String>, bool)> {
    println!("on the standard output");
    eprintln!("on the standard error");
    let has_path = env::var_os("PATH").is_some();
    Ok((
        env::current_dir()?,
        env::var("TRACTOR_TEST_OWN").ok(),
        has_path,
    ))
}
endpoint!(surroundings);

#[test]
fn environment_directory_and_output_of_children() {
    let dir = fs::canonicalize(env::temp_dir()).unwrap();
    let file = |name: &str| dir.join(format!("tractor-{}-{name}", std::process::id()));
    let (out, err) = (file("out"), file("err"));
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let own = options(marked.clone())
                .env("TRACTOR_TEST_OWN", "value")
                .current_dir(&dir)
                .stdout(Output::Append(out.clone()))
                .stderr(Output::Append(err.clone()));
            for _ in 0..2 {
                let portal = an.start_actor("plain", own.clone()).await?;
                let (cwd, value, has_path) = portal.run(surroundings, ()).await?;
                assert_eq!(
                    (cwd, value.as_deref(), has_path),
                    (dir.clone(), Some("value"), true)
                );
            }
            let cleared = own.env_clear().stdout(Output::Null).stderr(Output::Null);
            let portal = an.start_actor("cleared", cleared).await?;
            let (_, value, has_path) = portal.run(surroundings, ()).await?;
            assert_eq!((value.as_deref(), has_path), (Some("value"), false));
            let nowhere = options(marked).current_dir("/does/not/exist");
            let error = an.start_actor("nowhere", nowhere).await.unwrap_err();
            let failed: &SpawnError = error.downcast_ref().expect("its own");
            assert!(
                matches!(failed.failure(), SpawnFailure::NotStarted(_)),
                "{error}"
            );
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
    for (file, line) in [
        (&out, "on the standard output\n"),
        (&err, "on the standard error\n"),
    ] {
        assert_eq!(fs::read_to_string(file).unwrap(), line.repeat(2));
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn daemon_is_started_again() {
    for (restart, status, expected) in [
        (Restart::on_failure(), 3, true),
        (Restart::always(), 3, true),
        (Restart::always(), 0, true),
        (Restart::on_failure(), 0, false),
    ] {
        tree(async |marked: SpawnOptions| {
            tractor::nursery(async |an| {
                let restart = restart.limit(3, Duration::from_secs(1000));
                let daemon = an.start_daemon("daemon", options(marked), restart).await?;
                let mut uids = Vec::new();
                for round in 0..3 {
                    let portal = daemon.portal().await?;
                    assert_eq!(daemon.restarts(), round);
                    uids.push(portal.uid().clone());
                    assert_eq!(portal.run(ten, ()).await?, 10);
                    let error = portal.run(leave, status).await.unwrap_err();
                    assert!(error.is::<PeerLost>(), "{error:?}");
                    if !expected {
                        // It is done, which fails nobody.
                        let over = daemon.portal().await.unwrap_err();
                        assert!(over.is::<tractor::DaemonOver>(), "{over:?}");
                        return Ok(());
                    }
                }
                let portal = daemon.portal().await?;
                uids.push(portal.uid().clone());
                uids.dedup();
                assert_eq!(uids.len(), 4);
                assert!(portal.cancel_actor().await);
                let over = daemon.portal().await.unwrap_err();
                assert!(over.is::<tractor::DaemonOver>(), "{over:?}");
                assert_eq!(daemon.restarts(), 3);
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

#[test]
fn daemon_that_ends_too_often_fails_its_nursery() {
    let mut seen = 0;
    let result: Result<()> = tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let restart = Restart::always().limit(2, Duration::from_secs(1000));
            let daemon = an.start_daemon("daemon", options(marked), restart).await?;
            loop {
                let portal = daemon.portal().await?;
                seen += 1;
                let _ = portal.run(leave, 3).await;
            }
        })
        .await
    });
    let error = result.unwrap_err();
    assert_eq!(seen, 3);
    let limit: &RestartLimit = error.downcast_ref().expect("it was over the limit");
    assert_eq!(limit.name(), "daemon");
    let died: &ActorDied = limit.last().downcast_ref().expect("it died");
    assert_eq!(died.status().and_then(|status| status.code()), Some(3));
}

/// Restarts count within a window.
#[test]
fn daemon_may_end_again_when_some_time_has_passed() {
    tractor::testing::run(async || {
        tractor::nursery(async |an| {
            let restart = Restart::always()
                .limit(1, Duration::from_secs(60))
                .delay(Duration::from_secs(2));
            let options = options(SpawnOptions::new()).in_memory();
            let daemon = an.start_daemon("daemon", options, restart).await?;
            for round in 0..20 {
                let portal = daemon.portal().await?;
                assert_eq!(daemon.restarts(), round);
                let start = time::now();
                portal.disconnect();
                daemon_replaced(&daemon, round).await?;
                assert!(time::now() - start >= Duration::from_secs(2));
                time::sleep(Duration::from_secs(60)).await?;
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

async fn daemon_replaced(daemon: &tractor::Daemon, round: u64) -> Result<()> {
    while daemon.restarts() == round {
        time::sleep(Duration::from_millis(100)).await?;
    }
    Ok(())
}

/// Nobody is started once all were asked to end, and nobody waits until it could have been.
#[test]
fn nursery_is_cancelled_while_a_daemon_waits_to_be_started_again() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let restart = Restart::always().delay(Duration::from_secs(1000));
            let daemon = an.start_daemon("daemon", options(marked), restart).await?;
            let _ = daemon.portal().await?.run(leave, 3).await;
            while an.teardown_report().actors().is_empty() {
                time::sleep(Duration::from_millis(1)).await?;
            }
            an.cancel();
            let error = daemon.portal().await.unwrap_err();
            assert!(error.is::<tractor::DaemonOver>(), "{error:?}");
            assert_eq!(daemon.restarts(), 0);
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn daemon_that_is_not_to_be_started_again_fails_its_nursery() {
    let error = tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options(marked);
            let daemon = an.start_daemon("daemon", options, Restart::never()).await?;
            let _ = daemon.portal().await?.run(leave, 0).await;
            sleep(()).await
        })
        .await
    });
    assert!(error.unwrap_err().is::<ActorDied>());
}

#[test]
fn daemon_that_does_not_come_up_is_an_error_of_who_wanted_it() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = marked.program("true", [""; 0]);
            let daemon = an.start_daemon("daemon", options, Restart::always()).await;
            assert!(daemon.unwrap_err().is::<SpawnError>());
            Ok(())
        })
        .await
    })
    .unwrap();
}

/// It answers, but too late: who started it hears that, when nothing is left of it.
#[test]
fn actor_that_answers_after_it_was_asked_to_end_is_no_actor() {
    let marker = Marker::new();
    tree(async |marked: SpawnOptions| {
        let options = options(marked)
            .env(MARKER, marker.text())
            .grace(Duration::from_secs(1000));
        tractor::nursery(async |an| {
            let refused = StdCell::new(0);
            for _ in 0..20 {
                let start = nursery(async |n| {
                    let options = options.clone();
                    let start = n.start_soon(async { Ok(an.start_actor("actor", options).await) });
                    // It is there, and at any point of its start.
                    while marker.processes().is_empty() {
                        time::sleep(Duration::from_micros(50)).await?;
                    }
                    an.cancel();
                    start.await
                })
                .await?;
                // It may have been there before; then it ends in its time.
                if let Err(error) = start {
                    let failed: &SpawnError = error.downcast_ref().expect("its own");
                    assert!(matches!(failed.failure(), SpawnFailure::Asked), "{error}");
                    assert_eq!(marker.processes(), []);
                    refused.set(refused.get() + 1);
                }
                while an.next_ended().await?.is_some() {}
            }
            assert!(refused.get() > 0);
            Ok(())
        })
        .await
    })
    .unwrap();
}

/// Does not end itself for so long after it has lost its parent.
async fn outlive(ms: u64) -> Result<()> {
    fs::write(env::var("TRACTOR_TEST_FILE")?, "there")?;
    linger(ms).await
}
endpoint!(outlive);

async fn have_a_child_that_outlives((grace, ms): (u64, u64)) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new()
            .enable_module("supervision")
            .orphan_grace(Duration::from_millis(grace));
        let portal = an.start_actor("below", options).await?;
        portal.run(outlive, ms).await
    })
    .await
}
endpoint!(have_a_child_that_outlives);

/// Who dies has children that are still there, and end themselves.
#[test]
fn actors_below_one_that_was_killed_are_waited_for() {
    for (limit, complete) in [(10_000, true), (50, false)] {
        let mut report = None;
        let mut left = Vec::new();
        let marker = Marker::new();
        let file = env::temp_dir().join(format!("tractor-{}-below", marker.text()));
        let error = tree(async |marked: SpawnOptions| {
            let options = options(marked)
                .env("TRACTOR_TEST_FILE", &file)
                .descendants_grace(Duration::from_millis(limit));
            let tree = tractor::nursery(async |an| {
                report = Some(an.teardown_report());
                let portal = an
                    .start_actor("killed", options.env(MARKER, marker.text()))
                    .await?;
                nursery(async |n| {
                    n.start_soon(portal.run(have_a_child_that_outlives, (400, 10_000)));
                    while fs::remove_file(&file).is_err() {
                        time::sleep(Duration::from_millis(5)).await?;
                    }
                    kill(portal.run(pid, ()).await?, Signal::KILL);
                    sleep(()).await
                })
                .await
            });
            let result = tree.await;
            left = marker.processes();
            result
        });
        assert!(error.unwrap_err().is::<ActorDied>());
        let report = report.unwrap();
        assert_eq!(report.actors().len(), 1, "{report}");
        assert_eq!(report.actors()[0].is_complete(), complete, "{report}");
        assert_eq!(left.is_empty(), complete, "{left:?}");
        marker.gone_within(Duration::from_millis(5500));
    }
}

#[test]
fn report_says_who_had_to_be_forced() {
    let mut report = None;
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            report = Some(an.teardown_report());
            let options = options(marked)
                .grace(Duration::from_millis(100))
                .term_grace(Duration::from_millis(50));
            let mut portals = Vec::new();
            for name in ["polite", "stuck", "stubborn"] {
                portals.push(an.start_actor(name, options.clone()).await?);
            }
            nursery(async |n| {
                for portal in &portals[1..] {
                    let ignores = portal.uid().name() == "stubborn";
                    n.start_soon(async move {
                        let _ = portal.run(stick, ignores).await;
                        Ok(())
                    });
                }
                time::sleep(Duration::from_millis(50)).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
    let report = report.unwrap();
    let of = |name: &str| {
        let ends = report.actors();
        let mut ends = ends.into_iter().filter(|end| end.uid().name() == name);
        ends.next().expect("it has ended")
    };
    assert!(of("polite").ack().is_some() && of("polite").ending() == Ending::Acked);
    let Ending::Terminated(after) = of("stuck").ending() else {
        panic!("{report}");
    };
    assert!(after >= Duration::from_millis(100) && of("stuck").ack().is_none());
    let Ending::Killed(after) = of("stubborn").ending() else {
        panic!("{report}");
    };
    assert!(after >= Duration::from_millis(150) && of("stubborn").took().unwrap() >= after);
    assert!(report.to_string().contains("SIGKILL"), "{report}");
}

/// Does not come back to its runtime.
async fn stick(ignores: bool) -> Result<()> {
    let flag = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    if ignores {
        signal_hook::flag::register(signal_hook::consts::SIGTERM, flag)?;
    }
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
endpoint!(stick);

const ROLE: &str = "TRACTOR_TEST_ROLE";

#[test]
fn plays_its_role() {
    let Ok(marker) = env::var(ROLE) else { return };
    let result = tractor::run(async || {
        // The nursery is that of a task.
        nursery(async |n| {
            n.start_soon(tractor::nursery(async |an| {
                let options = SpawnOptions::new().env_remove(ROLE).env(MARKER, marker);
                for _ in 0..3 {
                    an.run_in_actor("sleeper", options.clone(), sleep, ())
                        .await?;
                }
                kill_process(getpid(), Signal::INT)?;
                sleep(()).await
            }));
            Ok(())
        })
        .await
    });
    std::process::exit(exit_code(&result.unwrap_err()).into());
}

// test_cancellation.py::test_cancel_via_SIGINT_other_task
#[test]
fn interrupt_while_another_task_has_the_actors() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let status = Command::new("env")
        .arg("--default-signal=INT")
        .arg(env::current_exe().unwrap())
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(ROLE, marker.text())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(marker.processes(), []);
}

// test_local.py::test_local_actor_async_func
#[test]
fn actor_alone_does_its_own_work() {
    tree(async |_| {
        let start = Instant::now();
        let scope = CancelScope::new().timeout(Duration::from_secs(1000));
        scope
            .run(async {
                time::sleep(Duration::from_millis(30)).await?;
                maybe_open_context(
                    async |(), hold: Hold<u32>| hold.hold(7).await,
                    (),
                    async |seven, _| {
                        assert_eq!(seven, 7);
                        Ok(())
                    },
                )
                .await
            })
            .await?;
        assert!(start.elapsed() >= Duration::from_millis(30));
        Ok(())
    })
    .unwrap();
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
