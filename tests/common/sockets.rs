//! An actor that listens at sockets, honest actors that talk to it, and peers that are played.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};

use serde_json::{Value, json};
use tractor::{
    Address, Caller, Context, Dialog, ModuleNotExposed, Portal, Result, RunOptions, SpawnOptions,
    connect, endpoint,
};

pub(crate) use super::common::aside;
use super::common::{HANG, HangGuard};

pub(crate) async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

pub(crate) async fn hidden(x: u64) -> Result<u64> {
    Ok(x)
}
endpoint!(hidden);

pub(crate) struct Echo;
impl Dialog for Echo {
    type Started = ();
    type ToChild = u64;
    type ToParent = u64;
}

/// Sends back what comes, until that ends; says how many it were.
pub(crate) async fn echo(ctx: &mut Context<Echo>, (): ()) -> Result<u64> {
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
pub(crate) async fn talk_to(address: String) -> Result<u64> {
    let portal = connect(&address.parse()?).await?;
    assert_eq!(portal.run(double, 21).await?, 42);
    let refused = portal.run(hidden, 1).await.unwrap_err();
    assert!(refused.is::<ModuleNotExposed>(), "{refused}");
    exchange(&portal, 100).await
}
endpoint!(talk_to);

pub(crate) async fn exchange(portal: &Portal, count: u64) -> Result<u64> {
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
pub(crate) fn actor<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let _guard = HangGuard::new();
    keep_the_log();
    RunOptions::new().enable(double).enable(echo).run(main)
}

/// Runs a test beside another actor, in which every endpoint of the test program can be called.
pub(crate) async fn beside<T>(body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new()
            .in_thread()
            .enable_module(env!("CARGO_CRATE_NAME"));
        let other = an.start_actor("other", options).await?;
        let result = body(&other).await;
        an.cancel();
        result
    })
    .await
}

pub(crate) fn any_port() -> Address {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A directory of a test, gone with it.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tractor-listening-{}-{next}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn made(self, mode: u32) -> Self {
        fs::DirBuilder::new().mode(mode).create(&self.0).unwrap();
        fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn socket(&self) -> PathBuf {
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

pub(crate) fn keep_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
}

pub(crate) fn was_logged(text: &str) -> bool {
    logged(text) > 0
}

/// How many lines of the log have this text.
pub(crate) fn logged(text: &str) -> usize {
    let log = LOG.lock().unwrap();
    log.iter().filter(|line| line.contains(text)).count()
}

/// A peer that is none of ours: bytes on a socket. What is done to that is the same for all kinds.
pub(crate) struct Peer(pub(crate) UnixStream);

impl Peer {
    pub(crate) fn new(address: &Address) -> Self {
        let socket = match address {
            Address::Tcp(address) => OwnedFd::from(TcpStream::connect(address).unwrap()).into(),
            Address::Unix(path) => UnixStream::connect(path).unwrap(),
            other => panic!("nobody listens at {other}"),
        };
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self(socket)
    }

    /// One that has said who it is.
    pub(crate) fn known(address: &Address, name: &str) -> Self {
        let mut peer = Self::new(address);
        peer.send(&aid(name, false));
        assert_eq!(peer.receive().unwrap()["name"], "root");
        peer
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.0.write_all(&frame(message)).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Option<Value> {
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
    pub(crate) fn closed(&mut self) {
        while self.receive().is_some() {}
    }
}

pub(crate) fn is_the_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}

pub(crate) fn frame(message: &Value) -> Vec<u8> {
    let body = rmp_serde::to_vec_named(message).unwrap();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend(body);
    frame
}

pub(crate) fn aid(name: &str, is_probe: bool) -> Value {
    json!({
        "msg_type": "Aid", "name": name, "uuid": format!("uuid-of-{name}"), "pid": 1,
        "is_registrar": null, "is_probe": is_probe,
    })
}

pub(crate) fn start(name: &str, ns: &str, func: &str) -> Value {
    json!({
        "msg_type": "Start", "cid": "a dialog", "ns": ns, "func": func, "kwargs": {},
        "uid": [name, format!("uuid-of-{name}")], "pld_spec": "typing.Any",
    })
}
