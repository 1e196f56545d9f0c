use futures_util::future::join_all;
use tractor::runtime::sync::channel;
use tractor::runtime::time::sleep_forever;
use tractor::{Caller, Context, Portal, Result};

use super::Cores;
use super::actors::{Talk, last_cancelled, shared_clock, waits, with_actor};
use super::calls::floor;
use super::floor::FLOOR;
use super::rpc::{PeerClient, TARPC, patient, with_client};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const MANY: usize = 100;

/// From a cancel on this side to the moment at which the other side's task has been told, by the
/// clock of the machine, and to the answer; of one context, and of a hundred on one connection.
/// tarpc drops the request and then the handler, and gives no answer.
pub(super) fn workloads() -> Vec<Workload> {
    let told = Cores::BOTH.map(|cores| {
        cores
            .workload("cancel, to the other task", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| ours(watch, 1, Until::Told)))
            .side(TARPC, move |watch| cores.run(|| tarpc(watch, 1)))
            .target(Target::Times(1.0, TARPC))
    });
    let answered = Cores::BOTH.map(|cores| {
        cores
            .workload("cancel, to the answer", Unit::Microseconds)
            .side(US, move |watch| {
                cores.run(|| ours(watch, 1, Until::Answered))
            })
            .side(FLOOR, move |watch| cores.run(|| floor(watch, 1)))
            .target(Target::Times(2.0, FLOOR))
    });
    let all_told = Cores::BOTH.map(|cores| {
        cores
            .workload(
                "100 contexts cancelled, to the last told",
                Unit::Microseconds,
            )
            .side(US, move |watch| {
                cores.run(|| ours(watch, MANY, Until::Told))
            })
            .side(TARPC, move |watch| cores.run(|| tarpc(watch, MANY)))
            .target(Target::Times(1.0, TARPC))
    });
    let all_answered = Cores::BOTH.map(|cores| {
        cores
            .workload("100 contexts cancelled, to all answers", Unit::Microseconds)
            .side(US, move |watch| {
                cores.run(|| ours(watch, MANY, Until::Answered))
            })
            .side(TARPC, move |watch| cores.run(|| tarpc(watch, MANY)))
            .target(Target::Times(2.0, TARPC))
    });
    [told, answered, all_told, all_answered]
        .into_iter()
        .flatten()
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Told,
    Answered,
}

fn ours(watch: Stopwatch, count: usize, until: Until) {
    with_actor(async |portal| {
        while watch.again() {
            let (began, over) = cancel(portal, count).await?;
            let (cancelled, last) = portal.run(last_cancelled, ()).await?;
            assert_eq!(cancelled, count as u64);
            let end = if until == Until::Told { last } else { over };
            watch.record((end - began) as f64);
        }
        Ok(())
    });
}

/// Opens so many contexts and cancels the scope around them: when that was, and when all had
/// ended.
async fn cancel(portal: &Portal, count: usize) -> Result<(u64, u64)> {
    let (started, starts) = channel(count);
    let mut began = 0;
    tractor::runtime::nursery(async |n| {
        for _ in 0..count {
            let started = started.clone();
            n.start_soon::<()>(async move {
                let body = async |_: &Context<Talk, Caller<()>>, ()| {
                    started.send(()).await?;
                    Ok(sleep_forever().await?)
                };
                portal.open_context(waits, (), body).await
            });
        }
        for _ in 0..count {
            starts.recv().await?;
        }
        began = shared_clock();
        n.cancel();
        Ok(())
    })
    .await?;
    Ok((began, shared_clock()))
}

fn tarpc(watch: Stopwatch, count: usize) {
    with_client(async move |client| {
        while watch.again() {
            let waiting = async {
                let calls = (0..count).map(|_| client.waits(patient()));
                let _ = join_all(calls).await;
            };
            // Polled once, they are under way; the answer to another call says that they arrived.
            let mut waiting = Box::pin(waiting);
            let _ = futures_lite::future::poll_once(&mut waiting).await;
            arrived(&client).await;
            let began = shared_clock();
            drop(waiting);
            let last = loop {
                let (dropped, last) = client
                    .last_cancelled(patient())
                    .await
                    .expect("the server answers");
                if dropped > 0 {
                    assert_eq!(dropped, count as u64, "all in one go");
                    break last;
                }
            };
            watch.record((last - began) as f64);
        }
    });
}

async fn arrived(client: &PeerClient) {
    for _ in 0..2 {
        let answer = client.nothing(patient(), Default::default()).await;
        answer.expect("the server answers");
    }
}
