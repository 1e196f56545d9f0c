//! The side that opens a dialog against peers that are played: word for word as live peers of
//! another implementation were recorded, and in ways that no honest peer would choose.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tractor_runtime::{Error, Result, checkpoint, move_on_after, nursery, run, time};

use super::*;
use crate::Portal;
use crate::actor::{Actor, Connection, Enabled, host};
use crate::endpoint::Table;
use crate::error::{ContextCancelled, ModuleNotExposed, MsgTypeError, RemoteActorError};
use crate::spawn::Watchdog;
use crate::transport::{ByteStream, Link};
use crate::wire::recordings::{Recorded, Seen, recordings};
use crate::wire::{
    Aid, Cid, ErrorMsg, FrameDecoder, FuncType, Limits, Message, Payload, append_message,
};

struct Any;

impl Dialog for Any {
    type Started = Seen;
    type ToChild = Seen;
    type ToParent = Seen;
}

/// The other end of a connection, without any of this library above its messages.
struct Peer {
    socket: UnixStream,
    decoder: FrameDecoder,
}

impl Peer {
    fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: FrameDecoder::new(Limits::default()),
        }
    }

    /// The next message; `None` at the end.
    fn receive(&mut self) -> Option<Message> {
        let limits = Limits::default();
        loop {
            if let Some(frame) = self
                .decoder
                .next_frame()
                .expect("frames are within the limit")
            {
                return Some(frame.decode(&limits).expect("frames are messages"));
            }
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => {
                    let room = self.decoder.spare(count);
                    room.extend_from_slice(&bytes[..count]);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn receive_start(&mut self) -> Cid {
        match self.receive() {
            Some(Message::Start(start)) => start.cid,
            other => panic!("not a Start: {other:?}"),
        }
    }

    /// Sends all of them at a stroke.
    fn send(&mut self, messages: &[Message]) {
        let mut bytes = Vec::new();
        for message in messages {
            append_message(&mut bytes, message, &Limits::default()).expect("within the limit");
        }
        self.socket.write_all(&bytes).expect("the actor is there");
    }

    /// Waits until the other side has nothing more to say.
    fn end(mut self) {
        while self.receive().is_some() {}
    }
}

/// Runs `main` as the actor `own`, connected to the actor `peer` that `script` plays.
fn against<T: Send + 'static>(
    own: Uid,
    peer: Uid,
    script: impl FnOnce(Peer) + Send + 'static,
    main: impl AsyncFnOnce(Portal) -> Result<T> + Send + 'static,
) -> T {
    const HANG: Duration = Duration::from_secs(30);
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs.set_read_timeout(Some(HANG)).expect("it is not zero");
    let script = thread::spawn(move || script(Peer::new(theirs)));
    let (done, finished) = channel();
    let actor = thread::spawn(move || {
        let result = run(async || be_actor(own, peer, ours, main).await);
        // The guard below may have given up.
        let _ = done.send(());
        result
    });
    if let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(HANG) {
        panic!("still running after {HANG:?}");
    }
    let result = actor.join().expect("the actor does not panic");
    script.join().expect("the peer does not panic");
    result.expect("the test does not fail")
}

async fn be_actor<T>(
    own: Uid,
    peer: Uid,
    socket: UnixStream,
    main: impl AsyncFnOnce(Portal) -> Result<T>,
) -> Result<T> {
    let table = Table::new()?;
    let actor = Actor::new(
        own,
        table,
        Enabled::default(),
        Watchdog::default(),
        Limits::new(),
    );
    host(actor, async |actor| {
        let link = Link::over(ByteStream::socket(socket)?, Limits::default());
        let aid = Aid {
            uid: peer,
            pid: None,
            is_registrar: None,
            is_probe: false,
            features: None,
        };
        let reader = link.reader();
        let conn = Connection::new(actor, &aid, link);
        let (reading, writing) = (conn.clone().read(reader), conn.clone().write());
        actor.services().start_soon(async { Ok(reading.await?) })?;
        actor.services().start_soon(async { Ok(writing.await?) })?;
        let lost = conn.clone();
        actor.services().start_soon(async move {
            lost.read_ended().wait().await?;
            lost.lose(None);
            Ok(())
        })?;
        main(Portal::new(conn, None)).await
    })
    .await
}

/// Runs `main` against the daemon of a recording: it says what it said then, when it has heard
/// what it had heard then.
fn against_recorded<T: Send + 'static>(
    name: &str,
    main: impl AsyncFnOnce(Portal) -> Result<T> + Send + 'static,
) -> T {
    let (_, frames) = recordings()
        .into_iter()
        .find(|(file, _)| *file == format!("{name}.jsonl"))
        .expect("it was recorded");
    let mut lines = Vec::new();
    let [mut client, mut daemon] = [None, None];
    for Recorded { stream, frame, .. } in frames {
        // The first two connections register the client, and the last one the contrary.
        if stream.0 != 3 {
            continue;
        }
        let by_client = stream.1 == "client->server";
        let limits = Limits::default();
        match Message::decode(&frame[4..], &limits).expect("recorded messages are some") {
            Message::Aid(aid) if by_client => client = Some(aid.uid),
            Message::Aid(aid) => daemon = Some(aid.uid),
            message => lines.push((by_client, message)),
        }
    }
    let [client, daemon] = [client, daemon].map(|uid| uid.expect("both said who they are"));
    against(client, daemon, move |peer| replay(peer, lines), main)
}

/// Plays the daemon, and holds the client to what was recorded of another.
fn replay(mut peer: Peer, lines: Vec<(bool, Message)>) {
    // The recorded name of each dialog, and what it is called today.
    let mut names: Vec<(Cid, Cid)> = Vec::new();
    for (by_client, recorded) in lines {
        if !by_client {
            let message = renamed(recorded, &names, |(then, now)| (then, now));
            peer.send(&[message]);
            continue;
        }
        let message = peer.receive().expect("the client says something");
        if let (Message::Start(then), Message::Start(now)) = (&recorded, &message) {
            names.push((then.cid.clone(), now.cid.clone()));
        }
        let message = renamed(message, &names, |(then, now)| (now, then));
        assert_eq!(comparable(message), comparable(recorded));
    }
    peer.end();
}

/// The message with the other names of dialogs in it.
fn renamed<'a>(
    mut message: Message,
    names: &'a [(Cid, Cid)],
    direction: fn(&'a (Cid, Cid)) -> (&'a Cid, &'a Cid),
) -> Message {
    let name_of = |cid: &Cid| {
        let mut names = names.iter().map(direction);
        let (_, to) = names
            .find(|(from, _)| *from == cid)
            .expect("a known dialog");
        to.clone()
    };
    match &mut message {
        Message::Start(start) => {
            start.cid = name_of(&start.cid);
            if start.func == "_cancel_task" {
                let Seen(kwargs) = start.kwargs.decode().expect("arguments are a value");
                let cid = Cid::parse(kwargs["cid"].as_str().expect("the name of a dialog"));
                let kwargs = json!({"cid": name_of(&cid).to_string()});
                start.kwargs = Payload::encode(&kwargs).expect("text can be encoded");
            }
        }
        Message::Error(error) => error.cid = error.cid.as_ref().map(name_of),
        Message::StartAck { cid, .. }
        | Message::Started { cid, .. }
        | Message::Yield { cid, .. }
        | Message::Stop { cid }
        | Message::Return { cid, .. }
        | Message::CancelAck { cid, .. } => *cid = name_of(cid),
        other => panic!("{other:?} belongs to no dialog"),
    }
    message
}

/// Texts of errors are everybody's own.
fn comparable(mut message: Message) -> Message {
    if let Message::Error(error) = &mut message {
        error.message = None;
        error.tb_str.clear();
    }
    message
}

fn seen(value: Value) -> Seen {
    Seen(value)
}

#[test]
fn recorded_run() {
    against_recorded("run", async |portal| {
        let sum: u32 = portal.run_named("api:add", json!({"a": 2, "b": 3})).await?;
        assert_eq!(sum, 5);
        Ok(())
    });
}

#[test]
fn recorded_double() {
    against_recorded("double", async |portal| {
        let args = json!({"x": 21});
        portal
            .open_context_named::<Any, _, u32, _>("api:double", args, async |ctx, first| {
                assert_eq!(first, seen(json!(21)));
                assert_eq!(ctx.wait_for_result().await?.returned(), Some(42));
                Ok(())
            })
            .await
    });
}

#[test]
fn recorded_echo() {
    against_recorded("echo", async |portal| {
        portal
            .open_context_named::<Any, _, String, _>("api:echo", (), async |ctx, first| {
                assert_eq!(first, seen(json!("ready")));
                let stream = ctx.open_stream()?;
                for item in [
                    json!(1),
                    json!("two"),
                    json!([3, null, true]),
                    json!({"k": 4.5}),
                    json!({"__bytes_hex__": "00ff"}),
                ] {
                    stream.send(&Seen(item.clone())).await?;
                    assert_eq!(stream.receive().await?, Some(Seen(item)));
                }
                drop(stream);
                let done = ctx.wait_for_result().await?;
                assert_eq!(done.returned().as_deref(), Some("done"));
                Ok(())
            })
            .await
    });
}

#[test]
fn recorded_boom() {
    against_recorded("boom", async |portal| {
        let args = json!({"text": "kaput"});
        let error = portal
            .open_context_named::<Any, _, (), ()>("api:boom", args, async |_, _| {
                time::sleep_forever().await?;
                Ok(())
            })
            .await
            .expect_err("the endpoint fails");
        let remote = error
            .downcast_ref::<RemoteActorError>()
            .expect("it is remote");
        assert_eq!(remote.src_type(), "ValueError");
        assert_eq!(remote.src_uid().name(), "daemon");
        Ok(())
    });
}

#[test]
fn recorded_not_exposed() {
    against_recorded("not_exposed", async |portal| {
        let error = portal
            .run_named::<_, u32>("os:getpid", ())
            .await
            .expect_err("it is not exposed");
        assert!(error.is::<ModuleNotExposed>(), "{error:?}");
        Ok(())
    });
}

#[test]
fn recorded_cancel() {
    against_recorded("cancel", async |portal| {
        portal
            .open_context_named::<Any, _, (), _>("api:sleeper", (), async |ctx, first| {
                assert_eq!(first, seen(json!("zzz")));
                assert!(ctx.cancel().await, "it is answered");
                assert!(ctx.cancel_acked());
                let outcome = ctx.wait_for_result().await?;
                let Outcome::Cancelled(cancelled) = outcome else {
                    panic!("it was cancelled: {outcome:?}");
                };
                assert_eq!(cancelled.canceller().map(Uid::name), Some("client"));
                Ok(())
            })
            .await
    });
}

#[test]
fn recorded_self_cancel() {
    against_recorded("self_cancel", async |portal| {
        let error = portal
            .open_context_named::<Any, _, (), ()>("api:self_cancel", (), async |_, _| {
                time::sleep_forever().await?;
                Ok(())
            })
            .await
            .expect_err("the endpoint cancels itself");
        let cancelled = error
            .downcast_ref::<ContextCancelled>()
            .expect("and says so");
        assert_eq!(cancelled.canceller().map(Uid::name), Some("daemon"));
        Ok(())
    });
}

#[test]
fn recorded_cancel_actor() {
    against_recorded("cancel_actor", async |portal| {
        let error = portal
            .open_context_named::<Any, _, (), _>("api:sleeper", (), async |_, first| {
                assert_eq!(first, seen(json!("zzz")));
                assert!(portal.cancel_actor().await, "it is answered");
                time::sleep_forever().await?;
                Ok(())
            })
            .await
            .expect_err("not through the context, so it is raised");
        let cancelled = error
            .downcast_ref::<ContextCancelled>()
            .expect("and says so");
        assert_eq!(cancelled.canceller().map(Uid::name), Some("client"));
        Ok(())
    });
}

#[test]
fn recorded_overrun() {
    against_recorded("overrun", async |portal| {
        let args = json!({"n": 100});
        let error = portal
            .open_context_named::<Any, _, (), ()>("api:flood", args, async |_, _| {
                time::sleep_forever().await?;
                Ok(())
            })
            .await
            .expect_err("nobody receives");
        let remote = error
            .downcast_ref::<RemoteActorError>()
            .expect("it is remote");
        assert_eq!(remote.boxed_type(), ErrorMsg::REMOTE_ACTOR_ERROR);
        assert_eq!(remote.src_type(), ErrorMsg::STREAM_OVERRUN);
        let path: Vec<_> = remote.relay_path().iter().map(Uid::name).collect();
        assert_eq!(path, ["client", "daemon"]);
        Ok(())
    });
}

/// Opens a context with a peer that plays `script` with the dialog's name, and a body that never
/// ends by itself.
fn endless_against(script: impl FnOnce(&mut Peer, Cid) + Send + 'static) -> Error {
    let script = |mut peer: Peer| {
        let cid = peer.receive_start();
        script(&mut peer, cid);
        peer.end();
    };
    let [own, peer] = ["own", "peer"].map(Uid::fresh);
    against(own, peer, script, async |portal| {
        let ended = portal
            .open_context_named::<Any, _, (), ()>("api:any", (), async |_, _| {
                time::sleep_forever().await?;
                Ok(())
            })
            .await;
        Ok(ended.expect_err("the peer ends it"))
    })
}

fn start_ack(cid: &Cid) -> Message {
    Message::StartAck {
        cid: cid.clone(),
        functype: FuncType::Context,
    }
}

fn started(cid: &Cid) -> Message {
    Message::Started {
        cid: cid.clone(),
        pld: Payload::nil(),
    }
}

fn failure(cid: &Cid) -> Message {
    let error = ErrorMsg::new(Uid::fresh("peer"), "ValueError", "it failed");
    Message::Error(Box::new(error.for_dialog(cid.clone())))
}

#[test]
fn error_that_comes_together_with_started_cancels_the_body() {
    let error = endless_against(|peer, cid| {
        peer.send(&[start_ack(&cid), started(&cid), failure(&cid)]);
    });
    assert!(error.is::<RemoteActorError>(), "{error:?}");
}

#[test]
fn end_of_the_connection_together_with_started_cancels_the_body() {
    let error = endless_against(|peer, cid| {
        peer.send(&[start_ack(&cid), started(&cid)]);
        peer.socket
            .shutdown(std::net::Shutdown::Write)
            .expect("the socket is open");
    });
    assert!(error.is::<crate::PeerLost>(), "{error:?}");
}

#[test]
fn sender_comes_free_when_the_dialog_ends_though_the_peer_does_not_read() {
    let (filled, is_filled) = channel();
    let (freed, is_freed) = channel();
    let script = move |mut peer: Peer| {
        let cid = peer.receive_start();
        peer.send(&[start_ack(&cid), started(&cid)]);
        is_filled.recv().expect("the body fills what there is");
        let pld = Payload::nil();
        peer.send(&[Message::Return { cid, pld }]);
        is_freed
            .recv_timeout(Duration::from_secs(10))
            .expect("the body does not wait for room");
        peer.end();
    };
    let [own, peer] = ["own", "peer"].map(Uid::fresh);
    against(own, peer, script, async move |portal| {
        portal
            .open_context_named::<Any, _, (), ()>("api:any", (), async |ctx, _| {
                let stream = ctx.open_stream()?;
                let item = seen(json!("x".repeat(10_000)));
                let full = Duration::from_millis(50);
                while !move_on_after(full, stream.send(&item))
                    .await?
                    .is_cancelled()
                {}
                let refused = nursery(async |n| {
                    let waiting = n.start_soon(async { Ok(stream.send(&item).await.is_err()) });
                    checkpoint().await?;
                    filled.send(()).expect("the peer waits for it");
                    waiting.await
                })
                .await?;
                assert!(refused, "the dialog has ended");
                freed.send(()).expect("the peer waits for it");
                Ok(())
            })
            .await
    });
}

#[test]
fn message_out_of_place_is_told_to_its_sender() {
    let error = endless_against(|peer, cid| {
        peer.send(&[start_ack(&cid), start_ack(&cid)]);
        let Some(Message::Error(told)) = peer.receive() else {
            panic!("it is not told");
        };
        assert_eq!(told.cid, Some(cid.clone()));
        let text = "StartAck is not allowed while the dialog is acked";
        assert_eq!(told.message.as_deref(), Some(text));
    });
    assert!(error.is::<MsgTypeError>(), "{error:?}");
}

#[test]
fn bytes_that_are_no_message_end_the_connection_and_say_why() {
    let error = endless_against(|peer, cid| {
        peer.send(&[start_ack(&cid), started(&cid)]);
        peer.socket
            .write_all(b"\x0e\0\0\0\x81\xa8msg_type\xa3Foo")
            .expect("the actor is there");
        let told = std::iter::from_fn(|| peer.receive()).find_map(|message| match message {
            Message::Error(told) => Some(told),
            _ => None,
        });
        let told = told.expect("it is told");
        assert_eq!(told.cid, None);
        assert_eq!(told.message.as_deref(), Some("unknown msg_type \"Foo\""));
    });
    assert!(error.is::<crate::PeerLost>(), "{error:?}");
}
