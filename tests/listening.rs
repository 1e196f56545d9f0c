//! Actors that are connected to from outside of their tree, over sockets.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use common::HangGuard;
use serde_bytes::ByteBuf;
use sockets::{
    Directory, Echo, Peer, actor, aid, any_port, aside, beside, echo, frame, start, talk_to,
};
use tractor::runtime::{nursery, time};
use tractor::{
    Address, Caller, CancelKind, ConnectError, Context, ListenError, ListenOptions, PeerLost,
    Result, RunOptions, SpawnError, SpawnFailure, SpawnOptions, connect, endpoint, listen,
};

/// Asks whoever listens there to end, and says whether it will.
async fn cancel_at(address: String) -> Result<bool> {
    let portal = connect(&address.parse()?).await?;
    Ok(portal.cancel_actor().await)
}
endpoint!(cancel_at);

/// Who wants to know why `sleeper` ended.
static ENDED: Mutex<Option<Sender<CancelKind>>> = Mutex::new(None);

async fn sleeper((): ()) -> Result<()> {
    let cancelled = time::sleep_forever().await.unwrap_err();
    let ended = ENDED.lock().unwrap().take();
    ended
        .expect("one test")
        .send(cancelled.cause().kind())
        .expect("it waits");
    Err(cancelled.into())
}
endpoint!(sleeper);

/// Much more than a socket takes at once.
async fn much((): ()) -> Result<ByteBuf> {
    Ok(ByteBuf::from(vec![7; MUCH]))
}
endpoint!(much);

const MUCH: usize = 1 << 20;

/// Hangs up in the middle of a context, and says whether that ended it.
async fn hang_up(address: String) -> Result<bool> {
    let portal = connect(&address.parse()?).await?;
    let ended = portal
        .open_context(echo, (), async |_: &Context<Echo, Caller<u64>>, ()| {
            portal.disconnect();
            time::sleep_forever().await?;
            Ok(())
        })
        .await;
    Ok(ended.unwrap_err().is::<PeerLost>() && !portal.is_connected())
}
endpoint!(hang_up);

#[test]
fn actors_talk_over_several_sockets_at_once() {
    actor(async || {
        let directory = Directory::new();
        let listening = [
            listen(any_port())?,
            listen(any_port())?,
            listen(Address::Unix(directory.socket()))?,
        ];
        beside(async |other| {
            nursery(async |n| {
                for listening in &listening {
                    n.start_soon(async move {
                        let address = listening.address().to_string();
                        assert_eq!(other.run(talk_to, address).await?, 100);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
        })
        .await?;
        let [first, _second, unix] = listening;
        let address = first.address().clone();
        first.close().await?;
        let refused = connect(&address).await.unwrap_err();
        let refused = refused.downcast_ref::<ConnectError>().unwrap();
        assert_eq!(refused.source.kind(), ErrorKind::ConnectionRefused);
        assert!(directory.socket().exists());
        unix.close().await?;
        assert!(!directory.socket().exists());
        Ok(())
    })
    .unwrap();
}

#[test]
fn probe_is_answered_and_closed() {
    actor(async || {
        let listening = listen(any_port())?;
        let address = listening.address().clone();
        aside(move || {
            let mut peer = Peer::new(&address);
            peer.send(&aid("probe", true));
            assert_eq!(peer.receive().unwrap()["is_registrar"], false);
            assert_eq!(peer.receive(), None);
        })
        .await
    })
    .unwrap();
}

#[test]
fn actor_is_cancelled_over_tcp_only_if_that_was_allowed() {
    for allow in [false, true] {
        let result = actor(async || {
            let options = ListenOptions::new().allow_remote_cancel(allow);
            let listening = options.listen(any_port())?;
            beside(async |other| {
                let address = listening.address().to_string();
                let cancelled = other.run(cancel_at, address.clone()).await?;
                assert_eq!(cancelled, allow);
                if allow {
                    time::sleep_forever().await?;
                }
                assert_eq!(other.run(talk_to, address).await?, 100);
                Ok(())
            })
            .await
        });
        match result {
            Ok(()) => assert!(!allow),
            Err(error) => {
                assert!(allow, "{error}");
                assert!(error.contains_cancelled(), "{error}");
            }
        }
    }
}

#[test]
fn actor_is_cancelled_over_a_unix_socket() {
    let directory = Directory::new();
    let error = actor(async || {
        let _listening = listen(Address::Unix(directory.socket()))?;
        let address = Address::Unix(directory.socket()).to_string();
        beside(async |other| other.run(cancel_at, address).await).await
    })
    .unwrap_err();
    assert!(error.contains_cancelled(), "{error}");
    assert!(!directory.socket().exists());
}

#[test]
fn other_hosts_are_let_in_only_if_that_is_said_to_be_insecure() {
    actor(async || {
        let everywhere: Address = "/ip4/0.0.0.0/tcp/0".parse()?;
        let error = listen(everywhere.clone()).unwrap_err();
        let error = error.downcast_ref::<ListenError>().unwrap();
        assert_eq!(error.source.kind(), ErrorKind::PermissionDenied);
        let listening = ListenOptions::new().insecure(true).listen(everywhere)?;
        let address = listening.socket_addr().expect("it listens at a port");
        assert_ne!(address.port(), 0);
        Ok(())
    })
    .unwrap();
}

#[test]
fn directory_of_a_socket_is_for_one_user_alone() {
    actor(async || {
        for mode in [0o755, 0o710, 0o707] {
            let directory = Directory::new().made(mode);
            let error = listen(Address::Unix(directory.socket())).unwrap_err();
            let error = error.downcast_ref::<ListenError>().unwrap();
            assert_eq!(error.source.kind(), ErrorKind::PermissionDenied);
            assert!(!directory.socket().exists());
        }
        let directory = Directory::new();
        let listening = listen(Address::Unix(directory.socket()))?;
        let mode = fs::metadata(&directory.0)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        listening.close().await
    })
    .unwrap();
}

#[test]
fn socket_that_was_left_behind_is_replaced_and_nothing_else() {
    actor(async || {
        let directory = Directory::new().made(0o700);
        let address = Address::Unix(directory.socket());
        // A listener that is gone leaves its file.
        drop(UnixListener::bind(directory.socket())?);
        let listening = listen(address.clone())?;
        beside(async |other| {
            assert_eq!(other.run(talk_to, address.to_string()).await?, 100);
            Ok(())
        })
        .await?;
        let in_use = |address: &Address| {
            let error = listen(address.clone()).unwrap_err();
            let error = error.downcast_ref::<ListenError>().unwrap();
            assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
        };
        in_use(&address);
        listening.close().await?;
        fs::write(directory.socket(), "not a socket")?;
        in_use(&address);
        assert_eq!(fs::read(directory.socket())?, b"not a socket");
        Ok(())
    })
    .unwrap();
}

#[test]
fn peers_that_are_no_actors_are_not_connected_to() {
    actor(async || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = Address::Tcp(listener.local_addr()?);
        for said in [&b""[..], b"\xff\xff\xff\xff", b"\x01\0\0\0\xc0"] {
            let listener = listener.try_clone()?;
            let (connected, answered) = futures_lite::future::zip(
                connect(&address),
                aside(move || {
                    let (mut socket, _) = listener.accept().unwrap();
                    socket.write_all(said).unwrap();
                    socket.shutdown(Shutdown::Write).unwrap();
                    let _ = socket.read_to_end(&mut Vec::new());
                }),
            )
            .await;
            answered?;
            let error = connected.unwrap_err();
            let error = error.downcast_ref::<ConnectError>().unwrap();
            assert_eq!(error.source.kind(), ErrorKind::InvalidData);
            assert_eq!(error.address, address);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn endpoint_ends_with_the_connection_of_who_called_it() {
    let (ended, heard) = channel();
    *ENDED.lock().unwrap() = Some(ended);
    let _guard = HangGuard::new();
    RunOptions::new()
        .enable(sleeper)
        .run(async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            let kind = aside(move || {
                let mut peer = Peer::known(&address, "caller");
                peer.send(&start("caller", module_path!(), "sleeper"));
                assert_eq!(peer.receive().unwrap()["functype"], "asyncfunc");
                peer.0.shutdown(Shutdown::Write).unwrap();
                heard.recv_timeout(common::HANG).unwrap()
            });
            assert_eq!(kind.await?, CancelKind::PeerLost);
            Ok(())
        })
        .unwrap();
}

#[test]
fn disconnecting_ends_what_is_open() {
    actor(async || {
        let listening = listen(any_port())?;
        let address = listening.address().to_string();
        beside(async |other| {
            assert!(other.run(hang_up, address).await?);
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn child_listens_from_its_start_or_is_not_started() {
    common::tree(async |options: SpawnOptions| {
        let directory = Directory::new();
        let at = Address::Unix(directory.socket());
        tractor::nursery(async |an| {
            let options = options.enable(sockets::double).listen(any_port());
            let first = options.clone().listen(at.clone());
            an.start_actor("first", first).await?;
            assert_eq!(connect(&at).await?.run(sockets::double, 2).await?, 4);
            for in_thread in [false, true] {
                let mut second = options.clone().listen(at.clone());
                if in_thread {
                    second = second.in_thread();
                }
                let error = an.start_actor("second", second).await.unwrap_err();
                let error: &SpawnError = error.downcast_ref().expect("it is not started");
                assert!(matches!(error.failure(), SpawnFailure::Boot(_)), "{error}");
                assert!(error.to_string().contains("actor.sock"), "{error}");
            }
            // It goes on listening.
            assert_eq!(connect(&at).await?.run(sockets::double, 3).await?, 6);
            an.cancel();
            Ok(())
        })
        .await?;
        assert!(!directory.socket().exists());
        Ok(())
    })
    .unwrap();
}

#[test]
fn peer_that_reads_late_hears_all_that_was_said() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    for address in [any_port(), Address::Unix(directory.socket())] {
        let (called, answered) = channel();
        let (ended, has_ended) = channel();
        let (listens, where_it_listens) = channel();
        let peer = thread::spawn(move || {
            let mut peer = Peer::known(&where_it_listens.recv().unwrap(), "late");
            let call = start("late", module_path!(), "much");
            peer.send(&call);
            assert_eq!(peer.receive().unwrap()["functype"], "asyncfunc");
            let mut length = [0; 4];
            peer.0.read_exact(&mut length).unwrap();
            // The rest is on its way.
            called.send(()).unwrap();
            has_ended.recv().unwrap();
            // What it says from now on nobody looks at.
            let mut saying = peer.0.try_clone().unwrap();
            let says = thread::spawn(move || {
                let nonsense = frame(&start("late", "nowhere", "nothing"));
                for _ in 0..40 {
                    if saying.write_all(&nonsense).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
            thread::sleep(Duration::from_millis(100));
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            peer.0.read_exact(&mut body).unwrap();
            says.join().unwrap();
            body.len()
        });
        RunOptions::new()
            .enable(much)
            .run(async || {
                let listening = listen(address)?;
                listens.send(listening.address().clone()).unwrap();
                aside(move || answered.recv().unwrap()).await?;
                ended.send(()).unwrap();
                Ok(())
            })
            .unwrap();
        assert!(peer.join().unwrap() > MUCH);
    }
}
