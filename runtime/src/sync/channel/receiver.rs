use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::error::{RecvError, TryRecvError};
use super::{Channel, ChannelStatistics, GivenBack, Waiting, dismiss, wake_all};
use crate::executor::Leaf;
use crate::sync::waiters::{Ticket, renew};

/// The receiving end of a [`channel`](super::channel).
pub struct Receiver<T> {
    shared: Rc<Channel<T>>,
    end: u64,
    closed: Cell<bool>,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Rc<Channel<T>>, end: u64) -> Self {
        Self {
            shared,
            end,
            closed: Cell::new(false),
        }
    }

    /// Takes the next item, and waits for one if there is none. A checkpoint, also if there is.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the channel is empty and has no sender;
    /// [`RecvError::EndClosed`] if this end was closed; [`RecvError::Cancelled`] if the scope is
    /// cancelled, and then no item was taken.
    pub fn recv(&self) -> Recv<'_, T> {
        Recv {
            receiver: self,
            ticket: None,
            leaf: Leaf::default(),
        }
    }

    /// [`recv`](Self::recv) for loops: `None` when the channel is empty and has no sender.
    ///
    /// # Errors
    ///
    /// Those of `recv`, but for [`RecvError::Closed`].
    pub fn next(&self) -> Next<'_, T> {
        Next { recv: self.recv() }
    }

    /// The items as a [`Stream`], for the combinators of other crates. Ends when the channel is
    /// empty and has no sender. Each item is a checkpoint; dropping the stream loses none.
    ///
    /// Other errors of [`recv`](Self::recv) are items: a stream in a cancelled scope says so for
    /// as long as it is asked.
    pub fn items(&self) -> Items<'_, T> {
        Items { recv: self.recv() }
    }

    /// Takes the next item if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] if there is none, saying whether there can be one later.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        if self.closed.get() {
            return Err(TryRecvError::EndClosed);
        }
        let (item, waker) = {
            let mut state = self.shared.state.borrow_mut();
            match state.take() {
                Some(taken) => taken,
                None if state.senders == 0 => return Err(TryRecvError::Closed),
                None => return Err(TryRecvError::Empty),
            }
        };
        wake_all(waker);
        Ok(item)
    }

    /// Closes this end, as dropping it does; for an end that several tasks use. Those who wait at
    /// it, and all who come later, are told so. Again has no effect.
    pub fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let (wakers, items) = {
            let mut state = self.shared.state.borrow_mut();
            state.receivers -= 1;
            let mut wakers = dismiss(&mut state.receiving, |end| end == self.end);
            let mut items = Default::default();
            if state.receivers == 0 {
                wakers.extend(dismiss(&mut state.sending, |_| true));
                items = std::mem::take(&mut state.items);
            }
            (wakers, items)
        };
        drop(items);
        wake_all(wakers);
        self.shared.wanted.ring();
    }

    /// Whether this end was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// The channel in numbers.
    pub fn statistics(&self) -> ChannelStatistics {
        self.shared.state.borrow().statistics()
    }

    /// How many items are in the channel.
    pub fn len(&self) -> usize {
        self.shared.state.borrow().items.len()
    }

    /// Whether nothing is in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The clone is an end of its own. That of a closed end is closed.
impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let closed = self.closed.clone();
        let end = {
            let mut state = self.shared.state.borrow_mut();
            state.receivers += usize::from(!closed.get());
            state.new_end()
        };
        Self {
            shared: self.shared.clone(),
            end,
            closed,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish()
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
    #[inline]
    fn attempt(
        receiver: &Receiver<T>,
        place: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        // Dropped last, when nothing is borrowed.
        let left;
        let mut state = receiver.shared.state.borrow_mut();
        let closed = receiver.closed.get() || state.senders == 0;
        if let Some(ticket) = *place {
            let waiting = state.receiving.get_mut(ticket);
            if waiting.item.is_none() && !closed {
                let before = renew(&mut waiting.waker, cx);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            *place = None;
            left = state.receiving.remove(ticket);
            if let Some(item) = left.item {
                return Poll::Ready(Ok(item));
            }
        }
        if receiver.closed.get() {
            return Poll::Ready(Err(RecvError::EndClosed));
        }
        match state.take() {
            Some((item, waker)) => {
                drop(state);
                wake_all(waker);
                Poll::Ready(Ok(item))
            }
            None if closed => Poll::Ready(Err(RecvError::Closed)),
            None => {
                *place = Some(state.receiving.push(Waiting {
                    end: receiver.end,
                    item: None,
                    waker: cx.waker().clone(),
                }));
                drop(state);
                if receiver.shared.wanted.listeners() > 0 {
                    receiver.shared.wanted.ring();
                }
                Poll::Pending
            }
        }
    }

    /// Leaves the queue; an item that was handed over already goes to the next.
    #[inline]
    fn withdraw(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let (given, left) = {
            let mut state = self.receiver.shared.state.borrow_mut();
            let waiting = state.receiving.remove(ticket);
            let given = waiting.item.map(|item| state.give_back(item));
            (given, waiting.waker)
        };
        drop(left);
        if let Some(GivenBack::Next(waker)) = given {
            waker.wake();
        }
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
            Ok(received) => received,
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

/// The future of [`Receiver::next`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a, T> {
    recv: Recv<'a, T>,
}

impl<T> Future for Next<'_, T> {
    type Output = Result<Option<T>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.recv).poll(cx);
        polled.map(|received| match received {
            Ok(item) => Ok(Some(item)),
            Err(RecvError::Closed) => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// The items of a channel as a stream. Made by [`Receiver::items`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Items<'a, T> {
    recv: Recv<'a, T>,
}

impl<T> Stream for Items<'_, T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.recv).poll(cx);
        polled.map(|received| {
            self.recv = self.recv.receiver.recv();
            match received {
                Err(RecvError::Closed) => None,
                received => Some(received),
            }
        })
    }
}
