use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::executor::Here;

/// How many cancel points and schedule points this thread has gone through.
pub fn checkpoint_counts() -> (u64, u64) {
    Here::counts()
}

/// Runs `work` and makes sure that it was a checkpoint: a cancel point and a schedule point.
///
/// # Panics
///
/// If it was not.
#[track_caller]
pub fn assert_checkpoints<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let location = std::panic::Location::caller();
    async move {
        let (value, cancel_points, schedule_points) = count(work).await;
        assert!(
            cancel_points > 0 && schedule_points > 0,
            "no checkpoint at {location}: {cancel_points} cancel points, {schedule_points} \
             schedule points"
        );
        value
    }
}

/// Runs `work` and makes sure that nothing in it was a cancel point or a schedule point.
///
/// # Panics
///
/// If something was.
#[track_caller]
pub fn assert_no_checkpoints<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let location = std::panic::Location::caller();
    async move {
        let (value, cancel_points, schedule_points) = count(work).await;
        assert!(
            cancel_points == 0 && schedule_points == 0,
            "a checkpoint at {location}: {cancel_points} cancel points, {schedule_points} \
             schedule points"
        );
        value
    }
}

/// Counts what happens while `work` is polled, and not what other tasks do meanwhile.
async fn count<F: Future>(work: F) -> (F::Output, u64, u64) {
    let mut work = pin!(work);
    let (mut cancel_points, mut schedule_points) = (0, 0);
    let value = poll_fn(|cx| {
        let before = Here::counts();
        let polled = work.as_mut().poll(cx);
        let after = Here::counts();
        cancel_points += after.0 - before.0;
        schedule_points += after.1 - before.1;
        polled
    })
    .await;
    (value, cancel_points, schedule_points)
}
