//! The glossary: its lines, read.

use std::collections::BTreeMap;

/// The list. It is part of this program: a tree has one.
const LIST: &str = include_str!("../../../glossary.txt");

/// What a banned text is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Whole words.
    Word,
    /// Names of types.
    Type,
    /// Names of functions and modules.
    Item,
}

/// A banned word, phrase or name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The words of a phrase, in small letters.
    pub(super) parts: Vec<String>,
    pub(super) instead: String,
}

/// All of them, and where each is allowed.
#[derive(Debug, Default)]
pub(super) struct Glossary {
    /// By the first word, in small letters.
    entries: BTreeMap<String, Vec<Entry>>,
    allowed: Vec<(String, String)>,
}

impl Glossary {
    pub(super) fn load() -> Result<Self, String> {
        Self::parse(LIST)
    }

    /// Reads a list; an error names its line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut glossary = Self::default();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (at, line) in lines {
            glossary.add(line).map_err(|why| format!("xtask/glossary.txt:{}: {why}", at + 1))?;
        }
        Ok(glossary)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        if fields.iter().any(|field| field.is_empty()) {
            return Err("a field is empty".into());
        }
        let texts = |list: &str| list.split(',').map(|text| text.trim().to_owned()).collect::<Vec<_>>();
        let kind = match fields.as_slice() {
            ["allow", list, paths, _reason] => {
                self.allowed.extend(texts(list).into_iter().map(|text| (text, (*paths).to_owned())));
                return Ok(());
            }
            ["word", _, _] => Kind::Word,
            ["type", _, _] => Kind::Type,
            ["item", _, _] => Kind::Item,
            _ => return Err("is no `word`, `type`, `item` or `allow` with its fields".into()),
        };
        for text in texts(fields[1]) {
            let parts: Vec<String> = text.split(' ').map(str::to_lowercase).collect();
            let entry = Entry { kind, parts, text, instead: fields[2].to_owned() };
            self.entries.entry(entry.parts[0].clone()).or_default().push(entry);
        }
        Ok(())
    }

    /// The entries whose first word is this one, in small letters.
    pub(super) fn beginning_with(&self, word: &str) -> impl Iterator<Item = &Entry> {
        self.entries.get(word).into_iter().flatten()
    }

    /// Whether a file may have a word.
    pub(super) fn allows(&self, text: &str, path: &str) -> bool {
        self.allowed.iter().any(|(allowed, pattern)| allowed == text && matches(pattern, path))
    }
}

/// Whether a path is of a pattern, in which `*` is any text.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            (0..=path.len()).filter(|at| path.is_char_boundary(*at)).any(|at| matches(rest, &path[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths() {
        for pattern in ["a/b.rs", "a/*", "*.rs", "a/*.rs", "*"] {
            assert!(matches(pattern, "a/b.rs"), "{pattern}");
        }
        for pattern in ["a/b", "b.rs", "*.md", "b/*"] {
            assert!(!matches(pattern, "a/b.rs"), "{pattern}");
        }
    }

    #[test]
    fn an_invalid_line_is_named() {
        for line in ["word | told", "noun | a | b", "word | told | ", "allow | told | a/*"] {
            let error = Glossary::parse(&format!("# one\n\n{line}\n")).unwrap_err();
            assert!(error.starts_with("xtask/glossary.txt:3: "), "{error}");
        }
    }

    #[test]
    fn the_list_of_this_tree_can_be_read() {
        let glossary = Glossary::load().unwrap();
        assert!(glossary.beginning_with("told").any(|entry| entry.kind == Kind::Word));
        for (text, _) in &glossary.allowed {
            let mut entries = glossary.entries.values().flatten();
            assert!(entries.any(|entry| entry.text == *text), "{text} is allowed and not banned");
        }
    }
}
