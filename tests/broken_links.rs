//! Connections that break in the middle of a conversation.

mod common;

use common::{Cell, in_every_cell, tree_of};
use tractor::runtime::{check_cancelled, shield, time};
use tractor::{Caller, CancelKind, Context, Dialog, PeerLost, Result, SpawnOptions, endpoint};

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = u32;
    type ToParent = u32;
}

async fn echo(ctx: &mut Context<Numbers>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    while let Some(number) = stream.receive().await? {
        stream.send(&number).await?;
    }
    Ok(time::sleep_forever().await?)
}
endpoint!(echo);

in_every_cell![parent_breaks_its_connection];

type Ctx = Context<Numbers, Caller<()>>;

// test_advanced_faults.py::test_ipc_channel_break_during_stream[break_parent-no_msgstream_aclose]
// test_advanced_faults.py::test_ipc_channel_break_during_stream[break_parent-pre_aclose_msgstream]
fn parent_breaks_its_connection(cell: Cell) {
    for leaves_its_stream in [false, true] {
        for after in [0, 1, 500, 800] {
            let row = format!("after {after}, leaves its stream: {leaves_its_stream}");
            let error = tree_of(cell, async |options: SpawnOptions| {
                tractor::nursery(async |an| {
                    let portal = an.start_actor("actor", options.enable(echo)).await?;
                    let talk = async |ctx: &Ctx, ()| {
                        let stream = ctx.open_stream()?;
                        for number in 0..after {
                            stream.send(&number).await?;
                            assert_eq!(stream.receive().await?, Some(number), "{row}");
                        }
                        if leaves_its_stream {
                            stream.close();
                        }
                        portal.disconnect();
                        let cancelled = time::sleep_forever().await.unwrap_err();
                        assert_eq!(cancelled.cause().kind(), CancelKind::PeerLost, "{row}");
                        assert!(check_cancelled().is_err(), "{row}");
                        let sent = shield(stream.send(&1)).await.unwrap_err();
                        assert!(sent.is::<PeerLost>(), "{row}: {sent:?}");
                        let error = ctx.wait_for_result().await.unwrap_err();
                        assert!(error.is::<PeerLost>(), "{row}: {error:?}");
                        Err::<(), _>(cancelled.into())
                    };
                    let error = portal.open_context(echo, (), talk).await.unwrap_err();
                    assert!(error.is::<PeerLost>(), "{row}: {error:?}");
                    Err::<(), _>(error)
                })
                .await
            })
            .unwrap_err();
            let lost: &PeerLost = error.downcast_ref().expect("it comes out");
            assert_eq!(lost.peer().name(), "actor", "{row}");
        }
    }
}
