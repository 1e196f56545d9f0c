//! An actor whose parent is played: word for word as live peers of another implementation were
//! recorded, and in ways that no honest parent would choose.

mod common;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

use common::{HANG, HangGuard};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tractor::runtime::time;
use tractor::{Context, Dialog, Error, Result, endpoint};

/// What the recorded daemon ran, once more.
mod api {
    use super::*;

    #[derive(Deserialize)]
    pub(super) struct Sum {
        a: u32,
        b: u32,
    }

    pub(super) async fn add(sum: Sum) -> Result<u32> {
        Ok(sum.a + sum.b)
    }

    /// First values and items of any kind.
    pub(super) struct Any;

    impl Dialog for Any {
        type Started = Value;
        type ToChild = Item;
        type ToParent = Item;
    }

    /// An item, which JSON has no word for if it is bytes.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Item {
        Value(Value),
        Bytes(serde_bytes::ByteBuf),
    }

    #[derive(Deserialize)]
    pub(super) struct Number {
        x: u32,
    }

    pub(super) async fn double(ctx: &mut Context<Any>, number: Number) -> Result<u32> {
        ctx.started(json!(number.x)).await?;
        Ok(2 * number.x)
    }

    pub(super) async fn echo(ctx: &mut Context<Any>, (): ()) -> Result<String> {
        ctx.started(json!("ready")).await?;
        let stream = ctx.open_stream()?;
        while let Some(item) = stream.receive().await? {
            stream.send(&item).await?;
        }
        Ok("done".into())
    }

    #[derive(Deserialize)]
    pub(super) struct Flood {
        n: u32,
    }

    pub(super) async fn flood(ctx: &mut Context<Any>, flood: Flood) -> Result<()> {
        ctx.started(Value::Null).await?;
        let stream = ctx.open_stream()?;
        for number in 0..flood.n {
            stream.send(&Item::Value(json!(number))).await?;
        }
        time::sleep_forever().await?;
        Ok(())
    }

    pub(super) async fn sleeper(ctx: &mut Context<Any>, (): ()) -> Result<()> {
        ctx.started(json!("zzz")).await?;
        time::sleep_forever().await?;
        Ok(())
    }

    pub(super) async fn self_cancel(ctx: &mut Context<Any>, (): ()) -> Result<()> {
        ctx.started(Value::Null).await?;
        ctx.cancel();
        time::sleep_forever().await?;
        Ok(())
    }

    #[derive(Debug)]
    pub(super) struct ValueError(String);

    #[derive(Debug)]
    pub(super) struct KeyError;

    impl std::fmt::Display for ValueError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl std::fmt::Display for KeyError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no such key")
        }
    }

    impl std::error::Error for ValueError {}
    impl std::error::Error for KeyError {}

    #[derive(Deserialize)]
    pub(super) struct Boom {
        text: String,
    }

    pub(super) async fn boom(ctx: &mut Context<Any>, boom: Boom) -> Result<()> {
        ctx.started(Value::Null).await?;
        Err(ValueError(boom.text).into())
    }

    pub(super) async fn boom_before_started(_: &mut Context<Any>, (): ()) -> Result<()> {
        Err(Error::from(KeyError))
    }
}

endpoint!(api::add as "api:add");
endpoint!(api::double as "api:double");
endpoint!(api::echo as "api:echo");
endpoint!(api::flood as "api:flood");
endpoint!(api::sleeper as "api:sleeper");
endpoint!(api::self_cancel as "api:self_cancel");
endpoint!(api::boom as "api:boom");
endpoint!(api::boom_before_started as "api:boom_before_started");

/// A child, and the parent's end of its channel.
struct Parent {
    child: Child,
    socket: UnixStream,
    uid: Value,
    _guard: HangGuard,
}

impl Parent {
    /// Starts the actor `child`, which will run what is in `api`.
    fn of(child: &Value, uid: &Value) -> Self {
        let guard = HangGuard::new();
        let (socket, theirs) = UnixStream::pair().expect("a socket pair");
        let program = std::env::current_exe().expect("this program has a path");
        let process = Command::new(program)
            .env("TRACTOR_ACTOR", std::process::id().to_string())
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .expect("this program can be started again");
        socket.set_read_timeout(Some(HANG)).expect("it is not zero");
        let mut parent = Self {
            child: process,
            socket,
            uid: uid.clone(),
            _guard: guard,
        };
        parent.send(&json!({
            "msg_type": "Aid", "name": uid[0], "uuid": uid[1], "pid": std::process::id(),
        }));
        parent.send(&json!({
            "msg_type": "SpawnSpec",
            "_parent_main_data": {}, "_runtime_vars": {}, "enable_modules": {"api": ""},
            "reg_addrs": [], "bind_addrs": null, "x_uid": child, "x_grace_ms": 500,
        }));
        let aid = value_of(&parent.receive().expect("it says who it is"));
        assert_eq!(aid["msg_type"], "Aid");
        assert_eq!([&aid["name"], &aid["uuid"]], [&child[0], &child[1]]);
        parent
    }

    fn new() -> Self {
        Self::of(&json!(["child", "c-c"]), &json!(["parent", "p-p"]))
    }

    fn send(&mut self, message: &Value) {
        let body = rmp_serde::to_vec_named(message).expect("JSON is msgpack");
        self.send_bytes(&frame(&body));
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the actor is there");
    }

    fn start(&mut self, cid: &str, ns: &str, func: &str, kwargs: Value) {
        let uid = self.uid.clone();
        self.send(&json!({
            "msg_type": "Start", "cid": cid, "ns": ns, "func": func, "kwargs": kwargs, "uid": uid,
        }));
    }

    /// The body of the next frame; `None` at the end.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 4];
        match self.socket.read_exact(&mut len) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let mut body = vec![0; u32::from_le_bytes(len) as usize];
        self.socket.read_exact(&mut body).expect("a frame is whole");
        Some(body)
    }

    fn receive_value(&mut self) -> Value {
        value_of(&self.receive().expect("the actor has something to say"))
    }

    /// Ends the connection, and the actor with it.
    fn end(mut self) {
        self.socket
            .shutdown(Shutdown::Write)
            .expect("the socket is open");
        while self.receive().is_some() {}
        self.ended();
    }

    fn ended(mut self) {
        let status = self.child.wait().expect("it is a child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // Of a child that has ended there is nothing to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_le_bytes(), body].concat()
}

fn value_of(body: &[u8]) -> Value {
    rmp_serde::from_slice(body).expect("a message without bytes is JSON")
}

#[derive(Deserialize)]
struct Head {
    msg_type: String,
    cid: Option<String>,
}

fn head(body: &[u8]) -> Head {
    rmp_serde::from_slice(body).expect("a message is a map")
}

/// Texts of errors are everybody's own; all else is held to the byte.
fn comparable(body: &[u8]) -> Vec<u8> {
    if head(body).msg_type != "Error" {
        return body.into();
    }
    let mut error = value_of(body);
    error["message"] = Value::Null;
    error["tb_str"] = Value::Null;
    serde_json::to_vec(&error).expect("it was JSON")
}

/// Says what the recorded client said, and holds the actor to what the recorded daemon said.
///
/// The answers of two dialogs come in any order; those of one in theirs.
fn replay(name: &str) -> Parent {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/wire/{name}.jsonl"));
    let text = fs::read_to_string(path).expect("it was recorded");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        // The first two connections register the client, and the last one the contrary.
        .filter(|line: &Value| line["conn"] == 3 && line["frame_hex"].is_string())
        .collect();
    let uid_of = |dir: &str| {
        let mut aids = lines.iter().filter(|line| line["msg"]["msg_type"] == "Aid");
        let aid = &aids.find(|line| line["dir"] == dir).expect("both said it")["msg"];
        json!([aid["name"], aid["uuid"]])
    };
    let mut parent = Parent::of(&uid_of("server->client"), &uid_of("client->server"));
    let mut came: HashMap<Option<String>, VecDeque<Vec<u8>>> = HashMap::new();
    for line in lines.iter().filter(|line| line["msg"]["msg_type"] != "Aid") {
        let hex = line["frame_hex"].as_str().expect("a frame");
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        if line["dir"] == "client->server" {
            parent.send_bytes(&bytes);
            continue;
        }
        let expected = &bytes[4..];
        let cid = head(expected).cid;
        loop {
            let Some(body) = came.get_mut(&cid).and_then(VecDeque::pop_front) else {
                let body = parent.receive().expect("the actor has more to say");
                came.entry(head(&body).cid).or_default().push_back(body);
                continue;
            };
            // Items that were sent before an error came are on the way, and a stream is closed
            // when an endpoint leaves it.
            let is_of_stream = ["Yield", "Stop"].contains(&&*head(&body).msg_type);
            if head(expected).msg_type == "Error" && is_of_stream {
                continue;
            }
            let same = comparable(&body) == comparable(expected);
            assert!(same, "{name}: {line} was expected, not {:02x?}", body);
            break;
        }
    }
    parent
}

#[test]
fn recorded_dialogs() {
    for name in [
        "run",
        "double",
        "echo",
        "boom",
        "boom_early",
        "cancel",
        "self_cancel",
        "not_exposed",
        "overrun",
    ] {
        replay(name).end();
    }
}

#[test]
fn recorded_cancel_of_the_actor_ends_it() {
    let mut parent = replay("cancel_actor");
    assert_eq!(parent.receive(), None, "and closes the connection");
    parent.ended();
}

/// The actor is still there, and does what it is asked to.
fn lives_on(parent: &mut Parent) {
    parent.start("still there?", "api", "add", json!({"a": 1, "b": 2}));
    for expected in [
        json!({"msg_type": "StartAck", "cid": "still there?", "functype": "asyncfunc"}),
        json!({"msg_type": "Return", "cid": "still there?", "pld": 3}),
    ] {
        assert_eq!(parent.receive_value(), expected);
    }
}

#[test]
fn requests_that_cannot_be_met_are_answered_and_cost_nothing() {
    let mut parent = Parent::new();
    for (ns, func, kwargs, type_str) in [
        ("self", "no_such_method", json!({}), "AttributeError"),
        ("self", "_cancel_task", json!({}), "TypeError"),
        ("self", "_cancel_task", json!({"cid": 1}), "TypeError"),
        ("os", "getpid", json!({}), "ModuleNotExposed"),
        ("api", "add", json!({"a": "text"}), "MsgTypeError"),
        ("api", "no_such_function", json!({}), "AttributeError"),
    ] {
        parent.start("bad", ns, func, kwargs);
        let error = parent.receive_value();
        assert_eq!(error["msg_type"], "Error");
        assert_eq!(error["cid"], "bad");
        assert_eq!(error["boxed_type_str"], type_str, "{error}");
        lives_on(&mut parent);
    }
    parent.end();
}

#[test]
fn messages_of_dialogs_that_are_over_are_ignored() {
    let mut parent = Parent::new();
    for message in [
        json!({"msg_type": "Yield", "cid": "unknown", "pld": 1}),
        json!({"msg_type": "Stop", "cid": "unknown"}),
        json!({"msg_type": "Return", "cid": "unknown", "pld": 1}),
        json!({"msg_type": "CancelAck", "cid": "unknown", "pld": true}),
    ] {
        parent.send(&message);
    }
    parent.start("cancel", "self", "_cancel_task", json!({"cid": "unknown"}));
    for expected in [
        json!({"msg_type": "StartAck", "cid": "cancel", "functype": "asyncfunc"}),
        json!({"msg_type": "CancelAck", "cid": "cancel", "pld": true}),
    ] {
        assert_eq!(parent.receive_value(), expected);
    }
    lives_on(&mut parent);
    parent.end();
}

#[test]
fn message_out_of_place_ends_its_dialog_and_no_other() {
    let mut parent = Parent::new();
    parent.start("one", "api", "sleeper", json!({}));
    parent.start("other", "api", "sleeper", json!({}));
    for cid in ["one", "other"] {
        let expected = json!({"msg_type": "StartAck", "cid": cid, "functype": "context"});
        assert_eq!(parent.receive_value(), expected);
    }
    for cid in ["one", "other"] {
        let expected = json!({"msg_type": "Started", "cid": cid, "pld": "zzz"});
        assert_eq!(parent.receive_value(), expected);
    }
    parent.send(&json!({"msg_type": "Return", "cid": "one", "pld": 1}));
    let error = parent.receive_value();
    assert_eq!(error["cid"], "one");
    assert_eq!(error["boxed_type_str"], "MsgTypeError");
    assert_eq!(
        error["message"],
        "Return is not allowed while the dialog is started"
    );
    lives_on(&mut parent);
    parent.start("cancel", "self", "_cancel_task", json!({"cid": "other"}));
    let answers = [(); 3].map(|()| parent.receive_value());
    let ended = answers.iter().find(|answer| answer["msg_type"] == "Error");
    let ended = ended.expect("the other one was still there");
    assert_eq!(ended["cid"], "other");
    assert_eq!(ended["canceller"], json!(["parent", "p-p"]));
    parent.end();
}

#[test]
fn what_breaks_the_protocol_ends_the_connection_and_says_why() {
    let body = |message: Value| frame(&rmp_serde::to_vec_named(&message).expect("JSON is msgpack"));
    let start = |cid: &str, uid: Value| {
        body(json!({
            "msg_type": "Start", "cid": cid, "ns": "api", "func": "sleeper", "kwargs": {},
            "uid": uid,
        }))
    };
    let own = || json!(["parent", "p-p"]);
    let cases = [
        (frame(b"\xc1"), "not msgpack from byte 1 of the frame on"),
        (frame(b""), "not msgpack from byte 0 of the frame on"),
        (body(json!([1])), "a message is a map, not an array"),
        (body(json!({"msg_type": "Foo"})), "unknown msg_type \"Foo\""),
        (body(json!({"cid": "C"})), "a message without msg_type"),
        (
            body(json!({"msg_type": "Stop"})),
            "Stop without its field cid",
        ),
        (
            u32::MAX.to_le_bytes().into(),
            "a frame of 4294967295 bytes is over the limit of 16777216",
        ),
        (
            body(json!({"msg_type": "Aid", "name": "a", "uuid": "b"})),
            "Aid after the handshake",
        ),
        (
            start("C", json!(["somebody", "else"])),
            "a Start in the name of somebody@else",
        ),
        (
            [start("twice", own()), start("twice", own())].concat(),
            "a second Start for the dialog twice",
        ),
    ];
    for (bytes, why) in cases {
        let mut parent = Parent::new();
        parent.send_bytes(&bytes);
        let error = std::iter::from_fn(|| parent.receive())
            .filter(|body| head(body).msg_type == "Error")
            .map(|body| value_of(&body))
            .find(|error| error["cid"].is_null());
        let error = error.unwrap_or_else(|| panic!("it is not told: {why}"));
        assert_eq!(error["message"], why);
        // An actor without a parent ends as one that was cancelled.
        parent.end();
    }
}

#[test]
fn connection_cut_at_any_byte_of_a_message_ends_the_actor() {
    let start = rmp_serde::to_vec_named(&json!({
        "msg_type": "Start", "cid": "C", "ns": "api", "func": "sleeper", "kwargs": {},
        "uid": ["parent", "p-p"],
    }));
    let bytes = frame(&start.expect("JSON is msgpack"));
    for cut in [0, 1, 3, 4, 5, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
        let mut parent = Parent::new();
        parent.send_bytes(&bytes[..cut]);
        parent.end();
    }
}
