//! Events and channels: what is there wins, and nothing is lost.

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::{Log, trial};
use tractor_runtime::sync::{Event, RecvError, channel};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::sleep;
use tractor_runtime::{CancelScope, checkpoint, move_on_after, nursery};

// extra::event_set_wins_over_cancel
#[test]
fn event_that_was_set_wins_over_a_cancel() {
    trial(async || {
        let event = Event::new();
        nursery(async |n| {
            let child = n.start_soon(async {
                event.wait().await.expect("the event was set first");
                checkpoint().await.expect_err("the cancel is told next");
                Ok("both")
            });
            wait_all_tasks_blocked().await?;
            event.set();
            child.cancel();
            assert_eq!(child.await?, "both");
            Ok(())
        })
        .await
    });
}

// extra::cancel_wins_over_later_event
#[test]
fn cancel_wins_over_an_event_set_after_it() {
    trial(async || {
        let event = Event::new();
        nursery(async |n| {
            let child = n.start_soon(async { Ok(event.wait().await?) });
            wait_all_tasks_blocked().await?;
            child.cancel();
            event.set();
            assert!(child.await.is_err() || event.is_set());
            assert!(event.is_set());
            Ok(())
        })
        .await
    });
}

// extra::item_delivered_then_cancel
#[test]
fn item_that_was_delivered_wins_over_a_cancel() {
    for capacity in [0, 1] {
        trial(async move || {
            let (sender, receiver) = channel(capacity);
            nursery(async |n| {
                let child = n.start_soon(async { Ok(receiver.recv().await?) });
                wait_all_tasks_blocked().await?;
                sender.try_send(5)?;
                child.cancel();
                match child.await {
                    Ok(item) => assert_eq!(item, 5),
                    Err(_) => assert_eq!(receiver.try_recv()?, 5),
                }
                Ok(())
            })
            .await
        });
    }
}

// extra::cancel_then_send
#[test]
fn receiver_that_was_cancelled_takes_nothing() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            let child = n.start_soon(async { Ok(receiver.recv().await?) });
            wait_all_tasks_blocked().await?;
            child.cancel_and_wait().await?;
            let refused = sender.try_send(5).unwrap_err();
            assert_eq!(refused.into_inner(), 5);
            Ok(())
        })
        .await
    });
}

#[test]
fn no_item_is_lost_when_receivers_are_cancelled() {
    trial(async || {
        const ITEMS: u32 = 200;
        for capacity in [0, 1, 3] {
            let (sender, receiver) = channel(capacity);
            let (sent_back, received) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            nursery(async |n| {
                let producer = n.start_soon(async {
                    for item in 0..ITEMS {
                        let limit = Duration::from_millis(u64::from(item % 3));
                        let outcome = move_on_after(limit, async {
                            if let Err(refused) = sender.send(item).await {
                                assert!(refused.is_cancelled());
                                sent_back.borrow_mut().push(refused.into_inner());
                                return Ok(checkpoint().await?);
                            }
                            Ok(())
                        });
                        outcome.await?;
                    }
                    drop(sender);
                    Ok(())
                });
                for pace in 1..4 {
                    let (receiver, received) = (receiver.clone(), &received);
                    n.start_soon(async move {
                        let closed = Cell::new(false);
                        while !closed.get() {
                            let limit = Duration::from_millis(pace);
                            move_on_after(limit, async {
                                match receiver.recv().await {
                                    Ok(item) => received.borrow_mut().push(item),
                                    Err(error) => closed.set(matches!(error, RecvError::Closed)),
                                }
                                Ok(checkpoint().await?)
                            })
                            .await?;
                            sleep(limit).await?;
                        }
                        Ok(())
                    });
                }
                producer.await
            })
            .await?;
            while let Ok(item) = receiver.try_recv() {
                received.borrow_mut().push(item);
            }
            let mut all = received.into_inner();
            all.extend(sent_back.take());
            all.sort_unstable();
            assert_eq!(all, (0..ITEMS).collect::<Vec<_>>(), "capacity {capacity}");
        }
        Ok(())
    });
}

#[test]
fn items_come_out_in_order() {
    trial(async || {
        let (sender, receiver) = channel(2);
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async move {
                for item in 0..10 {
                    sender.send(item).await?;
                }
                Ok(())
            });
            while let Ok(item) = receiver.recv().await {
                log.note(item.to_string());
            }
            Ok(())
        })
        .await?;
        assert_eq!(
            log.seen(),
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        Ok(())
    });
}

#[test]
fn sender_learns_that_all_receivers_are_gone() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            let child = n.start_soon(async {
                let refused = sender.send("late").await.unwrap_err();
                assert!(!refused.is_cancelled());
                Ok(refused.into_inner())
            });
            wait_all_tasks_blocked().await?;
            drop(receiver);
            assert_eq!(child.await?, "late");
            Ok(())
        })
        .await
    });
}

#[test]
fn operations_under_a_cancelled_scope_do_nothing() {
    trial(async || {
        let (sender, receiver) = channel(1);
        let scope = CancelScope::new();
        scope.handle().cancel();
        scope
            .run(async {
                let refused = sender.send(1).await.unwrap_err();
                assert!(refused.is_cancelled());
                assert_eq!(refused.into_inner(), 1);
                assert!(receiver.recv().await.is_err());
                Ok(())
            })
            .await?;
        assert!(receiver.try_recv().is_err());
        sender.try_send(2)?;
        assert_eq!(receiver.recv().await?, 2);
        Ok(())
    });
}
