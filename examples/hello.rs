//! A clock in a process of its own: one context, one stream, one cancellation.
//!
//!     cargo run --example hello

use std::time::Duration;

use tractor::runtime::time::sleep;
use tractor::{Context, Dialog, Outcome, Result, SpawnOptions};

/// What the two sides say to each other.
struct Ticking;

impl Dialog for Ticking {
    type Started = String;
    type ToChild = ();
    type ToParent = u32;
}

/// Runs in the child. It is a plain function, and ends by being cancelled: `sleep` says so, and
/// `?` hands it on.
async fn tick(ctx: &mut Context<Ticking>, every: Duration) -> Result<()> {
    ctx.started(format!("hello from process {}", std::process::id()))
        .await?;
    let stream = ctx.open_stream()?;
    for count in 1.. {
        stream.send(&count).await?;
        sleep(every).await?;
    }
    Ok(())
}
tractor::endpoint!(tick);

fn main() -> Result<()> {
    tractor::run(async || {
        // Whatever happens in this block: when it is left, the process is gone.
        tractor::nursery(async |an| {
            let clock = an
                .start_actor("clock", SpawnOptions::new().enable(tick))
                .await?;
            // The body below and `tick` over there are one scope: if either fails, so does
            // the other.
            let every = Duration::from_millis(10);
            let outcome = clock
                .open_context(tick, every, async |ctx, greeting| {
                    println!("{greeting}");
                    let stream = ctx.open_stream()?;
                    while let Some(count) = stream.receive().await? {
                        println!("tick {count}");
                        if count == 3 {
                            ctx.cancel().await;
                        }
                    }
                    ctx.wait_for_result().await
                })
                .await?;
            if let Outcome::Cancelled(by) = outcome {
                println!(
                    "cancelled by {}",
                    by.canceller().expect("it says who").name()
                );
            }
            an.cancel();
            Ok(())
        })
        .await
    })
}
