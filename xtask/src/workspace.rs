//! The contents of the manifests. They are read as text, line by line: this program has no dependencies, and the
//! manifests are written in one plain way, which `tidy` checks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Result;

pub(crate) use crate::root::root;

/// A manifest: sections in order, each with its lines; comments and empty lines are left out.
#[derive(Debug)]
pub(crate) struct Manifest {
    sections: Vec<(String, Vec<String>)>,
}

impl Manifest {
    fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self::parse(&text))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut sections = vec![(String::new(), Vec::new())];
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') && line.ends_with(']') && !line.starts_with("[\"") {
                sections.push((line.trim_matches(['[', ']']).to_owned(), Vec::new()));
            } else if let Some((_, lines)) = sections.last_mut() {
                lines.push(line.to_owned());
            }
        }
        Self { sections }
    }

    /// The names of all sections.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }

    /// The lines of all sections of this name.
    pub(crate) fn section<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.sections.iter().filter(move |(found, _)| found == name);
        named.flat_map(|(_, lines)| lines).map(String::as_str)
    }

    /// The value of a key, without quotes.
    pub(crate) fn value<'a>(&'a self, section: &'a str, key: &str) -> Option<&'a str> {
        self.section(section).find_map(|line| {
            let (found, value) = line.split_once('=')?;
            (found.trim() == key).then(|| value.trim().trim_matches('"'))
        })
    }

    /// The names on the left of `=` in a section.
    pub(crate) fn keys<'a>(&'a self, section: &'a str) -> impl Iterator<Item = &'a str> {
        // A list may go on over several lines: its entries are no keys.
        let is_entry = |line: &&str| !line.starts_with(['"', ']']);
        self.section(section)
            .filter(is_entry)
            .filter_map(|line| line.split_once('='))
            .map(|(key, _)| key.trim())
    }
}

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    /// The folder, relative to the root.
    pub(crate) folder: String,
    /// The package's name.
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
}

impl Member {
    /// Its features, `default` left out.
    pub(crate) fn features(&self) -> Vec<&str> {
        self.manifest.keys("features").filter(|name| *name != "default").collect()
    }

    /// Whether it is published.
    pub(crate) fn is_published(&self) -> bool {
        self.manifest.value("package", "publish") != Some("false")
    }

    pub(crate) fn path(&self) -> PathBuf {
        root().join(&self.folder)
    }
}

/// The workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) manifest: Manifest,
    pub(crate) members: Vec<Member>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let manifest = Manifest::load(&root().join("Cargo.toml"))?;
        let members = member_folders(&manifest).into_iter().map(|folder| {
            let manifest = Manifest::load(&root().join(&folder).join("Cargo.toml"))?;
            let name = manifest.value("package", "name").unwrap_or_default().to_owned();
            Ok(Member { folder, name, manifest })
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        Ok(Self { manifest, members })
    }

    pub(crate) fn version(&self) -> &str {
        self.manifest.value("workspace.package", "version").unwrap_or_default()
    }
}

/// The quoted words of `members = [..]`, on one line or several.
fn member_folders(manifest: &Manifest) -> Vec<String> {
    let lines: Vec<&str> = manifest.section("workspace").collect();
    let text = lines.join(" ");
    let list = text.split_once("members").and_then(|(_, rest)| rest.split_once('['));
    let list = list.and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read() {
        let text = "[workspace]\nmembers = [\n  \"a\",\n  # why\n  \"b-c\",\n]\n[package]\nname = \"x\"\n\
                    [features]\ndefault = [\"one\"]\none = [\n  \"dep:a\",\n]\ntwo = []\n\
                    [target.'cfg(x = \"y\")'.dependencies]\na = \"1\"\n";
        let manifest = Manifest::parse(text);
        assert_eq!(member_folders(&manifest), ["a", "b-c"]);
        assert_eq!(manifest.value("package", "name"), Some("x"));
        assert_eq!(manifest.keys("features").collect::<Vec<_>>(), ["default", "one", "two"]);
        assert_eq!(manifest.section("target.'cfg(x = \"y\")'.dependencies").count(), 1);
    }
}
