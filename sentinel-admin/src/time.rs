//! Times and durations as they are printed.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use sentinel_core::StoreTime;

/// RFC 3339, UTC, microseconds: `2025-11-21T01:23:45.678901Z`. A time beyond the year 9999 is printed as the last one.
pub fn rfc3339(time: StoreTime) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    PRINTER.timestamp_to_string(&Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX))
}

/// Date and time of day in whole seconds, UTC: `2025-11-21 01:23:45`.
pub fn short(time: StoreTime) -> String {
    let text = rfc3339(time);
    format!("{} {}", &text[..10], &text[11..19])
}

/// The time of day in whole seconds, UTC. The date comes first if it is not the date of `now`.
pub fn clock(time: StoreTime, now: StoreTime) -> String {
    let (text, today) = (short(time), short(now));
    if text[..10] == today[..10] { text[11..].to_owned() } else { text }
}

/// A duration in its two largest units: `3s`, `1h 30m`, `2d`, `250ms`. What is finer is dropped.
pub fn span(duration: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "us"),
    ];
    let micros = duration.as_micros();
    let Some(first) = UNITS.iter().position(|(size, _)| micros >= *size) else { return "0s".to_owned() };
    let (size, unit) = UNITS[first];
    let whole = format!("{}{unit}", micros / size);
    match UNITS.get(first + 1).map(|(next, unit)| (micros % size / next, unit)) {
        Some((rest, unit)) if rest > 0 => format!("{whole} {rest}{unit}"),
        _ => whole,
    }
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

    #[test]
    fn the_date_is_left_out_on_the_same_day() {
        let now = StoreTime::from_micros(1_763_688_225_678_901);
        assert_eq!(clock(now.plus(Duration::from_secs(60)), now), "01:24:45");
        assert_eq!(clock(now.plus(Duration::from_secs(86_400)), now), "2025-11-22 01:23:45");
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        let of = |micros| span(Duration::from_micros(micros));
        assert_eq!(
            [of(0), of(1), of(999), of(250_000), of(3_000_000)],
            ["0s", "1us", "999us", "250ms", "3s"]
        );
        assert_eq!([of(3_250_000), of(5_400_000_000), of(3_600_000_000)], ["3s 250ms", "1h 30m", "1h"]);
        assert_eq!(of(90_061_000_000), "1d 1h");
    }
}
