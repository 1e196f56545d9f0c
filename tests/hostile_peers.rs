//! Peers that do not keep to the protocol: each costs at most its connection, and the log says why,
//! while others go on talking.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::env;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::tree;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use sockets::{
    Directory, Peer, actor, aid, any_port, aside, beside, frame, keep_the_log, logged, start,
    talk_to, was_logged,
};
use tractor::runtime::{nursery, time};
use tractor::{
    Address, ConnectError, ListenOptions, Result, SpawnOptions, connect, endpoint, listen,
};

/// What a peer does wrong, and what is logged of it.
type Wrong = (&'static str, fn(&str, &Address), &'static str);

const WRONGS: [Wrong; 9] = [
    (
        "half a frame",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("half-{kind}"));
            let frame = frame(&aid(&format!("half-{kind}"), false));
            peer.0.write_all(&frame[..frame.len() / 2]).unwrap();
            peer.0.shutdown(Shutdown::Write).unwrap();
            peer.closed();
        },
        "the connection to half-KIND@uuid-of- is given up",
    ),
    (
        "a frame over the limit",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("large-{kind}"));
            peer.0.write_all(&u32::MAX.to_le_bytes()).unwrap();
            let said = peer.receive().unwrap();
            assert!(said["message"].as_str().unwrap().contains("over the limit"));
            peer.closed();
        },
        "the connection to large-KIND@uuid-of- is given up: a frame of 4294967295 bytes",
    ),
    (
        "garbage",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("garbage-{kind}"));
            // 0xc1 is what no msgpack begins with.
            let garbage = [8, 0, 0, 0].into_iter().chain([0xc1; 8]);
            peer.0.write_all(&garbage.collect::<Vec<_>>()).unwrap();
            peer.closed();
        },
        "the connection to garbage-KIND@uuid-of- is given up: not msgpack from byte",
    ),
    (
        "deep nesting",
        |kind, address| {
            let name = format!("deep-{kind}");
            let mut peer = Peer::known(address, &name);
            let mut call = start(&name, "self", "nonsense");
            call["kwargs"] = (0..100).fold(json!({}), |inner, _| json!({"x": inner}));
            peer.send(&call);
            peer.closed();
        },
        "the connection to deep-KIND@uuid-of- is given up: nested deeper than the limit of 64",
    ),
    (
        "an unknown tag",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("tag-{kind}"));
            peer.send(&json!({"msg_type": "Nonsense"}));
            peer.closed();
        },
        "the connection to tag-KIND@uuid-of- is given up: unknown msg_type \"Nonsense\"",
    ),
    (
        "a second handshake",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("twice-{kind}"));
            peer.send(&aid(&format!("twice-{kind}"), false));
            peer.closed();
        },
        "the connection to twice-KIND@uuid-of- is given up: Aid after the handshake",
    ),
    (
        "no handshake but a call",
        |kind, address| {
            let mut peer = Peer::new(address);
            peer.send(&start(&format!("rude-{kind}"), "self", "cancel"));
            peer.closed();
        },
        "was turned away: it sent Start first",
    ),
    (
        "no word at all",
        |_, address| {
            let mut peer = Peer::new(address);
            peer.closed();
        },
        "was turned away: it did not say who it is within 300ms",
    ),
    (
        "a call in the name of another",
        |kind, address| {
            let mut peer = Peer::known(address, &format!("thief-{kind}"));
            peer.send(&start("root", "self", "cancel"));
            peer.closed();
        },
        "the connection to thief-KIND@uuid-of- is given up: a Start in the name of",
    ),
];

/// Over every kind of socket that strangers come by, with a name for the log.
fn over_every_socket(test: impl Fn(&'static str, Address)) {
    test("tcp", any_port());
    let directory = Directory::new();
    test("unix", Address::Unix(directory.socket()));
}

#[test]
fn peer_that_breaks_the_protocol_costs_its_connection() {
    over_every_socket(|kind, address| {
        actor(async || {
            let listening = ListenOptions::new()
                .handshake_limit(Duration::from_millis(300))
                .listen(address)?;
            let text = listening.address().to_string();
            beside(async |other| {
                for (what, wrong, reason) in WRONGS {
                    let address = listening.address().clone();
                    let reason = reason.replace("KIND", kind);
                    let before = logged(&reason);
                    nursery(async |n| {
                        let talk = n.start_soon(other.run(talk_to, text.clone()));
                        aside(move || wrong(kind, &address)).await?;
                        assert_eq!(talk.await?, 100, "beside {what} over {kind}");
                        Ok(())
                    })
                    .await?;
                    let after = other.run(talk_to, text.clone()).await?;
                    assert_eq!(after, 100, "after {what} over {kind}");
                    assert!(
                        logged(&reason) > before,
                        "{what} is not in the log: {reason}"
                    );
                }
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}

#[test]
fn peer_that_stops_reading_costs_its_connection() {
    over_every_socket(|kind, address| {
        actor(async || {
            let listening = listen(address)?;
            let text = listening.address().to_string();
            let address = listening.address().clone();
            let name = format!("deaf-{kind}");
            beside(async |other| {
                let deaf = name.clone();
                nursery(async |n| {
                    let talk = n.start_soon(other.run(talk_to, text.clone()));
                    aside(move || {
                        let mut peer = Peer::known(&address, &deaf);
                        let calls = frame(&start(&deaf, "self", "nonsense")).repeat(100);
                        // Each call is refused, and no refusal is read.
                        while peer.0.write_all(&calls).is_ok() {}
                    })
                    .await?;
                    assert_eq!(talk.await?, 100);
                    Ok(())
                })
                .await?;
                assert_eq!(other.run(talk_to, text.clone()).await?, 100);
                assert!(was_logged("the peer does not read"));
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}

#[test]
fn messages_of_unknown_and_finished_contexts_change_nothing() {
    over_every_socket(|kind, address| {
        actor(async || {
            let listening = listen(address)?;
            let text = listening.address().to_string();
            let address = listening.address().clone();
            let name = format!("late-{kind}");
            beside(async |other| {
                nursery(async |n| {
                    let talk = n.start_soon(other.run(talk_to, text.clone()));
                    aside(move || {
                        let mut peer = Peer::known(&address, &name);
                        let mut call = start(&name, "nowhere", "nothing");
                        for round in 0..100 {
                            // The first was never heard of, the others have been refused.
                            let cid = if round == 0 { "unheard of" } else { "a dialog" };
                            for late in [
                                json!({"msg_type": "StartAck", "cid": cid, "functype": "context"}),
                                json!({"msg_type": "Started", "cid": cid, "pld": 1}),
                                json!({"msg_type": "Yield", "cid": cid, "pld": 1}),
                                json!({"msg_type": "Stop", "cid": cid}),
                                json!({"msg_type": "Return", "cid": cid, "pld": 1}),
                                json!({"msg_type": "CancelAck", "cid": cid, "pld": true}),
                            ] {
                                peer.send(&late);
                            }
                            call["cid"] = json!(format!("call {round}"));
                            peer.send(&call);
                            let refused = peer.receive().unwrap();
                            assert_eq!(refused["boxed_type_str"], "ModuleNotExposed", "{refused}");
                            assert_eq!(refused["cid"], call["cid"]);
                            call["cid"] = json!("a dialog");
                            peer.send(&call);
                            assert_eq!(peer.receive().unwrap()["cid"], "a dialog");
                        }
                    })
                    .await?;
                    assert_eq!(talk.await?, 100);
                    Ok(())
                })
                .await
            })
            .await
        })
        .unwrap();
    });
}

#[test]
fn oldest_connection_without_a_handshake_gives_way() {
    actor(async || {
        let listening = ListenOptions::new().unknown_limit(2).listen(any_port())?;
        let address = listening.address().clone();
        aside(move || {
            let mut silent = [Peer::new(&address), Peer::new(&address)];
            for peer in &mut silent {
                assert_eq!(peer.receive().unwrap()["name"], "root");
            }
            // This one is taken all the same, and then is none without a handshake.
            let _known = Peer::known(&address, "third");
            silent[0].closed();
            silent[1].send(&aid("second", false));
            silent[1].send(&start("second", "nowhere", "nothing"));
            let refused = silent[1].receive().unwrap();
            assert_eq!(refused["boxed_type_str"], "ModuleNotExposed");
        })
        .await?;
        assert!(was_logged(
            "was turned away: too many have not said who they are"
        ));
        Ok(())
    })
    .unwrap();
}

#[test]
fn those_who_said_who_they_are_before_they_were_taken_are_let_in() {
    over_every_socket(|kind, address| {
        actor(async || {
            let listening = ListenOptions::new().unknown_limit(1).listen(address)?;
            // All of them are there, and have spoken, before any is taken.
            let mut peers = ["first", "second", "third"].map(|name| {
                let name = format!("{name}-{kind}");
                let mut peer = Peer::new(listening.address());
                peer.send(&aid(&name, false));
                peer.send(&start(&name, "nowhere", "nothing"));
                peer
            });
            aside(move || {
                for peer in &mut peers {
                    assert_eq!(peer.receive().unwrap()["name"], "root");
                    let refused = peer.receive().expect("it was let in");
                    assert_eq!(refused["boxed_type_str"], "ModuleNotExposed");
                }
            })
            .await
        })
        .unwrap();
    });
}

/// What a process of another user does: it connects to the socket of an actor, or is one at which
/// an actor is wrong to look for another.
const ROLE: &str = "TRACTOR_TEST_ROLE";

/// Whose processes these are.
const NOBODY: u32 = 65534;

/// In a process that a test here started this does what that is to do; otherwise nothing.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let (what, path) = role.split_once(' ').expect("what to do, and where");
    let path = PathBuf::from(path);
    match what {
        "connects" => {
            let mut peer = Peer::new(&Address::Unix(path));
            // It is not even told who is there.
            let closed = peer.0.write_all(&frame(&aid("stranger", false))).is_err();
            assert!(closed || peer.receive().is_none());
        }
        "listens" => {
            let listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            let (mut socket, _) = listener.accept().unwrap();
            // Nothing is said to it.
            assert_eq!(std::io::Read::read(&mut socket, &mut [0; 1]).unwrap(), 0);
        }
        other => panic!("nobody knows how to {other}"),
    }
}

/// A program of another user that plays a role.
fn nobody(what: &str, path: &std::path::Path) -> Command {
    // By this name, for its directory may be closed to that user.
    let mut program = Command::new("/proc/self/exe");
    program
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(ROLE, format!("{what} {}", path.display()))
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    program
}

/// Only root can start what another user runs.
fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

#[test]
fn process_of_another_user_is_not_let_in() {
    if !is_root() {
        return;
    }
    actor(async || {
        let directory = Directory::new();
        let listening = listen(Address::Unix(directory.socket()))?;
        let text = listening.address().to_string();
        // Now nothing but the look at who it is stands between.
        fs::set_permissions(&directory.0, Permissions::from_mode(0o755))?;
        fs::set_permissions(directory.socket(), Permissions::from_mode(0o777))?;
        let mut stranger = nobody("connects", &directory.socket());
        beside(async |other| {
            nursery(async |n| {
                let talk = n.start_soon(other.run(talk_to, text.clone()));
                assert!(aside(move || stranger.status().unwrap()).await?.success());
                assert_eq!(talk.await?, 100);
                Ok(())
            })
            .await?;
            assert_eq!(other.run(talk_to, text.clone()).await?, 100);
            Ok(())
        })
        .await?;
        assert!(was_logged("the peer is user 65534"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn process_of_another_user_is_not_connected_to() {
    if !is_root() {
        return;
    }
    actor(async || {
        let directory = Directory::new().made(0o777);
        let mut stranger = nobody("listens", &directory.socket()).spawn()?;
        let address = Address::Unix(directory.socket());
        let refused = loop {
            assert_eq!(stranger.try_wait()?, None, "it has come to listen");
            let error = connect(&address).await.unwrap_err();
            let error = error.downcast_ref::<ConnectError>().unwrap();
            match error.source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {}
                kind => break kind,
            }
            time::sleep(Duration::from_millis(5)).await?;
        };
        assert_eq!(refused, std::io::ErrorKind::PermissionDenied);
        assert!(aside(move || stranger.wait().unwrap()).await?.success());
        Ok(())
    })
    .unwrap();
}

/// Leaves no descriptor to this process but those that it gives.
fn take_all_descriptors() -> Result<Vec<File>> {
    // So that there are not too many to be taken.
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(256),
            ..getrlimit(Resource::Nofile)
        },
    )?;
    let mut spare = vec![File::open("/dev/null")?];
    while let Ok(another) = File::open("/dev/null") {
        spare.push(another);
    }
    Ok(spare)
}

/// Runs out of descriptors while somebody connects, and says how often no connection was taken.
async fn exhaust((): ()) -> Result<usize> {
    keep_the_log();
    let listening = listen(any_port())?;
    let address = listening.address().clone();
    let mut spare = take_all_descriptors()?;
    // One for the peer, and none for who is to take its connection.
    spare.pop();
    let mut peer = Peer::new(&address);
    while !was_logged("no connection at") {
        time::sleep(Duration::from_millis(5)).await?;
    }
    // It rests, and does not try all the time.
    time::sleep(Duration::from_millis(350)).await?;
    let tries = logged("no connection at");
    drop(spare);
    let name = aside(move || peer.receive().unwrap()["name"].as_str().map(String::from)).await?;
    assert_eq!(name.as_deref(), Some("exhausted"));
    Ok(tries)
}
endpoint!(exhaust);

#[test]
fn listener_that_has_no_descriptors_rests_and_goes_on() {
    // In a process of its own, for everything in it fails meanwhile.
    let tries = tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable(exhaust);
            let portal = an.start_actor("exhausted", options).await?;
            let tries = portal.run(exhaust, ()).await?;
            an.cancel();
            Ok(tries)
        })
        .await
    });
    let tries = tries.unwrap();
    assert!((1..=5).contains(&tries), "{tries}");
}

const UNKNOWN: usize = 8;
const CROWD: usize = 100;

/// Has as many descriptors as connections without a handshake are let be, and a crowd that waits to
/// be taken. Says how many were turned away, and how often a connection was not taken.
async fn crowd(unix: bool) -> Result<(usize, usize)> {
    keep_the_log();
    let directory = Directory::new();
    let address = match unix {
        true => Address::Unix(directory.socket()),
        false => any_port(),
    };
    let listening = ListenOptions::new()
        .unknown_limit(UNKNOWN)
        .listen(address)?;
    // No other task has its turn before all of them wait.
    let _crowd = [(); CROWD].map(|()| Peer::new(listening.address()));
    let mut spare = take_all_descriptors()?;
    spare.truncate(spare.len() - UNKNOWN);
    let away = || logged("was turned away: too many have not said who they are");
    while away() < CROWD - UNKNOWN && !was_logged("no connection at") {
        time::sleep(Duration::from_millis(5)).await?;
    }
    Ok((away(), logged("no connection at")))
}
endpoint!(crowd);

#[test]
fn connections_without_a_handshake_hold_no_more_descriptors_than_their_limit() {
    for unix in [false, true] {
        // In a process of its own, whose descriptors are counted out.
        let (away, missed) = tree(async |options: SpawnOptions| {
            tractor::nursery(async |an| {
                let portal = an.start_actor("crowded", options.enable(crowd)).await?;
                let counts = portal.run(crowd, unix).await?;
                an.cancel();
                Ok(counts)
            })
            .await
        })
        .unwrap();
        assert_eq!((away, missed), (CROWD - UNKNOWN, 0));
    }
}
