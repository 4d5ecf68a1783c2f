//! The difference between two values, for a person: only the lines in which they differ.

use std::fmt::{self, Debug};

/// The expected and the actual value of each field that differs. If the two have different shapes, it is the part that
/// they do not share.
pub(crate) fn diff(expected: &(impl Debug + ?Sized), got: &(impl Debug + ?Sized)) -> String {
    let (expected, got) = (format!("{expected:#?}"), format!("{got:#?}"));
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let named = |line: &str| line.split_once(": ").map_or("", |(name, _)| name).len();
    let is_alike = |n: usize| expected[n][..named(expected[n])] == got[n][..named(got[n]).min(got[n].len())];
    if expected.len() == got.len() && (0..expected.len()).all(is_alike) {
        let changed = (0..expected.len()).filter(|n| expected[*n] != got[*n]);
        let fields: String = changed.map(|n| field(&expected, &got, n)).collect();
        return if fields.is_empty() {
            "\n    nothing differs in what is printed".to_owned()
        } else {
            fields
        };
    }
    let least = expected.len().min(got.len());
    let first = (0..least).take_while(|n| expected[*n] == got[*n]).count();
    let same_end = |n: &usize| expected[expected.len() - 1 - n] == got[got.len() - 1 - n];
    let last = (0..least - first).take_while(same_end).count();
    let part = |lines: &[&str]| match &lines[first..lines.len() - last] {
        [] => "nothing".to_owned(),
        part => part.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
    };
    let longer = if expected.len() > got.len() { &expected } else { &got };
    let path = path(longer, first).map_or(String::new(), |path| format!("\n    in {path}:"));
    format!("{path}\n    expected {}\n         got {}", part(&expected), part(&got))
}

/// Panics with what differs, and the expression that has the value, unless two values are equal.
#[track_caller]
pub(crate) fn equal<E: Debug + ?Sized, G: Debug + PartialEq<E> + ?Sized>(
    what: &str,
    expected: &E,
    got: &G,
    why: fmt::Arguments<'_>,
) {
    if got != expected {
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        panic!("{why}: `{what}` differs:{}", diff(expected, got));
    }
}

/// One line in which two values differ, with the field that it belongs to.
fn field(expected: &[&str], got: &[&str], n: usize) -> String {
    let name = path(expected, n).map_or(String::new(), |path| format!("\n    {path}:"));
    // A type of one part is printed on a line of its own.
    let around = n.checked_sub(1).map_or("", |before| expected[before].trim());
    let whole = around.ends_with('(') && around.split_once(": ").is_none_or(|(_, kind)| kind != "(");
    let kind = around.split_once(": ").map_or(around, |(_, kind)| kind);
    let value = |line: &str| {
        let line = line.trim().trim_end_matches(',');
        let value = line.split_once(": ").map_or(line, |(_, value)| value);
        if whole && kind.len() > 1 { format!("{kind}{value})") } else { value.to_owned() }
    };
    format!("{name}\n    expected {}\n         got {}", value(expected[n]), value(got[n]))
}

/// The names of the fields around a line, from the outermost to the line's own.
fn path(lines: &[&str], n: usize) -> Option<String> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut names = Vec::new();
    let mut inner = usize::MAX;
    for line in lines[..=n.min(lines.len().checked_sub(1)?)].iter().rev() {
        if depth(line) >= inner {
            continue;
        }
        inner = depth(line);
        if let Some((name, _)) = line.trim().split_once(": ")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            names.push(name);
        }
    }
    names.reverse();
    (!names.is_empty()).then(|| names.join("."))
}

/// Panics with what differs, and what it is of, unless two values are equal.
#[track_caller]
pub(crate) fn same<T: Debug + PartialEq>(what: &str, expected: &T, got: &T) {
    assert!(expected == got, "{what}:{}", diff(expected, got));
}

/// What a law got is what it expects; else a message with the expression, and the fields in which the two differ.
/// Replaces the macro of the standard library, which prints both values completely.
macro_rules! equal {
    ($got:expr, $expected:expr $(,)?) => { $crate::diff::assert_eq!($got, $expected, "the law failed") };
    ($got:expr, $expected:expr, $($why:tt)+) => {
        match (&$got, &$expected) {
            (got, expected) => {
                $crate::diff::equal(stringify!($got), expected, got, format_args!($($why)+));
            }
        }
    };
}
pub(crate) use equal as assert_eq;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sentinel_core::{Record, State, StoreTime, Terms};

    use super::diff;

    #[test]
    fn only_differences_are_reported() {
        assert_eq!(diff(&(1, 2, 3), &(1, 4, 3)), "\n    expected 2\n         got 4");
        assert_eq!(diff(&[1, 2], &[1]), "\n    expected 2,\n         got nothing");
        assert_eq!(diff(&7, &7), "\n    nothing differs in what is printed");
    }

    #[test]
    fn a_difference_names_its_field() {
        let record = Record { lease_until: StoreTime::from_micros(5), ..Record::absent() };
        let other =
            Record { lease_until: StoreTime::from_micros(6), state: State::Claimed, ..record.clone() };
        let message = diff(&record, &other);
        assert!(message.contains("\n    state:\n    expected Free\n         got Claimed"), "{message}");
        let time = "\n    lease_until:\n    expected StoreTime(5)\n         got StoreTime(6)";
        assert!(message.contains(time), "{message}");
        let terms = |seconds| Terms::new(Duration::from_secs(seconds), Duration::from_secs(9)).ok();
        let message = diff(
            &(1, Record { terms: terms(2), ..record.clone() }),
            &(1, Record { terms: terms(3), ..record.clone() }),
        );
        assert_eq!(message, "\n    terms.ttl:\n    expected Micros(2000000)\n         got Micros(3000000)");
        let panic = std::panic::catch_unwind(|| {
            super::equal("record.rev", &1, &2, format_args!("the second grant"));
        });
        let message = panic.expect_err("they differ").downcast::<String>().expect("a message");
        assert_eq!(*message, "the second grant: `record.rev` differs:\n    expected 1\n         got 2");
        let message = diff(&record, &Record { terms: terms(3), ..record.clone() });
        assert!(message.contains("in terms:") && message.contains("expected terms: None"), "{message}");
    }
}
