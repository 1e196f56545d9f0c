//! How late a sleep ends.

use std::time::Duration;

use async_io::Timer;
use tractor_runtime::time::sleep;

use crate::hosts;
use crate::workload::{Target, US, Unit, Workload};

const SLEEP: Duration = Duration::from_millis(1);

/// One task sleeps for a millisecond, with nothing else to do.
///
/// The clock starts before the sleep is made and stops when the task runs again; the figure is
/// what that took beyond the millisecond.
pub(super) fn workloads() -> Vec<Workload> {
    let workload = Workload::new("sleep(1 ms) overshoot", Unit::Microseconds)
        .side(US, |watch| {
            hosts::tractor(async || {
                while watch.again() {
                    let started = watch.start();
                    sleep(SLEEP).await?;
                    watch.record(beyond(started.elapsed()));
                }
                Ok(())
            });
        })
        .side("tokio", |watch| {
            hosts::tokio(async move {
                while watch.again() {
                    let started = watch.start();
                    tokio::time::sleep(SLEEP).await;
                    watch.record(beyond(started.elapsed()));
                }
            });
        })
        .side("smol", |watch| {
            hosts::smol(async move |_| {
                while watch.again() {
                    let started = watch.start();
                    Timer::after(SLEEP).await;
                    watch.record(beyond(started.elapsed()));
                }
            });
        })
        .trio("overshoot", 0)
        .target(Target::Times(1.0, "smol"))
        .samples_a_round(25);
    vec![workload]
}

fn beyond(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 - SLEEP.as_nanos() as f64
}
