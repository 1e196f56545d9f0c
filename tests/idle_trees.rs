//! An idle tree costs nothing: nobody in it wakes up to look whether there is something to do.

mod common;

use std::time::Duration;
use std::{fs, thread};

use common::tree;
use tractor::runtime::sync::channel;
use tractor::runtime::{self, time};
use tractor::{Caller, Context, Dialog, Result, endpoint};

/// How long nobody may have woken up. What wakes up more rarely is not found.
const QUIET: Duration = Duration::from_secs(2);

const ACTORS: usize = 10;

struct Waiting;
impl Dialog for Waiting {
    type Started = u32;
    type ToChild = ();
    type ToParent = ();
}

/// Waits for a message that never comes, and says in which process.
async fn wait(ctx: &mut Context<Waiting>, (): ()) -> Result<()> {
    ctx.started(std::process::id()).await?;
    let stream = ctx.open_stream()?;
    while stream.receive().await?.is_some() {}
    Ok(())
}
endpoint!(wait);

/// How often the threads of these processes have gone to sleep, and so have woken up.
fn sleeps(processes: &[u32]) -> u64 {
    let tasks = processes
        .iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse::<u64>().unwrap()
        })
        .sum()
}

#[test]
fn tree_of_ten_idle_actors_sleeps() {
    tree(async |options| {
        tractor::nursery(async |an| {
            let (started, processes) = channel(ACTORS);
            runtime::nursery(async |tasks| {
                for n in 0..ACTORS {
                    let portal = an
                        .start_actor(&format!("idle{n}"), options.clone().enable(wait))
                        .await?;
                    let started = started.clone();
                    tasks.start_soon::<()>(async move {
                        let held = async |ctx: &Context<Waiting, Caller<()>>, process| {
                            let _stream = ctx.open_stream()?;
                            started.send(process).await?;
                            Ok(time::sleep_forever().await?)
                        };
                        portal.open_context(wait, (), held).await
                    });
                }
                let mut all = vec![std::process::id()];
                while all.len() <= ACTORS {
                    all.push(processes.recv().await?);
                }
                // What they do to begin with comes to an end.
                loop {
                    let before = sleeps(&all[1..]);
                    thread::sleep(QUIET);
                    if sleeps(&all[1..]) == before {
                        break;
                    }
                }
                // Here the root, whose thread is this one, had no part. Now it sleeps too.
                loop {
                    let before = sleeps(&all);
                    time::sleep(QUIET).await?;
                    // Once for the sleep itself, and nobody else.
                    if sleeps(&all) <= before + 1 {
                        break;
                    }
                }
                tasks.cancel();
                Ok(())
            })
            .await?;
            an.cancel();
            Ok(())
        })
        .await
    })
    .unwrap();
}
