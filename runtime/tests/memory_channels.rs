//! Channels: capacity, order, who owns what, and how their ends are closed.

mod common;

use std::cell::RefCell;
use std::time::Duration;

use common::trial;
use futures::{StreamExt, TryStreamExt};
use tractor_runtime::sync::{
    ChannelStatistics, Receiver, RecvError, SendErrorKind, Sender, TryRecvError, TrySendError,
    channel, unbounded,
};
use tractor_runtime::testing::{assert_checkpoints, wait_all_tasks_blocked};
use tractor_runtime::time::now;
use tractor_runtime::{move_on_after, nursery};

const SECOND: Duration = Duration::from_secs(1);

// trio/test_channel.py::test_channel#b
#[test]
fn full_channel_takes_no_more() {
    trial(async || {
        let (sender, receiver) = channel(2);
        sender.try_send(1)?;
        assert_checkpoints(sender.send(2)).await?;
        assert!(matches!(sender.try_send(3), Err(TrySendError::Full(3))));
        assert_eq!(receiver.len(), 2);
        Ok(())
    });
}

// trio/test_channel.py::test_channel#c
#[test]
fn items_come_out_first_in_first_out() {
    trial(async || {
        let (sender, receiver) = channel(3);
        for item in 1..=3 {
            sender.try_send(item)?;
        }
        assert_eq!(assert_checkpoints(receiver.recv()).await?, 1);
        assert_eq!(receiver.try_recv()?, 2);
        assert_eq!(assert_checkpoints(receiver.next()).await?, Some(3));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        Ok(())
    });
}

// trio/test_channel.py::test_channel#e
#[test]
fn what_was_sent_is_there_when_the_sender_is_gone() {
    trial(async || {
        let (sender, receiver) = channel(2);
        sender.try_send("left")?;
        drop(sender);
        assert_eq!(receiver.recv().await?, "left");
        assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
        assert_eq!(assert_checkpoints(receiver.next()).await?, None);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        Ok(())
    });
}

// trio/test_channel.py::test_channel#f
#[test]
fn receiver_that_was_closed_receives_nothing() {
    trial(async || {
        let (sender, receiver) = channel::<u32>(2);
        receiver.close();
        assert!(receiver.is_closed() && sender.is_closed());
        assert!(matches!(receiver.recv().await, Err(RecvError::EndClosed)));
        assert!(matches!(receiver.next().await, Err(RecvError::EndClosed)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::EndClosed));
        receiver.close();
        assert_eq!(sender.statistics().receivers, 0);
        Ok(())
    });
}

// trio/test_channel.py::test_553
#[test]
fn receiver_that_timed_out_left_no_trace() {
    trial(async || {
        let (sender, receiver) = channel(1);
        let begin = now();
        let outcome = move_on_after(10 * SECOND, async { Ok(receiver.recv().await?) });
        assert!(outcome.await?.timed_out());
        assert_eq!(now() - begin, 10 * SECOND);
        sender.send("after").await?;
        assert_eq!(sender.statistics().len, 1);
        Ok(())
    });
}

// trio/test_channel.py::test_channel_multiple_producers
#[test]
fn many_senders_with_a_clone_each() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            for producer in 0..10 {
                let sender = sender.clone();
                n.start_soon(async move {
                    for item in 3 * producer..3 * (producer + 1) {
                        sender.send(item).await?;
                    }
                    Ok(())
                });
            }
            drop(sender);
            let mut items = Vec::new();
            while let Some(item) = receiver.next().await? {
                items.push(item);
            }
            items.sort_unstable();
            assert_eq!(items, (0..30).collect::<Vec<_>>());
            Ok(())
        })
        .await
    });
}

// trio/test_channel.py::test_channel_multiple_consumers
#[test]
fn many_receivers_of_one_channel() {
    trial(async || {
        let (sender, receiver) = channel(1);
        let received = RefCell::new(vec![Vec::new(); 5]);
        nursery(async |n| {
            for consumer in 0..5 {
                let (receiver, received) = (receiver.clone(), &received);
                n.start_soon(async move {
                    while let Some(item) = receiver.next().await? {
                        received.borrow_mut()[consumer].push(item);
                    }
                    Ok(())
                });
            }
            wait_all_tasks_blocked().await?;
            for item in 0..10 {
                sender.send(item).await?;
            }
            drop(sender);
            Ok(())
        })
        .await?;
        let received = received.into_inner();
        assert!(
            received.iter().all(|items| !items.is_empty()),
            "{received:?}"
        );
        let mut all = received.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        Ok(())
    });
}

// trio/test_channel.py::test_close_basics#a
// trio/test_channel.py::test_close_sync
#[test]
fn sending_end_closed_under_a_send() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            let send = n.start_soon(async { Ok(sender.send("back").await.unwrap_err()) });
            wait_all_tasks_blocked().await?;
            sender.close();
            let error = send.await?;
            assert!(matches!(error.kind(), SendErrorKind::EndClosed));
            assert_eq!(error.into_inner(), "back");
            // And it stays so.
            let error = sender.send("again").await.unwrap_err();
            assert!(matches!(error.kind(), SendErrorKind::EndClosed));
            assert!(matches!(
                sender.try_send("too"),
                Err(TrySendError::EndClosed("too"))
            ));
            assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
            Ok(())
        })
        .await
    });
}

// trio/test_channel.py::test_close_basics#b
#[test]
fn receiving_end_closed_under_a_send() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            let send = n.start_soon(async { Ok(sender.send("back").await.unwrap_err()) });
            wait_all_tasks_blocked().await?;
            receiver.close();
            let error = send.await?;
            assert!(matches!(error.kind(), SendErrorKind::Closed));
            assert_eq!(error.into_inner(), "back");
            let error = sender.send("again").await.unwrap_err();
            assert!(matches!(error.kind(), SendErrorKind::Closed));
            assert!(matches!(
                sender.try_send("too"),
                Err(TrySendError::Closed("too"))
            ));
            Ok(())
        })
        .await
    });
}

// trio/test_channel.py::test_close_basics#c
#[test]
fn receiving_end_closed_under_a_receive() {
    trial(async || {
        let (sender, receiver) = channel::<u32>(0);
        nursery(async |n| {
            let recv = n.start_soon(async { Ok(receiver.recv().await.unwrap_err()) });
            wait_all_tasks_blocked().await?;
            receiver.close();
            assert!(matches!(recv.await?, RecvError::EndClosed));
            assert!(matches!(receiver.recv().await, Err(RecvError::EndClosed)));
            assert!(sender.is_closed());
            Ok(())
        })
        .await
    });
}

#[test]
fn one_of_several_ends_is_closed() {
    trial(async || {
        let (sender, receiver) = channel(0);
        let (other_sender, other_receiver) = (sender.clone(), receiver.clone());
        nursery(async |n| {
            let closed = n.start_soon(async { Ok(sender.send(1).await.unwrap_err()) });
            let open = n.start_soon(async { Ok(other_sender.send(2).await?) });
            wait_all_tasks_blocked().await?;
            assert_eq!(sender.statistics().senders_waiting, 2);
            sender.close();
            assert_eq!(sender.statistics().senders_waiting, 1);
            assert_eq!(receiver.recv().await?, 2);
            open.await?;
            assert_eq!(closed.await?.into_inner(), 1);
            let closed = n.start_soon(async { Ok(receiver.recv().await.unwrap_err()) });
            let open = n.start_soon(async { Ok(other_receiver.recv().await?) });
            wait_all_tasks_blocked().await?;
            receiver.close();
            other_sender.try_send(3)?;
            assert_eq!(open.await?, 3);
            assert!(matches!(closed.await?, RecvError::EndClosed));
            Ok(())
        })
        .await
    });
}

#[test]
fn item_that_was_handed_over_is_received_at_an_end_closed_since() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            let recv = n.start_soon(async { Ok(receiver.recv().await?) });
            wait_all_tasks_blocked().await?;
            sender.try_send(5)?;
            receiver.close();
            assert_eq!(recv.await?, 5);
            Ok(())
        })
        .await
    });
}

#[test]
fn item_on_its_way_to_the_last_receiver_is_dropped_with_it() {
    trial(async || {
        let (sender, receiver) = channel(1);
        let item = std::rc::Rc::new(());
        let mut recv = Box::pin(receiver.recv());
        assert!(futures::poll!(&mut recv).is_pending());
        sender.try_send(item.clone())?;
        receiver.close();
        drop(recv);
        assert_eq!(std::rc::Rc::strong_count(&item), 1);
        Ok(())
    });
}

// trio/test_channel.py::test_receive_channel_clone_and_close
#[test]
fn receivers_are_closed_one_by_one() {
    trial(async || {
        let (sender, one) = channel(10);
        let two = one.clone();
        let three = two.clone();
        one.close();
        {
            let _gone = two;
        }
        assert!(matches!(
            one.clone().recv().await,
            Err(RecvError::EndClosed)
        ));
        assert_eq!(sender.statistics().receivers, 1);
        sender.try_send(1)?;
        sender.send(2).await?;
        three.close();
        assert!(matches!(sender.try_send(3), Err(TrySendError::Closed(3))));
        let error = sender.send(4).await.unwrap_err();
        assert!(matches!(error.kind(), SendErrorKind::Closed));
        // What was in it is gone with the last receiver.
        assert_eq!(sender.len(), 0);
        Ok(())
    });
}

// trio/test_channel.py::test_inf_capacity
#[test]
fn channel_without_a_bound() {
    trial(async || {
        let (sender, receiver) = unbounded();
        assert_eq!(sender.statistics().capacity, None);
        for item in 0..10 {
            sender.try_send(item)?;
        }
        drop(sender);
        for item in 0..10 {
            assert_eq!(receiver.next().await?, Some(item));
        }
        assert_eq!(receiver.next().await?, None);
        Ok(())
    });
}

// trio/test_channel.py::test_statistics#b
// trio/test_channel.py::test_statistics#c
// trio/test_channel.py::test_statistics#d
#[test]
fn channel_in_numbers() {
    trial(async || {
        let (sender, receiver) = channel(2);
        let numbers = || -> ChannelStatistics { sender.statistics() };
        nursery(async |n| {
            sender.try_send(1)?;
            sender.try_send(2)?;
            let blocked = [3, 4].map(|item| {
                let sender = &sender;
                n.start_soon(async move { Ok(sender.send(item).await?) })
            });
            wait_all_tasks_blocked().await?;
            assert_eq!((numbers().len, numbers().senders_waiting), (2, 2));
            for send in &blocked {
                send.cancel_and_wait().await?;
            }
            assert_eq!((numbers().len, numbers().senders_waiting), (2, 0));
            assert_eq!((receiver.try_recv()?, receiver.try_recv()?), (1, 2));
            assert_eq!((numbers().len, numbers().peak), (0, 2));
            let blocked = n.start_soon(async { Ok(receiver.recv().await?) });
            wait_all_tasks_blocked().await?;
            assert_eq!(numbers().receivers_waiting, 1);
            blocked.cancel_and_wait().await?;
            assert_eq!(numbers().receivers_waiting, 0);
            assert_eq!(numbers().capacity, Some(2));
            let _clones = (sender.clone(), receiver.clone(), receiver.clone());
            assert_eq!((numbers().senders, numbers().receivers), (2, 3));
            Ok(())
        })
        .await
    });
}

// trio/test_channel.py::test_channel_fairness#b
#[test]
fn item_is_the_waiting_receivers() {
    trial(async || {
        let (sender, receiver) = channel(1);
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(receiver.recv().await?) });
            wait_all_tasks_blocked().await?;
            sender.try_send(1)?;
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(waiting.await?, 1);
            Ok(())
        })
        .await
    });
}

// trio/test_channel.py::test_channel_fairness#c
#[test]
fn room_is_the_waiting_senders() {
    trial(async || {
        let (sender, receiver) = channel(1);
        sender.try_send(1)?;
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(sender.send(2).await?) });
            wait_all_tasks_blocked().await?;
            assert_eq!(receiver.try_recv()?, 1);
            assert!(matches!(sender.try_send(3), Err(TrySendError::Full(3))));
            assert_eq!(receiver.try_recv()?, 2);
            waiting.await
        })
        .await
    });
}

// trio/test_channel.py::test_unbuffered
#[test]
fn channel_that_holds_nothing() {
    trial(async || {
        let (sender, receiver) = channel(0);
        assert!(matches!(sender.try_send(1), Err(TrySendError::Full(1))));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        nursery(async |n| {
            let send = |sender: Sender<u32>| async move {
                assert_checkpoints(sender.send(2)).await?;
                Ok(())
            };
            let receive = |receiver: Receiver<u32>| async move {
                Ok(assert_checkpoints(receiver.recv()).await?)
            };
            n.start_soon(send(sender.clone()));
            assert_eq!(n.start_soon(receive(receiver.clone())).await?, 2);
            Ok(())
        })
        .await?;
        assert!(matches!(sender.try_send(3), Err(TrySendError::Full(3))));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert!(sender.is_empty() && receiver.is_empty());
        Ok(())
    });
}

#[test]
fn sender_that_is_dropped_while_its_item_waits_takes_it_along() {
    trial(async || {
        let (sender, receiver) = channel(0);
        let mut send = Box::pin(sender.send(1));
        assert!(futures::poll!(&mut send).is_pending());
        drop(send);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let mut send = Box::pin(sender.send(2));
        assert!(futures::poll!(&mut send).is_pending());
        assert_eq!(receiver.try_recv()?, 2);
        // Taken already: dropping the send changes nothing.
        drop(send);
        assert!(receiver.is_empty());
        Ok(())
    });
}

#[test]
fn items_as_a_stream() {
    trial(async || {
        let (sender, receiver) = channel(0);
        nursery(async |n| {
            n.start_soon(async {
                for item in 0..4 {
                    sender.send(item).await?;
                }
                sender.close();
                Ok(())
            });
            let even = receiver
                .items()
                .try_filter(|item| std::future::ready(item % 2 == 0))
                .try_collect::<Vec<_>>();
            assert_eq!(even.await?, [0, 2]);
            let mut ended = receiver.items();
            assert!(ended.next().await.is_none() && ended.next().await.is_none());
            Ok(())
        })
        .await?;
        let (sender, receiver) = channel(1);
        let outcome = move_on_after(SECOND, async {
            let mut items = receiver.items();
            for _ in 0..2 {
                let error = items.next().await.unwrap().unwrap_err();
                assert!(matches!(error, RecvError::Cancelled(_)));
            }
            sender.try_send(5)?;
            Ok(())
        });
        outcome.await?;
        // Handed to a stream that is dropped.
        let mut items = receiver.items();
        assert_eq!(items.next().await.unwrap()?, 5);
        assert!(futures::poll!(items.next()).is_pending());
        sender.try_send(6)?;
        drop(items);
        assert_eq!(receiver.try_recv()?, 6);
        Ok(())
    });
}
