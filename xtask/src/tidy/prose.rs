//! The prose of documents is wrapped: its lines are at most 120 columns wide. Tables and code blocks are not prose.

use super::Findings;
use super::files::File;

const WIDTH: usize = 120;

/// Documents with longer lines that are not wrapped yet. Remove a document from this list when it is.
const NOT_WRAPPED_YET: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/decisions/commands-by-a-shim.md",
    "docs/decisions/crate-names.md",
    "docs/decisions/lease-and-its-group.md",
    "docs/decisions/local-replays.md",
    "docs/decisions/operators-by-code.md",
    "docs/decisions/own-transaction.md",
    "docs/decisions/postgres-connections.md",
    "docs/decisions/postgres-schema.md",
    "docs/decisions/postgres-statements.md",
    "docs/decisions/redis-data-loss.md",
    "docs/decisions/redis-buckets.md",
    "docs/decisions/redis-connections.md",
    "docs/decisions/redis-reads-in-doubt.md",
    "docs/decisions/redis-scripts.md",
    "docs/decisions/sqlite-few-pages.md",
    "docs/decisions/sqlite-sealed-file.md",
    "docs/decisions/sqlite-turns.md",
    "docs/decisions/waking.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/testing.md",
    "docs/verification.md",
];

pub(crate) fn check(files: &[File], found: &mut Findings) {
    let documents =
        files.iter().filter(|file| file.is("md") && !NOT_WRAPPED_YET.contains(&file.path.as_str()));
    for file in documents {
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
    fn only_documents_that_are_not_in_the_list_are_checked() {
        let wide = "a".repeat(WIDTH + 1);
        let file = |path: &str| File { path: path.into(), text: wide.clone() };
        let mut found = vec![];
        let listed = NOT_WRAPPED_YET.iter().map(|path| file(path));
        check(&[file("a.md"), file("a.rs")].into_iter().chain(listed).collect::<Vec<_>>(), &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.md:1: is 121 columns wide"), "{found:?}");
    }
}
