//! What remains to be replaced: how many banned words a file may still have. The numbers only fall.

use std::collections::BTreeMap;
use std::fs;

use crate::shell::Result;
use crate::workspace::root;

use super::finding::Finding;

const PATH: &str = "xtask/glossary-remaining.txt";

const HEAD: &str = "\
# Files that still have words of xtask/glossary.txt, and how many. A number is never raised, and no file is added.
# `cargo xtask words` lists the words, `cargo xtask words shrink` lowers the numbers to what is left.
";

/// Files by path, and how many banned words each may have.
#[derive(Debug, Default)]
pub(super) struct Remaining(BTreeMap<String, usize>);

impl Remaining {
    /// Without a file, nothing remains.
    pub(super) fn load() -> std::result::Result<Self, String> {
        Self::parse(&fs::read_to_string(root().join(PATH)).unwrap_or_default())
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &str| {
            let (count, path) = line.trim().split_once(' ')?;
            Some((path.to_owned(), count.parse().ok()?))
        };
        let entries =
            lines.map(|line| read(line).ok_or_else(|| format!("{PATH}: `{line}` is no number and path")));
        entries.collect::<std::result::Result<_, _>>().map(Self)
    }

    /// The words of each file that has more of them than it may have, and the allowances that are too high.
    pub(super) fn violations(&self, found: &[Finding]) -> Vec<String> {
        let counts = counts(found);
        let excess = found.iter().filter(|finding| counts[&finding.path] > self.of(&finding.path));
        let high =
            self.0.iter().filter(|(path, allowed)| counts.get(*path).copied().unwrap_or(0) < **allowed);
        let high =
            high.map(|(path, _)| format!("{PATH}: {path} has fewer words: run `cargo xtask words shrink`"));
        excess.map(Finding::message).chain(high).collect()
    }

    fn of(&self, path: &str) -> usize {
        self.0.get(path).copied().unwrap_or(0)
    }

    /// The allowances at most as high as what was found.
    pub(super) fn shrunk(&self, found: &[Finding]) -> Self {
        let counts = counts(found);
        let left = self
            .0
            .iter()
            .map(|(path, allowed)| (path.clone(), counts.get(path).copied().unwrap_or(0).min(*allowed)));
        Self(left.filter(|(_, count)| *count > 0).collect())
    }

    pub(super) fn save(&self) -> Result {
        let lines = self.0.iter().map(|(path, count)| format!("{count:>4} {path}\n"));
        let total: usize = self.0.values().sum();
        fs::write(root().join(PATH), lines.fold(HEAD.to_owned(), |text, line| text + &line))?;
        println!("{total} banned words remain in {} files", self.0.len());
        Ok(())
    }
}

fn counts(found: &[Finding]) -> BTreeMap<String, usize> {
    found.iter().fold(BTreeMap::new(), |mut counts, finding| {
        *counts.entry(finding.path.clone()).or_default() += 1;
        counts
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Vec<Finding> {
        let finding = |path: &&str| Finding {
            path: (*path).into(),
            line: 1,
            word: "told".into(),
            instead: "report".into(),
        };
        paths.iter().map(finding).collect()
    }

    #[test]
    fn a_file_may_have_what_remains_and_no_more() {
        let remaining = Remaining::parse("# why\n   2 a.rs\n").unwrap();
        assert_eq!(remaining.violations(&found(&["a.rs", "a.rs"])).len(), 0);
        assert_eq!(remaining.violations(&found(&["a.rs", "a.rs", "a.rs"])).len(), 3);
        let others = remaining.violations(&found(&["a.rs", "a.rs", "b.rs"]));
        assert_eq!(others.len(), 1);
        assert!(others[0].starts_with("b.rs:1: `told`"), "{others:?}");
    }

    #[test]
    fn an_allowance_that_is_too_high_is_found_and_lowered() {
        let remaining = Remaining::parse("2 a.rs\n1 b.rs\n").unwrap();
        let found = found(&["a.rs", "c.rs"]);
        assert_eq!(remaining.violations(&found).len(), 3);
        assert_eq!(remaining.shrunk(&found).0, BTreeMap::from([("a.rs".to_owned(), 1)]));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        assert!(Remaining::parse("a.rs 2\n").unwrap_err().contains("`a.rs 2`"));
    }
}
