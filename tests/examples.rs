//! The examples do what they say.

mod common;
#[path = "common/programs.rs"]
mod programs;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{HangGuard, MARKER, Marker};
use programs::example;

#[test]
fn hello() {
    let program = example("hello");
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let output = Command::new(program)
        .env(MARKER, marker.text())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [greeting, ticks @ .., cancelled] = &*lines else {
        panic!("{text}");
    };
    assert!(greeting.starts_with("hello from process "), "{text}");
    // More may have been on the way when it was cancelled.
    assert!(ticks.starts_with(&["tick 1", "tick 2", "tick 3"]), "{text}");
    assert_eq!(*cancelled, "cancelled by root");
    marker.gone_within(Duration::from_secs(5));
}
