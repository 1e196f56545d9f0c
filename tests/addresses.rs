//! Where the root of a tree listens and registers, and what is there already.

mod common;
#[path = "common/peer.rs"]
mod peer;
#[path = "common/places.rs"]
mod places;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{fs, slice, thread};

use common::{Cell, HangGuard, aside, in_every_cell};
use peer::Peer;
use places::{Directory, Net, Program, any_port, deserted, play_daemon, role};
use serde_json::{Value, json};
use tractor::runtime::time;
use tractor::{
    Address, ConnectError, Error, ListenError, ListenOptions, NoActor, RegistryError, Result,
    RunOptions, SpawnOptions, connect, current_actor, endpoint, find_actor, listen, registrar,
};

/// Where this actor listens.
async fn addresses((): ()) -> Result<Vec<Address>> {
    Ok(current_actor()?.addresses().to_vec())
}
endpoint!(addresses);

fn run<T>(options: RunOptions, main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let _guard = HangGuard::new();
    options.run(main)
}

fn failure(error: &Error) -> &RegistryError {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

/// A registrar in a program of its own, and where it is.
fn daemon(net: Net, directory: &Directory) -> (Program, Address) {
    let mut daemon = Program::new("daemon", &directory.at(net, "daemon.sock"));
    let place = daemon.hear().expect("it says where it is");
    (daemon, place.parse().unwrap())
}

#[test]
fn plays_its_role() {
    if let Some((role, place)) = role() {
        assert_eq!(role, "daemon");
        play_daemon(place);
    }
}

// discovery/test_tpt_bind_addrs.py::test_registrar_root_tpt_bind_addrs[bind-eq-reg]
#[test]
fn registrar_listens_once_at_an_address_that_it_was_given_twice() {
    for net in Net::ALL {
        let directory = Directory::new();
        // A port that is known beforehand.
        let place = match net {
            Net::Tcp => deserted(),
            Net::Unix => directory.at(net, "registry.sock"),
        };
        let options = RunOptions::new()
            .registry([place.clone()])
            .listen(place.clone());
        run(options, async || {
            let actor = current_actor()?;
            assert!(actor.is_registrar());
            assert_eq!(actor.addresses(), slice::from_ref(&place));
            assert_eq!(actor.registrars(), [place]);
            Ok(())
        })
        .unwrap();
    }
}

// discovery/test_tpt_bind_addrs.py::test_registrar_root_tpt_bind_addrs[bind-subset-reg]
// discovery/test_tpt_bind_addrs.py::test_registrar_root_tpt_bind_addrs[bind-disjoint-reg]
// discovery/test_tpt_bind_addrs.py::test_registrar_merge_binds_union
#[test]
fn registrar_listens_at_all_addresses_that_it_was_given() {
    for (first, second, own) in [
        (Net::Tcp, Net::Tcp, Net::Tcp),
        (Net::Unix, Net::Unix, Net::Unix),
        (Net::Tcp, Net::Unix, Net::Tcp),
    ] {
        let directory = Directory::new();
        let places = [
            directory.at(first, "a.sock"),
            directory.at(second, "b.sock"),
        ];
        let options = RunOptions::new()
            .registry(places.clone())
            .listen(directory.at(own, "c.sock"));
        // A port that is any is none of the others.
        let expected = match places.contains(&any_port()) && own == Net::Tcp {
            true => places.len(),
            false => places.len() + 1,
        };
        run(options, async || {
            let actor = current_actor()?;
            assert!(actor.is_registrar());
            assert_eq!(actor.addresses().len(), expected);
            assert_eq!(actor.registrars().len(), 2);
            for (at, net) in actor.registrars().iter().zip([first, second]) {
                assert!(net.has(at) && actor.addresses().contains(at));
                assert!(!matches!(at, Address::Tcp(tcp) if tcp.port() == 0));
            }
            let entries = registrar().await?.entries().await?;
            assert_eq!(entries, [(actor.uid().clone(), actor.addresses().to_vec())]);
            Ok(())
        })
        .unwrap();
    }
}

// discovery/test_tpt_bind_addrs.py::test_non_registrar_root_tpt_bind_addrs[bind-same-bindspace]
// discovery/test_tpt_bind_addrs.py::test_non_registrar_root_tpt_bind_addrs[bind-disjoint]
#[test]
fn member_listens_exactly_where_it_was_told() {
    for (net, own) in [
        (Net::Tcp, Net::Tcp),
        (Net::Unix, Net::Unix),
        (Net::Tcp, Net::Unix),
        (Net::Unix, Net::Tcp),
    ] {
        let directory = Directory::new();
        let (mut program, place) = daemon(net, &directory);
        let options = RunOptions::new()
            .registry([place.clone()])
            .listen(directory.at(own, "own.sock"));
        run(options, async || {
            let actor = current_actor()?;
            assert!(!actor.is_registrar());
            assert_eq!(actor.registrars(), [place]);
            let [at] = actor.addresses() else {
                panic!("{actor:?}");
            };
            assert!(own.has(at));
            assert!(!matches!(at, Address::Tcp(tcp) if tcp.port() == 0));
            let found = registrar().await?.find("root").await?;
            assert_eq!(found, slice::from_ref(at));
            Ok(())
        })
        .unwrap();
        assert!(program.is_running());
        program.stop();
    }
}

// discovery/test_tpt_bind_addrs.py::test_non_registrar_default_random_bind
#[test]
fn member_that_was_not_told_listens_beside_its_registrar() {
    for net in Net::ALL {
        let directory = Directory::new();
        let (program, place) = daemon(net, &directory);
        run(RunOptions::new().registry([place.clone()]), async || {
            let actor = current_actor()?;
            let [at] = actor.addresses() else {
                panic!("{actor:?}");
            };
            assert!(net.has(at) && *at != place);
            if let (Address::Unix(own), Address::Unix(registrar)) = (at, &place) {
                assert_eq!(own.parent(), registrar.parent());
            }
            Ok(())
        })
        .unwrap();
        program.stop();
    }
}

// discovery/test_tpt_bind_addrs.py::test_tpt_bind_addrs_as_maddr_str
#[test]
fn addresses_are_given_as_texts() {
    let place: Address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    let options = RunOptions::new().registry([place.clone()]).listen(place);
    run(options, async || {
        let actor = current_actor()?;
        assert!(actor.is_registrar());
        for at in actor.addresses() {
            let port = at
                .to_string()
                .rsplit('/')
                .next()
                .unwrap()
                .parse::<u16>()
                .unwrap();
            assert!(port > 0);
        }
        Ok(())
    })
    .unwrap();
}

// ipc/test_each_tpt.py::test_uds_bindspace_created_implicitly
#[test]
fn directory_of_a_registrar_is_made() {
    let directory = Directory::new();
    let place: Address = format!("{}/below/registry.sock", directory.at(Net::Unix, "deep"))
        .parse()
        .unwrap();
    run(RunOptions::new().registry([place.clone()]), async || {
        let actor = current_actor()?;
        assert!(actor.is_registrar());
        assert_eq!(
            (actor.addresses(), actor.registrars()),
            (&[place.clone()][..], &[place][..])
        );
        let made = fs::metadata(directory.path().join("deep/below"))?;
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
        Ok(())
    })
    .unwrap();
    fs::remove_dir_all(directory.path().join("deep")).unwrap();
}

// ipc/test_each_tpt.py::test_rt_dir_rejects_non_directory
#[test]
fn file_in_the_place_of_the_directory_is_refused() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let place = Address::Unix(file.join("registry.sock"));
    let failed = run(RunOptions::new().registry([place]), async || Ok(())).unwrap_err();
    let failed: &ListenError = failed.downcast_ref().unwrap();
    assert_eq!(failed.source.kind(), ErrorKind::PermissionDenied);
    fs::remove_file(file).unwrap();
}

in_every_cell!(child_listens_where_its_registrar_can);

// ipc/test_multi_tpt.py::test_root_passes_tpt_to_sub[ipc_tpt='tcp']
fn child_listens_where_its_registrar_can(cell: Cell) {
    for net in Net::ALL {
        let directory = Directory::new();
        let options = RunOptions::new().registry([directory.at(net, "registry.sock")]);
        run(options, async || {
            tractor::nursery(async |an| {
                let options = cell.place(SpawnOptions::new().enable(addresses));
                let child = an.start_actor("child", options).await?;
                let at = child.run(addresses, ()).await?;
                assert!(!at.is_empty() && at.iter().all(|at| net.has(at)), "{at:?}");
                let found = find_actor("child").await?.expect("it is registered");
                assert_eq!(found.run(addresses, ()).await?, at);
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}

/// Runs a root that is to join, beside a registrar that is played.
fn beside<T>(
    options: impl FnOnce(Address) -> RunOptions,
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (Result<()>, T)
where
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let script = thread::spawn(move || script(listener));
    let result = run(options(place), async || Ok(()));
    (result, script.join().expect("the peer does not panic"))
}

// discovery/test_tpt_bind_addrs.py::test_registry_probe_retries_transient_handshake
#[test]
fn registrar_that_does_not_answer_at_once_is_asked_again() {
    let join = |place| RunOptions::new().name("late").join_registry([place]);
    let (joined, calls) = beside(join, |listener| {
        let _silent = Peer::accepted(&listener);
        let mut probe = Peer::accepted(&listener);
        let aid = probe.greet(true.into());
        assert_eq!(aid["name"], "registry-probe");
        assert_eq!(
            (&aid["is_probe"], &aid["is_registrar"]),
            (&json!(true), &Value::Null)
        );
        probe.closed();
        // It is no peer of the same library, so each call has a connection of its own.
        ["register_actor", "unregister_actor"].map(|expected| {
            let mut peer = Peer::accepted(&listener);
            let aid = peer.greet(true.into());
            assert_eq!(
                (&aid["name"], &aid["is_registrar"]),
                (&json!("late"), &json!(false))
            );
            let call = peer.answer();
            assert_eq!(
                (&call["ns"], &call["func"]),
                (&json!("self"), &json!(expected))
            );
            peer.closed();
            call
        })
    });
    joined.unwrap();
    let [registered, unregistered] = calls;
    assert_eq!(registered["kwargs"]["uid"], registered["uid"]);
    assert_eq!(registered["kwargs"]["addr"][0], "127.0.0.1");
    assert_eq!(unregistered["kwargs"], json!({"uid": registered["uid"]}));
}

// discovery/test_tpt_bind_addrs.py::test_probe_channel_close_is_bounded
#[test]
fn registrar_that_does_not_close_its_end_is_not_waited_for() {
    let (over, is_over) = channel::<()>();
    let preside = |place| RunOptions::new().be_registrar([place]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let mut probe = Peer::accepted(&listener);
        probe.greet(true.into());
        // The connection stays open until the other side is done.
        let _ = is_over.recv();
    });
    let failed = run(preside(place.clone()), async || Ok(())).unwrap_err();
    assert_eq!(failure(&failed), &RegistryError::Exists { address: place });
    drop(over);
    peer.join().unwrap();
}

// discovery/test_tpt_bind_addrs.py::test_transport_only_listener_is_not_registrar
#[test]
fn somebody_else_at_the_address_is_no_registrar() {
    type Script = fn(&TcpListener);
    let scripts: [(&str, usize, Script); 3] = [
        ("no actor", 3, |listener| drop(listener.accept().unwrap())),
        ("an actor that is none", 1, |listener| {
            Peer::accepted(listener).greet(false.into());
        }),
        ("an actor that does not say", 1, |listener| {
            Peer::accepted(listener).greet(Value::Null);
        }),
    ];
    for (what, times, script) in scripts {
        for role in [
            RunOptions::registry,
            RunOptions::join_registry,
            RunOptions::be_registrar,
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let place = Address::Tcp(listener.local_addr().unwrap());
            let peer = thread::spawn(move || (0..times).for_each(|_| script(&listener)));
            let options = role(RunOptions::new(), vec![place.clone()]);
            let failed = run(options, async || Ok(())).unwrap_err();
            let expected = RegistryError::Occupied { address: place };
            assert_eq!(failure(&failed), &expected, "{what}");
            peer.join().unwrap();
        }
    }
}

// discovery/test_tpt_bind_addrs.py::test_registry_probe_preserves_no_peers_state
#[test]
fn registrar_that_is_asked_who_it_is_knows_nobody_more() {
    for net in Net::ALL {
        let directory = Directory::new();
        let (program, place) = daemon(net, &directory);
        for _ in 0..3 {
            let failed = run(
                RunOptions::new().be_registrar([place.clone()]),
                async || Ok(()),
            );
            let expected = RegistryError::Exists {
                address: place.clone(),
            };
            assert_eq!(failure(&failed.unwrap_err()), &expected);
        }
        run(RunOptions::new().registry([place]), async || {
            let entries = registrar().await?.entries().await?;
            let names: Vec<_> = entries.iter().map(|(uid, _)| uid.name()).collect();
            assert_eq!(names, ["daemon", "root"]);
            Ok(())
        })
        .unwrap();
        program.stop();
    }
}

#[test]
fn nobody_at_the_address_fails_those_who_only_join() {
    let place = deserted();
    let failed = run(
        RunOptions::new().join_registry([place.clone()]),
        async || Ok(()),
    );
    let expected = RegistryError::Absent {
        addresses: vec![place],
    };
    assert_eq!(failure(&failed.unwrap_err()), &expected);
}

#[test]
fn address_that_is_taken_fails_the_root_with_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(taken.local_addr().unwrap());
    let failed = run(RunOptions::new().listen(place.clone()), async || Ok(())).unwrap_err();
    let failed: &ListenError = failed.downcast_ref().unwrap();
    assert_eq!(failed.address, place);
}

#[test]
fn registrar_that_takes_no_entry_fails_who_would_join() {
    let join = |place| RunOptions::new().join_registry([place]);
    let (over, is_over) = channel::<()>();
    let (failed, _) = beside(join, move |listener| {
        Peer::accepted(&listener).greet(true.into());
        let mut peer = Peer::accepted(&listener);
        peer.greet(true.into());
        let start = peer.receive().expect("it registers");
        assert_eq!(start["func"], "register_actor");
        // It gives up, and with it the connection.
        while peer.receive().is_some() {}
        drop(is_over);
    });
    drop(over);
    assert!(matches!(
        failure(&failed.unwrap_err()),
        RegistryError::Silent { .. }
    ));
}

// ipc/test_server.py::test_handshake_normalizes_decode_error
#[test]
fn first_frame_that_is_no_message_is_why_there_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let mut peer = Peer::accepted(&listener);
        peer.0.write_all(b"\x01\0\0\0\xc1").unwrap();
        peer.closed();
    });
    let failed = run(RunOptions::new(), async || {
        connect(&place).await.map(|_| ())
    })
    .unwrap_err();
    let failed: &ConnectError = failed.downcast_ref().unwrap();
    assert_eq!(failed.source.kind(), ErrorKind::InvalidData);
    assert_eq!(
        failed.source.to_string(),
        "not msgpack from byte 1 of the frame on"
    );
    peer.join().unwrap();
}

// ipc/test_server.py::test_server_uses_independent_handshake_timeout
#[test]
fn each_listener_waits_for_a_handshake_in_its_own_time() {
    let limit = Duration::from_millis(100);
    run(RunOptions::new(), async || {
        let hasty = ListenOptions::new()
            .handshake_limit(limit)
            .listen(any_port())?;
        let patient = listen(any_port())?;
        let ports = [&hasty, &patient].map(|it| it.socket_addr().unwrap());
        aside(move || {
            let start = Instant::now();
            let [closed, mut open] = ports.map(|at| Peer(TcpStream::connect(at).unwrap()));
            closed.closed();
            assert!(start.elapsed() >= limit);
            let aid = open.greet(false.into());
            assert_eq!(aid["msg_type"], "Aid");
        })
        .await
    })
    .unwrap();
}

// ipc/test_server.py::test_basic_ipc_server[uds]
// ipc/test_server.py::test_basic_ipc_server[tcp]
#[test]
fn listener_is_there_until_it_is_closed() {
    for net in Net::ALL {
        let directory = Directory::new();
        run(RunOptions::new(), async || {
            assert!(current_actor()?.addresses().is_empty());
            let listening = listen(directory.at(net, "actor.sock"))?;
            let at = listening.address().clone();
            assert!(net.has(&at));
            assert_eq!(current_actor()?.addresses(), slice::from_ref(&at));
            listening.close().await?;
            assert!(current_actor()?.addresses().is_empty());
            let failed = connect(&at).await.unwrap_err();
            assert!(failed.is::<ConnectError>());
            Ok(())
        })
        .unwrap();
    }
}

// test_root_runtime.py::test_runtime_vars_unset
#[test]
fn nothing_of_an_actor_is_left_when_it_has_ended() {
    let place = deserted();
    let first = run(RunOptions::new().registry([place.clone()]), async || {
        time::sleep(Duration::from_millis(1)).await?;
        current_actor()
    })
    .unwrap();
    assert!(first.is_registrar());
    assert!(current_actor().unwrap_err().is::<NoActor>());
    let [Address::Tcp(at)] = first.addresses() else {
        panic!("{first:?}");
    };
    let free: SocketAddr = *at;
    let _guard = HangGuard::new();
    // A process that another test starts has a copy of the listener until it runs its program.
    while TcpListener::bind(free).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
    let second = run(RunOptions::new(), async || current_actor()).unwrap();
    assert!(!second.is_registrar() && second.registrars().is_empty());
    assert_ne!(second.uid(), first.uid());
}
