//! Parses arguments: durations and lists of exit codes.

use std::time::Duration;

/// `500ms`, `3s`, `10m`, `2h`, `7d`: whole numbers, and a unit is required.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        "" => return Err("a unit is required: ms, s, m, h or d".into()),
        _ => return Err("must be a whole number and a unit: ms, s, m, h or d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "must be a whole number and a unit: ms, s, m, h or d")?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "is too long".into())
}

/// A retention: more than zero, and at most a thousand years.
pub(crate) fn retention(text: &str) -> Result<Duration, String> {
    let kept = duration(text)?;
    if kept.is_zero() {
        return Err("must be more than zero: if the result were not kept, the command could run again".into());
    }
    if kept > Duration::from_secs(366_000 * 24 * 60 * 60) {
        return Err("is too long; omit it to keep the result without limit".into());
    }
    Ok(kept)
}

/// Exit codes: `3` or `3,75`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Codes(Vec<u8>);

impl Codes {
    pub(crate) fn contains(&self, code: u8) -> bool {
        self.0.contains(&code)
    }

    /// A code that is in both lists.
    pub(crate) fn shared_with(&self, other: &Self) -> Option<u8> {
        self.0.iter().copied().find(|code| other.contains(*code))
    }
}

/// A list of codes.
pub(crate) fn codes(text: &str) -> Result<Codes, String> {
    text.split(',').map(code).collect::<Result<_, _>>().map(Codes)
}

/// A list of codes for "nothing happened". 75 may be one: for this program, too, it means that nothing ran.
pub(crate) fn nothing_happened_codes(text: &str) -> Result<Codes, String> {
    let allowed = |text: &str| if text == "75" { Ok(75) } else { code(text) };
    text.split(',').map(allowed).collect::<Result<_, _>>().map(Codes)
}

/// The codes that may be given a meaning. The program uses 64 to 78 itself.
pub(crate) fn is_for_commands(code: u8) -> bool {
    matches!(code, 1..=63 | 79..=255)
}

/// One code: 1 to 63 or 79 to 255.
pub(crate) fn code(text: &str) -> Result<u8, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(code) if digits && is_for_commands(code) => Ok(code),
        Ok(64..=78) if digits => Err(format!("{text} is one of the program's own codes, 64 to 78")),
        _ => Err(format!("{text:?} is not an exit code from 1 to 63 or 79 to 255")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-3s",
            "+3s",
            "3 s",
            "3S",
            "3w",
            "99999999999999999999s",
            "999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(retention("0s").is_err() && retention("1ms").is_ok() && retention("400000d").is_err());
    }

    #[test]
    fn codes_keep_clear_of_the_programs_own() {
        assert_eq!(codes("3,63,79,255"), Ok(Codes(vec![3, 63, 79, 255])));
        for bad in ["", "0", "64", "75", "78", "256", "-1", "3,", ",3", "3, 4", "x", "+3"] {
            assert!(codes(bad).is_err(), "{bad}");
        }
        assert_eq!(nothing_happened_codes("3,75"), Ok(Codes(vec![3, 75])));
        for bad in ["74", "76", "075", "3,", ""] {
            assert!(nothing_happened_codes(bad).is_err(), "{bad}");
        }
        assert_eq!(codes("3,4").unwrap().shared_with(&codes("5,4").unwrap()), Some(4));
    }
}
