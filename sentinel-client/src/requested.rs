//! What a request asks for.

use std::time::Duration;

use sentinel_core::{Invalid, Terms};

/// ttl and hard ttl as a builder collects them. The hard ttl defaults to the ttl.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestedTerms {
    pub(crate) ttl: Duration,
    pub(crate) hard_ttl: Option<Duration>,
    pub(crate) late_effects: Duration,
}

impl RequestedTerms {
    pub(crate) const DEFAULT: Self =
        Self { ttl: Duration::from_secs(30), hard_ttl: None, late_effects: Terms::DEFAULT_LATE_EFFECTS };

    pub(crate) fn terms(self) -> Result<Terms, Invalid> {
        Terms::new(self.ttl, self.hard_ttl.unwrap_or(self.ttl))?.with_late_effects(self.late_effects)
    }
}
