//! The side of trio, by way of a Python that has it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::stopwatch::Stopwatch;

const SCRIPT: &str = include_str!("trio_side.py");

pub(crate) const NAME: &str = "trio";

pub(crate) fn is_installed() -> bool {
    let tried = Command::new("python3")
        .args(["-c", "import trio"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

pub(crate) fn measure(watch: &Stopwatch, workload: &str, count: usize) {
    let mut python = Command::new("python3")
        .args(["-", workload, &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python was there before");
    let mut script = python.stdin.take().expect("it is piped");
    script
        .write_all(SCRIPT.as_bytes())
        .expect("Python reads its script");
    drop(script);
    let output = python.wait_with_output().expect("Python is our child");
    assert!(output.status.success(), "trio failed at {workload}");
    let samples = String::from_utf8_lossy(&output.stdout);
    watch.record_all(samples.lines().filter_map(|line| line.parse().ok()));
}
