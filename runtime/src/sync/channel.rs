//! A bounded channel between tasks of one runtime.
//!
//! An item that was handed to a receiver is in that receiver's place in the queue. A receiver that
//! is cancelled or dropped before it came for it hands it on, so nothing is ever lost.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::waiters::{Ticket, Waiters};
use crate::cause::Cancelled;
use crate::error::Error;
use crate::executor::Leaf;

/// A channel that holds up to `capacity` items; with 0 every send waits for a receiver.
///
/// Both ends can be cloned. When the last [`Sender`] is gone, receivers drain the channel and then
/// find it closed; when the last [`Receiver`] is gone, senders find it closed and what is in it is
/// dropped.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(RefCell::new(Shared {
        items: VecDeque::new(),
        capacity,
        senders: 1,
        receivers: 1,
        sending: Waiters::new(),
        receiving: Waiters::new(),
    }));
    (
        Sender {
            shared: shared.clone(),
        },
        Receiver { shared },
    )
}

struct Shared<T> {
    items: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receivers: usize,
    /// Senders with their item, which is taken out when there is room.
    sending: Waiters<Waiting<T>>,
    /// Receivers; those that were served have the item that is theirs.
    receiving: Waiters<Waiting<T>>,
}

struct Waiting<T> {
    item: Option<T>,
    waker: Waker,
}

impl<T> Shared<T> {
    /// Takes an item in, or gives it back when there is no room. The waker is to be called when
    /// nothing is borrowed.
    fn put(&mut self, item: T) -> Result<Option<Waker>, T> {
        if let Some(receiver) = self.receiving.serve() {
            receiver.item = Some(item);
            return Ok(Some(receiver.waker.clone()));
        }
        if self.items.len() < self.capacity {
            self.items.push_back(item);
            return Ok(None);
        }
        Err(item)
    }

    /// Takes an item out, and lets the first waiting sender's in.
    fn take(&mut self) -> Option<(T, Option<Waker>)> {
        let item = self.items.pop_front();
        if item.is_some() && self.items.len() >= self.capacity {
            return item.map(|item| (item, None));
        }
        let sender = self.sending.serve();
        let sender = sender.map(|sender| (sender.item.take(), sender.waker.clone()));
        match (item, sender) {
            (Some(item), Some((next, waker))) => {
                self.items.extend(next);
                Some((item, Some(waker)))
            }
            (Some(item), None) => Some((item, None)),
            (None, Some((Some(item), waker))) => Some((item, Some(waker))),
            (None, _) => None,
        }
    }

    /// Gives an item that its receiver did not come for to the next one, or puts it back in front.
    fn give_back(&mut self, item: T) -> Option<Waker> {
        if let Some(receiver) = self.receiving.serve() {
            receiver.item = Some(item);
            return Some(receiver.waker.clone());
        }
        self.items.push_front(item);
        None
    }

    /// Takes all that wait out of the queue, to be told that the channel is closed.
    fn dismiss(waiters: &mut Waiters<Waiting<T>>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(waiting) = waiters.serve() {
            wakers.push(waiting.waker.clone());
        }
        wakers
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// The sending end of a [`channel`].
pub struct Sender<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

impl<T> Sender<T> {
    /// Sends an item, and waits for room if there is none. A checkpoint, also if there is.
    ///
    /// # Errors
    ///
    /// With the item: [`SendErrorKind::Closed`] if there is no receiver, or
    /// [`SendErrorKind::Cancelled`] if the scope is cancelled; then it was not sent.
    pub fn send(&self, item: T) -> Send<'_, T> {
        Send {
            sender: self,
            item: Some(item),
            ticket: None,
            leaf: Leaf::default(),
        }
    }

    /// Sends an item if there is room now.
    ///
    /// # Errors
    ///
    /// With the item if there is none, or no receiver.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let waker = {
            let mut shared = self.shared.borrow_mut();
            if shared.receivers == 0 {
                return Err(TrySendError::Closed(item));
            }
            shared.put(item).map_err(TrySendError::Full)?
        };
        wake_all(waker);
        Ok(())
    }

    /// Whether there is no receiver any more.
    pub fn is_closed(&self) -> bool {
        self.shared.borrow().receivers == 0
    }

    /// How many items are in the channel.
    pub fn len(&self) -> usize {
        self.shared.borrow().items.len()
    }

    /// Whether nothing is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.borrow_mut().senders += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let wakers = {
            let mut shared = self.shared.borrow_mut();
            shared.senders -= 1;
            if shared.senders > 0 {
                return;
            }
            Shared::dismiss(&mut shared.receiving)
        };
        wake_all(wakers);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).finish()
    }
}

/// The receiving end of a [`channel`].
pub struct Receiver<T> {
    shared: Rc<RefCell<Shared<T>>>,
}

impl<T> Receiver<T> {
    /// Takes the next item, and waits for one if there is none. A checkpoint, also if there is.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the channel is empty and has no sender;
    /// [`RecvError::Cancelled`] if the scope is cancelled, and then no item was taken.
    pub fn recv(&self) -> Recv<'_, T> {
        Recv {
            receiver: self,
            ticket: None,
            leaf: Leaf::default(),
        }
    }

    /// Takes the next item if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if there is none, saying whether there can be one later.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let (item, waker) = {
            let mut shared = self.shared.borrow_mut();
            match shared.take() {
                Some(taken) => taken,
                None if shared.senders == 0 => return Err(TryRecvError::Closed),
                None => return Err(TryRecvError::Empty),
            }
        };
        wake_all(waker);
        Ok(item)
    }

    /// How many items are in the channel.
    pub fn len(&self) -> usize {
        self.shared.borrow().items.len()
    }

    /// Whether nothing is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.borrow_mut().receivers += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (wakers, items) = {
            let mut shared = self.shared.borrow_mut();
            shared.receivers -= 1;
            if shared.receivers > 0 {
                return;
            }
            let wakers = Shared::dismiss(&mut shared.sending);
            (wakers, std::mem::take(&mut shared.items))
        };
        drop(items);
        wake_all(wakers);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish()
    }
}

/// The future of [`Sender::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a, T> {
    sender: &'a Sender<T>,
    /// The item, until it waits in the queue or is sent.
    item: Option<T>,
    ticket: Option<Ticket>,
    leaf: Leaf,
}

impl<T> Send<'_, T> {
    /// `Ready(None)`: sent.
    fn attempt(
        sender: &Sender<T>,
        item: &mut Option<T>,
        place: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Option<SendError<T>>> {
        let mut shared = sender.shared.borrow_mut();
        let closed = shared.receivers == 0;
        if let Some(ticket) = *place {
            let waiting = shared.sending.get_mut(ticket);
            if waiting.item.is_some() && !closed {
                let before = (!waiting.waker.will_wake(cx.waker()))
                    .then(|| std::mem::replace(&mut waiting.waker, cx.waker().clone()));
                drop(shared);
                drop(before);
                return Poll::Pending;
            }
            *place = None;
            let left = shared.sending.remove(ticket);
            drop(shared);
            return Poll::Ready(left.item.map(SendError::closed));
        }
        let next = item.take().expect("a send was polled after it was done");
        if closed {
            return Poll::Ready(Some(SendError::closed(next)));
        }
        match shared.put(next) {
            Ok(waker) => {
                drop(shared);
                wake_all(waker);
                Poll::Ready(None)
            }
            Err(next) => {
                *place = Some(shared.sending.push(Waiting {
                    item: Some(next),
                    waker: cx.waker().clone(),
                }));
                Poll::Pending
            }
        }
    }

    /// Takes the item back out of the queue.
    fn withdraw(&mut self) -> Option<T> {
        match self.ticket.take() {
            Some(ticket) => {
                let waiting = self.sender.shared.borrow_mut().sending.remove(ticket);
                waiting.item
            }
            None => self.item.take(),
        }
    }
}

impl<T> Unpin for Send<'_, T> {}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this.leaf.poll(cx, |cx| {
            Self::attempt(this.sender, &mut this.item, &mut this.ticket, cx)
        });
        polled.map(|result| match result {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(cancelled) => Err(SendError {
                kind: SendErrorKind::Cancelled(cancelled),
                item: this
                    .withdraw()
                    .expect("a send that was cancelled has its item"),
            }),
        })
    }
}

impl<T> Drop for Send<'_, T> {
    fn drop(&mut self) {
        drop(self.withdraw());
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").finish_non_exhaustive()
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T> {
    receiver: &'a Receiver<T>,
    ticket: Option<Ticket>,
    leaf: Leaf,
}

impl<T> Recv<'_, T> {
    /// `Ready(None)`: the channel is closed.
    fn attempt(
        receiver: &Receiver<T>,
        place: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Option<T>> {
        let mut shared = receiver.shared.borrow_mut();
        let closed = shared.senders == 0;
        if let Some(ticket) = *place {
            let waiting = shared.receiving.get_mut(ticket);
            if waiting.item.is_none() && !closed {
                let before = (!waiting.waker.will_wake(cx.waker()))
                    .then(|| std::mem::replace(&mut waiting.waker, cx.waker().clone()));
                drop(shared);
                drop(before);
                return Poll::Pending;
            }
            *place = None;
            let waiting = shared.receiving.remove(ticket);
            if waiting.item.is_some() {
                return Poll::Ready(waiting.item);
            }
        }
        match shared.take() {
            Some((item, waker)) => {
                drop(shared);
                wake_all(waker);
                Poll::Ready(Some(item))
            }
            None if closed => Poll::Ready(None),
            None => {
                *place = Some(shared.receiving.push(Waiting {
                    item: None,
                    waker: cx.waker().clone(),
                }));
                Poll::Pending
            }
        }
    }

    /// Leaves the queue; an item that was handed over already goes to the next.
    fn withdraw(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let (waker, left) = {
            let mut shared = self.receiver.shared.borrow_mut();
            let waiting = shared.receiving.remove(ticket);
            let waker = waiting.item.and_then(|item| shared.give_back(item));
            (waker, waiting.waker)
        };
        drop(left);
        wake_all(waker);
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this
            .leaf
            .poll(cx, |cx| Self::attempt(this.receiver, &mut this.ticket, cx));
        polled.map(|result| match result {
            Ok(Some(item)) => Ok(item),
            Ok(None) => Err(RecvError::Closed),
            Err(cancelled) => {
                this.withdraw();
                Err(RecvError::Cancelled(cancelled))
            }
        })
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}

/// An item that was not sent by [`Sender::send`], and why.
///
/// Converts into [`Error`] with `?`; a cancellation is recognised, the item is dropped then.
pub struct SendError<T> {
    kind: SendErrorKind,
    item: T,
}

/// Why an item was not sent.
#[derive(Clone, Debug)]
pub enum SendErrorKind {
    /// There is no receiver.
    Closed,
    /// The scope is cancelled.
    Cancelled(Cancelled),
}

impl<T> SendError<T> {
    fn closed(item: T) -> Self {
        Self {
            kind: SendErrorKind::Closed,
            item,
        }
    }

    /// Why it was not sent.
    pub fn kind(&self) -> &SendErrorKind {
        &self.kind
    }

    /// Whether it was not sent because of a cancellation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, SendErrorKind::Cancelled(_))
    }

    /// The item.
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.kind).finish()
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error.kind {
            SendErrorKind::Closed => Closed.into(),
            SendErrorKind::Cancelled(cancelled) => cancelled.into(),
        }
    }
}

/// An item that was not sent by [`Sender::try_send`], and why.
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// There is no receiver.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> From<TrySendError<T>> for Error {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::msg("the channel is full"),
            TrySendError::Closed(_) => Closed.into(),
        }
    }
}

#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel has no receiver any more")
    }
}

impl std::error::Error for Closed {}

/// Why [`Receiver::recv`] gave no item.
#[derive(Clone, Debug)]
pub enum RecvError {
    /// The channel is empty and has no sender.
    Closed,
    /// The scope is cancelled.
    Cancelled(Cancelled),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the channel is empty and has no sender any more"),
            Self::Cancelled(cancelled) => write!(f, "{cancelled}"),
        }
    }
}

impl std::error::Error for RecvError {}

/// Why [`Receiver::try_recv`] gave no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing is in the channel now.
    Empty,
    /// The channel is empty and has no sender.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty",
            Self::Closed => "the channel is empty and has no sender any more",
        })
    }
}

impl std::error::Error for TryRecvError {}
