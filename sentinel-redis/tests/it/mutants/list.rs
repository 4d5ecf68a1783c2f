//! How a list of mutants is read, and a mutant made.

use std::fmt;

/// A script's change for the worse.
#[derive(Debug, Clone, Default)]
pub(super) struct Mutant {
    /// Pieces, and their replacements.
    edits: Vec<(String, String)>,
    /// What has to notice it.
    pub(super) by: Vec<String>,
}

/// Reads a list.
pub(super) fn read(text: &str) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut mutant = Mutant::default();
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(1));
        let rest = rest.trim();
        match mark {
            "-" => mutant.edits.push((rest.into(), String::new())),
            "+" => mutant.edits.last_mut().expect("a piece before what replaces it").1 = rest.into(),
            "=" => {
                mutant.by = rest.split(", ").map(str::to_owned).collect();
                assert!(!mutant.edits.is_empty(), "nothing is changed before {line:?}");
                mutants.push(std::mem::take(&mut mutant));
            }
            "#" | "" => {}
            _ => panic!("{line:?} is no line of a list"),
        }
    }
    assert!(mutant.edits.is_empty(), "nothing notices {mutant}");
    mutants
}

impl Mutant {
    /// The script with the change.
    pub(super) fn apply(&self, script: &str, text: &str) -> String {
        let mut text = plain(text);
        for (piece, instead) in &self.edits {
            let piece = in_script(piece);
            let found = text.matches(&piece).count();
            assert_eq!(found, 1, "{piece:?} stands {found} times in {script}: {text:?}");
            text = text.replace(&piece, &in_script(instead));
        }
        text
    }

    /// Whether a script has what is changed.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text = plain(text);
        self.edits.iter().any(|(piece, _)| text.contains(&in_script(piece)))
    }
}

/// Without comments, in one line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// A piece as a script has it: with the values of constants in place of their names.
fn in_script(piece: &str) -> String {
    let value = |word: &str| {
        let constants = include_str!("../../../lua/parts/constants.lua").lines();
        let mut named = constants.filter_map(|line| line.strip_prefix("local ")?.split_once(" = "));
        named.find(|(name, _)| *name == word).map(|(_, value)| value)
    };
    let words = plain(piece);
    let words = words.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(|word| {
        let name = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        value(name).map_or(word.to_owned(), |value| format!("{value}{}", &word[name.len()..]))
    });
    words.collect()
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (piece, instead)) in self.edits.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{piece:?} -> {instead:?}")?;
        }
        Ok(())
    }
}
