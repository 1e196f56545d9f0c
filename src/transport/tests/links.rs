use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};
use tractor_runtime::sync::Event;
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::{
    Result, TaskHandle, TooSlow, checkpoint, fail_after, move_on_after, nursery,
};

use super::super::{ByteStream, Link, LinkError, LinkReader, Received, SendError};
use super::*;
use crate::wire::{Carrier, WireError, append_message};

fn link() -> (Rc<Link>, UnixStream) {
    link_within(Limits::default())
}

fn link_within(limits: Limits) -> (Rc<Link>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let ours = ByteStream::socket(ours).expect("a socket");
    (Link::over(ours, limits), theirs)
}

fn framed(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    append_message(&mut frame, message, &Limits::default()).expect("within the limit");
    frame
}

async fn next_error(reader: &mut LinkReader) -> Result<LinkError> {
    match reader.next().await? {
        Received::Broken(error) => {
            // After that there is nothing more.
            assert!(matches!(reader.next().await?, Received::Ended));
            Ok(error)
        }
        other => panic!("the link did not break: {other:?}"),
    }
}

#[test]
fn messages_go_both_ways() {
    trial(async || {
        for ends in [socket_pair, tcp_pair, memory_pair] {
            talk(ends()?).await?;
        }
        Ok(())
    });
}

fn socket_pair() -> Result<[ByteStream; 2]> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok([ByteStream::socket(ours)?, ByteStream::socket(theirs)?])
}

fn tcp_pair() -> Result<[ByteStream; 2]> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    Ok([ByteStream::socket(ours)?, ByteStream::socket(theirs)?])
}

fn memory_pair() -> Result<[ByteStream; 2]> {
    Ok(ByteStream::pair().into())
}

async fn talk(ends: [ByteStream; 2]) -> Result<()> {
    let [ours, theirs] = ends.map(|end| Link::over(end, Limits::default()));
    let cid = Cid::fresh();
    let items: Vec<_> = (0..500)
        .map(|number| item(&cid, &"x".repeat(number * number / 8)))
        .collect();
    nursery(async |n| {
        for (link, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let items = &items;
            n.start_soon(async move {
                link.write_loop().await?.expect("the peer reads");
                Ok(())
            });
            n.start_soon(async move {
                for item in items {
                    link.room().await?;
                    link.send(item)?;
                }
                link.close();
                Ok(())
            });
            n.start_soon(async move {
                let mut reader = other.reader();
                for item in items {
                    assert_eq!(next_message(&mut reader).await?, *item);
                }
                assert!(matches!(reader.next().await?, Received::Ended));
                Ok(())
            });
        }
        Ok(())
    })
    .await
}

#[test]
fn what_is_said_in_one_turn_goes_out_together() {
    trial(async || {
        // Here each write is a packet.
        let (ours, theirs) = net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::empty(),
            None,
        )?;
        let link = Link::over(ByteStream::socket(ours)?, Limits::default());
        let said = Event::new();
        nursery(async |n| {
            n.start_soon(async {
                link.write_loop().await?.expect("the peer is there");
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            n.start_soon(async {
                // Who is woken by the first message's sender runs after the write loop.
                said.wait().await?;
                link.send(&credit(2))?;
                link.close();
                Ok(())
            });
            wait_all_tasks_blocked().await?;
            link.send(&credit(1))?;
            said.set();
            Ok(())
        })
        .await?;
        let mut packet = [0; 1024];
        let (_, len) = net::recv(&theirs, &mut packet, RecvFlags::empty())?;
        assert_eq!(messages_in(&packet[..len]), [credit(1), credit(2)]);
        Ok(())
    });
}

#[test]
fn half_a_frame_is_an_error_after_what_was_whole() {
    trial(async || {
        let (link, mut peer) = link();
        let whole = item(&Cid::fresh(), "whole");
        let mut bytes = framed(&whole);
        let size = bytes.len();
        bytes.extend(framed(&whole));
        peer.write_all(&bytes[..2 * size - 1])?;
        drop(peer);
        let mut reader = link.reader();
        assert_eq!(next_message(&mut reader).await?, whole);
        let error = next_error(&mut reader).await?;
        let cut = WireError::CutFrame {
            have: size - 1,
            want: Some(size),
        };
        assert!(matches!(error, LinkError::Wire(error) if error == cut));
        Ok(())
    });
}

#[test]
fn oversized_frame_is_an_error_before_it_comes() {
    trial(async || {
        let (link, mut peer) = link();
        peer.write_all(&u32::MAX.to_le_bytes())?;
        let error = next_error(&mut link.reader()).await?;
        assert_eq!(
            error.to_string(),
            "a frame of 4294967295 bytes is over the limit of 16777216"
        );
        Ok(())
    });
}

#[test]
fn unknown_tag_is_an_error_that_names_it() {
    trial(async || {
        let (link, mut peer) = link();
        peer.write_all(b"\x0e\0\0\0\x81\xa8msg_type\xa3Foo")?;
        let error = next_error(&mut link.reader()).await?;
        assert_eq!(error.to_string(), "unknown msg_type \"Foo\"");
        Ok(())
    });
}

#[test]
fn peer_that_stops_reading_holds_up_items_only() {
    trial(async || {
        let limits = Limits {
            buffered: 10_000,
            buffered_control: 10_000,
            ..Limits::default()
        };
        let (link, peer) = link_within(limits);
        let cid = Cid::fresh();
        let text = "x".repeat(1000);
        nursery(async |n| {
            let writer = n.start_soon({
                let link = link.clone();
                async move {
                    let ended = link.write_loop().await?;
                    Ok(ended)
                }
            });
            // The socket's buffers fill, then ours.
            let filled = fail_after(Duration::from_millis(300), async {
                loop {
                    link.room().await?;
                    match link.send_value(Carrier::Yield, &cid, &text) {
                        Ok(()) | Err(SendError::Full) => {}
                        Err(error) => return Err::<(), _>(error.into()),
                    }
                }
            })
            .await;
            assert!(filled.expect_err("nobody reads").is::<TooSlow>());
            let refused = link.send_value(Carrier::Yield, &cid, &text);
            assert!(matches!(refused, Err(SendError::Full)));
            link.send(&credit(1))?;
            let stuck = loop {
                if let Err(error) = link.send(&credit(1)) {
                    break error;
                }
            };
            assert!(matches!(stuck, SendError::Stuck { limit: 10_000 }));
            // That costs the connection, and frees everybody who waits.
            link.room().await?;
            assert!(matches!(link.send(&credit(1)), Err(SendError::Closed)));
            // Either it finds the socket shut or it has nothing left to write.
            let _ = writer.await?;
            drop(peer);
            Ok(())
        })
        .await
    });
}

#[test]
fn peer_that_goes_away_in_the_middle_of_a_batch_is_a_write_error() {
    trial(async || {
        let (link, mut peer) = link();
        let cid = Cid::fresh();
        let last = item(&cid, "last");
        peer.write_all(&framed(&last))?;
        let text = "x".repeat(100_000);
        fill(&link, &cid, &text)?;
        // It takes a part and goes.
        let peer = thread::spawn(move || peer.read_exact(&mut [0; 10_000]));
        let error = link.write_loop().await?.expect_err("the peer is gone");
        peer.join().expect("the peer does not panic")?;
        let error = error.to_string();
        assert!(
            error.contains("Broken pipe") || error.contains("reset"),
            "{error}"
        );
        assert!(matches!(link.send(&credit(1)), Err(SendError::Closed)));
        // What it sent before is still there.
        let mut reader = link.reader();
        assert_eq!(next_message(&mut reader).await?, last);
        assert!(matches!(reader.next().await?, Received::Ended));
        Ok(())
    });
}

#[test]
fn reset_between_frames_is_the_end_and_inside_one_an_error() {
    for cut in [0, 1] {
        trial(async move || {
            let (link, mut peer) = link();
            let last = item(&Cid::fresh(), "last");
            link.send(&credit(1))?;
            link.close();
            link.write_loop().await?.expect("the socket takes it");
            // What the peer leaves unread makes the kernel reset the connection.
            let bytes = framed(&last).repeat(2);
            peer.write_all(&bytes[..bytes.len() - cut])?;
            drop(peer);
            let mut reader = link.reader();
            assert_eq!(next_message(&mut reader).await?, last);
            if cut == 0 {
                assert_eq!(next_message(&mut reader).await?, last);
                assert!(matches!(reader.next().await?, Received::Ended));
            } else {
                let error = next_error(&mut reader).await?;
                assert!(matches!(error, LinkError::Wire(WireError::CutFrame { .. })));
            }
            Ok(())
        });
    }
}

#[test]
fn closing_writes_what_waits_and_goes_on_receiving() {
    trial(async || {
        let (link, mut peer) = link();
        let cid = Cid::fresh();
        let text = "x".repeat(100_000);
        let sent = fill(&link, &cid, &text)?;
        link.close();
        assert!(matches!(link.send(&credit(1)), Err(SendError::Closed)));
        let peer = thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes)?;
            peer.write_all(&framed(&credit(7)))?;
            peer.shutdown(Shutdown::Write)?;
            std::io::Result::Ok(messages_in(&bytes).len())
        });
        link.write_loop().await?.expect("the peer reads");
        let mut reader = link.reader();
        assert_eq!(next_message(&mut reader).await?, credit(7));
        assert!(matches!(reader.next().await?, Received::Ended));
        let read = peer.join().expect("the peer does not panic")?;
        assert_eq!(read, sent);
        Ok(())
    });
}

#[test]
fn full_reader_gives_way_to_who_takes_what_it_read() {
    trial(async || {
        let (link, mut peer) = link();
        let bytes = framed(&item(&Cid::fresh(), "item")).repeat(1000);
        peer.write_all(&bytes)?;
        drop(peer);
        let waiting = Cell::new(0);
        nursery(async |n| {
            let taker = n.start_soon(async {
                loop {
                    waiting.set(0);
                    checkpoint().await?;
                }
            });
            let mut reader = link.reader();
            let mut count = 0;
            while let Received::Message(_) = reader.next().await? {
                count += 1;
                waiting.set(waiting.get() + 1);
                assert!(waiting.get() <= 64, "the window of a stream would overrun");
            }
            assert_eq!(count, 1000);
            let _: &TaskHandle<'_, ()> = &taker;
            taker.cancel();
            Ok(())
        })
        .await
    });
}

#[test]
fn cancelled_read_loses_nothing() {
    trial(async || {
        let (link, mut peer) = link();
        let message = item(&Cid::fresh(), &"x".repeat(100_000));
        let bytes = framed(&message);
        let mut reader = link.reader();
        for piece in bytes.chunks(bytes.len() / 10) {
            let waited = move_on_after(Duration::from_millis(5), async {
                let _ = reader.next().await?;
                Ok(())
            })
            .await?;
            assert!(waited.timed_out(), "the message is not whole");
            peer.write_all(piece)?;
        }
        assert_eq!(next_message(&mut reader).await?, message);
        Ok(())
    });
}

#[test]
fn cancelled_write_loop_can_be_run_again() {
    trial(async || {
        let (link, mut peer) = link();
        let cid = Cid::fresh();
        let text = "x".repeat(100_000);
        let sent = fill(&link, &cid, &text)?;
        let waited = move_on_after(Duration::from_millis(20), async {
            link.write_loop().await?.expect("the peer is there");
            Ok(())
        })
        .await?;
        assert!(waited.timed_out(), "nobody reads");
        link.close();
        let peer = thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes)?;
            std::io::Result::Ok(messages_in(&bytes).len())
        });
        link.write_loop().await?.expect("the peer reads");
        let read = peer.join().expect("the peer does not panic")?;
        assert_eq!(read, sent);
        Ok(())
    });
}

#[test]
fn flushed_waits_for_the_kernel() {
    trial(async || {
        let (link, mut peer) = link();
        nursery(async |n| {
            let writer = n.start_soon(async {
                link.write_loop().await?.expect("the peer is there");
                Ok(())
            });
            link.send(&credit(1))?;
            link.flushed().await?;
            let mut bytes = vec![0; framed(&credit(1)).len()];
            peer.set_nonblocking(true)?;
            peer.read_exact(&mut bytes)?;
            assert_eq!(messages_in(&bytes), [credit(1)]);
            link.abort();
            writer.await
        })
        .await
    });
}
