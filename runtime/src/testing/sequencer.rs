use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::executor::Leaf;

/// Has tasks do things in the order of numbers, from zero.
///
/// ```
/// use std::cell::RefCell;
/// use tractor_runtime::{nursery, testing::{self, Sequencer}};
///
/// testing::run(async || {
///     let (sequencer, seen) = (Sequencer::new(), RefCell::new(String::new()));
///     nursery(async |n| {
///         n.start_soon(async {
///             let turn = sequencer.turn(1).await?;
///             seen.borrow_mut().push('b');
///             drop(turn);
///             let _turn = sequencer.turn(2).await?;
///             seen.borrow_mut().push('c');
///             Ok(())
///         });
///         let _turn = sequencer.turn(0).await?;
///         seen.borrow_mut().push('a');
///         Ok(())
///     })
///     .await?;
///     assert_eq!(seen.take(), "abc");
///     Ok(())
/// })
/// # .unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Sequencer {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    next: usize,
    used: HashSet<usize>,
    waiting: HashMap<usize, Waker>,
    broken: bool,
}

impl Sequencer {
    /// A sequence whose first turn is number zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until all turns with lower numbers are over. The next begins when what this gives is
    /// dropped. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`SequenceError`], if the number was used before, or if somebody was cancelled or dropped
    /// while waiting: then nobody's turn ever comes. [`Cancelled`](crate::Cancelled) if the scope
    /// is.
    pub fn turn(&self, number: usize) -> AwaitTurn<'_> {
        AwaitTurn {
            sequencer: self,
            number,
            leaf: Leaf::default(),
            waits: false,
        }
    }

    fn end(&self, number: usize) {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.next = number + 1;
            state.waiting.remove(&(number + 1))
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn break_off(&self) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            state.broken = true;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting.into_values() {
            waker.wake();
        }
    }
}

/// The future of [`Sequencer::turn`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct AwaitTurn<'a> {
    sequencer: &'a Sequencer,
    number: usize,
    leaf: Leaf,
    waits: bool,
}

impl<'a> Future for AwaitTurn<'a> {
    type Output = Result<Turn<'a>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            sequencer,
            number,
            leaf,
            waits,
        } = self.get_mut();
        if !*waits {
            if !sequencer.state.borrow_mut().used.insert(*number) {
                return Poll::Ready(Err(SequenceError::Used(*number).into()));
            }
            *waits = true;
        }
        let polled = leaf.poll(cx, |cx| {
            let mut state = sequencer.state.borrow_mut();
            if state.broken {
                return Poll::Ready(Err(SequenceError::Broken));
            }
            if state.next == *number {
                return Poll::Ready(Ok(()));
            }
            state.waiting.insert(*number, cx.waker().clone());
            Poll::Pending
        });
        let Poll::Ready(result) = polled else {
            return Poll::Pending;
        };
        match result {
            Ok(Ok(())) => {
                *waits = false;
                Poll::Ready(Ok(Turn {
                    sequencer,
                    number: *number,
                }))
            }
            Ok(Err(broken)) => {
                *waits = false;
                Poll::Ready(Err(broken.into()))
            }
            Err(cancelled) => {
                *waits = false;
                sequencer.break_off();
                Poll::Ready(Err(cancelled.into()))
            }
        }
    }
}

impl Drop for AwaitTurn<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.sequencer.break_off();
        }
    }
}

/// A turn of a [`Sequencer`], over when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    sequencer: &'a Sequencer,
    number: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sequencer.end(self.number);
    }
}

/// A turn that never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SequenceError {
    /// The number was used before.
    Used(usize),
    /// Somebody who waited was cancelled, or dropped.
    Broken,
}

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used(number) => write!(f, "turn {number} of the sequence was used before"),
            Self::Broken => f.write_str("the sequence was broken by one who was cancelled"),
        }
    }
}

impl std::error::Error for SequenceError {}
