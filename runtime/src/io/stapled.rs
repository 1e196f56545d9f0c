use std::io;

use super::{Close, ReceiveStream, SendStream};

/// Two halves as one stream in both directions.
///
/// ```
/// use tractor_runtime::io::{ReceiveStream, SendStream, Stapled, pipe};
///
/// # tractor_runtime::run(async || {
/// let (send, receive) = pipe()?;
/// let loopback = Stapled { send, receive };
/// loopback.send_all(b"hello").await?;
/// loopback.send_eof().await?;
/// let mut buffer = [0; 16];
/// assert_eq!(loopback.receive_some(&mut buffer).await?, 5);
/// assert_eq!(loopback.receive_some(&mut buffer).await?, 0);
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Stapled<S, R> {
    /// Where what is sent goes.
    pub send: S,
    /// Where what is received comes from.
    pub receive: R,
}

impl<S: Close, R: Close> Close for Stapled<S, R> {
    fn close(&self) {
        self.send.close();
        self.receive.close();
    }
}

impl<S: SendStream, R: Close> SendStream for Stapled<S, R> {
    async fn send_rest(&self, data: &mut &[u8]) -> io::Result<()> {
        self.send.send_rest(data).await
    }

    async fn send_ready(&self) -> io::Result<()> {
        self.send.send_ready().await
    }

    async fn send_eof(&self) -> io::Result<()> {
        self.send.send_eof().await
    }
}

impl<S: Close, R: ReceiveStream> ReceiveStream for Stapled<S, R> {
    async fn receive_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive.receive_some(buffer).await
    }
}
