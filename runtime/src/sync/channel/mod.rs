//! Channels between tasks of one runtime.
//!
//! An item that was handed to a receiver is in that receiver's place in the queue. A receiver that
//! is cancelled or dropped before it came for it hands it on, so nothing is ever lost.

mod error;
mod receiver;
mod sender;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::bell::Bell;
use super::waiters::Waiters;

pub use error::{RecvError, SendError, SendErrorKind, TryRecvError, TrySendError};
pub use receiver::{Items, Next, Receiver, Recv};
pub use sender::{Send, Sender};

/// A channel that holds up to `capacity` items; with 0 every send waits for a receiver.
///
/// Both ends can be cloned, and clones are closed one by one, by [`Sender::close`] or when they are
/// dropped. When the last [`Sender`] is closed, receivers drain the channel and then find it
/// closed; when the last [`Receiver`] is closed, senders find it closed and what is in it is
/// dropped.
///
/// ```
/// use tractor_runtime::{nursery, run, sync::channel};
///
/// run(async || {
///     let (sender, receiver) = channel(0);
///     nursery(async |n| {
///         n.start_soon(async move {
///             for item in 0..3 {
///                 sender.send(item).await?;
///             }
///             Ok(())
///         });
///         let mut items = Vec::new();
///         while let Some(item) = receiver.next().await? {
///             items.push(item);
///         }
///         assert_eq!(items, [0, 1, 2]);
///         Ok(())
///     })
///     .await
/// })
/// # .unwrap();
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Channel {
        state: RefCell::new(State {
            items: VecDeque::new(),
            capacity,
            peak: 0,
            senders: 1,
            receivers: 1,
            last_end: 0,
            sending: Waiters::new(),
            receiving: Waiters::new(),
        }),
        wanted: Bell::new(),
    });
    (Sender::new(shared.clone(), 0), Receiver::new(shared, 0))
}

/// A [`channel`] in which there is always room, so that a send never has to wait. What is sent
/// faster than it is received takes memory without bound.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(UNBOUNDED)
}

const UNBOUNDED: usize = usize::MAX;

struct Channel<T> {
    state: RefCell<State<T>>,
    /// Rings when a receiver begins to wait.
    wanted: Bell,
}

struct State<T> {
    items: VecDeque<T>,
    capacity: usize,
    peak: usize,
    senders: usize,
    receivers: usize,
    /// The number that was given to an end last, to tell them apart.
    last_end: u64,
    /// Senders with their item, which is taken out when there is room.
    sending: Waiters<Waiting<T>>,
    /// Receivers; those that were served have the item that is theirs.
    receiving: Waiters<Waiting<T>>,
}

struct Waiting<T> {
    /// Whose operation it is.
    end: u64,
    item: Option<T>,
    waker: Waker,
}

impl<T> State<T> {
    /// Takes an item in, or gives it back when there is no room. The waker is to be called when
    /// nothing is borrowed.
    #[inline]
    fn put(&mut self, item: T) -> Result<Option<Waker>, T> {
        if let Some(receiver) = self.receiving.serve() {
            receiver.item = Some(item);
            return Ok(Some(receiver.waker.clone()));
        }
        if self.items.len() < self.capacity {
            self.items.push_back(item);
            self.peak = self.peak.max(self.items.len());
            return Ok(None);
        }
        Err(item)
    }

    /// Takes an item out, and lets the first waiting sender's in.
    #[inline]
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
    fn give_back(&mut self, item: T) -> GivenBack<T> {
        if let Some(receiver) = self.receiving.serve() {
            receiver.item = Some(item);
            return GivenBack::Next(receiver.waker.clone());
        }
        if self.receivers == 0 {
            return GivenBack::NoReceiver(item);
        }
        self.items.push_front(item);
        GivenBack::Kept
    }

    fn new_end(&mut self) -> u64 {
        self.last_end += 1;
        self.last_end
    }

    fn statistics(&self) -> ChannelStatistics {
        ChannelStatistics {
            len: self.items.len(),
            capacity: (self.capacity != UNBOUNDED).then_some(self.capacity),
            peak: self.peak,
            senders: self.senders,
            receivers: self.receivers,
            senders_waiting: self.sending.queued(),
            receivers_waiting: self.receiving.queued(),
        }
    }
}

/// What became of an item that was given back.
enum GivenBack<T> {
    Next(Waker),
    Kept,
    /// To be dropped when nothing is borrowed.
    NoReceiver(T),
}

/// Takes those that `whom` says out of the queue, to be told that the channel is closed.
fn dismiss<T>(waiters: &mut Waiters<Waiting<T>>, whom: impl Fn(u64) -> bool) -> Vec<Waker> {
    let mut wakers = Vec::new();
    while let Some(waiting) = waiters.serve_where(|waiting| whom(waiting.end)) {
        wakers.push(waiting.waker.clone());
    }
    wakers
}

fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// A [`channel`] in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatistics {
    /// How many items are in it.
    pub len: usize,
    /// How many it holds at most; `None` without a bound.
    pub capacity: Option<usize>,
    /// The most that were in it at any time.
    pub peak: usize,
    /// How many sending ends are open.
    pub senders: usize,
    /// How many receiving ends are open.
    pub receivers: usize,
    /// How many wait to send.
    pub senders_waiting: usize,
    /// How many wait to receive.
    pub receivers_waiting: usize,
}
