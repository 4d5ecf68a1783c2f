//! Redis' own benchmark program: each client sends one command at a time, by TCP as ours do.

use std::process::Command;
use std::time::Duration;

use sentinel_testbed::Redis;

use crate::measure::{Run, Sample};

/// A script that does one HSET, on one of many keys.
pub(crate) fn evalsha_hset(server: &Redis, callers: usize) -> Run<'_> {
    let sha = server.cli(&["SCRIPT", "LOAD", "return redis.call('HSET', KEYS[1], 'state', ARGV[1])"]);
    commands(
        server,
        callers,
        vec!["EVALSHA".into(), sha, "1".into(), "bare:__rand_int__".into(), "executing".into()],
    )
}

/// The fields of a completed record, read as one hash.
pub(crate) fn hgetall(server: &Redis, callers: usize) -> Run<'_> {
    let payload = "a".repeat(100);
    let fields = ["state", "completed", "token", "1794613432436492", "worker", "web1:8742", "rev", "2"];
    let more =
        ["claim", "00000000000000000000000000000001", "lease", "1794613432436492", "payload", &payload];
    server.cli(&[&["HSET", "bare-record"][..], &fields, &more].concat());
    commands(server, callers, vec!["HGETALL".into(), "bare-record".into()])
}

/// The first command of a lock written by hand.
pub(crate) fn set_nx_px(server: &Redis, callers: usize) -> Run<'_> {
    let command = ["SET", "lock:__rand_int__", "web1:8742", "NX", "PX", "30000"];
    commands(server, callers, command.map(str::to_owned).to_vec())
}

/// The rate of a mix, from the share of the time that each part would take.
pub(crate) fn mixed<'a>(mut parts: Vec<(f64, Run<'a>)>) -> Run<'a> {
    Box::new(move |span| {
        let part = span / parts.len() as u32;
        let time: f64 = parts.iter_mut().map(|(share, run)| *share / run(part).rate).sum();
        Sample::of(span.as_secs_f64() / time, span.as_secs_f64())
    })
}

fn commands(server: &Redis, callers: usize, command: Vec<String>) -> Run<'_> {
    Box::new(move |span| run(server, callers, &command, span))
}

/// The program counts commands and not time: a short run shows how many are needed.
fn run(server: &Redis, clients: usize, command: &[String], span: Duration) -> Sample {
    let few = 2000 + 20 * clients as u64;
    let many = (counted(server, clients, command, few) * span.as_secs_f64()) as u64;
    let rate = counted(server, clients, command, many);
    Sample { rate, done: (few + many) as f64, latencies: None }
}

/// Commands a second.
fn counted(server: &Redis, clients: usize, command: &[String], requests: u64) -> f64 {
    // The testbed's command would connect by the socket.
    let mut benchmark = Command::new(server.command("redis-benchmark").get_program());
    benchmark.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "--csv", "-r", "100000000"]);
    benchmark.args(["-c", &clients.to_string(), "-n", &requests.to_string()]).args(command);
    let output = benchmark.output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    // "name","rps", and "avg_latency_ms", then the same of min, p50, p95, p99 and max.
    let rate = output_text.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)?.parse().ok());
    rate.unwrap_or_else(|| panic!("redis-benchmark printed {output_text}"))
}
