//! What holds for every file: checked by reading, in milliseconds.

pub(crate) mod files;
mod findings;
pub(crate) mod glossary;
mod laws;
mod links;
mod manifests;
mod specification;
mod text;
mod width;

use crate::shell::{Failure, Result};
use crate::workspace::{Workspace, root};

use files::File;

pub(crate) use findings::Findings;

pub(crate) fn tidy(workspace: &Workspace) -> Result {
    let files = files::load()?;
    let mut found = Findings::new();
    manifests::check(workspace, &files, &mut found);
    text::check(&files, &mut found);
    links::check(&files, &mut found);
    specification::check(&files, &mut found);
    width::check(&files, &mut found);
    glossary::check(&files, &mut found);
    laws::check(&files, &mut found);
    promises(workspace, &files, &mut found);
    if found.is_empty() {
        println!("{} files are tidy", files.len());
        return Ok(());
    }
    Err(Failure::from(found.join("\n")))
}

/// Checks that files agree where one depends on another.
fn promises(workspace: &Workspace, files: &[File], found: &mut Findings) {
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let version = workspace.version();
    let has_version = |line: &str| {
        let line = line.trim_start_matches("## ").trim_start_matches('[');
        line.strip_prefix(version).is_some_and(|rest| rest.starts_with([' ', ']']))
    };
    if !text("CHANGELOG.md").lines().filter(|line| line.starts_with("## ")).any(has_version) {
        found.push(format!("CHANGELOG.md: has no section for version {version}"));
    }
    if !text("README.md").contains("cargo xtask test") {
        found.push("README.md: does not name `cargo xtask test`".into());
    }
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "CONTRIBUTING.md", "ARCHITECTURE.md", "deny.toml"] {
        if !root().join(name).is_file() {
            found.push(format!("{name}: is missing"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_is_tidy() {
        let workspace = Workspace::load().unwrap();
        tidy(&workspace).unwrap();
    }
}
