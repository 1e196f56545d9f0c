//! The examples do what they say.

mod common;
#[path = "common/programs.rs"]
mod programs;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{HangGuard, MARKER, Marker};
use programs::example;
use rustix::process::{Pid, Signal, kill_process};

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

#[test]
fn pool() {
    let program = example("pool");
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let output = Command::new(program)
        .arg("20000")
        .env(MARKER, marker.text())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"2262 primes below 20000\n");
    marker.gone_within(Duration::from_secs(5));
}

/// It says when it is ready, goes on when its worker is killed, and ends in order when it is told.
#[test]
fn service() {
    let program = example("service");
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let place = std::env::temp_dir().join(format!("tractor-{}-notify", marker.text()));
    let socket = std::os::unix::net::UnixDatagram::bind(&place).unwrap();
    let mut service = Command::new("env")
        .arg("--default-signal=TERM")
        .arg(program)
        .env(MARKER, marker.text())
        .env("NOTIFY_SOCKET", &place)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut state = [0; 64];
        let count = socket.recv(&mut state).unwrap();
        String::from_utf8(state[..count].into()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    let worker = |marker: &Marker| {
        let mut there = marker.wait_for(2);
        there.retain(|pid| *pid != service.id());
        there[0]
    };
    let first = worker(&marker);
    signal(first, Signal::KILL);
    while worker(&marker) == first {}
    signal(service.id(), Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    assert!(service.wait().unwrap().success());
    std::fs::remove_file(place).unwrap();
    assert_eq!(marker.processes(), []);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
