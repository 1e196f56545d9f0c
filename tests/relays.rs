//! What programs that an actor runs write, told to the log by lines.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::sync::{Mutex, Once};
use std::time::Duration;

use common::{HangGuard, MARKER, Marker};
use log::{Level, LevelFilter, Metadata, Record};
use tractor::Result;
use tractor::runtime::io::SendStream;
use tractor::runtime::nursery;
use tractor::runtime::process::{Command, ExitFailed};
use tractor::runtime::time::sleep;

/// Keeps the records of processes.
struct Records(Mutex<Vec<(Level, String)>>);

impl log::Log for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tractor::process"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            self.0.lock().unwrap().push((record.level(), text));
        }
    }

    fn flush(&self) {}
}

static RECORDS: Records = Records(Mutex::new(Vec::new()));

/// What was told with this label, without it.
fn told(prefix: &str) -> Vec<String> {
    let records = RECORDS.0.lock().unwrap();
    let of_this = records.iter().filter_map(|(level, text)| {
        let text = text.strip_prefix(prefix)?;
        assert_eq!(*level, Level::Info);
        Some(text.to_owned())
    });
    of_this.collect()
}

/// Waits until something was.
async fn has_told(prefix: &str) -> Result<()> {
    while told(prefix).is_empty() {
        sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}

/// Runs a root actor that runs programs, none of which is left.
fn actor(main: impl AsyncFnOnce(&dyn Fn(&str) -> Command) -> Result<()>) {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| {
        log::set_logger(&RECORDS).expect("nobody else of this program logs");
        log::set_max_level(LevelFilter::Info);
    });
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let sh = |script: &str| {
        let command = Command::new("sh").args(["-c", script]);
        command.env(MARKER, marker.text())
    };
    tractor::run(async || main(&sh).await).unwrap();
    // What a program has started, and was killed, is reaped by nobody here.
    marker.gone_within(Duration::from_secs(5));
}

// trionics/test_subproc.py::test_stdout_relayed_per_line
#[test]
fn output_is_told_line_by_line() {
    actor(async |sh| {
        // A line without an end, an empty one, and bytes that are no text.
        let script = r"printf 'one\r\n\nthr\303\251\351\nfour'";
        let output = sh(script).relay_stdout("lines").run().await?;
        assert_eq!(
            told("[lines:out] "),
            ["one", "", "thr\u{e9}\u{fffd}", "four"]
        );
        assert_eq!(output.stdout, b"", "it was not to be kept");
        Ok(())
    });
}

#[test]
fn output_is_told_as_it_comes() {
    actor(async |sh| {
        // Goes on when its first line was seen.
        let command = sh("echo first; read go; echo then $go").pipe_stdin();
        let command = command.relay_stdout("live");
        nursery(async |n| {
            let process = n
                .start(async |status| command.run_with(status).await.map(drop))
                .await?;
            has_told("[live:out] ").await?;
            let stdin = process.stdin.as_ref().expect("it was to have a pipe");
            stdin.send_all(b"on\n").await?;
            Ok(())
        })
        .await?;
        assert_eq!(told("[live:out] "), ["first", "then on"]);
        Ok(())
    });
}

// trionics/test_subproc.py::test_parent_tty_isolated
#[test]
fn program_has_no_terminal() {
    actor(async |sh| {
        // Kinds of file: what is read is empty, and what is written goes into pipes.
        let script = "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; cat";
        let command = sh(script).relay_stdout("kinds").relay_stderr("kinds");
        command.run().await?;
        let kinds = told("[kinds:out] ");
        let [input, output, errors] = &*kinds else {
            panic!("{kinds:?}");
        };
        assert_eq!(input, "/dev/null");
        assert!(output.starts_with("pipe:"), "{output}");
        assert!(errors.starts_with("pipe:") && errors != output, "{errors}");
        Ok(())
    });
}

// trionics/test_subproc.py::test_no_deadlock_on_big_unnewlined_output
#[test]
fn much_output_without_a_line_is_told_whole() {
    actor(async |sh| {
        // More than a pipe holds, of a character that is three bytes long.
        let script = "i=0; while [ $i -lt 2000 ]; do printf '\
            \u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\
            \u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\
            \u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\
            \u{2500}\u{2500}\u{2500}\u{2500}\u{2500}\u{2500}'; i=$((i+1)); done";
        sh(script).relay_stdout("big").run().await?;
        let parts = told("[big:out] ");
        assert!(parts.len() > 1, "no part is longer than 64 KiB");
        assert!(parts.iter().all(|part| part.len() <= 64 * 1024));
        assert_eq!(parts.concat(), "\u{2500}".repeat(72_000));
        Ok(())
    });
}

// trionics/test_subproc.py::test_stderr_relay_and_cpe_rebuild
#[test]
fn failure_has_the_error_output_that_was_told() {
    actor(async |sh| {
        let command = sh("echo out; echo first >&2; echo second >&2; exit 3");
        let command = command.relay_stderr("fails").capture_stderr();
        let error = command.capture_stdout().run().await.unwrap_err();
        let failed = error.downcast_ref::<ExitFailed>().unwrap();
        let status = failed.output().status.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(failed.output().stderr, b"first\nsecond\n");
        assert_eq!(failed.output().stdout, b"out\n");
        let shown = "the process ended with exit status: 3; its error output ends with:\n\
            first\nsecond";
        assert_eq!(failed.to_string(), shown);
        assert_eq!(told("[fails:err] "), ["first", "second"]);
        assert_eq!(told("[fails:out] "), [""; 0]);
        Ok(())
    });
}

// trionics/test_subproc.py::test_nonrelay_cpe_note
#[test]
fn failure_shows_the_end_of_the_error_output_that_was_kept() {
    actor(async |sh| {
        let script = "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; exit 7";
        let error = sh(script).capture_stderr().run().await.unwrap_err();
        let failed = error.downcast_ref::<ExitFailed>().unwrap();
        assert_eq!(failed.output().status.unwrap().code(), Some(7));
        assert!(failed.output().stderr.starts_with(b"line 0\nline 1\n"));
        let shown = failed.to_string();
        assert!(shown.starts_with("the process ended with exit status: 7; "));
        assert!(shown.ends_with("\nline 498\nline 499"), "{shown}");
        assert!(!shown.contains("line 300\n"), "only the end: {shown}");
        Ok(())
    });
}

#[test]
fn what_a_program_says_when_it_is_told_to_end_is_told() {
    actor(async |sh| {
        // More than a pipe holds: it could not end if nobody read. What it leaves behind holds its
        // output open, and is killed with it.
        let script =
            "trap 'i=0; while [ $i -lt 20000 ]; do echo bye $i; i=$((i+1)); done; exit 0' TERM
            sleep 1000 & echo ready; while :; do wait; done";
        let command = sh(script).process_group(true).relay_stdout("ends");
        let command = command.grace(Duration::from_secs(1000));
        let ended = nursery(async |n| {
            n.start_soon(async { command.run().await.map(drop) });
            has_told("[ends:out] ").await?;
            n.cancel();
            Ok(())
        });
        ended.await?;
        let lines = told("[ends:out] ");
        assert_eq!(lines.len(), 20_001);
        assert_eq!(lines.last().unwrap(), "bye 19999");
        Ok(())
    });
}

/// Somebody else holds the output of a program that was cancelled: that is not waited for.
#[test]
fn output_that_stays_open_holds_nobody_up() {
    actor(async |sh| {
        let script = "setsid sleep 1000 & echo $!; exec sleep 1000";
        let command = sh(script).relay_stdout("held");
        let mut helper = None;
        nursery(async |n| {
            n.start_soon(async { command.run().await.map(drop) });
            has_told("[held:out] ").await?;
            helper = told("[held:out] ").first().cloned();
            n.cancel();
            Ok(())
        })
        .await?;
        let pid = helper.unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        Ok(())
    });
}

#[test]
fn relays_that_make_no_sense() {
    actor(async |sh| {
        let invalid = std::io::ErrorKind::InvalidInput;
        let opened = sh("true").relay_stdout("x").open();
        assert_eq!(opened.unwrap_err().kind(), invalid);
        let both = sh("true").relay_stderr("x").pipe_stderr().run().await;
        let error = both.unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), invalid);
        // Both outputs in one pipe: told as one.
        let merged = sh("echo out; echo err >&2").stderr_to_stdout();
        merged.relay_stdout("merged").run().await?;
        assert_eq!(told("[merged:out] "), ["out", "err"]);
        let killed = sh("kill -9 $$").relay_stderr("killed").check(false);
        let status = killed.run().await?.status.unwrap();
        assert_eq!(status.signal(), Some(9));
        Ok(())
    });
}
