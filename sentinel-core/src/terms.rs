//! The terms of a claim: how long it lasts, how far it can be extended, how late its effects may land.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::address::{has_controls, text_type};
use crate::canonical::canonical_json;
use crate::digest::{hex, sha256};
use crate::error::Invalid;
use crate::time::whole;

/// `ttl`, `hard_ttl` and `late_effects` of a claim, in whole microseconds (a finer part is dropped).
///
/// 10 ms <= ttl <= hard_ttl <= 366 days. A heartbeat extends the lease by `ttl`, and never past `hard_ttl` after the
/// grant. `late_effects` is 0 to 366 days: how long after the end of the run an effect that it caused may still land
/// elsewhere. For example, a provider may book a payment after the caller's timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[serde(into = "Unchecked")]
pub struct Terms {
    ttl: Micros,
    hard_ttl: Micros,
    late_effects: Micros,
}

/// A duration in microseconds, the unit that stores keep. It takes half the bytes of a [`Duration`], and terms are in
/// every record and event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Micros(u64);

impl Micros {
    /// Converts a duration of at most 366 days.
    fn of(duration: Duration) -> Self {
        Self(duration.as_micros() as u64)
    }

    fn get(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Terms> for Unchecked {
    fn from(terms: Terms) -> Self {
        Self { ttl: terms.ttl(), hard_ttl: terms.hard_ttl(), late_effects: terms.late_effects() }
    }
}

/// Terms as they were stored. They may have been damaged since, so they are checked when they are read.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    ttl: Duration,
    hard_ttl: Duration,
    late_effects: Duration,
}

impl TryFrom<Unchecked> for Terms {
    type Error = Invalid;
    fn try_from(Unchecked { ttl, hard_ttl, late_effects }: Unchecked) -> Result<Self, Invalid> {
        Self::new(ttl, hard_ttl)?.with_late_effects(late_effects)
    }
}

impl Terms {
    /// The shortest ttl.
    pub const MIN: Duration = Duration::from_millis(10);
    /// The longest hard ttl.
    pub const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// The default of `late_effects`: one minute.
    pub const DEFAULT_LATE_EFFECTS: Duration = Duration::from_secs(60);

    /// Validates both, with late effects of one minute. Returns an error for a value out of range and for a hard ttl
    /// below the ttl. Values are never adjusted.
    pub fn new(ttl: Duration, hard_ttl: Duration) -> Result<Self, Invalid> {
        if ttl < Self::MIN {
            return Err(Invalid::new("ttl", format!("must be at least 10ms, is {ttl:?}")));
        }
        if ttl > Self::MAX {
            return Err(Invalid::new("ttl", format!("must be at most 366 days, is {}", days(ttl))));
        }
        if hard_ttl < ttl {
            return Err(Invalid::new("hard ttl", format!("is {hard_ttl:?}, below the ttl of {ttl:?}")));
        }
        if hard_ttl > Self::MAX {
            return Err(Invalid::new("hard ttl", format!("must be at most 366 days, is {}", days(hard_ttl))));
        }
        let late_effects = Micros::of(Self::DEFAULT_LATE_EFFECTS);
        Ok(Self { ttl: Micros::of(ttl), hard_ttl: Micros::of(hard_ttl), late_effects })
    }

    /// Sets how long after the end of the run its effects may land. Returns an error above 366 days.
    pub fn with_late_effects(self, at_most: Duration) -> Result<Self, Invalid> {
        Ok(Self { late_effects: Micros::of(late_effects(at_most)?), ..self })
    }

    /// How long the lease lasts without a heartbeat.
    pub fn ttl(&self) -> Duration {
        self.ttl.get()
    }

    /// How long the lease can last with heartbeats.
    pub fn hard_ttl(&self) -> Duration {
        self.hard_ttl.get()
    }

    /// How long after the end of the run its effects may still land.
    pub fn late_effects(&self) -> Duration {
        self.late_effects.get()
    }
}

/// A duration of more than a year, for a message.
fn days(duration: Duration) -> String {
    format!("{:.2} days", duration.as_secs_f64() / 86_400.0)
}

/// Validates `late_effects` of a claim or of an abandon, and drops what is finer than microseconds. Returns an error
/// above 366 days.
pub(crate) fn late_effects(at_most: Duration) -> Result<Duration, Invalid> {
    if at_most > Terms::MAX {
        return Err(Invalid::new("late effects", format!("must be at most 366 days, is {}", days(at_most))));
    }
    Ok(whole(at_most))
}

/// Identifies the content of a request, to distinguish a repetition from another request under the same key: 1 to 1024
/// bytes of UTF-8. Claim and record are compared only if both have one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(SmolStr);

impl Fingerprint {
    /// The longest fingerprint, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Uses a text as it is. Returns an error if it is empty or longer than 1024 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Invalid> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(Invalid::new("fingerprint", format!("must be 1 to 1024 bytes, is {}", text.len())));
        }
        Ok(Self(text.into()))
    }

    /// The SHA-256 of `bytes`, in hexadecimal digits.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hex(&sha256(&[bytes])).into())
    }

    /// The SHA-256 of a request's JSON, with the keys of every object in byte order. Equal maps have equal
    /// fingerprints, regardless of their iteration order. The order of an array counts, so a set must be sorted first.
    /// Returns an error if the request cannot be written as JSON.
    pub fn of_json(request: &impl Serialize) -> Result<Self, Invalid> {
        let invalid = |error| Invalid::new("fingerprint", format!("cannot be computed: {error}"));
        serde_json::to_vec(request).map(|json| Self::of_bytes(&canonical_json(&json))).map_err(invalid)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A short text for people: a worker's or operator's name, a reason, a cause of doubt. 1 to 1024 bytes without control
/// characters. It never affects a decision.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(SmolStr);

impl Label {
    /// The longest label, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Validates a text. Returns an error if it is empty, longer than 1024 bytes, or has control characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Invalid> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(Invalid::new("label", format!("must be 1 to 1024 bytes, is {}", text.len())));
        }
        if has_controls(text) {
            return Err(Invalid::new("label", "may not have control characters"));
        }
        Ok(Self(text.into()))
    }

    /// A label from a text of the program that is known to be valid. Allocates nothing.
    pub(crate) const fn known(text: &'static str) -> Self {
        Self(SmolStr::new_static(text))
    }

    /// Makes a label of a text that a program produced, such as an error or a panic. Control characters become spaces,
    /// a text that is too long is truncated, an empty one becomes `-`.
    pub fn lossy(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if let Ok(label) = Self::new(text) {
            return label;
        }
        let mut clean = String::new();
        for c in text.chars() {
            let c = if c.is_control() { ' ' } else { c };
            if clean.len() + c.len_utf8() > Self::MAX_BYTES {
                break;
            }
            clean.push(c);
        }
        if clean.is_empty() {
            clean.push('-');
        }
        Self(clean.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_type!(Fingerprint);
text_type!(Label);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_refused_never_adjusted() {
        let ms = Duration::from_millis;
        assert!(Terms::new(ms(10), ms(10)).is_ok());
        assert!(Terms::new(ms(9), ms(10)).is_err());
        assert!(Terms::new(ms(11), ms(10)).is_err());
        assert!(Terms::new(ms(10), Terms::MAX).is_ok());
        assert!(Terms::new(ms(10), Terms::MAX + ms(1)).is_err());
        let beyond = Terms::MAX + Duration::from_secs(86_400);
        let message = Terms::new(beyond, beyond).unwrap_err().to_string();
        assert_eq!(message, "ttl must be at most 366 days, is 367.00 days", "the one that the caller set");
        let terms = Terms::new(ms(10), ms(10)).unwrap();
        assert_eq!(terms.late_effects(), Terms::DEFAULT_LATE_EFFECTS);
        assert_eq!(terms.with_late_effects(ms(0)).unwrap().late_effects(), ms(0));
        assert!(terms.with_late_effects(Terms::MAX).is_ok());
        assert!(terms.with_late_effects(Terms::MAX + ms(1)).is_err());
    }

    #[test]
    fn stored_terms_outside_their_limits_are_refused() {
        let read = |ttl: u32, hard: u32| {
            let part = |ms: u32| format!("{{\"secs\":0,\"nanos\":{ms}000000}}");
            let late = "{\"secs\":0,\"nanos\":0}";
            let text =
                format!("{{\"ttl\":{},\"hard_ttl\":{},\"late_effects\":{late}}}", part(ttl), part(hard));
            serde_json::from_str::<Terms>(&text).ok()
        };
        let ms = |ms: u32| Duration::from_millis(ms.into());
        assert_eq!(read(10, 20), Some(Terms::new(ms(10), ms(20)).unwrap().with_late_effects(ms(0)).unwrap()));
        assert_eq!((read(9, 20), read(20, 10)), (None, None));
    }

    #[test]
    fn a_label_equals_its_text_whether_stored_inline_or_not() {
        let text = "a text that is too long to be stored in the label itself";
        assert_eq!(Label::known(text), Label::new(text).unwrap());
        assert_eq!(Label::known("short"), Label::new("short").unwrap());
    }

    #[test]
    fn a_lossy_label_is_always_valid() {
        for text in ["", "a\nb", &"€".repeat(500), "plain"] {
            let label = Label::lossy(text);
            assert_eq!(Label::new(label.as_str()).unwrap(), label);
        }
    }
}
