//! Measures tractor beside its peers: `cargo run --release -p peers -- local [filter]` for the
//! runtime alone, and `dialogs` for two processes that talk.
//!
//! Every workload is run by us and by the peers in turn, in one process, for some rounds. Only
//! the ratios taken in one run count: two runs of one program on a shared machine differ by more
//! than most of the differences that are looked for.

mod dialogs;
mod hosts;
mod local;
mod machine;
mod memory;
mod stopwatch;
mod trio;
mod workload;

use std::process::ExitCode;

use workload::Effort;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const USAGE: &str = "\
usage: peers local|dialogs [filter] [--rounds N] [--quick] [--only WHO] [--list]

  filter       run only the workloads whose name contains this
  --rounds N   rounds of each side, alternating (default 15)
  --quick      3 short rounds, to see that everything runs
  --only WHO   run one side alone (tractor, tokio, smol, moro, futures, trio, floor, tarpc, ...), to profile it
  --list       print the names of the workloads";

fn main() -> ExitCode {
    dialogs::enter();
    let Some(request) = Request::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut workloads = match request.group {
        Group::Local => local::workloads(),
        Group::Dialogs => dialogs::workloads(),
    };
    workloads.retain(|workload| workload.name.contains(&request.filter));
    if request.list {
        for workload in &workloads {
            println!("{}", workload.name);
        }
        return ExitCode::SUCCESS;
    }
    let has_trio = request.only.is_none() && trio::is_installed();
    for workload in &mut workloads {
        workload.sides.retain(|side| match &request.only {
            Some(who) => side.who == who,
            None => side.who != trio::NAME || has_trio,
        });
    }

    machine::print_header();
    workload::print_table(&workloads, request.effort);
    ExitCode::SUCCESS
}

/// Which workloads.
enum Group {
    Local,
    Dialogs,
}

struct Request {
    group: Group,
    filter: String,
    effort: Effort,
    only: Option<String>,
    list: bool,
}

impl Request {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let group = match arguments.next()?.as_str() {
            "local" => Group::Local,
            "dialogs" => Group::Dialogs,
            _ => return None,
        };
        let mut request = Self {
            group,
            filter: String::new(),
            effort: Effort::full(),
            only: None,
            list: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => request.effort.rounds = arguments.next()?.parse().ok()?,
                "--quick" => request.effort = Effort::quick(),
                "--only" => request.only = Some(arguments.next()?),
                "--list" => request.list = true,
                flag if flag.starts_with('-') => return None,
                filter => request.filter = filter.to_owned(),
            }
        }
        Some(request)
    }
}
