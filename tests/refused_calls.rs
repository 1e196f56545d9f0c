//! Calls that an actor does not run, and answers that nobody is there to receive.

mod common;
#[path = "common/places.rs"]
mod places;

use std::cell::Cell as Count;
use std::fmt;
use std::time::Duration;

use common::{Cell, in_every_cell, tree_of};
use places::tree_of_peers;
use serde::{Deserialize, Serialize};
use tractor::runtime::{nursery, time};
use tractor::{
    EndpointNotFound, ModuleNotExposed, PeerLost, Portable, Portal, RemoteActorError, Result,
    SpawnOptions, endpoint, find_actor, parent, portable,
};

mod hidden {
    pub(super) async fn secret((): ()) -> super::Result<u32> {
        Ok(7)
    }
    tractor::endpoint!(secret);
}

/// What a program calls its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OutOfStock {
    item: String,
    left: u32,
}

impl fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left of {}", self.left, self.item)
    }
}

impl std::error::Error for OutOfStock {}

async fn order(item: String) -> Result<()> {
    Err(OutOfStock { item, left: 0 }.into())
}
endpoint!(order);

impl Portable for OutOfStock {}

/// Another one, under a name of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Closed(u8);

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed until {}", self.0)
    }
}

impl std::error::Error for Closed {}

impl Portable for Closed {
    const NAME: Option<&'static str> = Some("ShopClosed");
}

async fn order_portably(hour: u8) -> Result<()> {
    Err(match hour {
        8.. => portable(OutOfStock {
            item: "tea".into(),
            left: 1,
        }),
        _ => portable(Closed(8)),
    })
}
endpoint!(order_portably);

async fn order_below((cell, hour): (Cell, u8)) -> Result<()> {
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new()).enable(order_portably);
        let portal = an.start_actor("below", options).await?;
        portal.run(order_portably, hour).await
    })
    .await
}
endpoint!(order_below);

/// Has a child of its own, and calls there what that does not run.
async fn call_below((cell, bad): (Cell, Bad)) -> Result<u32> {
    tractor::nursery(async |an| {
        let options = cell.place(SpawnOptions::new());
        let options = match bad {
            Bad::NotExposed => options.enable(order),
            Bad::NotThere => options.enable_module("refused_calls"),
        };
        let portal = an.start_actor("below", options).await?;
        match bad {
            Bad::NotExposed => portal.run(hidden::secret, ()).await,
            Bad::NotThere => portal.run_named("refused_calls:nothing", ()).await,
        }
    })
    .await
}
endpoint!(call_below);

/// Calls back what its parent does not run.
async fn call_above((): ()) -> Result<u32> {
    let parent = parent().expect("it is a child");
    parent.run(hidden::secret, ()).await
}
endpoint!(call_above);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Bad {
    NotExposed,
    NotThere,
}

thread_local! {
    /// How many of `fail_late` have begun in this actor, and how many have failed.
    static RUNNING: Count<u32> = const { Count::new(0) };
    static FAILED: Count<u32> = const { Count::new(0) };
}

/// Fails when nobody waits for it any more.
async fn fail_late((): ()) -> Result<()> {
    RUNNING.set(RUNNING.get() + 1);
    let _ = time::sleep_forever().await;
    FAILED.set(FAILED.get() + 1);
    Err(OutOfStock {
        item: "time".into(),
        left: 0,
    }
    .into())
}
endpoint!(fail_late);

async fn counts((): ()) -> Result<(u32, u32)> {
    Ok((RUNNING.get(), FAILED.get()))
}
endpoint!(counts);

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("refused_calls");
            let portal = an.start_actor("actor", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

in_every_cell![
    caller_that_is_gone_when_the_error_would_be_sent,
    child_calls_back_what_its_parent_does_not_expose,
    refusal_is_passed_on_to_the_caller_s_caller,
    error_of_a_program_s_own_type,
    errors_that_travel_as_values,
];

// test_rpc.py::test_rpc_errors[no_mods]
fn child_calls_back_what_its_parent_does_not_expose(cell: Cell) {
    let error = with_actor(cell, async |portal| portal.run(call_above, ()).await).unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!(remote.src_type(), "ModuleNotExposed", "{remote:?}");
    assert_eq!(remote.boxed_type(), "RemoteActorError", "{remote:?}");
    assert_eq!(remote.src_uid().name(), "root");
    let path: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
    assert_eq!(path, ["root", "actor"]);
}

// test_rpc.py::test_rpc_errors[this_mod_bad_func]
fn refusal_is_passed_on_to_the_caller_s_caller(cell: Cell) {
    for (bad, name) in [
        (Bad::NotExposed, "ModuleNotExposed"),
        (Bad::NotThere, "AttributeError"),
    ] {
        let error = with_actor(cell, async |portal| {
            // Itself, it is told what it is refused.
            match bad {
                Bad::NotExposed => {
                    let error = portal.run_named::<_, ()>("refused:secret", ()).await;
                    let error = error.unwrap_err();
                    let refused: &ModuleNotExposed = error.downcast_ref().expect("it is not");
                    assert_eq!(refused.path(), "refused:secret");
                }
                Bad::NotThere => {
                    let error = portal.run_named::<_, ()>("refused_calls:nothing", ()).await;
                    let error = error.unwrap_err();
                    let refused: &EndpointNotFound = error.downcast_ref().expect("there is none");
                    assert_eq!(refused.path(), "refused_calls:nothing");
                }
            }
            portal.run(call_below, (cell, bad)).await
        })
        .unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is passed on");
        assert_eq!(remote.src_type(), name, "{remote:?}");
        assert_eq!(remote.src_uid().name(), "below");
        let path: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
        assert_eq!(path, ["below", "actor"]);
        assert!(error.group_name().is_none(), "{error:?}");
    }
}

// test_reg_err_types.py::test_unregistered_err_still_relayed
fn error_of_a_program_s_own_type(cell: Cell) {
    let error = with_actor(cell, async |portal| portal.run(order, "tea".into()).await).unwrap_err();
    let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
    assert_eq!(
        (remote.src_type(), remote.boxed_type()),
        ("OutOfStock", "OutOfStock")
    );
    assert_eq!(remote.message(), "0 left of tea");
    assert!(
        remote.trace().contains("0 left of tea"),
        "{}",
        remote.trace()
    );
}

// test_rpc.py::test_error_shipment_ignores_closed_response_channel
fn caller_that_is_gone_when_the_error_would_be_sent(cell: Cell) {
    tree_of_peers(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("refused_calls");
            let actor = an.start_actor("actor", options).await?;
            for round in 1..=3 {
                let peer = find_actor("actor").await?.expect("it is there");
                nursery(async |n| {
                    let called = n.start_soon(async {
                        let error = peer.run(fail_late, ()).await.unwrap_err();
                        assert!(error.is::<PeerLost>(), "{error:?}");
                        Ok(())
                    });
                    while actor.run(counts, ()).await?.0 < round {
                        time::sleep(Duration::from_millis(1)).await?;
                    }
                    peer.disconnect();
                    called.await
                })
                .await?;
                while actor.run(counts, ()).await? != (round, round) {
                    time::sleep(Duration::from_millis(1)).await?;
                }
            }
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}

// test_reg_err_types.py::test_registered_custom_err_relayed
// test_reg_err_types.py::test_registered_another_err_relayed
fn errors_that_travel_as_values(cell: Cell) {
    for relayed in [false, true] {
        let order = async |portal: &Portal, hour| match relayed {
            false => portal.run(order_portably, hour).await,
            true => portal.run(order_below, (cell, hour)).await,
        };
        let error = with_actor(cell, async |portal| order(portal, 9).await).unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
        assert_eq!(remote.src_type(), "OutOfStock", "{relayed}");
        assert!(
            remote.trace().contains("1 left of tea"),
            "{relayed}: {}",
            remote.trace()
        );
        let source: Option<OutOfStock> = remote.source_as();
        let (item, left) = (String::from("tea"), 1);
        assert_eq!(source, Some(OutOfStock { item, left }), "{relayed}");
        assert_eq!(remote.source_as::<Closed>(), None, "{relayed}");

        let error = with_actor(cell, async |portal| order(portal, 7).await).unwrap_err();
        let remote: &RemoteActorError = error.downcast_ref().expect("it is the endpoint's");
        assert_eq!(remote.src_type(), "ShopClosed", "{relayed}");
        assert_eq!(remote.message(), "closed until 8", "{relayed}");
        assert_eq!(remote.source_as(), Some(Closed(8)), "{relayed}");
        assert_eq!(remote.source_as::<OutOfStock>(), None, "{relayed}");
    }
}
