use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::Result;
use tractor_runtime::sync::{Receiver, RecvError, Sender, TrySendError, channel};

use crate::stream::MsgStream;

/// What is published here goes to all that have subscribed at that time.
///
/// Nobody who publishes waits: a subscriber that does not keep up loses the oldest of what it has
/// not taken yet, and can tell how much that was. Clones are the same topic. When the last is
/// gone, subscriptions end.
///
/// Subscribers in other actors have an endpoint here, which [forwards](Subscription::forward) to
/// its stream:
///
/// ```no_run
/// use tractor::trionics::{Hold, Topic, maybe_open_context};
/// use tractor::{Context, Dialog, Result};
///
/// struct Quotes;
/// impl Dialog for Quotes {
///     type Started = ();
///     type ToChild = ();
///     type ToParent = u64;
/// }
///
/// async fn feed((): (), hold: Hold<Topic<u64>>) -> Result<()> {
///     hold.hold(Topic::new()).await // and somebody publishes
/// }
///
/// async fn quotes(ctx: &mut Context<Quotes>, (): ()) -> Result<()> {
///     maybe_open_context(feed, (), async |topic, _| {
///         let subscription = topic.subscribe(16);
///         ctx.started(()).await?;
///         subscription.forward(&ctx.open_stream()?).await
///     })
///     .await
/// }
/// tractor::endpoint!(quotes);
/// ```
pub struct Topic<T> {
    subscribers: Rc<RefCell<Vec<Subscriber<T>>>>,
}

struct Subscriber<T> {
    sender: Sender<T>,
    /// So that the oldest can be taken out.
    receiver: Receiver<T>,
    /// Of the subscription.
    lost: Weak<Cell<u64>>,
}

impl<T: Clone> Topic<T> {
    /// A topic without subscribers.
    pub fn new() -> Self {
        Self {
            subscribers: Rc::default(),
        }
    }

    /// Gives this to all subscribers. Never waits. Says how many there are.
    pub fn publish(&self, item: &T) -> usize {
        // A clone may do anything, and so nothing is borrowed meanwhile.
        let mut subscribers = self.subscribers.take();
        subscribers.retain(|subscriber| subscriber.give(item.clone()));
        let count = subscribers.len();
        let mut came_meanwhile = self.subscribers.replace(subscribers);
        self.subscribers.borrow_mut().append(&mut came_meanwhile);
        count
    }

    /// Subscribes to what is published from now on, of which `capacity` items are kept until they
    /// are taken.
    ///
    /// # Panics
    ///
    /// If the capacity is 0.
    pub fn subscribe(&self, capacity: usize) -> Subscription<T> {
        assert!(capacity > 0, "a subscription has to keep something");
        let (sender, receiver) = channel(capacity);
        let lost = Rc::new(Cell::new(0));
        self.subscribers.borrow_mut().push(Subscriber {
            sender,
            receiver: receiver.clone(),
            lost: Rc::downgrade(&lost),
        });
        Subscription { receiver, lost }
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        let subscribers = self.subscribers.borrow();
        let alive = subscribers.iter().filter(|s| s.lost.strong_count() > 0);
        alive.count()
    }
}

impl<T> Subscriber<T> {
    /// False if the subscription is gone.
    fn give(&self, mut item: T) -> bool {
        let Some(lost) = self.lost.upgrade() else {
            return false;
        };
        while let Err(error) = self.sender.try_send(item) {
            if let TrySendError::Closed(_) = error {
                return false;
            }
            item = error.into_inner();
            if self.receiver.try_recv().is_ok() {
                lost.set(lost.get() + 1);
            }
        }
        true
    }
}

impl<T: Clone> Default for Topic<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self {
            subscribers: self.subscribers.clone(),
        }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").finish_non_exhaustive()
    }
}

/// What comes from a [`Topic`]. Dropping it ends it.
pub struct Subscription<T> {
    receiver: Receiver<T>,
    lost: Rc<Cell<u64>>,
}

impl<T> Subscription<T> {
    /// The oldest item that is kept; `None` when there is none and the topic is gone. A
    /// checkpoint; if it is cancelled, no item is lost.
    ///
    /// # Errors
    ///
    /// Cancellation.
    pub async fn next(&self) -> Result<Option<T>> {
        match self.receiver.recv().await {
            Ok(item) => Ok(Some(item)),
            Err(RecvError::Closed) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many items were thrown away because they were not taken in time.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// Sends all that comes on a stream, until the topic is gone.
    ///
    /// # Errors
    ///
    /// Those of [`MsgStream::send`], with which an item is gone, and cancellation.
    pub async fn forward<R: DeserializeOwned>(&self, stream: &MsgStream<T, R>) -> Result<()>
    where
        T: Serialize,
    {
        while let Some(item) = self.next().await? {
            stream.send(&item).await?;
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("lost", &self.lost.get())
            .finish_non_exhaustive()
    }
}
