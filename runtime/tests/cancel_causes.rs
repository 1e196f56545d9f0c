//! Why something was cancelled, as those who are told see it.

mod common;

use std::cell::RefCell;
use std::time::Duration;

use common::{Boom, trial, trial_with_clock};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::time::{now, sleep_forever};
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, Cancelled, Error, Origin, Peer, Result, TaskStatus,
    checkpoint, nursery,
};

/// Runs a scope whose body is cancelled at a checkpoint, and gives the cause that it saw.
async fn cause_seen(scope: CancelScope, cancel: impl FnOnce()) -> Result<CancelCause> {
    let seen = RefCell::new(None);
    scope
        .run(async {
            cancel();
            let cancelled = checkpoint().await.unwrap_err();
            seen.replace(Some(cancelled.cause().clone()));
            Err::<(), Error>(cancelled.into())
        })
        .await?;
    Ok(seen.take().expect("the body ran"))
}

// core/test_cancelled.py::test_cancel_reason#a
#[test]
fn requested_with_a_reason_by_the_current_task() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let here = CancelCause::new(CancelKind::Requested);
        let cause = cause_seen(scope, || {
            handle.cancel_because(CancelCause::new(CancelKind::Requested).with_reason("hello"));
        })
        .await?;
        assert_eq!(cause.kind(), CancelKind::Requested);
        assert_eq!(cause.reason(), Some("hello"));
        assert_eq!(cause.task(), here.task());
        assert!(cause.task().is_some());
        assert_eq!(cause.location().file(), file!());
        assert!(cause.to_string().contains("hello"));
        Ok(())
    });
}

// core/test_cancelled.py::test_cancel_reason#b
#[test]
fn deadline_that_has_passed_when_the_scope_is_made() {
    trial(async || {
        let scope = CancelScope::new().deadline(now());
        let cause = cause_seen(scope, || ()).await?;
        assert_eq!(cause.kind(), CancelKind::Deadline);
        assert_eq!(cause.task(), None);
        assert_eq!(cause.location().file(), file!());
        Ok(())
    });
}

// core/test_cancelled.py::test_cancel_reason#c
#[test]
fn deadline_moved_into_the_past() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cause = cause_seen(scope, || handle.set_deadline(Some(now()))).await?;
        assert_eq!(cause.kind(), CancelKind::Deadline);
        Ok(())
    });
}

// core/test_cancelled.py::test_cancel_reason_nursery2
#[test]
fn sibling_that_failed_is_named() {
    trial(async || {
        let seen = RefCell::new(None);
        let error = nursery(async |n| {
            n.start_soon_named("first", async {
                wait_all_tasks_blocked().await?;
                Err::<(), Error>(Boom("V").into())
            });
            n.start_soon_named("second", async {
                let cancelled = sleep_forever().await.unwrap_err();
                seen.replace(Some(cancelled.cause().clone()));
                Err::<(), Error>(cancelled.into())
            });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("V")));
        let cause = seen.take().expect("the second was cancelled");
        assert_eq!(cause.kind(), CancelKind::SiblingFailed);
        assert!(
            cause.task().is_some_and(|task| task.contains("first")),
            "{cause}"
        );
        assert!(
            cause
                .reason()
                .is_some_and(|reason| reason.contains("boom V")),
            "{cause}"
        );
        Ok(())
    });
}

// core/test_cancelled.py::test_cancel_reason_nursery3
#[test]
fn body_that_failed_in_start_is_named() {
    trial(async || {
        let seen = RefCell::new(None);
        let error = nursery(async |n| {
            n.start_soon_named("sleeper", async {
                let cancelled = sleep_forever().await.unwrap_err();
                seen.replace(Some(cancelled.cause().clone()));
                Err::<(), Error>(cancelled.into())
            });
            wait_all_tasks_blocked().await?;
            n.start(async |_: TaskStatus<()>| Err(Boom("V").into()))
                .await
        })
        .await
        .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Boom("V")));
        let cause = seen.take().expect("the sleeper was cancelled");
        assert_eq!(cause.kind(), CancelKind::SiblingFailed);
        assert!(
            cause.reason().is_some_and(|reason| reason.contains("body")),
            "{cause}"
        );
        assert!(
            cause
                .reason()
                .is_some_and(|reason| reason.contains("boom V")),
            "{cause}"
        );
        assert!(
            !cause.task().is_some_and(|task| task.contains("sleeper")),
            "{cause}"
        );
        Ok(())
    });
}

// core/test_cancelled.py::test_nested_child_source
#[test]
fn body_that_failed_is_named() {
    trial(async || {
        let seen = RefCell::new(None);
        let here = CancelCause::new(CancelKind::Requested).task();
        nursery(async |n| {
            n.start_soon_named("sleeper", async {
                let cancelled = sleep_forever().await.unwrap_err();
                seen.replace(Some(cancelled.cause().clone()));
                Err::<(), Error>(cancelled.into())
            });
            wait_all_tasks_blocked().await?;
            Err::<(), Error>(Boom("V").into())
        })
        .await
        .unwrap_err();
        let cause = seen.take().expect("the sleeper was cancelled");
        assert_eq!(cause.kind(), CancelKind::SiblingFailed);
        assert!(
            cause.reason().is_some_and(|reason| reason.contains("body")),
            "{cause}"
        );
        assert_eq!(cause.task(), here);
        Ok(())
    });
}

// extra::reason_inherited_sticks
#[test]
fn inherited_cause_is_kept() {
    trial(async || {
        let outer = CancelScope::new();
        let inner = CancelScope::new();
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let because = |text: &str| CancelCause::new(CancelKind::Requested).with_reason(text);
        outer
            .run(async {
                inner
                    .run(async {
                        outer_handle.cancel_because(because("A"));
                        inner_handle.cancel_because(because("B"));
                        inner_handle.set_shield(true);
                        let cancelled = checkpoint().await.unwrap_err();
                        assert_eq!(cancelled.cause().reason(), Some("A"));
                        assert_eq!(inner_handle.cause().unwrap().reason(), Some("A"));
                        Ok(())
                    })
                    .await
            })
            .await?;
        Ok(())
    });
}

#[test]
fn first_cause_is_kept() {
    trial_with_clock(async |clock| {
        let scope = CancelScope::new().timeout(Duration::from_secs(1));
        let handle = scope.handle();
        let cause = cause_seen(scope, || {
            handle.cancel_because(CancelCause::new(CancelKind::Signal).with_reason("first"));
            handle.cancel_because(CancelCause::new(CancelKind::Shutdown).with_reason("second"));
            clock.jump(Duration::from_secs(2));
        })
        .await?;
        assert_eq!(cause.kind(), CancelKind::Signal);
        assert_eq!(cause.reason(), Some("first"));
        Ok(())
    });
}

#[test]
fn cause_flows_down_unchanged() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let asked = CancelCause::new(CancelKind::PeerLost)
            .with_peer(Peer::new("worker", "1234"))
            .with_reason("connection reset");
        let outcome = scope
            .run(nursery(async |n| {
                for _ in 0..3 {
                    n.start_soon(async {
                        let cancelled = sleep_forever().await.unwrap_err();
                        assert!(cancelled.cause().same_as(&asked));
                        Err::<(), Error>(cancelled.into())
                    });
                }
                wait_all_tasks_blocked().await?;
                handle.cancel_because(asked.clone());
                Ok(())
            }))
            .await?;
        let cause = outcome.cause().expect("it was cancelled");
        assert!(cause.same_as(&asked));
        assert_eq!(cause.peer().map(Peer::name), Some("worker"));
        assert_eq!(cause.peer().map(Peer::id), Some("1234"));
        Ok(())
    });
}

#[test]
fn cancelled_travels_between_threads() {
    fn is_portable<T: Send + Sync + Clone + std::error::Error>() {}
    is_portable::<Cancelled>();
}

/// What everything else came of is not the one that is left out.
#[test]
fn line_of_a_group_begins_with_its_failures() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cancelled = RefCell::new(None);
        let body = async {
            handle.cancel();
            let told = Error::from(checkpoint().await.unwrap_err());
            cancelled.replace(Some(told.clone()));
            Err::<(), _>(told)
        };
        scope.run(body).await?;
        let cancelled = cancelled.take().unwrap();
        let inner = Error::group("inner", vec![cancelled.clone(), Error::msg("first")]);
        let mut errors = vec![cancelled; 4];
        errors.push(inner);
        errors.push(Error::msg("second"));
        let text = Error::group("all", errors).to_string();
        assert!(
            text.starts_with("all (6 errors: inner (2 errors: first; cancelled: "),
            "{text}"
        );
        assert!(
            text.contains("); second; cancelled: ") && text.ends_with("; ...)"),
            "{text}"
        );
        Ok(())
    });
}

#[test]
fn cause_from_elsewhere_shows_where_it_began() {
    trial(async || {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cause = cause_seen(scope, || {
            let origin = Origin::new(Peer::new("root", "1"), "src/main.rs:10:5");
            let cause = CancelCause::new(CancelKind::Shutdown).with_reason("enough");
            let cause = cause
                .with_peer(Peer::new("middle", "2"))
                .with_origin(origin);
            handle.cancel_because(cause);
        })
        .await?;
        assert_eq!(cause.peer().map(Peer::name), Some("middle"));
        assert_eq!(cause.origin().map(|it| it.peer().name()), Some("root"));
        let text = cause.to_string();
        assert!(text.starts_with("shutdown by middle@2 by "), "{text}");
        assert!(
            text.ends_with(": enough (at src/main.rs:10:5 of root@1)"),
            "{text}"
        );
        Ok(())
    });
}
