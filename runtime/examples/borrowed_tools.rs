//! A lock of `async-lock` and a channel of `async-channel`, which know nothing of this crate: what
//! waits for them is cancelled by a deadline all the same, and leaves its place in the queue.

use std::time::Duration;

use async_lock::Mutex;
use tractor_runtime::time::sleep;
use tractor_runtime::{Result, move_on_after, nursery, run};

fn main() -> Result<()> {
    let done = run(async || work(Duration::from_millis(20)).await)?;
    println!("{done:?} had the lock");
    Ok(())
}

/// Three workers share a lock. The first one keeps it, the second gives up at a deadline, and the
/// third, which came later, gets it.
pub(crate) async fn work(limit: Duration) -> Result<Vec<&'static str>> {
    let lock = Mutex::new(());
    let (done, finished) = async_channel::unbounded();
    nursery(async |n| {
        let guard = lock.lock().await;
        n.start_soon(async {
            let _guard = guard;
            sleep(3 * limit).await?;
            Ok(done.send("first").await?)
        });
        n.start_soon(async {
            let outcome = move_on_after(limit, async {
                let _guard = lock.lock().await;
                Ok(done.send("second").await?)
            });
            assert!(outcome.await?.timed_out());
            // Nothing is ever sent here.
            let (_keep, silent) = async_channel::bounded::<()>(1);
            let outcome = move_on_after(limit, async { Ok(silent.recv().await?) }).await?;
            assert!(outcome.timed_out());
            Ok(())
        });
        n.start_soon(async {
            let _guard = lock.lock().await;
            Ok(done.send("third").await?)
        });
        Ok(())
    })
    .await?;
    finished.close();
    Ok(std::iter::from_fn(|| finished.try_recv().ok()).collect())
}
