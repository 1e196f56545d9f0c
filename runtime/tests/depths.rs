//! Trees that are deep or wide. Polling and dropping nested futures recurses, as in all of Rust, so the
//! deep ones run on a thread with 64 MiB of stack.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use common::{guarded_with_stack, trial};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{sleep, sleep_forever};
use tractor_runtime::{CancelScope, Outcome, Result, checkpoint, nursery, run};

const STACK: usize = 64 << 20;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

fn scopes(depth: u32) -> Boxed<'static, u32> {
    Box::pin(async move {
        if depth == 0 {
            checkpoint().await?;
            sleep_forever().await?;
            return Ok(0);
        }
        match CancelScope::new().run(scopes(depth - 1)).await? {
            Outcome::Completed(below) => Ok(below + 1),
            Outcome::Cancelled(_) => Ok(0),
        }
    })
}

#[test]
fn five_thousand_nested_scopes() {
    guarded_with_stack(STACK, || {
        run(async || {
            let outermost = CancelScope::new();
            let handle = outermost.handle();
            nursery(async |n| {
                let child = n.start_soon(outermost.run(scopes(5_000)));
                wait_all_tasks_blocked().await?;
                handle.cancel();
                assert!(child.await?.is_cancelled());
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}

#[test]
fn five_thousand_nested_scopes_dropped() {
    guarded_with_stack(STACK, || {
        run(async || {
            let mut running = scopes(5_000);
            futures::future::select(&mut running, std::pin::pin!(checkpoint())).await;
            drop(running);
            Ok(checkpoint().await?)
        })
        .unwrap();
    });
}

fn nurseries<'a>(depth: u32, leaves: &'a Cell<u32>) -> Boxed<'a, ()> {
    Box::pin(async move {
        if depth == 0 {
            let result = sleep_forever().await;
            leaves.set(leaves.get() + 1);
            return Ok(result?);
        }
        nursery(async |n| {
            n.start_soon(nurseries(depth - 1, leaves));
            Ok(())
        })
        .await
    })
}

#[test]
fn chain_of_a_thousand_nurseries() {
    guarded_with_stack(STACK, || {
        run(async || {
            let leaves = Cell::new(0);
            nursery(async |n| {
                n.start_soon(nurseries(1_000, &leaves));
                wait_all_tasks_blocked().await?;
                assert_eq!(leaves.get(), 0);
                n.cancel();
                Ok(())
            })
            .await?;
            assert_eq!(leaves.get(), 1);
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn chain_of_a_thousand_nurseries_dropped() {
    guarded_with_stack(STACK, || {
        run(async || {
            let leaves = Cell::new(0);
            let mut running = nurseries(1_000, &leaves);
            for _ in 0..3 {
                futures::future::select(&mut running, std::pin::pin!(checkpoint())).await;
            }
            drop(running);
            assert_eq!(leaves.get(), 0);
            Ok(checkpoint().await?)
        })
        .unwrap();
    });
}

#[test]
fn hundred_thousand_children_of_one_nursery() {
    trial(async || {
        const CHILDREN: u32 = 100_000;
        let ended = Cell::new(0);
        nursery(async |n| {
            for i in 0..CHILDREN {
                let ended = &ended;
                n.start_soon(async move {
                    let told = if i % 2 == 0 {
                        sleep(Duration::from_millis(u64::from(i % 100))).await
                    } else {
                        sleep_forever().await
                    };
                    ended.set(ended.get() + 1);
                    Ok(told?)
                });
            }
            sleep(Duration::from_secs(1)).await?;
            assert_eq!(ended.get(), CHILDREN / 2);
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(ended.get(), CHILDREN);
        Ok(())
    });
}

#[test]
fn hundred_thousand_errors_in_one_nursery() {
    trial(async || {
        let error = nursery(async |n| {
            for _ in 0..100_000 {
                n.start_soon(async { Err::<(), _>(common::Boom("V").into()) });
            }
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(error.leaves().count(), 100_000);
        Ok(())
    });
}

#[test]
fn hundred_thousand_tasks_wait_for_one_child() {
    trial(async || {
        let got = Cell::new(0);
        nursery(async |n| {
            let child = n
                .start_soon(async {
                    wait_all_tasks_blocked().await?;
                    Ok(1)
                })
                .shared();
            for _ in 0..100_000 {
                let child = child.clone();
                let got = &got;
                n.start_soon(async move {
                    let one = child.await?;
                    got.set(got.get() + one);
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(got.get(), 100_000);
        Ok(())
    });
}
