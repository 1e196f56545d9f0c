use std::fmt;

use tractor_runtime::{Result, nursery};

use super::hold::{Hold, NeverHeld, Place};

/// Enters many blocks at once, runs `body` with what all of them hold, in their order, and then
/// leaves them at once.
///
/// ```no_run
/// # struct Ticks;
/// # impl tractor::Dialog for Ticks { type Started = (); type ToChild = u32; type ToParent = u32; }
/// # async fn ticks(ctx: &mut tractor::Context<Ticks>, (): ()) -> tractor::Result<()> { Ok(()) }
/// # async fn all(portals: Vec<tractor::Portal>) -> tractor::Result<()> {
/// use tractor::trionics::gather_contexts;
///
/// let streams = portals.iter().map(|portal| async move |hold: tractor::trionics::Hold<_>| {
///     let body = async |ctx: &tractor::Context<Ticks, tractor::Caller<()>>, ()| hold.hold(ctx.open_stream()?).await;
///     portal.open_context(ticks, (), body).await
/// });
/// gather_contexts(streams, async |streams| {
///     for stream in &streams {
///         stream.send(&1).await?;
///     }
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// The blocks are one nursery with the body: if one of them fails all others and the body are
/// cancelled, and the body's failure cancels them.
///
/// # Errors
///
/// [`NoContexts`] if there is none; [`NeverHeld`] if a block ends without a value; and those of the
/// blocks and of the body, several as a group.
pub async fn gather_contexts<C, V, T>(
    contexts: impl IntoIterator<Item = C>,
    body: impl AsyncFnOnce(Vec<V>) -> Result<T>,
) -> Result<T>
where
    C: AsyncFnOnce(Hold<V>) -> Result<()>,
{
    let contexts: Vec<C> = contexts.into_iter().collect();
    if contexts.is_empty() {
        return Err(NoContexts.into());
    }
    nursery(async |n| {
        let places: Vec<_> = contexts.iter().map(|_| Place::new()).collect();
        for (context, place) in contexts.into_iter().zip(&places) {
            let place = place.clone();
            n.start_soon(async move {
                context(place.hold()).await?;
                match place.held.is_set() {
                    true => Ok(()),
                    false => Err(NeverHeld.into()),
                }
            });
        }
        for place in &places {
            place.held.wait().await?;
        }
        let values = places.iter().filter_map(|place| place.take()).collect();
        let value = body(values).await?;
        for place in &places {
            place.release.set();
        }
        Ok(value)
    })
    .await
}

/// There was nothing to gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoContexts;

impl fmt::Display for NoContexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "there are no contexts to gather: the sequence is empty (or was used up before)",
        )
    }
}

impl std::error::Error for NoContexts {}
