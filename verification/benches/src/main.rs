//! Measures what coordination costs. Each figure is compared with a baseline that is measured in the same minutes.
//! `cargo xtask bench --help` lists the options.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends with the place of the error")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures with the clock of the machine")]

mod alternatives;
mod args;
mod baselines;
mod context;
mod measure;
mod plan;
mod report;
mod target;
mod workloads;

use std::process::ExitCode;

use args::Args;
use context::BenchContext;
use plan::Plan;
use report::Report;

fn main() -> ExitCode {
    let args = Args::of_command_line(workloads::help());
    let report = match &args.from {
        Some(file) => report::json::read(file),
        None => {
            let known: Vec<_> = workloads::ALL.iter().map(|workload| workload.name).collect();
            Plan::new(&args, &known).map(measured)
        }
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
    let context = BenchContext::new(plan);
    let (mut report, start) = (Report::begin(&context), std::time::Instant::now());
    for workload in workloads::ALL {
        if context.plan.wants_workload(workload.name, workload.by_default) {
            eprintln!("== {}: {}", workload.name, workload.what);
            (workload.run)(&context, &mut report);
        }
    }
    report.end(&context, alternatives::all());
    eprintln!("measured in {} s\n", start.elapsed().as_secs());
    report
}
