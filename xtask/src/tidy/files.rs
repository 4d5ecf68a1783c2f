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
        if kind.is_dir() && is_ours(&name) {
            walk(&path, paths)?;
        } else if kind.is_file() && has_text(&name) {
            let path = path.strip_prefix(root()).unwrap_or(&path);
            paths.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

const NOT_OURS: [&str; 6] = ["target", "proptest-regressions", "mutants.out", "seeds", "corpus", "artifacts"];

fn is_ours(folder: &str) -> bool {
    match folder.strip_prefix('.') {
        Some(hidden) => ["cargo", "ci", "github", "config"].contains(&hidden),
        // Seeds of fuzz targets are bytes of any kind.
        None => !NOT_OURS.contains(&folder),
    }
}

fn has_text(file: &str) -> bool {
    let ends = |end: &&str| file.ends_with(end);
    !["Cargo.lock", ".git", ".db", ".db-wal", ".db-shm", ".orig", ".rej"].iter().any(ends)
}
