//! How a list of mutants is read, and a mutant made.

use std::fmt;

/// A change for the worse of a statement or a script.
#[derive(Debug, Clone, Default)]
pub struct Mutant {
    /// Pieces, and their replacements.
    edits: Vec<(String, String)>,
    /// The checks of which one has to notice it.
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
            "-" => mutant.edits.push((plain(rest), String::new())),
            "+" => mutant.edits.last_mut().expect("a piece before what replaces it").1 = plain(rest),
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
    /// The text with the change. A piece is as `in_text` returns it: with names and values filled in, as in the text.
    ///
    /// # Panics
    /// If a piece is not in the text exactly once.
    pub fn apply(&self, name: &str, text: &str, in_text: impl Fn(&str) -> String) -> String {
        let mut text = plain(text);
        for (piece, instead) in &self.edits {
            let piece = in_text(piece);
            let found = text.matches(&piece).count();
            assert_eq!(found, 1, "{piece:?} is {found} times in {name}: {text:?}");
            text = text.replace(&piece, &in_text(instead));
        }
        text
    }

    /// Whether a text has one of the pieces.
    pub fn is_in(&self, text: &str, in_text: impl Fn(&str) -> String) -> bool {
        let text = plain(text);
        self.edits.iter().any(|(piece, _)| text.contains(&in_text(piece)))
    }
}

/// A text without comments, in one line. SQL and Lua have the same comments.
pub fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
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
