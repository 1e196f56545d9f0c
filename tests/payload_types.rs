//! Values of another type than the other side expects. Both sides of a program have the same
//! types, so these endpoints are called by their names, as other programs do.

mod common;

use common::{Cell, over_every_transport, tree_of};
use serde::{Deserialize, Serialize};
use tractor::{
    Caller, Context, Dialog, MsgTypeError, Outcome, Portal, Result, SpawnOptions, endpoint,
};

/// What the caller expects to begin with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u32,
    y: u32,
}

/// The dialog as its caller knows it.
struct Points;
impl Dialog for Points {
    type Started = Option<Point>;
    type ToChild = Point;
    type ToParent = Point;
}

/// The dialog as its endpoint knows it.
struct Anything;
impl Dialog for Anything {
    type Started = First;
    type ToChild = First;
    type ToParent = First;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum First {
    Number(u32),
    Point(Point),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    first: First,
    result: Option<String>,
}

async fn answer(ctx: &mut Context<Anything>, plan: Plan) -> Result<Option<String>> {
    ctx.started(plan.first).await?;
    Ok(plan.result)
}
endpoint!(answer as "payloads:answer");

/// Sends these, and takes what comes.
async fn exchange(ctx: &mut Context<Anything>, items: Vec<First>) -> Result<Vec<First>> {
    ctx.started(First::Point(ORIGIN)).await?;
    let stream = ctx.open_stream()?;
    for item in &items {
        stream.send(item).await?;
    }
    let mut received = Vec::new();
    while let Some(item) = stream.receive().await? {
        received.push(item);
    }
    Ok(received)
}
endpoint!(exchange as "payloads:exchange");

const ORIGIN: Point = Point { x: 0, y: 0 };

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("payloads");
            let portal = cell.start(an, "actor", options).await?;
            let result = body(&portal).await?;
            // A value of the wrong type costs the dialog that it is in.
            let plan = plan(First::Point(ORIGIN), None);
            let first = portal
                .open_context_named("payloads:answer", plan, first_alone)
                .await?;
            assert_eq!(first, Some(ORIGIN));
            an.cancel();
            Ok(result)
        })
        .await
    })
}

async fn first_alone(
    _: &Context<Points, Caller<Option<String>>>,
    first: Option<Point>,
) -> Result<Option<Point>> {
    Ok(first)
}

fn plan(first: First, result: Option<&str>) -> Plan {
    Plan {
        first,
        result: result.map(Into::into),
    }
}

over_every_transport![
    first_value_of_another_type,
    result_of_another_type,
    first_value_and_result_of_the_right_types,
    item_of_another_type_is_lost_alone,
];

// msg/test_pldrx_limiting.py::test_basic_payload_spec[no-started-pld-validate-Started[invalid-10]-return[invalid-"yo"]]
// msg/test_pldrx_limiting.py::test_basic_payload_spec[no-started-pld-validate-Started[invalid-10]-return[valid-None]]
fn first_value_of_another_type(cell: Cell) {
    for result in [None, Some("yo")] {
        with_actor(cell, async |portal| {
            let plan = plan(First::Number(10), result);
            let error = portal
                .open_context_named(
                    "payloads:answer",
                    plan,
                    async |_: &Context<Points, Caller<()>>, _| -> Result<()> {
                        panic!("there is no first value")
                    },
                )
                .await
                .unwrap_err();
            let wrong: &MsgTypeError = error.downcast_ref().expect("the first value is wrong");
            assert_eq!(wrong.what(), "the first value of payloads:answer");
            assert!(wrong.to_string().contains(": 10 is not a "), "{wrong}");
            assert!(wrong.to_string().contains("Point"), "{wrong}");
            assert!(error.group_name().is_none(), "{error:?}");
            Ok(())
        })
        .unwrap();
    }
}

// msg/test_pldrx_limiting.py::test_basic_payload_spec[check-started-pld-Started[valid-PldMsg]-return[invalid-"yo"]]
// msg/test_pldrx_limiting.py::test_basic_payload_spec[no-started-pld-validate-Started[valid-PldMsg]-return[invalid-"yo"]]
fn result_of_another_type(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let plan = plan(First::Point(ORIGIN), Some("yo"));
        let body = async |ctx: &Context<Points, Caller<Option<u32>>>, first| {
            assert_eq!(first, Some(ORIGIN));
            let error = ctx.wait_for_result().await.unwrap_err();
            let wrong: &MsgTypeError = error.downcast_ref().expect("the result is wrong");
            assert_eq!(wrong.what(), "the result of payloads:answer");
            assert!(wrong.to_string().contains(r#": "yo" is not a "#), "{wrong}");
            assert!(wrong.to_string().contains("u32"), "{wrong}");
            // It is not the endpoint that failed.
            assert!(ctx.remote_error().is_none());
            let outcome = ctx.outcome().and_then(|outcome| outcome.err());
            for same in [ctx.wait_for_result().await.err(), outcome] {
                assert_eq!(same.map(|same| same.id()), Some(error.id()));
            }
            Err::<(), _>(error)
        };
        let opened = portal
            .open_context_named("payloads:answer", plan, body)
            .await;
        Ok(opened.unwrap_err())
    })
    .unwrap();
    assert!(
        error.is::<MsgTypeError>() && error.group_name().is_none(),
        "{error:?}"
    );
}

// msg/test_pldrx_limiting.py::test_basic_payload_spec[check-started-pld-Started[valid-PldMsg]-return[valid-None]]
// msg/test_pldrx_limiting.py::test_basic_payload_spec[no-started-pld-validate-Started[valid-PldMsg]-return[valid-None]]
fn first_value_and_result_of_the_right_types(cell: Cell) {
    let outcome = with_actor(cell, async |portal| {
        let plan = plan(First::Point(Point { x: 1, y: 2 }), None);
        let body = async |ctx: &Context<Points, Caller<Option<u32>>>, first| {
            assert_eq!(first, Some(Point { x: 1, y: 2 }));
            let outcome = ctx.wait_for_result().await?;
            assert!(ctx.remote_error().is_none());
            Ok(outcome)
        };
        portal
            .open_context_named("payloads:answer", plan, body)
            .await
    })
    .unwrap();
    assert!(matches!(outcome, Outcome::Returned(None)), "{outcome:?}");
}

fn item_of_another_type_is_lost_alone(cell: Cell) {
    with_actor(cell, async |portal| {
        let point = |x| Point { x, y: 0 };
        let items = vec![
            First::Point(point(1)),
            First::Number(2),
            First::Point(point(3)),
        ];
        let body = async |ctx: &Context<Points, Caller<Vec<First>>>, _| {
            let stream = ctx.open_stream()?;
            assert_eq!(stream.receive().await?, Some(point(1)));
            let error = stream.receive().await.unwrap_err();
            let wrong: &MsgTypeError = error.downcast_ref().expect("the item is wrong");
            assert_eq!(wrong.what(), "an item of payloads:exchange");
            assert_eq!(stream.receive().await?, Some(point(3)));
            stream.send(&point(4)).await?;
            drop(stream);
            let received = ctx.wait_for_result().await?.returned();
            assert_eq!(received, Some(vec![First::Point(point(4))]));
            Ok(())
        };
        portal
            .open_context_named("payloads:exchange", items, body)
            .await
    })
    .unwrap();
}
