//! A tree of actors beside tokio's own tasks, on a current-thread runtime: as a future in a
//! `LocalSet`, or as a guest whose descriptor tokio watches.
//!
//! ```text
//! cargo run -p host-tokio [guest]    # Ctrl-C cancels
//! ```

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;
use tractor::runtime::{CancelScope, Guest, Outcome, Progress, checkpoint};
use tractor::{Context, Dialog, Result, RunOptions, SpawnOptions, endpoint};

fn main() -> Result<()> {
    // First thing: the worker is this program too.
    tractor::enter_if_actor();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(LocalSet::new().run_until(host()))? {
        Outcome::Completed(()) => println!("done"),
        Outcome::Cancelled(cause) => println!("cancelled: {cause}"),
    }
    Ok(())
}

async fn host() -> Result<Outcome<()>> {
    let (sender, mut receiver) = channel(1);
    let scope = CancelScope::new();
    let stop = scope.handle();
    let main = async move || scope.run(compute(sender)).await;
    let mut tree = match std::env::args().nth(1).as_deref() {
        Some("guest") => spawn_local(take_turns(RunOptions::new().guest(main)?)),
        _ => spawn_local(RunOptions::new().run_in(main)),
    };
    let mut ticks = interval(Duration::from_millis(100));
    let mut interrupts = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            result = &mut tree => return result.expect("the tree does not panic"),
            Some(found) = receiver.recv() => println!("{found} primes so far"),
            _ = ticks.tick() => println!("tick"),
            // Then the tree ends in order.
            Some(()) = interrupts.recv() => stop.cancel(),
        }
    }
}

/// Gives a guest its turns, until it is done.
async fn take_turns<T>(guest: Guest<'_, T>) -> Result<T> {
    // SAFETY: the descriptor is the guest's own, and is there and the same for as long as it is.
    let guest = unsafe { AsyncFd::register_with_interest(guest, Interest::READABLE) };
    let mut guest = guest.map_err(io::Error::from)?;
    loop {
        match guest.get_mut().turn(Duration::from_millis(5)) {
            Progress::Done(result) => return result,
            Progress::More => tokio::task::yield_now().await,
            Progress::Idle => guest.readable().await?.clear_ready(),
        }
    }
}

/// The root of the tree: a worker, and what it tells. Channels of tokio do in there too.
async fn compute(primes_so_far: Sender<u64>) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(primes);
        let worker = an.start_actor("worker", options).await?;
        worker
            .open_context(primes, 1_000_000, async |ctx, ()| {
                let news = ctx.open_stream()?;
                while let Some(found) = news.receive().await? {
                    let _ = primes_so_far.send(found).await;
                }
                Ok(())
            })
            .await?;
        an.cancel();
        Ok(())
    })
    .await
}

struct Primes;
impl Dialog for Primes {
    type Started = ();
    type ToChild = ();
    type ToParent = u64;
}

/// In the worker: counts primes, and says how many there are so far.
async fn primes(ctx: &mut Context<Primes>, below: u64) -> Result<()> {
    ctx.started(()).await?;
    let news = ctx.open_stream()?;
    let mut found = 0;
    for number in 2..below {
        let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
        found += u64::from(divisors.all(|divisor| number % divisor != 0));
        if number % 10_000 == 0 {
            // A cancel comes in here.
            checkpoint().await?;
            news.send(&found).await?;
        }
    }
    Ok(())
}
endpoint!(primes);
