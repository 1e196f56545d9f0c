//! Connecting, listening and serving over sockets.

mod common;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use common::{Boom, Log, NoteDrop, booms, trial, trial_in_real_time};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use tractor_runtime::io::{Busy, Close, Closed, ReceiveStream, SendStream, Stream};
use tractor_runtime::net::{
    ConnectFailed, Connector, Listener, SocketListener, SocketStream, TcpListener, TcpStream,
    UdpSocket, UnixListener, UnixStream, connect_tcp, connect_unix, happy_eyeballs, listen_tcp,
    resolve, serve_listeners, serve_listeners_in, serve_tcp,
};
use tractor_runtime::sync::{Receiver, Sender, channel};
use tractor_runtime::testing::{
    MemoryStream, assert_checkpoints, memory_stream_pair, wait_all_tasks_blocked,
    wait_all_tasks_blocked_for,
};
use tractor_runtime::time::{now, sleep};
use tractor_runtime::{CancelScope, Error, Result, TaskStatus, checkpoint, move_on_after, nursery};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

async fn settle() -> Result<()> {
    Ok(wait_all_tasks_blocked_for(Duration::from_millis(5)).await?)
}

async fn receive(stream: &impl ReceiveStream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    let count = stream.receive_some(&mut buffer).await?;
    Ok(buffer[..count].to_vec())
}

async fn echo(stream: impl Stream) -> Result<()> {
    loop {
        match receive(&stream).await? {
            end if end.is_empty() => return Ok(()),
            bytes => stream.send_all(&bytes).await?,
        }
    }
}

async fn cancelled<T>(work: impl Future<Output = io::Result<T>>) -> Option<T> {
    let scope = CancelScope::new();
    scope.handle().cancel();
    let outcome = scope.run(async { Ok(work.await?) }).await;
    outcome.unwrap().completed()
}

fn address(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 80).into()
}

fn address6(last: u16) -> SocketAddr {
    ([0, 0, 0, 0, 0, 0, 0, last], 80).into()
}

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tractor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// trio/test_socket.py::test_SocketType_non_blocking_paths#a
#[test]
fn data_is_left_there_by_a_cancelled_receive() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        b.send_all(b"abc").await?;
        assert_eq!(cancelled(receive(&a)).await, None);
        assert_eq!(receive(&a).await?, b"abc");
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_non_blocking_paths#b
#[test]
fn receiving_at_once_after_a_wait_and_never() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        b.send_all(b"1").await?;
        assert_eq!(assert_checkpoints(receive(&a)).await?, b"1");
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(assert_checkpoints(receive(&a)).await?) });
            settle().await?;
            b.send_all(b"2").await?;
            assert_eq!(waiting.await?, b"2");
            let waiting = n.start_soon(async { Ok(receive(&a).await?) });
            settle().await?;
            Ok(waiting.cancel_and_wait().await?)
        })
        .await?;
        b.send_all(b"3").await?;
        assert_eq!(receive(&a).await?, b"3");
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_non_blocking_paths#c
#[test]
fn data_taken_by_another_lets_the_reader_wait_again() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        let (c, d) = UnixStream::pair()?;
        let (first, done) = (Cell::new(true), Cell::new(0));
        nursery(async |n| {
            for (mine, other) in [(&a, &c), (&c, &a)] {
                let (first, done) = (&first, &done);
                n.start_soon(async move {
                    let mut buffer = [0];
                    assert_eq!(mine.receive_some(&mut buffer).await?, 1);
                    if first.replace(false) {
                        // The other one has been woken as well, or will be.
                        other.get_ref().read_exact(&mut buffer)?;
                    }
                    done.set(done.get() + 1);
                    Ok(())
                });
            }
            settle().await?;
            b.get_ref().write_all(b"x")?;
            d.get_ref().write_all(b"y")?;
            while done.get() < 1 {
                sleep(Duration::from_millis(1)).await?;
            }
            settle().await?;
            assert_eq!(done.get(), 1, "the other one found nothing");
            // It waits again, and gets what comes later.
            b.get_ref().write_all(b"x")?;
            d.get_ref().write_all(b"y")?;
            Ok(())
        })
        .await
    });
}

// trio/test_socket.py::test_SocketType_connect_paths#b
// trio/test_socket.py::test_SocketType_connect_paths#c
// trio/test_socket.py::test_resolve_address_exception_in_connect_closes_socket
#[test]
fn connecting_is_cancelled_before_during_and_while_resolving() {
    trial_in_real_time(async || {
        let listener = TcpListener::bind((LOOPBACK, 0).into())?;
        let port = listener.local_addr()?.port();
        let before = descriptors();
        assert!(cancelled(connect_tcp("127.0.0.1", port)).await.is_none());
        assert!(cancelled(connect_tcp("localhost", port)).await.is_none());
        // An address that does not answer, where there is one.
        let nowhere: SocketAddr = ([192, 0, 2, 1], 9).into();
        let connecting = async { Ok(Connector::new().connect_any([nowhere]).await.map(drop)) };
        let outcome = move_on_after(Duration::from_millis(20), connecting).await?;
        assert!(outcome.timed_out() || outcome.completed().is_some_and(|it| it.is_err()));
        settle().await?;
        assert_eq!(descriptors(), before);
        drop(cancelled(listener.accept()).await);
        Ok(())
    });
}

/// Which sockets this process has, less those that other tests make: counted by inode of our own.
fn descriptors() -> usize {
    // Tests of this file run beside each other, so only sockets that connect to TEST-NET or wait
    // in SYN-SENT would tell; these are what a connect leaves behind.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table
        .lines()
        .filter(|line| line.contains("010200C0:0009"))
        .count()
}

// trio/test_socket.py::test_SocketType_connect_paths#d
// trio/test_socket.py::test_address_in_socket_error
#[test]
fn refused_connection_names_the_address() {
    trial_in_real_time(async || {
        let port = {
            let listener = TcpListener::bind((LOOPBACK, 0).into())?;
            listener.local_addr()?.port()
        };
        let error = connect_tcp("127.0.0.1", port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
        let failed = Error::from(error);
        let failed = failed.downcast_ref::<ConnectFailed>().unwrap();
        assert_eq!(failed.attempts().len(), 1);
        Ok(())
    });
}

// trio/test_socket.py::test_many_sockets
#[test]
fn many_readers_are_cancelled() {
    trial_in_real_time(async || {
        let mut pairs = Vec::new();
        while pairs.len() < 300 {
            match UnixStream::pair() {
                Ok(pair) => pairs.push(pair),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(24), "{error}");
                    break;
                }
            }
        }
        assert!(pairs.len() > 50);
        nursery(async |n| {
            for (a, b) in &pairs {
                for stream in [a, b] {
                    n.start_soon(async { Ok(receive(stream).await?) });
                }
            }
            settle().await?;
            n.cancel();
            Ok(())
        })
        .await
    });
}

// trio/test_socket.py::test_SocketType_shutdown
#[test]
fn one_or_both_directions_are_shut() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        a.send_eof().await?;
        assert_eq!(receive(&b).await?, b"");
        b.send_all(b"still").await?;
        assert_eq!(receive(&a).await?, b"still");
        a.close();
        assert_eq!(
            b.send_all(b"x").await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_simple_server
// trio/test_highlevel_open_tcp_stream.py::test_open_tcp_stream_real_socket_smoketest
// trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_basic
#[test]
fn two_clients_of_listeners_at_free_ports() {
    trial_in_real_time(async || {
        for listener in listen_tcp("localhost", 0).await? {
            let address = listener.local_addr()?;
            nursery(async |n| {
                n.start_soon(async {
                    for _ in 0..2 {
                        echo(listener.accept().await?).await?;
                    }
                    Ok(())
                });
                for _ in 0..2 {
                    let stream = connect_tcp(&address.ip().to_string(), address.port()).await?;
                    stream.send_all(b"hello").await?;
                    stream.send_eof().await?;
                    assert_eq!(receive(&stream).await?, b"hello");
                    assert_eq!(receive(&stream).await?, b"");
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_is_readable
#[test]
fn readiness_is_seen_and_nothing_taken() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        let a = tractor_runtime::io::Io::new(a.into_inner()?)?;
        let wait = || move_on_after(Duration::from_millis(5), async { Ok(a.readable().await?) });
        assert!(wait().await?.timed_out());
        b.send_all(b"x").await?;
        assert!(!wait().await?.timed_out());
        assert_eq!(a.read_with(|mut a| a.read(&mut [0])).await?, 1);
        assert!(wait().await?.timed_out());
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_dup
#[test]
fn duplicate_works_when_the_other_is_closed() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        let duplicate = UnixStream::new(a.get_ref().try_clone()?)?;
        drop(a);
        duplicate.send_all(b"x").await?;
        assert_eq!(receive(&b).await?, b"x");
        Ok(())
    });
}

// trio/test_socket.py::test_SocketType_unresolved_names
// trio/test_socket.py::test_SocketType_resolve
// trio/test_socket.py::test_getaddrinfo
#[test]
fn names_are_resolved_or_not() {
    trial_in_real_time(async || {
        let numeric = assert_checkpoints(resolve("127.0.0.1", 80)).await?;
        assert_eq!(numeric, [SocketAddr::from((LOOPBACK, 80))]);
        assert_eq!(resolve("::1", 80).await?, [address6(1)]);
        let local = assert_checkpoints(resolve("localhost", 80)).await?;
        assert!(
            local
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 80)
        );
        assert!(resolve("no-such-host.invalid", 80).await.is_err());
        assert!(cancelled(resolve("localhost", 80)).await.is_none());
        Ok(())
    });
}

// trio/test_socket.py::test_send_recv_variants
#[test]
fn bytes_in_pieces_and_datagrams() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        let data = [
            IoSlice::new(b"ab"),
            IoSlice::new(b""),
            IoSlice::new(b"cdef"),
        ];
        assert_eq!(a.send_vectored(&data).await?, 6);
        let (mut first, mut second) = ([0; 4], [0; 9]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(b.receive_vectored(&mut buffers).await?, 6);
        assert_eq!((&first, &second[..2]), (b"abcd", &b"ef"[..]));
        assert_eq!(b.send_some(b"gh").await?, 2);
        assert_eq!(receive(&a).await?, b"gh");

        let a = UdpSocket::bind((LOOPBACK, 0).into())?;
        let b = UdpSocket::bind((LOOPBACK, 0).into())?;
        let (at_a, at_b) = (a.get_ref().local_addr()?, b.get_ref().local_addr()?);
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(b.receive_from(&mut [0; 16]).await?) });
            settle().await?;
            assert!(Busy::is(&b.receive(&mut [0]).await.unwrap_err()));
            assert_eq!(a.send_to(b"ping", at_b).await?, 4);
            assert_eq!(waiting.await?, (4, at_a));
            Ok(())
        })
        .await?;
        a.connect(at_b)?;
        assert_eq!(a.send(b"pong").await?, 4);
        let mut short = [0; 2];
        assert_eq!(b.receive(&mut short).await?, 2);
        assert_eq!(&short, b"po");
        assert!(cancelled(a.send(b"never")).await.is_none());
        assert_eq!(
            b.get_ref().recv(&mut short).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        b.close();
        assert!(Closed::is(&b.receive(&mut short).await.unwrap_err()));
        Ok(())
    });
}

// trio/test_socket.py::test_socketpair_simple
#[test]
fn two_tasks_exchange_over_a_pair() {
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        nursery(async |n| {
            for (stream, text) in [(&a, &b"from a"[..]), (&b, b"from b")] {
                n.start_soon(async move {
                    stream.send_all(text).await?;
                    let mut expected = text.to_vec();
                    expected[5] ^= b'a' ^ b'b';
                    assert_eq!(receive(stream).await?, expected);
                    Ok(())
                });
            }
            Ok(())
        })
        .await
    });
}

// trio/test_socket.py::test_unix_domain_socket
// trio/test_highlevel_open_unix_stream.py::test_open_unix_socket
#[test]
fn unix_socket_serves_and_is_connected_to() {
    trial_in_real_time(async || {
        let directory = Directory::new("unix");
        let path = directory.0.join("socket");
        let listener = UnixListener::bind(&path)?;
        nursery(async |n| {
            n.start_soon(async { echo(listener.accept().await?).await });
            let stream = connect_unix(&path).await?;
            stream.send_all(b"x").await?;
            assert_eq!(receive(&stream).await?, b"x");
            stream.close();
            Ok(())
        })
        .await
    });
}

#[test]
fn unix_listener_without_room_is_waited_for() {
    trial_in_real_time(async || {
        let directory = Directory::new("backlog");
        let path = directory.0.join("socket");
        let listener = UnixListener::bind(&path)?;
        rustix::net::listen(&listener, 0)?;
        nursery(async |n| {
            let clients = [0; 4].map(|_| n.start_soon(async { Ok(connect_unix(&path).await?) }));
            sleep(Duration::from_millis(20)).await?;
            assert!(clients.iter().any(|client| !client.is_finished()));
            for client in clients {
                listener.accept().await?;
                client.await?;
            }
            Ok(())
        })
        .await
    });
}

// trio/test_highlevel_open_unix_stream.py::test_open_bad_socket
#[test]
fn unix_socket_that_is_not_there() {
    trial_in_real_time(async || {
        let error = connect_unix("/nonexistent/socket").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nonexistent/socket"), "{error}");
        Ok(())
    });
}

// trio/test_highlevel_open_unix_stream.py::test_close_on_error
// trio/test_highlevel_open_tcp_stream.py::test_close_all
#[test]
fn socket_is_closed_by_the_error_that_drops_it() {
    trial_in_real_time(async || {
        for fails in [true, false] {
            let (ours, theirs) = net::UnixStream::pair()?;
            let take_over = async || {
                let stream = UnixStream::new(ours)?;
                if fails {
                    return Err(Error::from(Boom("a")));
                }
                Ok(stream)
            };
            let kept = take_over().await;
            theirs.set_nonblocking(true)?;
            let closed = matches!((&theirs).read(&mut [0]), Ok(0));
            assert_eq!(closed, kept.is_err());
        }
        Ok(())
    });
}

// trio/test_highlevel_socket.py::test_SocketStream_basics
#[test]
fn small_pieces_go_out_at_once() {
    trial_in_real_time(async || {
        let listener = TcpListener::bind((LOOPBACK, 0).into())?;
        let client = connect_tcp("127.0.0.1", listener.local_addr()?.port()).await?;
        let server = listener.accept().await?;
        assert!(client.get_ref().nodelay()? && server.get_ref().nodelay()?);
        assert_eq!(
            client.get_ref().local_addr()?,
            server.get_ref().peer_addr()?
        );
        client.as_fd();
        Ok(())
    });
}

// trio/test_highlevel_socket.py::test_SocketStream_send_all
#[test]
fn ten_megabytes_to_a_late_reader() {
    const BYTES: usize = 10_000_000;
    trial_in_real_time(async || {
        let (a, b) = UnixStream::pair()?;
        nursery(async |n| {
            n.start_soon(async {
                a.send_all(&vec![5; BYTES]).await?;
                Ok(a.send_eof().await?)
            });
            sleep(Duration::from_millis(20)).await?;
            let mut count = 0;
            let mut buffer = vec![0; 100_000];
            loop {
                match b.receive_some(&mut buffer).await? {
                    0 => break,
                    some => count += some,
                }
            }
            assert_eq!(count, BYTES);
            Ok(())
        })
        .await
    });
}

// trio/test_highlevel_socket.py::test_SocketListener
// trio/test_highlevel_socket.py::test_SocketListener_socket_closed_underfoot
#[test]
fn listener_accepts_until_it_is_closed() {
    trial_in_real_time(async || {
        let deaf = std::os::unix::net::UnixStream::pair()?.0;
        let deaf = net::UnixListener::from(std::os::fd::OwnedFd::from(deaf));
        let error = SocketListener::new(deaf).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);

        let listener = TcpListener::bind((LOOPBACK, 0).into())?;
        let client = connect_tcp("127.0.0.1", listener.local_addr()?.port()).await?;
        let server = assert_checkpoints(listener.accept()).await?;
        server.send_all(b"x").await?;
        assert_eq!(receive(&client).await?, b"x");
        nursery(async |n| {
            n.start_soon(async {
                assert!(Closed::is(&listener.accept().await.unwrap_err()));
                Ok(())
            });
            settle().await?;
            assert!(Busy::is(&listener.accept().await.unwrap_err()));
            listener.close();
            listener.close();
            Ok(())
        })
        .await?;
        assert!(Closed::is(&listener.accept().await.unwrap_err()));
        Ok(())
    });
}

// trio/test_highlevel_socket.py::test_socket_stream_works_when_peer_has_already_closed
#[test]
fn stream_of_a_peer_that_has_gone() {
    trial_in_real_time(async || {
        let (a, b) = net::UnixStream::pair()?;
        (&b).write_all(b"x")?;
        drop(b);
        let a = SocketStream::new(a)?;
        assert_eq!(receive(&a).await?, b"x");
        assert_eq!(receive(&a).await?, b"");
        Ok(())
    });
}

#[test]
fn crates_on_the_traits_of_futures_read_and_write() {
    trial_in_real_time(async || {
        let (mut a, b) = UnixStream::pair()?;
        nursery(async |n| {
            n.start_soon(async {
                let (mut read, mut write) = (&b, &b);
                let mut line = [0; 5];
                read.read_exact(&mut line).await?;
                write.write_all(&line).await?;
                AsyncWriteExt::close(&mut write).await?;
                assert!(Closed::is(&b.send_all(b"x").await.unwrap_err()));
                Ok(())
            });
            a.write_all(b"hello").await?;
            a.flush().await?;
            let mut answer = Vec::new();
            a.read_to_end(&mut answer).await?;
            assert_eq!(answer, b"hello");
            Ok(())
        })
        .await?;

        // Cancelled while it waits, nothing is lost, and the stream goes on.
        let (mut a, b) = UnixStream::pair()?;
        let mut buffer = [0; 3];
        let reading = async { Ok(a.read(&mut buffer).await?) };
        assert!(
            move_on_after(Duration::from_millis(5), reading)
                .await?
                .timed_out()
        );
        b.send_all(b"abc").await?;
        assert!(cancelled(a.read(&mut buffer)).await.is_none());
        assert_eq!(a.read(&mut buffer).await?, 3);
        // Polled reads are told that another task reads, and that it is closed.
        nursery(async |n| {
            n.start_soon(async {
                assert!(Closed::is(&receive(&a).await.unwrap_err()));
                Ok(())
            });
            settle().await?;
            assert!(Busy::is(&(&a).read(&mut [0]).await.unwrap_err()));
            a.close();
            Ok(())
        })
        .await?;
        assert!(Closed::is(&a.read(&mut buffer).await.unwrap_err()));
        Ok(())
    });
}

/// Connections come from a channel.
struct MemoryListener<'a> {
    incoming: Receiver<MemoryStream>,
    closed: NoteDrop<'a>,
}

impl<'a> MemoryListener<'a> {
    fn new(log: &'a Log) -> (Sender<MemoryStream>, Self) {
        let (sender, incoming) = channel(10);
        let closed = NoteDrop(log, "listener closed");
        (sender, Self { incoming, closed })
    }
}

impl Close for MemoryListener<'_> {
    fn close(&self) {
        let _ = &self.closed;
        self.incoming.close();
    }
}

impl Listener for MemoryListener<'_> {
    type Stream = MemoryStream;
    async fn accept(&self) -> io::Result<MemoryStream> {
        Ok(self.incoming.recv().await.map_err(Error::from)?)
    }
}

async fn connect(sender: &Sender<MemoryStream>) -> Result<MemoryStream> {
    let (ours, theirs) = memory_stream_pair();
    sender
        .try_send(theirs)
        .map_err(|_| Boom("the listener is closed"))?;
    Ok(ours)
}

// trio/test_highlevel_serve_listeners.py::test_serve_listeners_basic
#[test]
fn six_clients_of_two_listeners() {
    trial(async || {
        let log = Log::default();
        let (first, a) = MemoryListener::new(&log);
        let (second, b) = MemoryListener::new(&log);
        let handled = Cell::new(0);
        nursery(async |n| {
            n.start_soon(async {
                serve_listeners(vec![a, b], async |stream: MemoryStream| {
                    handled.set(handled.get() + 1);
                    stream.send_all(b"123").await?;
                    Ok(())
                })
                .await
            });
            for sender in [&first, &second].into_iter().cycle().take(6) {
                let client = connect(sender).await?;
                assert_eq!(receive(&client).await?, b"123");
                // The handler is done, and the connection with it.
                assert_eq!(receive(&client).await?, b"");
                let error = client.send_all(b"x").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(handled.get(), 6);
        assert_eq!(log.count(), 2);
        Ok(())
    });
}

/// Says what it was told to say.
struct Faulty(RefCell<VecDeque<io::Error>>);

impl Close for Faulty {
    fn close(&self) {}
}

impl Listener for Faulty {
    type Stream = MemoryStream;
    async fn accept(&self) -> io::Result<MemoryStream> {
        checkpoint().await?;
        let error = self.0.borrow_mut().pop_front();
        Err(error.unwrap_or_else(|| io::Error::from_raw_os_error(24)))
    }
}

// trio/test_highlevel_serve_listeners.py::test_serve_listeners_accept_unrecognized_error
#[test]
fn other_error_of_a_listener_ends_the_server() {
    trial(async || {
        let faults = [io::Error::other(Boom("accept"))];
        let listener = Faulty(RefCell::new(faults.into()));
        let error = serve_listeners(vec![listener], echo).await.unwrap_err();
        assert!(error.is::<Boom>(), "{error:?}");
        Ok(())
    });
}

// trio/test_highlevel_serve_listeners.py::test_serve_listeners_accept_capacity_error
#[test]
fn full_table_of_descriptors_is_waited_out() {
    trial(async || {
        let tries = Rc::new(Cell::new(0));
        struct Counting(Rc<Cell<u32>>);
        impl Close for Counting {
            fn close(&self) {}
        }
        impl Listener for Counting {
            type Stream = MemoryStream;
            async fn accept(&self) -> io::Result<MemoryStream> {
                checkpoint().await?;
                self.0.set(self.0.get() + 1);
                Err(io::Error::from_raw_os_error(24))
            }
        }
        let start = now();
        let serving = serve_listeners(vec![Counting(tries.clone())], echo);
        let outcome = move_on_after(Duration::from_millis(950), serving).await?;
        assert!(outcome.timed_out());
        assert_eq!(now() - start, Duration::from_millis(950));
        assert_eq!(tries.get(), 10);
        Ok(())
    });
}

// trio/test_highlevel_serve_listeners.py::test_serve_listeners_connection_nursery
#[test]
fn handlers_in_a_nursery_of_their_own() {
    trial(async || {
        let log = Log::default();
        let (sender, listener) = MemoryListener::new(&log);
        let running = Cell::new(0);
        let clients = RefCell::new(Vec::new());
        let handler = async |stream: MemoryStream| {
            running.set(running.get() + 1);
            let _gone = NoteDrop(&log, "handler");
            receive(&stream).await?;
            Ok(())
        };
        let error = nursery(async |handlers| {
            nursery(async |n| {
                n.start_soon(async {
                    serve_listeners_in(handlers, vec![listener], &handler).await
                });
                for _ in 0..10 {
                    let client = connect(&sender).await?;
                    clients.borrow_mut().push(client);
                }
                wait_all_tasks_blocked().await?;
                assert_eq!(running.get(), 10);
                n.cancel();
                Ok(())
            })
            .await?;
            // The listener is gone, and the handlers go on until their nursery fails.
            assert_eq!(log.seen(), ["listener closed"]);
            Err::<(), _>(Boom("body").into())
        })
        .await
        .unwrap_err();
        assert_eq!(booms(&error), ["body"]);
        assert_eq!(log.count(), 11);
        Ok(())
    });
}

#[test]
fn handler_that_fails_ends_the_server() {
    trial(async || {
        let log = Log::default();
        let (sender, listener) = MemoryListener::new(&log);
        let client = connect(&sender).await?;
        let handler = async |_| Err(Boom("handler").into());
        let error = serve_listeners(vec![listener], handler).await.unwrap_err();
        assert_eq!(booms(&error), ["handler"]);
        assert_eq!(receive(&client).await?, b"");
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_listeners.py::test_serve_tcp
#[test]
fn serving_begins_says_where_and_ends() {
    trial_in_real_time(async || {
        nursery(async |n| {
            let serve = async |status: TaskStatus<Vec<SocketAddr>>| {
                serve_tcp(
                    "127.0.0.1",
                    0,
                    async |stream: TcpStream| {
                        stream.send_all(b"x").await?;
                        Ok(())
                    },
                    status,
                )
                .await
            };
            let addresses = n.start(serve).await?;
            let client = connect_tcp("127.0.0.1", addresses[0].port()).await?;
            assert_eq!(receive(&client).await?, b"x");
            assert_eq!(receive(&client).await?, b"");
            n.cancel();
            Ok(())
        })
        .await
    });
}

// trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_specific_port_specific_host
#[test]
fn listening_at_a_certain_port() {
    trial_in_real_time(async || {
        // Somebody may be quicker than us with a port that has just been free.
        for _ in 0..20 {
            let port = TcpListener::bind((LOOPBACK, 0).into())?
                .local_addr()?
                .port();
            if let Ok(listeners) = listen_tcp("127.0.0.1", port).await {
                assert_eq!(listeners.len(), 1);
                assert_eq!(
                    listeners[0].local_addr()?,
                    SocketAddr::from((LOOPBACK, port))
                );
                return Ok(());
            }
        }
        panic!("no port was free twice");
    });
}

// trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_ipv6_v6only
#[test]
fn wildcard_of_one_kind_does_not_take_the_other() {
    trial_in_real_time(async || {
        let Ok(listener) = TcpListener::bind("[::]:0".parse().unwrap()) else {
            return Ok(()); // This machine has no IPv6.
        };
        let port = listener.local_addr()?.port();
        let error = connect_tcp("127.0.0.1", port).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        connect_tcp("::1", port).await?;
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_rebind
#[test]
fn port_is_taken_while_somebody_listens_and_free_after() {
    trial_in_real_time(async || {
        let listener = TcpListener::bind((LOOPBACK, 0).into())?;
        let address = listener.local_addr()?;
        let error = TcpListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        // A connection that lingers: closed by the server first.
        let client = connect_tcp("127.0.0.1", address.port()).await?;
        drop(listener.accept().await?);
        assert_eq!(receive(&client).await?, b"");
        drop(client);
        drop(listener);
        TcpListener::bind(address)?;
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_listeners.py::test_open_tcp_listeners_backlog
#[test]
fn backlog_of_any_size() {
    trial_in_real_time(async || {
        for backlog in [0, 1, 10, 100_000, u32::MAX] {
            let listener = TcpListener::bind_with_backlog((LOOPBACK, 0).into(), backlog)?;
            connect_tcp("127.0.0.1", listener.local_addr()?.port()).await?;
        }
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_local_address_real
#[test]
fn connecting_from_a_certain_address() {
    trial_in_real_time(async || {
        let listener = TcpListener::bind((LOOPBACK, 0).into())?;
        let port = listener.local_addr()?.port();
        let from = [127, 0, 0, 2].into();
        let connector = Connector::new().local_address(from);
        let stream = connector.connect("127.0.0.1", port).await?;
        assert_eq!(stream.get_ref().local_addr()?.ip(), from);
        let connector = Connector::new().local_address("::1".parse().unwrap());
        let error = Error::from(connector.connect("127.0.0.1", port).await.unwrap_err());
        assert!(error.is::<ConnectFailed>(), "{error:?}");
        Ok(())
    });
}

/// What attempts do, each after some milliseconds, and when they began.
struct Scripted {
    outcomes: Vec<(SocketAddr, u64, bool)>,
    begun: RefCell<Vec<(u8, Duration)>>,
    open: Log,
}

impl Scripted {
    fn new(outcomes: &[(u64, bool)]) -> Self {
        let outcomes = outcomes.iter().zip(1..);
        Self::at(
            outcomes
                .map(|(&(ms, works), last)| (address(last), ms, works))
                .collect(),
        )
    }

    fn at(outcomes: Vec<(SocketAddr, u64, bool)>) -> Self {
        Self {
            outcomes,
            begun: RefCell::default(),
            open: Log::default(),
        }
    }

    async fn connect(&self, delay: Duration) -> (io::Result<u8>, Duration) {
        let start = now();
        let addresses: Vec<_> = self.outcomes.iter().map(|(address, ..)| *address).collect();
        let connected = happy_eyeballs(addresses, delay, async |address| {
            let place = self
                .outcomes
                .iter()
                .position(|(other, ..)| *other == address);
            let (_, ms, works) = self.outcomes[place.unwrap()];
            let number = place.unwrap() as u8 + 1;
            self.begun.borrow_mut().push((number, now() - start));
            let socket = NoteDrop(&self.open, "closed");
            sleep(Duration::from_millis(ms)).await?;
            if works {
                Ok((number, socket))
            } else {
                Err(io::Error::other(Boom("refused")))
            }
        })
        .await;
        let took = now() - start;
        let connected = connected.map(|(number, socket)| {
            // All the others are closed by now.
            assert_eq!(self.open.count(), self.begun.borrow().len() - 1);
            drop(socket);
            number
        });
        assert_eq!(self.open.count(), self.begun.borrow().len());
        (connected, took)
    }

    fn begun(&self) -> Vec<(u8, u128)> {
        let begun = self.begun.borrow();
        begun
            .iter()
            .map(|(number, at)| (*number, at.as_millis()))
            .collect()
    }
}

const DELAY: Duration = Duration::from_millis(250);

fn ms(duration: Duration) -> u128 {
    duration.as_millis()
}

// trio/test_highlevel_open_tcp_stream.py::test_one_host_quick_success
// trio/test_highlevel_open_tcp_stream.py::test_one_host_slow_success
// trio/test_highlevel_open_tcp_stream.py::test_one_host_quick_fail
// trio/test_highlevel_open_tcp_stream.py::test_one_host_slow_fail
#[test]
fn one_address_takes_its_time() {
    trial(async || {
        for (time, works) in [(123, true), (100_000, true), (123, false), (100_000, false)] {
            let (result, took) = Scripted::new(&[(time, works)]).connect(DELAY).await;
            assert_eq!(result.is_ok(), works);
            assert_eq!(ms(took), u128::from(time));
        }
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_basic_fallthrough
#[test]
fn third_address_wins() {
    trial(async || {
        let script = Scripted::new(&[(1000, true), (1000, true), (200, true)]);
        let (winner, took) = script.connect(DELAY).await;
        assert_eq!((winner?, ms(took)), (3, 700));
        assert_eq!(script.begun(), [(1, 0), (2, 250), (3, 500)]);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_early_success
#[test]
fn second_address_wins_before_the_third_is_tried() {
    trial(async || {
        let script = Scripted::new(&[(1000, true), (100, true), (200, true)]);
        let (winner, took) = script.connect(DELAY).await;
        assert_eq!((winner?, ms(took)), (2, 350));
        assert_eq!(script.begun(), [(1, 0), (2, 250)]);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_custom_delay
#[test]
fn another_delay_between_attempts() {
    trial(async || {
        let script = Scripted::new(&[(1000, true), (1000, true), (1000, true)]);
        let (winner, took) = script.connect(Duration::from_millis(450)).await;
        assert_eq!((winner?, ms(took)), (1, 1000));
        assert_eq!(script.begun(), [(1, 0), (2, 450), (3, 900)]);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_custom_errors_expedite
#[test]
fn next_address_is_tried_as_soon_as_one_has_failed() {
    trial(async || {
        let script = Scripted::new(&[(100, false), (200, false), (500, true), (1000, true)]);
        let (winner, took) = script.connect(DELAY).await;
        assert_eq!((winner?, ms(took)), (3, 800));
        assert_eq!(script.begun(), [(1, 0), (2, 100), (3, 300), (4, 550)]);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_all_fail
#[test]
fn all_addresses_fail() {
    trial(async || {
        let outcomes = [(100, false), (10_000, false), (200, false), (100, false)];
        let script = Scripted::new(&outcomes);
        let (result, took) = script.connect(DELAY).await;
        assert_eq!(ms(took), 10_100);
        let error = result.unwrap_err();
        assert!(error.to_string().contains("4 attempts"), "{error}");
        let error = Error::from(error);
        assert_eq!(
            error
                .downcast_ref::<ConnectFailed>()
                .unwrap()
                .attempts()
                .len(),
            4
        );
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_multi_success
#[test]
fn three_succeed_at_once_and_one_wins() {
    trial(async || {
        let script = Scripted::new(&[(500, true), (250, true), (0, true), (0, true)]);
        let (winner, took) = script.connect(DELAY).await;
        assert!((1..=4).contains(&winner?));
        assert_eq!(ms(took), 500);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_reorder_for_rfc_6555_section_5_4
// trio/test_highlevel_open_tcp_stream.py::test_does_reorder
#[test]
fn address_of_the_other_kind_is_tried_second() {
    trial(async || {
        let script = Scripted::at(vec![
            (address(1), 10_000, true),
            (address(2), 10_000, true),
            (address(3), 10_000, true),
            (address6(4), 100, true),
        ]);
        let (winner, took) = script.connect(DELAY).await;
        assert_eq!((winner?, ms(took)), (4, 350));
        assert_eq!(script.begun(), [(1, 0), (4, 250)]);
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_handles_no_ipv4
// trio/test_highlevel_open_tcp_stream.py::test_handles_no_ipv6
#[test]
fn kind_of_address_that_this_machine_does_not_know() {
    trial(async || {
        for unknown_v6 in [true, false] {
            let start = now();
            let addresses = [address6(1), address(2), address6(3), address(4)];
            let winner = happy_eyeballs(addresses, DELAY, async |address| {
                if address.is_ipv6() == unknown_v6 {
                    return Err(io::Error::from_raw_os_error(97));
                }
                sleep(Duration::from_millis(100)).await?;
                Ok(address)
            })
            .await?;
            assert_eq!(winner.is_ipv6(), !unknown_v6);
            assert_eq!(ms(now() - start), 100);
        }
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_no_hosts
#[test]
fn no_address_to_connect_to() {
    trial(async || {
        let (result, _) = Scripted::new(&[]).connect(DELAY).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(Error::from(error).is::<ConnectFailed>());
        Ok(())
    });
}

// trio/test_highlevel_open_tcp_stream.py::test_cancel
#[test]
fn attempts_are_cancelled_together() {
    trial(async || {
        let script = Scripted::new(&[(10_000, true); 4]);
        let start = now();
        let connecting = async { Ok(script.connect(DELAY).await.0?) };
        let outcome = move_on_after(Duration::from_secs(5), connecting).await?;
        assert!(outcome.timed_out());
        assert_eq!(ms(now() - start), 5000);
        assert_eq!(script.begun().len(), 4);
        assert_eq!(script.open.count(), 4, "all are closed");
        Ok(())
    });
}
