//! A line between two actors on which some of what they say comes late.

use std::fs;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Of so many messages one is late.
const LATE: u32 = 10;

/// By so much at most. What comes behind it in the same direction waits for it, as on any line that
/// keeps the order.
const MOST: Duration = Duration::from_millis(2);

/// Passes on what the two ends of one connection say, until both have fallen silent.
pub(super) struct Relay {
    path: PathBuf,
    thread: JoinHandle<io::Result<()>>,
}

impl Relay {
    /// Listens at `path` for one connection, and passes that on to the one who listens at `to`.
    pub(super) fn listen(path: &Path, to: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let to = to.to_owned();
        let thread = thread::spawn(move || {
            let (near, _) = listener.accept()?;
            let far = UnixStream::connect(to)?;
            let there = pass_on(near.try_clone()?, far.try_clone()?);
            let back = pass_on(far, near);
            there.into_iter().chain(back).try_for_each(ended)
        });
        Ok(Self {
            path: path.to_owned(),
            thread,
        })
    }

    /// Waits for the end of the connection.
    pub(super) fn join(self) -> io::Result<()> {
        ended(self.thread)?;
        fs::remove_file(self.path)
    }
}

/// When a message is due, and its bytes.
type Message = (Instant, Vec<u8>);

/// One direction: somebody who reads, and somebody who writes what is due.
fn pass_on(from: UnixStream, to: UnixStream) -> [JoinHandle<io::Result<()>>; 2] {
    let (read, due) = channel();
    [
        thread::spawn(move || read_all(from, &read)),
        thread::spawn(move || write_all(to, &due)),
    ]
}

fn ended(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    match thread.join().expect("nothing here panics") {
        // The other end has closed a connection in which something was on its way.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn read_all(from: UnixStream, read: &Sender<Message>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut random = Rng::new();
    loop {
        let message = message(&mut from)?;
        let mut due = Instant::now();
        if random.u32(..LATE) == 0 {
            due += MOST.mul_f64(random.f64());
        }
        // At the end of it all, and when nobody is left to be written to.
        if message.is_empty() || read.send((due, message)).is_err() {
            return Ok(());
        }
    }
}

/// The next one, or as much of it as comes. Its first four bytes say how long the rest of it is, the
/// lowest first.
fn message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    from.by_ref().take(4).read_to_end(&mut message)?;
    if let Some(header) = message.first_chunk() {
        let length = u32::from_le_bytes(*header);
        from.take(length.into()).read_to_end(&mut message)?;
    }
    Ok(message)
}

fn write_all(mut to: UnixStream, read: &Receiver<Message>) -> io::Result<()> {
    for (due, message) in read {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&message)?;
    }
    to.shutdown(Shutdown::Write)
}
