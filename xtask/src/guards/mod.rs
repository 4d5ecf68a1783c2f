//! The architecture, stated as absences (ARCHITECTURE.md) and looked for in what cargo would build.

mod circles;
mod imports;
mod layers;
mod order;
mod spellings;

use std::fs;

use crate::shell::{Failure, Result};
use crate::workspace::{Member, Workspace, root};

/// What the kernel must not name: waiting, clocks, chance, threads and the world outside. Words of code, not of
/// comments.
const NOT_IN_KERNEL: [&str; 19] = [
    "tokio",
    "futures_util",
    "async",
    "await",
    "Future",
    "async_trait",
    "Clock",
    "SystemClock",
    "ManualClock",
    "SystemTime",
    "Instant",
    "rand",
    "random",
    "thread",
    "Mutex",
    "fs",
    "net",
    "env",
    "io",
];

pub(crate) fn guards(workspace: &Workspace) -> Result {
    let mut broken = Vec::new();
    layers::check(workspace, &mut broken)?;
    kernel(&mut broken)?;
    circles::check(workspace, &mut broken)?;
    order::check(workspace, &mut broken)?;
    spellings::check(workspace, &mut broken)?;
    default_program(workspace, &mut broken);
    if broken.is_empty() {
        println!("no absence is violated");
        return Ok(());
    }
    Err(Failure::from(broken.join("\n")))
}

/// The kernel names no async, no clock, no chance.
fn kernel(broken: &mut Vec<String>) -> Result {
    let mut files = vec![];
    crate::tidy::files::walk(&root().join("sentinel-core/src/kernel"), &mut files)?;
    for file in files {
        for (number, line) in fs::read_to_string(root().join(&file))?.lines().enumerate() {
            let code = line.split_once("//").map_or(line, |(code, _)| code);
            let words = words(code).filter(|word| NOT_IN_KERNEL.contains(word));
            broken.extend(words.map(|word| format!("{file}:{}: the kernel names `{word}`", number + 1)));
        }
    }
    Ok(())
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// `cargo run` at the root starts the program: it alone of all binaries is the default.
fn default_program(workspace: &Workspace, broken: &mut Vec<String>) {
    let of = |member: &Member| member.manifest.value("package", "default-run").is_some();
    let defaults: Vec<&str> = workspace.members.iter().filter(|m| of(m)).map(|m| m.folder.as_str()).collect();
    if defaults != ["sentinel-cli"] {
        broken.push(format!("default-run is set in {defaults:?}; `cargo run` needs it in sentinel-cli only"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_words() {
        let code = "let brand = operand(rand::rng()).await;";
        let found: Vec<&str> = words(code).filter(|word| NOT_IN_KERNEL.contains(word)).collect();
        assert_eq!(found, ["rand", "await"]);
    }
}
