//! Actors that are found by their names, and when they no longer are.

mod common;
#[path = "common/places.rs"]
mod places;

use std::time::Duration;

use common::{Cell, MARKER, Marker, in_every_cell};
use places::{Directory, Net, Program, any_port, deserted, play_daemon, role, say};
use rustix::process::{Signal, getpid, kill_process};
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    ActorNursery, Address, Callee, Caller, CancelKind, ConnectError, Context, Dialog, Error,
    NoActor, Portal, Registrar, RegistryError, Result, RunOptions, SpawnOptions, StreamClosed, Uid,
    current_actor, endpoint, exit_code, find_actor, find_root, listen, parent, query_actor,
    registrar, stop_listening, wait_for_actor,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn sleep((): ()) -> Result<()> {
    time::sleep_forever().await?;
    Ok(())
}
endpoint!(sleep);

struct Counting;
impl Dialog for Counting {
    type Started = ();
    type ToChild = ();
    type ToParent = u64;
}

/// Counts until it is cancelled, or nobody listens.
async fn count(ctx: &mut Context<Counting, Callee>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    for number in 0.. {
        match stream.send(&number).await {
            Err(error) if error.is::<StreamClosed>() => break,
            sent => sent?,
        }
    }
    Ok(())
}
endpoint!(count);

/// What an actor knows of where it is.
async fn whereabouts((): ()) -> Result<(bool, bool, Vec<String>, Vec<String>)> {
    let actor = current_actor()?;
    let texts = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect();
    Ok((
        actor.is_root(),
        actor.is_registrar(),
        texts(actor.addresses()),
        texts(actor.registrars()),
    ))
}
endpoint!(whereabouts);

/// Calls the root, and says who that is: once over its parent, once by itself.
async fn call_root((): ()) -> Result<(Uid, Uid)> {
    let root = find_root().await?.expect("it listens");
    assert_eq!(root.run(double, 4).await?, 8);
    let parent = parent().expect("this is a child");
    assert_eq!(parent.run(double, 5).await?, 10);
    Ok((root.uid().clone(), parent.uid().clone()))
}
endpoint!(call_root);

/// Starts a child of its own that does the same.
async fn call_root_from_below(in_thread: bool) -> Result<(Uid, Uid)> {
    tractor::nursery(async |an| {
        let mut options = SpawnOptions::new().enable(call_root);
        if in_thread {
            options = options.in_thread();
        }
        let below = an.start_actor("below", options).await?;
        let called = below.run(call_root, ()).await;
        an.cancel();
        called
    })
    .await
}
endpoint!(call_root_from_below);

async fn call_by_name(name: String) -> Result<u64> {
    let portal = find_actor(&name).await?.expect("it is there");
    let answer = portal.run(double, 21).await;
    portal.disconnect();
    answer
}
endpoint!(call_by_name);

async fn close_the_doors((): ()) -> Result<()> {
    stop_listening().await
}
endpoint!(close_the_doors);

/// Runs a test's tree, which finds its actors over this kind of address.
fn tree<T>(net: Net, main: impl AsyncFnOnce(SpawnOptions) -> Result<T>) -> Result<T> {
    let directory = Directory::new();
    let options = RunOptions::new().registry([directory.at(net, "registry.sock")]);
    tree_with(options, main)
}

fn tree_with<T>(
    options: RunOptions,
    main: impl AsyncFnOnce(SpawnOptions) -> Result<T>,
) -> Result<T> {
    let marker = Marker::new();
    let spawn = SpawnOptions::new()
        .env(MARKER, marker.text())
        .enable_module(module_path!());
    let _guard = common::HangGuard::new();
    let result = options
        .enable_module(module_path!())
        .run(async || main(spawn).await);
    marker.gone_within(Duration::ZERO);
    result
}

async fn names() -> Result<Vec<String>> {
    let entries = registrar().await?.entries().await?;
    let mut names: Vec<_> = entries
        .iter()
        .map(|(uid, _)| uid.name().to_owned())
        .collect();
    names.sort();
    Ok(names)
}

in_every_cell!(
    child_is_registered_while_it_is_there,
    children_are_unregistered_when_the_body_fails,
    actor_that_stops_listening_is_not_found,
    actors_call_the_root_and_their_parents,
);

// discovery/test_registrar.py::test_reg_then_unreg
// discovery/test_registrar.py::test_reg_then_unreg_maddr
fn child_is_registered_while_it_is_there(cell: Cell) {
    for net in Net::ALL {
        tree(net, async |options| {
            let own = current_actor()?;
            assert!(own.is_root() && own.is_registrar());
            assert_eq!(own.registrars(), own.addresses());
            assert_eq!(names().await?, ["root"]);
            let uid = tractor::nursery(async |an| {
                let child = an.start_actor("worker", cell.place(options)).await?;
                let found = wait_for_actor("worker").await?;
                assert_eq!(found.uid(), child.uid());
                assert_eq!(found.run(double, 21).await?, 42);
                let entries = registrar().await?.entries().await?;
                let entry = entries.iter().find(|(uid, _)| uid == child.uid());
                let (_, addresses) = entry.expect("it is registered");
                assert_eq!(query_actor("worker").await?.as_ref(), addresses.last());
                let (is_root, is_registrar, at, registrars) = child.run(whereabouts, ()).await?;
                assert!(!is_root && !is_registrar);
                assert_eq!(
                    at,
                    addresses.iter().map(Address::to_string).collect::<Vec<_>>()
                );
                assert!(addresses.iter().all(|address| net.has(address)) && !at.is_empty());
                assert_eq!(registrars, [own.registrars()[0].to_string()]);
                an.cancel();
                Ok(child.uid().clone())
            })
            .await?;
            let entries = registrar().await?.entries().await?;
            assert!(
                entries.iter().all(|(other, _)| *other != uid),
                "{entries:?}"
            );
            assert_eq!(names().await?, ["root"]);
            assert!(find_actor("worker").await?.is_none());
            Ok(())
        })
        .unwrap();
    }
}

/// Starts three actors, and waits for what they do: streams, or sleep.
async fn three_at_work(
    an: &ActorNursery,
    options: &SpawnOptions,
    streaming: bool,
    body: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let mut portals = Vec::new();
    for name in ["a", "b", "c"] {
        portals.push(an.start_actor(name, options.clone()).await?);
    }
    nursery(async |n| {
        let (working, at_work) = tractor::runtime::sync::channel(portals.len());
        for portal in &portals {
            let working = working.clone();
            n.start_soon(async move {
                if !streaming {
                    working.send(()).await?;
                    return portal.run(sleep, ()).await;
                }
                consume(portal, async || Ok(working.send(()).await?)).await
            });
        }
        for _ in &portals {
            at_work.recv().await?;
        }
        body().await
    })
    .await
}

/// Takes in what an endless stream brings, and says when the first has come.
async fn consume(portal: &Portal, first: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    portal
        .open_context(
            count,
            (),
            async |ctx: &Context<Counting, Caller<()>>, ()| {
                let stream = ctx.open_stream()?;
                assert_eq!(stream.receive().await?, Some(0));
                first().await?;
                while stream.receive().await?.is_some() {}
                Ok(())
            },
        )
        .await
}

/// What a test raises where Python's would raise `KeyboardInterrupt`.
fn enough() -> Error {
    Error::msg("enough")
}

// discovery/test_registrar.py::test_subactors_unregister_on_cancel[False-False]
// discovery/test_registrar.py::test_subactors_unregister_on_cancel[True-False]
// discovery/test_registrar.py::test_close_channel_explicit[False]
fn children_are_unregistered_when_the_body_fails(cell: Cell) {
    for (net, streaming) in [(Net::Tcp, false), (Net::Tcp, true), (Net::Unix, true)] {
        tree(net, async |options| {
            let ended = tractor::nursery(async |an| {
                three_at_work(an, &cell.place(options), streaming, async || {
                    assert_eq!(names().await?, ["a", "b", "c", "root"]);
                    Err(enough())
                })
                .await
            })
            .await;
            assert_eq!(ended.unwrap_err().to_string(), "enough");
            assert_eq!(names().await?, ["root"]);
            Ok(())
        })
        .unwrap();
    }
}

// discovery/test_registrar.py::test_stale_entry_is_deleted
fn actor_that_stops_listening_is_not_found(cell: Cell) {
    for net in Net::ALL {
        tree(net, async |options| {
            tractor::nursery(async |an| {
                let child = an.start_actor("shy", cell.place(options)).await?;
                let address = query_actor("shy").await?.expect("it is registered");
                let asleep = find_actor("shy").await?.expect("it listens");
                nursery(async |n| {
                    n.start_soon(asleep.run(sleep, ()));
                    child.run(close_the_doors, ()).await?;
                    assert!(find_actor("shy").await?.is_none());
                    assert_eq!(names().await?, ["root"]);
                    assert!(tractor::connect(&address).await.is_err());
                    assert_eq!(
                        asleep.run(double, 1).await?,
                        2,
                        "what is connected stays so"
                    );
                    n.cancel();
                    Ok(())
                })
                .await?;
                assert!(child.cancel_actor().await);
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

fn actors_call_the_root_and_their_parents(cell: Cell) {
    for net in Net::ALL {
        tree(net, async |options| {
            assert!(parent().is_none() && find_root().await?.is_none());
            let root = current_actor()?.uid().clone();
            tractor::nursery(async |an| {
                let child = an.start_actor("child", cell.place(options)).await?;
                assert_eq!(
                    child.run(call_root, ()).await?,
                    (root.clone(), root.clone())
                );
                let in_thread = cell != Cell::Process;
                let (top, middle) = child.run(call_root_from_below, in_thread).await?;
                assert_eq!((&top, &middle), (&root, child.uid()));
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

#[test]
fn entry_of_an_actor_that_is_killed_goes_too() {
    for net in Net::ALL {
        tree(net, async |options| {
            let died = tractor::nursery(async |an| {
                let child = an.start_actor("doomed", options).await?;
                let found = wait_for_actor("doomed").await?;
                let pid = child.run(pid, ()).await?;
                let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                nursery(async |n| {
                    n.start_soon(async {
                        kill_process(pid, Signal::KILL)?;
                        Ok(())
                    });
                    found.run(sleep, ()).await
                })
                .await
            })
            .await;
            assert!(died.is_err());
            // The registrar has to come to know of the end of a connection.
            while names().await? != ["root"] {
                time::sleep(Duration::from_millis(1)).await?;
            }
            Ok(())
        })
        .unwrap();
    }
}

async fn pid((): ()) -> Result<u32> {
    Ok(std::process::id())
}
endpoint!(pid);

#[test]
fn actors_find_each_other_and_call() {
    tree(Net::Tcp, async |options| {
        tractor::nursery(async |an| {
            let one = an.start_actor("one", options.clone()).await?;
            let other = an.start_actor("other", options.in_thread()).await?;
            assert_eq!(one.run(call_by_name, "other".into()).await?, 42);
            assert_eq!(other.run(call_by_name, "one".into()).await?, 42);
            assert_eq!(other.run(call_by_name, one.uid().id().into()).await?, 42);
            assert_eq!(one.run(call_by_name, "root".into()).await?, 42);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn who_waits_for_an_actor_gets_it_when_it_comes() {
    tree(Net::Unix, async |options| {
        tractor::nursery(async |an| {
            let waited = nursery(async |n| {
                let waiting = n.start_soon(wait_for_actor("late"));
                let never = move_on_after(Duration::from_millis(50), wait_for_actor("never"));
                assert!(never.await?.is_cancelled());
                assert!(!waiting.is_finished());
                an.start_actor("late", options).await?;
                waiting.await
            })
            .await?;
            assert_eq!(waited.uid().name(), "late");
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn address_that_nobody_serves_is_deleted_when_it_is_tried() {
    tree(Net::Tcp, async |options| {
        let here = registrar().await?;
        let ghost = Uid::fresh("ghost");
        here.register(&ghost, &deserted()).await?;
        assert_eq!(names().await?, ["ghost", "root"]);
        assert!(find_actor("ghost").await?.is_none());
        assert_eq!(names().await?, ["root"]);
        tractor::nursery(async |an| {
            let child = an.start_actor("ghost", options).await?;
            // Those of the same name that are there are found behind it.
            let at = query_actor("ghost").await?.expect("it is registered");
            assert!(here.delete_addr(&at).await?.is_some());
            let gone = deserted();
            here.register(&ghost, &gone).await?;
            here.register(&ghost, &gone).await?;
            here.register(child.uid(), &at).await?;
            let found = find_actor("ghost").await?.expect("one of the two is there");
            assert_eq!(found.uid(), child.uid());
            assert_eq!(names().await?, ["ghost", "root"]);
            let waited = wait_for_actor("ghost").await?;
            assert_eq!(waited.uid(), child.uid());
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn address_that_another_actor_took_over_is_not_taken_for_the_first() {
    tree(Net::Tcp, async |options| {
        tractor::nursery(async |an| {
            let child = an.start_actor("heir", options).await?;
            let at = query_actor("heir").await?.expect("it is registered");
            let here = registrar().await?;
            here.register(&Uid::fresh("late lamented"), &at).await?;
            assert!(find_actor("late lamented").await?.is_none());
            assert_eq!(here.find("late lamented").await?, []);
            assert!(child.is_connected());
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_local.py::test_no_runtime
#[test]
fn nobody_is_found_outside_of_an_actor() {
    let found = futures_lite::future::block_on(find_actor("anybody"));
    assert!(found.unwrap_err().is::<NoActor>());
    let waited = futures_lite::future::block_on(wait_for_actor("anybody"));
    assert!(waited.unwrap_err().is::<NoActor>());
}

// test_local.py::test_self_is_registered_localportal
#[test]
fn registrar_asks_itself_without_a_connection() {
    for net in Net::ALL {
        tree(net, async |_| {
            let own = current_actor()?.registrars()[0].clone();
            let here = Registrar::connect(&own).await?;
            assert_eq!(here.uid(), current_actor()?.uid());
            assert_eq!(here.wait_for("root").await?.first(), Some(&own));
            assert_eq!(query_actor("root").await?, Some(own));
            // It is found, but nobody connects to himself.
            let failed = wait_for_actor("root").await.unwrap_err();
            assert!(failed.is::<ConnectError>(), "{failed}");
            assert_eq!(names().await?, ["root"]);
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn actor_without_a_registrar_finds_nobody() {
    let failed = tractor::run(async || Ok(find_actor("anybody").await?.is_none()));
    let failed = failed.unwrap_err();
    assert_eq!(failed.downcast_ref(), Some(&RegistryError::Without));
    assert!(parent().is_none());
    let registrar = tractor::run(async || {
        let listening = listen(any_port())?;
        let failed = Registrar::connect(&listening.address().clone()).await;
        assert!(failed.is_err(), "it is this actor itself, and none");
        Ok(())
    });
    registrar.unwrap();
}

/// A program with three actors gets Ctrl-C: what it says of its registrar then, and its status.
fn interrupted(role: &str, place: &Address, streaming: bool) -> (String, Option<i32>) {
    let role = match streaming {
        true => format!("{role} that streams"),
        false => role.to_owned(),
    };
    let mut program = Program::new(&role, place);
    let left = program.hear().expect("it says who is left");
    (left, program.ended().code())
}

// discovery/test_registrar.py::test_subactors_unregister_on_cancel[False-True]
// discovery/test_registrar.py::test_subactors_unregister_on_cancel[True-True]
// discovery/test_registrar.py::test_close_channel_explicit[True]
#[test]
fn children_of_a_registrar_are_unregistered_at_ctrl_c() {
    let _guard = common::HangGuard::new();
    for streaming in [false, true] {
        for net in Net::ALL {
            let directory = Directory::new();
            let place = directory.at(net, "registry.sock");
            let (left, status) = interrupted("registrar", &place, streaming);
            assert_eq!((&*left, status), ("root", Some(130)));
        }
    }
}

// discovery/test_registrar.py::test_subactors_unregister_on_cancel_remote_daemon[False-True]
// discovery/test_registrar.py::test_subactors_unregister_on_cancel_remote_daemon[True-True]
#[test]
fn children_of_a_member_are_unregistered_at_ctrl_c() {
    let _guard = common::HangGuard::new();
    for streaming in [false, true] {
        for net in Net::ALL {
            let directory = Directory::new();
            let mut daemon = Program::new("daemon", &directory.at(net, "registry.sock"));
            let place = daemon.hear().expect("it says where it is").parse().unwrap();
            let (left, status) = interrupted("member", &place, streaming);
            assert_eq!((&*left, status), ("daemon root", Some(130)));
            kill_process(daemon.pid(), Signal::INT).unwrap();
            assert_eq!(daemon.ended().code(), Some(130));
        }
    }
}

// discovery/test_registrar.py::test_subactors_unregister_on_cancel_remote_daemon[False-False]
// discovery/test_registrar.py::test_subactors_unregister_on_cancel_remote_daemon[True-False]
#[test]
fn children_of_a_member_are_unregistered_when_the_body_fails() {
    for (net, streaming) in [(Net::Tcp, false), (Net::Unix, true)] {
        let directory = Directory::new();
        let mut daemon = Program::new("daemon", &directory.at(net, "registry.sock"));
        let place: Address = daemon.hear().expect("it says where it is").parse().unwrap();
        tree_with(RunOptions::new().registry([place]), async |options| {
            assert!(!current_actor()?.is_registrar());
            assert_eq!(names().await?, ["daemon", "root"]);
            let ended = tractor::nursery(async |an| {
                three_at_work(an, &options, streaming, async || {
                    assert_eq!(names().await?, ["a", "b", "c", "daemon", "root"]);
                    Err(enough())
                })
                .await
            })
            .await;
            assert_eq!(ended.unwrap_err().to_string(), "enough");
            assert_eq!(names().await?, ["daemon", "root"]);
            Ok(())
        })
        .unwrap();
        kill_process(daemon.pid(), Signal::TERM).unwrap();
        assert_eq!(daemon.ended().code(), Some(143));
    }
}

#[test]
fn plays_its_role() {
    let Some((role, place)) = role() else { return };
    let _guard = common::HangGuard::new();
    match &*role {
        "daemon" => play_daemon(place),
        "registrar" | "member" | "registrar that streams" | "member that streams" => {
            let streaming = role.ends_with("streams");
            let ended = tree_with(RunOptions::new().registry([place]), async |options| {
                let ended = tractor::nursery(async |an| {
                    three_at_work(an, &options, streaming, async || {
                        kill_process(getpid(), Signal::INT)?;
                        time::sleep_forever().await?;
                        Ok(())
                    })
                    .await
                })
                .await;
                let left = tractor::runtime::shield(names()).await?;
                say(&left.join(" "));
                ended
            });
            let error = ended.unwrap_err();
            let cause = error.cancelled().expect("by the signal").cause().clone();
            assert_eq!(cause.kind(), CancelKind::Signal);
            std::process::exit(exit_code(&error).into());
        }
        other => panic!("{other} is no role"),
    }
}
