//! A service as systemd runs one: it says when it is ready, logs to the standard error, starts its
//! worker again when that dies, and ends in order at SIGTERM.
//!
//! ```ini
//! [Service]
//! Type=notify
//! ExecStart=/path/to/service
//! KillMode=mixed
//! ```
//!
//! `kill -USR1` shows what it is doing.

use std::env;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::ExitCode;
use std::time::Duration;

use tractor::runtime::time;
use tractor::{CancelKind, Daemon, Error, Restart, Result, SpawnOptions, endpoint, exit_code};

/// Everything that goes to the standard error is in the journal.
struct Journal;

impl log::Log for Journal {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // What a line begins with is its priority there.
        let priority = match record.level() {
            log::Level::Error => 3,
            log::Level::Warn => 4,
            log::Level::Info => 6,
            _ => 7,
        };
        eprintln!("<{priority}>{}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// What the service does all the time.
async fn work(round: u64) -> Result<u64> {
    Ok(round + 1)
}
endpoint!(work);

fn main() -> ExitCode {
    // Before `run`, so that it holds in every actor.
    let _ = log::set_logger(&Journal);
    log::set_max_level(log::LevelFilter::Info);
    let result = tractor::run(async || {
        tractor::nursery(async |an| {
            let options = SpawnOptions::new()
                .enable(work)
                .grace(Duration::from_secs(5));
            let restart = Restart::always().limit(5, Duration::from_secs(60));
            let worker = an.start_daemon("worker", options, restart).await?;
            notify("READY=1")?;
            let result = serve(&worker).await;
            notify("STOPPING=1")?;
            result
        })
        .await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_stop(&error) => {
            log::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error}");
            exit_code(&error).into()
        }
    }
}

async fn serve(worker: &Daemon) -> Result<()> {
    let mut round = 0;
    loop {
        match worker.portal().await?.run(work, round).await {
            Ok(next) => round = next,
            Err(error) if error.is_cancelled() => return Err(error),
            // The worker is started again, and the round with it.
            Err(error) => log::warn!("round {round}: {error}"),
        }
        time::sleep(Duration::from_millis(100)).await?;
    }
}

/// Whether it was SIGTERM that ended it, which is how a service is stopped.
fn is_stop(error: &Error) -> bool {
    let cause = error.cancelled().map(|cancelled| cancelled.cause());
    cause.is_some_and(|cause| cause.kind() == CancelKind::Signal)
}

/// Tells systemd, if it wants to know.
fn notify(state: &str) -> Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)?
        }
        _ => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
