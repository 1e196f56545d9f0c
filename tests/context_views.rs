//! What can be asked of a context, while it runs and afterwards, and how it shows itself.

mod common;

use std::cell::RefCell;

use common::{Cell, HangGuard, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::runtime::{Outcome as Ended, nursery, time};
use tractor::{
    Caller, CancelKind, ConnectError, Context, ContextOptions, Dialog, Error, Outcome, Portal,
    RemoteActorError, Result, RunOptions, SpawnOptions, connect, endpoint, listen,
};

struct Plain;
impl Dialog for Plain {
    type Started = u32;
    type ToChild = u32;
    type ToParent = u32;
}

type Ctx = Context<Plain, Caller<u32>>;

async fn sleeps(ctx: &mut Context<Plain>, (): ()) -> Result<u32> {
    assert_eq!(ctx.state_name(), "pre-started");
    ctx.started(1).await?;
    assert_eq!(ctx.state_name(), "started");
    time::sleep_forever().await?;
    Ok(0)
}
endpoint!(sleeps as "views:sleeps");

async fn returns(ctx: &mut Context<Plain>, value: u32) -> Result<u32> {
    ctx.started(value).await?;
    Ok(value)
}
endpoint!(returns as "views:returns");

async fn fails(ctx: &mut Context<Plain>, (): ()) -> Result<u32> {
    ctx.started(1).await?;
    // The error would overtake the first value.
    ctx.open_stream()?.receive().await?;
    Err(Error::msg("it had to"))
}
endpoint!(fails as "views:fails");

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum How {
    Returns,
    Fails,
    Panics,
    Cancelled,
}

thread_local! {
    static ENDED: RefCell<Option<Context<Plain>>> = const { RefCell::new(None) };
}

/// Ends in some way, and leaves its context to be looked at.
async fn ends(ctx: &mut Context<Plain>, how: How) -> Result<u32> {
    ctx.started(1).await?;
    ENDED.set(Some(ctx.clone()));
    match how {
        How::Returns => {}
        How::Fails => return Err(Error::msg("it had to")),
        How::Panics => panic!("as it was told"),
        How::Cancelled => time::sleep_forever().await?,
    }
    Ok(7)
}
endpoint!(ends as "views:ends");

async fn state_of_ended((): ()) -> Result<String> {
    Ok(ENDED.take().expect("it has ended").state_name().into())
}
endpoint!(state_of_ended as "views:state_of_ended");

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let portal = an
                .start_actor("actor", options.enable_module("views"))
                .await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    body_that_another_task_cuts_short_is_no_error,
    context_that_was_cancelled_by_its_body,
    context_that_returned,
    context_that_failed,
    states_of_a_stream,
    states_of_endpoints_that_have_ended,
];

fn body_that_another_task_cuts_short_is_no_error(cell: Cell) {
    with_actor(cell, async |portal| {
        let kept: RefCell<Option<Ctx>> = RefCell::default();
        let ended = nursery(async |n| {
            let options = ContextOptions::new();
            let context = portal.open_context_with(options, sleeps, (), async |ctx: &Ctx, _| {
                kept.replace(Some(ctx.clone()));
                assert!(!ctx.cancelled_caught());
                Ok(time::sleep_forever().await?)
            });
            let context = n.start_soon(context);
            while kept.borrow().is_none() {
                time::sleep(std::time::Duration::from_millis(1)).await?;
            }
            let ctx = kept.borrow().clone().expect("it was just there");
            assert!(ctx.cancel().await, "it is answered");
            context.await
        })
        .await?;
        let Ended::<()>::Cancelled(cause) = ended else {
            panic!("it was cut short: {ended:?}");
        };
        assert_eq!(cause.kind(), CancelKind::Requested);
        let ctx = kept.take().expect("it was kept");
        assert!(ctx.cancel_called() && ctx.cancel_acked() && ctx.cancelled_caught());
        assert_eq!(ctx.canceller().as_ref().map(|uid| uid.name()), Some("root"));
        assert!(matches!(ctx.outcome(), Some(Ok(Outcome::Cancelled(_)))));
        assert!(ctx.local_error().expect("its body was").is_cancelled());
        assert_eq!(ctx.state_name(), "self-cancelled");
        Ok(())
    })
    .unwrap();
}

fn context_that_was_cancelled_by_its_body(cell: Cell) {
    with_actor(cell, async |portal| {
        let kept = portal
            .open_context(sleeps, (), async |ctx: &Ctx, _| {
                assert!(ctx.cancel().await);
                assert!(ctx.cancel_acked() && !ctx.cancelled_caught());
                Ok(ctx.clone())
            })
            .await?;
        assert!(!kept.cancelled_caught(), "the body went on");
        assert!(kept.local_error().is_none());
        let remote = kept.remote_error().expect("it was answered");
        let maybe = kept.maybe_error().expect("the same");
        assert_eq!(remote.id(), maybe.id());
        Ok(())
    })
    .unwrap();
}

fn context_that_returned(cell: Cell) {
    with_actor(cell, async |portal| {
        let ctx = portal
            .open_context(returns, 7, async |ctx: &Ctx, _| Ok(ctx.clone()))
            .await?;
        assert!(matches!(ctx.outcome(), Some(Ok(Outcome::Returned(7)))));
        assert!(matches!(ctx.wait_for_result().await?, Outcome::Returned(7)));
        assert!(ctx.maybe_error().is_none() && !ctx.cancel_called());
        assert!(ctx.cancel().await, "it has ended already");
        assert_eq!(ctx.state_name(), "result-returned");
        let line = ctx.to_string();
        for part in [
            "views:returns (parent, with actor@",
            " over ",
            "result-returned",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let transport = match cell {
            Cell::Memory => "memory",
            _ => "unix",
        };
        assert!(line.contains(&format!("over {transport}")), "{line}");
        let fields = format!("{ctx:#?}");
        for part in [
            "endpoint: views:returns",
            "dialog: ",
            "Plain",
            "cid: ",
            "a value of 1 bytes",
        ] {
            assert!(fields.contains(part), "{fields}");
        }
        Ok(())
    })
    .unwrap();
}

fn context_that_failed(cell: Cell) {
    with_actor(cell, async |portal| {
        let kept = RefCell::default();
        let error = portal
            .open_context(fails, (), async |ctx: &Ctx, _| {
                kept.replace(Some(ctx.clone()));
                ctx.open_stream()?.send(&1).await?;
                time::sleep_forever().await?;
                Ok(())
            })
            .await
            .unwrap_err();
        let ctx = kept.take().expect("its body ran");
        assert!(error.is::<RemoteActorError>(), "{error:?}");
        assert!(ctx.cancelled_caught(), "its body was cut short");
        assert_eq!(ctx.remote_error().expect("it failed").id(), error.id());
        assert_eq!(ctx.maybe_error().expect("it failed").id(), error.id());
        let outcome = ctx.outcome().expect("it is known").unwrap_err();
        assert_eq!(outcome.id(), error.id());
        assert_eq!(ctx.state_name(), "errored");
        let line = ctx.to_string();
        assert!(
            line.contains("errored, ") && line.contains("it had to"),
            "{line}"
        );
        Ok(())
    })
    .unwrap();
}

fn states_of_endpoints_that_have_ended(cell: Cell) {
    with_actor(cell, async |portal| {
        for (how, state) in [
            (How::Returns, "result-returned"),
            (How::Fails, "errored"),
            (How::Panics, "errored"),
            (How::Cancelled, "actor-cancelled"),
        ] {
            let context = portal.open_context(ends, how, async |ctx: &Ctx, _| {
                if matches!(how, How::Cancelled) {
                    ctx.cancel().await;
                }
                Ok(())
            });
            assert_eq!(
                context.await.is_ok(),
                matches!(how, How::Returns | How::Cancelled)
            );
            assert_eq!(portal.run(state_of_ended, ()).await?, state, "{how:?}");
        }
        Ok(())
    })
    .unwrap();
}

fn states_of_a_stream(cell: Cell) {
    with_actor(cell, async |portal| {
        portal
            .open_context(sleeps, (), async |ctx: &Ctx, _| {
                assert_eq!(ctx.state_name(), "started");
                let stream = ctx.open_stream()?;
                assert_eq!(ctx.state_name(), "streaming");
                stream.close();
                assert_eq!(ctx.state_name(), "streaming-finished");
                ctx.cancel().await;
                Ok(())
            })
            .await
    })
    .unwrap();
}

#[test]
fn actor_that_calls_itself_is_refused() {
    let _guard = HangGuard::new();
    let options = RunOptions::new().enable_module("views");
    let error = options
        .run(async || {
            let listening = listen("/ip4/127.0.0.1/tcp/0".parse()?)?;
            connect(listening.address()).await?;
            Ok(())
        })
        .unwrap_err();
    assert!(error.is::<ConnectError>(), "{error:?}");
    assert!(error.to_string().contains("it is this actor"), "{error:?}");
}
