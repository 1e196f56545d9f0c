//! A progress display in a GLib main loop, which keeps moving while worker processes compute.
//!
//! ```text
//! cargo run -p host-glib    # Ctrl-C cancels
//! ```

use std::cell::{Cell, RefCell};
use std::io::{Write, stdout};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use glib::{ControlFlow, IOCondition, MainLoop};
use glib_unix::{unix_fd_add_local, unix_signal_add_local};
use tractor::runtime::{Guest, Progress, checkpoint, nursery};
use tractor::{Context, Dialog, Result, RunOptions, SpawnOptions, endpoint};

const SIGINT: i32 = 2;

/// How far the workers are, for the display.
type Shares = Rc<[Cell<u32>; 2]>;

fn main() -> ExitCode {
    // First thing: the workers are this program too.
    tractor::enter_if_actor();
    let shares = Shares::default();
    let tree = shares.clone();
    let guest = RunOptions::new().guest(async move || compute(&*tree).await);
    let guest = guest.expect("there are descriptors left");

    let root = guest.root();
    unix_signal_add_local(SIGINT, move || {
        root.cancel();
        ControlFlow::Continue
    });
    let mut frames = "|/-\\".chars().cycle();
    glib::timeout_add_local(Duration::from_millis(40), move || {
        let [one, two] = shares.each_ref().map(Cell::get);
        print!(
            "\r{} {one:3} % {two:3} % ",
            frames.next().unwrap_or_default()
        );
        let _ = stdout().flush();
        ControlFlow::Continue
    });

    match run(guest) {
        Ok(()) => println!("\ndone"),
        Err(error) if error.is_cancelled() => println!("\ncancelled"),
        Err(error) => {
            println!("\n{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Runs the main loop with a guest in it, until that is done.
fn run<T: 'static>(mut guest: Guest<'static, T>) -> Result<T> {
    let main_loop = MainLoop::new(None, false);
    let done = Rc::new(RefCell::new(None));
    let (quits, result) = (main_loop.clone(), done.clone());
    // On Linux the descriptor also tells of deadlines. Elsewhere a timeout is needed beside it.
    unix_fd_add_local(guest.as_raw_fd(), IOCondition::IN, move |_, _| {
        // Nobody waits for longer than that for a frame or a key.
        if let Progress::Done(value) = guest.turn(Duration::from_millis(5)) {
            result.replace(Some(value));
            quits.quit();
            return ControlFlow::Break;
        }
        ControlFlow::Continue
    });
    main_loop.run();
    done.take().expect("only the guest ends the loop")
}

/// The root of the tree: two workers that count, and what they tell.
async fn compute(shares: &[Cell<u32>]) -> Result<()> {
    tractor::nursery(async |an| {
        nursery(async |n| {
            for (number, share) in shares.iter().enumerate() {
                let options = SpawnOptions::new().enable(count);
                let worker = an.start_actor(&format!("worker {number}"), options).await?;
                n.start_soon(async move {
                    worker
                        .open_context(count, number, async |ctx, ()| {
                            let news = ctx.open_stream()?;
                            while let Some(percent) = news.receive().await? {
                                share.set(percent);
                            }
                            Ok(())
                        })
                        .await
                });
            }
            Ok(())
        })
        .await?;
        an.cancel();
        Ok(())
    })
    .await
}

struct Count;
impl Dialog for Count {
    type Started = ();
    type ToChild = ();
    type ToParent = u32;
}

/// In a worker: what would freeze the display if it were done there.
async fn count(ctx: &mut Context<Count>, number: usize) -> Result<()> {
    ctx.started(()).await?;
    let news = ctx.open_stream()?;
    for percent in 1..=100 {
        let work = (0..10_000_000 * (number + 1)).fold(0, |sum, x| std::hint::black_box(sum ^ x));
        std::hint::black_box(work);
        // A cancel comes in here.
        checkpoint().await?;
        news.send(&percent).await?;
    }
    Ok(())
}
endpoint!(count);
