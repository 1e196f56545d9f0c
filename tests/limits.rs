//! What a peer may make an actor hold.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use common::HangGuard;
use futures_lite::future::poll_once;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sockets::{Directory, Echo, Peer, any_port, aside, echo, exchange, frame, start};
use tractor::runtime::time;
use tractor::{
    ActorDied, Address, Caller, ConnectError, Context, Dialog, Limits, ListenOptions, MsgTypeError,
    PeerLost, Portable, Portal, Raw, RemoteActorError, Result, RunOptions, SpawnOptions, connect,
    endpoint, listen, nursery, portable,
};

/// As documented.
const DIALOGS: usize = 1 << 14;
const FRAME: usize = 16 << 20;
const SMALLEST_FRAME: usize = 64 << 10;
const DEPTH: usize = 64;

/// More than the smallest frame holds.
const LARGE: usize = 100_000;

async fn sleeps((): ()) -> Result<()> {
    Ok(time::sleep_forever().await?)
}
endpoint!(sleeps);

async fn length(text: String) -> Result<usize> {
    Ok(text.len())
}
endpoint!(length);

async fn text(len: usize) -> Result<String> {
    Ok("x".repeat(len))
}
endpoint!(text);

async fn itself(value: Value) -> Result<Value> {
    Ok(value)
}
endpoint!(itself);

async fn raw(value: Raw) -> Result<Raw> {
    Ok(value)
}
endpoint!(raw);

async fn nested(depth: usize) -> Result<Value> {
    Ok(nest(depth))
}
endpoint!(nested);

/// What a child of the actor answers that asks for a text of this length.
async fn text_of_a_child(len: usize) -> Result<String> {
    nursery(async |an| {
        let child = an
            .start_actor("grandchild", SpawnOptions::new().in_memory().enable(text))
            .await?;
        let answer = child.run(text, len).await;
        an.cancel();
        answer
    })
    .await
}
endpoint!(text_of_a_child);

fn nest(depth: usize) -> Value {
    (0..depth).fold(json!(1), |value, _| json!([value]))
}

/// A whole module is enabled, so that all tests can use it.
fn everything() -> SpawnOptions {
    SpawnOptions::new()
        .enable_module(env!("CARGO_CRATE_NAME"))
        .enable(echo)
}

fn places() -> [SpawnOptions; 3] {
    [
        everything(),
        everything().in_thread(),
        everything().in_memory(),
    ]
}

fn root(limits: Limits) -> RunOptions {
    RunOptions::new()
        .limits(limits)
        .enable_module(env!("CARGO_CRATE_NAME"))
}

/// Runs a test as an actor with these limits.
fn limited<T>(limits: Limits, main: impl AsyncFnOnce() -> Result<T>) -> T {
    let _guard = HangGuard::new();
    root(limits).run(main).unwrap()
}

/// Runs a test beside a child.
async fn with_child<T>(
    options: SpawnOptions,
    body: impl AsyncFnOnce(&Portal) -> Result<T>,
) -> Result<T> {
    nursery(async |an| {
        let child = an.start_actor("child", options).await?;
        let result = body(&child).await;
        an.cancel();
        result
    })
    .await
}

fn is_too_large<T: std::fmt::Debug>(result: Result<T>, limit: usize) {
    let error = result.unwrap_err();
    // Of the child's own, or relayed by it.
    let is_relayed = |error: &RemoteActorError| error.src_type() == "MsgTypeError";
    assert!(
        error.is::<MsgTypeError>() || error.downcast_ref().is_some_and(is_relayed),
        "{error:?}",
    );
    let said = format!("is over the limit of {limit}");
    assert!(error.to_string().contains(&said), "{error}");
}

fn is_too_deep<T: std::fmt::Debug>(result: Result<T>, limit: usize) {
    let error = result.unwrap_err();
    let said = format!("nested deeper than the limit of {limit}");
    assert!(error.to_string().contains(&said), "{error}");
}

fn call(cid: usize, func: &str) -> Value {
    let mut call = start("many", "limits", func);
    call["cid"] = json!(cid.to_string());
    call
}

fn call_with(name: &str, func: &str, args: Value) -> Value {
    let mut call = start(name, "limits", func);
    call["kwargs"] = json!({ "args": args });
    call
}

/// The value that this peer is returned.
fn returned(peer: &mut Peer) -> Value {
    let answer = peer.receive().unwrap();
    assert_eq!(answer["msg_type"], "StartAck", "{answer}");
    let answer = peer.receive().unwrap();
    assert_eq!(answer["msg_type"], "Return", "{answer}");
    answer["pld"].clone()
}

#[test]
fn peer_with_too_many_dialogs_has_to_end_one_first() {
    limited(Limits::new(), async || {
        let listening = listen(any_port())?;
        let address = listening.address().clone();
        aside(move || {
            let mut peer = Peer::known(&address, "many");
            let mut sender = Peer(peer.0.try_clone().unwrap());
            // What it is answered has to be read meanwhile.
            let sending = std::thread::spawn(move || {
                for cid in 0..=DIALOGS {
                    sender.0.write_all(&frame(&call(cid, "sleeps"))).unwrap();
                }
            });
            has_too_many(&mut peer, DIALOGS);
            sending.join().unwrap();
            cancels_one(&mut peer);
            peer.send(&call(DIALOGS + 1, "sleeps"));
            assert_eq!(peer.receive().unwrap()["msg_type"], "StartAck");
        })
        .await
    });
}

#[test]
fn number_of_contexts_is_that_of_the_actor() {
    for contexts in [0, 1, 9] {
        limited(Limits::new().contexts(contexts), async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut peer = Peer::known(&address, "many");
                for cid in 0..=contexts {
                    peer.send(&call(cid, "sleeps"));
                }
                has_too_many(&mut peer, contexts);
                // It is counted for each peer.
                let mut other = Peer::known(&address, "other");
                other.send(&start("other", "limits", "sleeps"));
                let answer = other.receive().unwrap();
                assert_eq!(answer["msg_type"] == "StartAck", contexts > 0, "{answer}");
            })
            .await
        });
    }
}

#[test]
fn child_runs_as_many_contexts_for_its_parent_as_it_was_told() {
    limited(Limits::new(), async || {
        for options in places() {
            let options = options.limits(Limits::new().contexts(1));
            with_child(options, async |child| {
                let body = async |ctx: &Context<Echo, Caller<u64>>, ()| {
                    let refused = child.run(length, String::new()).await.unwrap_err();
                    let refused = refused.downcast_ref::<RemoteActorError>().unwrap();
                    assert_eq!(refused.src_type(), "TooManyDialogs");
                    ctx.open_stream()?.close();
                    ctx.wait_for_result().await
                };
                child.open_context(echo, (), body).await?;
                assert_eq!(child.run(length, String::from("four")).await?, 4);
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

/// Reads how the calls from 0 on are taken, and the next one refused.
fn has_too_many(peer: &mut Peer, limit: usize) {
    for cid in 0..limit {
        let answer = peer.receive().unwrap();
        assert_eq!(answer["msg_type"], "StartAck", "{answer}");
        assert_eq!(answer["cid"], cid.to_string());
    }
    let refused = peer.receive().unwrap();
    assert_eq!(refused["boxed_type_str"], "TooManyDialogs", "{refused}");
    assert_eq!(refused["cid"], limit.to_string());
}

fn cancels_one(peer: &mut Peer) {
    let mut cancel = start("many", "self", "_cancel_task");
    cancel["cid"] = json!("a request");
    cancel["kwargs"] = json!({"cid": "7"});
    peer.send(&cancel);
    // The answer to the request, and the end of what was cancelled.
    let mut answers = [(); 3].map(|()| peer.receive().unwrap());
    answers.sort_by_key(|answer| answer["msg_type"].to_string());
    assert_eq!(answers[0]["msg_type"], "CancelAck");
    assert_eq!(answers[1]["boxed_type_str"], "ContextCancelled");
    assert_eq!(answers[1]["cid"], "7");
}

#[test]
fn peer_over_a_limit_loses_its_connection_and_nobody_else_does() {
    let small = Limits::new().frame(SMALLEST_FRAME);
    let shallow = Limits::new().depth(8);
    let nulls = json!(vec![Value::Null; 40_000]);
    let deep = |depth| ("itself", nest(depth));
    let long = ("length", json!("x".repeat(LARGE)));
    for (limits, (func, args), reason) in [
        (
            Limits::new().frame(SMALLEST_FRAME),
            long.clone(),
            "over the limit of 65536",
        ),
        (Limits::new(), deep(DEPTH), "deeper than the limit of 64"),
        (shallow, deep(8), "deeper than the limit of 8"),
        (
            small.decoded(1 << 20),
            ("itself", nulls.clone()),
            "limit of 1048576 bytes",
        ),
    ] {
        limited(limits, async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut other = Peer::known(&address, "other");
                let mut peer = Peer::known(&address, "peer");
                peer.send(&call_with("peer", func, args));
                let error = peer.receive().unwrap();
                assert_eq!(error["boxed_type_str"], "TransportClosed", "{error}");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains(reason), "{message}");
                peer.closed();
                other.send(&call_with("other", "length", json!("four")));
                assert_eq!(returned(&mut other), 4);
            })
            .await
        });
    }
    // The same is let through by others.
    for (limits, (func, args)) in [
        (Limits::new(), long),
        (Limits::new().depth(DEPTH + 1), deep(DEPTH)),
        (shallow, deep(7)),
        (Limits::new(), ("itself", nulls)),
    ] {
        limited(limits, async || {
            let listening = listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut peer = Peer::known(&address, "peer");
                peer.send(&call_with("peer", func, args));
                returned(&mut peer);
            })
            .await
        });
    }
}

struct Texts;
impl Dialog for Texts {
    type Started = String;
    type ToChild = ();
    type ToParent = String;
}

/// Says first what is as long as that, and then what it was refused to send.
async fn says(ctx: &mut Context<Texts>, (first, item): (usize, usize)) -> Result<String> {
    ctx.started("x".repeat(first)).await?;
    let stream = ctx.open_stream()?;
    let refused = stream.send(&"x".repeat(item)).await;
    is_too_large(refused, SMALLEST_FRAME);
    stream.send(&String::from("short")).await?;
    stream.close();
    Ok("x".repeat(item))
}
endpoint!(says);

#[test]
fn what_is_over_ones_own_limit_is_not_sent_and_all_else_goes_on() {
    limited(Limits::new().frame(SMALLEST_FRAME), async || {
        for options in places() {
            with_child(options, async |child| {
                let is_refused = |result: Result<usize>| is_too_large(result, SMALLEST_FRAME);
                let body = async |ctx: &Context<Echo, Caller<u64>>, ()| {
                    is_refused(child.run(length, "x".repeat(LARGE)).await);
                    is_refused(child.run(text, LARGE).await.map(|text| text.len()));
                    let first =
                        async |_: &Context<Texts, Caller<String>>, first: String| Ok(first.len());
                    is_refused(child.open_context(says, (LARGE, LARGE), first).await);
                    let item = async |ctx: &Context<Texts, Caller<String>>, _| {
                        let stream = ctx.open_stream()?;
                        assert_eq!(stream.receive().await?.as_deref(), Some("short"));
                        Ok(ctx
                            .wait_for_result()
                            .await?
                            .returned()
                            .map_or(0, |text| text.len()))
                    };
                    is_refused(child.open_context(says, (0, LARGE), item).await);
                    // It was there all the time.
                    let stream = ctx.open_stream()?;
                    stream.send(&7).await?;
                    assert_eq!(stream.receive().await?, Some(7));
                    stream.close();
                    ctx.wait_for_result().await
                };
                child.open_context(echo, (), body).await?;
                assert_eq!(
                    child.run(length, "x".repeat(SMALLEST_FRAME - 500)).await?,
                    65036
                );
                assert_eq!(child.run(text, SMALLEST_FRAME - 500).await?.len(), 65036);
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn larger_frames_pass_where_they_may() {
    const LEN: usize = FRAME + 1;
    limited(Limits::new(), async || {
        with_child(everything().in_thread(), async |child| {
            is_too_large(child.run(length, "x".repeat(LEN)).await, FRAME);
            is_too_large(child.run(text, LEN).await, FRAME);
            Ok(())
        })
        .await
    });
    limited(Limits::new().frame(2 * FRAME), async || {
        for options in places() {
            with_child(options, async |child| {
                assert_eq!(child.run(length, "x".repeat(LEN)).await?, LEN);
                assert_eq!(child.run(text, LEN).await?.len(), LEN);
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn values_nest_as_deep_as_they_may() {
    for (limits, depth) in [
        (Limits::new(), DEPTH),
        (Limits::new().depth(8), 8),
        (Limits::new().depth(100), 100),
        (Limits::new().depth(usize::MAX), 128),
    ] {
        limited(limits, async || {
            with_child(everything().in_thread(), async |child| {
                // The arguments are in a map.
                let deepest = json!({ "args": nest(depth - 1) });
                assert_eq!(child.run(itself, nest(depth - 1)).await?, deepest);
                assert_eq!(child.run(nested, depth).await?, nest(depth));
                is_too_deep(child.run(itself, nest(depth)).await, depth);
                is_too_deep(child.run(nested, depth + 1).await, depth);
                // The same of what is encoded already.
                let deepest = Raw::new(&deepest)?;
                assert_eq!(child.run(raw, deepest.clone()).await?, deepest);
                if depth < 128 {
                    let deeper = Raw::new(&json!({ "args": nest(depth) }))?;
                    is_too_deep(child.run(raw, deeper).await, depth);
                }
                assert_eq!(child.run(length, String::from("four")).await?, 4);
                Ok(())
            })
            .await
        });
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Deep(Value);

impl std::fmt::Display for Deep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is deep")
    }
}

impl std::error::Error for Deep {}
impl Portable for Deep {}

async fn fails_deeply(depth: usize) -> Result<()> {
    Err(portable(Deep(nest(depth))))
}
endpoint!(fails_deeply);

#[test]
fn error_that_is_too_deep_travels_without_its_source() {
    limited(Limits::new().depth(8), async || {
        with_child(everything().in_thread(), async |child| {
            for (depth, is_whole) in [(8, true), (9, false)] {
                let error = child.run(fails_deeply, depth).await.unwrap_err();
                let error = error.downcast_ref::<RemoteActorError>().unwrap();
                assert_eq!(error.message(), "it is deep");
                assert_eq!(error.source_as::<Deep>().is_some(), is_whole);
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn child_has_the_limits_that_it_is_given_and_else_its_parents() {
    let small = Limits::new().frame(SMALLEST_FRAME);
    // What a child may send, and a grandchild.
    limited(Limits::new(), async || {
        for options in places() {
            with_child(options.limits(small), async |child| {
                is_too_large(child.run(text, LARGE).await, SMALLEST_FRAME);
                is_too_large(child.run(text_of_a_child, LARGE).await, SMALLEST_FRAME);
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
    limited(small, async || {
        for options in places() {
            with_child(options, async |child| {
                is_too_large(child.run(text, LARGE).await, SMALLEST_FRAME);
                is_too_large(child.run(text_of_a_child, LARGE).await, SMALLEST_FRAME);
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
    // Its parent's own hold in the parent.
    limited(small, async || {
        with_child(everything().limits(Limits::new()), async |child| {
            is_too_large(child.run(length, "x".repeat(LARGE)).await, SMALLEST_FRAME);
            assert_eq!(child.run(length, "x".repeat(1000)).await?, 1000);
            Ok(())
        })
        .await
    });
}

#[test]
fn connection_to_another_actor_has_the_limits_of_this_one() {
    limited(Limits::new().frame(SMALLEST_FRAME), async || {
        let options = everything().in_thread().limits(Limits::new());
        with_child(options, async |child| {
            let address: Address = child.run(listens, ()).await?.parse()?;
            let again = connect(&address).await?;
            is_too_large(again.run(length, "x".repeat(LARGE)).await, SMALLEST_FRAME);
            // The other sends it, and is given up.
            let lost = again.run(text, LARGE).await.unwrap_err();
            assert!(lost.is::<PeerLost>(), "{lost:?}");
            assert_eq!(child.run(length, String::from("four")).await?, 4);
            Ok(())
        })
        .await
    });
}

#[test]
fn parent_that_is_over_the_limit_of_its_child_loses_it() {
    limited(Limits::new(), async || {
        for options in places() {
            let mut lost = None;
            let died = with_child(
                options.limits(Limits::new().frame(SMALLEST_FRAME)),
                async |child| {
                    lost = Some(child.run(length, "x".repeat(LARGE)).await.unwrap_err());
                    time::sleep_forever().await?;
                    Ok(())
                },
            )
            .await
            .unwrap_err();
            let lost = lost.unwrap();
            assert!(lost.is::<PeerLost>(), "{lost:?}");
            assert!(died.is::<ActorDied>(), "{died:?}");
        }
        Ok(())
    });
}

struct Burst;
impl Dialog for Burst {
    type Started = ();
    type ToChild = ();
    type ToParent = String;
}

/// Sends items at once until it would have to wait, and says how many these were.
async fn burst(ctx: &mut Context<Burst>, size: usize) -> Result<usize> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    // What was said until then is on its way when that is answered.
    stream.receive().await?;
    let item = "x".repeat(size);
    let mut sent = 0;
    while poll_once(stream.send(&item)).await.is_some() {
        sent += 1;
    }
    stream.close();
    Ok(sent)
}
endpoint!(burst);

#[test]
fn items_wait_in_as_many_bytes_as_they_may() {
    const ITEM: usize = 64 << 10;
    limited(Limits::new(), async || {
        for (limits, sent) in [
            (Limits::new(), 16),
            (Limits::new().buffered(0), 1),
            (Limits::new().buffered(4 * ITEM), 4),
            (Limits::new().buffered(2 << 20), 32),
        ] {
            with_child(everything().in_thread().limits(limits), async |child| {
                let body = async |ctx: &Context<Burst, Caller<usize>>, ()| {
                    let stream = ctx.open_stream()?;
                    stream.send(&()).await?;
                    let mut came = 0;
                    while stream.receive().await?.is_some() {
                        came += 1;
                    }
                    Ok((came, ctx.wait_for_result().await?.returned()))
                };
                let counted = child.open_context(burst, ITEM, body).await?;
                assert_eq!(counted, (sent, Some(sent)));
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn handshake_is_as_long_as_the_actor_says_or_its_listener() {
    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(600);
    for (limits, options) in [
        (Limits::new().handshake(SHORT), ListenOptions::new()),
        (
            Limits::new().handshake(LONG),
            ListenOptions::new().handshake_limit(SHORT),
        ),
    ] {
        limited(limits, async || {
            let listening = options.listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let start = Instant::now();
                Peer::new(&address).closed();
                assert!(start.elapsed() >= SHORT);
                assert!(start.elapsed() < SHORT + Duration::from_secs(5));
            })
            .await
        });
    }
}

#[test]
fn who_is_connected_to_has_the_time_of_the_handshake_to_answer() {
    const SHORT: Duration = Duration::from_millis(100);
    let directory = Directory::new().made(0o700);
    let _silent = UnixListener::bind(directory.socket()).unwrap();
    limited(Limits::new().handshake(SHORT), async || {
        let start = Instant::now();
        let silent = connect(&Address::Unix(directory.socket())).await;
        assert!(silent.unwrap_err().is::<ConnectError>());
        assert!(start.elapsed() >= SHORT);
        assert!(start.elapsed() < SHORT + Duration::from_secs(5));
        Ok(())
    });
}

#[test]
fn as_many_may_be_unknown_as_the_actor_says_or_its_listener() {
    for (limits, options) in [
        (Limits::new().unknown(1), ListenOptions::new()),
        (Limits::new().unknown(0), ListenOptions::new()),
        (Limits::new(), ListenOptions::new().unknown_limit(1)),
    ] {
        limited(limits, async || {
            let listening = options.listen(any_port())?;
            let address = listening.address().clone();
            aside(move || {
                let mut oldest = Peer::new(&address);
                // It was accepted.
                assert_eq!(oldest.receive().unwrap()["msg_type"], "Aid");
                let mut newest = Peer::new(&address);
                oldest.closed();
                assert_eq!(newest.receive().unwrap()["msg_type"], "Aid");
            })
            .await
        });
    }
}

/// Listens, and is talked to over a socket by its caller.
async fn listens((): ()) -> Result<String> {
    let listening = Box::leak(Box::new(listen(any_port())?));
    Ok(listening.address().to_string())
}
endpoint!(listens);

#[test]
fn limits_that_make_no_sense_are_the_nearest_that_do() {
    let least = Limits::new()
        .frame(0)
        .depth(0)
        .decoded(0)
        .buffered(0)
        .buffered_control(0)
        .unknown(0);
    let most = Limits::new()
        .frame(usize::MAX)
        .depth(usize::MAX)
        .decoded(usize::MAX)
        .contexts(usize::MAX)
        .buffered(usize::MAX)
        .buffered_control(usize::MAX)
        .handshake(Duration::MAX)
        .unknown(usize::MAX);
    assert_eq!(least, least.frame(SMALLEST_FRAME).depth(8).unknown(1));
    assert_eq!(most, most.frame(u32::MAX as usize).depth(128));
    for limits in [least, most] {
        limited(limits, async || {
            for options in places() {
                with_child(options, async |child| {
                    assert_eq!(child.run(text_of_a_child, 1000).await?.len(), 1000);
                    assert_eq!(exchange(child, 100).await?, 100);
                    let dump = child.dump_tree().await?;
                    assert!(dump.to_string().contains("child"));
                    let address: Address = child.run(listens, ()).await?.parse()?;
                    let again = connect(&address).await?;
                    assert_eq!(again.run(length, String::from("four")).await?, 4);
                    Ok(())
                })
                .await?;
            }
            Ok(())
        });
    }
}
