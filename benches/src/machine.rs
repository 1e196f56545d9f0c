//! What the figures were measured on, and when.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// How many were running or waiting to, on average over the minute before.
    pub(crate) load: f64,
    /// Of this repository, where it can be told.
    pub(crate) commit: Option<String>,
    /// To the second, in UTC.
    pub(crate) date: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        Self {
            processor: processor().unwrap_or_else(|| "unknown processor".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first_word("/proc/sys/kernel/osrelease").unwrap_or_default(),
            load: first_word("/proc/loadavg")
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
            commit: commit(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, commit {}, {}, {} cores, Linux {}, load {}",
            self.date,
            self.commit.as_deref().unwrap_or("unknown"),
            self.processor,
            self.cores,
            self.kernel,
            self.load,
        )
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    match git(&["status", "--porcelain", "--untracked-files=no"]).as_deref() {
        Some("") => Some(commit),
        _ => Some(format!("{commit} with changes")),
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_word(file: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.split_whitespace().next()?.to_owned())
}
