//! What coordination costs, each figure beside the least that could be done in its place, measured in the same minutes.
//! `cargo xtask bench --help` lists what can be asked for.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on says where, and ends")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures with the clock of the machine")]

mod args;
mod floors;
mod lab;
mod measure;
mod peers;
mod place;
mod plan;
mod report;
mod workloads;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use lab::Lab;
use plan::Plan;
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    let report = match &args.from {
        Some(file) => report::json::read(file),
        None => Plan::new(&args).map(measured),
    };
    let written = report.and_then(|report| {
        print!("{}", report::table::text(&report));
        args.json.as_deref().map_or(Ok(()), |file| report::json::write(file, &report))?;
        args.picture.as_deref().map_or(Ok(()), |file| report::svg::write(file, &report))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for.
fn measured(plan: Plan) -> Report {
    let lab = Lab::new(plan);
    let (mut report, start) = (Report::begin(&lab), std::time::Instant::now());
    for workload in workloads::ALL {
        if lab.plan.wants_workload(workload.name, workload.by_default) {
            eprintln!("== {}: {}", workload.name, workload.what);
            (workload.run)(&lab, &mut report);
        }
    }
    report.end(&lab);
    eprintln!("measured in {} s\n", start.elapsed().as_secs());
    report
}
