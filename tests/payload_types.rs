//! Values of another type than the other side expects. Both sides of a program have the same
//! types, so these endpoints are called by their names, as other programs do.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::cell::RefCell;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use common::{Cell, HangGuard, over_every_transport, tree_of};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockets::{Peer, aid, any_port, aside, start};
use tractor::runtime::{nursery, time};
use tractor::{
    Address, Caller, Context, ContextOptions, Dialog, MsgTypeError, Outcome, Portal, ReceiveStream,
    Result, RunOptions, SendStream, SpawnOptions, connect, endpoint, listen,
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

/// The dialog of a caller whose points are too wide.
struct Wide;
impl Dialog for Wide {
    type Started = ();
    type ToChild = WidePoint;
    type ToParent = ();
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WidePoint {
    x: u64,
    y: u64,
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
    None(()),
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

thread_local! {
    /// What the last endpoint that was cut short here knew of it.
    static TOLD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Waits to be cut short, and keeps what it is told.
async fn cut_short<T>(ctx: &Context<T>) -> Result<()>
where
    T: Dialog,
{
    let cancelled = time::sleep_forever().await.unwrap_err();
    let told = match ctx.remote_error() {
        Some(error) => error.to_string(),
        None => format!("cancelled: {}", cancelled.cause().kind()),
    };
    TOLD.set(Some(told));
    Err(cancelled.into())
}

/// What the last endpoint was told, once.
async fn told((): ()) -> Result<Option<String>> {
    Ok(TOLD.take())
}
endpoint!(told as "payloads:told");

/// Sends these, and goes on.
async fn exchange(ctx: &mut Context<Anything>, items: Vec<First>) -> Result<()> {
    ctx.started(First::Point(ORIGIN)).await?;
    let stream = ctx.open_stream()?;
    for item in &items {
        stream.send(item).await?;
    }
    cut_short(ctx).await
}
endpoint!(exchange as "payloads:exchange");

/// Takes points, and goes on whatever comes.
async fn points(ctx: &mut Context<Points>, (): ()) -> Result<()> {
    ctx.started(None).await?;
    let stream = ctx.open_stream()?;
    while let Ok(Some(_)) = stream.receive().await {}
    cut_short(ctx).await
}
endpoint!(points as "payloads:points");

async fn count(stream: &mut SendStream<u32>, (): ()) -> Result<()> {
    stream.send(&1).await?;
    let cancelled = time::sleep_forever().await.unwrap_err();
    TOLD.set(Some(format!("cancelled: {}", cancelled.cause().kind())));
    Err(cancelled.into())
}
endpoint!(count as "payloads:count");

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
    item_of_another_type_fails_the_context,
    item_of_another_type_ends_the_endpoint,
    field_of_another_type_is_named_to_its_sender,
    item_of_another_type_ends_a_stream_of_one_way,
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

/// Item by item, what the endpoint is sent until one is a text.
const MIXED: &str = "payloads:exchange";

fn mixed() -> Vec<First> {
    let point = |x| First::Point(Point { x, y: 0 });
    vec![point(1), First::Number(2), point(3)]
}

/// Asks the endpoint's actor what the last endpoint there was told.
async fn told_to(portal: &Portal) -> Result<String> {
    loop {
        if let Some(told) = portal.run_named("payloads:told", ()).await? {
            return Ok(told);
        }
    }
}

fn item_of_another_type_fails_the_context(cell: Cell) {
    with_actor(cell, async |portal| {
        for swallowed in [false, true] {
            let body = async |ctx: &Context<Points, Caller<Vec<First>>>, _| {
                let stream = ctx.open_stream()?;
                assert_eq!(stream.receive().await?, Some(Point { x: 1, y: 0 }));
                let error = stream.receive().await.unwrap_err();
                let wrong: &MsgTypeError = error.downcast_ref().expect("the item is wrong");
                assert_eq!(wrong.what(), "an item of payloads:exchange");
                assert_eq!(wrong.actor(), None);
                // That is what there is from now on.
                let again = stream.receive().await.err();
                assert!(
                    again.is_some_and(|again| again.id() == error.id() || again.is_cancelled())
                );
                match swallowed {
                    false => Err(error),
                    true => Ok(()),
                }
            };
            let error = (portal.open_context_named(MIXED, mixed(), body).await).unwrap_err();
            assert!(
                error.is::<MsgTypeError>() && error.group_name().is_none(),
                "{error:?}"
            );
            let told = told_to(portal).await?;
            assert!(
                told.contains("refused a message: an item of payloads:exchange: 2 is not a "),
                "{told}"
            );
        }
        Ok(())
    })
    .unwrap();
}

fn item_of_another_type_ends_the_endpoint(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let body = async |ctx: &Context<Anything, Caller<()>>, _| -> Result<()> {
            let stream = ctx.open_stream()?;
            stream.send(&First::Point(ORIGIN)).await?;
            stream.send(&First::Number(7)).await?;
            // The endpoint has more to do, and is cut short.
            stream.receive().await?;
            panic!("nothing was sent")
        };
        let opened = portal.open_context_named("payloads:points", (), body).await;
        assert_eq!(told_to(portal).await?, "cancelled: sibling failed");
        Ok(opened.unwrap_err())
    })
    .unwrap();
    let wrong: &MsgTypeError = error.downcast_ref().expect("the item is wrong");
    assert_eq!(wrong.actor().map(|actor| actor.name()), Some("actor"));
    let text = wrong.to_string();
    assert!(
        text.contains("an item of payloads:points: 7 is not a "),
        "{text}"
    );
    assert!(error.group_name().is_none(), "{error:?}");
}

fn field_of_another_type_is_named_to_its_sender(cell: Cell) {
    let error = with_actor(cell, async |portal| {
        let body = async |ctx: &Context<Wide, Caller<()>>, _| -> Result<()> {
            let stream = ctx.open_stream()?;
            let wide = WidePoint { x: u64::MAX, y: 0 };
            stream.send(&wide).await?;
            stream.receive().await?;
            panic!("nothing was sent")
        };
        let opened = portal.open_context_named("payloads:points", (), body).await;
        assert_eq!(told_to(portal).await?, "cancelled: sibling failed");
        Ok(opened.unwrap_err())
    })
    .unwrap();
    let wrong: &MsgTypeError = error.downcast_ref().expect("the item is wrong");
    assert!(wrong.to_string().contains("its field `x`: "), "{wrong}");
}

fn item_of_another_type_ends_a_stream_of_one_way(cell: Cell) {
    with_actor(cell, async |portal| {
        let options = ContextOptions::new();
        let body = async |stream: &ReceiveStream<String>| -> Result<()> {
            stream.receive().await?;
            panic!("it is a number")
        };
        let opened = portal.open_stream_from_named(options, "payloads:count", (), body);
        let error = opened.await.unwrap_err();
        assert!(error.is::<MsgTypeError>(), "{error:?}");
        assert_eq!(told_to(portal).await?, "cancelled: sibling failed");
        Ok(())
    })
    .unwrap();
}

/// A peer that knows the common protocol alone sends a text to an endpoint that takes points.
#[test]
fn caller_in_another_language_is_told_by_an_error_of_its_dialog() {
    let _guard = HangGuard::new();
    let options = RunOptions::new().enable_module("payloads");
    let main = async || {
        let listening = listen(any_port())?;
        let address = listening.address().clone();
        aside(move || {
            let mut peer = Peer::known(&address, "other");
            peer.send(&start("other", "payloads", "points"));
            for expected in [
                json!({"msg_type": "StartAck", "cid": "a dialog", "functype": "context"}),
                json!({"msg_type": "Started", "cid": "a dialog", "pld": null}),
            ] {
                assert_eq!(peer.receive().unwrap(), expected);
            }
            peer.send(&json!({"msg_type": "Yield", "cid": "a dialog", "pld": {"x": "a", "y": 1}}));
            let error = peer.receive().unwrap();
            assert_eq!(error["msg_type"], "Error");
            assert_eq!(error["cid"], "a dialog");
            assert_eq!(error["boxed_type_str"], "MsgTypeError");
            assert_eq!(error["src_type_str"], "MsgTypeError");
            assert_eq!(error["relay_path"], json!([error["src_uid"]]));
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("its field `x`: "), "{message}");
            // It costs the dialog alone.
            peer.send(&start("other", "payloads", "nothing"));
            assert_eq!(peer.receive().unwrap()["boxed_type_str"], "AttributeError");
        })
        .await
    };
    options.run(main).unwrap();
}

/// An endpoint of such a peer sends a text to a caller that takes points.
#[test]
fn endpoint_in_another_language_is_told_before_it_is_cancelled() {
    let _guard = HangGuard::new();
    let main = async || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = Address::Tcp(listener.local_addr()?);
        nursery(async |n| {
            let endpoint = n.start_soon(aside(move || play_an_endpoint(&listener)));
            let portal = connect(&address).await?;
            let body = async |ctx: &Context<Points, Caller<()>>, _| -> Result<()> {
                let stream = ctx.open_stream()?;
                stream.receive().await?;
                panic!("it is a text")
            };
            let opened = portal.open_context_named("api:texts", (), body).await;
            let error = opened.unwrap_err();
            let wrong: &MsgTypeError = error.downcast_ref().expect("the item is wrong");
            assert_eq!(wrong.what(), "an item of api:texts");
            assert!(error.group_name().is_none(), "{error:?}");
            portal.disconnect();
            endpoint.await
        })
        .await
    };
    RunOptions::new().run(main).unwrap();
}

fn play_an_endpoint(listener: &TcpListener) {
    let (socket, _) = listener.accept().unwrap();
    let mut peer = Peer(OwnedFd::from(socket).into());
    peer.send(&aid("other", false));
    assert_eq!(peer.receive().unwrap()["msg_type"], "Aid");
    let called = peer.receive().unwrap();
    assert_eq!(
        (&called["ns"], &called["func"]),
        (&json!("api"), &json!("texts"))
    );
    let cid = &called["cid"];
    peer.send(&json!({"msg_type": "StartAck", "cid": cid, "functype": "context"}));
    peer.send(&json!({"msg_type": "Started", "cid": cid, "pld": null}));
    peer.send(&json!({"msg_type": "Yield", "cid": cid, "pld": "a text"}));
    let mut told = peer.receive().unwrap();
    assert_eq!(told["msg_type"], "Error");
    assert_eq!(&told["cid"], cid);
    assert_eq!(told["boxed_type_str"], "MsgTypeError");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains(r#"an item of api:texts: "a text" is not a "#),
        "{message}"
    );
    // Only then is it cancelled, and answers with what it was told.
    loop {
        let request = peer.receive().unwrap();
        if request["func"] == "_cancel_task" {
            assert_eq!(&request["kwargs"]["cid"], cid);
            break;
        }
        assert_eq!(request["msg_type"], "Stop");
    }
    told["relay_path"]
        .as_array_mut()
        .unwrap()
        .push(json!(["other", "uuid-of-other"]));
    told["boxed_type_str"] = json!("RemoteActorError");
    peer.send(&told);
    peer.closed();
}
