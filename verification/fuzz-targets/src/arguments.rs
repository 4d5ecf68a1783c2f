//! What the program takes as durations and exit codes.

// The program is no library: its parser is compiled in here, unchanged.
#[path = "../../../sentinel-cli/src/parse.rs"]
mod parse;

use std::time::Duration;

/// A duration is a whole number and a unit, and nothing else is one.
pub(crate) fn arguments(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    if let Ok(duration) = parse::duration(text) {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(60 * 60),
            "d" => Duration::from_secs(24 * 60 * 60),
            unit => panic!("{unit:?} was taken for a unit"),
        };
        let number: u128 = digits.parse().expect("a duration starts with a number");
        assert_eq!(duration.as_millis(), number * unit.as_millis(), "{text:?}");
    }
    if let Ok(kept) = parse::retention(text) {
        assert!(!kept.is_zero() && parse::duration(text) == Ok(kept), "{text:?}");
    }
    let code = parse::code(text);
    assert!(code.as_ref().is_ok_and(|code| matches!(code, 1..=63 | 79..=255)) || code.is_err(), "{text:?}");
    if let Ok(codes) = parse::codes(text) {
        assert_eq!(parse::nothing_happened_codes(text), Ok(codes.clone()), "{text:?}");
        let each = text.split(',').all(|part| parse::code(part).is_ok_and(|code| codes.contains(code)));
        assert!(each && !codes.contains(0) && codes.shared_with(&codes).is_some(), "{text:?}");
    }
}
