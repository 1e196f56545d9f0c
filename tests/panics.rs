//! Panics of a program's own code, wherever this library calls it: they stay where they are.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::tree;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tractor::runtime::{move_on_after, nursery, time};
use tractor::{
    ActorNursery, Context, Dialog, Portal, RemoteActorError, Result, SpawnOptions, endpoint,
};

/// A number that cannot be encoded if it is odd.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Picky(u64);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // A part of it is encoded by then.
        let text = "x".repeat(100);
        let mut tuple = serializer.serialize_tuple(2)?;
        serde::ser::SerializeTuple::serialize_element(&mut tuple, &text)?;
        assert!(self.0.is_multiple_of(2), "odd: {}", self.0);
        serde::ser::SerializeTuple::serialize_element(&mut tuple, &self.0)?;
        serde::ser::SerializeTuple::end(tuple)
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (_, number) = <(String, u64)>::deserialize(deserializer)?;
        Ok(Self(number))
    }
}

struct Numbers;
impl Dialog for Numbers {
    type Started = ();
    type ToChild = Picky;
    type ToParent = Picky;
}

/// Sends this number, and takes what comes.
async fn send(ctx: &mut Context<Numbers>, number: u64) -> Result<()> {
    ctx.started(()).await?;
    let stream = ctx.open_stream()?;
    stream.send(&Picky(number)).await?;
    while stream.receive().await?.is_some() {}
    Ok(())
}
endpoint!(send);

async fn give(number: u64) -> Result<Picky> {
    Ok(Picky(number))
}
endpoint!(give);

async fn take(number: Picky) -> Result<u64> {
    Ok(number.0)
}
endpoint!(take);

/// Panics when it is dropped, which is how it is cancelled.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}

/// Cannot even be looked at.
#[derive(Serialize)]
struct Explosive;

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        panic!("it went off")
    }
}

async fn touch(_: Explosive) -> Result<()> {
    Ok(())
}
endpoint!(touch);

/// Has no words for what it is.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

/// Throws what is no text, and what panics once more when it is dropped.
async fn throw(sore: bool) -> Result<()> {
    match sore {
        true => std::panic::panic_any(Bomb),
        false => std::panic::panic_any(7),
    }
}
endpoint!(throw);

async fn fail((): ()) -> Result<()> {
    Err(Unspeakable.into())
}
endpoint!(fail);

async fn bomb((): ()) -> Result<()> {
    let _bomb = Bomb;
    std::future::pending().await
}
endpoint!(bomb);

/// Panics when it is told that it is cancelled.
async fn sore((): ()) -> Result<()> {
    let cancelled = time::sleep_forever().await;
    panic!("{cancelled:?}");
}
endpoint!(sore);

fn with_actor<T>(body: impl AsyncFnOnce(&ActorNursery, &Portal) -> Result<T>) -> Result<T> {
    tree(async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an
                .start_actor("actor", options.enable_module("panics"))
                .await?;
            let result = body(an, &portal).await?;
            // It lives on.
            assert_eq!(portal.run(take, Picky(4)).await?, 4);
            an.cancel();
            Ok(result)
        })
        .await
    })
}

#[track_caller]
fn assert_panic(error: &tractor::Error, text: &str) {
    let remote: &RemoteActorError = error.downcast_ref().expect("the endpoint's");
    assert_eq!(remote.src_type(), "Panic", "{error:?}");
    assert!(remote.message().contains(text), "{error:?}");
}

#[test]
fn item_of_an_endpoint_panics_while_it_is_encoded() {
    with_actor(async |_, portal| {
        for _ in 0..3 {
            let sent = portal.open_context(send, 3, async |ctx, ()| {
                assert_eq!(ctx.open_stream()?.receive().await?, None);
                Ok(())
            });
            assert_panic(&sent.await.unwrap_err(), "odd: 3");
            let received =
                portal.open_context(send, 2, async |ctx, ()| ctx.open_stream()?.receive().await);
            assert_eq!(received.await?, Some(Picky(2)));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn item_of_a_body_panics_while_it_is_encoded() {
    with_actor(async |_, portal| {
        let body = portal.open_context(send, 2, async |ctx, ()| {
            let stream = ctx.open_stream()?;
            let mut sent = Box::pin(async { stream.send(&Picky(3)).await });
            let panicked = std::future::poll_fn(|cx| {
                let poll = catch_unwind(AssertUnwindSafe(|| sent.as_mut().poll(cx)));
                std::task::Poll::Ready(poll.is_err())
            });
            assert!(panicked.await);
            stream.send(&Picky(4)).await?;
            stream.receive().await
        });
        assert_eq!(body.await?, Some(Picky(2)));
        Ok(())
    })
    .unwrap();
}

#[test]
fn result_panics_while_it_is_encoded() {
    with_actor(async |_, portal| {
        assert_panic(&portal.run(give, 3).await.unwrap_err(), "odd: 3");
        Ok(())
    })
    .unwrap();
}

#[test]
fn endpoint_that_panics_when_it_is_cancelled() {
    with_actor(async |_, portal| {
        for _ in 0..3 {
            let limit = Duration::from_millis(30);
            let called = move_on_after(limit, portal.run(bomb, ())).await;
            assert_panic(&called.unwrap_err(), "in drop");
            let called = move_on_after(limit, portal.run(sore, ())).await;
            assert_panic(&called.unwrap_err(), "Cancelled");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn endpoint_panics_with_a_value_that_is_no_text() {
    with_actor(async |_, portal| {
        for sore in [false, true, false] {
            let error = portal.run(throw, sore).await.unwrap_err();
            assert_panic(&error, "no text");
        }
        Ok(())
    })
    .unwrap();
}

/// The processes are gone when the panic comes out: the tree looks after that.
#[test]
fn body_of_an_actor_nursery_panics() {
    for what in ["body", "child", "context", "main"] {
        let panic = catch_unwind(|| {
            tree(async |options: SpawnOptions| {
                let up = tractor::nursery(async |an| {
                    let options = options.enable_module("panics");
                    let portal = an.start_actor("actor", options.clone()).await?;
                    an.start_actor("other", options).await?;
                    match what {
                        "body" => panic!("in the body"),
                        "child" => {
                            nursery(async |n| {
                                n.start_soon(portal.run(bomb, ()));
                                n.start_soon::<()>(async { panic!("in the child") });
                                Ok(time::sleep_forever().await?)
                            })
                            .await
                        }
                        "context" => {
                            portal
                                .open_context(send, 2, async |_, ()| -> Result<()> {
                                    panic!("in the context")
                                })
                                .await
                        }
                        _ => {
                            portal.run(bomb, ()).await?;
                            Ok(())
                        }
                    }
                });
                let until = async {
                    time::sleep(Duration::from_secs(1)).await?;
                    panic!("in the main");
                };
                match what {
                    "main" => futures_lite::future::or(up, until).await,
                    _ => up.await,
                }
            })
        })
        .unwrap_err();
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        assert_eq!(text, Some(format!("in the {what}")));
    }
}

#[test]
fn arguments_panic_while_they_are_read() {
    with_actor(async |_, portal| {
        let error = portal.run(touch, Explosive).await.unwrap_err();
        assert_panic(&error, "it went off");
        Ok(())
    })
    .unwrap();
}

#[test]
fn error_of_an_endpoint_panics_while_it_is_told() {
    with_actor(async |_, portal| {
        let error = portal.run(fail, ()).await.unwrap_err();
        assert_panic(&error, "no words");
        Ok(())
    })
    .unwrap();
}
