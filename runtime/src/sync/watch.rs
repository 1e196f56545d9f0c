use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::bell::{Bell, Place};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A value of which only the latest counts, and tasks that wait for it to change.
///
/// ```
/// use tractor_runtime::{nursery, run, sync::watch};
///
/// run(async || {
///     let (level, mut seen) = watch("info");
///     nursery(async |n| {
///         n.start_soon(async move {
///             level.send("warn");
///             level.send("error");
///             Ok(())
///         });
///         while let Some(latest) = seen.changed().await? {
///             assert_ne!(*latest, "info");
///         }
///         assert_eq!(*seen.latest(), "error");
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
pub fn watch<T>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    let shared = Rc::new(Shared {
        latest: RefCell::new(Rc::new(value)),
        version: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        bell: Bell::new(),
    });
    let sender = WatchSender {
        shared: shared.clone(),
    };
    (sender, WatchReceiver { shared, seen: 0 })
}

struct Shared<T> {
    latest: RefCell<Rc<T>>,
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    bell: Bell,
}

impl<T> Shared<T> {
    fn latest(&self) -> Rc<T> {
        self.latest.borrow().clone()
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("latest", &self.latest())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .finish()
    }
}

/// The end of a [`watch`] that changes the value.
pub struct WatchSender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> WatchSender<T> {
    /// Replaces the value, and wakes all who wait for a change. Never waits.
    pub fn send(&self, value: T) {
        let before = self.shared.latest.replace(Rc::new(value));
        self.shared.version.set(self.shared.version.get() + 1);
        drop(before);
        self.shared.bell.ring();
    }

    /// Replaces the value by a changed clone of it, and wakes all who wait for a change.
    pub fn modify<R>(&self, change: impl FnOnce(&mut T) -> R) -> R
    where
        T: Clone,
    {
        let mut value = T::clone(&self.latest());
        let result = change(&mut value);
        self.send(value);
        result
    }

    /// The value now.
    pub fn latest(&self) -> Rc<T> {
        self.shared.latest()
    }

    /// One more receiver, which has seen the value of now.
    pub fn subscribe(&self) -> WatchReceiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        WatchReceiver {
            shared: self.shared.clone(),
            seen: self.shared.version.get(),
        }
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.shared.receivers.get() == 0
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        let left = self.shared.senders.get() - 1;
        self.shared.senders.set(left);
        if left == 0 {
            self.shared.bell.ring();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchSender").field(&self.shared).finish()
    }
}

/// The end of a [`watch`] that sees changes.
pub struct WatchReceiver<T> {
    shared: Rc<Shared<T>>,
    /// The version of the value that it has seen.
    seen: u64,
}

impl<T> WatchReceiver<T> {
    /// The value now. Does not count as seen.
    pub fn latest(&self) -> Rc<T> {
        self.shared.latest()
    }

    /// Whether the value was changed since the last one seen here.
    pub fn has_changed(&self) -> bool {
        self.seen != self.shared.version.get()
    }

    /// Waits until the value is another one than the last seen here. Values that were replaced in
    /// the meantime are never seen. `None` if there is no sender any more, and the last value was
    /// seen. A checkpoint, also if the value has changed already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is; nothing counts as seen then.
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed {
            receiver: self,
            place: None,
            leaf: Leaf::default(),
        }
    }

    /// Waits until the value is one for which `matches` holds, now or later; it counts as seen.
    /// `None` if there is no sender any more. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope is.
    pub async fn wait_for(
        &mut self,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Result<Option<Rc<T>>, Cancelled> {
        crate::scope::checkpoint_if_cancelled().await?;
        let (mut latest, mut version) = (self.latest(), self.shared.version.get());
        loop {
            if matches(&latest) {
                self.seen = version;
                return Ok(Some(latest));
            }
            match self.changed().await? {
                Some(value) => (latest, version) = (value, self.seen),
                None => return Ok(None),
            }
        }
    }
}

/// The clone has seen what this has.
impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchReceiver").field(&self.shared).finish()
    }
}

/// The future of [`WatchReceiver::changed`].
#[must_use = "futures do nothing unless awaited"]
pub struct Changed<'a, T> {
    receiver: &'a mut WatchReceiver<T>,
    place: Option<Place>,
    leaf: Leaf,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<Option<Rc<T>>, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            receiver,
            place,
            leaf,
        } = &mut *self.get_mut();
        leaf.poll(cx, |cx| {
            if receiver.has_changed() {
                receiver.seen = receiver.shared.version.get();
                return Poll::Ready(Some(receiver.latest()));
            }
            if receiver.shared.senders.get() == 0 {
                return Poll::Ready(None);
            }
            receiver.shared.bell.listen(place, cx);
            Poll::Pending
        })
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        self.receiver.shared.bell.leave(&mut self.place);
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").finish_non_exhaustive()
    }
}
