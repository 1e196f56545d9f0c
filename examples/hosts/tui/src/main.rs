//! Worker processes under a terminal UI: `s` starts one, `c` cancels the last, `q` quits.
//!
//! ```text
//! cargo run -p host-tui
//! ```

use std::cell::{Cell, OnceCell};
use std::io::{self, stdin};
use std::rc::Rc;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode};
use ratatui::layout::{Constraint, Layout};
use ratatui::widgets::{Gauge, Paragraph};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tractor::runtime::{Guest, NurseryHandle, Progress, TaskHandle, checkpoint, nursery, time};
use tractor::{Context, Dialog, Result, RunOptions, SpawnOptions, endpoint};

/// A worker, as the screen shows it.
struct Job {
    percent: Rc<Cell<u16>>,
    task: TaskHandle<'static, Result<()>>,
}

fn main() -> Result<()> {
    // First thing: the workers are this program too.
    tractor::enter_if_actor();
    let tasks = Rc::new(OnceCell::new());
    let door = tasks.clone();
    let guest = RunOptions::new().guest(async move || live(&door).await)?;
    let terminal = ratatui::init();
    let result = host(terminal, guest, &tasks);
    ratatui::restore();
    match result {
        Err(error) if error.is_cancelled() => Ok(()),
        result => result,
    }
}

/// The loop of the UI: draws, gives the guest a turn, and hears keys, until the guest is done.
fn host(
    mut terminal: DefaultTerminal,
    mut guest: Guest<'_, ()>,
    tasks: &OnceCell<NurseryHandle>,
) -> Result<()> {
    let root = guest.root();
    let mut jobs = Vec::<Job>::new();
    loop {
        match guest.turn(Duration::from_millis(5)) {
            Progress::Done(result) => return result,
            Progress::More => {}
            Progress::Idle => {
                terminal.draw(|frame| draw(frame, &jobs))?;
                wait(&guest)?;
            }
        }
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else {
                continue;
            };
            match key.code {
                KeyCode::Char('s') => {
                    let percent = Rc::<Cell<u16>>::default();
                    if let Some(tasks) = tasks.get() {
                        let work = start(jobs.len(), percent.clone());
                        // What one fails with is shown, and is no failure of the others.
                        let task = tasks.start_soon(async { Ok(work.await) })?;
                        jobs.push(Job { percent, task });
                    }
                }
                KeyCode::Char('c') => {
                    let last = jobs.iter().rev().find(|job| !job.task.is_finished());
                    last.inspect(|job| job.task.cancel());
                }
                // Then all of them end, and the guest is done.
                KeyCode::Char('q') => root.cancel(),
                _ => {}
            }
        }
    }
}

/// Waits until there is a key, or the guest is to be given a turn.
fn wait(guest: &Guest<'_, ()>) -> io::Result<()> {
    let stdin = stdin();
    let mut fds = [
        PollFd::new(&stdin, PollFlags::IN),
        PollFd::new(guest, PollFlags::IN),
    ];
    let limit = guest.until_next_turn().map(Timespec::try_from).transpose();
    match poll(&mut fds, limit.map_err(io::Error::other)?.as_ref()) {
        // The size of the terminal has changed.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn draw(frame: &mut Frame, jobs: &[Job]) {
    let rows = Layout::vertical(vec![Constraint::Length(1); jobs.len() + 1]).split(frame.area());
    frame.render_widget(Paragraph::new("s: start   c: cancel   q: quit"), rows[0]);
    for (number, job) in jobs.iter().enumerate() {
        let percent = job.percent.get();
        let label = match job.task.is_finished() {
            true if percent < 100 => format!("worker {number}: cancelled at {percent} %"),
            true => format!("worker {number}: done"),
            false => format!("worker {number}: {percent} %"),
        };
        let gauge = Gauge::default().percent(percent).label(label);
        frame.render_widget(gauge, rows[number + 1]);
    }
}

/// The root of the tree: a nursery that the host starts tasks in.
async fn live(tasks: &OnceCell<NurseryHandle>) -> Result<()> {
    nursery(async |n| {
        let _ = tasks.set(n.handle());
        Ok(time::sleep_forever().await.map(drop)?)
    })
    .await
}

/// Has a worker do something, and keeps what it tells.
async fn start(number: usize, share: Rc<Cell<u16>>) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(work);
        let worker = an.start_actor(&format!("worker {number}"), options).await?;
        worker
            .open_context(work, (), async |ctx, ()| {
                let news = ctx.open_stream()?;
                while let Some(percent) = news.receive().await? {
                    share.set(percent);
                }
                Ok(())
            })
            .await?;
        an.cancel();
        Ok(())
    })
    .await
}

struct Work;
impl Dialog for Work {
    type Started = ();
    type ToChild = ();
    type ToParent = u16;
}

/// In a worker: what would freeze the UI if it were done there.
async fn work(ctx: &mut Context<Work>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let news = ctx.open_stream()?;
    for percent in 1..=100 {
        std::hint::black_box((0..10_000_000_u64).fold(0, |sum, x| std::hint::black_box(sum ^ x)));
        // A cancel comes in here.
        checkpoint().await?;
        news.send(&percent).await?;
    }
    Ok(())
}
endpoint!(work);
