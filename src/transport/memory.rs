use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that wait in one direction, at most: about what a socket takes.
const CAPACITY: usize = 64 << 10;

/// Two connected ends in one runtime.
pub(crate) fn pair() -> (End, End) {
    let (there, back) = (Rc::new(Pipe::default()), Rc::new(Pipe::default()));
    let ours = End {
        incoming: back.clone(),
        outgoing: there.clone(),
    };
    let theirs = End {
        incoming: there,
        outgoing: back,
    };
    (ours, theirs)
}

/// One end of a connection that is memory: no descriptor, and no time passes in it.
///
/// It behaves as a socket does. What was written before an end was closed or dropped can be read
/// by the other one, and then comes the end of the file.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

impl End {
    /// Appends what there is, as far as `room` has capacity: nothing at the end of the file. One
    /// task may wait.
    pub(crate) fn poll_read(&self, cx: &Context<'_>, room: &mut Vec<u8>) -> Poll<usize> {
        let pipe = &self.incoming;
        let mut bytes = pipe.bytes.borrow_mut();
        if bytes.is_empty() && !pipe.write_ended.get() {
            pipe.reader.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let count = bytes.len().min(room.capacity() - room.len());
        let (front, back) = bytes.as_slices();
        let from_front = count.min(front.len());
        room.extend_from_slice(&front[..from_front]);
        room.extend_from_slice(&back[..count - from_front]);
        bytes.drain(..count);
        drop(bytes);
        wake(&pipe.writer);
        Poll::Ready(count)
    }

    /// Takes as much of the batch as there is room for. One task may wait.
    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        batch: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pipe = &self.outgoing;
        if pipe.read_ended.get() || pipe.write_ended.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut bytes = pipe.bytes.borrow_mut();
        let before = bytes.len();
        if before >= CAPACITY {
            pipe.writer.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        for piece in batch {
            let count = piece.len().min(CAPACITY - bytes.len());
            bytes.extend(&piece[..count]);
        }
        let count = bytes.len() - before;
        drop(bytes);
        wake(&pipe.reader);
        Poll::Ready(Ok(count))
    }

    /// Writes nothing more. The other end can still be read.
    pub(crate) fn shutdown_write(&self) {
        self.outgoing.end_writing();
    }

    /// Neither reads nor writes any more. What was not read yet is thrown out.
    pub(crate) fn shutdown(&self) {
        self.outgoing.end_writing();
        self.incoming.end_reading();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    write_ended: Cell<bool>,
    read_ended: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Pipe {
    fn end_writing(&self) {
        self.write_ended.set(true);
        wake(&self.reader);
        wake(&self.writer);
    }

    fn end_reading(&self) {
        self.read_ended.set(true);
        self.bytes.take();
        // So that who reads at this end comes to know too.
        self.end_writing();
    }
}

fn wake(waiting: &RefCell<Option<Waker>>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
