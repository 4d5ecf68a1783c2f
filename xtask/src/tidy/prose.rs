//! The prose of documents is wrapped: its lines are at most 120 columns wide. Tables and code blocks are not prose.

use super::Findings;
use super::files::File;

const WIDTH: usize = 120;

pub(crate) fn check(files: &[File], found: &mut Findings) {
    for file in files.iter().filter(|file| file.is("md")) {
        found.extend(too_wide(&file.text).map(|(number, width)| {
            format!("{}:{number}: is {width} columns wide, and prose wraps at {WIDTH}", file.path)
        }));
    }
}

/// The lines of prose that are too wide, with their widths.
fn too_wide(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        let is_prose = !in_code && !is_fence && !line.trim_start().starts_with('|');
        let width = line.chars().count();
        (is_prose && width > WIDTH).then_some((at + 1, width))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_prose_is_found_and_tables_and_code_are_not() {
        let (fits, wide) = ("§".repeat(WIDTH), "a".repeat(WIDTH + 1));
        let text = format!("{fits}\n{wide}\n| {wide} |\n```sh\n{wide}\n```\n- {wide}\n");
        assert_eq!(too_wide(&text).collect::<Vec<_>>(), [(2, WIDTH + 1), (7, WIDTH + 3)]);
    }

    #[test]
    fn only_documents_are_checked() {
        let wide = "a".repeat(WIDTH + 1);
        let file = |path: &str| File { path: path.into(), text: wide.clone() };
        let mut found = vec![];
        check(&[file("a.md"), file("a.rs")], &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.md:1: is 121 columns wide"), "{found:?}");
    }
}
