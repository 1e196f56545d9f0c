//! What every stream has to do: for whoever makes one.
//!
//! A check panics where the stream is wrong.

use std::io;

use super::{assert_checkpoints, wait_all_tasks_blocked_for};
use crate::error::Result;
use crate::io::{Busy, Closed, ReceiveStream, SendStream, Stream};
use crate::time::sleep;
use crate::{CancelScope, nursery};
use std::time::Duration;

/// How long nothing may move until everything is taken to be blocked.
const CALM: Duration = Duration::from_millis(5);

/// How many bytes are sent each way at once.
const MANY: usize = 1 << 20;

/// Checks a stream in one direction: what sending, receiving, closing and cancelling do to each
/// other. `make` makes a fresh pair; it is called many times.
///
/// # Errors
///
/// Those that the stream should not have given.
///
/// # Panics
///
/// If the stream does not do what [`SendStream`] and [`ReceiveStream`] say.
pub async fn check_one_way_stream<S: SendStream, R: ReceiveStream>(
    make: impl AsyncFn() -> Result<(S, R)>,
) -> Result<()> {
    // Both operations are checkpoints, and what is sent arrives.
    let (send, receive) = make().await?;
    nursery(async |n| {
        n.start_soon(async { Ok(assert_checkpoints(send.send_all(b"x")).await?) });
        assert_eq!(assert_checkpoints(next(&receive)).await?, b"x");
        Ok(())
    })
    .await?;

    // To send nothing means nothing, and there is no receiving into nothing.
    nursery(async |n| {
        n.start_soon(async {
            send.send_all(b"").await?;
            Ok(send.send_all(b"y").await?)
        });
        let error = receive.receive_some(&mut []).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(next(&receive).await?, b"y");
        Ok(())
    })
    .await?;

    // One who receives at a time.
    nursery(async |n| {
        let first = n.start_soon(async { Ok(next(&receive).await?) });
        settle().await?;
        assert_busy(next(&receive).await);
        // Somebody receives, so something can be sent.
        assert_checkpoints(send.send_ready()).await?;
        send.send_all(b"z").await?;
        assert_eq!(first.await?, b"z");
        Ok(())
    })
    .await?;

    cancelled_operations(&send, &receive).await?;
    closing(&make).await
}

/// A cancelled operation has had no effect.
async fn cancelled_operations(send: &impl SendStream, receive: &impl ReceiveStream) -> Result<()> {
    in_a_cancelled_scope(async || {
        nursery(async |n| {
            n.start_soon(async {
                let mut data = &b"never"[..];
                assert_cancelled(send.send_rest(&mut data).await);
                assert_eq!(data, b"never");
                Ok(())
            });
            n.start_soon(async {
                assert_cancelled(next(receive).await);
                Ok(())
            });
            Ok(())
        })
        .await
    })
    .await?;
    nursery(async |n| {
        let waiting = n.start_soon(async {
            assert_cancelled(next(receive).await);
            Ok(())
        });
        settle().await?;
        waiting.cancel();
        let _ = waiting.gone().await;
        Ok(())
    })
    .await?;
    // All goes on.
    nursery(async |n| {
        n.start_soon(async { Ok(send.send_all(b"after").await?) });
        assert_eq!(exactly(receive, 5).await?, b"after");
        Ok(())
    })
    .await
}

async fn closing<S: SendStream, R: ReceiveStream>(
    make: &impl AsyncFn() -> Result<(S, R)>,
) -> Result<()> {
    // The receiving side is closed while the other one goes on sending.
    let (send, receive) = make().await?;
    nursery(async |n| {
        let sending = n.start_soon(async {
            until_broken(&send).await;
            Ok(())
        });
        let _ = next(&receive).await?;
        receive.close();
        receive.close();
        assert_closed(next(&receive).await);
        sending.await?;
        assert_broken(send.send_all(&[7; 1000]).await);
        Ok(())
    })
    .await?;

    // The receiving side is closed before anything was sent.
    let (send, receive) = make().await?;
    receive.close();
    assert_closed(next(&receive).await);
    until_broken(&send).await;

    // The sending side is closed.
    let (send, receive) = make().await?;
    send.close();
    send.close();
    assert_closed(send.send_all(b"x").await);
    assert_closed(send.send_all(b"").await);
    assert_closed(send.send_ready().await);
    match next(&receive).await {
        Ok(nothing) => assert_eq!(nothing, b""),
        error => assert_broken(error),
    }

    // What was sent before the end arrives before the end.
    let (send, receive) = make().await?;
    nursery(async |n| {
        n.start_soon(async {
            send.send_all(b"last words").await?;
            send.send_eof().await?;
            assert_closed(send.send_all(b"x").await);
            Ok(send.send_eof().await?)
        });
        assert_eq!(exactly(&receive, 10).await?, b"last words");
        assert_eq!(next(&receive).await?, b"");
        assert_eq!(next(&receive).await?, b"", "the end stays");
        Ok(())
    })
    .await?;

    // Closing is no checkpoint: it works in a cancelled scope as well.
    let (send, receive) = make().await?;
    in_a_cancelled_scope(async || {
        send.close();
        receive.close();
        Ok(())
    })
    .await?;
    assert_closed(send.send_all(b"x").await);
    assert_closed(next(&receive).await);

    // A receiver that waits is told.
    let (_send, receive) = make().await?;
    nursery(async |n| {
        n.start_soon(async {
            assert_closed(next(&receive).await);
            Ok(())
        });
        settle().await?;
        receive.close();
        Ok(())
    })
    .await
}

/// Checks a stream in one direction that has no room: `make` makes a fresh pair where a sender has
/// to wait for the receiver.
///
/// # Errors
///
/// Those that the stream should not have given.
///
/// # Panics
///
/// If the stream does not do what [`SendStream`] says.
pub async fn check_clogged_stream<S: SendStream, R: ReceiveStream>(
    make: impl AsyncFn() -> Result<(S, R)>,
) -> Result<()> {
    // Who waits for room is woken by the receiver, and not before.
    let (send, receive) = make().await?;
    nursery(async |n| {
        let ready = n.start_soon(async { Ok(assert_checkpoints(send.send_ready()).await?) });
        settle().await?;
        assert!(!ready.is_finished(), "there is no room");
        let draining = n.start_soon(async {
            loop {
                next(&receive).await?;
            }
            #[allow(unreachable_code, reason = "gives the block its type")]
            Ok(())
        });
        ready.await?;
        draining.cancel();
        Ok(())
    })
    .await?;

    // One who sends, or waits to, at a time.
    let (send, _receive) = make().await?;
    for first_waits in [true, false] {
        nursery(async |n| {
            n.start_soon(async {
                assert_cancelled(if first_waits {
                    send.send_ready().await
                } else {
                    send.send_all(b"x").await
                });
                Ok(())
            });
            settle().await?;
            assert_busy(send.send_ready().await);
            assert_busy(send.send_all(b"y").await);
            n.cancel();
            Ok(())
        })
        .await?;
    }

    // The receiver is closed under a sender, or before.
    for waiting_before in [true, false] {
        let (send, receive) = make().await?;
        nursery(async |n| {
            if !waiting_before {
                receive.close();
            }
            n.start_soon(async {
                if let Err(error) = send.send_ready().await {
                    assert_broken(Err::<(), _>(error));
                }
                Ok(())
            });
            settle().await?;
            receive.close();
            Ok(())
        })
        .await?;
    }

    // The sender is closed under the task that sends.
    for waits_only in [true, false] {
        let (send, _receive) = make().await?;
        nursery(async |n| {
            n.start_soon(async {
                assert_closed(if waits_only {
                    send.send_ready().await
                } else {
                    send.send_all(b"x").await
                });
                Ok(())
            });
            settle().await?;
            send.close();
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Checks a stream in both directions: each as [`check_one_way_stream`] does, and both at once.
///
/// # Errors
///
/// Those that the stream should not have given.
///
/// # Panics
///
/// If the stream does not do what [`Stream`] says.
pub async fn check_two_way_stream<A: Stream, B: Stream>(
    make: impl AsyncFn() -> Result<(A, B)>,
) -> Result<()> {
    check_one_way_stream(&make).await?;
    let other_way = async || make().await.map(|(a, b)| (b, a));
    check_one_way_stream(other_way).await?;

    // Much, both ways at once, in pieces of any size.
    let (a, b) = make().await?;
    nursery(async |n| {
        n.start_soon(async { Ok(send_many(&a, 1).await?) });
        n.start_soon(async { Ok(send_many(&b, 2).await?) });
        n.start_soon(async { Ok(receive_many(&a, 2).await?) });
        n.start_soon(async { Ok(receive_many(&b, 1).await?) });
        Ok(())
    })
    .await?;

    // One side is closed while the other one receives.
    nursery(async |n| {
        n.start_soon(async {
            assert_eq!(next(&b).await?, b"");
            Ok(())
        });
        settle().await?;
        a.close();
        Ok(())
    })
    .await
}

/// Checks a stream whose directions can be ended one by one, as [`check_two_way_stream`] does and
/// in that. In what `make_clogged` makes a sender has to wait for the receiver.
///
/// # Errors
///
/// Those that the stream should not have given.
///
/// # Panics
///
/// If the stream does not do what [`Stream`] says.
pub async fn check_half_closeable_stream<A: Stream, B: Stream>(
    make: impl AsyncFn() -> Result<(A, B)>,
    make_clogged: impl AsyncFn() -> Result<(A, B)>,
) -> Result<()> {
    check_two_way_stream(&make).await?;
    check_clogged_stream(&make_clogged).await?;
    one_direction_ends(make().await?).await?;
    let (a, b) = make().await?;
    one_direction_ends((b, a)).await?;

    // A direction does not end under a task that sends.
    for first_waits in [true, false] {
        let (send, _receive) = make_clogged().await?;
        nursery(async |n| {
            n.start_soon(async {
                assert_cancelled(if first_waits {
                    send.send_ready().await
                } else {
                    send.send_all(b"x").await
                });
                Ok(())
            });
            settle().await?;
            assert_busy(send.send_eof().await);
            n.cancel();
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn one_direction_ends((a, b): (impl Stream, impl Stream)) -> Result<()> {
    nursery(async |n| {
        n.start_soon(async {
            a.send_all(b"this was all").await?;
            Ok(assert_checkpoints(a.send_eof()).await?)
        });
        assert_eq!(exactly(&b, 12).await?, b"this was all");
        assert_eq!(next(&b).await?, b"");
        Ok(())
    })
    .await?;
    assert_closed(a.send_all(b"more").await);
    a.send_eof().await?;
    nursery(async |n| {
        n.start_soon(async { Ok(b.send_all(b"I see").await?) });
        assert_eq!(exactly(&a, 5).await?, b"I see");
        Ok(())
    })
    .await
}

async fn next(stream: &impl ReceiveStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    let count = stream.receive_some(&mut buffer).await?;
    Ok(buffer[..count].to_vec())
}

async fn exactly(stream: &impl ReceiveStream, count: usize) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    while received.len() < count {
        let mut buffer = vec![0; count - received.len()];
        match stream.receive_some(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => received.extend_from_slice(&buffer[..some]),
        }
    }
    Ok(received)
}

async fn until_broken(stream: &impl SendStream) {
    loop {
        // Anything that was sent is welcome, but only an error ends this.
        let sent = stream.send_all(&[7; 10_000]).await;
        if sent.is_err() {
            return assert_broken(sent);
        }
    }
}

async fn send_many(stream: &impl SendStream, direction: u8) -> io::Result<()> {
    let data: Vec<u8> = (0..MANY).map(|i| pattern(i, direction)).collect();
    let mut rest = &data[..];
    let mut size = 1;
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(size.min(rest.len()));
        stream.send_all(piece).await?;
        rest = others;
        size = (size * 7 + 3) % 60_000 + 1;
    }
    Ok(())
}

async fn receive_many(stream: &impl ReceiveStream, direction: u8) -> io::Result<()> {
    let mut buffer = vec![0; 20_000];
    let (mut received, mut size) = (0, 1);
    while received < MANY {
        let most = size.min(MANY - received);
        let count = stream.receive_some(&mut buffer[..most]).await?;
        assert!(count > 0, "the stream ended after {received} bytes");
        for (i, &byte) in buffer[..count].iter().enumerate() {
            assert_eq!(
                byte,
                pattern(received + i, direction),
                "byte {received} + {i}"
            );
        }
        received += count;
        size = (size * 5 + 11) % 20_000 + 1;
    }
    Ok(())
}

fn pattern(i: usize, direction: u8) -> u8 {
    (i as u8) ^ ((i >> 8) as u8).wrapping_mul(31) ^ direction
}

async fn settle() -> Result<()> {
    sleep(Duration::ZERO).await?;
    Ok(wait_all_tasks_blocked_for(CALM).await?)
}

async fn in_a_cancelled_scope(work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let scope = CancelScope::new();
    scope.handle().cancel();
    scope.run(work()).await.map(drop)
}

#[track_caller]
fn assert_busy<T>(result: io::Result<T>) {
    let busy = matches!(&result, Err(error) if Busy::is(error));
    assert!(busy, "instead of busy: {}", said(result));
}

#[track_caller]
fn assert_closed<T>(result: io::Result<T>) {
    let closed = matches!(&result, Err(error) if Closed::is(error));
    assert!(closed, "instead of closed: {}", said(result));
}

#[track_caller]
fn assert_broken<T>(result: io::Result<T>) {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset];
    let broken = matches!(&result, Err(error) if kinds.contains(&error.kind()));
    assert!(broken, "instead of broken: {}", said(result));
}

#[track_caller]
fn assert_cancelled<T>(result: io::Result<T>) {
    let error = result.map(drop).map_err(crate::Error::from);
    let cancelled = matches!(&error, Err(error) if error.is_cancelled());
    assert!(cancelled, "instead of a cancellation: {error:?}");
}

fn said<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "it worked".into(),
        Err(error) => error.to_string(),
    }
}
