//! Times in output.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use sentinel::store::StoreTime;

/// RFC 3339, UTC, microseconds: `2025-11-21T01:23:45.678901Z`. A time beyond the year 9999 is printed as the last one.
pub(crate) fn rfc3339(time: StoreTime) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    PRINTER.timestamp_to_string(&Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX))
}

/// The time for a table, in whole seconds.
pub(crate) fn short(time: StoreTime) -> String {
    let text = rfc3339(time);
    format!("{} {}", &text[..10], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_and_a_z_always() {
        let at = |micros| rfc3339(StoreTime::from_micros(micros));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(1_763_688_225_678_901), "2025-11-21T01:23:45.678901Z");
        assert_eq!(at(1_763_688_225_000_000), "2025-11-21T01:23:45.000000Z");
        assert!(at(u64::MAX).starts_with("9999-12-"));
        assert_eq!(short(StoreTime::from_micros(1_763_688_225_678_901)), "2025-11-21 01:23:45");
    }
}
