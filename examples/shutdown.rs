//! An orderly end: asked to stop, a server takes no more requests and finishes those it has; what
//! is not done when the grace is over is cancelled.
//!
//!     cargo run --example shutdown

use std::io::{Write, stdout};
use std::time::Duration;

use tractor::runtime::sync::{Receiver, channel};
use tractor::runtime::time::{now, sleep};
use tractor::runtime::{
    CancelScope, Outcome, Result, finally, nursery, run, shield_for, stopping, until_stopping,
};

const TICK: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(200);

fn main() -> Result<()> {
    run(async || show(&mut stdout()).await)
}

pub(crate) async fn show(out: &mut impl Write) -> Result<()> {
    // Everything is done well before the grace is over.
    let (served, took) = serve_for_a_while(&[2, 4]).await?;
    writeln!(out, "{served} requests were finished: {}", took < GRACE)?;

    // One request takes for ever, and is cut short when the grace is over; not before, and no
    // later.
    let (served, took) = serve_for_a_while(&[2, 1_000_000]).await?;
    writeln!(out, "{served} request was finished: {}", took >= GRACE)?;
    Ok(())
}

/// Serves requests that take so many ticks, and is asked to stop after one tick. How many were
/// finished, and how long it took from then on.
async fn serve_for_a_while(requests: &[u32]) -> Result<(u32, Duration)> {
    let (sender, receiver) = channel(8);
    for &ticks in requests {
        sender.try_send(ticks)?;
    }
    let scope = CancelScope::new();
    let stop = scope.handle();
    let finished = std::cell::Cell::new(0);
    let asked = std::cell::Cell::new(now());
    nursery(async |n| {
        // What asks for the end: a signal, say.
        n.child().name("operator").start_soon(async {
            sleep(TICK).await?;
            asked.set(now());
            stop.stop(GRACE);
            // Too late: nobody takes this one any more.
            sleep(TICK).await?;
            sender.try_send(1).ok();
            Ok(())
        });
        let outcome = scope.run(serve(&receiver, &finished)).await?;
        if let Outcome::Cancelled(cause) = outcome {
            assert_eq!(cause.location().file(), file!());
        }
        Ok(())
    })
    .await?;
    Ok((finished.get(), now() - asked.get()))
}

async fn serve(requests: &Receiver<u32>, finished: &std::cell::Cell<u32>) -> Result<()> {
    nursery(async |n| {
        // Ends with the requests, after them: what it has to say comes last.
        n.child().name("statistics").service().start_soon(async {
            stopping().await?;
            Ok(())
        });
        while let Some(request) = until_stopping(requests.recv()).await {
            let ticks = request?;
            n.start_soon(finally(
                async move {
                    sleep(ticks * TICK).await?;
                    finished.set(finished.get() + 1);
                    Ok(())
                },
                TICK,
                async || {
                    // Also when it was cut short.
                    shield_for(TICK, sleep(TICK / 20)).await.ok();
                },
            ));
        }
        Ok(())
    })
    .await
}
