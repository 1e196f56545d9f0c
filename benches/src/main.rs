#![doc = include_str!("../README.md")]
#![doc = include_str!("../figures.md")]

mod cores;
mod dialogs;
mod hosts;
mod local;
mod machine;
mod memory;
mod page;
mod plot;
mod population;
mod report;
mod request;
mod role;
mod statistics;
mod stopwatch;
mod trees;
mod trio;
mod workload;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use machine::Machine;
use report::Report;
use request::{Action, Measurement, Request};
use workload::Workload;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() -> ExitCode {
    enter();
    let request = match Request::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("peers: {why}\n\n{}", request::USAGE);
            return ExitCode::from(2);
        }
    };
    match act(request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes what this process was started to be by a workload, if it was, and does not return then.
fn enter() {
    // What the others are compared with waits for none of them.
    trees::enter_bare();
    tractor::enter_if_actor();
    dialogs::enter();
    trees::enter();
}

fn act(request: Request) -> Result<(), Box<dyn Error>> {
    match request.action {
        Action::Help => println!("{}", request::USAGE),
        Action::Page(file) => print!("{}", page::markdown(&read(&file)?)),
        Action::Plot(file) => print!("{}", plot::svg(&read(&file)?)),
        Action::List(measurement) => {
            for (group, workload) in workloads(&measurement) {
                println!("{group}: {}", workload.name);
            }
        }
        Action::Measure(measurement) => {
            let report = measure(&measurement);
            if let Some(file) = &request.json {
                fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
            }
            if let Some(file) = &request.svg {
                fs::write(file, plot::svg(&report))?;
            }
            if let Some(file) = &request.markdown {
                fs::write(file, page::markdown(&report))?;
            }
        }
    }
    Ok(())
}

fn read(file: &str) -> Result<Report, Box<dyn Error>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?)
}

/// What was asked for, with the group that it belongs to.
fn workloads(measurement: &Measurement) -> Vec<(&'static str, Workload)> {
    let workloads = |group: &'static str| match group {
        request::LOCAL => local::workloads(),
        request::DIALOGS => dialogs::workloads(),
        _ => trees::workloads(),
    };
    let groups = measurement.groups.iter().copied();
    groups
        .flat_map(|group| workloads(group).into_iter().map(move |one| (group, one)))
        .filter(|(_, workload)| workload.name.contains(&measurement.filter))
        .collect()
}

/// Measures the workloads one after the other, and prints each when it is done.
fn measure(measurement: &Measurement) -> Report {
    let effort = measurement.effort;
    let mut report = Report {
        machine: Machine::here(),
        rounds: effort.rounds,
        workloads: Vec::new(),
    };
    println!("{}\n\n{}", report.machine, report::heading());
    let has_trio = effort.thorough && measurement.only.is_none() && trio::is_installed();
    for (group, mut workload) in workloads(measurement) {
        workload.sides.retain(|side| match &measurement.only {
            Some(who) => side.who == who,
            None => side.who != trio::NAME || has_trio,
        });
        let entry = workload.measure(group, effort);
        println!("{entry}");
        report.workloads.push(entry);
    }
    let (targets, missed) = report.targets();
    println!("targets met: {} of {targets}", targets - missed);
    report
}
