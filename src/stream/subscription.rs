use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use tractor_runtime::{Result, checkpoint_if_cancelled};

use super::{decoded, look};
use crate::context::Half;
use crate::error::Lagged;
use crate::wire::Payload;

/// One of several receivers of a stream, each of which gets every item: see
/// [`subscribe`](super::MsgStream::subscribe).
///
/// Dropping it leaves the others as they are. It may outlive the stream, and then receives what was
/// kept for it.
pub struct Subscription<R> {
    seat: Seat,
    tells_lag: bool,
    _type: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Subscription<R> {
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            tells_lag: true,
            _type: PhantomData,
        }
    }

    /// Goes on silently with the oldest item that is kept where it would say that it
    /// [lagged](Lagged).
    #[must_use]
    pub fn ignore_lag(mut self) -> Self {
        self.tells_lag = false;
        self
    }

    /// Another one, which will receive what this one has not.
    #[must_use]
    pub fn subscribe(&self) -> Self {
        Self {
            seat: self.seat.another(),
            tells_lag: self.tells_lag,
            _type: PhantomData,
        }
    }

    /// The next item; `None` when there will be none. A checkpoint; if it is cancelled, no item is
    /// lost.
    ///
    /// # Errors
    ///
    /// [`Lagged`] if items were thrown away that this one had not received, and those of
    /// [`MsgStream::receive`](super::MsgStream::receive).
    pub async fn receive(&self) -> Result<Option<R>> {
        checkpoint_if_cancelled().await?;
        loop {
            match self.seat.look() {
                Some(Err(error)) if !self.tells_lag && error.is::<Lagged>() => {}
                Some(next) => return decoded(self.seat.half(), next),
                None => self.seat.half().changed().await?,
            }
        }
    }
}

impl<R> fmt::Debug for Subscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self.seat.half())
    }
}

/// One receiver's place among the items that are kept.
pub(super) struct Seat {
    shared: Rc<Shared>,
    /// The number of the item that it receives next.
    next: Cell<u64>,
}

/// What the receivers of one stream share.
struct Shared {
    half: Rc<Half>,
    window: usize,
    kept: RefCell<Kept>,
}

/// The newest items, each as it came.
#[derive(Default)]
struct Kept {
    items: VecDeque<Payload>,
    /// The number of the first of them.
    first: u64,
}

impl Seat {
    pub(super) fn first(half: &Rc<Half>) -> Self {
        Self {
            shared: Rc::new(Shared {
                half: half.clone(),
                window: half.items_buffer(),
                kept: RefCell::default(),
            }),
            next: Cell::new(0),
        }
    }

    /// A place beside this one.
    pub(super) fn another(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            next: self.next.clone(),
        }
    }

    pub(super) fn half(&self) -> &Rc<Half> {
        &self.shared.half
    }

    /// The next item for this place; `None` if it is to wait.
    pub(super) fn look(&self) -> Option<Result<Option<Payload>>> {
        let half = &self.shared.half;
        if let Some(kept) = self.take_kept() {
            return Some(kept.map(Some));
        }
        // It is up to date, so it takes the next for all.
        look(half, || {
            let item = half.take_item()?;
            self.shared.keep(item.clone());
            self.next.set(self.next.get() + 1);
            Some(item)
        })
    }

    fn take_kept(&self) -> Option<Result<Payload>> {
        let kept = self.shared.kept.borrow();
        let next = self.next.get();
        let Some(at) = next.checked_sub(kept.first) else {
            self.next.set(kept.first);
            let missed = kept.first - next;
            return Some(Err(Lagged { missed }.into()));
        };
        let item = kept.items.get(at as usize)?.clone();
        self.next.set(next + 1);
        Some(Ok(item))
    }
}

impl Shared {
    fn keep(&self, item: Payload) {
        let mut kept = self.kept.borrow_mut();
        kept.items.push_back(item);
        if kept.items.len() > self.window {
            kept.items.pop_front();
            kept.first += 1;
        }
        drop(kept);
        self.half.wake();
    }
}
