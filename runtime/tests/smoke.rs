//! The shortest ways through everything.

use std::cell::RefCell;
use std::time::Duration;

use tractor_runtime::sync::{Event, channel};
use tractor_runtime::time::{now, sleep, sleep_forever};
use tractor_runtime::*;

#[test]
fn children_borrow_and_give_values() {
    let log = RefCell::new(Vec::new());
    let sum = run(async || {
        nursery(async |n| {
            let a = n.start_soon(async {
                log.borrow_mut().push("a");
                Ok(1)
            });
            let b = n.start_soon(async {
                checkpoint().await?;
                log.borrow_mut().push("b");
                Ok(2)
            });
            Ok(a.await? + b.await?)
        })
        .await
    });
    assert_eq!(sum.unwrap(), 3);
    assert_eq!(log.into_inner(), ["a", "b"]);
}

#[test]
fn a_deadline_ends_a_foreign_future() {
    testing::run(async || {
        let start = now();
        let outcome = move_on_after(Duration::from_secs(5), async {
            std::future::pending::<()>().await;
            Ok(())
        })
        .await?;
        assert!(outcome.timed_out());
        assert_eq!(now() - start, Duration::from_secs(5));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_failing_child_cancels_its_sibling() {
    let error = run(async || {
        nursery(async |n| {
            n.start_soon(async {
                let error = sleep_forever().await.unwrap_err();
                assert_eq!(error.cause().kind(), CancelKind::SiblingFailed);
                Err::<(), _>(error.into())
            });
            n.start_soon(async { Err::<(), _>(Error::msg("broken")) });
            sleep_forever().await?;
            Ok(())
        })
        .await
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert!(error.group_name().is_none(), "{error:?}");
}

#[test]
fn start_waits_for_the_value() {
    testing::run(async || {
        let event = Event::new();
        nursery(async |n| {
            let value = n
                .start(async |status| {
                    sleep(Duration::from_secs(1)).await?;
                    status.started(7);
                    event.wait().await?;
                    Ok(())
                })
                .await?;
            assert_eq!(value, 7);
            event.set();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn a_channel_between_two_tasks() {
    run(async || {
        let (sender, receiver) = channel(1);
        nursery(async |n| {
            n.start_soon(async move {
                for i in 0..1000 {
                    sender.send(i).await?;
                }
                Ok(())
            });
            for i in 0..1000 {
                assert_eq!(receiver.recv().await?, i);
            }
            assert!(receiver.recv().await.is_err());
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn a_wake_from_another_thread() {
    run(async || {
        let (sender, receiver) = async_channel::bounded(1);
        std::thread::spawn(move || sender.send_blocking(5).unwrap());
        assert_eq!(receiver.recv().await?, 5);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_real_sleep_is_never_short() {
    run(async || {
        let start = std::time::Instant::now();
        sleep(Duration::from_millis(20)).await?;
        assert!(start.elapsed() >= Duration::from_millis(20));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_shield_holds_until_its_limit() {
    testing::run(async || {
        let start = now();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel();
                let left = shield_for(Duration::from_secs(3), async {
                    sleep(Duration::from_secs(2)).await?;
                    sleep(Duration::from_secs(2)).await
                })
                .await;
                assert!(matches!(left, Ok(Err(_))), "{left:?}");
                assert_eq!(now() - start, Duration::from_secs(3));
                Ok(())
            })
            .await?;
        assert!(!outcome.is_cancelled());
        Ok(())
    })
    .unwrap();
}

#[test]
#[should_panic(expected = "child's own")]
fn a_panic_goes_on_in_the_parent() {
    let _ = run(async || {
        nursery(async |n| {
            n.start_soon(async {
                checkpoint().await?;
                panic!("child's own");
                #[expect(unreachable_code)]
                Ok(())
            });
            sleep_forever().await?;
            Ok(())
        })
        .await
    });
}
