//! Talks to the actor of `interop_daemon`, or to one of another language that has the same
//! endpoints, and looks whether it answers as it should.
//!
//!     cargo run --example interop_client -- --tcp 127.0.0.1:1616 echo
//!
//! It joins the daemon's tree under the name `client`. Its exit status is 0 if everything was as
//! expected, 1 if not, after a line that says what was not, and 2 if it could not connect.

use std::fmt::Debug;
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use rmpv::Value;
use serde::Serialize;
use tractor::runtime::{fail_after, time};
use tractor::{
    Address, Caller, ConnectError, Context, ContextCancelled, Dialog, Error, ModuleNotExposed,
    Outcome, Portal, Registrar, RegistryError, RemoteActorError, Result, RunOptions, connect,
};

/// Whatever the daemon sends.
struct Any;

impl Dialog for Any {
    type Started = Value;
    type ToChild = Value;
    type ToParent = Value;
}

const SCENARIOS: [&str; 11] = [
    "double",
    "echo",
    "cancel",
    "boom",
    "boom_early",
    "self_cancel",
    "overrun",
    "run",
    "not_exposed",
    "registry",
    "cancel_actor",
];

/// No scenario takes longer.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (place, scenario) = match &*args {
        [flag, place, scenario] if flag == "--tcp" && SCENARIOS.contains(&&**scenario) => {
            (place, scenario)
        }
        _ => {
            let scenarios = SCENARIOS.join(" | ");
            eprintln!("usage: interop_client --tcp HOST:PORT {scenarios}");
            return ExitCode::FAILURE;
        }
    };
    let Some(daemon) = resolved(place) else {
        eprintln!("interop_client: {place} is no host and port");
        return ExitCode::FAILURE;
    };
    let client = RunOptions::new()
        .name("client")
        .plain_protocol(true)
        .join_registry([daemon.clone()]);
    match client.run(async || fail_after(LIMIT, play(&daemon, scenario)).await) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{scenario}: {error}");
            let unconnected = error.is::<RegistryError>() || error.is::<ConnectError>();
            ExitCode::from(if unconnected { 2 } else { 1 })
        }
    }
}

/// The first address of a host and a port, of IPv4 if it has one.
fn resolved(place: &str) -> Option<Address> {
    let mut found: Vec<_> = place.to_socket_addrs().ok()?.collect();
    found.sort_by_key(|address| address.is_ipv6());
    Some(Address::Tcp(*found.first()?))
}

async fn play(daemon: &Address, scenario: &str) -> Result<()> {
    let portal = connect(daemon).await?;
    same("the daemon's name", portal.uid().name(), "daemon")?;
    let played = match scenario {
        "double" => double(&portal).await,
        "echo" => echo(&portal).await,
        "cancel" => cancel(&portal).await,
        "boom" => boom(&portal).await,
        "boom_early" => boom_early(&portal).await,
        "self_cancel" => self_cancel(&portal).await,
        "overrun" => overrun(&portal).await,
        "run" => run(&portal).await,
        "not_exposed" => not_exposed(&portal).await,
        "registry" => registry(daemon).await,
        _ => cancel_actor(&portal).await,
    };
    portal.disconnect();
    played
}

async fn double(portal: &Portal) -> Result<()> {
    let number = Args([("x", 21)]);
    opened(portal, "api:double", number, async |ctx, first| {
        same("the first value", first, Value::from(21))?;
        same("the result", result(ctx).await?, Value::from(42))
    })
    .await
}

async fn echo(portal: &Portal) -> Result<()> {
    opened(portal, "api:echo", NONE, async |ctx, first| {
        same("the first value", first, Value::from("ready"))?;
        let stream = ctx.open_stream()?;
        let map = vec![(Value::from("k"), Value::from(4.5))];
        for item in [
            Value::from(1),
            Value::from("two"),
            Value::from(vec![Value::from(3), Value::Nil, Value::from(true)]),
            Value::Map(map),
            Value::Binary(vec![0, 255]),
        ] {
            stream.send(&item).await?;
            same("an item", stream.receive().await?, Some(item))?;
        }
        stream.close();
        same("the result", result(ctx).await?, Value::from("done"))
    })
    .await
}

async fn cancel(portal: &Portal) -> Result<()> {
    opened(portal, "api:sleeper", NONE, async |ctx, first| {
        same("the first value", first, Value::from("zzz"))?;
        same("the cancel is answered", ctx.cancel().await, true)?;
        match ctx.wait_for_result().await? {
            Outcome::Cancelled(cancelled) => cancelled_by(&cancelled, "client"),
            other => different("the outcome", other, "a cancellation"),
        }
    })
    .await
}

async fn boom(portal: &Portal) -> Result<()> {
    let text = Args([("text", "kaput")]);
    let failed = opened(portal, "api:boom", text, async |_, first| {
        same("the first value", first, Value::Nil)?;
        Ok(time::sleep_forever().await?)
    })
    .await;
    failed_with(failed, "ValueError", "ValueError", &["daemon"])
}

async fn boom_early(portal: &Portal) -> Result<()> {
    let failed = opened(portal, "api:boom_before_started", NONE, async |_, first| {
        different("the first value", first, "none")
    })
    .await;
    failed_with(failed, "KeyError", "KeyError", &["daemon"])
}

async fn self_cancel(portal: &Portal) -> Result<()> {
    let cancelled = opened(portal, "api:self_cancel", NONE, async |_, first| {
        same("the first value", first, Value::Nil)?;
        Ok(time::sleep_forever().await?)
    })
    .await;
    raised_by(cancelled, "daemon")
}

/// Takes nothing of what is sent. The daemon is told, and passes that on.
async fn overrun(portal: &Portal) -> Result<()> {
    let numbers = Args([("n", 100)]);
    let failed = opened(portal, "api:flood", numbers, async |_, first| {
        same("the first value", first, Value::Nil)?;
        Ok(time::sleep_forever().await?)
    })
    .await;
    failed_with(
        failed,
        "StreamOverrun",
        "RemoteActorError",
        &["client", "daemon"],
    )
}

async fn run(portal: &Portal) -> Result<()> {
    let numbers = Args([("a", 2), ("b", 3)]);
    let sum: Value = portal.run_named("api:add", numbers).await?;
    same("the result", sum, Value::from(5))
}

async fn not_exposed(portal: &Portal) -> Result<()> {
    match portal.run_named::<_, Value>("os:getpid", NONE).await {
        Err(error) if error.is::<ModuleNotExposed>() => Ok(()),
        other => different("the result", other, "that it is not exposed"),
    }
}

/// Each question is one connection.
async fn registry(daemon: &Address) -> Result<()> {
    let known = Registrar::connect(daemon).await?.find("daemon").await?;
    same("where the daemon is", known, vec![daemon.clone()])?;
    let unknown = Registrar::connect(daemon).await?.find("nobody").await?;
    same("where nobody is", unknown, Vec::new())?;
    let waited = Registrar::connect(daemon).await?.wait_for("daemon").await?;
    same("where the daemon comes", waited, vec![daemon.clone()])
}

async fn cancel_actor(portal: &Portal) -> Result<()> {
    let cancelled = opened(portal, "api:sleeper", NONE, async |_, first| {
        same("the first value", first, Value::from("zzz"))?;
        same("the cancel is answered", portal.cancel_actor().await, true)?;
        Ok(time::sleep_forever().await?)
    })
    .await;
    raised_by(cancelled, "client")
}

/// Opens a context with an endpoint of the daemon.
async fn opened(
    portal: &Portal,
    endpoint: &str,
    args: impl Serialize,
    body: impl AsyncFnOnce(&Context<Any, Caller<Value>>, Value) -> Result<()>,
) -> Result<()> {
    portal.open_context_named(endpoint, args, body).await
}

async fn result(ctx: &Context<Any, Caller<Value>>) -> Result<Value> {
    match ctx.wait_for_result().await? {
        Outcome::Returned(value) => Ok(value),
        other => different("the outcome", other, "a result"),
    }
}

fn failed_with(failed: Result<()>, source: &str, boxed: &str, path: &[&str]) -> Result<()> {
    let error = match failed {
        Err(error) => error,
        Ok(()) => return different("the outcome", "a result", source),
    };
    let Some(remote) = error.downcast_ref::<RemoteActorError>() else {
        return different("the error", error, source);
    };
    same("the type of the source", remote.src_type(), source)?;
    same("the type of the error", remote.boxed_type(), boxed)?;
    same("the source", remote.src_uid().name(), path[0])?;
    let relayed: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
    same("the path", &*relayed, path)
}

fn raised_by(cancelled: Result<()>, canceller: &str) -> Result<()> {
    let error = match cancelled {
        Err(error) => error,
        Ok(()) => return different("the outcome", "a result", "a cancellation"),
    };
    match error.downcast_ref::<ContextCancelled>() {
        Some(cancelled) => cancelled_by(cancelled, canceller),
        None => different("the error", error, "a cancellation"),
    }
}

fn cancelled_by(cancelled: &ContextCancelled, canceller: &str) -> Result<()> {
    let by = cancelled.canceller().map(|uid| uid.name());
    same("the canceller", by, Some(canceller))?;
    same("who was cancelled", cancelled.src_uid().name(), "daemon")
}

fn same<T: Debug + PartialEq<U>, U: Debug>(what: &str, found: T, expected: U) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    different(what, found, expected)
}

fn different<T>(what: &str, found: impl Debug, expected: impl Debug) -> Result<T> {
    let text = format!("{what}: {found:?} instead of {expected:?}");
    Err(Error::msg(text.replace('\n', " ")))
}

/// Arguments by name, in this order.
struct Args<T, const N: usize>([(&'static str, T); N]);

const NONE: Args<(), 0> = Args([]);

impl<T: Serialize, const N: usize> Serialize for Args<T, N> {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
