//! PostgreSQL's own benchmark program: prepared statements, each its own transaction, over the same way as ours.

use std::process::{Command, Stdio};
use std::time::Duration;

use sentinel_testbed::postgres::PASSWORD;

use crate::context::BenchContext;
use crate::measure::{Run, Sample};
use crate::target::Target;

/// How many records there are to read, as for replays, and to update.
pub(crate) const KEYS: u64 = 10_000;

/// One row of 100 bytes, committed.
pub(crate) const INSERT: &str = "\\set k random(1, 9000000000000000000)\n\
    INSERT INTO bare (key, payload) VALUES ('invoice-' || :k, decode(repeat('61', 100), 'hex'));\n";
/// One row by its key.
pub(crate) const SELECT: &str =
    "\\set k random(1, 10000)\nSELECT payload FROM reads WHERE key = 'invoice-' || :k;\n";
/// One row by its key, no index touched.
pub(crate) const UPDATE: &str =
    "\\set k random(1, 10000)\nUPDATE beats SET until = until + 1 WHERE key = 'invoice-' || :k;\n";

/// As many clients as callers, but no more than this.
const MOST_CLIENTS: usize = 128;

/// A baseline that runs one script.
pub(crate) fn script<'a>(
    context: &'a BenchContext,
    target: Target,
    callers: usize,
    script: &'static str,
) -> Run<'a> {
    mixed(context, target, callers, vec![(script, 1)])
}

/// A baseline that draws from several scripts, each with its weight.
pub(crate) fn mixed<'a>(
    context: &'a BenchContext,
    target: Target,
    callers: usize,
    scripts: Vec<(&'static str, u32)>,
) -> Run<'a> {
    Box::new(move |span| run(context, target, callers.min(MOST_CLIENTS), &scripts, span))
}

fn run(
    context: &BenchContext,
    target: Target,
    clients: usize,
    scripts: &[(&str, u32)],
    span: Duration,
) -> Sample {
    // It knows whole seconds only, and connects within them, though it does not count that into the rate.
    let wanted = span.as_secs_f64().ceil();
    let mut seconds = wanted;
    for _ in 0..5 {
        let output = run_pgbench(context, target, clients, scripts, seconds);
        let connecting = number(&output, "initial connection time = ").unwrap_or_default() / 1e3;
        let done = number(&output, "number of transactions actually processed: ");
        match number(&output, "tps = ").zip(done) {
            Some((rate, done)) if seconds - connecting >= wanted / 2.0 => {
                return Sample { rate, done, latencies: None };
            }
            _ => seconds = wanted + connecting.ceil().max(seconds),
        }
    }
    panic!("pgbench spends all of {seconds} s connecting")
}

/// The number after these words.
fn number(output: &str, words: &str) -> Option<f64> {
    output.lines().find_map(|line| line.strip_prefix(words)?.split(' ').next()?.parse().ok())
}

/// Runs it once, and returns its output.
fn run_pgbench(
    context: &BenchContext,
    target: Target,
    clients: usize,
    scripts: &[(&str, u32)],
    seconds: f64,
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut pgbench = command(context, target);
    pgbench.args(["-n", "-M", "prepared", "-j", if clients > 1 { "2" } else { "1" }]);
    pgbench.args(["-c", &clients.to_string(), "-T", &seconds.to_string()]);
    for (n, (script, weight)) in scripts.iter().enumerate() {
        let file = folder.path().join(format!("{n}.sql"));
        std::fs::write(&file, script).unwrap();
        pgbench.arg("-f").arg(format!("{}@{weight}", file.display()));
    }
    let output = pgbench.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// pgbench on the same way to the server.
fn command(context: &BenchContext, target: Target) -> Command {
    let mut pgbench = context.postgres().command("pgbench");
    if let Some(port) = context.postgres_port(target) {
        pgbench.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGPASSWORD", PASSWORD);
    }
    pgbench
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_pgbench_is_parsed() {
        let output = "number of clients: 128\ninitial connection time = 310.5 ms\ntps = 1234.5 (without initial ...)\n";
        assert_eq!(number(output, "tps = "), Some(1234.5));
        assert_eq!(number(output, "initial connection time = "), Some(310.5));
        assert_eq!(number("number of transactions actually processed: 0\n", "tps = "), None);
    }
}
