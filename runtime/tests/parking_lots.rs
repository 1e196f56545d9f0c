//! The queue that other synchronisation is made from.

mod common;

use common::{Log, trial};
use tractor_runtime::sync::ParkingLot;
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::{Nursery, Result, TaskHandle, checkpoint, nursery};

/// Parks three tasks, in this order.
async fn park<'s>(
    n: &'s Nursery<'s, '_>,
    lot: &'s ParkingLot,
    log: &'s Log,
) -> Result<Vec<TaskHandle<'s, ()>>> {
    let mut parked = Vec::new();
    for name in ["a", "b", "c"] {
        parked.push(n.start_soon(async move {
            let woken = lot.park().await;
            log.note(if woken.is_ok() {
                name.to_owned()
            } else {
                format!("{name} cancelled")
            });
            Ok(woken?)
        }));
        wait_all_tasks_blocked().await?;
    }
    Ok(parked)
}

// core/test_parking_lot.py::test_parking_lot_basic#a
#[test]
fn all_are_woken_at_once() {
    trial(async || {
        let (lot, log) = (ParkingLot::new(), Log::default());
        nursery(async |n| {
            let tasks = park(n, &lot, &log).await?;
            assert_eq!(lot.parked(), 3);
            assert_eq!(lot.unpark_all(), 3);
            assert_eq!((lot.parked(), lot.unpark_all()), (0, 0));
            checkpoint().await?;
            for task in tasks {
                task.await?;
            }
            assert_eq!(log.sorted(), ["a", "b", "c"]);
            Ok(())
        })
        .await
    });
}

// core/test_parking_lot.py::test_parking_lot_basic#b
#[test]
fn one_by_one_in_the_order_of_coming() {
    trial(async || {
        let (lot, log) = (ParkingLot::new(), Log::default());
        nursery(async |n| {
            park(n, &lot, &log).await?;
            for woken in 1..=3 {
                assert_eq!(lot.unpark(1), 1);
                wait_all_tasks_blocked().await?;
                assert_eq!(log.seen(), ["a", "b", "c"][..woken]);
            }
            assert_eq!(lot.unpark(1), 0);
            Ok(())
        })
        .await
    });
}

// core/test_parking_lot.py::test_parking_lot_cancel
#[test]
fn cancelled_one_leaves_the_lot() {
    trial(async || {
        let (lot, log) = (ParkingLot::new(), Log::default());
        nursery(async |n| {
            let tasks = park(n, &lot, &log).await?;
            tasks[1].cancel_and_wait().await?;
            assert_eq!(lot.parked(), 2);
            assert_eq!(log.seen(), ["b cancelled"]);
            assert_eq!(lot.unpark_all(), 2);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.sorted(), ["a", "b cancelled", "c"]);
            Ok(())
        })
        .await
    });
}

// core/test_parking_lot.py::test_parking_lot_repark
#[test]
fn moved_to_another_lot() {
    trial(async || {
        let (one, two, log) = (ParkingLot::new(), ParkingLot::new(), Log::default());
        nursery(async |n| {
            let tasks = park(n, &one, &log).await?;
            assert_eq!(one.repark(1, &two), 1);
            assert_eq!((one.parked(), two.parked()), (2, 1));
            assert_eq!(two.unpark_all(), 1);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a"]);
            assert_eq!(one.repark_all(&two), 2);
            assert_eq!((one.parked(), two.parked()), (0, 2));
            // Cancelled where it is now.
            tasks[1].cancel_and_wait().await?;
            assert_eq!(two.parked(), 1);
            assert_eq!(two.unpark_all(), 1);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a", "b cancelled", "c"]);
            Ok(())
        })
        .await
    });
}

// core/test_parking_lot.py::test_parking_lot_repark_with_count
#[test]
fn some_moved_to_another_lot() {
    trial(async || {
        let (one, two, log) = (ParkingLot::new(), ParkingLot::new(), Log::default());
        nursery(async |n| {
            park(n, &one, &log).await?;
            assert_eq!(one.repark(2, &two), 2);
            assert_eq!((one.parked(), two.parked()), (1, 2));
            for woken in ["a", "b"] {
                two.unpark(1);
                wait_all_tasks_blocked().await?;
                assert_eq!(log.seen().last().unwrap(), woken);
            }
            one.unpark(1);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a", "b", "c"]);
            Ok(())
        })
        .await
    });
}

#[test]
fn moved_within_one_lot() {
    trial(async || {
        let (lot, log) = (ParkingLot::new(), Log::default());
        nursery(async |n| {
            park(n, &lot, &log).await?;
            assert_eq!(lot.repark(1, &lot.clone()), 1);
            assert_eq!(lot.parked(), 3);
            for _ in 0..3 {
                lot.unpark(1);
                wait_all_tasks_blocked().await?;
            }
            assert_eq!(log.seen(), ["b", "c", "a"]);
            Ok(())
        })
        .await
    });
}

#[test]
fn wake_up_of_a_task_that_is_dropped_goes_to_the_next() {
    trial(async || {
        let (lot, log) = (ParkingLot::new(), Log::default());
        nursery(async |n| {
            let mut first = Box::pin(lot.park());
            assert!(futures::poll!(&mut first).is_pending());
            park(n, &lot, &log).await?;
            assert_eq!(lot.unpark(1), 1);
            drop(first);
            wait_all_tasks_blocked().await?;
            assert_eq!(log.seen(), ["a"]);
            // Of all who were woken together, none is woken instead.
            let mut last = Box::pin(lot.park());
            assert!(futures::poll!(&mut last).is_pending());
            assert_eq!(lot.unpark_all(), 3);
            let mut late = Box::pin(lot.park());
            assert!(futures::poll!(&mut late).is_pending());
            drop(last);
            assert!(futures::poll!(&mut late).is_pending());
            Ok(())
        })
        .await
    });
}

#[test]
fn lot_that_is_gone_while_tasks_are_in_it() {
    trial(async || {
        let (one, two) = (ParkingLot::new(), ParkingLot::new());
        let mut parked = Box::pin(one.park());
        assert!(futures::poll!(&mut parked).is_pending());
        one.repark_all(&two);
        drop(two);
        assert!(futures::poll!(&mut parked).is_pending());
        assert!(one.is_empty());
        drop(parked);
        Ok(())
    });
}
