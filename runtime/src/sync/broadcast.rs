use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::bell::{Bell, Place};
use crate::cause::Cancelled;
use crate::executor::Leaf;

/// A channel of which every receiver gets every item.
///
/// Sending never waits: the channel holds the last `capacity` items, and a receiver that is so far
/// behind that it missed some is told how many. What all receivers have seen is dropped.
///
/// ```
/// use tractor_runtime::{run, sync::{BroadcastError, broadcast}};
///
/// run(async || {
///     let (sender, mut quick) = broadcast(2);
///     let mut slow = quick.clone();
///     for item in 1..=3 {
///         sender.send(item);
///         assert_eq!(quick.recv().await?, item);
///     }
///     assert!(matches!(slow.recv().await, Err(BroadcastError::Lagged(1))));
///     assert_eq!(slow.recv().await?, 2);
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// # Panics
///
/// If `capacity` is 0.
pub fn broadcast<T: Clone>(capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    assert!(capacity > 0, "a broadcast holds one item at least");
    let shared = Rc::new(Shared {
        items: RefCell::new(Items {
            held: VecDeque::new(),
            first: 0,
            capacity,
            receivers: 1,
        }),
        senders: Cell::new(1),
        bell: Bell::new(),
    });
    let sender = BroadcastSender {
        shared: shared.clone(),
    };
    (sender, BroadcastReceiver { shared, next: 0 })
}

struct Shared<T> {
    items: RefCell<Items<T>>,
    senders: Cell<usize>,
    bell: Bell,
}

struct Items<T> {
    held: VecDeque<Held<T>>,
    /// The number of the first that is held.
    first: u64,
    capacity: usize,
    receivers: usize,
}

struct Held<T> {
    item: Rc<T>,
    /// How many receivers have not seen it. Zero only in front, where it is dropped then: who has
    /// not seen one has not seen those after it.
    unseen: usize,
}

impl<T> Items<T> {
    fn end(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    /// Takes an item in. What comes back is to be dropped when nothing is borrowed.
    fn push(&mut self, item: Rc<T>) -> Option<Held<T>> {
        if self.receivers == 0 {
            self.first += 1;
            return Some(Held { item, unseen: 0 });
        }
        let full = self.held.len() == self.capacity;
        let oldest = if full { self.pop() } else { None };
        self.held.push_back(Held {
            item,
            unseen: self.receivers,
        });
        oldest
    }

    fn pop(&mut self) -> Option<Held<T>> {
        self.first += 1;
        self.held.pop_front()
    }

    /// What a receiver that is at `next` sees; `None` if nothing is there yet.
    fn take(&mut self, next: &mut u64) -> Option<Result<Rc<T>, u64>> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Some(Err(missed));
        }
        let held = self.held.get_mut((*next - self.first) as usize)?;
        held.unseen -= 1;
        *next += 1;
        if held.unseen > 0 {
            return Some(Ok(held.item.clone()));
        }
        self.pop().map(|held| Ok(held.item))
    }

    /// Takes out what only a receiver that is at `next`, and is gone, had still to see.
    fn forget(&mut self, next: u64) -> Vec<Held<T>> {
        self.receivers -= 1;
        let seen = next.saturating_sub(self.first) as usize;
        for held in self.held.iter_mut().skip(seen) {
            held.unseen -= 1;
        }
        let mut gone = Vec::new();
        while self.held.front().is_some_and(|held| held.unseen == 0) {
            gone.extend(self.pop());
        }
        gone
    }
}

/// The sending end of a [`broadcast`].
pub struct BroadcastSender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> BroadcastSender<T> {
    /// Sends an item to all who receive now; to how many. Never waits. If nobody does, it is
    /// dropped.
    pub fn send(&self, item: T) -> usize {
        let (receivers, unheld) = {
            let mut items = self.shared.items.borrow_mut();
            let item = Rc::new(item);
            (items.receivers, items.push(item))
        };
        drop(unheld);
        self.shared.bell.ring();
        receivers
    }

    /// One more receiver: of what is sent from now on.
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let mut items = self.shared.items.borrow_mut();
        items.receivers += 1;
        BroadcastReceiver {
            shared: self.shared.clone(),
            next: items.end(),
        }
    }

    /// How many receive.
    pub fn receivers(&self) -> usize {
        self.shared.items.borrow().receivers
    }

    /// How many items are held for receivers that have not seen them yet.
    pub fn len(&self) -> usize {
        self.shared.items.borrow().held.len()
    }

    /// Whether all receivers have seen everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        let left = self.shared.senders.get() - 1;
        self.shared.senders.set(left);
        if left == 0 {
            self.shared.bell.ring();
        }
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender")
            .field("len", &self.len())
            .field("receivers", &self.receivers())
            .finish()
    }
}

/// The receiving end of a [`broadcast`].
pub struct BroadcastReceiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the item that it sees next.
    next: u64,
}

impl<T: Clone> BroadcastReceiver<T> {
    /// The next item, waits for one if there is none. A checkpoint, also if there is.
    ///
    /// # Errors
    ///
    /// [`BroadcastError::Lagged`] if items were dropped before this receiver came for them: how
    /// many; the next call gives the oldest that is there. [`BroadcastError::Closed`] if everything
    /// was seen and there is no sender; [`BroadcastError::Cancelled`] if the scope is, and then no
    /// item was taken.
    pub fn recv(&mut self) -> BroadcastRecv<'_, T> {
        BroadcastRecv {
            receiver: self,
            place: None,
            leaf: Leaf::default(),
        }
    }

    /// The next item, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryBroadcastError`] if there is none.
    pub fn try_recv(&mut self) -> Result<T, TryBroadcastError> {
        match self.take() {
            Some(Ok(item)) => Ok(item),
            Some(Err(missed)) => Err(TryBroadcastError::Lagged(missed)),
            None if self.shared.senders.get() == 0 => Err(TryBroadcastError::Closed),
            None => Err(TryBroadcastError::Empty),
        }
    }

    fn take(&mut self) -> Option<Result<T, u64>> {
        let taken = self.shared.items.borrow_mut().take(&mut self.next)?;
        // Cloned with nothing borrowed: that is foreign code.
        Some(taken.map(|item| Rc::try_unwrap(item).unwrap_or_else(|item| T::clone(&item))))
    }
}

impl<T> BroadcastReceiver<T> {
    /// How many items this receiver has still to see, those that it missed among them.
    pub fn len(&self) -> usize {
        (self.shared.items.borrow().end() - self.next) as usize
    }

    /// Whether it has seen everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The clone gets what this one has still to see.
impl<T> Clone for BroadcastReceiver<T> {
    fn clone(&self) -> Self {
        let mut items = self.shared.items.borrow_mut();
        items.receivers += 1;
        let seen = self.next.saturating_sub(items.first) as usize;
        for held in items.held.iter_mut().skip(seen) {
            held.unseen += 1;
        }
        Self {
            shared: self.shared.clone(),
            next: self.next,
        }
    }
}

impl<T> Drop for BroadcastReceiver<T> {
    fn drop(&mut self) {
        let gone = self.shared.items.borrow_mut().forget(self.next);
        drop(gone);
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver")
            .field("len", &self.len())
            .finish()
    }
}

/// The future of [`BroadcastReceiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct BroadcastRecv<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
    place: Option<Place>,
    leaf: Leaf,
}

impl<T: Clone> Future for BroadcastRecv<'_, T> {
    type Output = Result<T, BroadcastError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            receiver,
            place,
            leaf,
        } = self.get_mut();
        let polled = leaf.poll(cx, |cx| match receiver.try_recv() {
            Ok(item) => Poll::Ready(Ok(item)),
            Err(TryBroadcastError::Lagged(missed)) => {
                Poll::Ready(Err(BroadcastError::Lagged(missed)))
            }
            Err(TryBroadcastError::Closed) => Poll::Ready(Err(BroadcastError::Closed)),
            Err(TryBroadcastError::Empty) => {
                receiver.shared.bell.listen(place, cx);
                Poll::Pending
            }
        });
        polled.map(|result| result.unwrap_or_else(|error| Err(BroadcastError::Cancelled(error))))
    }
}

impl<T> Drop for BroadcastRecv<'_, T> {
    fn drop(&mut self) {
        self.receiver.shared.bell.leave(&mut self.place);
    }
}

impl<T> fmt::Debug for BroadcastRecv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastRecv").finish_non_exhaustive()
    }
}

/// Why [`BroadcastReceiver::recv`] gave no item.
#[derive(Clone, Debug)]
pub enum BroadcastError {
    /// So many items were dropped before this receiver came for them.
    Lagged(u64),
    /// Everything was seen, and there is no sender.
    Closed,
    /// The scope is cancelled.
    Cancelled(Cancelled),
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(f, "{}", TryBroadcastError::Lagged(*missed)),
            Self::Closed => write!(f, "{}", TryBroadcastError::Closed),
            Self::Cancelled(cancelled) => write!(f, "{cancelled}"),
        }
    }
}

impl std::error::Error for BroadcastError {}

/// Why [`BroadcastReceiver::try_recv`] gave no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryBroadcastError {
    /// So many items were dropped before this receiver came for them.
    Lagged(u64),
    /// Nothing that was not seen is there now.
    Empty,
    /// Everything was seen, and there is no sender.
    Closed,
}

impl fmt::Display for TryBroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(f, "the receiver missed {missed} items"),
            Self::Empty => f.write_str("nothing new was broadcast"),
            Self::Closed => f.write_str("the broadcast has no sender any more"),
        }
    }
}

impl std::error::Error for TryBroadcastError {}
