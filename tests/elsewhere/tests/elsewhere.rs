//! Calls endpoints that are registered in another crate, in a child.

use elsewhere::deeper::parrot;
use elsewhere::{Greeting, greet};
use tractor::{Result, SpawnError, SpawnFailure, SpawnOptions};

#[test]
fn function_of_another_crate() {
    let greeting = with_actor(async |portal| {
        let greeting = Greeting {
            word: "Hello".into(),
            name: "you".into(),
        };
        portal.run(greet, greeting).await
    });
    assert_eq!(greeting.unwrap(), "Hello, you!");
}

#[test]
fn context_of_another_crate() {
    let words = with_actor(async |portal| {
        portal
            .open_context(parrot, 2, async |ctx, times| {
                assert_eq!(times, 2);
                let stream = ctx.open_stream()?;
                stream.send(&"polly".into()).await?;
                for _ in 0..times {
                    assert_eq!(stream.receive().await?.as_deref(), Some("polly"));
                }
                drop(stream);
                Ok(ctx.wait_for_result().await?.returned())
            })
            .await
    });
    assert_eq!(words.unwrap(), Some(1));
}

#[test]
fn child_with_two_endpoints_of_one_name() {
    let error = tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new().program(env!("CARGO_BIN_EXE_twice"), [""; 0]);
            an.start_actor("twice", options).await.map(|_| ())
        })
        .await
    })
    .unwrap_err();
    let failed: &SpawnError = error.downcast_ref().expect("it did not start");
    let SpawnFailure::Boot(reason) = failed.failure() else {
        panic!("{error:?}");
    };
    assert_eq!(reason.src_type(), "BootError");
    let text = error.to_string();
    assert!(
        text.contains("twice") && text.contains("same:name"),
        "{text}"
    );
    assert_eq!(text.matches("src/twice.rs:").count(), 2, "{text}");
}

fn with_actor<T>(body: impl AsyncFnOnce(&tractor::Portal) -> Result<T>) -> Result<T> {
    tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new()
                .enable_module("elsewhere")
                .enable_module("birds");
            let portal = an.start_actor("other", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}
