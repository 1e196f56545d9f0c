//! Calls of plain functions in another process.

mod common;

use common::tree;
use tractor::runtime::nursery;
use tractor::{Result, SpawnOptions, endpoint};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

#[test]
fn a_call_gives_its_result() {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("doubler", options.enable(double)).await?;
            assert_eq!(portal.run(double, 21).await?, 42);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn many_tasks_share_a_portal() {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an.start_actor("doubler", options.enable(double)).await?;
            nursery(async |n| {
                for x in 0..100 {
                    let portal = &portal;
                    n.start_soon(async move {
                        assert_eq!(portal.run(double, x).await?, 2 * x);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}
