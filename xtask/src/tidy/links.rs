//! Every link from one file of the tree to another leads somewhere, heading included.

use std::path::{Component, Path, PathBuf};

use crate::workspace::root;

use super::Findings;
use super::files::File;

pub(crate) fn check(files: &[File], found: &mut Findings) {
    for file in files {
        for (number, line) in file.lines() {
            let links: Vec<&str> = if file.is("md") { markdown_links(line).collect() } else { vec![] };
            let at = |link: &str| format!("{}:{number}: {link} leads nowhere", file.path);
            found.extend(links.into_iter().filter(|link| !leads(files, file, link)).map(at));
            // The tests below name documents that are not there.
            let named = documents(line).filter(|_| !file.path.ends_with("tidy/links.rs"));
            found.extend(named.filter(|path| !root().join(path).exists()).map(at));
        }
    }
}

/// The targets of `[text](target)`.
fn markdown_links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split_once(')')).map(|(target, _)| target)
}

/// Documents that a comment or a text names by their path from the root: docs/*.md.
fn documents(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("docs/").filter_map(|(at, _)| {
        // "../docs/x.md" is a link, judged by where it starts; "mydocs/" is no path of ours.
        let before = line[..at].chars().next_back();
        let path = line[at..].split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)).next()?;
        let path = path.trim_end_matches('.');
        let from_root = !before.is_some_and(|c| c.is_alphanumeric() || "/._-".contains(c));
        (from_root && path.ends_with(".md")).then_some(path)
    })
}

fn leads(files: &[File], from: &File, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { PathBuf::from(&from.path) } else { resolve(&from.path, path) };
    let Some(heading) = heading else { return root().join(&target).exists() };
    let target = target.to_string_lossy();
    let document = files.iter().find(|file| file.path == target);
    document.is_some_and(|document| headings(document).any(|found| found == heading))
}

/// The path of a link, from the root.
fn resolve(from: &str, link: &str) -> PathBuf {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    folder.join(link).components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

/// The anchors of a document's headings, as they are made on the web: small letters, `-` for a space, no punctuation.
fn headings(document: &File) -> impl Iterator<Item = String> {
    let titles = document.text.lines().filter_map(|line| line.strip_prefix('#'));
    titles.map(|title| {
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_documents_are_found() {
        let line = "see [a](b.md#c) and [d](../e), docs/f.md, `docs/g-h.md`.";
        assert_eq!(markdown_links(line).collect::<Vec<_>>(), ["b.md#c", "../e"]);
        assert_eq!(documents(line).collect::<Vec<_>>(), ["docs/f.md", "docs/g-h.md"]);
        assert_eq!(documents("../docs/a.md mydocs/a.md docs/decisions/").count(), 0);
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = [file("docs/a.md", "# The `One` idea\n"), file("docs/x/b.md", "")];
        assert!(leads(&files, &files[1], "../a.md#the-one-idea"));
        assert!(!leads(&files, &files[1], "../a.md#another"));
        assert!(leads(&files, &files[0], "#the-one-idea"));
        assert!(leads(&files, &files[0], "https://example.org"));
        assert!(!leads(&files, &files[0], "nowhere.md"));
    }
}
