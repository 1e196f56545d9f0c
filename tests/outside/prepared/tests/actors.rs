//! Actors in every place, in a test as anyone would write it.

use std::time::Duration;

use prepared::{Shouting, Words, count, count_below, give_up, shout};
use tractor::runtime::time;
use tractor::{Caller, Context, Portal, RemoteActorError, Result, SpawnOptions};

fn words() -> Words {
    Words {
        words: vec!["one".into(), "three".into()],
    }
}

fn with_actor<T>(options: SpawnOptions, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tractor::run(async || {
        tractor::nursery(async |an| {
            let options = options.enable_module("prepared");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

#[test]
fn call_of_a_process() {
    let counts = with_actor(SpawnOptions::new(), async |portal| {
        portal.run(count, words()).await
    });
    assert_eq!(counts.unwrap(), [3, 5]);
}

#[test]
fn call_of_a_thread() {
    let counts = with_actor(SpawnOptions::new().in_thread(), async |portal| {
        portal.run(count, words()).await
    });
    assert_eq!(counts.unwrap(), [3, 5]);
}

#[test]
fn process_below_a_process() {
    let counts = with_actor(SpawnOptions::new(), async |portal| {
        portal.run(count_below, words()).await
    });
    assert_eq!(counts.unwrap(), [3, 5]);
}

#[test]
fn panic_of_an_endpoint() {
    let error = with_actor(SpawnOptions::new(), async |portal| {
        portal.run(give_up, ()).await
    });
    let error = error.unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!(
        (remote.src_type(), remote.message()),
        ("Panic", "it gave up")
    );
}

#[test]
fn items_of_a_process() {
    let shouted = with_actor(SpawnOptions::new(), async |portal| {
        portal
            .open_context(
                shout,
                (),
                async |ctx: &Context<Shouting, Caller<()>>, ()| {
                    let stream = ctx.open_stream()?;
                    stream.send(&"quiet".into()).await?;
                    stream.receive().await
                },
            )
            .await
    });
    assert_eq!(shouted.unwrap().as_deref(), Some("QUIET"));
}

#[test]
fn tree_in_memory_takes_no_time() {
    tractor::testing::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new().in_memory().enable_module("prepared");
            let portal = an.start_actor("actor", options).await?;
            time::sleep(Duration::from_secs(3600)).await?;
            assert_eq!(portal.run(count, words()).await?, [3, 5]);
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}
