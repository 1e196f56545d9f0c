use std::fmt;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncRead;

use super::call;
use crate::thread::{Call, run_sync};

/// How much is read at once for somebody who reads by polls.
const PIECE: usize = 1 << 16;

/// An open file. Every operation is a checkpoint before it begins, and then comes to its end.
///
/// Dropping it closes it.
///
/// ```
/// use futures_lite::{AsyncBufReadExt, StreamExt, io::BufReader};
/// use tractor_runtime::{fs::File, run};
///
/// let lines = run(async || {
///     let file = File::open("/etc/passwd").await?;
///     let lines: Vec<_> = BufReader::new(file).lines().collect().await;
///     Ok(lines.len())
/// });
/// assert!(lines.unwrap() > 0);
/// ```
pub struct File {
    file: Arc<fs::File>,
    /// What was read for polls and not taken.
    ahead: Vec<u8>,
    /// Where the file goes on behind that, if anything was read for polls. Such a read does not move
    /// the file itself, so nothing is lost when it is left under way.
    next: Option<u64>,
    reading: Option<Reading>,
}

/// Gives the place behind what was read, and that.
type Reading = Pin<Box<dyn Future<Output = io::Result<(u64, Vec<u8>)>>>>;

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`], and cancellation.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(OpenOptions::new().read(true).clone(), path).await
    }

    /// Opens a file for writing, empty, whether it exists or not.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`], and cancellation; then no file was made.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .clone();
        Self::open_with(options, path).await
    }

    /// Opens a file as `options` say.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`], and cancellation; then no file was made.
    pub async fn open_with(options: OpenOptions, path: impl AsRef<Path>) -> io::Result<Self> {
        call(path, move |path| options.open(path))
            .await
            .map(Self::from)
    }

    /// Reads at most so many bytes; none at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation; then nothing was read.
    pub async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.change(move |mut file| {
            let mut buffer = vec![0; most];
            let count = file.read(&mut buffer)?;
            buffer.truncate(count);
            Ok(buffer)
        })
        .await
    }

    /// Writes all of `data`, where the file stands.
    ///
    /// # Errors
    ///
    /// Cancellation, and then nothing was written; those of the operating system.
    pub async fn write_all(&mut self, data: impl Into<Vec<u8>>) -> io::Result<()> {
        let data = data.into();
        self.change(move |mut file| file.write_all(&data)).await
    }

    /// Goes to another place in the file, which it gives.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation; then it stands where it was.
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.change(move |mut file| file.seek(to)).await
    }

    /// Waits until everything has been written to the device.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.run(fs::File::sync_all).await
    }

    /// Makes the file as long as this.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation; then it is as it was.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.run(move |file| file.set_len(length)).await
    }

    /// What there is to know of it.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and cancellation.
    pub async fn metadata(&self) -> io::Result<fs::Metadata> {
        self.run(fs::File::metadata).await
    }

    async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = self.file.clone();
        run_sync(move || f(&file)).await?
    }

    /// Runs something that begins where the file stands, or moves it.
    async fn change<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let ahead = self.ahead.len() as u64;
        let stands_at = self.next.map(|next| next - ahead);
        let file = self.file.clone();
        let changed = run_sync(move || {
            if let Some(place) = stands_at {
                (&*file).seek(SeekFrom::Start(place))?;
            }
            f(&file)
        });
        let changed = changed.await?;
        // It was begun, so the place is the file's own again.
        self.ahead.clear();
        self.next = None;
        self.reading = None;
        changed
    }
}

fn read_ahead(file: Arc<fs::File>, next: Option<u64>) -> Reading {
    let read = move || {
        let place = match next {
            Some(place) => place,
            None => (&*file).stream_position()?,
        };
        let mut buffer = vec![0; PIECE];
        let count = file.read_at(&mut buffer, place)?;
        buffer.truncate(count);
        Ok((place + count as u64, buffer))
    };
    Box::pin(async move { Call::new().abandon_on_cancel(true).run(read).await? })
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self {
            file: Arc::new(file),
            ahead: Vec::new(),
            next: None,
            reading: None,
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.file, f)
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            let (file, next) = (&this.file, this.next);
            let reading = this
                .reading
                .get_or_insert_with(|| read_ahead(file.clone(), next));
            let read = ready!(reading.as_mut().poll(cx));
            this.reading = None;
            let (next, ahead) = read?;
            this.next = Some(next);
            this.ahead = ahead;
        }
        let count = buffer.len().min(this.ahead.len());
        buffer[..count].copy_from_slice(&this.ahead[..count]);
        this.ahead.drain(..count);
        Poll::Ready(Ok(count))
    }
}
