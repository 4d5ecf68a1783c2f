//! Client, keeper and operators over the in-memory store, in one thread, in simulated time, with faults at every await.
//!
//! One number draws all of it: how many processes there are and what they do, which requests are lost, late or
//! repeated, which process is killed or paused, how the store's clock is set. The same number gives the same run. After
//! each operation an observer checks the record; then faults stop, each key must reach a result, and every outcome must
//! be true.

mod checker;
mod clock;
mod nemesis;
mod network;
mod observer;
mod operator;
mod options;
mod process;
mod rng;
mod run;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use run::{Summary, run};
use tokio::time::Instant;

const USAGE: &str = "sentinel-simulation --seed N | --seeds COUNT [--from N] | --minutes COUNT [--from N]";

/// The number of seeds between two readings of the clock.
const BATCH: u64 = 10_000;

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let (args, first) = match args[..] {
        [ref args @ .., "--from", first] => (args, number(first)),
        _ => (&args[..], Some(1)),
    };
    let swept = match (args, first) {
        (["--seed", seed], Some(1)) => number(seed).map(|seed| sweep(seed, 1).map(|total| (1, total))),
        (["--seeds", count], Some(first)) => {
            number(count).map(|count| sweep(first, count).map(|total| (count, total)))
        }
        (["--minutes", count], Some(first)) => number(count).map(|minutes| sweep_for(first, minutes)),
        _ => None,
    };
    match swept {
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
        Some(Ok((count, total))) => {
            println!("{count} seeds from {} on, none broken: {total:?}", first.unwrap_or_default());
            ExitCode::SUCCESS
        }
        Some(Err(broken)) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

/// Runs batches of seeds for this many minutes. Returns how many seeds that were.
fn sweep_for(first: u64, minutes: u64) -> Result<(u64, Summary), String> {
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut count, mut total) = (0, Summary::default());
    while Instant::now() < until {
        total = [total, sweep(first + count, BATCH)?].into_iter().sum();
        count += BATCH;
    }
    Ok((count, total))
}

/// Runs this many seeds on all cores. Returns their sum, or the first broken run of a core.
fn sweep(first: u64, count: u64) -> Result<Summary, String> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let core = |core: u64| {
        let seeds = (first + core..first.saturating_add(count)).step_by(cores as usize);
        seeds.map(|seed| run(seed, None)).sum::<Result<Summary, String>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|n| scope.spawn(move || core(n))).collect();
        threads
            .into_iter()
            .map(|core| core.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum()
    })
}

#[cfg(test)]
mod tests;
