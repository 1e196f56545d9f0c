use tractor::runtime::sync::channel;
use tractor::runtime::time::sleep_forever;
use tractor::{Caller, Context};

use super::actors::{Talk, live_bytes, waits, with_actor};
use crate::memory;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const CONTEXTS: usize = 1000;

/// What a context costs while nothing happens in it: the memory of the thread on either side.
pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new("idle context, this side", Unit::Bytes)
            .side(US, |watch| idle(watch, true))
            .target(Target::AtMost(2048.0)),
        Workload::new("idle context, the other side", Unit::Bytes)
            .side(US, |watch| idle(watch, false))
            .target(Target::AtMost(2048.0)),
    ]
}

fn idle(watch: Stopwatch, this_side: bool) {
    with_actor(async |portal| {
        while watch.again() {
            let before = (
                memory::live_bytes() as i64,
                portal.run(live_bytes, ()).await?,
            );
            let (started, starts) = channel(1);
            tractor::runtime::nursery(async |n| {
                for _ in 0..CONTEXTS {
                    let started = started.clone();
                    n.start_soon::<()>(async move {
                        let body = async |_: &Context<Talk, Caller<()>>, ()| {
                            started.send(()).await?;
                            Ok(sleep_forever().await?)
                        };
                        portal.open_context(waits, (), body).await
                    });
                }
                for _ in 0..CONTEXTS {
                    starts.recv().await?;
                }
                let after = (
                    memory::live_bytes() as i64,
                    portal.run(live_bytes, ()).await?,
                );
                let bytes = match this_side {
                    true => after.0 - before.0,
                    false => after.1 - before.1,
                };
                watch.record(bytes as f64 / CONTEXTS as f64);
                n.cancel();
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}
