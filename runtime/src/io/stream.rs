use std::io;

/// What can be closed at once, by whoever can see it.
pub trait Close {
    /// Closes it. Not a checkpoint, and never fails; again has no effect.
    ///
    /// Operations that are under way answer [`Closed`](super::Closed), as do those to come.
    fn close(&self);
}

impl<T: Close + ?Sized> Close for &T {
    fn close(&self) {
        (**self).close();
    }
}

/// Where bytes go.
///
/// Only one task may send at a time.
#[allow(
    async_fn_in_trait,
    reason = "a runtime is one thread: nobody needs these futures to be `Send`"
)]
pub trait SendStream: Close {
    /// Sends all of `data`, which becomes shorter by what has gone. A checkpoint, also if `data`
    /// is empty.
    ///
    /// # Errors
    ///
    /// Cancellation: then `data` is what has not been sent, and the stream can go on with it.
    /// [`Busy`](super::Busy) and [`Closed`](super::Closed); and those of the operating system: a
    /// [broken pipe](io::ErrorKind::BrokenPipe) or a
    /// [reset connection](io::ErrorKind::ConnectionReset) if nobody receives any more.
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()>;

    /// Sends all of `data`. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`send_rest`](Self::send_rest). Some of `data` may have been sent then: use that
    /// to know how much.
    async fn send_all(&self, mut data: &[u8]) -> io::Result<()> {
        self.send_rest(&mut data).await
    }

    /// Waits until something can be sent, if that can be known. A checkpoint.
    ///
    /// # Errors
    ///
    /// Those of [`send_rest`](Self::send_rest).
    async fn send_ready(&self) -> io::Result<()>;

    /// Tells the peer that this was all: it comes to the end of the stream when it has received
    /// everything. Sending is over; receiving, where the stream has that direction, goes on. A
    /// checkpoint; again has no effect.
    ///
    /// # Errors
    ///
    /// Cancellation, and then nothing was told; [`Busy`](super::Busy) while something is sent; those
    /// of the operating system.
    async fn send_eof(&self) -> io::Result<()>;
}

impl<T: SendStream + ?Sized> SendStream for &T {
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()> {
        (**self).send_rest(data).await
    }

    async fn send_ready(&self) -> io::Result<()> {
        (**self).send_ready().await
    }

    async fn send_eof(&self) -> io::Result<()> {
        (**self).send_eof().await
    }
}

/// Where bytes come from.
///
/// Only one task may receive at a time.
#[allow(
    async_fn_in_trait,
    reason = "a runtime is one thread: nobody needs these futures to be `Send`"
)]
pub trait ReceiveStream: Close {
    /// Waits for something, and puts it into `buffer`: as much as is there and has room. Zero at
    /// the end of the stream. A checkpoint.
    ///
    /// # Errors
    ///
    /// Cancellation, and then nothing was received; [`Busy`](super::Busy) and
    /// [`Closed`](super::Closed); [invalid input](io::ErrorKind::InvalidInput) if the buffer has no
    /// room; those of the operating system.
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<T: ReceiveStream + ?Sized> ReceiveStream for &T {
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).receive_some(buffer).await
    }
}

/// Bytes in both directions.
pub trait Stream: SendStream + ReceiveStream {}

impl<T: SendStream + ReceiveStream + ?Sized> Stream for T {}

/// What `receive_some` says to a buffer without room.
pub(crate) fn has_room(buffer: &[u8]) -> io::Result<()> {
    if buffer.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a buffer without room cannot tell the end of the stream",
        ));
    }
    Ok(())
}
