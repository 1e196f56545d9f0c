//! A checkpoint at which nothing happens.

use std::hint::black_box;

use tokio_util::sync::CancellationToken;
use tractor_runtime::checkpoint_if_cancelled;

use crate::hosts;
use crate::workload::{Target, US, Unit, Workload};

const CHECKPOINTS: usize = 100_000;

/// A task asks whether it was cancelled, and it was not.
///
/// The clock runs over 100,000 checkpoints; the figure is the time of one. tokio's side asks its
/// token, which it has to carry along.
pub(super) fn workloads() -> Vec<Workload> {
    let workload = Workload::new("checkpoint, not cancelled", Unit::Nanoseconds)
        .side(US, |watch| {
            hosts::tractor(async || {
                while watch.again() {
                    let started = watch.start();
                    for _ in 0..CHECKPOINTS {
                        checkpoint_if_cancelled().await?;
                    }
                    watch.stop(started, CHECKPOINTS);
                }
                Ok(())
            });
        })
        .side("tokio", |watch| {
            hosts::tokio(async move {
                let token = CancellationToken::new();
                while watch.again() {
                    let started = watch.start();
                    for _ in 0..CHECKPOINTS {
                        assert!(!black_box(&token).is_cancelled());
                    }
                    watch.stop(started, CHECKPOINTS);
                }
            });
        })
        .trio("checkpoint", 0)
        .target(Target::AtMost(2.0));
    vec![workload]
}
