//! A stream as the rest of the world knows streams and sinks.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tractor_runtime::{Cancelled, Error, Result, checkpoint_if_cancelled};

use super::{MsgStream, Sent, wait_for_room};
use crate::error::{ContextMisuse, Lagged};
use crate::transport::SendError;

/// What one direction waits for between two polls.
#[derive(Default)]
pub(super) struct Waiting(Option<Pin<Box<dyn Future<Output = Waited>>>>);

type Waited = std::result::Result<(), Cancelled>;

impl Waiting {
    fn poll<F: Future<Output = Waited> + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        wait: impl FnOnce() -> F,
    ) -> Poll<Result<()>> {
        let waiting = self.0.get_or_insert_with(|| Box::pin(wait()));
        let waited = ready!(waiting.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Ok(waited?))
    }
}

impl<S, R> MsgStream<S, R> {
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let half = &self.half;
        self.receiving.poll(cx, || {
            let half = half.clone();
            async move { half.changed().await }
        })
    }
}

impl<S, R> Unpin for MsgStream<S, R> {}

/// Ends with the stream, or with its first error that is not about one item alone.
impl<S, R: DeserializeOwned> Stream for MsgStream<S, R> {
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut next = match ready!(pin!(checkpoint_if_cancelled()).poll(cx)) {
            Ok(()) => self.look(),
            Err(cancelled) => Some(Err(cancelled.into())),
        };
        let next = loop {
            if let Some(next) = next {
                break next.transpose();
            }
            next = match ready!(self.poll_change(cx)) {
                Ok(()) => self.look(),
                Err(error) => Some(Err(error)),
            };
        };
        self.has_ended = match &next {
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.is::<Lagged>(),
            None => true,
        };
        Poll::Ready(next)
    }
}

impl<S, R: DeserializeOwned> FusedStream for MsgStream<S, R> {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

/// Ready when there is credit and room for an item. Flushing waits until the kernel has taken
/// everything that was sent on the connection.
impl<S: Serialize, R> Sink<S> for MsgStream<S, R> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(pin!(checkpoint_if_cancelled()).poll(cx))?;
        loop {
            let sent = self.try_send_with(|half| match half.conn().link().has_room() {
                true => Ok(()),
                false => Err(SendError::Full),
            })?;
            if let Sent::Yes = sent {
                return Poll::Ready(Ok(()));
            }
            let this = &mut *self;
            let half = &this.half;
            ready!(this.sending.poll(cx, || {
                let half = half.clone();
                async move { wait_for_room(&half, &sent).await }
            }))?;
        }
    }

    fn start_send(self: Pin<&mut Self>, item: S) -> Result<()> {
        match self.try_send_item(&item)? {
            Sent::Yes => Ok(()),
            // Another task was faster: whoever shares the stream sends with `send`.
            Sent::NoRoom | Sent::NotNow => Err(ContextMisuse::NotReady.into()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let half = &this.half;
        this.sending.poll(cx, || {
            let half = half.clone();
            async move { half.conn().link().flushed().await }
        })
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}
