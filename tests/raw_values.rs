//! Values of types that the program does not know.

mod common;

use common::{Cell, over_every_transport, tree_of};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tractor::{
    Caller, Context, Dialog, EndpointNotFound, InvalidPath, ModuleNotExposed, MsgTypeError, Portal,
    Raw, Result, SpawnOptions, endpoint,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

async fn add(sum: Sum) -> Result<i64> {
    Ok(sum.a + sum.b)
}
endpoint!(add as "raw:add");

async fn double(x: i64) -> Result<i64> {
    Ok(2 * x)
}
endpoint!(double as "raw:double");

struct Numbers;
impl Dialog for Numbers {
    type Started = String;
    type ToChild = i64;
    type ToParent = Sum;
}

/// Pairs each number with its double.
async fn pairs(ctx: &mut Context<Numbers>, (): ()) -> Result<u64> {
    ctx.started("begin".into()).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(a) = stream.receive().await? {
        stream.send(&Sum { a, b: 2 * a }).await?;
        count += 1;
    }
    Ok(count)
}
endpoint!(pairs as "raw:pairs");

/// Sends back what it is given, as it is.
async fn same(value: Raw) -> Result<Raw> {
    Ok(value)
}
endpoint!(same as "raw:same");

/// Starts with what it is given, and sends back every item.
async fn same_items(ctx: &mut Context<Raw>, first: Raw) -> Result<Raw> {
    ctx.started(first).await?;
    let stream = ctx.open_stream()?;
    let mut last = Raw::nil();
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
        last = item;
    }
    Ok(last)
}
endpoint!(same_items as "raw:same_items");

/// Has another actor answer.
async fn passed_on((cell, value): (Cell, Raw)) -> Result<Raw> {
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new()).enable_module("raw");
        let below = an.start_actor("below", options).await?;
        let answer = below.run_named("raw:same", value).await?;
        an.cancel();
        Ok(answer)
    })
    .await
}
endpoint!(passed_on as "raw:passed_on");

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = cell
                .start(an, "actor", options.enable_module("raw"))
                .await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

over_every_transport![
    calls_by_name,
    context_by_name,
    bytes_stay_as_they_are,
    relay_does_not_change_the_value,
    names_that_are_none,
];

fn raw(value: serde_json::Value) -> Raw {
    Raw::new(&value).unwrap()
}

fn calls_by_name(cell: Cell) {
    with_actor(cell, async |portal| {
        let sum: Raw = portal
            .run_named("raw:add", raw(json!({"a": 40, "b": 2})))
            .await?;
        assert_eq!(sum.decode::<i64>()?, 42);
        let twice: Raw = portal.run_named("raw:double", raw(json!(21))).await?;
        assert_eq!(twice, raw(json!(42)));
        // Nothing is no arguments.
        let same: Raw = portal.run_named("raw:same", Raw::nil()).await?;
        assert_eq!(same, raw(json!({})));
        let wrong = portal.run_named::<_, Raw>("raw:add", raw(json!({"a": "x", "b": 1})));
        let error = wrong.await.unwrap_err();
        assert!(error.is::<MsgTypeError>(), "{error:?}");
        assert!(error.to_string().contains("its field `a`"), "{error}");
        Ok(())
    })
    .unwrap();
}

fn context_by_name(cell: Cell) {
    with_actor(cell, async |portal| {
        let body = async |ctx: &Context<Raw, Caller<Raw>>, first: Raw| {
            assert_eq!(first, raw(json!("begin")));
            let stream = ctx.open_stream()?;
            for number in 0..3 {
                stream.send(&raw(json!(number))).await?;
                let pair = stream.receive().await?.expect("it is answered");
                let expected = Sum {
                    a: number,
                    b: 2 * number,
                };
                assert_eq!(pair.decode::<Sum>()?, expected);
            }
            stream.close();
            ctx.wait_for_result().await
        };
        let count = portal
            .open_context_named("raw:pairs", Raw::nil(), body)
            .await?;
        assert_eq!(count.returned(), Some(raw(json!(3))));
        Ok(())
    })
    .unwrap();
}

/// A map of what no type of ours would be encoded as: an integer wider than it need be, a text that
/// is no UTF-8, an extension, a key that is no text.
const ODD: &[u8] = &[
    0x83, 0xa1, b'n', 0xd3, 0, 0, 0, 0, 0, 0, 0, 7, 0xa1, b't', 0xa2, 0xff, 0xfe, 0x05, 0xd4, 0x2a,
    0x01,
];

fn bytes_stay_as_they_are(cell: Cell) {
    with_actor(cell, async |portal| {
        let odd = Raw::from_msgpack(ODD)?;
        let same: Raw = portal.run_named("raw:same", odd.clone()).await?;
        assert_eq!(same.as_msgpack(), ODD);
        let body = async |ctx: &Context<Raw, Caller<Raw>>, first: Raw| {
            assert_eq!(first.as_msgpack(), ODD);
            let stream = ctx.open_stream()?;
            stream.send(&odd).await?;
            let item = stream.receive().await?.expect("it is sent back");
            assert_eq!(item.as_msgpack(), ODD);
            stream.close();
            ctx.wait_for_result().await
        };
        let opened = portal.open_context_named("raw:same_items", odd.clone(), body);
        let last = opened.await?.returned().expect("it returned");
        assert_eq!(last.as_msgpack(), ODD);
        Ok(())
    })
    .unwrap();
}

fn relay_does_not_change_the_value(cell: Cell) {
    with_actor(cell, async |portal| {
        let value = raw(json!({"deep": [1, -2, 2.5, "text", null, {"inside": [true]}]}));
        let answer: Raw = portal
            .run_named("raw:passed_on", (cell, value.clone()))
            .await?;
        assert_eq!(answer, value);
        Ok(())
    })
    .unwrap();
}

fn names_that_are_none(cell: Cell) {
    with_actor(cell, async |portal| {
        let call = async |name: &str| portal.run_named::<_, Raw>(name, Raw::nil()).await;
        assert!(call("nothing").await.unwrap_err().is::<InvalidPath>());
        assert!(call("os:exit").await.unwrap_err().is::<ModuleNotExposed>());
        assert!(call("raw:none").await.unwrap_err().is::<EndpointNotFound>());
        Ok(())
    })
    .unwrap();
}

#[test]
fn malformed_bytes_are_refused() {
    for wrong in [
        &[][..],
        &[0xc1],
        &[0x92, 1],
        &[1, 2],
        &[0xa5, b'x'],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
    ] {
        let error = Raw::from_msgpack(wrong).unwrap_err();
        assert!(error.is::<MsgTypeError>(), "{wrong:?}: {error:?}");
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xc0);
        bytes
    };
    let deepest = Raw::from_msgpack(nested(128)).unwrap();
    assert!(Raw::from_msgpack(nested(129)).is_err());
    assert!(Raw::from_msgpack(nested(1 << 20)).is_err());
    // Neither by wrapping one, nor from another format.
    assert!(Raw::new(&[&deepest]).is_err());
    let text = format!("{}{}", "[".repeat(129), "]".repeat(129));
    assert!(serde_json::from_str::<Raw>(&text).is_err());
}

#[test]
fn raw_value_is_what_it_holds_in_other_formats() {
    let value = json!({"a": [1, -1, 0.5, "x", null, true], "b": {"c": []}});
    let made: Raw = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&made).unwrap(), value);
    assert_eq!(made.decode::<serde_json::Value>().unwrap(), value);
    assert!(
        format!("{made:?}").starts_with(r#"Raw({"a": [1, -1, 0.5, "x""#),
        "{made:?}"
    );
    // As a part of another value it is a part of that, extensions too.
    let odd = Raw::from_msgpack([0xd4, 0x2a, 0x01]).unwrap();
    let both = Raw::new(&(&made, &odd)).unwrap();
    assert_eq!(both.decode::<(Raw, Raw)>().unwrap(), (made, odd));
}
