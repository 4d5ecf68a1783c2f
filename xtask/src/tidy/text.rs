//! What a file may contain, and how much of it.

use super::Findings;
use super::files::File;

/// The most lines of a source file that a reader can remember.
const MOST_LINES: usize = 500;

/// What must not be committed, and why. Written in halves, so that this file does not hold it either.
const FORBIDDEN: [(&str, &str); 9] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("TO", "DO"), "unfinished work is an issue, not a comment"),
    (concat!("FIX", "ME"), "unfinished work is an issue, not a comment"),
    (concat!("to", "do!("), "unfinished code"),
    (concat!("unimple", "mented!("), "unfinished code"),
    (concat!("#[ig", "nore"), "a test runs or goes"),
];

pub(crate) fn check(files: &[File], found: &mut Findings) {
    for file in files {
        let lines = file.text.lines().count();
        if file.is("rs") && lines > MOST_LINES {
            found.push(format!("{}: has {lines} lines, more than {MOST_LINES}", file.path));
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found.push(format!("{}: does not end with a newline", file.path));
        }
        for (number, line) in file.lines() {
            found.extend(wrong(line).map(|why| format!("{}:{number}: {why}", file.path)));
        }
    }
}

fn wrong(line: &str) -> impl Iterator<Item = String> {
    let forbidden = FORBIDDEN.iter().filter(move |(text, _)| line.contains(text));
    let forbidden = forbidden.map(|(text, why)| format!("holds `{text}`: {why}"));
    let trailing = line.ends_with([' ', '\t', '\r']).then(|| "ends with white space".to_owned());
    let marker = ["<<<<<<< ", ">>>>>>> "].iter().any(|m| line.starts_with(m));
    forbidden.chain(trailing).chain(marker.then(|| "is the mark of a merge".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lines_are_found() {
        assert_eq!(wrong("let a = 1;").count(), 0);
        assert_eq!(wrong("let a = 1; ").count(), 1);
        assert_eq!(wrong(concat!("see /ro", "ot/notes, TO", "DO")).count(), 2);
        assert_eq!(wrong(">>>>>>> main").count(), 1);
    }

    #[test]
    fn a_long_source_file_is_found() {
        let file = |path: &str| File { path: path.into(), text: "//\n".repeat(MOST_LINES + 1) };
        let mut found = vec![];
        check(&[file("a.rs"), file("a.md")], &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
