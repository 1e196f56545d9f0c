use std::io;
use std::time::Duration;

use tractor_runtime::{Outcome, move_on_after, nursery, time};

use crate::actor::Actor;
use crate::error::Result;
use crate::portal::greet_at;
use crate::transport::Address;
use crate::wire::{Aid, Uid};

/// How often it is tried.
const ATTEMPTS: u32 = 3;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long all of them may take.
const TOTAL: Duration = Duration::from_secs(3);
/// How long is waited after the first attempt; longer after each.
const PAUSE: Duration = Duration::from_millis(50);

/// Who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Registrar,
    /// Somebody who is none, or says nothing.
    Other,
    Nobody,
}

/// Asks at all addresses at once who is there.
pub(super) async fn probe_all(actor: &Actor, addresses: &[Address]) -> Result<Vec<Found>> {
    nursery(async |n| {
        let probes: Vec<_> = addresses
            .iter()
            .map(|address| n.start_soon(probe(actor, address)))
            .collect();
        let mut found = Vec::new();
        for probe in probes {
            found.push(probe.await?);
        }
        Ok(found)
    })
    .await
}

async fn probe(actor: &Actor, address: &Address) -> Result<Found> {
    // Nobody listens there: it stands for a port that is still to be chosen.
    if matches!(address, Address::Tcp(tcp) if tcp.port() == 0) {
        return Ok(Found::Nobody);
    }
    let mut connected = false;
    let attempts = async {
        for attempt in 1..=ATTEMPTS {
            match greet_at(address, prober(), ATTEMPT, actor.limits()).await? {
                Ok((aid, ..)) if aid.is_registrar == Some(true) => return Ok(Found::Registrar),
                Ok(_) => return Ok(Found::Other),
                Err(error) if is_nobody(&error) && !connected => return Ok(Found::Nobody),
                Err(error) => {
                    log::debug!(
                        target: "tractor::actor",
                        "{}: {address} does not say who is there: {error}", actor.uid(),
                    );
                    connected = true;
                }
            }
            time::sleep(PAUSE * attempt).await?;
        }
        Ok(Found::Other)
    };
    Ok(match move_on_after(TOTAL, attempts).await? {
        Outcome::Completed(found) => found,
        Outcome::Cancelled(_) => Found::Other,
    })
}

/// What is said of whoever only asks.
fn prober() -> Aid {
    Aid {
        uid: Uid::fresh("registry-probe"),
        pid: Some(std::process::id().into()),
        is_registrar: None,
        is_probe: true,
        features: None,
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
