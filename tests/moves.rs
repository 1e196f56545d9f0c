//! Actors that come to listen elsewhere, and where they are found then.

mod common;
#[path = "common/peer.rs"]
mod peer;
#[path = "common/places.rs"]
mod places;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{Cell, HangGuard, MARKER, Marker, aside, in_every_cell};
use peer::Peer;
use places::{Directory, Net, any_port};
use serde_json::{Value, json};
use tractor::runtime::time;
use tractor::{
    Address, Listening, Result, RunOptions, SpawnOptions, current_actor, endpoint, find_actor,
    listen, registrar, stop_listening,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

thread_local! {
    static DOOR: RefCell<Option<Listening>> = const { RefCell::new(None) };
}

/// Listens at one address more, and says at which.
async fn open_door(at: String) -> Result<String> {
    let door = listen(at.parse()?)?;
    let at = door.address().to_string();
    DOOR.set(Some(door));
    Ok(at)
}
endpoint!(open_door);

async fn close_door((): ()) -> Result<()> {
    match DOOR.take() {
        Some(door) => door.close().await,
        None => Ok(()),
    }
}
endpoint!(close_door);

async fn close_the_others((): ()) -> Result<()> {
    stop_listening().await
}
endpoint!(close_the_others);

/// Opens and closes many doors, some of which the registrar comes to know and some not, and leaves
/// the last one open if it is told to.
async fn slam(stays_open: bool) -> Result<Option<String>> {
    for round in 0..60 {
        let door = listen(any_port())?;
        if round % 3 == 0 {
            time::sleep(Duration::from_micros(50 * round)).await?;
        }
        match round % 2 {
            0 => door.close().await?,
            _ => drop(door),
        }
    }
    if !stays_open {
        return Ok(None);
    }
    Ok(Some(open_door(any_port().to_string()).await?))
}
endpoint!(slam);

fn tree<T>(net: Net, main: impl AsyncFnOnce(SpawnOptions) -> Result<T>) -> T {
    let directory = Directory::new();
    let marker = Marker::new();
    let spawn = SpawnOptions::new()
        .env(MARKER, marker.text())
        .enable_module(module_path!());
    let _guard = HangGuard::new();
    let result = RunOptions::new()
        .registry([directory.at(net, "registry.sock")])
        .run(async || main(spawn).await);
    marker.gone_within(Duration::ZERO);
    result.unwrap()
}

async fn addresses_of(name: &str) -> Result<Vec<String>> {
    let addresses = registrar().await?.find(name).await?;
    Ok(addresses.iter().map(Address::to_string).collect())
}

/// Waits until an actor is known to be there and nowhere else.
async fn comes_to_be_at(name: &str, at: &[&str]) -> Result<()> {
    while addresses_of(name).await? != at {
        time::sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}

async fn answers(name: &str) -> Result<()> {
    let portal = find_actor(name).await?.expect("it is there");
    assert_eq!(portal.run(double, 21).await?, 42);
    portal.disconnect();
    Ok(())
}

in_every_cell![
    actor_is_found_where_it_listens_now,
    door_that_is_closed_at_once_is_not_known_for_long,
    actor_that_ends_when_it_has_just_listened_is_not_known,
];

fn actor_is_found_where_it_listens_now(cell: Cell) {
    for net in Net::ALL {
        let directory = Directory::new();
        tree(net, async |options| {
            tractor::nursery(async |an| {
                let child = an.start_actor("mover", cell.place(options)).await?;
                let first = addresses_of("mover").await?;
                assert_eq!(first.len(), 1);
                let place = directory.at(net, "later.sock").to_string();
                let later = child.run(open_door, place.clone()).await?;
                comes_to_be_at("mover", &[&first[0], &later]).await?;
                answers("mover").await?;
                child.run(close_the_others, ()).await?;
                assert_eq!(addresses_of("mover").await?, [later]);
                answers("mover").await?;
                child.run(close_door, ()).await?;
                comes_to_be_at("mover", &[]).await?;
                assert!(find_actor("mover").await?.is_none());
                // Also at the same address again.
                let again = child.run(open_door, place).await?;
                comes_to_be_at("mover", &[&again]).await?;
                answers("mover").await?;
                an.cancel();
                Ok(())
            })
            .await?;
            assert_eq!(addresses_of("mover").await?, [""; 0]);
            Ok(())
        });
        drop(DOOR.take());
    }
}

fn door_that_is_closed_at_once_is_not_known_for_long(cell: Cell) {
    tree(Net::Tcp, async |options| {
        tractor::nursery(async |an| {
            let child = an.start_actor("slammer", cell.place(options)).await?;
            let first = addresses_of("slammer").await?;
            child.run(slam, false).await?;
            comes_to_be_at("slammer", &[&first[0]]).await?;
            let last = child.run(slam, true).await?.expect("it stays open");
            comes_to_be_at("slammer", &[&first[0], &last]).await?;
            child.run(close_the_others, ()).await?;
            comes_to_be_at("slammer", &[&last]).await?;
            answers("slammer").await?;
            an.cancel();
            Ok(())
        })
        .await
    });
    drop(DOOR.take());
}

fn actor_that_ends_when_it_has_just_listened_is_not_known(cell: Cell) {
    tree(Net::Unix, async |options| {
        for _ in 0..10 {
            let run = tractor::nursery(async |an| {
                let options = cell.place(options.clone());
                let child = an.start_actor("brief", options).await?;
                child.run(open_door, any_port().to_string()).await?;
                child.cancel_actor().await;
                Ok(())
            });
            run.await?;
            assert_eq!(addresses_of("brief").await?, [""; 0]);
            drop(DOOR.take());
        }
        Ok(())
    });
}

#[test]
fn registrar_knows_at_once_where_it_listens_itself() {
    tree(Net::Tcp, async |_| {
        let here = registrar().await?;
        let first = here.find("root").await?;
        assert_eq!(first.len(), 1);
        let door = listen(any_port())?;
        let later = door.address().clone();
        assert_eq!(here.find("root").await?, [first[0].clone(), later]);
        door.close().await?;
        assert_eq!(here.find("root").await?, first);
        Ok(())
    });
}

/// A registrar that is played, of another library, and what runs beside it as its member.
fn member(
    script: impl FnOnce(TcpListener) + Send + 'static,
    main: impl AsyncFnOnce() -> Result<()>,
) {
    let _guard = HangGuard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Address::Tcp(listener.local_addr().unwrap());
    let script = thread::spawn(move || script(listener));
    let result = RunOptions::new().join_registry([place]).run(main);
    script.join().expect("the registrar does not panic");
    result.unwrap();
}

fn greeted(listener: &TcpListener) -> Peer {
    let mut peer = Peer::accepted(listener);
    peer.greet(true.into());
    peer
}

/// Answers calls over one connection, and says what they were.
fn told(listener: &TcpListener, calls: usize) -> Vec<(String, Value)> {
    let mut peer = greeted(listener);
    let calls = (0..calls).map(|_| {
        let mut start = peer.answer();
        let func = start["func"].as_str().unwrap().to_owned();
        (func, start["kwargs"].take())
    });
    let calls = calls.collect();
    assert_eq!(peer.receive(), None);
    calls
}

/// The probe, and the first entry.
fn take_in(listener: &TcpListener) {
    greeted(listener);
    assert_eq!(told(listener, 1)[0].0, "register_actor");
}

fn on_the_wire(address: &Address) -> Value {
    let Address::Tcp(at) = address else {
        panic!("{address} is no port");
    };
    json!([at.ip().to_string(), at.port()])
}

#[test]
fn registrar_of_another_library_is_told_in_the_calls_that_it_knows() {
    let (say, hear) = channel();
    let (done, is_done) = channel();
    member(
        move |listener| {
            take_in(&listener);
            let (uid, first, later): (Value, Value, Value) = hear.recv().unwrap();
            let entered = told(&listener, 1);
            let expected = json!({"uid": uid, "addr": later});
            assert_eq!(entered, [(String::from("register_actor"), expected)]);
            done.send(()).unwrap();
            // It looks first whether the address is another one's by now.
            let mut peer = greeted(&listener);
            let start = peer.receive().expect("it asks");
            assert_eq!(start["func"], "find_actor");
            assert_eq!(start["kwargs"], json!({"name": uid[1]}));
            let cid = &start["cid"];
            peer.send(json!({"msg_type": "StartAck", "cid": cid, "functype": "asyncfunc"}));
            peer.send(json!({"msg_type": "Return", "cid": cid, "pld": [first, later]}));
            let start = peer.answer();
            assert_eq!(start["func"], "delete_addr");
            assert_eq!(start["kwargs"], json!({"addr": later}));
            peer.closed();
            done.send(()).unwrap();
            let left = told(&listener, 1);
            assert_eq!(
                left,
                [(String::from("unregister_actor"), json!({"uid": uid}))]
            );
            done.send(()).unwrap();
        },
        async || {
            let is_done = std::sync::Arc::new(std::sync::Mutex::new(is_done));
            let next = async || {
                let is_done = is_done.clone();
                aside(move || is_done.lock().unwrap().recv().unwrap()).await
            };
            let here = current_actor()?;
            let later = listen(any_port())?;
            let uid = json!([here.uid().name(), here.uid().id()]);
            let first = on_the_wire(&here.addresses()[0]);
            say.send((uid, first, on_the_wire(later.address())))
                .unwrap();
            next().await?;
            later.close().await?;
            next().await?;
            // The last address takes the entry along, and there is nothing to take back at the end.
            stop_listening().await?;
            next().await
        },
    );
}

#[test]
fn registrar_that_is_gone_or_silent_does_not_keep_an_actor_from_listening() {
    let serves = async || {
        let door = listen(any_port())?;
        let at = door.address().clone();
        aside(move || Peer::known(&at, "guest", None).end()).await
    };
    member(|listener| take_in(&listener), serves);
    member(
        |listener| {
            take_in(&listener);
            // Whoever comes now is never greeted: to be told of the door, and to take it back.
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().unwrap();
                std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
            }
        },
        serves,
    );
}

#[test]
fn entry_that_is_on_its_way_is_waited_for_before_it_is_taken_back() {
    let (say, hear) = channel();
    member(
        move |listener| {
            take_in(&listener);
            let mut peer = greeted(&listener);
            let start = peer.receive().expect("it calls");
            assert_eq!(start["func"], "register_actor");
            say.send(()).unwrap();
            let cid = &start["cid"];
            peer.send(json!({"msg_type": "StartAck", "cid": cid, "functype": "asyncfunc"}));
            peer.send(json!({"msg_type": "Return", "cid": cid, "pld": null}));
            assert_eq!(peer.receive(), None, "it was not given up");
            assert_eq!(told(&listener, 1)[0].0, "unregister_actor");
        },
        async || {
            // It stays open until the actor has ended.
            open_door(any_port().to_string()).await?;
            aside(move || hear.recv().unwrap()).await
        },
    );
    drop(DOOR.take());
}

#[test]
fn entry_that_is_not_answered_is_not_taken_back_before_it_may_be_made() {
    let (say, hear) = channel();
    member(
        move |listener| {
            take_in(&listener);
            let mut peer = greeted(&listener);
            assert_eq!(peer.receive().unwrap()["func"], "register_actor");
            say.send(()).unwrap();
            // The actor ends, and gives it up.
            peer.closed();
            listener.set_nonblocking(true).unwrap();
            let another = listener.accept().map(|_| ());
            assert_eq!(another.unwrap_err().kind(), ErrorKind::WouldBlock);
        },
        async || {
            open_door(any_port().to_string()).await?;
            aside(move || hear.recv().unwrap()).await
        },
    );
    drop(DOOR.take());
}

#[test]
fn registrar_is_told_later_what_it_missed() {
    let (say, hear) = channel();
    member(
        move |listener| {
            take_in(&listener);
            let mut peer = greeted(&listener);
            assert_eq!(peer.receive().unwrap()["func"], "register_actor");
            drop(peer);
            say.send(()).unwrap();
            let calls = told(&listener, 2);
            let funcs: Vec<_> = calls.iter().map(|(func, _)| &**func).collect();
            assert_eq!(funcs, ["register_actor"; 2]);
            assert_ne!(calls[0].1["addr"], calls[1].1["addr"]);
            say.send(()).unwrap();
            assert_eq!(told(&listener, 1)[0].0, "unregister_actor");
        },
        async || {
            let _missed = listen(any_port())?;
            let hear = aside(move || {
                hear.recv().unwrap();
                hear
            })
            .await?;
            let _later = listen(any_port())?;
            aside(move || hear.recv().unwrap()).await
        },
    );
}
