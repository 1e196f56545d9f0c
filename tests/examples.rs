//! The examples do what they say.

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{HangGuard, MARKER, Marker};

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

/// The program of an example. Cargo builds all of them when it tests everything, and none when it
/// is to run this test alone.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--example", name, "--target-dir"]);
        build.arg(profile.parent().unwrap());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    }
    program
}
