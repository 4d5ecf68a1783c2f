//! The files of the tree, as text.

use std::fs;
use std::path::Path;

use crate::shell::Result;
use crate::workspace::root;

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }

    /// Its lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// All text files that belong to the tree. Build output and hidden folders but ours are left out, and what is no UTF-8.
pub(crate) fn load() -> Result<Vec<File>> {
    let mut paths = vec![];
    walk(root(), &mut paths)?;
    paths.sort();
    let read = |path: String| fs::read_to_string(root().join(&path)).ok().map(|text| File { path, text });
    Ok(paths.into_iter().filter_map(read).collect())
}

/// Adds the paths of all files below a folder.
pub(crate) fn walk(folder: &Path, paths: &mut Vec<String>) -> Result {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let entry = entry?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let kind = entry.file_type()?;
        let relative = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if kind.is_dir() && is_ours(&relative) {
            walk(&path, paths)?;
        } else if kind.is_file() && has_text(&name) {
            paths.push(relative);
        }
    }
    Ok(())
}

/// Folders that tools write to, and the seeds of fuzz targets, which are bytes of any kind.
const NOT_OURS: [&str; 7] = [
    "target",
    "mutants.out",
    "mutants.out.old",
    "verification/fuzz/target",
    "verification/fuzz/seeds",
    "verification/fuzz/corpus",
    "verification/fuzz/artifacts",
];

/// Whether a folder, given by its path from the root, belongs to the tree.
fn is_ours(folder: &str) -> bool {
    let mut names = folder.rsplit('/');
    let name = names.next().unwrap_or_default();
    match name.strip_prefix('.') {
        Some(hidden) => ["cargo", "ci", "github", "config"].contains(&hidden),
        // `proptest` writes next to the folder of the sources, of any crate.
        None if name == "proptest-regressions" => names.any(|name| name == "src"),
        None => !NOT_OURS.contains(&folder),
    }
}

fn has_text(file: &str) -> bool {
    let ends = |end: &&str| file.ends_with(end);
    !["Cargo.lock", ".git", ".db", ".db-wal", ".db-shm", ".orig", ".rej"].iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_left_out_at_their_known_paths_only() {
        for folder in ["target", "mutants.out", "verification/fuzz/seeds", "a/proptest-regressions", ".git"] {
            assert!(!is_ours(folder), "{folder}");
        }
        for name in ["target", "mutants.out", "seeds", "corpus", "artifacts", "proptest-regressions"] {
            assert!(is_ours(&format!("sentinel-core/src/{name}")), "{name}");
        }
        assert!(is_ours(".github") && is_ours("sentinel-core"));
    }
}
