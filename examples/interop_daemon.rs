//! An actor for peers in other languages: the registrar of its tree, with endpoints of many kinds.
//!
//!     cargo run --example interop_daemon -- --tcp 127.0.0.1:1616
//!
//! It says where it listens, and ends at Ctrl-C or when a peer asks it to.

use std::fmt;
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::process::ExitCode;

use rmpv::Value;
use serde::Deserialize;
use tractor::runtime::time;
use tractor::{Address, Context, Dialog, ListenOptions, Result, RunOptions, current_actor};

/// Names of the function's own are what peers call that share no program with this one.
mod api {
    use super::*;

    /// Whatever the peer sends.
    pub(super) struct Any;

    impl Dialog for Any {
        type Started = Value;
        type ToChild = Value;
        type ToParent = Value;
    }

    #[derive(Deserialize)]
    pub(super) struct Sum {
        a: i64,
        b: i64,
    }

    pub(super) async fn add(sum: Sum) -> Result<i64> {
        Ok(sum.a + sum.b)
    }

    #[derive(Deserialize)]
    pub(super) struct Number {
        x: i64,
    }

    /// Starts with the number, and returns twice as much.
    pub(super) async fn double(ctx: &mut Context<Any>, number: Number) -> Result<i64> {
        ctx.started(number.x.into()).await?;
        Ok(2 * number.x)
    }

    /// Sends back what comes, until no more does.
    pub(super) async fn echo(ctx: &mut Context<Any>, (): ()) -> Result<String> {
        ctx.started("ready".into()).await?;
        let stream = ctx.open_stream()?;
        while let Some(item) = stream.receive().await? {
            stream.send(&item).await?;
        }
        Ok("done".into())
    }

    /// Waits to be cancelled.
    pub(super) async fn sleeper(ctx: &mut Context<Any>, (): ()) -> Result<()> {
        ctx.started("zzz".into()).await?;
        Ok(time::sleep_forever().await?)
    }

    #[derive(Deserialize)]
    pub(super) struct Boom {
        text: String,
    }

    /// Fails with this text.
    pub(super) async fn boom(ctx: &mut Context<Any>, boom: Boom) -> Result<()> {
        ctx.started(Value::Nil).await?;
        Err(ValueError(boom.text).into())
    }

    pub(super) async fn boom_before_started(_: &mut Context<Any>, (): ()) -> Result<()> {
        Err(KeyError("nothing has started".into()).into())
    }

    pub(super) async fn self_cancel(ctx: &mut Context<Any>, (): ()) -> Result<()> {
        ctx.started(Value::Nil).await?;
        ctx.cancel();
        Ok(time::sleep_forever().await?)
    }

    #[derive(Deserialize)]
    pub(super) struct Flood {
        n: u64,
    }

    /// Sends so many numbers as fast as it can, and waits to be cancelled.
    pub(super) async fn flood(ctx: &mut Context<Any>, flood: Flood) -> Result<()> {
        ctx.started(Value::Nil).await?;
        let stream = ctx.open_stream()?;
        for number in 0..flood.n {
            stream.send(&number.into()).await?;
        }
        Ok(time::sleep_forever().await?)
    }
}

tractor::endpoint!(api::add as "api:add");
tractor::endpoint!(api::double as "api:double");
tractor::endpoint!(api::echo as "api:echo");
tractor::endpoint!(api::sleeper as "api:sleeper");
tractor::endpoint!(api::boom as "api:boom");
tractor::endpoint!(api::boom_before_started as "api:boom_before_started");
tractor::endpoint!(api::self_cancel as "api:self_cancel");
tractor::endpoint!(api::flood as "api:flood");

/// Peers know errors by the names of their types.
#[derive(Debug)]
struct ValueError(String);

#[derive(Debug)]
struct KeyError(String);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueError {}
impl std::error::Error for KeyError {}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let place = match &*args {
        [flag, place] if flag == "--tcp" => place,
        _ => {
            eprintln!("usage: interop_daemon --tcp HOST:PORT");
            return ExitCode::FAILURE;
        }
    };
    let Some(address) = resolved(place) else {
        eprintln!("interop_daemon: {place} is no host and port");
        return ExitCode::FAILURE;
    };
    let daemon = RunOptions::new()
        .name("daemon")
        .plain_protocol(true)
        .enable_module("api")
        .be_registrar([address])
        .listen_options(ListenOptions::new().allow_remote_cancel(true));
    let up = async || {
        for address in current_actor()?.addresses() {
            // Whether somebody reads it or not.
            let _ = writeln!(io::stdout(), "listening at {address}");
        }
        Ok(())
    };
    match daemon.run_daemon(up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop_daemon: {error}");
            ExitCode::from(tractor::exit_code(&error))
        }
    }
}

/// The first address of a host and a port, of IPv4 if it has one.
fn resolved(place: &str) -> Option<Address> {
    let mut found: Vec<_> = place.to_socket_addrs().ok()?.collect();
    found.sort_by_key(|address| address.is_ipv6());
    Some(Address::Tcp(*found.first()?))
}
