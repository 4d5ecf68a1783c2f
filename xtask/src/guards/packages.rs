//! What a published package contains.

use crate::shell::{Result, cargo};
use crate::workspace::Workspace;

/// The files that each package must contain: the registry shows the first, and the licences ask for the others.
const REQUIRED: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Lists the files of each package, as `cargo publish` would pack them.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in workspace.members.iter().filter(|member| member.is_published()) {
        let list = cargo(&["package", "--list", "--allow-dirty", "--package", &member.name]).read()?;
        broken.extend(missing(&list).map(|file| format!("{}: its package has no {file}", member.folder)));
    }
    Ok(())
}

fn missing(list: &str) -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().filter(move |file| !list.lines().any(|line| line == *file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_is_named() {
        let missing: Vec<_> = missing("Cargo.toml\nREADME.md\nsrc/lib.rs\nsrc/LICENSE-MIT\n").collect();
        assert_eq!(missing, ["LICENSE-MIT", "LICENSE-APACHE"]);
    }
}
