//! Items of a channel under cancellation, at every moment that a seed can bring about.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tractor_runtime::sync::{RecvError, channel};
use tractor_runtime::time::sleep;
use tractor_runtime::*;

/// Receivers and senders are cancelled one by one while items flow; each item that a send took is
/// received once or still in the channel, and each that it gave back is not.
#[test]
fn items_sent_are_items_received_left_or_given_back() {
    for seed in 0..400 {
        for capacity in [0, 1, 3] {
            one_round(seed, capacity);
        }
    }
}

fn one_round(seed: u64, capacity: usize) {
    const SENDERS: u32 = 3;
    const EACH: u32 = 6;
    let received = RefCell::new(Vec::new());
    let given_back = RefCell::new(Vec::new());
    let sent = Cell::new(0);
    let left = testing::run_seeded(seed, async || {
        let (sender, receiver) = channel(capacity);
        nursery(async |n| {
            let mut victims = Vec::new();
            for s in 0..SENDERS {
                let (sender, given_back, sent) = (sender.clone(), &given_back, &sent);
                victims.push(n.start_soon(async move {
                    for i in 0..EACH {
                        let item = s * EACH + i;
                        match sender.send(item).await {
                            Ok(()) => sent.set(sent.get() + 1),
                            Err(error) => {
                                assert!(error.is_cancelled(), "{error:?}");
                                given_back.borrow_mut().push(error.into_inner());
                                return Ok(());
                            }
                        }
                    }
                    Ok(())
                }));
            }
            for _ in 0..4 {
                let (receiver, received) = (receiver.clone(), &received);
                victims.push(n.start_soon(async move {
                    loop {
                        match receiver.recv().await {
                            Ok(item) => received.borrow_mut().push(item),
                            Err(RecvError::Closed) => return Ok(()),
                            Err(error) => return Err(error.into()),
                        }
                    }
                }));
            }
            // One receiver is dropped at an await instead, as a foreign combinator would.
            let (other, received) = (receiver.clone(), &received);
            n.start_soon(async move {
                loop {
                    let tick = sleep(Duration::from_millis(seed % 3));
                    match futures::future::select(other.recv(), tick).await {
                        futures::future::Either::Left((Ok(item), _)) => {
                            received.borrow_mut().push(item);
                        }
                        futures::future::Either::Left((Err(RecvError::Closed), _)) => return Ok(()),
                        futures::future::Either::Left((Err(error), _)) => return Err(error.into()),
                        futures::future::Either::Right((tick, _)) => tick?,
                    }
                }
            });
            drop(sender);
            for (i, victim) in victims.iter().enumerate() {
                for _ in 0..(seed as usize + i) % 4 {
                    checkpoint().await?;
                }
                victim.cancel();
            }
            sleep(Duration::from_secs(1)).await?;
            n.cancel();
            Ok(())
        })
        .await?;
        let mut left = Vec::new();
        while let Ok(item) = receiver.try_recv() {
            left.push(item);
        }
        Ok(left)
    })
    .unwrap();
    let mut all = received.take();
    all.extend(left);
    assert_eq!(all.len(), sent.get(), "seed {seed}, capacity {capacity}");
    all.extend(given_back.take());
    all.sort_unstable();
    let before = all.len();
    all.dedup();
    assert_eq!(all.len(), before, "seed {seed}: an item came twice");
}
