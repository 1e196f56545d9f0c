//! Several programs in one tree.

mod common;
#[path = "common/places.rs"]
mod places;

use std::time::Duration;

use common::{HangGuard, MARKER, Marker, aside};
use places::{Directory, Net, Program, any_port, deserted, play_daemon, role, say};
use rustix::process::{Signal, kill_process};
use tractor::runtime::{nursery, time};
use tractor::{
    Address, ConnectError, Error, Registrar, Result, RunOptions, SpawnOptions, Uid, be_registrar,
    connect, current_actor, endpoint, exit_code, find_actor, find_root, parent, query_actor,
    registrar, wait_for_actor,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

/// Waits for nothing, in a way that nobody can cancel.
async fn be_stuck((): ()) -> Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
endpoint!(be_stuck);

/// The root as it is found, the parent, and where the root listens.
async fn above((): ()) -> Result<(Uid, Uid, Vec<Address>)> {
    let root = find_root().await?.expect("it listens");
    let parent = parent().expect("this is a child");
    let at = root.run(addresses, ()).await?;
    Ok((root.uid().clone(), parent.uid().clone(), at))
}
endpoint!(above);

async fn addresses((): ()) -> Result<Vec<Address>> {
    Ok(current_actor()?.addresses().to_vec())
}
endpoint!(addresses);

/// Becomes a registrar beside the one that it has.
async fn preside(at: Address) -> Result<Address> {
    be_registrar(at).await
}
endpoint!(preside);

async fn find_and_call(name: String) -> Result<u64> {
    let found = find_actor(&name).await?.expect("it is there");
    found.run(double, 21).await
}
endpoint!(find_and_call);

fn run<T>(options: RunOptions, main: impl AsyncFnOnce(SpawnOptions) -> Result<T>) -> Result<T> {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let spawn = SpawnOptions::new()
        .env(MARKER, marker.text())
        .enable_module(module_path!());
    let options = options.enable_module(module_path!());
    let result = options.run(async || main(spawn).await);
    marker.gone_within(Duration::ZERO);
    result
}

fn daemon(net: Net, directory: &Directory) -> (Program, Address) {
    let mut daemon = Program::new("daemon", &directory.at(net, "daemon.sock"));
    let place = daemon.hear().expect("it says where it is");
    (daemon, place.parse().unwrap())
}

async fn names(at: &Address) -> Result<Vec<String>> {
    let entries = Registrar::connect(at).await?.entries().await?;
    let names = entries.iter().map(|(uid, _)| uid.name().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// Waits until a registrar knows exactly these.
async fn known(at: &Address, expected: &[&str]) -> Result<()> {
    while names(at).await? != expected {
        time::sleep(Duration::from_millis(2)).await?;
    }
    Ok(())
}

#[test]
fn plays_its_role() {
    let Some((role, place)) = role() else { return };
    let _guard = HangGuard::new();
    match &*role {
        "daemon" => play_daemon(place),
        "one of several" => {
            let ended = RunOptions::new().registry([place]).run(async || {
                say(match current_actor()?.is_registrar() {
                    true => "registrar",
                    false => "member",
                });
                time::sleep_forever().await?;
                Ok(())
            });
            std::process::exit(exit_code(&ended.unwrap_err()).into());
        }
        other => panic!("{other} is no role"),
    }
}

// discovery/test_multi_program.py::test_abort_on_sigint
#[test]
fn daemon_ends_at_ctrl_c() {
    let _guard = HangGuard::new();
    for net in Net::ALL {
        let directory = Directory::new();
        let (program, _) = daemon(net, &directory);
        kill_process(program.pid(), Signal::INT).unwrap();
        assert_eq!(program.ended().code(), Some(130));
    }
}

#[test]
fn registrar_that_is_cancelled_from_another_program_ends() {
    let directory = Directory::new();
    let (program, place) = daemon(Net::Unix, &directory);
    run(RunOptions::new().registry([place.clone()]), async |_| {
        let daemon = find_actor("daemon").await?.expect("it knows itself");
        assert!(daemon.cancel_actor().await);
        loop {
            match connect(&place).await {
                Ok(portal) => portal.disconnect(),
                Err(error) => break assert!(error.is::<ConnectError>(), "{error}"),
            }
        }
        let failed = find_actor("daemon").await.unwrap_err();
        assert!(failed.is::<ConnectError>(), "{failed}");
        Ok(())
    })
    .unwrap();
    assert_eq!(program.ended().code(), Some(0));
}

#[test]
fn registrar_over_tcp_is_not_cancelled_by_anybody() {
    let directory = Directory::new();
    let (program, place) = daemon(Net::Tcp, &directory);
    run(RunOptions::new().registry([place.clone()]), async |_| {
        let daemon = find_actor("daemon").await?.expect("it knows itself");
        assert!(!daemon.cancel_actor().await);
        assert_eq!(names(&place).await?, ["daemon", "root"]);
        Ok(())
    })
    .unwrap();
    program.stop();
}

// discovery/test_multi_program.py::test_register_duplicate_name
#[test]
fn actors_of_one_name_are_both_registered() {
    for net in Net::ALL {
        let directory = Directory::new();
        let (program, place) = daemon(net, &directory);
        run(
            RunOptions::new().registry([place.clone()]),
            async |options| {
                tractor::nursery(async |an| {
                    let one = an.start_actor("twin", options.clone()).await?;
                    let other = an.start_actor("twin", options).await?;
                    let found = wait_for_actor("twin").await?;
                    assert!([one.uid(), other.uid()].contains(&found.uid()));
                    for uid in [one.uid(), other.uid()] {
                        let found = find_actor(uid.id()).await?.expect("it is registered");
                        assert_eq!(found.uid(), uid);
                        assert_eq!(found.run(double, 21).await?, 42);
                    }
                    assert_eq!(names(&place).await?, ["daemon", "root", "twin", "twin"]);
                    an.cancel();
                    Ok(())
                })
                .await?;
                assert_eq!(names(&place).await?, ["daemon", "root"]);
                Ok(())
            },
        )
        .unwrap();
        program.stop();
    }
}

// discovery/test_multi_program.py::test_dup_name_cancel_cascade_escalates_to_hard_kill[n_dups=2]
#[test]
fn actors_of_one_name_that_are_stuck_are_killed() {
    let directory = Directory::new();
    let (program, place) = daemon(Net::Unix, &directory);
    run(
        RunOptions::new().registry([place.clone()]),
        async |options| {
            let options = options
                .grace(Duration::from_millis(50))
                .term_grace(Duration::from_millis(50));
            let portals = tractor::nursery(async |an| {
                let mut portals = Vec::new();
                for _ in 0..2 {
                    portals.push(an.start_actor("twin", options.clone()).await?);
                }
                let found = wait_for_actor("twin").await?;
                assert_eq!(found.uid().name(), "twin");
                nursery(async |n| {
                    for portal in &portals {
                        n.start_soon(async {
                            let lost = portal.run(be_stuck, ()).await;
                            assert!(lost.is_err());
                            Ok(())
                        });
                    }
                    time::sleep(Duration::from_millis(20)).await?;
                    an.cancel();
                    Ok(())
                })
                .await?;
                Ok(portals)
            })
            .await?;
            assert!(portals.iter().all(|portal| !portal.is_connected()));
            known(&place, &["daemon", "root"]).await
        },
    )
    .unwrap();
    program.stop();
}

// discovery/test_multi_program.py::test_non_registrar_spawns_child
#[test]
fn child_of_a_member_knows_its_root() {
    for net in Net::ALL {
        let directory = Directory::new();
        let (program, place) = daemon(net, &directory);
        run(RunOptions::new().registry([place]), async |options| {
            let here = current_actor()?;
            assert!(here.is_root() && !here.is_registrar());
            tractor::nursery(async |an| {
                let child = an.start_actor("child", options).await?;
                let (root, parent, at) = child.run(above, ()).await?;
                assert_eq!((&root, &parent), (here.uid(), here.uid()));
                assert_eq!(root.name(), "root");
                assert_eq!(at, here.addresses());
                assert_eq!(at.len(), 1);
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
        program.stop();
    }
}

/// Starts several programs at once at a place where nobody is, or not any more.
fn several(place: &Address) -> Vec<Program> {
    let mut programs: Vec<_> = (0..4)
        .map(|_| Program::new("one of several", place))
        .collect();
    let roles = programs
        .iter_mut()
        .map(|program| program.hear().expect("it joins"));
    let mut roles: Vec<_> = roles.zip(0..).collect();
    roles.sort();
    let (last, _) = &roles[3];
    assert_eq!(last, "registrar");
    assert!(
        roles[..3].iter().all(|(role, _)| role == "member"),
        "{roles:?}"
    );
    // The registrar last.
    let mut programs: Vec<_> = programs.into_iter().map(Some).collect();
    roles
        .iter()
        .map(|(_, i)| programs[*i].take().expect("each once"))
        .collect()
}

#[test]
fn one_of_several_programs_that_start_at_once_becomes_the_registrar() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    for place in [deserted(), directory.at(Net::Unix, "registry.sock")] {
        let programs = several(&place);
        run(RunOptions::new().name("guest"), async |_| {
            assert_eq!(names(&place).await?, ["root"; 4]);
            Ok(())
        })
        .unwrap();
        for program in programs {
            program.stop();
        }
    }
}

#[test]
fn registrar_that_was_killed_is_replaced_by_one_of_those_that_come() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    for place in [deserted(), directory.at(Net::Unix, "registry.sock")] {
        let mut programs = several(&place);
        let registrar = programs.pop().unwrap();
        kill_process(registrar.pid(), Signal::KILL).unwrap();
        registrar.ended();
        // Those that had joined go on. They are not known to the new one.
        assert!(programs.iter_mut().all(Program::is_running));
        let others = several(&place);
        run(RunOptions::new().name("guest"), async |_| {
            assert_eq!(names(&place).await?, ["root"; 4]);
            Ok(())
        })
        .unwrap();
        for program in programs.into_iter().chain(others) {
            program.stop();
        }
    }
}

#[test]
fn entries_of_a_program_that_is_killed_go_with_it() {
    let _guard = HangGuard::new();
    for net in Net::ALL {
        let directory = Directory::new();
        let place = directory.at(net, "registry.sock");
        run(
            RunOptions::new().name("here").registry([place]),
            async |_| {
                let at = current_actor()?.registrars()[0].clone();
                let place = at.clone();
                // It asks this actor, which has to be free to answer.
                let program = aside(move || {
                    let mut program = Program::new("one of several", &place);
                    assert_eq!(program.hear().as_deref(), Some("member"));
                    program
                })
                .await?;
                assert_eq!(names(&at).await?, ["here", "root"]);
                let left = query_actor("root").await?.expect("it is registered");
                kill_process(program.pid(), Signal::KILL)?;
                known(&at, &["here"]).await?;
                assert!(find_actor("root").await?.is_none());
                program.ended();
                // Nobody was there to remove it.
                if let Address::Unix(path) = left {
                    std::fs::remove_file(path)?;
                }
                Ok(())
            },
        )
        .unwrap();
    }
}

#[test]
fn member_of_several_registrars_is_found_at_each() {
    let _guard = HangGuard::new();
    for (first, second) in [(Net::Tcp, Net::Tcp), (Net::Unix, Net::Tcp)] {
        let (here, there) = (Directory::new(), Directory::new());
        let (first, at_first) = daemon(first, &here);
        let (second, at_second) = daemon(second, &there);
        // Who is not there is none of the registrars.
        let places = [at_first.clone(), deserted(), at_second.clone()];
        run(RunOptions::new().registry(places), async |options| {
            assert_eq!(
                current_actor()?.registrars(),
                [at_first.clone(), at_second.clone()]
            );
            tractor::nursery(async |an| {
                let child = an.start_actor("child", options.clone()).await?;
                for at in [&at_first, &at_second] {
                    assert_eq!(names(at).await?, ["child", "daemon", "root"]);
                }
                // One that only the second knows is found all the same.
                let forgets = Registrar::connect(&at_first).await?;
                forgets.unregister(child.uid()).await?;
                assert!(forgets.find_actor("child").await?.is_none());
                let found = find_actor("child").await?.expect("the second knows it");
                assert_eq!(found.uid(), child.uid());
                assert_eq!(wait_for_actor("child").await?.uid(), child.uid());
                assert!(query_actor("child").await?.is_some());
                // And when the first is gone.
                first.stop();
                let found = find_actor("child").await?.expect("the second knows it");
                assert_eq!(found.uid(), child.uid());
                assert_eq!(registrar().await?.uid().name(), "daemon");
                // What starts now is found at the second.
                let late = an.start_actor("late", options).await?;
                let found = find_actor("late").await?.expect("the second knows it");
                assert_eq!(found.uid(), late.uid());
                an.cancel();
                Ok(())
            })
            .await?;
            assert_eq!(names(&at_second).await?, ["daemon", "root"]);
            Ok(())
        })
        .unwrap();
        second.stop();
    }
}

#[test]
fn child_cannot_start_where_its_registrar_is_gone() {
    let directory = Directory::new();
    let (program, place) = daemon(Net::Tcp, &directory);
    run(
        RunOptions::new().registry([place.clone()]),
        async |options| {
            program.stop();
            let failed = tractor::nursery(async |an| {
                let failed = an.start_actor("child", options).await.unwrap_err();
                an.cancel();
                Ok(failed)
            })
            .await?;
            let failed: &tractor::SpawnError = failed.downcast_ref().unwrap();
            let tractor::SpawnFailure::Boot(reason) = failed.failure() else {
                panic!("{failed}");
            };
            assert_eq!(reason.src_type(), "ConnectError");
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn registrar_that_is_no_root_serves_its_children_and_other_programs() {
    for net in Net::ALL {
        let directory = Directory::new();
        run(RunOptions::new(), async |options| {
            tractor::nursery(async |an| {
                let child = an.start_actor("middle", options.clone()).await?;
                let at = child
                    .run(preside, directory.at(net, "registry.sock"))
                    .await?;
                assert_eq!(names(&at).await?, ["middle"]);
                let mut program = Program::new("one of several", &at);
                assert_eq!(program.hear().as_deref(), Some("member"));
                assert_eq!(names(&at).await?, ["middle", "root"]);
                let found = child.run(find_and_call, "middle".into()).await;
                assert!(found.is_err(), "that is itself");
                program.stop();
                known(&at, &["middle"]).await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

#[test]
fn actor_that_becomes_a_registrar_keeps_the_one_that_it_has() {
    run(RunOptions::new().registry([any_port()]), async |options| {
        let own = current_actor()?.registrars()[0].clone();
        tractor::nursery(async |an| {
            let child = an.start_actor("middle", options.clone()).await?;
            an.start_actor("other", options).await?;
            let at = child.run(preside, any_port()).await?;
            assert_eq!(names(&at).await?, ["middle"]);
            assert_eq!(names(&own).await?, ["middle", "other", "root"]);
            assert_eq!(child.run(find_and_call, "other".into()).await?, 42);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn error_of_an_actor_that_is_found_comes_back_over_its_connection() {
    run(RunOptions::new().registry([any_port()]), async |options| {
        let failed: Error = tractor::nursery(async |an| {
            an.start_actor("child", options).await?;
            let found = find_actor("child").await?.expect("it is registered");
            let failed = found.run(find_and_call, "child".into()).await.unwrap_err();
            an.cancel();
            Ok(failed)
        })
        .await?;
        let failed: &tractor::RemoteActorError = failed.downcast_ref().unwrap();
        assert_eq!(failed.src_type(), "ConnectError");
        assert!(failed.message().contains("it is this actor"), "{failed}");
        Ok(())
    })
    .unwrap();
}
