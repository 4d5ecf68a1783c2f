//! Lines are at most 120 columns wide: all of code, with its comments and texts, and the prose of documents. Tables and
//! code blocks of documents are not prose.

use super::Findings;
use super::files::File;

const WIDTH: usize = 120;

/// Extensions of files that are code.
const CODE: [&str; 7] = ["rs", "sql", "lua", "toml", "sh", "py", "yml"];

/// Code whose name has no extension.
const PROGRAMS: [&str; 1] = [".ci/run"];

pub(crate) fn check(files: &[File], found: &mut Findings) {
    for file in files {
        let is_code =
            CODE.iter().any(|extension| file.is(extension)) || PROGRAMS.contains(&file.path.as_str());
        let wide = match (is_code, file.is("md")) {
            (true, _) => wide_code(&file.text),
            (false, true) => wide_prose(&file.text),
            (false, false) => continue,
        };
        found.extend(wide.into_iter().map(|(number, width)| {
            format!("{}:{number}: is {width} columns wide, more than {WIDTH}", file.path)
        }));
    }
}

/// The lines that are too wide, with their widths. A package's description is one text on one line.
fn wide_code(text: &str) -> Vec<(usize, usize)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("description = \""));
    let widths = lines.map(|(at, line)| (at + 1, line.chars().count()));
    widths.filter(|(_, width)| *width > WIDTH).collect()
}

/// The lines of prose that are too wide, with their widths.
fn wide_prose(text: &str) -> Vec<(usize, usize)> {
    let mut in_code = false;
    let is_prose = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence && !line.trim_start().starts_with('|')
    });
    let is_prose: Vec<bool> = is_prose.collect();
    wide_code(text).into_iter().filter(|(number, _)| is_prose[number - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_prose_is_found_and_tables_and_code_blocks_are_not() {
        let (fits, wide) = ("§".repeat(WIDTH), "a".repeat(WIDTH + 1));
        let text = format!("{fits}\n{wide}\n| {wide} |\n```sh\n{wide}\n```\n- {wide}\n");
        assert_eq!(wide_prose(&text), [(2, WIDTH + 1), (7, WIDTH + 3)]);
    }

    #[test]
    fn wide_code_is_found_wherever_it_is() {
        let (fits, wide) = ("§".repeat(WIDTH), "a".repeat(WIDTH + 1));
        let text =
            format!("{fits}\n// {wide}\n\"{wide}\"\n| {wide}\n```\n{wide}\ndescription = \"{wide}\"\n");
        assert_eq!(wide_code(&text).into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [2, 3, 4, 6]);
    }

    #[test]
    fn documents_and_code_are_checked_and_data_is_not() {
        let wide = "a".repeat(WIDTH + 1);
        let file = |path: &str| File { path: path.into(), text: wide.clone() };
        let mut found = vec![];
        check(&["a.md", "a.rs", "a.sql", "a.lua", "a.toml", "a.sh", "a.svg", "a.txt"].map(file), &mut found);
        assert_eq!(found.len(), 6, "{found:?}");
        assert_eq!(found[0], "a.md:1: is 121 columns wide, more than 120");
    }
}
