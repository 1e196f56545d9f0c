//! Values that belong to a part of the tree, or to a runtime.

mod common;

use std::cell::Cell;
use std::panic::catch_unwind;
use std::rc::Rc;

use common::{guarded, trial};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::sleep_forever;
use tractor_runtime::{CancelScope, Result, RunVar, TreeVar, checkpoint, nursery, run, shield};

static COLOUR: TreeVar<&str> = TreeVar::new();
static NUMBER: TreeVar<u32> = TreeVar::new();

// trio/test_contextvars.py::test_contextvars_default
// trio/test_contextvars.py::test_contextvars_set
#[test]
fn child_has_the_value_of_the_place_where_its_nursery_was_opened() {
    trial(async || {
        assert_eq!(COLOUR.value(), None);
        let work = nursery(async |n| {
            n.start_soon(COLOUR.scope("blue", async {
                assert_eq!(COLOUR.value(), Some("blue"));
                // Not that of whoever starts it.
                n.start_soon(async {
                    assert_eq!(COLOUR.value(), Some("red"));
                    Ok(())
                });
                Ok(checkpoint().await?)
            }));
            checkpoint().await?;
            assert_eq!(COLOUR.value(), Some("red"));
            shield(async { assert_eq!(COLOUR.value(), Some("red")) }).await;
            Ok(())
        });
        COLOUR.scope("red", work).await?;
        assert_eq!(COLOUR.value(), None);
        Ok(())
    });
}

#[test]
fn several_variables_and_the_nearest_value() {
    trial(async || {
        let inner = NUMBER.scope(2, async {
            checkpoint().await?;
            assert_eq!((COLOUR.value(), NUMBER.value()), (Some("red"), Some(2)));
            Ok(())
        });
        let middle = COLOUR.scope("red", async {
            assert_eq!((COLOUR.value(), NUMBER.value()), (Some("red"), Some(1)));
            inner.await
        });
        NUMBER.scope(1, middle).await
    });
}

#[test]
fn value_until_a_child_has_started_is_the_callers() {
    trial(async || {
        let work = nursery(async |n| {
            let start = n.start(async |status| {
                assert_eq!(COLOUR.value(), Some("caller"));
                status.started(());
                assert_eq!(COLOUR.value(), Some("nursery"));
                Ok(())
            });
            COLOUR.scope("caller", start).await
        });
        COLOUR.scope("nursery", work).await
    });
}

#[test]
fn value_is_dropped_with_its_scope_and_may_use_the_runtime() {
    struct Drops(Rc<Cell<u32>>);
    impl Drop for Drops {
        fn drop(&mut self) {
            // Nothing of the runtime is borrowed meanwhile.
            assert_eq!(COLOUR.value(), None);
            self.0.set(self.0.get() + 1);
        }
    }
    static DROPS: TreeVar<Drops> = TreeVar::new();
    trial(async || {
        let drops = Rc::new(Cell::new(0));
        DROPS.scope(Drops(drops.clone()), checkpoint()).await?;
        assert_eq!(drops.get(), 1);
        let mut dropped = Box::pin(DROPS.scope(Drops(drops.clone()), sleep_forever()));
        assert!(futures::poll!(dropped.as_mut()).is_pending());
        drop(dropped);
        assert_eq!(drops.get(), 2);
        Ok(())
    });
}

#[test]
fn scope_of_a_variable_absorbs_no_cancellation() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(COLOUR.scope("red", async {
                handle.cancel();
                let result: Result<()> = Ok(sleep_forever().await?);
                result
            }))
            .await?;
        assert!(outcome.is_cancelled());
        Ok(())
    });
}

static COUNT: RunVar<u32> = RunVar::new();

// core/test_local.py::test_runvar_smoketest
#[test]
fn every_runtime_has_a_value_of_its_own() {
    guarded(|| {
        for _ in 0..2 {
            run(async || {
                assert_eq!(COUNT.value(), None);
                assert_eq!(COUNT.set(1), None);
                assert_eq!(COUNT.value(), Some(1));
                Ok(())
            })
            .unwrap();
        }
    });
}

// core/test_local.py::test_runvar_resetting
#[test]
fn value_before_is_given_back_to_be_set_again() {
    guarded(|| {
        run(async || {
            let before = COUNT.set(1);
            assert_eq!(COUNT.set(2), Some(1));
            assert_eq!(COUNT.replace(before), Some(2));
            assert_eq!(COUNT.value(), None);
            Ok(())
        })
        .unwrap();
    });
}

// core/test_local.py::test_runvar_sync
#[test]
fn all_tasks_of_a_runtime_share_the_value() {
    trial(async || {
        nursery(async |n| {
            n.start_soon(async {
                COUNT.set(1);
                wait_all_tasks_blocked().await?;
                assert_eq!(COUNT.value(), Some(2));
                Ok(())
            });
            checkpoint().await?;
            checkpoint().await?;
            assert_eq!(COUNT.set(2), Some(1));
            Ok(())
        })
        .await
    });
}

// core/test_local.py::test_accessing_runvar_outside_run_call_fails
#[test]
fn variable_of_a_runtime_outside_of_one() {
    assert!(catch_unwind(|| COUNT.value()).is_err());
    assert!(catch_unwind(|| COUNT.set(1)).is_err());
    assert!(catch_unwind(|| COUNT.replace(None)).is_err());
    assert_eq!(COLOUR.value(), None);
}
