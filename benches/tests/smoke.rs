//! Every workload runs, with all its sides, and nothing outlives one.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What takes longer hangs: it takes seconds.
const HANG: Duration = Duration::from_secs(60);

fn peers(arguments: &[&str]) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_peers"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let (done, waited) = channel::<()>();
    let guard = thread::spawn(move || {
        if waited.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    guard.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    output
}

/// Measures everything of a group once.
fn smoke(group: &str) {
    let listed = peers(&[group, "--list"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.lines().count() > 5, "{listed}");

    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("smoke-{group}.json"));
    peers(&[group, "--smoke", "--json", file.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let workloads = report["workloads"].as_array().unwrap();
    let measured: String = workloads
        .iter()
        .map(|workload| format!("{group}: {}\n", workload["name"].as_str().unwrap()))
        .collect();
    assert_eq!(measured, listed);

    for workload in workloads {
        let sides = workload["sides"].as_array().unwrap();
        assert_eq!(sides[0]["who"], "tractor", "{workload}");
        for side in sides {
            assert!(side["samples"].as_u64().unwrap() > 0, "{workload}");
            // Of nobody there is somebody left, or not told.
            for count in side["counts"].as_array().into_iter().flatten() {
                assert_eq!(count["count"], 0, "{workload}");
                assert_ne!(count["of"], 0, "{workload}");
            }
        }
    }

    // What was written is what the page and the plot are made of.
    let page = peers(&["page", file.to_str().unwrap()]).stdout;
    let page = String::from_utf8(page).unwrap();
    let row = |workload: &Value| format!("| {} |", workload["name"].as_str().unwrap());
    assert!(
        workloads
            .iter()
            .all(|workload| page.contains(&row(workload)))
    );
    let plot = peers(&["plot", file.to_str().unwrap()]).stdout;
    assert!(plot.starts_with(b"<svg "));
    fs::remove_file(&file).unwrap();
}

#[test]
fn every_workload_of_the_runtime_runs() {
    smoke("local");
}

#[test]
fn every_workload_of_dialogs_runs() {
    smoke("dialogs");
}

#[test]
fn every_workload_of_trees_runs_and_leaves_nobody() {
    smoke("trees");
}

#[test]
fn help_and_what_makes_no_sense() {
    let help = peers(&["--help"]).stdout;
    assert!(String::from_utf8(help).unwrap().contains("--json FILE"));
    let refused = Command::new(env!("CARGO_BIN_EXE_peers"))
        .arg("--nonsense")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("there is no --nonsense"), "{why}");
}
