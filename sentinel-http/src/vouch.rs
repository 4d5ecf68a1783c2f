//! What a handler states about its own end, as an extension of its response. Extensions cannot come from the network.

use http::Extensions;

/// The effect did not take place and will not: the key becomes free, and the next request runs. For a response whose
/// status alone leaves the outcome open, for example 503 because the provider was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingHappened;

/// The request failed, and would always fail: the response is recorded and replayed, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedForGood;

/// The effect took place: the response is recorded and replayed, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened;

/// What the extensions of a response state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vouched {
    Nothing,
    NothingHappened,
    FailedForGood,
    Happened,
    /// More than one of them.
    Contradiction,
}

impl Vouched {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let nothing_happened = extensions.get::<NothingHappened>().is_some();
        let failed_for_good = extensions.get::<FailedForGood>().is_some();
        let happened = extensions.get::<Happened>().is_some();
        match (nothing_happened, failed_for_good, happened) {
            (false, false, false) => Self::Nothing,
            (true, false, false) => Self::NothingHappened,
            (false, true, false) => Self::FailedForGood,
            (false, false, true) => Self::Happened,
            _ => Self::Contradiction,
        }
    }
}
