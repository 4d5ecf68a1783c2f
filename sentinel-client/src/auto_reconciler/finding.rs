//! What a probe is shown, and what it may find.

use std::time::Duration;

use sentinel_core::{Fingerprint, Key, Label, Payload, Recorded, StoreTime, Token, Verdict};
use serde::Serialize;

use super::super::codec::CodecError;

/// A key in doubt, as a probe is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainKey {
    /// The key.
    pub key: Key,
    /// The key under which the worker asked the provider: look there for it.
    pub idempotency_key: String,
    /// What the request was about.
    pub fingerprint: Option<Fingerprint>,
    /// Who ran it.
    pub worker: Option<Label>,
    /// When the side effect may have begun, by the store's clock.
    pub begun_at: Option<StoreTime>,
    /// Why there is doubt, if the worker reported it.
    pub doubt: Option<Label>,
    /// The token in doubt.
    pub token: Token,
    /// Whether the key is held by this loop already: the old worker is fenced out.
    pub fenced: bool,
    /// How long the key has been in doubt, by the store's clock.
    pub age: Duration,
    /// Whether an effect of the run may still land. As long as it may, only a success is recorded.
    pub effects_may_land: bool,
}

/// What a probe found. The event of the decision keeps the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It happened, and this is to be replayed.
    Happened {
        /// The result.
        result: Recorded,
        /// How that is known.
        evidence: Label,
    },
    /// It did not happen: anyone may run it again. Counts only if two looks agree, both made after the last effect may
    /// have landed and the grace apart. So does a failure in [`Happened`](Self::Happened).
    DidNotHappen {
        /// How that is known.
        evidence: Label,
    },
    /// Still unknown: the probe is asked again later, with growing pauses.
    StillUnknown,
}

impl Finding {
    /// It happened, with this result as JSON.
    pub fn happened<T: Serialize>(value: &T, evidence: impl AsRef<str>) -> Result<Self, CodecError> {
        let result = Recorded::success(Payload::new(Payload::JSON, serde_json::to_vec(value)?));
        Ok(Self::Happened { result, evidence: Label::lossy(evidence) })
    }

    /// It did not happen.
    pub fn did_not_happen(evidence: impl AsRef<str>) -> Self {
        Self::DidNotHappen { evidence: Label::lossy(evidence) }
    }
}

impl Finding {
    /// Whether an effect that is seen proves it: a success may be recorded at any time.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Happened { result, .. } if result.verdict == Verdict::Success)
    }

    /// Whether a second look found the same.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::DidNotHappen { .. }, Self::DidNotHappen { .. }) => true,
            (Self::Happened { result, .. }, Self::Happened { result: before, .. }) => result == before,
            _ => false,
        }
    }

    /// How it is known.
    pub(super) fn evidence(&self) -> Label {
        match self {
            Self::Happened { evidence, .. } | Self::DidNotHappen { evidence } => evidence.clone(),
            Self::StillUnknown => Label::lossy("unknown"),
        }
    }
}
