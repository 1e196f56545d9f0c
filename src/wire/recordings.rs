//! Dialogs that were recorded from live peers, for tests.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// What was recorded from live peers, file by file.
pub(crate) fn recordings() -> Vec<(String, Vec<Recorded>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire");
    let mut recordings: Vec<_> = fs::read_dir(dir)
        .expect("the recordings are there")
        .map(|entry| {
            let path = entry.expect("the recordings can be listed").path();
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&path).expect("a recording is text");
            (name, text.lines().filter_map(recorded).collect())
        })
        .collect();
    recordings.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(recordings.len(), 11, "a recording is missing");
    recordings
}

pub(crate) struct Recorded {
    /// Which connection, and which way.
    pub(crate) stream: (u64, String),
    pub(crate) frame: Vec<u8>,
    pub(crate) message: Value,
}

fn recorded(line: &str) -> Option<Recorded> {
    let mut line: Value = serde_json::from_str(line).expect("a line is JSON");
    let hex = line["frame_hex"].as_str()?;
    let frame = from_hex(hex);
    Some(Recorded {
        stream: (
            line["conn"].as_u64().expect("a connection"),
            line["dir"].as_str().expect("a direction").into(),
        ),
        frame,
        message: line["msg"].take(),
    })
}

/// A key that stands for bytes, which JSON has not.
const BYTES: &str = "__bytes_hex__";

/// Any value of the wire, as the recordings show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen(pub(crate) Value);

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0[BYTES].as_str() {
            Some(hex) => serializer.serialize_bytes(&from_hex(hex)),
            None => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeenVisitor).map(Seen)
    }
}

struct SeenVisitor;

impl<'de> Visitor<'de> for SeenVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(json!({ BYTES: hex }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Seen(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Map::new();
        while let Some((key, Seen(value))) = map.next_entry::<String, _>()? {
            pairs.insert(key, value);
        }
        Ok(pairs.into())
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}
