//! The start of `sentinel`: what the whole process takes, with a command that does nothing, beside that command alone
//! and beside `flock`, which keeps others out and remembers nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::context::BenchContext;
use crate::report::stats::median;
use crate::report::{Fact, Goal, Report};
use crate::target::Target;

const STARTS: usize = 50;

const ONCE: &str = "sentinel once KEY -- true";

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    let Some(program) = context.plan.program.as_deref().filter(|_| context.plan.wants(Target::Sqlite)) else {
        eprintln!("not measured: `cargo xtask bench --only program` builds it");
        return;
    };
    let programs = programs(context, program);
    // What is there after the first start is there for all others.
    for (_, command) in &programs {
        timed(command(usize::MAX));
    }
    let mut took = vec![Vec::new(); programs.len()];
    for n in 0..STARTS {
        programs.iter().zip(&mut took).for_each(|((_, command), took)| took.push(timed(command(n))));
    }
    let took: Vec<f64> = took.iter().filter_map(|took| median(took)).collect();
    for ((name, _), took) in programs.iter().zip(&took) {
        report.fact(fact(format!("wall time of `{name}`"), *took, "ms", None));
    }
    report.fact(fact(format!("`{ONCE}` over `true` alone"), took[2] - took[0], "ms", Some(15.0)));
    for (name, command) in &programs {
        if let Some(resident) = resident(command(STARTS)) {
            let most = (*name == ONCE).then_some(15.0);
            report.fact(fact(format!("resident at most: `{name}`"), resident, "MiB", most));
        }
    }
    let size = std::fs::metadata(program).unwrap().len() as f64 / f64::from(1 << 20);
    report.fact(fact("size of the program, as it is shipped".into(), size, "MiB", None));
}

type Start<'a> = Box<dyn Fn(usize) -> Command + 'a>;

/// What is started, for each number with a key of its own.
fn programs<'a>(context: &BenchContext, program: &'a Path) -> Vec<(&'static str, Start<'a>)> {
    let (store, lock) = (format!("sqlite:{}", context.file("program").display()), context.file("lock"));
    let sentinel = move |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(["--store", &store]).args(args);
        command
    };
    let replayed = sentinel.clone();
    vec![
        ("true", Box::new(|_| Command::new("true"))),
        (
            "flock FILE true",
            Box::new(move |_| {
                let mut command = Command::new("flock");
                command.arg(&lock).arg("true");
                command
            }),
        ),
        (ONCE, Box::new(move |n| sentinel(&["once", &format!("key-{n}"), "--", "true"]))),
        ("the same, replayed", Box::new(move |_| replayed(&["once", "key-0", "--", "true"]))),
        (
            "sentinel --help",
            Box::new(move |_| {
                let mut command = Command::new(program);
                command.arg("--help");
                command
            }),
        ),
    ]
}

/// Milliseconds from before the start to after the end.
fn timed(mut command: Command) -> f64 {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let took = start.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{command:?} ended with {status}");
    took
}

/// MiB, of the process or of the largest that it started. By `time`, which is small itself: a child begins as a copy of
/// the process that starts it. None: there is no `time`.
fn resident(command: Command) -> Option<f64> {
    let mut time = Command::new("/usr/bin/time");
    time.args(["-f", "%M"]).arg(command.get_program()).args(command.get_args());
    let output = time.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
    let last = String::from_utf8_lossy(&output.stderr).lines().last()?.parse::<f64>().ok()?;
    Some(last / 1024.0)
}

fn fact(what: String, value: f64, unit: &str, most: Option<f64>) -> Fact {
    let goal = most.map(Goal::AtMost);
    Fact { workload: "program".into(), target: Target::Sqlite, what, value, unit: unit.into(), goal }
}
