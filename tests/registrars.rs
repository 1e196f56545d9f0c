//! A registrar and peers that are played, and members of registrars that are.

mod common;
#[path = "common/peer.rs"]
mod peer;
#[path = "common/places.rs"]
mod places;

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{slice, thread};

use common::{HangGuard, MARKER, Marker, aside};
use peer::Peer;
use places::{Program, any_port, role, say};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    Address, Registrar, Result, RunOptions, SpawnOptions, Uid, current_actor, exit_code,
    find_actor, registrar, wait_for_actor,
};

/// Runs a registrar.
fn presiding<T>(main: impl AsyncFnOnce(Registrar, Address) -> Result<T>) -> T {
    let _guard = HangGuard::new();
    let options = RunOptions::new().name("daemon").registry([any_port()]);
    let result = options.run(async || {
        let place = current_actor()?.registrars()[0].clone();
        main(registrar().await?, place).await
    });
    result.unwrap()
}

async fn names(registrar: &Registrar) -> Result<Vec<String>> {
    let entries = registrar.entries().await?;
    Ok(entries
        .iter()
        .map(|(uid, _)| uid.name().to_owned())
        .collect())
}

fn entry(name: &str, port: u16) -> Value {
    json!({"uid": [name, format!("uuid-of-{name}")], "addr": ["127.0.0.1", port]})
}

#[test]
fn every_call_of_a_registrar_is_answered() {
    presiding(async |_, place| {
        let Address::Tcp(own) = place.clone() else {
            panic!("{place} is no port");
        };
        aside(move || {
            let mut peer = Peer::known(&place, "peer", None);
            let mut call = |func, kwargs| peer.call("peer", func, kwargs);
            assert_eq!(call("register_actor", entry("a", 1)), Value::Null);
            assert_eq!(call("register_actor", entry("a", 2)), Value::Null);
            assert_eq!(call("register_actor", entry("b", 3)), Value::Null);
            let a = json!([["127.0.0.1", 1], ["127.0.0.1", 2]]);
            assert_eq!(call("find_actor", json!({"name": "a"})), a);
            assert_eq!(call("find_actor", json!({"name": "uuid-of-a"})), a);
            assert_eq!(call("find_actor", json!({"name": "c"})), Value::Null);
            assert_eq!(call("wait_for_actor", json!({"name": "a"})), a);
            let registry = call("get_registry", json!({}));
            let registry = registry.as_object().unwrap();
            assert_eq!(registry.len(), 3);
            assert_eq!(registry["a.uuid-of-a"], a);
            let daemon = registry
                .iter()
                .find(|(name, _)| name.starts_with("daemon."));
            let at_daemon = json!([["127.0.0.1", own.port()]]);
            assert_eq!(daemon.map(|(_, at)| at), Some(&at_daemon));
            let address = |port| json!({"addr": ["127.0.0.1", port]});
            assert_eq!(call("delete_addr", address(1)), json!(["a", "uuid-of-a"]));
            assert_eq!(call("delete_addr", address(1)), Value::Null);
            // The address of one is the address of no other.
            assert_eq!(call("register_actor", entry("c", 2)), Value::Null);
            assert_eq!(call("find_actor", json!({"name": "a"})), Value::Null);
            let b = json!({"uid": ["b", "uuid-of-b"]});
            assert_eq!(call("unregister_actor", b.clone()), Value::Null);
            assert_eq!(call("unregister_actor", b), Value::Null);
            assert_eq!(call("find_actor", json!({"name": "b"})), Value::Null);
            // Sockets in the file system have another form.
            let unix = json!({"uid": ["u", "u-u"], "addr": ["/run/x", "u.sock"]});
            assert_eq!(call("register_actor", unix), Value::Null);
            assert_eq!(
                call("find_actor", json!({"name": "u"})),
                json!([["/run/x", "u.sock"]])
            );
            peer.end();
        })
        .await
    });
}

#[test]
fn call_that_cannot_be_answered_costs_nothing() {
    presiding(async |_, place| {
        aside(move || {
            let mut peer = Peer::known(&place, "peer", None);
            for (func, kwargs, type_str) in [
                ("register_actor", json!({}), "TypeError"),
                (
                    "register_actor",
                    json!({"uid": "a", "addr": ["h", 1]}),
                    "TypeError",
                ),
                (
                    "register_actor",
                    json!({"uid": ["a", "b"], "addr": ["h", 65536]}),
                    "TypeError",
                ),
                ("unregister_actor", json!({"name": "a"}), "TypeError"),
                ("find_actor", json!({"name": 1}), "TypeError"),
                ("wait_for_actor", json!({}), "TypeError"),
                ("delete_addr", json!({"addr": []}), "TypeError"),
                ("find_actors", json!({"name": "a"}), "AttributeError"),
                ("__init__", json!({}), "AttributeError"),
            ] {
                let error = peer.call("peer", func, kwargs);
                assert_eq!(error["boxed_type_str"], type_str, "{func}: {error}");
                assert_eq!(error["cid"], func);
            }
            let found = peer.call("peer", "find_actor", json!({"name": "daemon"}));
            assert!(found.is_array());
            peer.end();
        })
        .await
    });
}

#[test]
fn actor_that_is_no_registrar_answers_none_of_its_calls() {
    let _guard = HangGuard::new();
    let options = RunOptions::new().listen(any_port());
    let run = options.run(async || {
        let place = current_actor()?.addresses()[0].clone();
        aside(move || {
            let mut peer = Peer::known(&place, "peer", None);
            for func in [
                "register_actor",
                "find_actor",
                "wait_for_actor",
                "get_registry",
            ] {
                let error = peer.call("peer", func, json!({"name": "a"}));
                assert_eq!(error["boxed_type_str"], "AttributeError");
            }
            peer.end();
        })
        .await
    });
    run.unwrap();
}

#[test]
fn entry_ends_with_the_connection_that_made_it_if_the_peer_knows_that() {
    presiding(async |registrar, place| {
        let (keep, held) = channel::<()>();
        let (made, is_made) = channel::<()>();
        nursery(async |n| {
            let place = &place;
            let others = n.start_soon(aside({
                let place = place.clone();
                move || {
                    let features = json!({"causes": true});
                    let mut ours = Peer::known(&place, "ours", Some(features.clone()));
                    let mut other = Peer::known(&place, "other", Some(features));
                    let mut foreign = Peer::known(&place, "foreign", None);
                    for (peer, name, port) in [
                        (&mut ours, "ours", 1),
                        (&mut other, "other", 2),
                        (&mut foreign, "foreign", 3),
                    ] {
                        peer.call(name, "register_actor", entry(name, port));
                    }
                    // It is taken over: the end of the first is not its end.
                    ours.call("ours", "register_actor", entry("shared", 4));
                    other.call("other", "register_actor", entry("shared", 4));
                    foreign.end();
                    drop(ours);
                    made.send(()).unwrap();
                    let _ = held.recv();
                    other.end();
                }
            }));
            aside(move || is_made.recv().unwrap()).await?;
            while names(&registrar).await?.contains(&"ours".into()) {
                time::sleep(Duration::from_millis(1)).await?;
            }
            assert_eq!(
                names(&registrar).await?,
                ["daemon", "other", "foreign", "shared"]
            );
            drop(keep);
            others.await?;
            while names(&registrar).await? != ["daemon", "foreign"] {
                time::sleep(Duration::from_millis(1)).await?;
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn peer_that_waits_for_an_actor_may_cancel_or_leave() {
    presiding(async |registrar, place| {
        aside(move || {
            let mut peer = Peer::known(&place, "peer", None);
            let name = json!({"name": "late"});
            peer.ask("peer", "waits", "wait_for_actor", name.clone());
            assert_eq!(peer.receive().unwrap()["msg_type"], "StartAck");
            peer.ask("peer", "cancels", "_cancel_task", json!({"cid": "waits"}));
            let answers = [(); 3].map(|()| peer.receive().unwrap());
            let ended = answers
                .iter()
                .find(|answer| answer["cid"] == "waits")
                .unwrap();
            assert_eq!(ended["boxed_type_str"], "ContextCancelled");
            // Others are not held up by one that waits, on its own connection neither.
            peer.ask("peer", "again", "wait_for_actor", name.clone());
            assert_eq!(peer.receive().unwrap()["msg_type"], "StartAck");
            assert!(
                peer.call("peer", "find_actor", json!({"name": "daemon"}))
                    .is_array()
            );
            let mut other = Peer::known(&place, "other", None);
            other.ask("other", "leaves", "wait_for_actor", name);
            assert_eq!(other.receive().unwrap()["msg_type"], "StartAck");
            other.end();
            peer.call(
                "peer",
                "unregister_actor",
                json!({"uid": ["nobody", "n-n"]}),
            );
            peer.ask("peer", "registers", "register_actor", entry("late", 9));
            let answers = [(); 3].map(|()| peer.receive().unwrap());
            let found = answers
                .iter()
                .find(|answer| answer["cid"] == "again")
                .unwrap();
            assert_eq!(found["pld"], json!([["127.0.0.1", 9]]));
            peer.end();
        })
        .await?;
        assert_eq!(names(&registrar).await?, ["daemon", "late"]);
        Ok(())
    });
}

#[test]
fn waiting_for_an_actor_may_be_cancelled_at_any_moment() {
    presiding(async |registrar, place| {
        for delay in 0..20 {
            let limit = Duration::from_micros(100 * delay);
            let here = move_on_after(limit, wait_for_actor("never")).await?;
            assert!(here.is_cancelled());
        }
        // As a member sees it.
        let waited = aside(move || {
            let options = RunOptions::new().name("member").join_registry([place]);
            options
                .sigint(false)
                .sigterm(false)
                .sighup(false)
                .run(async || {
                    for delay in 0..20 {
                        let limit = Duration::from_micros(200 * delay);
                        let waited = move_on_after(limit, wait_for_actor("never")).await?;
                        assert!(waited.is_cancelled());
                        let found = move_on_after(limit, find_actor("daemon")).await?;
                        if let Some(Some(portal)) = found.completed() {
                            portal.disconnect();
                        }
                    }
                    let found = find_actor("daemon").await?.expect("it is still there");
                    Ok(found.uid().name().to_owned())
                })
        })
        .await?;
        assert_eq!(waited?, "daemon");
        assert_eq!(names(&registrar).await?, ["daemon"]);
        Ok(())
    });
}

/// A registrar that is played, and what runs beside it as its member.
fn member<T>(
    script: impl FnOnce(TcpListener) + Send + 'static,
    main: impl AsyncFnOnce() -> Result<T>,
) -> Result<T> {
    let _guard = HangGuard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let script = thread::spawn(move || script(listener));
    let result = RunOptions::new().join_registry([place]).run(main);
    script.join().expect("the registrar does not panic");
    result
}

/// Says that it is a registrar, and takes the first entry.
fn take_in(listener: &TcpListener) {
    Peer::accepted(listener).greet(true.into());
    let mut peer = Peer::accepted(listener);
    peer.greet(true.into());
    assert_eq!(peer.answer()["func"], "register_actor");
    peer.closed();
}

#[test]
fn registrar_that_does_not_answer_holds_up_the_end_of_its_member_for_a_moment() {
    let start = Instant::now();
    let run = member(
        |listener| {
            take_in(&listener);
            let mut peer = Peer::accepted(&listener);
            peer.greet(true.into());
            assert_eq!(peer.receive().unwrap()["func"], "unregister_actor");
            peer.closed();
        },
        async || Ok(()),
    );
    run.unwrap();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(500),
        "it is waited for: {took:?}"
    );
    assert!(took < Duration::from_millis(5500), "{took:?}");
}

#[test]
fn start_that_is_cancelled_while_the_child_registers_leaves_no_child() {
    let marker = Marker::new();
    let options = SpawnOptions::new().env(MARKER, marker.text());
    let run = member(
        |listener| {
            take_in(&listener);
            let mut child = Peer::accepted(&listener);
            child.greet(true.into());
            assert_eq!(child.receive().unwrap()["func"], "register_actor");
            // The child is gone, without an answer.
            child.closed();
            let mut root = Peer::accepted(&listener);
            root.greet(true.into());
            assert_eq!(root.answer()["func"], "unregister_actor");
            root.closed();
        },
        async || {
            tractor::nursery(async |an| {
                let limit = Duration::from_millis(300);
                let started = move_on_after(limit, an.start_actor("child", options)).await?;
                assert!(started.is_cancelled());
                Ok(())
            })
            .await
        },
    );
    run.unwrap();
    assert_eq!(marker.processes(), [0; 0]);
}

#[test]
fn plays_its_role() {
    let Some((role, place)) = role() else { return };
    assert_eq!(role, "prober");
    say("here");
    let ended = RunOptions::new().registry([place]).run(async || Ok(()));
    std::process::exit(exit_code(&ended.unwrap_err()).into());
}

#[test]
fn program_that_still_looks_for_its_registrar_ends_when_it_is_told_to() {
    let _guard = HangGuard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let mut program = Program::new("prober", &place);
    assert_eq!(program.hear().as_deref(), Some("here"));
    let _silent = Peer::accepted(&listener);
    kill_process(program.pid(), Signal::TERM).unwrap();
    assert_eq!(program.ended().code(), Some(143));
}

#[test]
fn entry_can_be_made_for_another_actor() {
    presiding(async |here, place| {
        let other = Uid::fresh("other");
        let at = "/ip4/127.0.0.1/tcp/9".parse::<Address>()?;
        here.register(&other, &at).await?;
        assert_eq!(here.find("other").await?, slice::from_ref(&at));
        assert_eq!(here.delete_addr(&at).await?, Some(other.clone()));
        assert_eq!(here.delete_addr(&at).await?, None);
        // The same from a program that is connected to it.
        let names = aside(move || {
            let options = RunOptions::new()
                .name("member")
                .join_registry([place.clone()]);
            options
                .sigint(false)
                .sigterm(false)
                .sighup(false)
                .run(async || {
                    let there = Registrar::connect(&place).await?;
                    there.register(&other, &at).await?;
                    assert_eq!(there.find("other").await?, slice::from_ref(&at));
                    assert_eq!(there.wait_for("other").await?, slice::from_ref(&at));
                    let names = names(&there).await?;
                    assert_eq!(there.delete_addr(&at).await?, Some(other.clone()));
                    assert_eq!(there.delete_addr(&at).await?, None);
                    there.register(&other, &at).await?;
                    Ok(names)
                })
        })
        .await??;
        assert_eq!(names, ["daemon", "member", "other"]);
        // It ended with the connection.
        while here.entries().await?.len() > 1 {
            time::sleep(Duration::from_millis(1)).await?;
        }
        Ok(())
    });
}
