//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

/// Measures each workload interleaved with a baseline, the least work that could replace it, and prints medians, ratios
/// and latencies.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", disable_version_flag = true)]
pub(crate) struct Args {
    /// Measure all four stores briefly, in under two minutes
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only these stores and workloads: `postgres`, `fresh,replay`, `redis,join`, `large`
    #[arg(long, value_name = "STORE|WORKLOAD", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// How often each side of a comparison is measured; the median counts [default: 3; quick: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: Option<u32>,

    /// How long one side is measured in one round, in seconds [default: 2; quick: 0.35]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: Option<u32>,

    /// The number of records among which `large` claims and lists
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) records: u64,

    /// Write all measurements to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draw the ratios into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// Measure nothing: print and draw the measurements that an earlier run wrote with `--json`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only", "rounds", "seconds", "json"])]
    pub(crate) from: Option<PathBuf>,

    /// The `sentinel` program whose start is measured
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) program: Option<PathBuf>,
}

impl Args {
    /// Reads the command line. Its help ends with `after_help`.
    pub(crate) fn of_command_line(after_help: String) -> Self {
        let mut command = Self::command().after_help(after_help);
        let parsed = command.try_get_matches_from_mut(std::env::args_os());
        let args = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        args.unwrap_or_else(|error| error.format(&mut command).exit())
    }
}
