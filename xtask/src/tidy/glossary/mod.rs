//! Words that this repository does not use. `xtask/glossary.txt` lists them with what to write instead.

mod entries;
mod finding;
mod words;

use crate::shell::{Failure, Result};

use super::Findings;
use super::files::{self, File};
use entries::{Entry, Glossary, Kind};
use finding::Finding;
use words::{Declared, declared, is_term, words};

/// The list names the words themselves, and so do the tests of this check.
const OWN_FILES: [&str; 2] = ["xtask/glossary.txt", "xtask/src/tidy/glossary/"];

/// Refuses each banned word.
pub(super) fn check(files: &[File], found: &mut Findings) {
    match Glossary::load() {
        Ok(glossary) => found.extend(findings(&glossary, files).iter().map(Finding::message)),
        Err(invalid) => found.push(invalid),
    }
}

/// Prints every place of the given folders that has a banned word.
pub(crate) fn list(folders: &[&str]) -> Result {
    let glossary = Glossary::load().map_err(Failure::from)?;
    let mut found = findings(&glossary, &files::load()?);
    found.retain(|finding| {
        folders.is_empty() || folders.iter().any(|folder| finding.path.starts_with(folder))
    });
    found.iter().for_each(|finding| println!("{}", finding.message()));
    println!("{} banned words", found.len());
    Ok(())
}

fn findings(glossary: &Glossary, files: &[File]) -> Vec<Finding> {
    let ours = files.iter().filter(|file| !OWN_FILES.iter().any(|own| file.path.starts_with(own)));
    ours.flat_map(|file| in_file(glossary, file)).collect()
}

fn in_file(glossary: &Glossary, file: &File) -> Vec<Finding> {
    let mut found = vec![];
    for (line, text) in file.lines() {
        let words = words(text);
        let terms = (0..words.len()).flat_map(|at| {
            let entries = glossary.beginning_with(&words[at].text);
            entries.filter(|entry| is_term(text, &words[at..], &entry.parts)).collect::<Vec<_>>()
        });
        let declared = if file.is("rs") { declared(text) } else { vec![] };
        let names = declared.iter().flat_map(|declared| {
            glossary
                .beginning_with(&declared.name.to_lowercase())
                .filter(|entry| is_named(entry, declared))
                .collect::<Vec<_>>()
        });
        let terms = terms.filter(|entry| entry.kind == Kind::Word);
        let banned = terms.chain(names).filter(|entry| !glossary.allows(&entry.text, &file.path));
        found.extend(banned.map(|entry| Finding {
            path: file.path.clone(),
            line,
            word: entry.text.clone(),
            instead: entry.instead.clone(),
        }));
    }
    found
}

fn is_named(entry: &Entry, declared: &Declared<'_>) -> bool {
    let is_of_kind = match entry.kind {
        Kind::Word => false,
        Kind::Type => declared.is_type,
        Kind::Item => !declared.is_type,
    };
    is_of_kind && declared.name == entry.text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let list = "word | told, tell | report\nword | for ever | without an end\ntype | Seen | Snapshot\n\
                    item | look | read\nallow | told | x/*.md | a quotation\n";
        let file = File { path: path.into(), text: text.into() };
        findings(&Glossary::parse(list).unwrap(), &[file]).iter().map(Finding::message).collect()
    }

    #[test]
    fn a_message_names_the_file_the_line_the_word_and_what_to_write() {
        let message = "a.md:2: `told` is not a word of this repository; write: report";
        assert_eq!(found("a.md", "one\nWe are Told so.\n"), [message]);
    }

    #[test]
    fn words_are_found_in_any_case_and_as_parts_of_names() {
        for text in [
            "TOLD",
            "was_told",
            "ToldReply",
            "ScriptTold",
            "\"told\"",
            "for ever",
            "kept_for_ever",
            "tell, and",
        ] {
            assert_eq!(found("a.rs", text).len(), 1, "{text}");
        }
        for text in ["untold", "for every", "for; ever", "tells", "foretold"] {
            assert_eq!(found("a.rs", text).len(), 0, "{text}");
        }
        assert_eq!(found("a.sql", "-- told and told").len(), 2, "each of them counts");
    }

    #[test]
    fn names_are_found_where_they_are_declared() {
        for text in ["struct Seen;", "pub(crate) enum Seen<T> {", "    pub trait Seen {", "type Seen = u8;"] {
            assert_eq!(found("a.rs", text).len(), 1, "{text}");
        }
        for text in
            ["pub async fn look(&self)", "    const fn look() {", "mod look;", "pub(super) mod look {"]
        {
            assert_eq!(found("a.rs", text).len(), 1, "{text}");
        }
        for text in [
            "    type Seen = u8;",
            "fn Seen()",
            "struct SeenKeys;",
            "has Seen it",
            "struct look;",
            "fn looks()",
        ] {
            assert_eq!(found("a.rs", text).len(), 0, "{text}");
        }
        assert_eq!(found("a.md", "struct Seen;").len(), 0, "a name is of Rust");
    }

    #[test]
    fn an_allowed_place_may_have_the_word() {
        assert_eq!(found("x/y/a.md", "told, tell").len(), 1);
        assert_eq!(found("x/a.rs", "told, tell").len(), 2);
    }
}
