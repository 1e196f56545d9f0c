//! The driver of runtimes that are a future on somebody else's executor: `async-io`, which works
//! under any host and gives it nothing to poll.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use async_io::Timer;

use crate::time::Instant;

/// Wakes whoever polled it last, once the real clock is there.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Whether it is `when` already; if not, it will be called.
    pub(crate) fn poll(&mut self, when: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = when.to_std() else {
            return Poll::Pending;
        };
        let (set, timer) = self.set.get_or_insert_with(|| (when, Timer::at(at)));
        if *set != when {
            *set = when;
            timer.set_at(at);
        }
        let rung = pin!(timer).poll(cx).map(drop);
        if rung.is_ready() {
            self.set = None;
        }
        rung
    }

    pub(crate) fn unset(&mut self) {
        self.set = None;
    }
}
