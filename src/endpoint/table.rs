use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;

use super::handler::Handler;

/// The name of an endpoint on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    pub(crate) ns: String,
    pub(crate) func: String,
}

impl Path {
    /// `a::b::f` is the function `f` of `a::b`.
    pub(crate) fn of_function(type_name: &str) -> Self {
        let (ns, func) = type_name.rsplit_once("::").unwrap_or(("", type_name));
        Self {
            ns: ns.into(),
            func: func.into(),
        }
    }

    /// `ns:func`. The namespace may itself hold `::`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (ns, func) = name.rsplit_once(':')?;
        let valid = !ns.is_empty() && !ns.ends_with(':') && !func.is_empty();
        valid.then(|| Self {
            ns: ns.into(),
            func: func.into(),
        })
    }
}

impl Path {
    /// As [`Display`](fmt::Display) has it, which is slow for what every dialog has to do.
    pub(crate) fn to_text(&self) -> String {
        [&*self.ns, ":", &*self.func].concat()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ns, self.func)
    }
}

/// Every endpoint of the program, from whatever crate it is in.
#[linkme::distributed_slice]
pub static ENDPOINTS: [Entry];

/// What `endpoint!` leaves behind.
#[derive(Debug)]
pub struct Entry {
    function: fn() -> &'static str,
    name: Option<&'static str>,
    handler: fn() -> Handler,
    file: &'static str,
    line: u32,
}

impl Entry {
    /// For `endpoint!` alone.
    pub const fn new(
        function: fn() -> &'static str,
        name: Option<&'static str>,
        handler: fn() -> Handler,
        file: &'static str,
        line: u32,
    ) -> Self {
        Self {
            function,
            name,
            handler,
            file,
            line,
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// Refuses, when compiling, a given name that is not `namespace:function`.
pub const fn assert_name(name: &str) {
    let bytes = name.as_bytes();
    let mut at = bytes.len();
    while at > 0 && bytes[at - 1] != b':' {
        at -= 1;
    }
    assert!(
        at > 1 && at < bytes.len() && bytes[at - 2] != b':',
        "the name of an endpoint is \"namespace:function\""
    );
}

/// The program's endpoints by name. Made when an actor boots.
pub(crate) struct Table {
    by_path: HashMap<Path, (Handler, &'static Entry)>,
    given: HashMap<&'static str, Path>,
}

impl Table {
    pub(crate) fn new() -> Result<Self, BootError> {
        Self::from_entries(&ENDPOINTS)
    }

    pub(crate) fn from_entries(entries: &'static [Entry]) -> Result<Self, BootError> {
        let mut table = Self {
            by_path: HashMap::new(),
            given: HashMap::new(),
        };
        // The linker's order is nobody's, and an error is to be the same each time.
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|entry| (entry.file, entry.line));
        for entry in entries {
            let function = (entry.function)();
            let path = match entry.name {
                Some(name) => Path::of_name(name).expect("checked when it was compiled"),
                None if function.contains(['<', '{']) => {
                    return Err(BootError::Unnamed {
                        function,
                        place: entry.place(),
                    });
                }
                None => Path::of_function(function),
            };
            if entry.name.is_some() {
                table.given.insert(function, path.clone());
            }
            match table.by_path.entry(path) {
                Slot::Vacant(slot) => {
                    slot.insert(((entry.handler)(), entry));
                }
                Slot::Occupied(slot) => {
                    return Err(BootError::Duplicate {
                        path: slot.key().to_string(),
                        first: slot.get().1.place(),
                        second: entry.place(),
                    });
                }
            }
        }
        Ok(table)
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Handler> {
        self.by_path.get(path).map(|(handler, _)| handler)
    }

    /// The name on the wire of the function with this `type_name`.
    pub(crate) fn path_of(&self, function: &'static str) -> Path {
        match self.given.get(function) {
            Some(path) => path.clone(),
            None => Path::of_function(function),
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_path.keys()).finish()
    }
}

/// Why the endpoints of this program cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootError {
    /// Two endpoints have one name.
    Duplicate {
        /// The name, `namespace:function`.
        path: String,
        /// `file:line` of one `endpoint!`.
        first: String,
        /// `file:line` of the other.
        second: String,
    },
    /// A generic function, or a function inside of a closure, was made an endpoint without a
    /// name.
    Unnamed {
        /// The function, as the compiler names it.
        function: &'static str,
        /// `file:line` of the `endpoint!`.
        place: String,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate {
                path,
                first,
                second,
            } => write!(
                f,
                "two endpoints are named {path}, at {first} and at {second}: \
                 give one another name with `endpoint!(f as \"namespace:function\")`"
            ),
            Self::Unnamed { function, place } => write!(
                f,
                "the endpoint {function} at {place} has no name of its own: \
                 give it one with `endpoint!(f as \"namespace:function\")`"
            ),
        }
    }
}

impl std::error::Error for BootError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_function_and_of_name() {
        let path = Path::of_function("my_app::feeds::quotes");
        assert_eq!((&*path.ns, &*path.func), ("my_app::feeds", "quotes"));
        let path = Path::of_name("my_app::feeds:quotes").unwrap();
        assert_eq!((&*path.ns, &*path.func), ("my_app::feeds", "quotes"));
        for wrong in ["quotes", "a::b", ":f", "a:", ""] {
            assert_eq!(Path::of_name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn two_endpoints_with_one_path() {
        static ENTRIES: [Entry; 2] = [
            Entry::new(|| "a::b::f", None, some_handler, "src/a.rs", 3),
            Entry::new(|| "c::g", Some("a::b:f"), some_handler, "src/c.rs", 7),
        ];
        let error = Table::from_entries(&ENTRIES).unwrap_err();
        assert_eq!(
            error,
            BootError::Duplicate {
                path: "a::b:f".into(),
                first: "src/a.rs:3".into(),
                second: "src/c.rs:7".into(),
            }
        );
    }

    #[test]
    fn generic_function_without_a_name() {
        static ENTRIES: [Entry; 1] = [Entry::new(
            || "a::f<u32>",
            None,
            some_handler,
            "src/a.rs",
            3,
        )];
        let error = Table::from_entries(&ENTRIES).unwrap_err();
        assert!(error.to_string().contains("src/a.rs:3"), "{error}");
    }

    fn some_handler() -> Handler {
        async fn nothing((): ()) -> crate::Result<()> {
            Ok(())
        }
        super::super::handler::erase(nothing)
    }
}
