//! Streams of bytes within a runtime, with the faults of real ones.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Rng;
use crate::checkpoint;
use crate::executor::Leaf;
use crate::io::{Busy, Close, Closed, ReceiveStream, SendStream, Stapled, has_room};
use crate::time::{Instant, Sleep, now, sleep_until};

/// One end of a connection in memory.
pub type MemoryStream = Stapled<MemorySender, MemoryReceiver>;

/// Two streams in memory that are connected to each other, with all the room in the world.
pub fn memory_stream_pair() -> (MemoryStream, MemoryStream) {
    MemoryLink::new().pair()
}

/// A stream in memory for one direction, with all the room in the world.
pub fn memory_stream_one_way_pair() -> (MemorySender, MemoryReceiver) {
    MemoryLink::new().one_way_pair()
}

/// Two streams that are connected to each other, where sending takes until all was received.
pub fn lockstep_stream_pair() -> (MemoryStream, MemoryStream) {
    MemoryLink::new().lockstep().pair()
}

/// A stream for one direction, where sending takes until all was received.
pub fn lockstep_stream_one_way_pair() -> (MemorySender, MemoryReceiver) {
    MemoryLink::new().lockstep().one_way_pair()
}

/// What a connection in memory is like.
///
/// ```
/// use std::time::Duration;
/// use tractor_runtime::io::{ReceiveStream, SendStream};
/// use tractor_runtime::testing::{self, MemoryLink};
///
/// testing::run(async || {
///     let link = MemoryLink::new().delay(Duration::from_secs(2)).pieces(7).cut_after(5);
///     let (a, b) = link.pair();
///     assert!(a.send_all(b"hello, world").await.is_err());
///     let mut received = Vec::new();
///     let mut buffer = [0; 16];
///     while let Ok(count @ 1..) = b.receive_some(&mut buffer).await {
///         received.extend_from_slice(&buffer[..count]);
///     }
///     assert_eq!(received, b"hello");
///     Ok(())
/// })
/// # .unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until a pair is made"]
pub struct MemoryLink {
    room: Room,
    delay: Duration,
    seed: Option<u64>,
    cut_after: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Room {
    Unlimited,
    Bytes(usize),
    Lockstep,
}

impl MemoryLink {
    /// Without a limit, a delay, or a fault.
    pub fn new() -> Self {
        Self {
            room: Room::Unlimited,
            delay: Duration::ZERO,
            seed: None,
            cut_after: None,
        }
    }

    /// How many bytes may be under way in each direction; a sender waits for room.
    ///
    /// # Panics
    ///
    /// For 0.
    pub fn capacity(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "nothing can be sent without room");
        self.room = Room::Bytes(bytes);
        self
    }

    /// Sending takes until all was received.
    pub fn lockstep(mut self) -> Self {
        self.room = Room::Lockstep;
        self
    }

    /// How long bytes are under way, by the clock of the runtime.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Everything is sent and received in pieces, of sizes that `seed` decides.
    pub fn pieces(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Each direction is cut behind so many bytes: the sender is told of a broken pipe, and the
    /// receiver, after those bytes, of a reset connection.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Two ends.
    pub fn pair(&self) -> (MemoryStream, MemoryStream) {
        let (a_send, b_receive) = self.one_way_pair();
        let (b_send, a_receive) = self.one_way_pair();
        let a = Stapled {
            send: a_send,
            receive: a_receive,
        };
        let b = Stapled {
            send: b_send,
            receive: b_receive,
        };
        (a, b)
    }

    /// One direction.
    pub fn one_way_pair(&self) -> (MemorySender, MemoryReceiver) {
        let pipe = Rc::new(Pipe {
            state: RefCell::new(State {
                flying: VecDeque::new(),
                size: 0,
                left: self.cut_after,
                sender: Side::default(),
                receiver: Side::default(),
                ended: false,
                cut: false,
                rng: self.seed.map(Rng::new),
            }),
            room: self.room,
            delay: self.delay,
        });
        (MemorySender(pipe.clone()), MemoryReceiver(pipe))
    }
}

impl Default for MemoryLink {
    fn default() -> Self {
        Self::new()
    }
}

/// Where bytes go in memory. Dropping it closes it, which is the end of the stream.
pub struct MemorySender(Rc<Pipe>);

/// Where bytes come from in memory. Dropping it closes it, and discards what has come.
pub struct MemoryReceiver(Rc<Pipe>);

struct Pipe {
    state: RefCell<State>,
    room: Room,
    delay: Duration,
}

struct State {
    flying: VecDeque<Piece>,
    /// How many bytes that is.
    size: usize,
    /// How many bytes there are until the cut.
    left: Option<usize>,
    sender: Side,
    receiver: Side,
    /// No more will be sent.
    ended: bool,
    /// The sender has come to the cut.
    cut: bool,
    rng: Option<Rng>,
}

struct Piece {
    due: Instant,
    bytes: VecDeque<u8>,
}

#[derive(Default)]
struct Side {
    busy: bool,
    closed: bool,
    waiter: Option<Waker>,
}

/// What an attempt says.
enum Step<T> {
    Done(io::Result<T>),
    /// There is nothing to do until the other side does something, or until then.
    Wait(Option<Instant>),
}

#[derive(Clone, Copy, PartialEq)]
enum Which {
    Sender,
    Receiver,
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

impl State {
    fn is_open(&mut self, which: Which) -> io::Result<()> {
        if self.side(which).closed || which == Which::Sender && self.ended {
            return Err(Closed::error());
        }
        Ok(())
    }

    fn side(&mut self, which: Which) -> &mut Side {
        match which {
            Which::Sender => &mut self.sender,
            Which::Receiver => &mut self.receiver,
        }
    }

    /// Puts a piece of `data` on its way. How much that was.
    fn push(&mut self, data: &[u8], most: usize, due: Instant) -> usize {
        let most = most.min(data.len()).min(self.left.unwrap_or(usize::MAX));
        let count = self.pick(most);
        if count > 0 {
            self.left = self.left.map(|left| left - count);
            self.size += count;
            let bytes = data[..count].iter().copied().collect();
            self.flying.push_back(Piece { due, bytes });
        }
        count
    }

    /// Takes the first byte that is under way.
    fn pop(&mut self) -> u8 {
        let piece = self.flying.front_mut();
        let byte = piece.and_then(|piece| piece.bytes.pop_front());
        if self
            .flying
            .front()
            .is_some_and(|piece| piece.bytes.is_empty())
        {
            self.flying.pop_front();
        }
        self.size -= 1;
        byte.expect("no piece under way is empty")
    }

    /// Takes the last bytes back from their way.
    fn take_back(&mut self, mut count: usize) {
        self.size -= count;
        self.left = self.left.map(|left| left + count);
        while let Some(piece) = self.flying.back_mut() {
            let taken = count.min(piece.bytes.len());
            piece.bytes.truncate(piece.bytes.len() - taken);
            count -= taken;
            if !piece.bytes.is_empty() {
                return;
            }
            self.flying.pop_back();
        }
    }

    fn pick(&mut self, most: usize) -> usize {
        match &mut self.rng {
            Some(rng) if most > 1 => 1 + rng.below(most),
            _ => most,
        }
    }
}

impl Pipe {
    /// Tries until it is done; `what` is tried again whenever the other side did something.
    async fn run<T>(
        &self,
        which: Which,
        mut what: impl FnMut(&mut State) -> Step<T>,
    ) -> io::Result<T> {
        let mut leaf = Leaf::default();
        let mut timer: Option<(Instant, Pin<Box<Sleep>>)> = None;
        poll_fn(|cx| {
            leaf.poll(cx, |cx| {
                loop {
                    let when = match self.attempt(which, cx.waker(), &mut what) {
                        Step::Done(result) => return Poll::Ready(result),
                        Step::Wait(None) => return Poll::Pending,
                        Step::Wait(Some(when)) => when,
                    };
                    if timer.as_ref().is_none_or(|(set, _)| *set != when) {
                        timer = Some((when, Box::pin(sleep_until(when))));
                    }
                    let slept = timer.as_mut().map(|(_, sleep)| sleep.as_mut().poll(cx));
                    let Some(Poll::Ready(Ok(()))) = slept else {
                        return Poll::Pending;
                    };
                    timer = None;
                }
            })
        })
        .await?
    }

    fn attempt<T>(
        &self,
        which: Which,
        waker: &Waker,
        what: &mut impl FnMut(&mut State) -> Step<T>,
    ) -> Step<T> {
        let mut state = self.state.borrow_mut();
        if let Err(closed) = state.is_open(which) {
            return Step::Done(Err(closed));
        }
        let before = (state.size, state.ended, state.cut);
        let step = what(&mut state);
        if let Step::Wait(_) = step {
            state.side(which).waiter = Some(waker.clone());
        }
        let moved = before != (state.size, state.ended, state.cut);
        let other = if moved {
            state.side(which.other()).waiter.take()
        } else {
            None
        };
        drop(state);
        if let Some(other) = other {
            other.wake();
        }
        step
    }

    /// Takes a side for one operation.
    fn take(&self, which: Which) -> io::Result<Turn<'_>> {
        let mut state = self.state.borrow_mut();
        state.is_open(which)?;
        if std::mem::replace(&mut state.side(which).busy, true) {
            return Err(Busy::error());
        }
        // It may wait for somebody who receives.
        let other = state.side(which.other()).waiter.take();
        drop(state);
        if let Some(other) = other {
            other.wake();
        }
        Ok(Turn { pipe: self, which })
    }

    fn close(&self, which: Which) {
        let mut state = self.state.borrow_mut();
        if std::mem::replace(&mut state.side(which).closed, true) {
            return;
        }
        match which {
            Which::Sender => state.ended = true,
            Which::Receiver => {
                state.flying.clear();
                state.size = 0;
            }
        }
        let waiters = [state.sender.waiter.take(), state.receiver.waiter.take()];
        drop(state);
        for waiter in waiters.into_iter().flatten() {
            waiter.wake();
        }
    }
}

/// A side that nobody else may use until this is dropped.
struct Turn<'a> {
    pipe: &'a Pipe,
    which: Which,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pipe.state.borrow_mut();
        let side = state.side(self.which);
        side.busy = false;
        let waiter = side.waiter.take();
        drop(state);
        drop(waiter);
    }
}

impl MemorySender {
    /// What has been sent and not received.
    pub fn unread(&self) -> Vec<u8> {
        let state = self.0.state.borrow();
        let pieces = state.flying.iter();
        pieces
            .flat_map(|piece| piece.bytes.iter().copied())
            .collect()
    }
}

impl MemoryReceiver {
    /// Lets it receive `data`, as if that had been sent at once, whatever room there is.
    pub fn feed(&self, data: &[u8]) {
        self.change(|state| {
            if data.is_empty() {
                return;
            }
            state.size += data.len();
            let bytes = data.iter().copied().collect();
            state.flying.push_back(Piece { due: now(), bytes });
        });
    }

    /// Lets it come to the end of the stream, when it has received everything.
    pub fn feed_eof(&self) {
        self.change(|state| state.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.borrow_mut();
        if state.receiver.closed {
            return;
        }
        change(&mut state);
        let waiters = [state.receiver.waiter.take(), state.sender.waiter.take()];
        drop(state);
        for waiter in waiters.into_iter().flatten() {
            waiter.wake();
        }
    }
}

/// What a sender in lockstep has under way comes back to it when it gives up.
struct TakeBack<'a, 'data> {
    pipe: &'a Pipe,
    data: &'a mut &'data [u8],
    all: &'data [u8],
}

impl Drop for TakeBack<'_, '_> {
    fn drop(&mut self) {
        if let Room::Lockstep = self.pipe.room {
            let mut state = self.pipe.state.borrow_mut();
            let left = state.size;
            state.take_back(left);
            let sent = self.all.len() - self.data.len() - left;
            *self.data = &self.all[sent..];
        }
    }
}

impl SendStream for MemorySender {
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()> {
        let pipe = &*self.0;
        let _turn = pipe.take(Which::Sender)?;
        if data.is_empty() {
            return Ok(checkpoint().await?);
        }
        let under_way = TakeBack {
            pipe,
            all: data,
            data,
        };
        pipe.run(Which::Sender, |state| {
            if state.receiver.closed {
                return Step::Done(Err(io::ErrorKind::BrokenPipe.into()));
            }
            while !under_way.data.is_empty() {
                let room = match pipe.room {
                    Room::Unlimited => usize::MAX,
                    Room::Bytes(bytes) => bytes.saturating_sub(state.size),
                    Room::Lockstep if state.size > 0 => 0,
                    Room::Lockstep => usize::MAX,
                };
                if room == 0 {
                    return Step::Wait(None);
                }
                let count = state.push(under_way.data, room, now() + pipe.delay);
                if count == 0 {
                    state.cut = true;
                    return Step::Done(Err(io::ErrorKind::BrokenPipe.into()));
                }
                *under_way.data = &under_way.data[count..];
            }
            match pipe.room {
                Room::Lockstep if state.size > 0 => Step::Wait(None),
                _ => Step::Done(Ok(())),
            }
        })
        .await
    }

    async fn send_ready(&self) -> io::Result<()> {
        let pipe = &*self.0;
        let _turn = pipe.take(Which::Sender)?;
        pipe.run(Which::Sender, |state| {
            let ready = match pipe.room {
                Room::Unlimited => true,
                Room::Bytes(bytes) => state.size < bytes,
                Room::Lockstep => state.size == 0 && state.receiver.busy,
            };
            if ready || state.receiver.closed {
                Step::Done(Ok(()))
            } else {
                Step::Wait(None)
            }
        })
        .await
    }

    async fn send_eof(&self) -> io::Result<()> {
        checkpoint().await?;
        let mut state = self.0.state.borrow_mut();
        if state.sender.busy {
            return Err(Busy::error());
        }
        state.ended = true;
        let waiter = state.receiver.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        Ok(())
    }
}

impl ReceiveStream for MemoryReceiver {
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        has_room(buffer)?;
        let pipe = &*self.0;
        let _turn = pipe.take(Which::Receiver)?;
        pipe.run(Which::Receiver, |state| {
            let Some(piece) = state.flying.front() else {
                return match (state.cut, state.ended) {
                    (true, _) => Step::Done(Err(io::ErrorKind::ConnectionReset.into())),
                    (_, true) => Step::Done(Ok(0)),
                    _ => Step::Wait(None),
                };
            };
            if piece.due > now() {
                return Step::Wait(Some(piece.due));
            }
            let there = state.flying.iter().take_while(|piece| piece.due <= now());
            let there: usize = there.map(|piece| piece.bytes.len()).sum();
            let count = state.pick(there.min(buffer.len()));
            for byte in &mut buffer[..count] {
                *byte = state.pop();
            }
            Step::Done(Ok(count))
        })
        .await
    }
}

impl Close for MemorySender {
    fn close(&self) {
        self.0.close(Which::Sender);
    }
}

impl Close for MemoryReceiver {
    fn close(&self) {
        self.0.close(Which::Receiver);
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for MemoryReceiver {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for MemorySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySender").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReceiver").finish_non_exhaustive()
    }
}
