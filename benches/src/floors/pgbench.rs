//! PostgreSQL's own benchmark program: prepared statements, each its own transaction, over the same way as ours.

use std::process::{Command, Stdio};
use std::time::Duration;

use sentinel_testbed::postgres::PASSWORD;

use crate::lab::Lab;
use crate::measure::{Run, Sample};
use crate::place::Place;

/// How many records there are to read, as for replays, and to update.
pub(crate) const KEYS: u64 = 10_000;

/// What the scripts write to and read from.
pub(crate) const TABLES: &str = "\
    CREATE TABLE bare (key text PRIMARY KEY, payload bytea); \
    CREATE TABLE reads (key text PRIMARY KEY, payload bytea); \
    CREATE TABLE beats (key text PRIMARY KEY, until int8, payload bytea) WITH (fillfactor = 70); \
    INSERT INTO reads SELECT 'invoice-' || n, decode(repeat('61', 100), 'hex') FROM generate_series(1, 10000) n; \
    INSERT INTO beats SELECT key, 0, payload FROM reads; \
    VACUUM ANALYZE reads; VACUUM ANALYZE beats";

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

/// A floor that runs one script.
pub(crate) fn script<'a>(lab: &'a Lab, place: Place, callers: usize, script: &'static str) -> Run<'a> {
    mixed(lab, place, callers, vec![(script, 1)])
}

/// A floor that draws from several scripts, each with its weight.
pub(crate) fn mixed<'a>(
    lab: &'a Lab,
    place: Place,
    callers: usize,
    scripts: Vec<(&'static str, u32)>,
) -> Run<'a> {
    Box::new(move |span| Sample::of_rate(run(lab, place, callers.min(MOST_CLIENTS), &scripts, span)))
}

/// Transactions a second.
fn run(lab: &Lab, place: Place, clients: usize, scripts: &[(&str, u32)], span: Duration) -> f64 {
    // It knows whole seconds only, and counts those in which it connects, though not into the rate.
    let seconds = span.as_secs().max(1) + u64::from(clients > 8);
    let run = |seconds| rate(&told(lab, place, clients, scripts, seconds));
    run(seconds).or_else(|| run(4 * seconds)).expect("pgbench connects, and carries out something, in seconds")
}

/// None: it had no time for anything.
fn rate(told: &str) -> Option<f64> {
    let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.filter(|tps| *tps > 0.0)
}

/// What it says of one run.
fn told(lab: &Lab, place: Place, clients: usize, scripts: &[(&str, u32)], seconds: u64) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut pgbench = command(lab, place);
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
fn command(lab: &Lab, place: Place) -> Command {
    let mut pgbench = lab.postgres().command("pgbench");
    if let Some(port) = lab.postgres_port(place) {
        pgbench.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGPASSWORD", PASSWORD);
    }
    pgbench
}
