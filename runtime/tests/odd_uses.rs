//! Uses that nobody plans for: extreme durations, futures carried from one runtime to another, and
//! destructors that meddle with everything.

mod common;

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use common::{Log, guarded, trial, trial_in_real_time};
use futures::FutureExt;
use tractor_runtime::sync::{Event, Sender, channel};
use tractor_runtime::testing::wait_all_tasks_blocked;
use tractor_runtime::thread::{active_threads, run_sync};
use tractor_runtime::time::{now, sleep, sleep_forever, sleep_until};
use tractor_runtime::{
    CancelScope, Nursery, Result, Runtime, ScopeHandle, check_cancelled, checkpoint, fail_after,
    in_runtime, move_on_after, nursery, run, shield, shield_for,
};

const SECOND: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

async fn poll_once<T>(future: &mut Boxed<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[test]
fn longest_durations() {
    trial_in_real_time(async || {
        let outcome = move_on_after(Duration::from_millis(10), async {
            Ok(sleep(Duration::MAX).await?)
        })
        .await?;
        assert!(outcome.timed_out());
        let quick = async { Ok(checkpoint().await?) };
        assert!(
            move_on_after(Duration::MAX, quick)
                .await?
                .completed()
                .is_some()
        );
        shield_for(Duration::MAX, checkpoint()).await??;
        let scope = CancelScope::new().timeout(Duration::MAX);
        scope.handle().set_timeout(Duration::MAX);
        scope.run(async { Ok(checkpoint().await?) }).await?;
        sleep_until(now() - Duration::MAX).await?;
        Ok(())
    });
}

#[test]
fn longest_sleep_under_a_virtual_clock() {
    trial(async || {
        let start = now();
        sleep(Duration::from_secs(1 << 32)).await?;
        assert_eq!(now() - start, Duration::from_secs(1 << 32));
        Ok(())
    });
}

#[test]
fn runtime_that_is_never_run() {
    guarded(|| {
        let mut runtime = Runtime::builder().build();
        let root = runtime.root();
        root.set_timeout(SECOND);
        drop(runtime);
        root.cancel();
        assert!(root.cancel_called());
    });
}

#[test]
fn many_runtimes_one_after_the_other() {
    guarded(|| {
        for _ in 0..10_000 {
            drop(Runtime::builder().build());
        }
        run(async || Ok(checkpoint().await?)).unwrap();
    });
}

/// Begins a future in one runtime and goes on with it in another: the panic's text, if it panics.
fn carried_over<T: 'static>(make: impl FnOnce() -> Boxed<T>) -> Option<String> {
    let mut future = run(async || {
        let mut future = make();
        assert!(poll_once(&mut future).await.is_pending());
        Ok(future)
    })
    .unwrap();
    let elsewhere = || {
        run(async || {
            move_on_after(Duration::from_millis(50), async {
                future.as_mut().await;
                Ok(())
            })
            .await?;
            Ok(sleep(Duration::from_millis(1)).await?)
        })
        .unwrap();
    };
    let panic = catch_unwind(AssertUnwindSafe(elsewhere)).err()?;
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    Some(
        text.or_else(|| panic.downcast_ref().cloned())
            .unwrap_or_default(),
    )
}

#[test]
fn operations_carried_to_another_runtime_go_on() {
    guarded(|| {
        let event = Rc::new(Event::new());
        let soon = Duration::from_millis(5);
        let made: [Boxed<bool>; 3] = [
            Box::pin(async move { sleep(soon).await.is_ok() }),
            Box::pin(async { sleep_forever().await.is_ok() }),
            Box::pin(async move { event.wait().await.is_ok() }),
        ];
        for future in made {
            assert_eq!(carried_over(|| future), None);
        }
    });
}

#[test]
fn scopes_carried_to_another_runtime_are_refused() {
    guarded(|| {
        let forever = || async { Ok(sleep_forever().await?) };
        let made: [Boxed<()>; 5] = [
            Box::pin(CancelScope::new().run(forever()).map(drop)),
            Box::pin(move_on_after(SECOND, pending::<Result<()>>()).map(drop)),
            Box::pin(shield(forever()).map(drop)),
            Box::pin(fail_after(SECOND, forever()).map(drop)),
            Box::pin(
                nursery(async move |n| {
                    n.start_soon(forever());
                    forever().await
                })
                .map(drop),
            ),
        ];
        for future in made {
            let text = carried_over(|| future).expect("it panics");
            assert!(text.contains("begun in"), "{text}");
        }
    });
}

#[test]
fn call_carried_to_another_runtime_is_waited_for_there() {
    guarded(|| {
        let (open, gate) = mpsc::channel();
        let mut call: Boxed<_> = run(async || {
            let mut call: Boxed<_> = Box::pin(run_sync(move || {
                gate.recv().unwrap();
                "done"
            }));
            while active_threads() == 0 {
                assert!(poll_once(&mut call).await.is_pending());
                checkpoint().await?;
            }
            Ok(call)
        })
        .unwrap();
        run(async || {
            nursery(async |n| {
                let scope = CancelScope::new();
                let handle = scope.handle();
                let waiting = n.start_soon(scope.run(async { call.as_mut().await }));
                wait_all_tasks_blocked().await?;
                handle.cancel();
                for _ in 0..10 {
                    wait_all_tasks_blocked().await?;
                    assert!(!waiting.is_finished());
                }
                open.send(())?;
                assert_eq!(waiting.await?.completed(), Some("done"));
                Ok(())
            })
            .await
        })
        .unwrap();
    });
}

#[test]
fn scope_polled_outside_of_any_runtime_is_refused() {
    guarded(|| {
        let mut future = run(async || {
            let mut future: Boxed<_> = Box::pin(CancelScope::new().run(pending::<Result<()>>()));
            assert!(poll_once(&mut future).await.is_pending());
            Ok(future)
        })
        .unwrap();
        let poll = || futures::executor::block_on(poll_once(&mut future)).is_pending();
        assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
    });
}

/// Meddles with everything when it is dropped.
struct Meddler<'scope, 'env> {
    n: &'scope Nursery<'scope, 'env>,
    world: &'env World,
}

struct World {
    log: Log,
    event: Event,
    scopes: [ScopeHandle; 2],
    sender: Sender<u32>,
}

impl Drop for Meddler<'_, '_> {
    fn drop(&mut self) {
        let world = self.world;
        world.log.note("meddled");
        for scope in &world.scopes {
            scope.set_shield(true);
            scope.cancel();
            scope.set_shield(false);
            scope.set_deadline(Some(now()));
        }
        world.event.set();
        let _ = world.sender.try_send(1);
        let child = self.n.start_soon(async {
            checkpoint().await?;
            Ok(())
        });
        child.cancel();
        self.n.cancel();
        // A whole tree that never gets to run.
        drop(CancelScope::new().run(async { Ok(sleep_forever().await?) }));
        assert!(check_cancelled().is_ok() || in_runtime());
    }
}

#[test]
fn destructors_that_meddle_with_everything() {
    trial(async || {
        for drop_after in [Some(3), None] {
            let scopes = [CancelScope::new(), CancelScope::new()];
            let (sender, receiver) = channel(1);
            let world = World {
                log: Log::default(),
                event: Event::new(),
                scopes: scopes.each_ref().map(CancelScope::handle),
                sender,
            };
            let [outer, inner] = scopes;
            let whole = outer.run(nursery(async |n| {
                let world = &world;
                for _ in 0..5 {
                    let meddler = Meddler { n, world };
                    n.start_soon(async move {
                        let _meddler = meddler;
                        Ok(sleep_forever().await?)
                    });
                }
                n.start_soon(async { Ok(world.event.wait().await?) });
                n.start_soon(async { Ok(receiver.recv().await.map(drop)?) });
                let _meddler = Meddler { n, world };
                inner
                    .run(async {
                        let _meddler = Meddler { n, world };
                        wait_all_tasks_blocked().await?;
                        match drop_after {
                            Some(_) => Ok(sleep_forever().await?),
                            None => Ok(()),
                        }
                    })
                    .await
                    .map(drop)
            }));
            let mut whole = Box::pin(whole);
            match drop_after {
                Some(polls) => {
                    for _ in 0..polls {
                        let polled = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await;
                        assert!(polled.is_pending());
                        checkpoint().await?;
                    }
                }
                None => assert!(whole.as_mut().await?.is_cancelled()),
            }
            drop(whole);
            assert_eq!(world.log.count(), 7);
        }
        Ok(checkpoint().await?)
    });
}
