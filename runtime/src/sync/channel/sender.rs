use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::{SendError, SendErrorKind, TrySendError};
use super::{Channel, ChannelStatistics, Waiting, dismiss, wake_all};
use crate::cause::Cancelled;
use crate::executor::Leaf;
use crate::sync::bell::Place;
use crate::sync::waiters::{Ticket, renew};

/// The sending end of a [`channel`](super::channel).
pub struct Sender<T> {
    shared: Rc<Channel<T>>,
    end: u64,
    closed: Cell<bool>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Rc<Channel<T>>, end: u64) -> Self {
        Self {
            shared,
            end,
            closed: Cell::new(false),
        }
    }

    /// Sends an item, and waits for room if there is none. A checkpoint, also if there is.
    ///
    /// # Errors
    ///
    /// With the item, which was not sent: [`SendErrorKind::Closed`] if there is no receiver,
    /// [`SendErrorKind::EndClosed`] if this end was closed, and [`SendErrorKind::Cancelled`] if the
    /// scope is cancelled.
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
    /// With the item if there is none, or no receiver, or this end was closed.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        if self.closed.get() {
            return Err(TrySendError::EndClosed(item));
        }
        let waker = {
            let mut state = self.shared.state.borrow_mut();
            if state.receivers == 0 {
                return Err(TrySendError::Closed(item));
            }
            state.put(item).map_err(TrySendError::Full)?
        };
        wake_all(waker);
        Ok(())
    }

    /// Waits until a receiver waits, or there is none any more.
    pub(crate) fn wanted(&self) -> Wanted<'_, T> {
        Wanted {
            sender: self,
            place: None,
            leaf: Leaf::default(),
        }
    }

    /// Closes this end, as dropping it does; for an end that several tasks use. Its sends that
    /// wait now, and all later ones, give their item back. Again has no effect.
    pub fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let wakers = {
            let mut state = self.shared.state.borrow_mut();
            state.senders -= 1;
            let mut wakers = dismiss(&mut state.sending, |end| end == self.end);
            if state.senders == 0 {
                wakers.extend(dismiss(&mut state.receiving, |_| true));
            }
            wakers
        };
        wake_all(wakers);
    }

    /// Whether nothing can be sent any more: this end was closed, or there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.closed.get() || self.shared.state.borrow().receivers == 0
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
impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let closed = self.closed.clone();
        let end = {
            let mut state = self.shared.state.borrow_mut();
            state.senders += usize::from(!closed.get());
            state.new_end()
        };
        Self {
            shared: self.shared.clone(),
            end,
            closed,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).finish()
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
    #[inline]
    fn attempt(
        sender: &Sender<T>,
        item: &mut Option<T>,
        place: &mut Option<Ticket>,
        cx: &Context<'_>,
    ) -> Poll<Option<SendError<T>>> {
        let mut state = sender.shared.state.borrow_mut();
        let closed = if sender.closed.get() {
            Some(SendErrorKind::EndClosed)
        } else {
            (state.receivers == 0).then_some(SendErrorKind::Closed)
        };
        if let Some(ticket) = *place {
            let waiting = state.sending.get_mut(ticket);
            if waiting.item.is_some() && closed.is_none() {
                let before = renew(&mut waiting.waker, cx);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            *place = None;
            let left = state.sending.remove(ticket);
            drop(state);
            let error = left.item.zip(closed);
            return Poll::Ready(error.map(|(item, kind)| SendError { kind, item }));
        }
        let next = item.take().expect("a send was polled after it was done");
        if let Some(kind) = closed {
            return Poll::Ready(Some(SendError { kind, item: next }));
        }
        match state.put(next) {
            Ok(waker) => {
                drop(state);
                wake_all(waker);
                Poll::Ready(None)
            }
            Err(next) => {
                *place = Some(state.sending.push(Waiting {
                    end: sender.end,
                    item: Some(next),
                    waker: cx.waker().clone(),
                }));
                Poll::Pending
            }
        }
    }

    /// Takes the item back out of the queue.
    #[inline]
    fn withdraw(&mut self) -> Option<T> {
        match self.ticket.take() {
            Some(ticket) => {
                let waiting = self.sender.shared.state.borrow_mut().sending.remove(ticket);
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

/// The future of [`Sender::wanted`].
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Wanted<'a, T> {
    sender: &'a Sender<T>,
    place: Option<Place>,
    leaf: Leaf,
}

impl<T> Future for Wanted<'_, T> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            sender,
            place,
            leaf,
        } = self.get_mut();
        leaf.poll(cx, |cx| {
            let is_wanted = {
                let state = sender.shared.state.borrow();
                state.receivers == 0 || state.receiving.queued() > 0
            };
            if is_wanted {
                return Poll::Ready(());
            }
            sender.shared.wanted.listen(place, cx);
            Poll::Pending
        })
    }
}

impl<T> Drop for Wanted<'_, T> {
    fn drop(&mut self) {
        self.sender.shared.wanted.leave(&mut self.place);
    }
}
