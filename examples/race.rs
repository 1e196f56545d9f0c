//! The first of several, and nothing left of the others: the runtime alone, one process, one thread.
//!
//!     cargo run --example race

use std::cell::Cell;
use std::io::{Write, stdout};
use std::time::Duration;

use tractor::runtime::time::{fail_when_stalled, now, sleep};
use tractor::runtime::{
    CancelToken, Error, Result, finally, first_ok, gather_limited, nursery, race, run, wait_any,
};

const TICK: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    run(async || show(&mut stdout()).await)
}

pub(crate) async fn show(out: &mut impl Write) -> Result<()> {
    // Three mirrors are asked; the quickest answer is taken. The others clean up, and are waited for.
    let open = Cell::new(0);
    let answer = race([30, 2, 40].map(|ticks| ask(&open, ticks))).await?;
    writeln!(out, "answer after {answer} ticks, {} left open", open.get())?;

    // A second request is sent only when the first has not answered for a while.
    let hedged = wait_any((ask(&open, 50), async {
        sleep(3 * TICK).await?;
        ask(&open, 2).await
    }))
    .await?;
    writeln!(out, "request {} answered first", hedged.index + 1)?;

    // Those who fail do not decide it. If all do, their errors come out, and none is lost.
    let lucky = first_ok((refuse("one"), ask(&open, 2), refuse("two"))).await?;
    writeln!(out, "answer after {lucky} ticks, in spite of refusals")?;
    let unlucky = first_ok([refuse("one"), refuse("two")]).await;
    writeln!(out, "{}", unlucky.unwrap_err())?;

    // All of many, but only so many at a time.
    let sizes = gather_limited(3, (1..=9).map(|ticks| ask(&open, ticks % 3))).await?;
    writeln!(out, "gathered {sizes:?}")?;

    // One token, many places: work that has no scope in common is cancelled at once.
    let session = CancelToken::new();
    let ended = Cell::new(0);
    nursery(async |n| {
        for ticks in [30, 40, 50] {
            let (session, open, ended) = (&session, &open, &ended);
            n.start_soon(async move {
                let outcome = session.run(ask(open, ticks)).await?;
                ended.set(ended.get() + u32::from(outcome.is_cancelled()));
                Ok(())
            });
        }
        sleep(TICK).await?;
        session.cancel();
        Ok(())
    })
    .await?;
    writeln!(out, "ended with the session: {}", ended.get())?;

    // As long as something moves there is no hurry.
    let begin = now();
    let stalled = fail_when_stalled(4 * TICK, async |progress| {
        for pause in [2, 2, 2, 50] {
            sleep(pause * TICK).await?;
            progress.made();
        }
        Ok(())
    })
    .await;
    let too_slow = stalled.unwrap_err().is_timeout();
    let patient = now() - begin >= 10 * TICK;
    writeln!(
        out,
        "stalled: {too_slow}, but not before it stopped: {patient}"
    )?;
    Ok(())
}

/// Takes so many ticks, over a connection that takes one more to close.
async fn ask(open: &Cell<u32>, ticks: u32) -> Result<u32> {
    open.set(open.get() + 1);
    let answer = async {
        sleep(ticks * TICK).await?;
        Ok(ticks)
    };
    finally(answer, 50 * TICK, async || {
        if sleep(TICK).await.is_ok() {
            open.set(open.get() - 1);
        }
    })
    .await
}

async fn refuse(who: &str) -> Result<u32> {
    sleep(TICK).await?;
    Err(Error::msg(format!("{who} is closed")))
}
