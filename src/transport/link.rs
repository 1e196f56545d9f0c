use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::io::Errno;
use serde::Serialize;
use tractor_runtime::{Cancelled, cancellable, checkpoint};

use super::outbox::{Outbox, SendError};
use super::stream::ByteStream;
use crate::dialog::WINDOW;
use crate::wire::{Carrier, Cid, Features, FrameDecoder, Limits, Message, WireError};

/// How much is received in one call, at most, when no large frame is being received.
const READ: usize = 64 << 10;

/// How many messages are given out before the other tasks get their turn. One read can hold
/// hundreds, and who receives a stream must be able to keep up with a peer that does not wait for
/// credit: its window of undelivered items is twice this.
const BURST: u32 = WINDOW / 2;

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: ByteStream,
    limits: Cell<Limits>,
    outbox: RefCell<Outbox>,
    writing: Cell<Writing>,
    /// Of the write loop, while it has nothing to do.
    writer: RefCell<Option<Waker>>,
    /// Of those who wait for room, or for everything to be written.
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// Nothing more is taken; what waits is written, then the write half is shut down.
    Closing,
    /// The write half is shut down, or writing failed.
    Ended,
}

/// Why a link broke.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum LinkError {
    /// What came is not the protocol, or over a limit.
    Wire(WireError),
    Io(io::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => fmt::Display::fmt(error, f),
            Self::Io(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for LinkError {}

/// What a reader found.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message),
    /// The peer has closed its end, and everything it sent was given out.
    Ended,
    /// Nothing more can be received. Everything before was given out.
    Broken(LinkError),
}

impl Link {
    /// Takes over a connection.
    pub(crate) fn over(stream: ByteStream, limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            stream,
            limits: Cell::new(limits),
            outbox: RefCell::new(Outbox::new(limits)),
            writing: Cell::new(Writing::Open),
            writer: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    /// The receiving end. There should be one.
    pub(crate) fn reader(self: &Rc<Self>) -> LinkReader {
        LinkReader {
            link: self.clone(),
            decoder: FrameDecoder::new(self.limits()),
            burst: 0,
            has_ended: false,
        }
    }

    /// What the peer may make this side hold.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// What connects the two, for people.
    pub(crate) fn kind(&self) -> &'static str {
        self.stream.kind()
    }

    /// To be called when the peer's `Aid` has said what it understands.
    pub(crate) fn agree(&self, features: &Features) {
        self.outbox.borrow_mut().set_overtaking(features.discards);
    }

    /// Queues a message. Never waits.
    pub(crate) fn send(&self, message: &Message) -> Result<(), SendError> {
        self.push(|outbox| outbox.push(message))
    }

    /// Queues a message that carries `value`. Never waits.
    #[inline]
    pub(crate) fn send_value<T: Serialize + ?Sized>(
        &self,
        carrier: Carrier,
        cid: &Cid,
        value: &T,
    ) -> Result<(), SendError> {
        self.push(|outbox| outbox.push_value(carrier, cid, value))
    }

    /// Whether an item would be taken now, as far as room goes.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.borrow().has_room()
    }

    /// Waits until an item would be taken, or the link is closed.
    pub(crate) async fn room(&self) -> Result<(), Cancelled> {
        self.wait(|outbox| outbox.has_room()).await
    }

    /// Waits until a dialog may be opened, as far as room goes, or the link is closed. A checkpoint
    /// only if it has to wait.
    pub(crate) async fn room_for_calls(&self) -> Result<(), Cancelled> {
        if self.outbox.borrow().has_room_for_calls() {
            return Ok(());
        }
        self.wait(Outbox::has_room_for_calls).await
    }

    /// Waits until the kernel has taken everything that was queued, or the link is closed.
    pub(crate) async fn flushed(&self) -> Result<(), Cancelled> {
        self.wait(Outbox::is_empty).await
    }

    /// Whether more can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.writing.get() == Writing::Open
    }

    /// Takes nothing more. The write loop writes what waits, tells the peer that this was all,
    /// and ends. Receiving goes on.
    pub(crate) fn close(&self) {
        if self.writing.get() == Writing::Open {
            self.writing.set(Writing::Closing);
            self.wake_writer();
        }
    }

    /// Takes nothing more and throws out what waits; both ends of the connection come to know
    /// at once.
    pub(crate) fn abort(&self) {
        self.end_writing();
        self.stream.shutdown();
        self.wake_writer();
    }

    /// Writes what is queued until the link is closed and all is written.
    ///
    /// Everything that was queued by the time it runs goes out together, in as few calls as the
    /// kernel allows. When it was cancelled it can be run again.
    ///
    /// # Errors
    /// What the kernel said when it took no more. Nothing is taken or written after that.
    pub(crate) async fn write_loop(&self) -> Result<Result<(), LinkError>, Cancelled> {
        loop {
            while !self.outbox.borrow().is_empty() {
                if let Err(error) = self.write_some().await {
                    if let Some(cancelled) = cancelled_in(&error) {
                        return Err(cancelled);
                    }
                    self.end_writing();
                    return Ok(Err(LinkError::Io(error)));
                }
            }
            match self.writing.get() {
                Writing::Open => {
                    self.work().await?;
                    // Whoever is about to run may have more to say: the answer of an endpoint goes
                    // out with the word that it runs, and all cancellations of a scope together.
                    // The last words of a connection that ends do not wait.
                    if self.writing.get() == Writing::Open {
                        checkpoint().await?;
                    }
                }
                Writing::Closing => {
                    self.stream.shutdown_write();
                    self.end_writing();
                }
                Writing::Ended => return Ok(Ok(())),
            }
        }
    }

    /// Hands over as much as is taken in one go.
    async fn write_some(&self) -> io::Result<()> {
        self.stream.write(&self.outbox).await?;
        self.wake_waiting();
        Ok(())
    }

    /// Waits until there is something to write, or no more will be.
    async fn work(&self) -> Result<(), Cancelled> {
        cancellable(poll_fn(|cx| {
            if self.writing.get() != Writing::Open || !self.outbox.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.writer.replace(Some(cx.waker().clone()));
            Poll::Pending
        }))
        .await
    }

    async fn wait(&self, until: fn(&Outbox) -> bool) -> Result<(), Cancelled> {
        cancellable(poll_fn(|cx| {
            if self.writing.get() == Writing::Ended || until(&self.outbox.borrow()) {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        }))
        .await
    }

    #[inline]
    fn push(
        &self,
        push: impl FnOnce(&mut Outbox) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        if self.writing.get() != Writing::Open {
            return Err(SendError::Closed);
        }
        let pushed = push(&mut self.outbox.borrow_mut());
        if let Err(error @ SendError::Stuck { .. }) = &pushed {
            log::warn!(target: "tractor::wire", "the connection is given up: {error}");
            self.abort();
        }
        self.wake_writer();
        pushed
    }

    /// Costs nothing while the write loop is at work: it sees what was queued since.
    #[inline]
    fn wake_writer(&self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wake_waiting(&self) {
        let waiting = self.waiting.take();
        for waker in waiting {
            waker.wake();
        }
    }

    fn end_writing(&self) {
        self.writing.set(Writing::Ended);
        self.outbox.borrow_mut().clear();
        self.wake_waiting();
    }
}

/// The receiving end of a [`Link`].
#[derive(Debug)]
pub(crate) struct LinkReader {
    link: Rc<Link>,
    decoder: FrameDecoder,
    /// Messages given out since the other tasks had their turn.
    burst: u32,
    has_ended: bool,
}

impl LinkReader {
    /// The connection is limited by these from now on, both ways: an actor that is told what it is
    /// over a link has that before it knows.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
        self.link.limits.set(limits);
        self.link.outbox.borrow_mut().set_limits(limits);
    }

    /// The next message. When it was cancelled nothing was lost, and it may be called again.
    /// Gives way to other tasks now and then, also if there is always a next message.
    ///
    /// After [`Received::Ended`] and [`Received::Broken`] there is nothing but `Ended`.
    pub(crate) async fn next(&mut self) -> Result<Received, Cancelled> {
        loop {
            if self.has_ended {
                return Ok(Received::Ended);
            }
            if self.burst >= BURST {
                checkpoint().await?;
                self.burst = 0;
            }
            match self.buffered() {
                Ok(Some(message)) => {
                    self.burst += 1;
                    return Ok(Received::Message(message));
                }
                Ok(None) => {}
                Err(error) => return Ok(self.ended(Err(LinkError::Wire(error)))),
            }
            match self.receive().await {
                Ok(0) => {
                    let end = self.decoder.finish().map_err(LinkError::Wire);
                    return Ok(self.ended(end));
                }
                Ok(_) => {}
                Err(error) => {
                    if let Some(cancelled) = cancelled_in(&error) {
                        return Err(cancelled);
                    }
                    let end = self.lost(error);
                    return Ok(self.ended(end));
                }
            }
        }
    }

    /// The next message of those that were received, without asking for more.
    #[inline]
    fn buffered(&mut self) -> Result<Option<Message>, WireError> {
        let limits = self.link.limits();
        match self.decoder.next_frame()? {
            Some(frame) => frame.decode(&limits).map(Some),
            None => Ok(None),
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        let room = self.decoder.spare(READ);
        self.link.stream.read(room).await
    }

    /// A peer that ends with something unread resets the connection, which between two frames is no
    /// other end than the ordinary one.
    fn lost(&self, error: io::Error) -> Result<(), LinkError> {
        if Errno::from_io_error(&error) == Some(Errno::CONNRESET) {
            return self.decoder.finish().map_err(LinkError::Wire);
        }
        Err(LinkError::Io(error))
    }

    fn ended(&mut self, end: Result<(), LinkError>) -> Received {
        self.has_ended = true;
        match end {
            Ok(()) => Received::Ended,
            Err(error) => Received::Broken(error),
        }
    }
}

/// The runtime reports a cancellation inside an `io::Error`.
fn cancelled_in(error: &io::Error) -> Option<Cancelled> {
    error.get_ref()?.downcast_ref::<Cancelled>().cloned()
}
