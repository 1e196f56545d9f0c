//! Timeouts that compose: the runtime alone, one process, one thread.
//!
//!     cargo run --example timeouts

use std::future::pending;
use std::io::{Write, stdout};
use std::time::Duration;

use tractor::runtime::time::{now, sleep};
use tractor::runtime::{
    EffectiveDeadline, Result, current_effective_deadline, fail_after, finally, move_on_after,
    nursery, run,
};

const TICK: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    run(async || show(&mut stdout()).await)
}

pub(crate) async fn show(out: &mut impl Write) -> Result<()> {
    // A scope bounds everything inside, children too, and also a future of some other library that
    // never heard of scopes. When it returns, nothing of that is left.
    let outcome = move_on_after(
        2 * TICK,
        nursery(async |n| {
            n.start_soon(async { Ok(sleep(100 * TICK).await?) });
            n.start_soon(pending::<Result<()>>());
            Ok(())
        }),
    )
    .await?;
    writeln!(out, "moved on: {}", outcome.timed_out())?;

    // The same with an error.
    let error = fail_after(TICK, query(100)).await.unwrap_err();
    writeln!(out, "failed: {}", error.is_timeout())?;

    // Whoever is inside can ask how long there is, and pass that on to a server.
    fail_after(10 * TICK, async {
        if let EffectiveDeadline::At(deadline) = current_effective_deadline() {
            writeln!(out, "in time: {}", deadline - now() > 5 * TICK)?;
        }
        Ok(())
    })
    .await?;

    // A fresh scope for each attempt, and one around them all.
    let answer = fail_after(100 * TICK, async {
        for ticks in [8, 4, 1] {
            match move_on_after(2 * TICK, query(ticks)).await?.completed() {
                Some(answer) => return Ok(answer),
                None => writeln!(out, "attempt of {ticks} ticks given up")?,
            }
        }
        query(0).await
    })
    .await?;
    writeln!(out, "answer after {answer} ticks")?;

    // Cleanup that waits: it runs in any case, hidden from the cancellation, but not for ever.
    let mut cleaned = false;
    move_on_after(
        TICK,
        finally(pending::<Result<()>>(), 50 * TICK, async || {
            cleaned = sleep(TICK).await.is_ok();
        }),
    )
    .await?;
    writeln!(out, "cleaned up: {cleaned}")?;
    Ok(())
}

/// Takes so many ticks.
async fn query(ticks: u32) -> Result<u32> {
    sleep(ticks * TICK).await?;
    Ok(ticks)
}
