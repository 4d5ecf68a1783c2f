//! Spellings that hide from the other guards which file a name comes from.

use crate::shell::Result;
use crate::workspace::Workspace;

use super::imports::Sources;

/// What code must not contain, each in two parts, so that this file does not contain it.
const REFUSED: [(&str, &str); 6] = [
    ("crate", " as "),
    ("super", " as "),
    ("use self", " as "),
    ("use {self", " as "),
    ("extern crate", " self"),
    ("include", "!("),
];

/// Files that take one file of another crate, which depends on nothing of its own crate.
const KNOWN: [(&str, &str); 2] = [
    // The program's parser of arguments is no public name, and the fuzz target needs it.
    ("verification/fuzz-targets", "arguments"),
    // This program has no dependencies, and looks for servers like the test bed does.
    ("xtask", "setup::servers"),
];

/// Refuses them in the sources of all crates.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in &workspace.members {
        for (module, code) in Sources::load(member)?.code() {
            let module = module.join("::");
            let is_known = KNOWN.contains(&(member.folder.as_str(), module.as_str()));
            let found = refused(code).into_iter().chain(other_file(code).filter(|_| !is_known));
            broken.extend(found.map(|spelling| {
                format!("{}: crate::{module} has `{spelling}`, which the guards cannot follow", member.folder)
            }));
        }
    }
    Ok(())
}

fn refused(code: &str) -> Vec<String> {
    let spellings = REFUSED.iter().map(|(first, second)| format!("{first}{second}"));
    spellings.filter(|spelling| code.match_indices(spelling).any(|(at, _)| is_whole(code, at))).collect()
}

/// An attribute that takes a module from another file.
fn other_file(code: &str) -> impl Iterator<Item = String> {
    let mut lines = code.lines().map(str::trim_start).filter(|line| line.starts_with("#["));
    let has_path = lines.any(|line| line.contains("[path =") || line.contains(" path ="));
    has_path.then(|| "#[path]".to_owned()).into_iter()
}

/// Whether no name ends where a spelling begins.
fn is_whole(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_has_none() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn each_is_found() {
        for code in [
            "use crate as c;",
            "use {crate as c};",
            "use super as s;",
            "use super::super as s;",
            "use self as s;",
            "use {self as s};",
            "extern crate self as c;",
            "include!(\"a.rs\");",
        ] {
            assert_eq!(refused(code).len(), 1, "{code}");
        }
        let code =
            "*self as u8; include_str!(\"a\"); include_bytes!(\"a\"); use crate::a as b; use a::{self as c};";
        assert_eq!(refused(code), [""; 0]);
        for code in ["#[path = \"a.rs\"]\nmod a;", "#[cfg_attr(unix, path = \"a.rs\")]\nmod a;"] {
            assert_eq!(other_file(code).count(), 1, "{code}");
        }
        assert_eq!(other_file("let path = 1;\n#[derive(Debug)]").count(), 0);
    }
}
