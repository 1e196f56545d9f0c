//! Actors that are connected to from outside of their tree, over sockets, by honest peers and by
//! others.

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use common::HangGuard;
use serde_json::{Value, json};
use tractor::runtime::io::Io;
use tractor::runtime::{nursery, time};
use tractor::{
    Address, Caller, CancelKind, ConnectError, Context, Dialog, ListenError, ListenOptions,
    Listening, ModuleNotExposed, PeerLost, Portal, Result, RunOptions, SpawnOptions, connect,
    endpoint, listen,
};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

async fn hidden(x: u64) -> Result<u64> {
    Ok(x)
}
endpoint!(hidden);

struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u64;
    type ToParent = u64;
}

/// Sends back what comes, until that ends; says how many it were.
async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<u64> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
        count += 1;
    }
    Ok(count)
}
endpoint!(echo);

/// Talks to whoever listens there, and says what the echo counted.
async fn talk_to(address: String) -> Result<u64> {
    let portal = connect(&address.parse()?).await?;
    assert_eq!(portal.run(double, 21).await?, 42);
    let refused = portal.run(hidden, 1).await.unwrap_err();
    assert!(refused.is::<ModuleNotExposed>(), "{refused}");
    exchange(&portal, 100).await
}
endpoint!(talk_to);

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

async fn exchange(portal: &Portal, count: u64) -> Result<u64> {
    portal
        .open_context(echo, (), async |ctx: &Context<Echo, Caller<u64>>, ()| {
            let stream = ctx.open_stream()?;
            for number in 0..count {
                stream.send(&number).await?;
                assert_eq!(stream.receive().await?, Some(number));
            }
            stream.close();
            ctx.wait_for_result()
                .await?
                .returned()
                .ok_or(tractor::Error::msg("cancelled"))
        })
        .await
}

/// Runs a test as an actor that lets others call `double` and `echo`.
fn actor<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let _guard = HangGuard::new();
    keep_the_log();
    RunOptions::new().enable(double).enable(echo).run(main)
}

/// Runs a test beside another actor, in which `function` of this file can be called.
async fn beside<T>(body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new()
            .in_thread()
            .enable_module(module_path!());
        let other = an.start_actor("other", options).await?;
        let result = body(&other).await;
        an.cancel();
        result
    })
    .await
}

fn any_port() -> Address {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A directory of a test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tractor-listening-{}-{next}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn made(self, mode: u32) -> Self {
        fs::DirBuilder::new().mode(mode).create(&self.0).unwrap();
        fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn socket(&self) -> PathBuf {
        self.0.join("actor.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything that was logged in this process.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn keep_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
}

fn was_logged(text: &str) -> bool {
    LOG.lock().unwrap().iter().any(|line| line.contains(text))
}

/// A peer that is none of ours: bytes on a socket.
struct Peer(TcpStream);

impl Peer {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(common::HANG)).unwrap();
        Self(socket)
    }

    /// One that has said who it is.
    fn known(address: SocketAddr, name: &str) -> Self {
        let mut peer = Self::new(address);
        peer.send(&aid(name, false));
        assert_eq!(peer.receive().unwrap()["name"], "root");
        peer
    }

    fn send(&mut self, message: &Value) {
        self.0.write_all(&frame(message)).unwrap();
    }

    fn receive(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Err(error) if is_the_end(&error) => return None,
            read => read.unwrap(),
        }
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        match self.0.read_exact(&mut body) {
            Err(error) if is_the_end(&error) => return None,
            read => read.unwrap(),
        }
        Some(rmp_serde::from_slice(&body).unwrap())
    }

    /// Reads until the other side has closed the connection.
    fn closed(&mut self) {
        while self.receive().is_some() {}
    }
}

fn is_the_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}

fn frame(message: &Value) -> Vec<u8> {
    let body = rmp_serde::to_vec_named(message).unwrap();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

fn aid(name: &str, is_probe: bool) -> Value {
    json!({
        "msg_type": "Aid", "name": name, "uuid": format!("uuid-of-{name}"), "pid": 1,
        "is_registrar": null, "is_probe": is_probe,
    })
}

fn start(name: &str, ns: &str, func: &str) -> Value {
    json!({
        "msg_type": "Start", "cid": "a dialog", "ns": ns, "func": func, "kwargs": {},
        "uid": [name, format!("uuid-of-{name}")], "pld_spec": "typing.Any",
    })
}

/// Runs what blocks on a thread of its own, while the actor goes on.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (ours, theirs) = UnixStream::pair()?;
    let thread = thread::spawn(move || {
        // Closed when the work is done, or has failed.
        let _theirs = theirs;
        work()
    });
    Io::new(ours)?.readable().await?;
    Ok(thread.join().expect("the peer does not panic"))
}

fn port(listening: &Listening) -> SocketAddr {
    listening.socket_addr().expect("it listens at a port")
}

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

/// What a peer does wrong, and what is logged of it.
type Wrong = (&'static str, fn(SocketAddr), &'static str);

const WRONGS: [Wrong; 7] = [
    (
        "half a frame",
        |address| {
            let mut peer = Peer::known(address, "half");
            let frame = frame(&aid("half", false));
            peer.0.write_all(&frame[..frame.len() / 2]).unwrap();
            peer.0.shutdown(Shutdown::Write).unwrap();
            peer.closed();
        },
        "the connection to half@uuid-of- is given up",
    ),
    (
        "a frame over the limit",
        |address| {
            let mut peer = Peer::known(address, "large");
            peer.0.write_all(&u32::MAX.to_le_bytes()).unwrap();
            let said = peer.receive().unwrap();
            assert!(said["message"].as_str().unwrap().contains("over the limit"));
            peer.closed();
        },
        "the connection to large@uuid-of- is given up: a frame of 4294967295 bytes",
    ),
    (
        "an unknown tag",
        |address| {
            let mut peer = Peer::known(address, "tag");
            peer.send(&json!({"msg_type": "Nonsense"}));
            peer.closed();
        },
        "the connection to tag@uuid-of- is given up: unknown msg_type \"Nonsense\"",
    ),
    (
        "a second handshake",
        |address| {
            let mut peer = Peer::known(address, "twice");
            peer.send(&aid("twice", false));
            peer.closed();
        },
        "the connection to twice@uuid-of- is given up: Aid after the handshake",
    ),
    (
        "no handshake but a call",
        |address| {
            let mut peer = Peer::new(address);
            peer.send(&start("rude", "self", "cancel"));
            peer.closed();
        },
        "was turned away: it sent Start first",
    ),
    (
        "no word at all",
        |address| {
            let mut peer = Peer::new(address);
            peer.closed();
        },
        "was turned away: it did not say who it is within 300ms",
    ),
    (
        "a call in the name of another",
        |address| {
            let mut peer = Peer::known(address, "thief");
            peer.send(&start("root", "self", "cancel"));
            peer.closed();
        },
        "the connection to thief@uuid-of- is given up: a Start in the name of",
    ),
];

#[test]
fn peer_that_breaks_the_protocol_costs_its_connection() {
    actor(async || {
        let listening = ListenOptions::new()
            .handshake_limit(Duration::from_millis(300))
            .listen(any_port())?;
        let address = listening.address().to_string();
        beside(async |other| {
            for (what, wrong, logged) in WRONGS {
                let port = port(&listening);
                nursery(async |n| {
                    let talk = n.start_soon(other.run(talk_to, address.clone()));
                    aside(move || wrong(port)).await?;
                    assert_eq!(talk.await?, 100, "beside {what}");
                    Ok(())
                })
                .await?;
                assert_eq!(
                    other.run(talk_to, address.clone()).await?,
                    100,
                    "after {what}"
                );
                assert!(was_logged(logged), "{what} is not in the log: {logged}");
            }
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn peer_that_stops_reading_costs_its_connection() {
    actor(async || {
        let listening = listen(any_port())?;
        let address = listening.address().to_string();
        let port = port(&listening);
        beside(async |other| {
            nursery(async |n| {
                let talk = n.start_soon(other.run(talk_to, address.clone()));
                aside(move || {
                    let mut peer = Peer::known(port, "deaf");
                    let calls = frame(&start("deaf", "self", "nonsense")).repeat(100);
                    // Each call is refused, and no refusal is read.
                    while peer.0.write_all(&calls).is_ok() {}
                })
                .await?;
                assert_eq!(talk.await?, 100);
                Ok(())
            })
            .await?;
            assert_eq!(other.run(talk_to, address.clone()).await?, 100);
            assert!(was_logged("the peer does not read"));
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn probe_is_answered_and_closed() {
    actor(async || {
        let listening = listen(any_port())?;
        let port = port(&listening);
        aside(move || {
            let mut peer = Peer::new(port);
            peer.send(&aid("probe", true));
            assert_eq!(peer.receive().unwrap()["is_registrar"], false);
            assert_eq!(peer.receive(), None);
        })
        .await
    })
    .unwrap();
}

#[test]
fn oldest_connection_without_a_handshake_gives_way() {
    actor(async || {
        let listening = ListenOptions::new().unknown_limit(2).listen(any_port())?;
        let port = port(&listening);
        aside(move || {
            let mut silent = [Peer::new(port), Peer::new(port)];
            for peer in &mut silent {
                assert_eq!(peer.receive().unwrap()["name"], "root");
            }
            // This one is taken all the same, and then is none without a handshake.
            let _known = Peer::known(port, "third");
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
        assert_ne!(port(&listening).port(), 0);
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
            let port = port(&listening);
            let kind = aside(move || {
                let mut peer = Peer::known(port, "caller");
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
