//! Many worker processes run `once` and `lease` on shared keys of a real server while workers and servers are killed,
//! stopped, cut off and replaced. Then faults stop, every key reaches a result, and journals, effects, logs and records
//! must agree.
//!
//! A seed draws what happens. Real processes do not repeat themselves, so a seed repeats the plan and not the run: a
//! finding is reported with its journals, which have all of it.

mod checker;
mod deployment;
mod journal;
mod lost_heartbeats;
mod mutation;
mod open;
mod operator;
mod plan;
mod recorder;
mod run;
mod worker;
mod workers;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use deployment::Kind;
use run::{Runner, Summary};

#[derive(Debug, Parser)]
#[command(name = "sentinel-chaos", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    soak: Soak,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a worker process is started as.
    #[command(hide = true)]
    Worker { plan: String },
}

#[derive(Debug, Clone, Args)]
struct Soak {
    /// Which stores, one after the other; all if none is named.
    #[arg(long, value_enum)]
    store: Vec<Kind>,
    /// The number of schedules for each store.
    #[arg(long, default_value_t = 20, conflicts_with = "minutes")]
    schedules: u64,
    /// Run schedules for this many minutes, for each store.
    #[arg(long)]
    minutes: Option<u64>,
    /// Of the first schedule; the next ones count on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of schedules at the same time, each with servers of its own.
    #[arg(long, default_value_t = 2)]
    parallel: u64,
    /// A mistake of the workers that the checker has to detect.
    #[arg(long, hide = true, value_enum)]
    mutation: Option<mutation::Mutation>,
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Worker { plan }) => {
            serde_json::from_str(&plan).map_err(|error| error.to_string()).and_then(worker::main)
        }
        None => soak(&cli.soak).map(|report| println!("{report}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn soak(soak: &Soak) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let all = [Kind::Sqlite, Kind::Postgres, Kind::Redis, Kind::Failover];
    let stores = if soak.store.is_empty() { &all } else { &*soak.store };
    let mut report = Vec::new();
    for kind in stores {
        let summary = schedules(*kind, soak, &program)?;
        report.push(format!("{kind}: none broken, {summary}"));
    }
    Ok(report.join("\n"))
}

/// Runs schedules in parallel until there were enough, or one was broken: that one is reported.
fn schedules(kind: Kind, soak: &Soak, program: &Path) -> Result<Summary, String> {
    let (next, broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let until = soak.minutes.map(|minutes| tokio::time::Instant::now() + Duration::from_secs(60 * minutes));
    let goes_on = |n: u64| match until {
        Some(until) => tokio::time::Instant::now() < until,
        None => n < soak.schedules,
    };
    let thread = || {
        let mut summary = Summary::default();
        let mut runner = Runner::new(kind, program)?;
        runner.mutation = soak.mutation;
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            if broken.load(Ordering::SeqCst) || !goes_on(n) {
                return Ok(summary);
            }
            match runner.run(soak.seed + n) {
                Ok(one) => summary += one,
                Err(finding) => {
                    broken.store(true, Ordering::SeqCst);
                    return Err(finding);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let parallel: Vec<_> = (0..soak.parallel).map(|_| scope.spawn(thread)).collect();
        let mut total = Summary::default();
        for thread in parallel {
            total += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(total)
    })
}
