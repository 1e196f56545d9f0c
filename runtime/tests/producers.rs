//! A producer beside its consumer: what generators are for.

mod common;

use std::cell::Cell;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, trial};
use tractor_runtime::sync::{RecvError, with_producer};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{sleep, sleep_forever};
use tractor_runtime::{CancelScope, Error, Result, checkpoint, move_on_after, nursery, shield_for};

const SECOND: Duration = Duration::from_secs(1);

// trio/test_channel.py::test_as_safe_channel_exhaust
#[test]
fn producer_that_comes_to_its_end() {
    trial(async || {
        let items = with_producer(
            async |out| out.send(1).await,
            async |items| Ok((items.next().await?, items.next().await?)),
        );
        assert_eq!(items.await?, (Some(1), None));
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_broken_resource
#[test]
fn consumer_that_closes_after_the_first() {
    trial(async || {
        let log = Log::default();
        with_producer(
            async |out| {
                let _note = NoteDrop(&log, "gone");
                out.send(1).await?;
                log.note("went on");
                out.send(2).await
            },
            async |items| {
                assert_eq!(items.recv().await?, 1);
                items.close();
                assert!(matches!(items.recv().await, Err(RecvError::EndClosed)));
                wait_all_tasks_blocked().await?;
                assert_eq!(log.seen(), ["gone"]);
                Ok(())
            },
        )
        .await
    });
}

// trio/test_channel.py::test_as_safe_channel_no_race
#[test]
fn error_of_the_producer_is_no_end_of_the_items() {
    trial(async || {
        let error = with_producer(
            async |out| {
                out.send(1).await?;
                Err(Boom("a").into())
            },
            async |items| {
                assert_eq!(items.next().await?, Some(1));
                let end = items.next().await?;
                assert_eq!(end, None);
                Ok(())
            },
        );
        let error = error.await.unwrap_err();
        assert!(error.group_name().is_none());
        assert_eq!(booms(&error), ["a"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_no_interleave
#[test]
fn producer_does_not_go_on_before_it_is_asked() {
    trial(async || {
        let log = Log::default();
        with_producer(
            async |out| {
                log.note("began");
                out.send(1).await?;
                log.note("went on");
                Ok(())
            },
            async |items| {
                wait_all_tasks_blocked().await?;
                assert_eq!(log.count(), 0);
                assert_eq!(items.recv().await?, 1);
                checkpoint().await?;
                wait_all_tasks_blocked().await?;
                Ok(())
            },
        )
        .await?;
        assert_eq!(log.seen(), ["began"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_genexit_finally
#[test]
fn consumer_and_the_cleanup_of_the_producer_both_fail() {
    trial(async || {
        let log = Log::default();
        let error = with_producer(
            async |out| {
                let error: Error = out.send(1).await.unwrap_err();
                assert!(error.is_cancelled());
                log.note("told to end");
                Err(Boom("cleanup").into())
            },
            async |items| {
                items.recv().await?;
                Err::<(), _>(Boom("consumer").into())
            },
        );
        let error = error.await.unwrap_err();
        assert_eq!(booms(&error), ["cleanup", "consumer"]);
        assert_eq!(log.seen(), ["told to end"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_nested_loop
#[test]
fn producers_within_producers() {
    trial(async || {
        let log = Log::default();
        let count = async |limit: u32, consumer: &dyn Fn(u32)| {
            with_producer(
                async |out| {
                    for item in 0..limit {
                        out.send(item).await?;
                    }
                    Ok(())
                },
                async |items| {
                    while let Some(item) = items.next().await? {
                        consumer(item);
                    }
                    Ok(())
                },
            )
            .await
        };
        with_producer(
            async |out| {
                for item in 0..3 {
                    out.send(item).await?;
                }
                Ok(())
            },
            async |items| {
                while let Some(outer) = items.next().await? {
                    count(2, &|inner| log.note(format!("{outer}{inner}"))).await?;
                }
                Ok(())
            },
        )
        .await?;
        assert_eq!(log.seen(), ["00", "01", "10", "11", "20", "21"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_doesnt_leak_cancellation
#[test]
fn scope_of_the_producer_does_not_cover_the_consumer() {
    trial(async || {
        let log = Log::default();
        with_producer(
            async |out| {
                let scope = CancelScope::new();
                let handle = scope.handle();
                let outcome = scope.run(async {
                    handle.cancel();
                    shield_for(SECOND, out.send(1)).await??;
                    Ok(checkpoint().await?)
                });
                assert!(outcome.await?.is_cancelled());
                Ok(())
            },
            async |items| {
                while items.next().await?.is_some() {
                    checkpoint().await?;
                    log.note("item");
                }
                Ok(())
            },
        )
        .await?;
        checkpoint().await?;
        assert_eq!(log.seen(), ["item"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_dont_unwrap_user_exceptiongroup
#[test]
fn group_of_the_consumer_is_left_alone() {
    trial(async || {
        let error = with_producer(
            async |out| out.send(1).await,
            async |items| {
                items.recv().await?;
                let errors = vec![Boom("a").into(), Boom("b").into()];
                Err::<(), _>(Error::group("mine", errors))
            },
        );
        let error = error.await.unwrap_err();
        assert_eq!(error.group_name(), Some("mine"));
        assert_eq!(error.members().len(), 2);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_multiple_receiver
#[test]
fn first_to_ask_gets_the_first_item() {
    trial(async || {
        let log = Log::default();
        with_producer(
            async |out| {
                for item in ["first", "second"] {
                    sleep(SECOND).await?;
                    out.send(item).await?;
                }
                Ok(())
            },
            async |items| {
                let log = &log;
                nursery(async |n| {
                    for name in ["a", "b"] {
                        n.start_soon(async move {
                            let item = items.recv().await?;
                            log.note(format!("{name}: {item}"));
                            Ok(())
                        });
                        sleep(SECOND / 10).await?;
                    }
                    Ok(())
                })
                .await
            },
        )
        .await?;
        assert_eq!(log.seen(), ["a: first", "b: second"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_multi_cancel
#[test]
fn cancellation_from_outside_is_seen_by_both() {
    trial(async || {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope.run(async {
            let result = with_producer(
                async |out| {
                    let error = out.send(1).await.unwrap_err();
                    log.note(format!("producer {}", error.is_cancelled()));
                    Err(error)
                },
                async |items| {
                    items.recv().await?;
                    handle.cancel();
                    let error = checkpoint().await.unwrap_err();
                    log.note("consumer true");
                    Err::<(), _>(error.into())
                },
            );
            let error = result.await.unwrap_err();
            // One, and no group.
            assert!(error.is_cancelled() && error.group_name().is_none());
            Err::<(), _>(error)
        });
        assert!(outcome.await?.is_cancelled());
        assert_eq!(log.sorted(), ["consumer true", "producer true"]);
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_close_between_iteration
#[test]
fn items_closed_by_another_task_between_two() {
    trial(async || {
        let closed = Cell::new(false);
        with_producer(
            async |out| {
                for item in 0.. {
                    out.send(item).await?;
                }
                Ok(())
            },
            async |items| {
                let closed = &closed;
                nursery(async |n| {
                    n.start_soon(async move {
                        sleep(SECOND).await?;
                        items.close();
                        Ok(())
                    });
                    loop {
                        match items.next().await {
                            Ok(item) => assert!(item.is_some()),
                            Err(RecvError::EndClosed) => break closed.set(true),
                            Err(error) => return Err(error.into()),
                        }
                        sleep(SECOND / 4).await?;
                    }
                    Ok(())
                })
                .await
            },
        )
        .await?;
        assert!(closed.get());
        Ok(())
    });
}

// trio/test_channel.py::test_as_safe_channel_close_before_iteration
#[test]
fn items_closed_before_the_first() {
    trial(async || {
        let begun = Cell::new(false);
        with_producer(
            async |out| {
                begun.set(true);
                out.send(1).await
            },
            async |items| {
                items.close();
                assert!(matches!(items.recv().await, Err(RecvError::EndClosed)));
                wait_all_tasks_blocked().await?;
                Ok(())
            },
        )
        .await?;
        assert!(!begun.get());
        Ok(())
    });
}

#[test]
fn consumer_that_knows_nothing_of_scopes_is_cancelled_with_its_producer() {
    trial(async || {
        let log = Log::default();
        let work = with_producer(
            async |out| {
                let _note = NoteDrop(&log, "producer");
                out.send(()).await?;
                Ok(sleep_forever().await?)
            },
            async |items| -> Result<()> {
                let _note = NoteDrop(&log, "consumer");
                items.recv().await?;
                std::future::pending().await
            },
        );
        assert!(move_on_after(SECOND, work).await?.timed_out());
        assert_eq!(log.sorted(), ["consumer", "producer"]);
        Ok(())
    });
}

#[test]
fn item_of_a_consumer_that_gave_up_waiting_goes_to_the_next_call() {
    trial(async || {
        with_producer(
            async |out| {
                for item in 0.. {
                    sleep(2 * SECOND).await?;
                    out.send(item).await?;
                }
                Ok(())
            },
            async |items| {
                for expected in 0..3 {
                    let outcome = move_on_after(SECOND, async { Ok(items.recv().await?) });
                    assert!(outcome.await?.timed_out());
                    assert_eq!(items.recv().await?, expected);
                }
                Ok(())
            },
        )
        .await
    });
}
