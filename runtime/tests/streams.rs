//! What all streams have in common, for each of them.

mod common;

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net;
use std::time::Duration;

use common::{Log, trial, trial_in_real_time};
use tractor_runtime::io::{
    Busy, Close, Closed, PipeReceiver, PipeSender, ReceiveStream, SendStream, Stapled, pipe,
};
use tractor_runtime::net::{
    Listener, SocketStream, TcpListener, TcpStream, UnixStream, connect_tcp,
};
use tractor_runtime::testing::{
    MemoryLink, check_clogged_stream, check_half_closeable_stream, check_one_way_stream,
    check_two_way_stream, lockstep_stream_one_way_pair, lockstep_stream_pair,
    memory_stream_one_way_pair, memory_stream_pair, wait_all_tasks_blocked,
};
use tractor_runtime::time::{now, sleep};
use tractor_runtime::{CancelScope, Error, Result, checkpoint, move_on_after, nursery};

async fn receive(stream: &impl ReceiveStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    let count = stream.receive_some(&mut buffer).await?;
    Ok(buffer[..count].to_vec())
}

fn clogged_unix() -> Result<(UnixStream, UnixStream)> {
    use std::io::Write;

    let (a, b) = net::UnixStream::pair()?;
    a.set_nonblocking(true)?;
    while (&a).write(&[7; 10_000]).is_ok() {}
    Ok((SocketStream::new(a)?, SocketStream::new(b)?))
}

async fn tcp_pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let port = listener.local_addr()?.port();
    let client = connect_tcp("127.0.0.1", port).await?;
    Ok((listener.accept().await?, client))
}

fn clogged_pipe() -> Result<(PipeSender, PipeReceiver)> {
    let (receiver, sender) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&sender, true)?;
    while rustix::io::write(&sender, &[7; 4096]).is_ok() {}
    Ok((PipeSender::new(sender)?, PipeReceiver::new(receiver)?))
}

// trio/testing/_check_streams.py::check_one_way_stream#1
// trio/testing/_check_streams.py::check_one_way_stream#2
// trio/testing/_check_streams.py::check_one_way_stream#3
// trio/testing/_check_streams.py::check_one_way_stream#4
// trio/testing/_check_streams.py::check_one_way_stream#5
// trio/testing/_check_streams.py::check_one_way_stream#6
// trio/testing/_check_streams.py::check_one_way_stream#7
// trio/testing/_check_streams.py::check_one_way_stream#8
// trio/testing/_check_streams.py::check_one_way_stream#9
// trio/testing/_check_streams.py::check_one_way_stream#10
// trio/testing/_check_streams.py::check_one_way_stream#11
// trio/testing/_check_streams.py::check_one_way_stream#12
// trio/testing/_check_streams.py::check_one_way_stream#13
// trio/testing/_check_streams.py::check_one_way_stream#14
// trio/testing/_check_streams.py::check_one_way_stream#15
// trio/testing/_check_streams.py::check_one_way_stream#16
// trio/testing/_check_streams.py::check_one_way_stream#17
// trio/test_unix_pipes.py::test_pipe_fully
#[test]
fn pipe_is_a_stream() {
    trial_in_real_time(async || {
        check_one_way_stream(async || Ok(pipe()?)).await?;
        check_clogged_stream(async || clogged_pipe()).await
    });
}

// trio/testing/_check_streams.py::check_two_way_stream#1
// trio/testing/_check_streams.py::check_two_way_stream#2
// trio/testing/_check_streams.py::check_two_way_stream#3
// trio/testing/_check_streams.py::check_half_closeable_stream#1
// trio/testing/_check_streams.py::check_half_closeable_stream#2
// trio/test_highlevel_socket.py::test_SocketStream_generic
#[test]
fn unix_socket_is_a_stream() {
    trial_in_real_time(async || {
        let make = async || Ok(UnixStream::pair()?);
        check_half_closeable_stream(make, async || clogged_unix()).await
    });
}

#[test]
fn tcp_socket_is_a_stream() {
    trial_in_real_time(async || check_two_way_stream(tcp_pair).await);
}

// trio/test_testing.py::test_memory_streams_with_generic_tests
#[test]
fn stream_in_memory_is_a_stream() {
    trial(async || {
        check_one_way_stream(async || Ok(memory_stream_one_way_pair())).await?;
        let clogged = async || {
            let (a, b) = MemoryLink::new().capacity(10).pair();
            a.send_all(&[7; 10]).await?;
            Ok((a, b))
        };
        check_half_closeable_stream(async || Ok(memory_stream_pair()), clogged).await
    });
}

// trio/test_testing.py::test_lockstep_streams_with_generic_tests
#[test]
fn stream_in_lockstep_is_a_stream() {
    trial(async || {
        check_one_way_stream(async || Ok(lockstep_stream_one_way_pair())).await?;
        check_clogged_stream(async || Ok(lockstep_stream_one_way_pair())).await?;
        let make = async || Ok(lockstep_stream_pair());
        check_half_closeable_stream(make, make).await
    });
}

#[test]
fn streams_in_memory_with_little_room_in_pieces_and_late() {
    for (seed, capacity) in [(1, 1), (2, 3), (3, 50_000)] {
        trial(async move || {
            let link = MemoryLink::new().pieces(seed).capacity(capacity.max(20));
            check_one_way_stream(async || Ok(link.one_way_pair())).await?;
            let link = link.capacity(capacity).delay(Duration::from_millis(seed));
            let (send, receive) = link.one_way_pair();
            nursery(async |n| {
                n.start_soon(async {
                    let data: Vec<u8> = (0..2_000).map(|i| i as u8).collect();
                    send.send_all(&data).await?;
                    Ok(send.send_eof().await?)
                });
                let mut received = Vec::new();
                let mut buffer = [0; 300];
                loop {
                    match receive.receive_some(&mut buffer).await? {
                        0 => break,
                        count => received.extend_from_slice(&buffer[..count]),
                    }
                }
                assert!(received.iter().copied().eq((0..2_000).map(|i| i as u8)));
                Ok(())
            })
            .await
        });
    }
}

#[test]
fn stapled_halves_are_a_stream() {
    trial_in_real_time(async || {
        let make = async || {
            let (a_send, b_receive) = pipe()?;
            let (b_send, a_receive) = pipe()?;
            let a = Stapled {
                send: a_send,
                receive: a_receive,
            };
            let b = Stapled {
                send: b_send,
                receive: b_receive,
            };
            Ok((a, b))
        };
        let make_clogged = async || {
            let (a_send, b_receive) = clogged_pipe()?;
            let (b_send, a_receive) = pipe()?;
            let a = Stapled {
                send: a_send,
                receive: a_receive,
            };
            let b = Stapled {
                send: b_send,
                receive: b_receive,
            };
            Ok((a, b))
        };
        check_half_closeable_stream(make, make_clogged).await
    });
}

/// Notes what is asked of it.
struct Recorder<'a>(&'a Log, &'static str);

impl Close for Recorder<'_> {
    fn close(&self) {
        self.0.note(format!("{}: close", self.1));
    }
}

impl SendStream for Recorder<'_> {
    async fn send_rest(&self, data: &mut &[u8]) -> std::io::Result<()> {
        *data = &[];
        self.0.note(format!("{}: send", self.1));
        Ok(())
    }

    async fn send_ready(&self) -> std::io::Result<()> {
        self.0.note(format!("{}: ready", self.1));
        Ok(())
    }

    async fn send_eof(&self) -> std::io::Result<()> {
        self.0.note(format!("{}: eof", self.1));
        Ok(())
    }
}

impl ReceiveStream for Recorder<'_> {
    async fn receive_some(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.note(format!("{}: receive", self.1));
        Ok(buffer.len())
    }
}

// trio/test_highlevel_generic.py::test_StapledStream
#[test]
fn stapled_stream_passes_on_what_it_is_asked() {
    trial(async || {
        let log = Log::default();
        let stream = Stapled {
            send: Recorder(&log, "send"),
            receive: Recorder(&log, "receive"),
        };
        stream.send_all(b"x").await?;
        stream.send_ready().await?;
        assert_eq!(stream.receive_some(&mut [0; 3]).await?, 3);
        stream.send_eof().await?;
        stream.close();
        let expected = [
            "send: send",
            "send: ready",
            "receive: receive",
            "send: eof",
            "send: close",
            "receive: close",
        ];
        assert_eq!(log.seen(), expected);
        Ok(())
    });
}

// trio/test_testing.py::test__UnboundeByteQueue
// trio/test_testing.py::test_memory_stream_one_way_pair
#[test]
fn cancelled_receive_in_memory_loses_nothing() {
    trial(async || {
        let (send, stream) = memory_stream_one_way_pair();
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(receive(&stream).await?) });
            wait_all_tasks_blocked().await?;
            send.send_all(b"abc").await?;
            assert_eq!(waiting.await?, b"abc");

            let waiting = n.start_soon(async { Ok(receive(&stream).await?) });
            wait_all_tasks_blocked().await?;
            // In the same step: it has it, or it is still there.
            waiting.cancel();
            send.send_all(b"de").await?;
            let got = waiting.await.unwrap_or_default();
            send.send_all(b"f").await?;
            let rest = receive(&stream).await?;
            assert_eq!([got, rest].concat(), b"def");

            let waiting = n.start_soon(async { Ok(receive(&stream).await?) });
            wait_all_tasks_blocked().await?;
            assert!(Busy::is(&receive(&stream).await.unwrap_err()));
            send.close();
            assert_eq!(waiting.await?, b"");
            Ok(())
        })
        .await
    });
}

// trio/test_testing.py::test_MemorySendStream
#[test]
fn sender_in_memory_shows_what_was_sent() {
    trial(async || {
        let (send, _receive) = MemoryLink::new().capacity(3).one_way_pair();
        send.send_all(b"123").await?;
        assert_eq!(send.unread(), b"123");
        nursery(async |n| {
            n.start_soon(async {
                assert!(Closed::is(&send.send_all(b"4").await.unwrap_err()));
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            assert!(Busy::is(&send.send_all(b"5").await.unwrap_err()));
            send.close();
            Ok(())
        })
        .await?;
        assert_eq!(send.unread(), b"123");
        assert!(Closed::is(&send.send_all(b"4").await.unwrap_err()));
        Ok(())
    });
}

// trio/test_testing.py::test_MemoryReceiveStream
// trio/test_testing.py::test_MemoryRecvStream_closing
#[test]
fn receiver_in_memory_is_fed() {
    trial(async || {
        let (_send, stream) = memory_stream_one_way_pair();
        stream.feed(b"abc");
        stream.feed(b"");
        assert_eq!(receive(&stream).await?, b"abc");
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(receive(&stream).await?) });
            wait_all_tasks_blocked().await?;
            assert!(Busy::is(&receive(&stream).await.unwrap_err()));
            stream.feed(b"def");
            assert_eq!(waiting.await?, b"def");
            Ok(())
        })
        .await?;
        stream.feed(b"last");
        stream.feed_eof();
        assert_eq!(receive(&stream).await?, b"last");
        assert_eq!(receive(&stream).await?, b"");
        assert_eq!(receive(&stream).await?, b"");
        stream.close();
        assert!(Closed::is(&receive(&stream).await.unwrap_err()));

        let (_send, stream) = memory_stream_one_way_pair();
        stream.feed(b"lost");
        stream.close();
        stream.close();
        stream.feed(b"too late");
        assert!(Closed::is(&receive(&stream).await.unwrap_err()));
        Ok(())
    });
}

// trio/test_testing.py::test_memory_stream_pair
#[test]
fn both_directions_in_memory() {
    trial(async || {
        let (a, b) = MemoryLink::new().delay(Duration::from_secs(3)).pair();
        let start = now();
        a.send_all(b"ping").await?;
        b.send_all(b"pong").await?;
        assert_eq!(now(), start);
        assert_eq!(receive(&b).await?, b"ping");
        assert_eq!(now() - start, Duration::from_secs(3));
        assert_eq!(receive(&a).await?, b"pong");
        a.send_eof().await?;
        assert_eq!(receive(&b).await?, b"");
        Ok(())
    });
}

#[test]
fn connection_in_memory_is_cut() {
    trial(async || {
        for (pieces, cut) in (0..20).flat_map(|seed| [(seed, 0), (seed, 1), (seed, 9)]) {
            let (send, stream) = MemoryLink::new()
                .pieces(pieces)
                .cut_after(cut)
                .one_way_pair();
            let mut data = &b"0123456789"[..];
            let error = send.send_rest(&mut data).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(data.len(), 10 - cut);
            let mut received = Vec::new();
            let error = loop {
                match receive(&stream).await {
                    Ok(more) => received.extend(more),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(received, &b"0123456789"[..cut]);
        }
        Ok(())
    });
}

/// A sender and a receiver are cancelled after every number of steps, one task at a time, and each
/// goes on where it was: what is received is what was sent.
async fn cancelled_everywhere<S: SendStream, R: ReceiveStream>(
    (send, stream): (S, R),
    mut patience: impl FnMut() -> u32,
) -> Result<usize> {
    const BYTES: usize = 3_000;
    let data: Vec<u8> = (0..BYTES).map(|i| (i * 7) as u8).collect();
    let cancelled = Cell::new(0);
    let received = nursery(async |n| {
        n.start_soon(async {
            let mut rest = &data[..];
            while !rest.is_empty() {
                let (mut piece, others) = rest.split_at(rest.len().min(500));
                while !piece.is_empty() {
                    let sent = in_steps(patience(), send.send_rest(&mut piece)).await?;
                    cancelled.set(cancelled.get() + usize::from(sent.is_none()));
                }
                rest = others;
            }
            send.send_eof().await.map_err(Error::from)
        });
        let mut received = Vec::new();
        let mut turn = 0_u32;
        loop {
            let mut buffer = [0; 70];
            turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            match in_steps(turn >> 16 & 3, stream.receive_some(&mut buffer)).await? {
                Some(0) => return Ok(received),
                Some(count) => received.extend_from_slice(&buffer[..count]),
                None => cancelled.set(cancelled.get() + 1),
            }
        }
    })
    .await?;
    assert_eq!(received, data);
    Ok(cancelled.get())
}

/// Runs `work` and cancels it after so many checkpoints of another task; `None` if it was.
async fn in_steps<T>(
    steps: u32,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<Option<T>> {
    nursery(async |n| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let ticking = n.start_soon(async move {
            for _ in 0..steps {
                checkpoint().await?;
            }
            // Not always, or nothing that takes time would ever come.
            if steps == 3 {
                sleep(Duration::from_micros(200)).await?;
            }
            handle.cancel();
            Ok(())
        });
        let outcome = scope.run(async { Ok(work.await?) }).await;
        ticking.cancel();
        Ok(outcome?.completed())
    })
    .await
}

fn dice(mut seed: u32) -> impl FnMut() -> u32 {
    move || {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        seed >> 16 & 3
    }
}

#[test]
fn streams_in_memory_cancelled_at_every_moment() {
    let mut cancelled = 0;
    for seed in 0..60 {
        let links = [
            MemoryLink::new().lockstep(),
            MemoryLink::new().lockstep().pieces(u64::from(seed)),
            MemoryLink::new().capacity(1 + seed as usize * 5),
            MemoryLink::new()
                .capacity(40)
                .pieces(u64::from(seed))
                .delay(Duration::from_micros(150)),
        ];
        for link in links {
            let dice = dice(seed);
            let run = tractor_runtime::testing::run_seeded(u64::from(seed), async || {
                cancelled_everywhere(link.one_way_pair(), dice).await
            });
            cancelled += run.unwrap();
        }
    }
    assert!(cancelled > 0, "nothing was ever cancelled");
}

#[test]
fn sockets_and_pipes_cancelled_at_every_moment() {
    trial_in_real_time(async || {
        for seed in 0..4 {
            cancelled_everywhere(clogged_to_begin_with()?, dice(seed)).await?;
            cancelled_everywhere(UnixStream::pair()?, dice(seed)).await?;
            cancelled_everywhere(pipe()?, dice(seed)).await?;
        }
        Ok(())
    });
}

/// With as little room as the system allows.
fn clogged_to_begin_with() -> Result<(UnixStream, UnixStream)> {
    let (a, b) = net::UnixStream::pair()?;
    rustix::net::sockopt::set_socket_send_buffer_size(&a, 1)?;
    Ok((SocketStream::new(a)?, SocketStream::new(b)?))
}

#[test]
fn what_was_not_sent_is_left_after_a_cancellation() {
    trial(async || {
        let (send, stream) = lockstep_stream_one_way_pair();
        let mut data = &b"0123456789"[..];
        nursery(async |n| {
            n.start_soon(async {
                let mut buffer = [0; 4];
                assert_eq!(stream.receive_some(&mut buffer).await?, 4);
                Ok(())
            });
            let outcome = move_on_after(Duration::from_secs(1), async {
                Ok(send.send_rest(&mut data).await?)
            });
            assert!(outcome.await?.timed_out());
            Ok(())
        })
        .await?;
        assert_eq!(data, b"456789");
        assert_eq!(send.unread(), b"");
        Ok(())
    });
}

// trio/test_unix_pipes.py::test_send_pipe
// trio/test_unix_pipes.py::test_receive_pipe
#[test]
fn one_end_of_a_pipe_is_ours() {
    use std::io::{Read, Write};

    trial_in_real_time(async || {
        let (mut theirs, ours) = std::io::pipe()?;
        let sender = PipeSender::new(ours)?;
        sender.send_all(b"123").await?;
        drop(sender);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all)?;
        assert_eq!(all, b"123");

        let (ours, mut theirs) = std::io::pipe()?;
        theirs.write_all(b"456")?;
        assert_eq!(receive(&PipeReceiver::new(ours)?).await?, b"456");
        Ok(())
    });
}

// trio/test_unix_pipes.py::test_pipes_combined
#[test]
fn a_megabyte_through_a_pipe_to_a_late_reader() {
    trial_in_real_time(async || {
        let (send, stream) = pipe()?;
        nursery(async |n| {
            n.start_soon(async {
                send.send_all(&vec![3; 1 << 20]).await?;
                send.close();
                Ok(())
            });
            sleep(Duration::from_millis(20)).await?;
            let mut count = 0;
            loop {
                match receive(&stream).await? {
                    end if end.is_empty() => break,
                    some => {
                        assert!(some.iter().all(|&byte| byte == 3));
                        count += some.len();
                    }
                }
            }
            assert_eq!(count, 1 << 20);
            Ok(())
        })
        .await
    });
}

/// How many descriptors this process has of a pair that is gone when the peer says so.
fn peer_is_gone(peer: &net::UnixStream) -> bool {
    use std::io::Read;
    matches!((&*peer).read(&mut [0]), Ok(0))
}

// trio/test_unix_pipes.py::test_del
// trio/test_unix_pipes.py::test_async_with
#[test]
fn descriptor_is_closed_by_drop_and_by_close() {
    trial_in_real_time(async || {
        for drops in [true, false] {
            let (ours, theirs) = net::UnixStream::pair()?;
            theirs.set_nonblocking(true)?;
            let sender = PipeSender::new(ours)?;
            assert!(!peer_is_gone(&theirs));
            if drops {
                drop(sender);
            } else {
                sender.close();
                assert!(Closed::is(&sender.descriptor().map(drop).unwrap_err()));
            }
            assert!(peer_is_gone(&theirs));
        }
        Ok(())
    });
}

// trio/test_unix_pipes.py::test_misdirected_aclose_regression
#[test]
fn closing_again_leaves_the_next_user_of_the_number_alone() {
    trial_in_real_time(async || {
        let (send, stream) = pipe()?;
        stream.close();
        drop(send);
        // They get the numbers that have just become free.
        let (send, next) = pipe()?;
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(receive(&next).await?) });
            tractor_runtime::testing::wait_all_tasks_blocked_for(Duration::from_millis(5)).await?;
            stream.close();
            tractor_runtime::testing::wait_all_tasks_blocked_for(Duration::from_millis(5)).await?;
            assert!(!waiting.is_finished());
            send.send_all(b"x").await?;
            assert_eq!(waiting.await?, b"x");
            Ok(())
        })
        .await
    });
}

// trio/test_unix_pipes.py::test_close_at_bad_time_for_receive_some
// trio/test_unix_pipes.py::test_close_at_bad_time_for_send_all
#[test]
fn closed_between_readiness_and_the_attempt() {
    trial_in_real_time(async || {
        // The order of the two wakes is the other way round in one of the two.
        for closer_first in [true, false] {
            let (send, stream) = pipe()?;
            nursery(async |n| {
                let close = async || {
                    tractor_runtime::testing::wait_all_tasks_blocked_for(Duration::from_millis(5))
                        .await?;
                    send.send_all(b"x").await?;
                    stream.close();
                    Ok(())
                };
                if closer_first {
                    n.start_soon(close());
                }
                n.start_soon(async {
                    assert!(Closed::is(&receive(&stream).await.unwrap_err()));
                    Ok(())
                });
                if !closer_first {
                    n.start_soon(close());
                }
                Ok(())
            })
            .await?;

            let (send, stream) = clogged_pipe()?;
            nursery(async |n| {
                n.start_soon(async {
                    assert!(Closed::is(&send.send_all(b"x").await.unwrap_err()));
                    Ok(())
                });
                tractor_runtime::testing::wait_all_tasks_blocked_for(Duration::from_millis(5))
                    .await?;
                receive(&stream).await?;
                send.close();
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

// core/test_io.py::test_double_read
// core/test_io.py::test_double_write
// core/test_io.py::test_interrupted_by_close
// trio/test_socket.py::test_interrupted_by_close
#[test]
fn second_task_in_a_direction_is_told_and_both_are_told_of_the_close() {
    trial_in_real_time(async || {
        let (a, _b) = clogged_unix()?;
        nursery(async |n| {
            n.start_soon(async {
                assert!(Closed::is(&receive(&a).await.unwrap_err()));
                Ok(())
            });
            n.start_soon(async {
                assert!(Closed::is(&a.send_all(b"x").await.unwrap_err()));
                Ok(())
            });
            tractor_runtime::testing::wait_all_tasks_blocked_for(Duration::from_millis(5)).await?;
            let busy = Error::from(receive(&a).await.unwrap_err());
            assert!(busy.is::<Busy>(), "{busy}");
            assert!(Busy::is(&a.send_some(b"y").await.unwrap_err()));
            a.close();
            Ok(())
        })
        .await
    });
}

#[test]
fn socket_whose_directions_were_shut_by_its_owner() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        a.get_ref().shutdown(Shutdown::Both)?;
        assert_eq!(receive(&b).await?, b"");
        let error = a.send_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

// trio/test_util.py::test_ConflictDetector
#[test]
fn each_direction_of_a_stream_is_for_one_task_at_a_time() {
    trial(async || {
        let (one, other) = memory_stream_pair();
        let (one, other) = (&one, &other);
        nursery(async |n| {
            let waiting = n.start_soon(async move { Ok(receive(one).await?) });
            wait_all_tasks_blocked().await?;
            // The other direction is another matter, and so is the other end.
            one.send_all(b"a").await?;
            assert_eq!(receive(other).await?, b"a");
            assert!(Busy::is(&receive(one).await.unwrap_err()));
            other.send_all(b"b").await?;
            assert_eq!(waiting.await?, b"b");
            // It is free again.
            other.send_all(b"c").await?;
            assert_eq!(receive(one).await?, b"c");
            Ok(())
        })
        .await
    });
}
