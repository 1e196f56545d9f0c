use std::any::type_name;
use std::cell::RefCell;
use std::fmt;

use rmp::{Marker, encode};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess,
    Visitor,
};
use serde::ser::{self, Error as _, Impossible, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::cursor::{self, Cursor, Head, MAX_DEPTH};
use super::{Limits, Payload};
use crate::error::{MsgTypeError, Result};

/// A value as the MessagePack that travels, whatever its type: for programs that pass values on, or
/// that know the names of endpoints and not their types.
///
/// It stands wherever a serde type does: as arguments, first value, item or result of a call, and as
/// a part of any of them. Sent or received as a whole it is copied, byte for byte, and not decoded.
/// It is always one well-formed value that nests at most 128 deep. It is sent within the
/// [limits](Limits) of the actor that sends it.
///
/// It is also a [`Dialog`](crate::Dialog) in which everything is raw:
///
/// ```no_run
/// use tractor::{Caller, Context, Portal, Raw, Result};
///
/// /// Calls any context of any actor, and gives its first value and its result.
/// async fn call(portal: &Portal, name: &str, args: Raw) -> Result<(Raw, Option<Raw>)> {
///     let body = async |ctx: &Context<Raw, Caller<Raw>>, first| {
///         Ok((first, ctx.wait_for_result().await?.returned()))
///     };
///     portal.open_context_named(name, args, body).await
/// }
/// # async fn used(portal: &Portal) -> Result<()> {
/// let args = Raw::new(&std::collections::BTreeMap::from([("x", 21)]))?;
/// let (first, result) = call(portal, "api:double", args).await?;
/// println!("{first:?}");
/// if let Some(result) = result {
///     let number: i64 = result.decode()?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Arguments are a map of names. An endpoint that takes a `Raw` is given that map; a `Raw` that is
/// another value is sent as other values are, by the name `args`, and nil as the empty map.
///
/// In other formats it is the value that it holds: `serde_json` makes JSON of it, and a `Raw` of JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Payload);

impl Raw {
    /// A value, encoded.
    ///
    /// # Errors
    ///
    /// [`MsgTypeError`] if its `Serialize` fails, or it nests more than 128 deep.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let encoded = Payload::encode(value);
        Ok(Self(encoded.map_err(|error| {
            MsgTypeError::new("a raw value", error)
        })?))
    }

    /// A value that is encoded already.
    ///
    /// # Errors
    ///
    /// [`MsgTypeError`] unless the bytes are one whole MessagePack value, and no more, that nests at
    /// most 128 deep.
    pub fn from_msgpack(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        cursor::check(&bytes, &Limits::WIDEST)
            .map_err(|error| MsgTypeError::new("a raw value", error))?;
        Ok(Self(Payload::checked(bytes.into())))
    }

    /// The value that is nothing.
    pub fn nil() -> Self {
        Self(Payload::nil())
    }

    /// The value as MessagePack.
    pub fn as_msgpack(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The value as one of this type.
    ///
    /// # Errors
    ///
    /// [`MsgTypeError`] if it is of another, which says where.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        self.0
            .decode()
            .map_err(|error| MsgTypeError::new("a raw value", error).into())
    }
}

/// For people, as far as that goes: `Raw({"x": 1, "y": [2, ..)`.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({})", self.0.shown())
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self::nil()
    }
}

/// By this name our own serializers and deserializers know a `Raw`. To others it means nothing.
const TOKEN: &str = "$tractor::Raw";

/// Whether `T` may be a `Raw`: asked first, since it costs nothing.
fn may_be_raw<T: ?Sized>() -> bool {
    type_name::<T>().ends_with(type_name::<Raw>())
}

/// The encoded value, if it is a `Raw`.
#[inline]
pub(super) fn encoded<T: Serialize + ?Sized>(value: &T) -> Option<Vec<u8>> {
    match may_be_raw::<T>() {
        true => value.serialize(Taker { is_inside: false }).ok(),
        false => None,
    }
}

/// The payload as it is, if that is what is wanted.
#[inline]
pub(super) fn as_it_is<T: DeserializeOwned>(payload: &Payload) -> Option<T> {
    match may_be_raw::<T>() {
        true => T::deserialize(Giver(payload)).ok(),
        false => None,
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TOKEN, &Contents(self.as_msgpack()))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TOKEN, RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        value: D,
    ) -> std::result::Result<Raw, D::Error> {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).deserialize(value)?;
        // What came through other formats was not counted.
        Raw::from_msgpack(bytes).map_err(D::Error::custom)
    }

    /// From [`Giver`].
    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<Raw, E> {
        Raw::from_msgpack(bytes).map_err(E::custom)
    }
}

/// Encoded values as the values that they are, whatever the serializer.
struct Contents<'a>(&'a [u8]);

impl Serialize for Contents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if type_name::<S>() == type_name::<Taker>() {
            return serializer.serialize_bytes(self.0);
        }
        Next(&RefCell::new(Cursor::new(self.0))).serialize(serializer)
    }
}

/// The value at the cursor. How deep it nests was checked.
struct Next<'c, 'a>(&'c RefCell<Cursor<'a>>);

impl Serialize for Next<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (head, encoded) = {
            let mut cursor = self.0.borrow_mut();
            let from = cursor.at();
            let head = cursor.head().map_err(S::Error::custom)?;
            (head, cursor.since(from))
        };
        match head {
            Head::Nil => serializer.serialize_unit(),
            Head::Bool(value) => serializer.serialize_bool(value),
            Head::Uint(number) => serializer.serialize_u64(number),
            Head::Int(number) => serializer.serialize_i64(number),
            Head::Float => match *encoded {
                [_, a, b, c, d] => serializer.serialize_f32(f32::from_be_bytes([a, b, c, d])),
                [_, ref number @ ..] => {
                    let number = number.try_into().map_err(S::Error::custom)?;
                    serializer.serialize_f64(f64::from_be_bytes(number))
                }
                [] => unreachable!("a head has a byte"),
            },
            Head::Str(text) => match str::from_utf8(text) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.serialize_bytes(text),
            },
            Head::Bin(bytes) => serializer.serialize_bytes(bytes),
            Head::Ext => {
                let (kind, data) = extension(encoded);
                let value = (kind, Bin(data));
                serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &value)
            }
            Head::Array(count) => {
                let mut array = serializer.serialize_seq(Some(count))?;
                for _ in 0..count {
                    array.serialize_element(self)?;
                }
                array.end()
            }
            Head::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs))?;
                for _ in 0..pairs {
                    map.serialize_entry(self, self)?;
                }
                map.end()
            }
        }
    }
}

/// The kind and the data of a whole extension.
fn extension(encoded: &[u8]) -> (i8, &[u8]) {
    let kind = match Marker::from_u8(encoded[0]) {
        Marker::Ext8 => 2,
        Marker::Ext16 => 3,
        Marker::Ext32 => 5,
        _ => 1,
    };
    (encoded[kind] as i8, &encoded[kind + 1..])
}

struct Bin<'a>(&'a [u8]);

impl Serialize for Bin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Takes the bytes of a `Raw`, and nothing else.
struct Taker {
    is_inside: bool,
}

#[derive(Debug)]
struct NotRaw;

impl fmt::Display for NotRaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no raw value")
    }
}

impl std::error::Error for NotRaw {}

impl ser::Error for NotRaw {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl de::Error for NotRaw {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Taken = std::result::Result<Vec<u8>, NotRaw>;

type Never = Impossible<Vec<u8>, NotRaw>;

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> std::result::Result<$result, NotRaw> {
            Err(NotRaw)
        })*
    };
}

impl Serializer for Taker {
    type Ok = Vec<u8>;
    type Error = NotRaw;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Taken {
        match name {
            TOKEN => value.serialize(Self { is_inside: true }),
            _ => Err(NotRaw),
        }
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Taken {
        match self.is_inside {
            true => Ok(bytes.into()),
            false => Err(NotRaw),
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Taken {
        Err(NotRaw)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Taken {
        Err(NotRaw)
    }

    refuse! {
        serialize_bool(bool) -> Vec<u8>;
        serialize_i8(i8) -> Vec<u8>;
        serialize_i16(i16) -> Vec<u8>;
        serialize_i32(i32) -> Vec<u8>;
        serialize_i64(i64) -> Vec<u8>;
        serialize_u8(u8) -> Vec<u8>;
        serialize_u16(u16) -> Vec<u8>;
        serialize_u32(u32) -> Vec<u8>;
        serialize_u64(u64) -> Vec<u8>;
        serialize_f32(f32) -> Vec<u8>;
        serialize_f64(f64) -> Vec<u8>;
        serialize_char(char) -> Vec<u8>;
        serialize_str(&str) -> Vec<u8>;
        serialize_none() -> Vec<u8>;
        serialize_unit() -> Vec<u8>;
        serialize_unit_struct(&'static str) -> Vec<u8>;
        serialize_unit_variant(&'static str, u32, &'static str) -> Vec<u8>;
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }
}

/// Gives a payload to a `Raw`, and to nothing else.
struct Giver<'a>(&'a Payload);

impl<'de> Deserializer<'de> for Giver<'_> {
    type Error = NotRaw;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, NotRaw> {
        Err(NotRaw)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, NotRaw> {
        match name {
            TOKEN => visitor.visit_bytes(self.0.as_bytes()),
            _ => Err(NotRaw),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Encodes a value of any format.
struct Writer<'a> {
    buf: &'a mut Vec<u8>,
    /// Arrays and maps around it.
    depth: usize,
}

impl<'a> Writer<'a> {
    fn new(buf: &'a mut Vec<u8>) -> Self {
        Self { buf, depth: 0 }
    }

    /// For what is inside of an array or a map.
    fn deeper<E: de::Error>(&mut self) -> std::result::Result<Writer<'_>, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("it nests too deeply"));
        }
        Ok(Writer {
            buf: self.buf,
            depth: self.depth + 1,
        })
    }
}

fn count<E: de::Error>(count: usize) -> std::result::Result<u32, E> {
    u32::try_from(count).map_err(E::custom)
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> std::result::Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<(), E> {
        encode::write_nil(self.buf).map_err(E::custom)
    }

    fn visit_none<E: de::Error>(self) -> std::result::Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> std::result::Result<(), D::Error> {
        self.deserialize(value)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<(), E> {
        encode::write_bool(self.buf, value).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> std::result::Result<(), E> {
        encode::write_sint(self.buf, number)
            .map(drop)
            .map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<(), E> {
        encode::write_uint(self.buf, number)
            .map(drop)
            .map_err(E::custom)
    }

    fn visit_f32<E: de::Error>(self, number: f32) -> std::result::Result<(), E> {
        encode::write_f32(self.buf, number).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<(), E> {
        encode::write_f64(self.buf, number).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<(), E> {
        encode::write_str(self.buf, text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<(), E> {
        encode::write_bin(self.buf, bytes).map_err(E::custom)
    }

    /// An extension, as the codec shows it.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        value: D,
    ) -> std::result::Result<(), D::Error> {
        let (kind, data): (i8, Data) = Deserialize::deserialize(value)?;
        encode::write_ext_meta(self.buf, count(data.0.len())?, kind).map_err(D::Error::custom)?;
        self.buf.extend_from_slice(&data.0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> std::result::Result<(), A::Error> {
        let start = self.buf.len();
        let mut values = 0;
        while array.next_element_seed(self.deeper()?)?.is_some() {
            values += 1;
        }
        let inside = self.buf.split_off(start);
        encode::write_array_len(self.buf, count(values)?).map_err(A::Error::custom)?;
        self.buf.extend_from_slice(&inside);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<(), A::Error> {
        let start = self.buf.len();
        let mut pairs = 0;
        while map.next_key_seed(self.deeper()?)?.is_some() {
            map.next_value_seed(self.deeper()?)?;
            pairs += 1;
        }
        let inside = self.buf.split_off(start);
        encode::write_map_len(self.buf, count(pairs)?).map_err(A::Error::custom)?;
        self.buf.extend_from_slice(&inside);
        Ok(())
    }
}

/// The data of an extension.
struct Data(Vec<u8>);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_bytes(DataVisitor)
    }
}

struct DataVisitor;

impl Visitor<'_> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<Data, E> {
        Ok(Data(bytes.into()))
    }
}
