//! Every test of the workspace, by plain `cargo test`.

use crate::figures::Figures;
use crate::shell::{Result, Stages, cargo, program};
use crate::workspace::Workspace;
use crate::{examples, setup};

pub(crate) fn test(workspace: &Workspace, args: &[&str]) -> Result {
    let mut stages = Stages::default();
    let mut figures = Figures::default();
    stages.stage("setup", setup::setup);
    stages.stage("tests", || {
        let tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]).args(args);
        let tests = surroundings().iter().fold(tests, |tests, (name, value)| tests.env(name, value));
        tests.each_line(|line| {
            if figures.line(line) {
                println!("{line}");
            }
        })
    });
    stages.stage("examples", || {
        let ran = examples::run(workspace)?;
        figures.notes.push(format!("{ran:>6} examples ran to their end"));
        Ok(())
    });
    figures.print();
    stages.finish()
}

/// Where servers keep their data by default: in memory, where writing through to the disk is free.
const IN_MEMORY: &str = "/dev/shm";
/// What the servers of a test run never fill.
const ROOM_KB: u64 = 4 << 20;

/// What makes the tests faster on this machine: environment variables that are not set, and their values.
fn surroundings() -> Vec<(&'static str, String)> {
    let free = program("df", &["--output=avail", "-k", IN_MEMORY]).read().unwrap_or_default();
    let room: u64 = free.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut surroundings = Vec::new();
    if room >= ROOM_KB {
        surroundings.push(("TMPDIR", IN_MEMORY.to_owned()));
    }
    // Most tests wait for a server: two for each core keep it busy.
    surroundings.push(("RUST_TEST_THREADS", (2 * cores).to_string()));
    surroundings.retain(|(name, _)| std::env::var_os(name).is_none());
    for (name, value) in &surroundings {
        println!("{name}={value}, by default");
    }
    surroundings
}
