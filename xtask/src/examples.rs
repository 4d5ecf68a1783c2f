//! The facade's examples: each has to run to its end by itself.

use std::fs;

use crate::shell::{Result, cargo, program};
use crate::workspace::Workspace;

/// The names of all examples, in order.
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let folders =
        workspace.members.iter().map(|member| member.path().join("examples")).filter(|f| f.is_dir());
    let mut names = vec![];
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_one = path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").is_file();
            names.extend(is_one.then(|| path.file_stem().unwrap_or_default().to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Runs them all; gives how many.
pub(crate) fn run(workspace: &Workspace) -> Result<usize> {
    let names = names(workspace)?;
    // Built like the tests, for the whole workspace: nothing is built twice.
    cargo(&["build", "--quiet", "--workspace", "--all-features", "--examples"]).run()?;
    // Beside this program, wherever the target folder is.
    let built = std::env::current_exe()?.with_file_name("examples");
    for name in &names {
        program(&built.join(name).to_string_lossy(), &[]).run()?;
    }
    Ok(names.len())
}
