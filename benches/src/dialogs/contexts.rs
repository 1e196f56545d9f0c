use super::Cores;
use super::actors::{Payload, begins, echoes, with_actor};
use super::calls::floor;
use super::floor::{FLOOR, PACKET};
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const TIMES: usize = 50;

/// A context from its opening by way of its first value and its result to the end of its block;
/// and 64 bytes there and back over a stream.
pub(super) fn workloads() -> Vec<Workload> {
    let whole = Cores::BOTH.map(|cores| {
        cores
            .workload("context, opened to left", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| contexts(watch)))
            .side(FLOOR, move |watch| cores.run(|| floor(watch, 1)))
            .target(Target::Times(3.0, FLOOR))
    });
    let streams = Cores::BOTH.map(|cores| {
        cores
            .workload("stream echo, 64 B", Unit::Microseconds)
            .side(US, move |watch| cores.run(|| echo(watch)))
            .side(FLOOR, move |watch| cores.run(|| floor(watch, 1)))
            .target(Target::Times(2.0, FLOOR))
    });
    whole.into_iter().chain(streams).collect()
}

fn contexts(watch: Stopwatch) {
    with_actor(async |portal| {
        while watch.again() {
            let started = watch.start();
            for _ in 0..TIMES {
                let body = async |ctx: &Ctx<u32>, ()| ctx.wait_for_result().await.map(drop);
                portal.open_context(begins, (), body).await?;
            }
            watch.stop(started, TIMES);
        }
        Ok(())
    });
}

type Ctx<R> = tractor::Context<super::actors::Talk, tractor::Caller<R>>;

fn echo(watch: Stopwatch) {
    with_actor(async |portal| {
        let body = async |ctx: &Ctx<()>, ()| {
            let stream = ctx.open_stream()?;
            let item = Payload::new(PACKET);
            while watch.again() {
                let started = watch.start();
                for _ in 0..TIMES {
                    stream.send(&item).await?;
                    stream.receive().await?;
                }
                watch.stop(started, TIMES);
            }
            stream.close();
            Ok(())
        };
        portal.open_context(echoes, (), body).await
    });
}
