use std::cell::RefCell;
use std::future::Future;

use crate::error::Result;
use crate::nursery::nursery;
use crate::sync::Semaphore;

/// Runs all, each as a task, and gives their values in the order of the futures.
///
/// ```
/// use tractor_runtime::{gather, run};
///
/// run(async || {
///     let squares = gather((1..=3).map(|n| async move { Ok(n * n) })).await?;
///     assert_eq!(squares, [1, 4, 9]);
///     Ok(())
/// })
/// # .unwrap();
/// ```
///
/// # Errors
///
/// As in a [`nursery`]: when one fails, the others are cancelled and waited for, and the errors
/// come out.
pub async fn gather<T, F: Future<Output = Result<T>>>(
    futures: impl IntoIterator<Item = F>,
) -> Result<Vec<T>> {
    let values = Values::default();
    nursery(async |n| {
        for future in futures {
            let (index, values) = (values.reserve(), &values);
            n.start_soon(async move {
                values.set(index, future.await?);
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    Ok(values.take())
}

/// [`gather`] of at most `limit` at a time. The next future is not even made before one of those
/// that run has ended, so the iterator may be long.
///
/// # Errors
///
/// As [`gather`].
///
/// # Panics
///
/// If `limit` is 0.
pub async fn gather_limited<T, F: Future<Output = Result<T>>>(
    limit: usize,
    futures: impl IntoIterator<Item = F>,
) -> Result<Vec<T>> {
    assert!(limit > 0, "with a limit of 0 nothing could ever run");
    let (values, running) = (Values::default(), Semaphore::new(limit));
    nursery(async |n| {
        let mut futures = futures.into_iter();
        loop {
            let permit = running.acquire().await?;
            let Some(future) = futures.next() else {
                return Ok(());
            };
            let (index, values) = (values.reserve(), &values);
            n.start_soon(async move {
                values.set(index, future.await?);
                drop(permit);
                Ok(())
            });
        }
    })
    .await?;
    Ok(values.take())
}

/// Runs all to their end, each as a task, and gives what each came out with, in the order of the
/// futures. Failures cancel nobody.
///
/// # Errors
///
/// A cancellation of the scope around, which cancels all.
pub async fn join_all<T, F: Future<Output = Result<T>>>(
    futures: impl IntoIterator<Item = F>,
) -> Result<Vec<Result<T>>> {
    gather(futures.into_iter().map(|future| async move {
        match future.await {
            // Not its own: that of whoever cancelled it from outside.
            Err(error) if error.contains_cancelled() => Err(error),
            result => Ok(result),
        }
    }))
    .await
}

/// Values that come in any order.
struct Values<T>(RefCell<Vec<Option<T>>>);

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Values<T> {
    fn reserve(&self) -> usize {
        let mut values = self.0.borrow_mut();
        values.push(None);
        values.len() - 1
    }

    fn set(&self, index: usize, value: T) {
        self.0.borrow_mut()[index] = Some(value);
    }

    fn take(self) -> Vec<T> {
        let values = self.0.into_inner().into_iter();
        values
            .map(|value| value.expect("a nursery without an error ran all children to their end"))
            .collect()
    }
}
