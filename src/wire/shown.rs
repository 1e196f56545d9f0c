//! Payloads as people read them.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

/// How much of a value is shown.
const SHOWN: usize = 80;

/// A value as text, as far as that goes: `{"x": 1, "y": [2, ..`.
pub(super) fn shown<'de, D: Deserializer<'de>>(value: D) -> String {
    let mut text = Text(String::new());
    // What it fails with is that it is full.
    if Value(&mut text).deserialize(value).is_err() {
        text.0.push_str("..");
    }
    text.0
}

/// Text up to a limit.
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for c in more.chars() {
            self.write_char(c)?;
        }
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if self.0.len() + c.len_utf8() > SHOWN {
            return Err(fmt::Error);
        }
        self.0.push(c);
        Ok(())
    }
}

struct Value<'a>(&'a mut Text);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl Value<'_> {
    fn write<E: Error>(self, text: fmt::Arguments<'_>) -> Result<(), E> {
        self.0.write_fmt(text).map_err(E::custom)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write(format_args!("nil"))
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.write(format_args!("nil"))
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.deserialize(value)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(format_args!("{value}"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(format_args!("{value}"))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(format_args!("{value}"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(format_args!("{value:?}"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(format_args!("{value:?}"))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<(), E> {
        self.write(format_args!("<{} bytes>", value.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(text) = self;
        Value(text).write(format_args!("["))?;
        let mut before = "";
        while items.next_element_seed(Next { text, before })?.is_some() {
            before = ", ";
        }
        Value(text).write(format_args!("]"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let Self(text) = self;
        Value(text).write(format_args!("{{"))?;
        let mut before = "";
        while pairs.next_key_seed(Next { text, before })?.is_some() {
            pairs.next_value_seed(Next { text, before: ": " })?;
            before = ", ";
        }
        Value(text).write(format_args!("}}"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.write(format_args!("<extension>"))
    }
}

/// A value and what stands before it.
struct Next<'a> {
    text: &'a mut Text,
    before: &'static str,
}

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        Value(self.text).write(format_args!("{}", self.before))?;
        Value(self.text).deserialize(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::*;

    fn text(value: impl Serialize) -> String {
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        shown(&mut rmp_serde::Deserializer::from_read_ref(&bytes[..]))
    }

    #[test]
    fn values_of_every_kind() {
        assert_eq!(text(()), "nil");
        assert_eq!(text(true), "true");
        assert_eq!(text(10), "10");
        assert_eq!(text(-7i64), "-7");
        assert_eq!(text(2.5), "2.5");
        assert_eq!(text("yo \"you\""), r#""yo \"you\"""#);
        assert_eq!(text(serde_bytes::Bytes::new(b"abc")), "<3 bytes>");
        assert_eq!(text((1, "two", [3])), r#"[1, "two", [3]]"#);
        let map = BTreeMap::from([("x", vec![1, 2]), ("y", vec![])]);
        assert_eq!(text(map), r#"{"x": [1, 2], "y": []}"#);
    }

    #[test]
    fn large_values_are_cut_off() {
        for large in [
            text("x".repeat(1 << 20)),
            text(vec![1; 1 << 20]),
            text("é".repeat(100)),
        ] {
            assert!(large.len() <= SHOWN + 2 && large.ends_with(".."), "{large}");
        }
        let mut deep = vec![0x91; 10_000];
        deep.push(0xc0);
        let mut value = rmp_serde::Deserializer::from_read_ref(&deep[..]);
        value.set_max_depth(64);
        assert!(shown(&mut value).ends_with(".."));
    }
}
