//! Client, keeper and operators over the in-memory store, in one thread, in simulated time, with faults at every await.
//!
//! One number draws all of it: how many processes there are and what they do, which requests are lost, late or repeated,
//! who crashes or stands still, how the store's clock is set. The same number gives the same run. After each operation an
//! observer judges the record; then faults stop, each key must come to its end, and all that was told must be true.

mod clock;
mod dice;
mod fate;
mod judge;
mod network;
mod observer;
mod operator;
mod options;
mod process;
mod run;
mod worker;
mod world;

use std::process::ExitCode;

use run::{Seen, run};

const USAGE: &str = "sentinel-simulation --seed N | --seeds COUNT [--from N]";

#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let seeds = match args[..] {
        ["--seed", seed] => number(seed).map(|seed| (seed, 1)),
        ["--seeds", count] => number(count).map(|count| (1, count)),
        ["--seeds", count, "--from", first] => number(first).zip(number(count)),
        _ => None,
    };
    let Some((first, count)) = seeds else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match sweep(first, count) {
        Ok(total) => {
            println!("{count} seeds from {first} on, none broken: {total:?}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

/// Runs so many seeds on all cores; what they were together, or the first of a core that was found broken.
fn sweep(first: u64, count: u64) -> Result<Seen, String> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let lane = |lane: u64| {
        let seeds = (first + lane..first.saturating_add(count)).step_by(cores as usize);
        seeds.map(|seed| run(seed, None)).sum::<Result<Seen, String>>()
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..cores).map(|n| scope.spawn(move || lane(n))).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum()
    })
}

#[cfg(test)]
mod tests;
