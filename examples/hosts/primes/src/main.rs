//! A worker for hosts in other languages: finds prime numbers, for as long as it is wanted.
//!
//! `primes:find`, with the argument `from`, starts with that number, sends each prime from there on,
//! and answers what is sent to it by going on from there.

use serde::Deserialize;
use tractor::runtime::checkpoint;
use tractor::{Context, Dialog, Result, endpoint, run};

struct Primes;
impl Dialog for Primes {
    type Started = u64;
    type ToChild = u64;
    type ToParent = u64;
}

#[derive(Deserialize)]
struct Range {
    from: u64,
}

async fn find(ctx: &mut Context<Primes>, Range { from }: Range) -> Result<u64> {
    ctx.started(from).await?;
    let stream = ctx.open_stream()?;
    let mut next = from;
    loop {
        // Work that waits for nothing, and is cancelled here all the same.
        checkpoint().await?;
        if let Some(jump) = stream.try_receive() {
            match jump? {
                Some(to) => next = to,
                None => return Ok(next),
            }
        }
        if is_prime(next) {
            stream.send(&next).await?;
        }
        next += 1;
    }
}
endpoint!(find as "primes:find");

fn is_prime(n: u64) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn main() -> Result<()> {
    // It is an actor when a host starts it. By hand there is nothing for it to do.
    run(async || {
        eprintln!("primes: a worker, to be started by a host");
        Ok(())
    })
}
