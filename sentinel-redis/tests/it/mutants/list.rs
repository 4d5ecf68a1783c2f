//! How a list of mutants is read, and a mutant made.

use std::fmt;

/// A script's change for the worse.
#[derive(Debug, Clone, Default)]
pub(super) struct Mutant {
    /// Pieces, and what stands there instead.
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
            let piece = plain(piece);
            let found = text.matches(&piece).count();
            assert_eq!(found, 1, "{piece:?} stands {found} times in {script}: {text:?}");
            text = text.replace(&piece, instead);
        }
        text
    }
}

/// Without comments, in one line.
fn plain(text: &str) -> String {
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
