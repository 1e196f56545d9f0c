//! The actor at the other end, and how it is asked.

use std::cell::Cell;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tractor::runtime::time::sleep_forever;
use tractor::{Context, Dialog, Portal, Result, SpawnOptions, endpoint};

use crate::memory;

/// Starts an actor with everything below, and runs `body` with it.
pub(super) fn with_actor(body: impl AsyncFnOnce(&Portal) -> Result<()>) {
    tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new().enable_module(module_path!());
            let portal = an.start_actor("peer", options).await?;
            body(&portal).await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .expect("the measurement does not fail");
}

/// The clock that all processes of a machine share, in nanoseconds.
pub(super) fn shared_clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Bytes that a codec takes as such.
#[derive(Clone, Debug)]
pub(super) struct Payload(Vec<u8>);

impl Payload {
    pub(super) fn new(size: usize) -> Self {
        Self(vec![7; size])
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec()))
    }
}

pub(super) async fn nothing(payload: Payload) -> Result<Payload> {
    Ok(payload)
}
endpoint!(nothing);

pub(super) async fn fails((): ()) -> Result<()> {
    Err(tractor::Error::msg("as asked"))
}
endpoint!(fails);

/// Items both ways.
pub(super) struct Talk;
impl Dialog for Talk {
    type Started = ();
    type ToChild = Payload;
    type ToParent = Payload;
}

/// Begins and ends.
pub(super) async fn begins(ctx: &mut Context<Talk>, (): ()) -> Result<u32> {
    ctx.started(()).await?;
    Ok(1)
}
endpoint!(begins);

/// Sends back what comes.
pub(super) async fn echoes(ctx: &mut Context<Talk>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
    }
    Ok(())
}
endpoint!(echoes);

/// Sends so many items of a size.
pub(super) async fn pours(ctx: &mut Context<Talk>, (count, size): (u64, usize)) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    let item = Payload::new(size);
    for _ in 0..count {
        stream.send(&item).await?;
    }
    stream.close();
    Ok(())
}
endpoint!(pours);

thread_local! {
    static CANCELLED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Waits until it is cancelled, and notes when that was.
pub(super) async fn waits(ctx: &mut Context<Talk>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let cancelled = sleep_forever().await;
    let (count, _) = CANCELLED.get();
    CANCELLED.set((count + 1, shared_clock()));
    Ok(cancelled?)
}
endpoint!(waits);

/// How many were cancelled since this was last asked, and when the last of them.
pub(super) async fn last_cancelled((): ()) -> Result<(u64, u64)> {
    Ok(CANCELLED.replace((0, 0)))
}
endpoint!(last_cancelled);

/// The memory of the actor's thread.
pub(super) async fn live_bytes((): ()) -> Result<i64> {
    Ok(memory::live_bytes() as i64)
}
endpoint!(live_bytes);
