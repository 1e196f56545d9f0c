use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::time::Duration;

use super::boot::{Inherited, Watchdog};
use super::life::{Housing, live};
use crate::transport::ByteStream;

/// The grace of an actor whose parent is gone before it said how long it is.
const BOOT_GRACE: Duration = Duration::from_millis(500);

/// Exit status of a child that was cancelled, which is how an actor ends.
const ENDED: i32 = 0;
const FAILED: i32 = 1;
const PANICKED: i32 = 101;

/// Becomes the actor that this process was started to be, if it was: then it does not return,
/// but ends the process with the actor. In any other process it does nothing.
///
/// [`tractor::run`](crate::run) calls it. Call it earlier for a child to skip what `main` does
/// before that.
///
/// Of several threads that call it one becomes the actor. If that is not the first thread of the
/// process, roots that run on others start no actors: what they are doing is most likely what
/// the program does when it is no actor, and would be done again in every child.
pub fn enter_if_actor() {
    match Inherited::take() {
        Ok(None) => {}
        Ok(Some(inherited)) => exit(serve(inherited)),
        Err(error) => {
            log::error!(target: "tractor::spawn", "this process cannot become an actor: {error}");
            exit(FAILED);
        }
    }
}

fn serve(inherited: Inherited) -> i32 {
    let served = catch_unwind(AssertUnwindSafe(|| {
        let watchdog = Watchdog::default();
        watchdog.start(&inherited.channel, inherited.lifelines, BOOT_GRACE)?;
        let housing = Housing::Process(watchdog);
        tractor_runtime::run(async || live(ByteStream::socket(inherited.channel)?, housing).await)
    }));
    match served {
        Ok(Ok(())) => ENDED,
        Ok(Err(error)) if error.is_cancelled() => ENDED,
        Ok(Err(error)) => {
            log::error!(target: "tractor::spawn", "the actor failed: {error}");
            FAILED
        }
        // The hook has reported it.
        Err(_) => PANICKED,
    }
}
