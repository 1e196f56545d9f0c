//! A crowd that connects and never says a word: it costs the actor little, and the others nothing.

mod common;
#[path = "common/sockets.rs"]
mod sockets;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use common::{HANG, tree};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use sockets::{
    Directory, Peer, any_port, aside, beside, double, echo, exchange, keep_the_log, logged, talk_to,
};
use tractor::runtime::nursery;
use tractor::{
    Address, Caller, Context, Dialog, ListenOptions, Result, SpawnOptions, connect, endpoint,
};

/// As large as a crowd gets where the system allows it.
const MOST: usize = 10_000;

/// How many connect before somebody honest does: not more than wait to be taken.
const BATCH: usize = 100;

/// How many connections without a handshake there may be, as documented.
const UNKNOWN: usize = 64;

/// How much larger the actor may get. 4 MiB were measured: the log, which is kept here, and what the
/// connections of a hundred honest peers take. With a kilobyte left of each of the crowd it were 14.
const GROWTH_KIB: usize = 8 << 10;

struct Watch;
impl Dialog for Watch {
    type Started = String;
    type ToChild = ();
    type ToParent = Load;
}

/// What an actor holds, and how many it has turned away.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Load {
    descriptors: usize,
    resident_kib: usize,
    turned_away: usize,
}

/// Listens, and says what that costs whenever it is asked.
async fn watched(ctx: &mut Context<Watch>, socket: Option<PathBuf>) -> Result<()> {
    raise_the_file_limit();
    keep_the_log();
    let listening = ListenOptions::new()
        .handshake_limit(HANG)
        .listen(socket.map_or_else(any_port, Address::Unix))?;
    ctx.started(listening.address().to_string()).await?;
    let stream = ctx.open_stream()?;
    while let Some(()) = stream.receive().await? {
        let load = Load {
            descriptors: descriptors(),
            resident_kib: resident_kib(),
            turned_away: logged("was turned away: too many have not said who they are"),
        };
        stream.send(&load).await?;
    }
    Ok(())
}
endpoint!(watched);

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Lets this process have as many descriptors as it may, and says how many that are.
fn raise_the_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    limit
        .maximum
        .map_or(usize::MAX, |most| usize::try_from(most).unwrap())
}

/// A crowd as large as this process may have it, beside others who talk to the actor. Nobody is in
/// its way, and the actor has no more of it at a time than is documented.
async fn crowd(address: String, mut load: impl AsyncFnMut() -> Result<Load>) -> Result<()> {
    let at: Address = address.parse()?;
    let known = connect(&at).await?;
    assert_eq!(exchange(&known, 10).await?, 10);
    let before = load().await?;
    // Those who are honest need some, too.
    let count = MOST.min(raise_the_file_limit() - descriptors() - 200);
    assert!(count > UNKNOWN, "the file limit leaves room for no crowd");
    println!("{count} connections to {address}");

    beside(async |other| {
        let mut silent: Vec<Peer> = Vec::new();
        while silent.len() < count {
            let batch = BATCH.min(count - silent.len());
            let at = at.clone();
            nursery(async |n| {
                let connecting = n.start_soon(aside(move || {
                    (0..batch).map(|_| Peer::new(&at)).collect::<Vec<_>>()
                }));
                assert_eq!(exchange(&known, 10).await?, 10);
                silent.extend(connecting.await?);
                Ok(())
            })
            .await?;
            // It comes last, and once it is known, one place is free. Its first connection stays, and
            // is the one that it is given ever after.
            assert_eq!(other.run(talk_to, address.clone()).await?, 100);
            let now = load().await?;
            let held = silent.len().min(UNKNOWN - 1);
            assert_eq!(now.turned_away, silent.len() - held, "{now:?}");
            assert_eq!(now.descriptors, before.descriptors + held + 1, "{now:?}");
            assert!(
                now.resident_kib < before.resident_kib + GROWTH_KIB,
                "{before:?} became {now:?} by {} connections",
                silent.len()
            );
        }
        aside(move || {
            let late = silent.split_off(count - (UNKNOWN - 1));
            for mut peer in silent {
                peer.closed();
            }
            for mut peer in late {
                assert_eq!(peer.receive().unwrap()["name"], "crowded");
                peer.0.set_nonblocking(true).unwrap();
                let more = peer.0.read(&mut [0; 1]).unwrap_err();
                assert_eq!(more.kind(), ErrorKind::WouldBlock);
            }
        })
        .await?;
        // Those who were left have hung up.
        while load().await?.descriptors > before.descriptors + 1 {}
        assert_eq!(exchange(&known, 10).await?, 10);
        assert_eq!(other.run(talk_to, address.clone()).await?, 100);
        Ok(())
    })
    .await
}

#[test]
fn crowd_that_never_says_a_word_costs_little_and_is_in_nobodys_way() {
    let directory = Directory::new();
    for socket in [None, Some(directory.socket())] {
        // In a process of its own, whose descriptors and memory are counted.
        tree(async |options: SpawnOptions| {
            tractor::nursery(async |an| {
                let options = options.enable(watched).enable(double).enable(echo);
                let portal = an.start_actor("crowded", options).await?;
                portal
                    .open_context(
                        watched,
                        socket.clone(),
                        async |ctx: &Context<Watch, Caller<()>>, address: String| {
                            let stream = ctx.open_stream()?;
                            crowd(address, async || {
                                stream.send(&()).await?;
                                Ok(stream.receive().await?.expect("it is asked for more"))
                            })
                            .await?;
                            stream.close();
                            Ok(())
                        },
                    )
                    .await?;
                an.cancel();
                Ok(())
            })
            .await
        })
        .unwrap();
    }
}
