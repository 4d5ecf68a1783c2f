//! Telling two values apart for a person: only the lines in which they differ.

use std::fmt::Debug;

/// What was expected and what was got, without the lines that they share at the beginning and the end.
pub(crate) fn differ(expected: &impl Debug, got: &impl Debug) -> String {
    let (expected, got) = (format!("{expected:#?}"), format!("{got:#?}"));
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let least = expected.len().min(got.len());
    let first = (0..least).take_while(|n| expected[*n] == got[*n]).count();
    let same_end = |n: &usize| expected[expected.len() - 1 - n] == got[got.len() - 1 - n];
    let last = (0..least - first).take_while(same_end).count();
    let part = |lines: &[&str]| match &lines[first..lines.len() - last] {
        [] => "nothing".to_owned(),
        part => part.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
    };
    format!("\n    expected {}\n         got {}", part(&expected), part(&got))
}

/// Panics with what differs, and what it is of, unless two values are equal.
#[track_caller]
pub(crate) fn same<T: Debug + PartialEq>(what: &str, expected: &T, got: &T) {
    assert!(expected == got, "{what}: {}", differ(expected, got));
}

#[cfg(test)]
mod tests {
    use super::differ;

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(differ(&(1, 2, 3), &(1, 4, 3)), "\n    expected 2,\n         got 4,");
        assert_eq!(differ(&[1, 2], &[1]), "\n    expected 2,\n         got nothing");
        assert_eq!(differ(&7, &7), "\n    expected nothing\n         got nothing");
    }
}
