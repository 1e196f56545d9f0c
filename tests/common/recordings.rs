//! Dialogs that were recorded from live peers of another implementation, and what came in their
//! place today.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use rmpv::Value;
use rmpv::decode::read_value;
use rmpv::encode::write_value;

use super::common::HANG;

/// Everything that was said, in its order.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    /// Which connection, in the order in which they were opened.
    pub(crate) conn: u64,
    pub(crate) by_client: bool,
    /// `None` at the end of what is said in this direction.
    pub(crate) message: Option<Value>,
}

impl Recording {
    pub(crate) fn named(name: &'static str) -> Self {
        let path = format!("tests/data/wire/{name}.jsonl");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(path).expect("it was recorded");
        Self {
            name,
            lines: text.lines().map(Line::read).collect(),
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.lines.iter().map(|line| line.conn).max().unwrap_or(0)
    }
}

impl Line {
    fn read(text: &str) -> Self {
        let line: serde_json::Value = serde_json::from_str(text).expect("a line is JSON");
        Self {
            conn: line["conn"].as_u64().expect("a connection"),
            by_client: line["dir"] == "client->server",
            message: line["frame_hex"].as_str().map(|hex| {
                let frame = bytes_of(hex);
                let message = decoded(&frame[4..]);
                assert_eq!(body_of(&message), frame[4..], "it was in its shortest form");
                message
            }),
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex");
    (0..hex.len() / 2).map(digits).collect()
}

pub(crate) fn decoded(body: &[u8]) -> Value {
    let mut rest = body;
    let value = read_value(&mut rest).expect("a message is msgpack");
    assert!(rest.is_empty(), "and nothing else");
    value
}

pub(crate) fn body_of(message: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    write_value(&mut body, message).expect("memory takes everything");
    body
}

pub(crate) fn text_at<'a>(message: &'a Value, key: &str) -> Option<&'a str> {
    let pairs = message.as_map()?;
    let (_, value) = pairs
        .iter()
        .find(|(other, _)| other.as_str() == Some(key))?;
    value.as_str()
}

/// What has another name today than when it was recorded: actors, dialogs, ports.
#[derive(Default)]
pub(crate) struct Names {
    then: HashMap<String, String>,
    now: HashMap<String, String>,
    ports: HashMap<u64, u64>,
}

impl Names {
    /// The name that stands for one of the recording, if that is known.
    pub(crate) fn of(&self, then: &str) -> Option<&str> {
        self.now.get(then).map(|now| &**now)
    }

    pub(crate) fn is_known(&self, now: &str) -> bool {
        self.then.contains_key(now)
    }

    fn bind(&mut self, now: &str, then: &str) -> bool {
        let known_then = self.then.entry(now.into()).or_insert_with(|| then.into());
        let known_now = self.now.entry(then.into()).or_insert_with(|| now.into());
        known_then == then && known_now == now
    }

    pub(crate) fn bind_port(&mut self, now: u64, then: u64) {
        self.ports.insert(then, now);
    }

    /// The recorded message with the names of today.
    pub(crate) fn translated(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(text) => match text.as_str().and_then(|text| self.of(text)) {
                Some(now) => now.into(),
                None => recorded.clone(),
            },
            Value::Array(items) if is_tcp(items) => {
                let then = items[1].as_u64().expect("a port");
                let now = self.ports.get(&then).copied().unwrap_or(then);
                Value::Array(vec![items[0].clone(), now.into()])
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.translated(item)).collect())
            }
            Value::Map(pairs) => {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(key, value)| (key.clone(), self.translated(value)));
                Value::Map(pairs.collect())
            }
            other => other.clone(),
        }
    }

    /// What came today, with the names of the recording where it is about the same. Everything else
    /// is left as it came.
    pub(crate) fn adopted(&mut self, came: &Value, recorded: &Value, key: &str) -> Value {
        match (came, recorded) {
            (_, Value::Integer(_)) if key == "pid" && came.is_u64() => recorded.clone(),
            (_, Value::String(_)) if ["message", "tb_str"].contains(&key) && came.is_str() => {
                recorded.clone()
            }
            (Value::String(now), Value::String(then)) => {
                let (now, then) = (now.as_str().expect("text"), then.as_str().expect("text"));
                let same = is_uuid(then) && is_uuid(now) && self.bind(now, then);
                (if same { recorded } else { came }).clone()
            }
            (Value::Array(now), Value::Array(then)) if is_tcp(now) && is_tcp(then) => {
                let port = now[1].as_u64().expect("a port");
                assert_ne!(port, 0, "a port that is listened at");
                let then_port = then[1].as_u64().expect("a port");
                let known = *self.ports.entry(then_port).or_insert(port);
                (if known == port { recorded } else { came }).clone()
            }
            (Value::Array(now), Value::Array(then)) => {
                let items = now.iter().enumerate().map(|(i, item)| match then.get(i) {
                    Some(then) => self.adopted(item, then, key),
                    None => item.clone(),
                });
                Value::Array(items.collect())
            }
            (Value::Map(now), Value::Map(then)) => {
                let pairs = now.iter().enumerate().map(|(i, (key, value))| {
                    let value = match (then.get(i), key.as_str()) {
                        (Some((other, then)), Some(name)) if other == key => {
                            self.adopted(value, then, name)
                        }
                        _ => value.clone(),
                    };
                    (key.clone(), value)
                });
                Value::Map(pairs.collect())
            }
            _ => came.clone(),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|&byte| byte == b'-').count() == 4
}

fn is_tcp(items: &[Value]) -> bool {
    matches!(items, [host, port] if host.as_str() == Some("127.0.0.1") && port.is_u64())
}

/// One connection to what is tested, and what came on it that was not asked for yet.
pub(crate) struct Wire {
    socket: TcpStream,
    /// By dialog, in the order in which the dialogs began.
    came: Vec<(Option<String>, VecDeque<Vec<u8>>)>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(HANG)).expect("it is not zero");
        Self {
            socket,
            came: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let body = body_of(message);
        let length = u32::try_from(body.len()).expect("a short message");
        let frame = [&length.to_le_bytes(), &*body].concat();
        self.socket.write_all(&frame).expect("the peer is there");
    }

    /// Sends nothing more.
    pub(crate) fn end(&self) {
        // It fails if the peer is gone, who then needs not be told.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next message of the dialog that a recorded one belongs to; of one that nobody knows, if
    /// it opens one. `None` at the end.
    pub(crate) fn receive_for(&mut self, recorded: &Value, names: &Names) -> Option<Vec<u8>> {
        let then = text_at(recorded, "cid");
        loop {
            let is_it = |cid: &Option<String>| match (then, cid) {
                (None, None) => true,
                (Some(then), Some(now)) => match names.of(then) {
                    Some(known) => known == now,
                    None => !names.is_known(now),
                },
                _ => false,
            };
            let mut dialogs = self.came.iter_mut().filter(|(cid, _)| is_it(cid));
            if let Some(body) = dialogs.find_map(|(_, bodies)| bodies.pop_front()) {
                return Some(body);
            }
            if !self.hear() {
                return None;
            }
        }
    }

    /// Whatever is there that was not asked for, when the peer has said everything.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        while self.hear() {}
        let bodies = self.came.drain(..).flat_map(|(_, bodies)| bodies);
        bodies.map(|body| decoded(&body)).collect()
    }

    fn hear(&mut self) -> bool {
        let mut length = [0; 4];
        match self.socket.read_exact(&mut length) {
            Err(error) if is_the_end(&error) => return false,
            read => read.expect("the peer goes on, or ends"),
        }
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.socket.read_exact(&mut body).expect("a frame is whole");
        let cid = text_at(&decoded(&body), "cid").map(String::from);
        match self.came.iter_mut().find(|(other, _)| *other == cid) {
            Some((_, bodies)) => bodies.push_back(body),
            None => self.came.push((cid, VecDeque::from([body]))),
        }
        true
    }
}

fn is_the_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}
