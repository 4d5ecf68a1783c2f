//! The requests that a run sends to others, by label: whether one of them may have taken effect.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of the effect of the requests that a run has sent under one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It took place.
    Happened,
    /// It did not take place.
    None,
    /// It may have taken place.
    Unknown,
}

/// All labels of a run.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, Sent>>);

/// The requests of one label.
#[derive(Debug, Default)]
struct Sent {
    /// Requests that have not ended.
    in_flight: u32,
    has_happened: bool,
    /// Whether one has ended, and its effect is not known.
    is_unknown: bool,
}

impl Attempts {
    /// A request is about to be sent.
    pub(crate) fn begin(&self, label: &str) {
        self.lock().entry(label.to_owned()).or_default().in_flight += 1;
    }

    /// A request has ended. Returns the effect of all requests of the label.
    ///
    /// `is_final`: a request without an effect proves that its copies have none, because the other side treats requests
    /// with one key as one.
    pub(crate) fn end(&self, label: &str, own: Effect, is_final: bool) -> Effect {
        let mut attempts = self.lock();
        let sent = attempts.entry(label.to_owned()).or_default();
        sent.in_flight = sent.in_flight.saturating_sub(1);
        match own {
            Effect::Happened => sent.has_happened = true,
            Effect::Unknown => sent.is_unknown = true,
            Effect::None if is_final => sent.is_unknown = false,
            Effect::None => {}
        }
        if sent.has_happened {
            Effect::Happened
        } else if sent.is_unknown || (sent.in_flight > 0 && !is_final) {
            Effect::Unknown
        } else {
            own
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The effect after each of these requests, sent one after the other under one label.
    fn after(ends: &[(Effect, bool)]) -> Vec<Effect> {
        let attempts = Attempts::default();
        let one = |&(own, is_final): &(Effect, bool)| {
            attempts.begin("book");
            attempts.end("book", own, is_final)
        };
        ends.iter().map(one).collect()
    }

    #[test]
    fn an_unknown_effect_stays_unknown_until_one_has_happened() {
        use Effect::{Happened, None, Unknown};
        assert_eq!(after(&[(None, false), (None, false)]), [None, None]);
        assert_eq!(after(&[(Unknown, false), (None, false), (None, false)]), [Unknown, Unknown, Unknown]);
        assert_eq!(after(&[(Unknown, false), (Happened, false)]), [Unknown, Happened]);
        // What has happened is not undone by a copy that was refused or lost.
        assert_eq!(after(&[(Happened, false), (None, false), (Unknown, false)]), [Happened; 3]);
        // The other side vouches for all copies.
        assert_eq!(after(&[(Unknown, false), (None, true), (None, false)]), [Unknown, None, None]);
    }

    #[test]
    fn another_label_is_another_effect() {
        let attempts = Attempts::default();
        attempts.begin("book");
        assert_eq!(attempts.end("book", Effect::Unknown, false), Effect::Unknown);
        attempts.begin("pay");
        assert_eq!(attempts.end("pay", Effect::None, false), Effect::None);
    }

    #[test]
    fn a_copy_that_is_on_its_way_may_take_effect() {
        let attempts = Attempts::default();
        attempts.begin("book");
        attempts.begin("book");
        assert_eq!(attempts.end("book", Effect::None, false), Effect::Unknown);
        // The other one proves that neither had an effect.
        assert_eq!(attempts.end("book", Effect::None, false), Effect::None);
    }
}
