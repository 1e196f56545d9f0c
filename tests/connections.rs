//! Connections that several portals share, and those that none do.

mod common;
#[path = "common/peer.rs"]
mod peer;
#[path = "common/places.rs"]
mod places;

use std::cell::Cell;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{Cell as Place, HangGuard, aside, in_cells, tree_of};
use peer::Peer;
use places::{Directory, Net, any_port};
use serde_json::{Value, json};
use tractor::runtime::sync::Event;
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    Address, Context, Dialog, ListenOptions, Listening, PeerLost, Portal, RemoteActorError, Result,
    RunOptions, SpawnOptions, connect, current_actor, endpoint, find_actor, listen, parent,
    wait_for_actor,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn addresses((): ()) -> Result<Vec<String>> {
    let addresses = current_actor()?.addresses().to_vec();
    Ok(addresses.iter().map(Address::to_string).collect())
}
endpoint!(addresses);

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u64;
    type ToParent = u64;
}

thread_local! {
    static ECHOES: Cell<usize> = const { Cell::new(0) };
}

/// Counts itself while it is there.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        ECHOES.set(ECHOES.get() - 1);
    }
}

async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<()> {
    ECHOES.set(ECHOES.get() + 1);
    let _counted = Counted;
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
    }
    Ok(())
}
endpoint!(echo);

async fn echoes((): ()) -> Result<usize> {
    Ok(ECHOES.get())
}
endpoint!(echoes);

/// Opens a context there, says so, and goes on until that ends.
async fn converse(portal: &Portal, is_open: &Event) -> Result<()> {
    portal
        .open_context(echo, (), async |ctx: &Context<Echo, _>, ()| {
            let stream = ctx.open_stream()?;
            for number in 0.. {
                stream.send(&number).await?;
                assert_eq!(stream.receive().await?, Some(number));
                is_open.set();
            }
            Ok(())
        })
        .await
}

fn is_lost<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.is::<PeerLost>())
}

fn in_a_tree<T>(cell: Place, main: impl AsyncFnOnce(SpawnOptions) -> Result<T>) -> T {
    let run = async |options: SpawnOptions| main(options.enable_module(module_path!())).await;
    tree_of(cell, run).unwrap()
}

/// A peer that is played, and an actor that is told where.
fn played(
    script: impl FnOnce(TcpListener) + Send + 'static,
    main: impl AsyncFnOnce(Address) -> Result<()>,
) {
    let _guard = HangGuard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = Address::Tcp(listener.local_addr().unwrap());
    let script = thread::spawn(move || script(listener));
    let result = tractor::run(async || main(at).await);
    script.join().expect("the peer does not panic");
    result.unwrap();
}

fn greeted(listener: &TcpListener) -> Peer {
    let mut peer = Peer::accepted(listener);
    peer.greet(false.into());
    peer
}

async fn call(portal: &Portal) -> Result<()> {
    portal.run_named("played:call", ()).await
}

#[test]
fn second_portal_shares_the_connection_until_both_are_given_up() {
    played(
        |listener| {
            let mut first = greeted(&listener);
            greeted(&listener).closed();
            for _ in 0..3 {
                assert_eq!(first.answer()["func"], "call");
            }
            first.closed();
        },
        async |at| {
            let first = connect(&at).await?;
            let second = connect(&at).await?;
            assert_eq!(first.uid(), second.uid());
            call(&first).await?;
            call(&second).await?;
            // A clone is no other user, and once more is not another one's.
            first.clone().disconnect();
            first.disconnect();
            assert!(!first.is_connected());
            assert!(is_lost(call(&first).await));
            assert!(!first.cancel_actor().await);
            assert!(second.is_connected());
            call(&second).await?;
            second.disconnect();
            Ok(())
        },
    );
}

#[test]
fn actor_that_is_looked_for_by_two_at_once_is_connected_to_once() {
    for first in [0, 1] {
        played(
            move |listener| {
                let mut peers = [Peer::accepted(&listener), Peer::accepted(&listener)];
                // Each comes to know in turn who is there.
                let later = 1 - first;
                peers[first].greet(false.into());
                assert_eq!(peers[first].answer()["func"], "call");
                peers[later].greet(false.into());
                let [one, other] = peers;
                let (mut kept, given_up) = match first {
                    0 => (one, other),
                    _ => (other, one),
                };
                given_up.closed();
                assert_eq!(kept.answer()["func"], "call");
                kept.closed();
            },
            async |at| {
                nursery(async |n| {
                    for _ in 0..2 {
                        n.start_soon(async {
                            let portal = connect(&at).await?;
                            call(&portal).await
                        });
                    }
                    Ok(())
                })
                .await
            },
        );
    }
}

#[test]
fn connection_that_was_lost_or_given_up_is_not_shared() {
    played(
        |listener| {
            drop(greeted(&listener));
            let mut second = greeted(&listener);
            assert_eq!(second.answer()["func"], "call");
            let mut third = greeted(&listener);
            assert_eq!(third.answer()["func"], "call");
            second.closed();
            third.closed();
        },
        async |at| {
            let first = connect(&at).await?;
            while first.is_connected() {
                time::sleep(Duration::from_millis(1)).await?;
            }
            let second = connect(&at).await?;
            call(&second).await?;
            first.disconnect();
            assert!(second.is_connected());
            // The other side has not closed it yet.
            second.disconnect();
            let third = connect(&at).await?;
            call(&third).await?;
            assert!(is_lost(call(&second).await));
            Ok(())
        },
    );
}

#[test]
fn address_that_another_actor_took_over_leads_to_that_one() {
    fn greet(peer: &mut Peer, name: &str) {
        peer.send(json!({
            "msg_type": "Aid", "name": name, "uuid": name, "pid": 1, "is_registrar": false,
            "is_probe": false,
        }));
        peer.receive().expect("it says who it is");
    }
    played(
        |listener| {
            let mut former = Peer::accepted(&listener);
            greet(&mut former, "former");
            let mut latter = Peer::accepted(&listener);
            greet(&mut latter, "latter");
            assert_eq!(former.answer()["func"], "call");
            assert_eq!(latter.answer()["func"], "call");
            former.closed();
            latter.closed();
        },
        async |at| {
            let former = connect(&at).await?;
            let latter = connect(&at).await?;
            assert_eq!(former.uid().name(), "former");
            assert_eq!(latter.uid().name(), "latter");
            call(&former).await?;
            call(&latter).await
        },
    );
}

in_cells![
    giving_up_a_share_ends_its_own_dialogs_only:
    process = Process, thread = Thread
];

fn giving_up_a_share_ends_its_own_dialogs_only(cell: Place) {
    in_a_tree(cell, async |options| {
        tractor::nursery(async |an| {
            let child = an.start_actor("server", options.listen(any_port())).await?;
            let at: Address = child.run(addresses, ()).await?[0].parse()?;
            let (mine, others) = (connect(&at).await?, connect(&at).await?);
            let (is_open, other_is_open) = (Event::new(), Event::new());
            nursery(async |n| {
                let my = n.start_soon(async { Ok(converse(&mine, &is_open).await) });
                let other = n.start_soon(async { Ok(converse(&others, &other_is_open).await) });
                is_open.wait().await?;
                other_is_open.wait().await?;
                mine.disconnect();
                assert!(is_lost(my.await?));
                while others.run(echoes, ()).await? != 1 {
                    time::sleep(Duration::from_millis(1)).await?;
                }
                assert!(!other.is_finished());
                // The last one ends the connection, with what is open on it.
                others.disconnect();
                assert!(is_lost(other.await?));
                Ok(())
            })
            .await?;
            // That between parent and child is another one.
            assert_eq!(child.run(double, 5).await?, 10);
            an.cancel();
            Ok(())
        })
        .await
    });
}

/// Connects to an actor in two ways, and says whether each let it see what the actor is doing, for
/// which it needs the right to cancel it.
async fn look_into(at: Vec<String>) -> Result<Vec<bool>> {
    let mut portals = Vec::new();
    for at in at {
        portals.push(connect(&at.parse()?).await?);
    }
    let mut may = Vec::new();
    for portal in &portals {
        may.push(may_look_into(portal).await?);
    }
    Ok(may)
}
endpoint!(look_into);

async fn may_look_into(portal: &Portal) -> Result<bool> {
    match portal.dump_tree().await {
        Ok(_) => Ok(true),
        Err(error) => match error.downcast_ref::<RemoteActorError>() {
            Some(denied) if denied.boxed_type() == "PermissionDenied" => Ok(false),
            _ => Err(error),
        },
    }
}

in_cells![
    rights_are_those_of_the_address_that_was_connected_to: process = Process, thread = Thread
];

fn rights_are_those_of_the_address_that_was_connected_to(cell: Place) {
    let directory = Directory::new();
    let socket = directory.at(Net::Unix, "actor.sock");
    in_a_tree(cell, async |options| {
        let lenient = ListenOptions::new().allow_remote_cancel(true);
        let listening = [
            listen(any_port())?,
            lenient.listen(any_port())?,
            listen(socket)?,
        ];
        let at = |which: usize| Listening::address(&listening[which]).to_string();
        let [strict, lenient, socket] = [at(0), at(1), at(2)];
        tractor::nursery(async |an| {
            let child = an.start_actor("child", options.listen(any_port())).await?;
            for (first, first_may) in [(&strict, false), (&lenient, true), (&socket, true)] {
                for (second, second_may) in [(&strict, false), (&lenient, true), (&socket, true)] {
                    let may = child
                        .run(look_into, vec![first.clone(), second.clone()])
                        .await?;
                    assert_eq!(may, [first_may, second_may], "{first}, {second}");
                }
            }
            // A parent may over the connection to its child, and over another one only if anybody
            // may.
            let found = connect(&child.run(addresses, ()).await?[0].parse()?).await?;
            assert_eq!(found.uid(), child.uid());
            assert!(!may_look_into(&found).await?);
            assert!(!found.cancel_actor().await);
            assert!(may_look_into(&child).await?);
            found.disconnect();
            assert_eq!(child.run(double, 1).await?, 2);
            assert!(child.cancel_actor().await);
            Ok(())
        })
        .await
    });
}

/// Leaves no more than its parent's connection when it lets go of those that it has made.
async fn find_and_forget(name: String) -> Result<()> {
    assert!(parent().is_some());
    for _ in 0..20 {
        let portal = find_actor(&name).await?.expect("it is there");
        assert_eq!(portal.run(double, 1).await?, 2);
    }
    Ok(())
}
endpoint!(find_and_forget);

/// Looks for an actor and changes its mind, sooner and later.
async fn give_up_finding(name: String) -> Result<()> {
    for delay in 0..50 {
        let limit = Duration::from_micros(100 * delay);
        let waited = move_on_after(limit, wait_for_actor(&name)).await?;
        if let Some(portal) = waited.completed() {
            portal.disconnect();
        }
        let found = move_on_after(limit, find_actor(&name)).await?;
        if let Some(Some(portal)) = found.completed() {
            portal.disconnect();
        }
    }
    let portal = wait_for_actor(&name).await?;
    assert_eq!(portal.run(double, 1).await?, 2);
    portal.disconnect();
    Ok(())
}
endpoint!(give_up_finding);

/// How many sockets this process has.
async fn sockets((): ()) -> Result<usize> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let is_socket = |fd: &std::fs::DirEntry| {
        std::fs::metadata(fd.path()).is_ok_and(|it| it.file_type().is_socket())
    };
    Ok(open.flatten().filter(is_socket).count())
}
endpoint!(sockets);

/// A tree whose actors have two registrars, an actor in it that is looked for, and one that looks.
fn seeking(main: impl AsyncFnOnce(&Portal, &Portal) -> Result<()>) {
    let directory = Directory::new();
    let marker = common::Marker::new();
    let _guard = HangGuard::new();
    let registrars = ["one.sock", "two.sock"].map(|name| directory.at(Net::Unix, name));
    let run = RunOptions::new().registry(registrars).run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new()
                .env(common::MARKER, marker.text())
                .enable_module(module_path!());
            let sought = an.start_actor("sought", options.clone()).await?;
            let seeker = an.start_actor("seeker", options).await?;
            main(&sought, &seeker).await?;
            an.cancel();
            Ok(())
        })
        .await
    });
    run.unwrap();
    marker.gone_within(Duration::ZERO);
}

async fn has_sockets(actor: &Portal, expected: usize) -> Result<()> {
    while actor.run(sockets, ()).await? != expected {
        time::sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}

#[test]
fn actor_that_is_found_and_forgotten_again_and_again_has_one_connection_more() {
    seeking(async |sought, seeker| {
        let before = sought.run(sockets, ()).await?;
        seeker.run(find_and_forget, String::from("sought")).await?;
        has_sockets(sought, before + 1).await
    });
}

#[test]
fn search_that_is_cancelled_at_any_moment_leaves_no_connection() {
    seeking(async |sought, seeker| {
        let before = sought.run(sockets, ()).await?;
        seeker.run(give_up_finding, String::from("sought")).await?;
        has_sockets(sought, before).await
    });
}

/// A registrar that knows one actor: where that is, and for how many questions.
fn registrar_of(listener: TcpListener, at: Address) {
    let Address::Tcp(at) = at else {
        panic!("{at} is no port");
    };
    Peer::accepted(&listener).greet(true.into());
    let mut entry = Peer::accepted(&listener);
    entry.greet(true.into());
    assert_eq!(entry.answer()["func"], "register_actor");
    entry.closed();
    let mut asked = Peer::accepted(&listener);
    asked.greet(true.into());
    let start = asked.receive().expect("it asks");
    assert_eq!(start["func"], "wait_for_actor");
    let cid: &Value = &start["cid"];
    asked.send(json!({"msg_type": "StartAck", "cid": cid, "functype": "asyncfunc"}));
    let found = json!([[at.ip().to_string(), at.port()]]);
    asked.send(json!({"msg_type": "Return", "cid": cid, "pld": found}));
    asked.closed();
    let mut left = Peer::accepted(&listener);
    left.greet(true.into());
    assert_eq!(left.answer()["func"], "unregister_actor");
    left.closed();
}

#[test]
fn actor_that_two_registrars_find_at_once_is_left_with_one_user() {
    let _guard = HangGuard::new();
    let [one, two, sought] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let place = |listener: &TcpListener| Address::Tcp(listener.local_addr().unwrap());
    let places = [place(&one), place(&two)];
    let at = place(&sought);
    let (done, is_done) = channel();
    let scripts = [one, two].map(|listener| {
        let at = at.clone();
        thread::spawn(move || registrar_of(listener, at))
    });
    let sought = thread::spawn(move || {
        let mut peers = [Peer::accepted(&sought), Peer::accepted(&sought)];
        for peer in &mut peers {
            peer.send(json!({
                "msg_type": "Aid", "name": "sought", "uuid": "s-s", "pid": 1,
                "is_registrar": false, "is_probe": false,
            }));
        }
        // Both: nobody holds the one that was found the later.
        for peer in peers {
            peer.closed();
        }
        done.send(()).unwrap();
    });
    let run = RunOptions::new().join_registry(places).run(async || {
        let portal = wait_for_actor("sought").await?;
        assert_eq!(portal.uid().name(), "sought");
        portal.disconnect();
        aside(move || is_done.recv().unwrap()).await
    });
    run.unwrap();
    sought.join().expect("the actor does not panic");
    for script in scripts {
        script.join().expect("the registrars do not panic");
    }
}
