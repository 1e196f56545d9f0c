//! What a tree says of itself when it is asked what it is doing.

mod common;
#[path = "common/peer.rs"]
mod peer;
#[path = "common/places.rs"]
mod places;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cell, HangGuard, MARKER, Marker, aside, in_every_cell, tree, tree_of};
use peer::Peer;
use places::{Directory, Net};
use rustix::process::{Signal, getpid, kill_process};
use tractor::runtime::{nursery, time};
use tractor::{
    Address, Context, Dialog, ListenOptions, NoActor, PeerLost, Portal, RemoteActorError, Result,
    RunOptions, SpawnOptions, connect, dump_tree, endpoint,
};

struct Silent;
impl Dialog for Silent {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

/// An actor with another one below it, if there is to be one.
async fn linger(ctx: &mut Context<Silent>, (cell, below): (Cell, bool)) -> Result<()> {
    if !below {
        ctx.started(()).await?;
        return Ok(time::sleep_forever().await?);
    }
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new().enable_module("dumps"));
        let portal = an.start_actor("below", options).await?;
        portal
            .open_context(linger, (cell, false), async |_, ()| {
                ctx.started(()).await?;
                Ok(time::sleep_forever().await?)
            })
            .await
    })
    .await
}
endpoint!(linger);

/// Does not come back to its runtime.
async fn stick((): ()) -> Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
endpoint!(stick);

in_every_cell![dump_shows_actors_and_contexts_at_every_level];

fn dump_shows_actors_and_contexts_at_every_level(cell: Cell) {
    tree_of(cell, async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = marked.enable_module("dumps");
            let portal = an.start_actor("middle", options).await?;
            portal
                .open_context(linger, (cell, true), async |ctx, ()| {
                    let text = dump_tree().await?.to_string();
                    let at = |what: &str| {
                        let line = text.lines().position(|line| line.contains(what));
                        line.unwrap_or_else(|| panic!("{what} is not in\n{text}"))
                    };
                    assert_eq!(at("actor root@"), 0);
                    assert!(at("actor middle@") < at("actor below@"), "{text}");
                    let depth = |what: &str| text.lines().nth(at(what)).map(str::trim_start);
                    assert!(depth("actor middle@").is_some());
                    let contexts = text.matches(": dumps:linger\n").count();
                    // Both sides of both.
                    assert_eq!(contexts, 4, "{text}");
                    let opened = text.matches("context opened at middle@").count();
                    assert_eq!(opened, 1, "{text}");
                    let run = text.matches("context run for root@").count();
                    assert_eq!(run, 1, "{text}");
                    assert!(text.contains("blocked on"), "{text}");
                    ctx.cancel().await;
                    Ok(())
                })
                .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn actor_that_is_stuck_is_in_the_dump() {
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = marked.enable_module("dumps").grace(Duration::ZERO);
            let stuck = an.start_actor("stuck", options.clone()).await?;
            an.start_actor("well", options).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let _ = stuck.run(stick, ()).await;
                    Ok(())
                });
                time::sleep(Duration::from_millis(100)).await?;
                let text = dump_tree().await?.to_string();
                let silent = format!("actor {} does not answer", stuck.uid());
                assert!(text.contains(&silent), "{text}");
                assert!(
                    text.contains("actor well@") && !text.contains("well does not"),
                    "{text}"
                );
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
}

/// Runs `main` in a tree of its own with a portal to the root of another one, which has a child and
/// listens at such an address.
fn attached(
    net: Net,
    options: ListenOptions,
    main: impl AsyncFnOnce(&Portal) -> Result<()> + Send + 'static,
) {
    let directory = Directory::new();
    tree(async |marked: SpawnOptions| {
        let listening = options.listen(directory.at(net, "root.sock"))?;
        tractor::nursery(async |an| {
            an.start_actor("leaf", marked).await?;
            let place = listening.address().clone();
            let visited =
                aside(move || RunOptions::new().run(async || main(&connect(&place).await?).await));
            visited.await??;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

#[test]
fn dump_of_another_tree() {
    for (net, allow) in [(Net::Unix, false), (Net::Tcp, true)] {
        let options = ListenOptions::new().allow_remote_cancel(allow);
        attached(net, options, async |portal| {
            let text = portal.dump_tree().await?.to_string();
            let first = text.lines().next().unwrap();
            assert!(first.starts_with("actor root@"), "{text}");
            let leaf = text.lines().find(|line| line.contains("actor leaf@"));
            assert!(leaf.is_some_and(|line| line.starts_with("  ")), "{text}");
            // Again, over the same connection, until there is none.
            assert!(portal.dump_tree().await?.to_string().contains("leaf@"));
            portal.disconnect();
            let error = portal.dump_tree().await.unwrap_err();
            assert!(error.is::<PeerLost>(), "{error:?}");
            Ok(())
        });
    }
}

#[test]
fn dump_of_a_tree_that_may_not_be_seen() {
    attached(Net::Tcp, ListenOptions::new(), async |portal| {
        let error = portal.dump_tree().await.unwrap_err();
        let denied = error.downcast_ref::<RemoteActorError>().unwrap();
        assert_eq!(denied.boxed_type(), "PermissionDenied");
        assert!(portal.is_connected());
        Ok(())
    });
}

#[test]
fn dump_of_a_peer_of_another_library() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let mut peer = Peer::accepted(&listener);
        peer.greet(false.into());
        assert_eq!(peer.receive(), None, "nothing is asked of it");
    });
    tree(async |_| {
        let portal = connect(&address).await?;
        let error = portal.dump_tree().await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("does not know how to say what it is doing")
        );
        portal.disconnect();
        Ok(())
    })
    .unwrap();
    other.join().unwrap();
}

#[test]
fn dump_of_a_peer_that_is_stuck() {
    let directory = Directory::new();
    tree(async |marked: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = marked.enable_module("dumps").grace(Duration::ZERO);
            let place = directory.at(Net::Unix, "stuck.sock");
            let stuck = an
                .start_actor("stuck", options.listen(place.clone()))
                .await?;
            let portal = connect(&place).await?;
            nursery(async |n| {
                n.start_soon(async {
                    let _ = stuck.run(stick, ()).await;
                    Ok(())
                });
                // As soon as it is stuck.
                loop {
                    let text = portal.dump_tree().await?.to_string();
                    if text == format!("actor {} does not answer\n", stuck.uid()) {
                        break;
                    }
                }
                an.cancel();
                Ok(())
            })
            .await
        })
        .await
    })
    .unwrap();
}

#[test]
fn dump_outside_of_an_actor() {
    let error = tractor::runtime::run(async || dump_tree().await).unwrap_err();
    assert!(error.is::<NoActor>());
}

const ROLE: &str = "TRACTOR_TEST_ROLE";

#[test]
fn plays_its_role() {
    let Ok(marker) = env::var(ROLE) else { return };
    let result: Result<()> = tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new()
                .env_remove(ROLE)
                .env(MARKER, marker)
                .enable_module("dumps");
            an.start_actor("child", options).await?;
            // More than one at once ends nobody.
            for _ in 0..3 {
                kill_process(getpid(), Signal::USR1)?;
            }
            Ok(time::sleep_forever().await?)
        })
        .await
    });
    std::process::exit(tractor::exit_code(&result.unwrap_err()).into());
}

#[test]
fn user_signal_has_the_tree_dumped() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let mut root = Command::new("env")
        .args(["--default-signal=USR1", "--default-signal=INT"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "plays_its_role", "--nocapture"])
        .env(ROLE, marker.text())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(root.stderr.take().unwrap()).lines();
    let found = lines
        .by_ref()
        .any(|line| line.unwrap().contains("actor child@"));
    assert!(found, "the dump has the child in it");
    // And it goes on, until it is told to end.
    let pid = rustix::process::Pid::from_child(&root);
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(root.wait().unwrap().code(), Some(130));
    assert!(marker.processes().is_empty());
}
