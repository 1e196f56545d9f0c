use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use tractor_runtime::Result;
use tractor_runtime::sync::Event;

/// Given to a block that opens something: there it says that it is open, and waits until it may
/// close it.
pub struct Hold<V> {
    place: Rc<Place<V>>,
}

/// Where the value of a block that is open is found.
pub(super) struct Place<V> {
    value: RefCell<Option<V>>,
    /// Set when the value is there.
    pub(super) held: Event,
    /// Set when the block may close.
    pub(super) release: Event,
}

impl<V> Hold<V> {
    /// Hands over what was opened, and waits until it is not needed any more. A checkpoint.
    ///
    /// Everything before it opens, and everything after it closes.
    ///
    /// # Errors
    ///
    /// Cancellation: what is opened is not needed any more because somebody failed.
    pub async fn hold(self, value: V) -> Result<()> {
        *self.place.value.borrow_mut() = Some(value);
        self.place.held.set();
        Ok(self.place.release.wait().await?)
    }
}

impl<V> Place<V> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            value: RefCell::new(None),
            held: Event::new(),
            release: Event::new(),
        })
    }

    pub(super) fn hold(self: &Rc<Self>) -> Hold<V> {
        Hold {
            place: self.clone(),
        }
    }

    /// Once, when it is held.
    pub(super) fn take(&self) -> Option<V> {
        self.value.borrow_mut().take()
    }

    pub(super) fn clone_value(&self) -> Option<V>
    where
        V: Clone,
    {
        self.value.borrow().clone()
    }
}

impl<V> fmt::Debug for Hold<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// A block ended without [`Hold::hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeverHeld;

impl fmt::Display for NeverHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block that was to open something ended without holding it")
    }
}

impl std::error::Error for NeverHeld {}
