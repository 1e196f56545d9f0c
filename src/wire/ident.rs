use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Who an actor is: the name it was given, and a UUID that no other actor has.
///
/// Cloning is cheap. Two are equal if name and id are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid {
    name: Arc<str>,
    id: Arc<str>,
}

impl Uid {
    /// The identity of `name` with this id.
    pub fn new(name: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            id: id.into(),
        }
    }

    /// An identity that nobody else has.
    pub fn fresh(name: impl Into<Arc<str>>) -> Self {
        Self::new(name, Uuid::new_v4().hyphenated().to_string())
    }

    /// The name the actor was given. Several actors may have the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The UUID, as text.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Hash for Uid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// A pair of texts.
impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.name(), self.id()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, id) = <(String, String)>::deserialize(deserializer)?;
        Ok(Self::new(name, id))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.id.get(..8).unwrap_or(&self.id);
        write!(f, "{}@{short}", self.name)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.id)
    }
}

/// The name of one dialog, chosen by the side that opens it.
///
/// On the wire it is text, by custom a UUID, and that is what is cheap here: it is
/// kept as a number. Other text is kept as it came.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cid(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Uuid(u128),
    Text(Arc<str>),
}

/// Bytes in a UUID as text.
const UUID_LEN: usize = 36;

impl Cid {
    /// One that nobody else has.
    pub(crate) fn fresh() -> Self {
        Self(Repr::Uuid(NAMES.with(Names::next).as_u128()))
    }

    pub(crate) fn parse(text: &str) -> Self {
        // Only the one spelling that `with_text` gives back may become a number.
        let canonical =
            text.len() == UUID_LEN && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match Uuid::try_parse(text) {
            Ok(uuid) if canonical => Self(Repr::Uuid(uuid.as_u128())),
            _ => Self(Repr::Text(text.into())),
        }
    }

    pub(crate) fn with_text<R>(&self, read: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Uuid(number) => {
                let mut text = [0; UUID_LEN];
                read(
                    Uuid::from_u128(*number)
                        .hyphenated()
                        .encode_lower(&mut text),
                )
            }
            Repr::Text(text) => read(text),
        }
    }
}

thread_local! {
    static NAMES: Names = Names::new();
}

/// A sequence of UUIDs that begins at random: the system's random numbers cost a call each, and
/// the name of a dialog has to be unique and is no secret.
struct Names {
    next: Cell<(u64, u64)>,
}

impl Names {
    fn new() -> Self {
        Self {
            next: Cell::new(Uuid::new_v4().as_u64_pair()),
        }
    }

    fn next(&self) -> Uuid {
        /// Odd, so that it takes 2^64 steps to come around, and each step changes all that a
        /// reader looks at.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let (high, low) = self.next.get();
        let next = (high.wrapping_add(STEP), low.wrapping_add(1));
        self.next.set(next);
        let bytes = Uuid::from_u64_pair(next.0, next.1).into_bytes();
        // Of random bytes it keeps all but the version.
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
