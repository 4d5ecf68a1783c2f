//! Every test of the workspace, by plain `cargo test`.

use crate::figures::Figures;
use crate::shell::{Result, Stages, cargo};
use crate::workspace::Workspace;
use crate::{examples, setup};

pub(crate) fn test(workspace: &Workspace, args: &[&str]) -> Result {
    let mut stages = Stages::default();
    let mut figures = Figures::default();
    stages.stage("setup", setup::setup);
    stages.stage("tests", || {
        let tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]).args(args);
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
