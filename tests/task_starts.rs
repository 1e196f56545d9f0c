//! Tasks that are started and waited for until they are ready, in actors as anywhere.

mod common;

use common::tree;
use tractor::runtime::{CancelScope, Error, NotStarted, nursery, time};

/// An error that is the child's own, whatever it says.
fn own(text: &str) -> Error {
    Error::msg(text)
}

/// Ends when it is cancelled, before it has started: with the cancellation, or without a word.
async fn never_ready(swallows: bool) -> tractor::Result<()> {
    match time::sleep_forever().await {
        Err(_) if swallows => Ok(()),
        ended => Ok(ended?),
    }
}

fn sibling_fails(swallows: bool) -> Vec<String> {
    let error = tree(async |_| {
        nursery(async |n| {
            n.start_soon::<()>(async { Err(own("of the sibling")) });
            n.start::<()>(async |_status| never_ready(swallows).await)
                .await
        })
        .await
    });
    let error = error.unwrap_err();
    error.leaves().map(ToString::to_string).collect()
}

// trionics/test_taskc.py::test_sibling_err_not_masked_by_startup_rte[True]
#[test]
fn sibling_fails_while_a_task_starts() {
    assert_eq!(sibling_fails(false), ["of the sibling"]);
}

// trionics/test_taskc.py::test_sibling_err_not_masked_by_startup_rte[False]
#[test]
fn sibling_fails_while_a_task_starts_that_says_nothing_of_its_cancellation() {
    let [sibling, start] = &sibling_fails(true)[..] else {
        panic!("there are two errors");
    };
    assert_eq!(sibling, "of the sibling");
    assert!(start.contains("`started`"), "{start}");
}

fn start_is_cancelled(swallows: bool) -> tractor::Result<bool> {
    tree(async |_| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let started = scope.run(nursery(async |n| {
            n.start::<()>(async |_status| {
                handle.cancel();
                never_ready(swallows).await
            })
            .await
        }));
        Ok(started.await?.is_cancelled())
    })
}

// trionics/test_taskc.py::test_pure_oob_cancel_not_morphed_to_rte[True]
#[test]
fn start_that_is_cancelled_from_outside_is_only_cancelled() {
    assert!(start_is_cancelled(false).unwrap());
}

// trionics/test_taskc.py::test_pure_oob_cancel_not_morphed_to_rte[False]
#[test]
fn start_that_is_cancelled_and_says_nothing_of_it_is_an_error() {
    let error = start_is_cancelled(true).unwrap_err();
    assert!(error.is::<NotStarted>(), "{error:?}");
}

// trionics/test_taskc.py::test_genuine_startup_rte_still_raised[True]
// trionics/test_taskc.py::test_genuine_startup_rte_still_raised[False]
#[test]
fn task_that_ends_without_having_started_is_an_error() {
    tree(async |_| {
        let error = nursery(async |n| n.start::<()>(async |_status| Ok(())).await).await;
        assert!(error.unwrap_err().is::<NotStarted>());
        Ok(())
    })
    .unwrap();
}

// trionics/test_taskc.py::test_childs_own_rte_never_demoted_to_cancel[never got started!]
// trionics/test_taskc.py::test_childs_own_rte_never_demoted_to_cancel[child exited without calling user hook]
// trionics/test_taskc.py::test_childs_own_rte_never_demoted_to_cancel[1234]
#[test]
fn own_error_of_a_task_that_starts_is_kept_though_it_is_cancelled() {
    for text in [
        "never got started!",
        "child exited without calling user hook",
        "1234",
    ] {
        tree(async |_| {
            let (scope, error) = (CancelScope::new(), own(text));
            let (handle, raised) = (scope.handle(), error.clone());
            let started = scope.run(nursery(async |n| {
                n.start::<()>(async move |_status| {
                    handle.cancel();
                    let _ = time::sleep_forever().await;
                    Err(raised)
                })
                .await
            }));
            let found = started.await.unwrap_err();
            let found: Vec<_> = found.leaves().map(Error::id).collect();
            assert_eq!(found, [error.id()]);
            Ok(())
        })
        .unwrap();
    }
}

// trionics/test_taskc.py::test_started_value_and_args_passthru
#[test]
fn started_value_and_arguments_come_through() {
    tree(async |_| {
        let (first, second) = (1, String::from("two"));
        nursery(async |n| {
            let value = n
                .start(async |status| {
                    status.started((first, second.clone()));
                    Ok(())
                })
                .await?;
            assert_eq!(value, (1, String::from("two")));
            Ok(())
        })
        .await
    })
    .unwrap();
}
