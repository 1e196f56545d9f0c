//! Two endpoints with one name: no actor of such a program runs, and it says where they are.

mod common;

use common::tree;
use tractor::{BootError, Result, endpoint};

async fn one((): ()) -> Result<()> {
    Ok(())
}
endpoint!(one as "same:name");

async fn other((): ()) -> Result<()> {
    Ok(())
}
endpoint!(other as "same:name");

#[test]
fn root_does_not_run() {
    let error = tree(async |_| Ok(())).unwrap_err();
    let Some(BootError::Duplicate {
        path,
        first,
        second,
        ..
    }) = error.downcast_ref()
    else {
        panic!("{error:?}");
    };
    assert_eq!(path, "same:name");
    for place in [first, second] {
        assert!(place.contains("duplicate_endpoints.rs:"), "{place}");
    }
    assert_ne!(first, second);
}
