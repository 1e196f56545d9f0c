//! Sockets between two tasks of one process.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use async_io::Async;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tractor_runtime::io::Io;
use tractor_runtime::nursery;

use crate::hosts;
use crate::stopwatch::Stopwatch;
use crate::workload::{Target, US, Unit, Workload};

const TRIPS: usize = 500;
type Packet = [u8; 64];

/// One task sends 64 bytes to another, which sends them back: over TCP on the loopback, and over
/// a pair of Unix sockets.
///
/// The clock runs over 500 round trips, within the task that asks, while the other already waits;
/// the figure is the time of one. All sockets have Nagle's delay switched off.
pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new("TCP echo, 64 B", Unit::Microseconds)
            .side(US, |watch| tractor(watch, tcp_pair()))
            .side("tokio", |watch| {
                tokio(watch, tcp_pair(), tokio::net::TcpStream::from_std);
            })
            .side("smol", |watch| smol(watch, tcp_pair()))
            .target(Target::Times(1.0, "tokio")),
        Workload::new("Unix socket echo, 64 B", Unit::Microseconds)
            .side(US, |watch| tractor(watch, unix_pair()))
            .side("tokio", |watch| {
                tokio(watch, unix_pair(), tokio::net::UnixStream::from_std);
            })
            .side("smol", |watch| smol(watch, unix_pair()))
            .target(Target::Times(1.0, "tokio")),
    ]
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("it listens");
    let (server, _) = listener.accept().expect("somebody has connected");
    for socket in [&client, &server] {
        socket.set_nodelay(true).expect("TCP has this option");
        socket.set_nonblocking(true).expect("sockets can be that");
    }
    (client, server)
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (client, server) = UnixStream::pair().expect("there are descriptors left");
    for socket in [&client, &server] {
        socket.set_nonblocking(true).expect("sockets can be that");
    }
    (client, server)
}

fn tractor<S: AsFd + 'static>(watch: Stopwatch, (client, server): (S, S))
where
    for<'a> &'a S: Read + Write,
{
    hosts::tractor(async || {
        let (client, server) = (Io::new(client)?, Io::new(server)?);
        nursery(async |n| {
            n.start_soon(async {
                let mut packet: Packet = [0; 64];
                while receive(&server, &mut packet).await.is_ok() {
                    send(&server, &packet).await?;
                }
                Ok(())
            });
            let mut packet: Packet = [7; 64];
            while watch.again() {
                let started = watch.start();
                for _ in 0..TRIPS {
                    send(&client, &packet).await?;
                    receive(&client, &mut packet).await?;
                }
                watch.stop(started, TRIPS);
            }
            drop(client);
            Ok(())
        })
        .await
    });
}

async fn send<S: AsFd>(socket: &Io<S>, mut bytes: &[u8]) -> io::Result<()>
where
    for<'a> &'a S: Write,
{
    while !bytes.is_empty() {
        let sent = socket.write_with(|mut socket| socket.write(bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

async fn receive<S: AsFd>(socket: &Io<S>, packet: &mut Packet) -> io::Result<()>
where
    for<'a> &'a S: Read,
{
    let mut filled = 0;
    while filled < packet.len() {
        let rest = &mut packet[filled..];
        match socket.read_with(|mut socket| socket.read(rest)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(())
}

fn tokio<S: 'static, T>(watch: Stopwatch, (client, server): (S, S), wrap: fn(S) -> io::Result<T>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    hosts::tokio(async move {
        let mut client = wrap(client).expect("the socket can be registered");
        let mut server = wrap(server).expect("the socket can be registered");
        let echo = tokio::task::spawn_local(async move {
            let mut packet: Packet = [0; 64];
            while server.read_exact(&mut packet).await.is_ok() {
                server.write_all(&packet).await.expect("the asker listens");
            }
        });
        let mut packet: Packet = [7; 64];
        while watch.again() {
            let started = watch.start();
            for _ in 0..TRIPS {
                client.write_all(&packet).await.expect("the echo listens");
                client
                    .read_exact(&mut packet)
                    .await
                    .expect("the echo answers");
            }
            watch.stop(started, TRIPS);
        }
        drop(client);
        echo.await.expect("the echo does not panic");
    });
}

fn smol<S: AsFd + 'static>(watch: Stopwatch, (client, server): (S, S))
where
    Async<S>: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin,
{
    hosts::smol(async move |executor| {
        let mut client = Async::new(client).expect("the socket can be registered");
        let mut server = Async::new(server).expect("the socket can be registered");
        let echo = executor.spawn(async move {
            let mut packet: Packet = [0; 64];
            while server.read_exact(&mut packet).await.is_ok() {
                server.write_all(&packet).await.expect("the asker listens");
            }
        });
        let mut packet: Packet = [7; 64];
        while watch.again() {
            let started = watch.start();
            for _ in 0..TRIPS {
                client.write_all(&packet).await.expect("the echo listens");
                client
                    .read_exact(&mut packet)
                    .await
                    .expect("the echo answers");
            }
            watch.stop(started, TRIPS);
        }
        drop(client);
        echo.await;
    });
}
