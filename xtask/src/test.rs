//! Every test of the workspace, by plain `cargo test`.

use crate::figures::Figures;
use crate::shell::{Result, Stages, cargo};
use crate::workspace::Workspace;
use crate::{examples, setup};

pub(crate) fn test(workspace: &Workspace, args: &[&str]) -> Result {
    run(workspace, args, &[])
}

/// The same with more generated cases: what to leave running overnight.
pub(crate) fn soak(workspace: &Workspace, factor: u32) -> Result {
    run(workspace, &[], &[("SENTINEL_CASES_FACTOR", &factor.to_string())])
}

fn run(workspace: &Workspace, args: &[&str], env: &[(&str, &str)]) -> Result {
    let mut stages = Stages::default();
    let mut figures = Figures::default();
    stages.stage("setup", setup::setup);
    stages.stage("tests", || {
        let tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]).args(args);
        let tests = env.iter().fold(tests, |tests, (name, value)| tests.env(name, value));
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
