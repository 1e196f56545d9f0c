//! Errors that come back from other actors: as values, through any number of relays, as groups, and
//! with the field that was wrong.

mod common;

use std::fmt;

use common::{Cell, in_every_cell, tree_of};
use serde::{Deserialize, Serialize};
use tractor::{
    Error, MsgTypeError, Portable, Portal, RemoteActorError, Result, SpawnOptions, endpoint,
    portable,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NoSuchUser {
    id: u64,
}

impl fmt::Display for NoSuchUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no user {}", self.id)
    }
}

impl std::error::Error for NoSuchUser {}
impl Portable for NoSuchUser {}

/// Called otherwise on the wire than in this program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Renamed;

impl fmt::Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of another name")
    }
}

impl std::error::Error for Renamed {}
impl Portable for Renamed {
    const NAME: Option<&'static str> = Some("ValueError");
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Failure {
    Portable,
    Renamed,
    Text,
    Group,
}

/// Fails, in the last of so many actors below this one.
async fn fails_below(args: (u32, Failure, Place)) -> Result<()> {
    let (depth, failure, place) = args;
    if depth > 0 {
        return tractor::nursery(async |an| {
            let options = place.options().enable(fails_below);
            let portal = an.start_actor(&format!("below-{depth}"), options).await?;
            let result = portal.run(fails_below, (depth - 1, failure, place)).await;
            an.cancel();
            result
        })
        .await;
    }
    Err(match failure {
        Failure::Portable => portable(NoSuchUser { id: 7 }),
        Failure::Renamed => portable(Renamed),
        Failure::Text => Error::msg("only a text"),
        Failure::Group => Error::group(
            "two at once",
            vec![Error::msg("one"), portable(NoSuchUser { id: 8 })],
        ),
    })
}
endpoint!(fails_below);

/// Where the actors below are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place(Cell);

impl Place {
    fn options(self) -> SpawnOptions {
        self.0.place(SpawnOptions::new())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    items: Vec<Item>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    name: String,
    count: u32,
}

async fn takes(order: Order) -> Result<usize> {
    Ok(order.items.len())
}
endpoint!(takes as "errors:takes");

fn with_actor<T>(cell: Cell, body: impl AsyncFnOnce(&Portal) -> Result<T>) -> Result<T> {
    tree_of(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options
                .enable_module("error_values")
                .enable_module("errors");
            let portal = an.start_actor("first", options).await?;
            let result = body(&portal).await?;
            an.cancel();
            Ok(result)
        })
        .await
    })
}

/// What comes of a failure so many actors below the first.
fn failure(cell: Cell, depth: u32, failure: Failure) -> RemoteActorError {
    with_actor(cell, async |portal| {
        let error = portal.run(fails_below, (depth, failure, Place(cell))).await;
        let error = error.expect_err("it fails");
        let remote: &RemoteActorError = error.downcast_ref().expect("it comes from elsewhere");
        Ok(remote.clone())
    })
    .unwrap()
}

in_every_cell![
    error_comes_back_as_the_value_it_was,
    error_keeps_its_source_through_relays,
    error_of_another_name,
    group_is_told_as_a_tree,
    field_that_is_wrong_is_named,
];

fn error_comes_back_as_the_value_it_was(cell: Cell) {
    let remote = failure(cell, 0, Failure::Portable);
    assert_eq!(remote.source_as(), Some(NoSuchUser { id: 7 }));
    assert_eq!(remote.source_as::<Renamed>(), None);
    assert_eq!(
        (remote.src_type(), remote.boxed_type()),
        ("NoSuchUser", "NoSuchUser")
    );
    assert_eq!(remote.message(), "there is no user 7");
    let remote = failure(cell, 0, Failure::Text);
    assert_eq!(remote.source_as::<NoSuchUser>(), None);
}

fn error_keeps_its_source_through_relays(cell: Cell) {
    let remote = failure(cell, 3, Failure::Portable);
    assert_eq!(remote.source_as(), Some(NoSuchUser { id: 7 }));
    assert_eq!(remote.src_type(), "NoSuchUser");
    assert_eq!(remote.boxed_type(), "RemoteActorError");
    assert_eq!(remote.src_uid().name(), "below-1");
    let path: Vec<_> = remote.relay_path().iter().map(|uid| uid.name()).collect();
    assert_eq!(path, ["below-1", "below-2", "below-3", "first"]);
    assert!(remote.to_string().contains("relayed by"), "{remote}");
}

fn error_of_another_name(cell: Cell) {
    let remote = failure(cell, 1, Failure::Renamed);
    assert_eq!(remote.src_type(), "ValueError");
    assert_eq!(remote.source_as(), Some(Renamed));
}

fn group_is_told_as_a_tree(cell: Cell) {
    let remote = failure(cell, 0, Failure::Group);
    assert!(
        remote.message().starts_with("two at once (2 errors"),
        "{remote}"
    );
    let lines: Vec<_> = remote.trace().lines().collect();
    assert_eq!(lines[0], "two at once (2 errors)");
    assert!(lines[1].starts_with("- Message: one"), "{lines:?}");
    assert!(lines[2].ends_with("there is no user 8"), "{lines:?}");
}

fn field_that_is_wrong_is_named(cell: Cell) {
    #[derive(Serialize)]
    struct Wrong {
        items: Vec<WrongItem>,
    }
    #[derive(Serialize)]
    struct WrongItem {
        name: &'static str,
        count: &'static str,
    }
    with_actor(cell, async |portal| {
        let item = WrongItem {
            name: "nails",
            count: "many",
        };
        let order = Wrong { items: vec![item] };
        let called = portal.run_named::<_, usize>("errors:takes", order).await;
        let error = called.expect_err("the count is a number");
        assert!(error.is::<MsgTypeError>(), "{error:?}");
        assert!(error.to_string().contains("`items[0].count`"), "{error}");
        Ok(())
    })
    .unwrap();
}
