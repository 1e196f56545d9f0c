//! The one error type: a cancellation, any other error, or a group of errors.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::cause::Cancelled;

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

type Dyn = dyn StdError + Send + Sync + 'static;

/// What went wrong in a scope, a nursery or a task.
///
/// Any [`std::error::Error`] enters through `?` and is found again with
/// [`downcast_ref`](Self::downcast_ref). One error comes out of a nursery as itself, several as
/// a group. Cloning shares the error: clones are the same error, as [`id`](Self::id) tells.
///
/// Like `anyhow::Error` it is no `std::error::Error` itself, for `?` to work from all of them;
/// [`into_std`](Self::into_std) gives one.
///
/// # Cancellations
///
/// A [`Cancelled`] enters as the cancellation that it is, also out of an [`io::Error`], which is
/// how one passes through code that knows only those, and out of what channels and broadcasts fail
/// with. A scope or nursery that was cancelled takes it back.
///
/// An error of any other type is an error, also if a cancellation is its [`source`]. It says that
/// something failed, and whoever wrapped the cancellation may mean just that: that it is not known
/// whether a transaction was committed, say. A scope that took it for its own cancellation would
/// lose it, and its text, unseen. So it passes out of the scope, as any failure does. Where a type
/// only hands a cancellation on, take that out before the rest enters:
///
/// ```
/// use std::fmt;
/// use tractor_runtime::{Cancelled, Error};
///
/// #[derive(Debug)]
/// enum LoadError {
///     Cancelled(Cancelled),
///     NotFound,
/// }
/// # impl fmt::Display for LoadError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("not loaded") }
/// # }
/// # impl std::error::Error for LoadError {
/// #     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
/// #         match self { Self::Cancelled(cancelled) => Some(cancelled), Self::NotFound => None }
/// #     }
/// # }
///
/// fn loading(error: LoadError) -> Error {
///     match error {
///         LoadError::Cancelled(cancelled) => cancelled.into(),
///         failed => failed.into(),
///     }
/// }
///
/// # async fn load() -> Result<(), LoadError> { Err(LoadError::NotFound) }
/// async fn start() -> Result<(), Error> {
///     load().await.map_err(loading)
/// }
/// # fn main() -> Result<(), Error> {
/// tractor_runtime::run(async || {
///     let error = start().await.unwrap_err();
///     assert!(!error.is_cancelled() && error.is::<LoadError>());
///     Ok(())
/// })
/// # }
/// ```
///
/// [`io::Error`]: std::io::Error
/// [`source`]: std::error::Error::source
#[derive(Clone)]
pub struct Error(Repr);

#[derive(Clone)]
enum Repr {
    /// Kept unboxed: this is what every task under a cancelled scope returns.
    Cancelled(Cancelled),
    One(Arc<One>),
    Group(Arc<Group>),
}

struct One {
    error: Box<Dyn>,
    type_name: &'static str,
}

struct Group {
    name: Box<str>,
    errors: Vec<Error>,
}

/// The identity of an [`Error`]: equal for clones of one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorId(usize);

impl Error {
    /// An error that is only a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Message(text.into().into_boxed_str()).into()
    }

    /// Several errors as one. A single one comes out as itself; with none the group is empty.
    pub fn group(name: impl Into<String>, mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        Self(Repr::Group(Arc::new(Group {
            name: name.into().into_boxed_str(),
            errors,
        })))
    }

    /// Whether this is a cancellation and nothing else: one, or a group of nothing but.
    pub fn is_cancelled(&self) -> bool {
        match &self.0 {
            Repr::Cancelled(_) => true,
            Repr::One(_) => false,
            Repr::Group(_) => {
                let mut leaves = self.leaves().peekable();
                leaves.peek().is_some() && leaves.all(|leaf| leaf.as_cancelled().is_some())
            }
        }
    }

    /// Whether a cancellation is among the leaves.
    pub fn contains_cancelled(&self) -> bool {
        self.cancelled().is_some()
    }

    /// The first cancellation among the leaves.
    pub fn cancelled(&self) -> Option<&Cancelled> {
        match &self.0 {
            Repr::Cancelled(cancelled) => Some(cancelled),
            Repr::One(_) => None,
            Repr::Group(_) => self.leaves().find_map(Self::as_cancelled),
        }
    }

    /// Whether the deadline of a `fail_after` or `fail_at` is among the leaves.
    pub fn is_timeout(&self) -> bool {
        self.is::<crate::scope::TooSlow>()
    }

    /// The first leaf that is an `E`, or an [`io::Error`](std::io::Error) that carries one.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.leaves().find_map(|leaf| match &leaf.0 {
            Repr::Cancelled(cancelled) => (cancelled as &(dyn StdError + 'static)).downcast_ref(),
            Repr::One(one) => one.error.downcast_ref().or_else(|| carried(&*one.error)),
            Repr::Group(_) => None,
        })
    }

    /// Whether a leaf is an `E`.
    pub fn is<E: StdError + 'static>(&self) -> bool {
        self.downcast_ref::<E>().is_some()
    }

    /// The errors that are no groups, in order: this one, or those of the group at any depth.
    pub fn leaves(&self) -> Leaves<'_> {
        Leaves { rest: vec![self] }
    }

    /// The name of the group; `None` if this is a single error.
    pub fn group_name(&self) -> Option<&str> {
        match &self.0 {
            Repr::Group(group) => Some(&group.name),
            _ => None,
        }
    }

    /// The members of the group, one level deep; empty if this is a single error.
    pub fn members(&self) -> &[Self] {
        match &self.0 {
            Repr::Group(group) => &group.errors,
            _ => &[],
        }
    }

    /// Splits by leaf: those for which `matches` holds, and the rest. Both keep the nesting;
    /// groups that became empty are gone, and a group of one is replaced by that one.
    pub fn split(self, mut matches: impl FnMut(&Self) -> bool) -> (Option<Self>, Option<Self>) {
        self.split_dyn(&mut matches)
    }

    /// The same error as a [`std::error::Error`].
    pub fn into_std(self) -> Box<Dyn> {
        Box::new(AsStd(self))
    }

    /// Which error this is: equal for clones of one error.
    pub fn id(&self) -> ErrorId {
        ErrorId(match &self.0 {
            Repr::Cancelled(cancelled) => cancelled.cause().address(),
            Repr::One(one) => Arc::as_ptr(one).addr(),
            Repr::Group(group) => Arc::as_ptr(group).addr(),
        })
    }

    /// The full name of the type that this error was made from.
    pub fn type_name(&self) -> &'static str {
        match &self.0 {
            Repr::Cancelled(_) => std::any::type_name::<Cancelled>(),
            Repr::One(one) => one.type_name,
            Repr::Group(_) => std::any::type_name::<Self>(),
        }
    }

    /// What caused this error, and what caused that, outermost first. Empty for groups.
    pub fn source_chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first = match &self.0 {
            Repr::One(one) => one.error.source(),
            _ => None,
        };
        std::iter::successors(first, |&error| error.source())
    }

    /// The same error without its cancellations; `None` if nothing else is in it.
    pub(crate) fn without_cancelled(self) -> Option<Self> {
        if let Repr::Cancelled(_) = self.0 {
            return None;
        }
        if !self.contains_cancelled() {
            return Some(self);
        }
        self.split(|leaf| leaf.as_cancelled().is_some()).1
    }

    fn as_cancelled(&self) -> Option<&Cancelled> {
        match &self.0 {
            Repr::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }

    fn split_dyn(self, matches: &mut dyn FnMut(&Self) -> bool) -> (Option<Self>, Option<Self>) {
        let Repr::Group(group) = &self.0 else {
            return if matches(&self) {
                (Some(self), None)
            } else {
                (None, Some(self))
            };
        };
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for error in &group.errors {
            let (matching, other) = error.clone().split_dyn(matches);
            yes.extend(matching);
            no.extend(other);
        }
        if no.is_empty() {
            return (Some(self), None);
        }
        if yes.is_empty() {
            return (None, Some(self));
        }
        let half = |errors| Some(Self::group(group.name.to_string(), errors));
        (half(yes), half(no))
    }

    fn fmt_tree(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        if depth > 0 {
            write!(f, "\n{:1$}- ", "", 2 * (depth - 1))?;
        }
        match &self.0 {
            Repr::Cancelled(cancelled) => write!(f, "{cancelled}")?,
            Repr::One(one) => write!(f, "{}: {}", short(one.type_name), one.error)?,
            Repr::Group(group) => {
                write!(f, "{} ({} errors)", group.name, group.errors.len())?;
                for error in &group.errors {
                    error.fmt_tree(f, depth + 1)?;
                }
            }
        }
        for source in self.source_chain() {
            write!(f, "\n{:1$}caused by: {source}", "", 2 * depth)?;
        }
        Ok(())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let error = match take_as::<Cancelled, E>(error) {
            Ok(cancelled) => return Self(Repr::Cancelled(cancelled)),
            Err(error) => error,
        };
        let error = match take_as::<AsStd, E>(error) {
            Ok(AsStd(error)) => return error,
            Err(error) => error,
        };
        if let Some(found) = cancellation_in(&error) {
            return Self(Repr::Cancelled(found.clone()));
        }
        Self(Repr::One(Arc::new(One {
            error: Box::new(error),
            type_name: std::any::type_name::<E>(),
        })))
    }
}

/// For code that speaks that language. A cancellation is recognised in it.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match &error.0 {
            Repr::Cancelled(cancelled) => cancelled.clone().into(),
            _ => Self::other(AsStd(error)),
        }
    }
}

/// A line for people. Of a group it shows the first three errors, and failures before cancellations:
/// these mostly came of those.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Cancelled(cancelled) => write!(f, "{cancelled}"),
            Repr::One(one) => write!(f, "{}", one.error),
            Repr::Group(group) => {
                write!(f, "{} ({} errors", group.name, group.errors.len())?;
                let of = |cancelled| {
                    let errors = group.errors.iter();
                    errors.filter(move |error| error.is_cancelled() == cancelled)
                };
                for (i, error) in of(false).chain(of(true)).take(3).enumerate() {
                    write!(f, "{} {error}", if i == 0 { ":" } else { ";" })?;
                }
                f.write_str(if group.errors.len() > 3 {
                    "; ...)"
                } else {
                    ")"
                })
            }
        }
    }
}

/// An indented tree with causes: what `main` shows when it returns this error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_tree(f, 0)
    }
}

/// The errors of a group that are no groups themselves. Made by [`Error::leaves`].
#[derive(Debug)]
pub struct Leaves<'a> {
    rest: Vec<&'a Error>,
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a Error;

    fn next(&mut self) -> Option<&'a Error> {
        while let Some(error) = self.rest.pop() {
            match &error.0 {
                Repr::Group(group) => self.rest.extend(group.errors.iter().rev()),
                _ => return Some(error),
            }
        }
        None
    }
}

#[derive(Debug)]
struct Message(Box<str>);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Message {}

struct AsStd(Error);

impl fmt::Display for AsStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AsStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for AsStd {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source_chain().next()
    }
}

/// The value, if it is a `T`.
fn take_as<T: 'static, E: 'static>(error: E) -> std::result::Result<T, E> {
    let mut error = Some(error);
    let found = (&mut error as &mut dyn Any).downcast_mut::<Option<T>>();
    match found.and_then(Option::take) {
        Some(found) => Ok(found),
        None => Err(error.expect("only a value of the other type is taken")),
    }
}

/// The cancellation that `error` is, or that an `io::Error` carries. Not one that it has as its
/// source: see [`Error`].
fn cancellation_in<'a>(mut error: &'a (dyn StdError + 'static)) -> Option<&'a Cancelled> {
    loop {
        if let Some(cancelled) = error.downcast_ref() {
            return Some(cancelled);
        }
        if let Some(AsStd(Error(Repr::Cancelled(cancelled)))) = error.downcast_ref() {
            return Some(cancelled);
        }
        if let Some(crate::sync::RecvError::Cancelled(cancelled)) = error.downcast_ref() {
            return Some(cancelled);
        }
        if let Some(crate::sync::BroadcastError::Cancelled(cancelled)) = error.downcast_ref() {
            return Some(cancelled);
        }
        error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

/// What an `io::Error` carries.
fn carried<E: StdError + 'static>(error: &Dyn) -> Option<&E> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    inner.downcast_ref()
}

fn short(type_name: &'static str) -> &'static str {
    let path = type_name.split('<').next().unwrap_or(type_name);
    path.rsplit("::").next().unwrap_or(path)
}
