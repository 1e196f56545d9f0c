//! Crates that know nothing of this one, as the examples use them.

mod common;

use std::time::Duration;

use common::{trial, trial_in_real_time};
use tractor_runtime::time::now;

#[path = "../examples/borrowed_tools.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod borrowed_tools;

#[path = "../examples/websocket.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod websocket;

#[test]
fn websockets_end_at_a_deadline() {
    trial_in_real_time(async || {
        let limit = Duration::from_millis(300);
        let start = now();
        let heard = websocket::talk(&["one", "two"], limit).await?;
        assert!(now() - start >= limit, "never early");
        assert_eq!(heard, ["one", "two"]);
        Ok(())
    });
}

#[test]
fn waiters_of_a_foreign_lock_and_channel_end_at_a_deadline() {
    trial(async || {
        let start = now();
        let done = borrowed_tools::work(Duration::from_secs(20)).await?;
        assert_eq!(done, ["first", "third"]);
        assert_eq!(now() - start, Duration::from_secs(60));
        Ok(())
    });
}
