use std::fmt;

use super::channel::{Receiver, Sender, channel};
use crate::error::Result;
use crate::nursery::nursery;
use crate::scope::{CancelScope, ScopeHandle, checkpoint_if_cancelled};

/// Runs `producer` beside `consumer`, which receives what it sends; the result is the consumer's.
///
/// This is what generators are for in other languages, for a producer that needs scopes and
/// nurseries of its own. It is a task of its own, so these do not cover the consumer. It goes on
/// only while the consumer waits for an item: it does nothing before the first is asked for, and
/// after it has sent one, it waits in [`Producer::send`] until the next is asked for.
///
/// When the consumer is done, or has closed the [`Receiver`], the producer is cancelled, and waited
/// for.
///
/// ```
/// use tractor_runtime::{run, sync::with_producer};
///
/// run(async || {
///     let sum = with_producer(
///         async |out| {
///             for item in 1.. {
///                 out.send(item).await?;
///             }
///             Ok(())
///         },
///         async |items| {
///             let mut sum = 0;
///             while sum < 10 {
///                 sum += items.recv().await?;
///             }
///             Ok(sum)
///         },
///     )
///     .await?;
///     assert_eq!(sum, 10);
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// # Errors
///
/// Those of both, as in a [`nursery`]: an error of the producer cancels the consumer.
pub async fn with_producer<T, R>(
    producer: impl AsyncFnOnce(&Producer<T>) -> Result<()>,
    consumer: impl AsyncFnOnce(&Receiver<T>) -> Result<R>,
) -> Result<R> {
    let (sender, items) = channel(0);
    nursery(async |n| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let out = Producer {
            sender,
            scope: handle.clone(),
        };
        n.start_soon(scope.run(async move {
            out.wanted().await?;
            producer(&out).await
        }));
        let result = consumer(&items).await;
        handle.cancel();
        result
    })
    .await
}

/// Where the producer of [`with_producer`] sends its items.
pub struct Producer<T> {
    sender: Sender<T>,
    scope: ScopeHandle,
}

impl<T> Producer<T> {
    /// Sends an item to the consumer, and waits until it wants another. A checkpoint.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) when the consumer wants no more, or the scope is cancelled.
    /// An item that nobody received is dropped then.
    pub async fn send(&self, item: T) -> Result<()> {
        if let Err(error) = self.sender.send(item).await {
            self.stop_if_closed().await?;
            return Err(error.into());
        }
        self.wanted().await
    }

    async fn wanted(&self) -> Result<()> {
        self.sender.wanted().await?;
        self.stop_if_closed().await
    }

    /// Nobody receives any more: that ends the producer as a cancellation.
    async fn stop_if_closed(&self) -> Result<()> {
        if self.sender.is_closed() {
            self.scope.cancel();
            checkpoint_if_cancelled().await?;
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Producer").field(&self.sender).finish()
    }
}
