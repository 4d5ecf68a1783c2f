//! Failure messages of laws: times are printed from the start of the law on, in place of microseconds since 1970.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use sentinel_core::StoreTime;

/// When a law started, by its store's clock. Set for the threads that work for the law.
#[derive(Debug, Clone, Default)]
pub(crate) struct LawStart(Arc<OnceLock<StoreTime>>);

thread_local! {
    static START: RefCell<Option<LawStart>> = const { RefCell::new(None) };
}

impl LawStart {
    /// From now on, panics of this thread print times relative to this start.
    pub(crate) fn applies_here(&self) {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let other = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if SILENT.get() || !print(panic) {
                    other(panic);
                }
            }));
        });
        START.with_borrow_mut(|start| *start = Some(self.clone()));
    }

    /// Sets the start, once.
    pub(crate) fn is(&self, now: StoreTime) {
        self.0.get_or_init(|| now);
    }

    /// This thread no longer works for the law.
    pub(crate) fn is_over() {
        START.with_borrow_mut(Option::take);
    }
}

thread_local! {
    static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs a check that may panic. A panic of this thread is returned and not printed.
pub fn quietly(check: impl FnOnce()) -> std::thread::Result<()> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                previous(panic);
            }
        }));
    });
    SILENT.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    SILENT.set(false);
    result
}

/// Prints a panic of a law, and returns whether it was one.
#[expect(clippy::print_stderr, reason = "the message of a test that fails")]
fn print(panic: &PanicHookInfo<'_>) -> bool {
    let start = START.with_borrow(|start| start.as_ref().and_then(|start| start.0.get().copied()));
    let (Some(start), Some(message)) = (start, panic.payload_as_str()) else { return false };
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed").to_owned();
    eprintln!("\nthread '{name}' panicked at {location}:\n{}", relative(message, start));
    eprintln!("note: `start+5s` is 5 s after the start of the law, by the clock of the store");
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        eprintln!("{trace}");
    }
    true
}

/// A text with its store times counted from the start.
fn relative(text: &str, start: StoreTime) -> String {
    const NAME: &str = "StoreTime(";
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(at) = rest.find(NAME) {
        let behind = &rest[at + NAME.len()..];
        let digits = behind.trim_start();
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let close = digits[count..].trim_start_matches([',', ' ', '\n']);
        let (time, Some(close)) = (digits[..count].parse().ok(), close.strip_prefix(')')) else {
            out.push_str(&rest[..at + NAME.len()]);
            rest = behind;
            continue;
        };
        out.push_str(&rest[..at]);
        match time.map(StoreTime::from_micros) {
            Some(time) if time != StoreTime::ZERO => out.push_str(&from_start(time, start)),
            _ => out.push_str("never"),
        }
        rest = close;
    }
    out.push_str(rest);
    out
}

/// `start+5s`, `start-1.5s`.
fn from_start(time: StoreTime, start: StoreTime) -> String {
    let (sign, by): (char, Duration) =
        if time >= start { ('+', time.since(start)) } else { ('-', start.since(time)) };
    let mut text = String::from("start");
    // Writing to a String cannot fail.
    let _ = write!(text, "{sign}{}", by.as_secs());
    if by.subsec_micros() > 0 {
        let _ = write!(text, ".{:06}", by.subsec_micros());
    }
    text + "s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_from_the_start_on() {
        let start = StoreTime::from_micros(1_800_000_000_000_000);
        let at = |micros: u64| format!("{:?}", StoreTime::from_micros(micros));
        let message = |text: &str| relative(text, start);
        assert_eq!(message(&at(1_800_000_600_000_000)), "start+600s");
        assert_eq!(message(&at(1_799_999_999_500_000)), "start-0.500000s");
        assert_eq!(
            message(&format!("{:#?}", StoreTime::from_micros(1_800_000_000_000_001))),
            "start+0.000001s"
        );
        assert_eq!(message(&at(0)), "never");
        assert_eq!(message("a StoreTime( b, StoreTime(x) and 1800"), "a StoreTime( b, StoreTime(x) and 1800");
        let two = format!("{} then {}", at(1_800_000_000_000_000), at(1_800_000_001_000_000));
        assert_eq!(message(&two), "start+0s then start+1s");
    }
}
