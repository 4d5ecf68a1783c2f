//! The input of a probe and its possible findings.

use std::time::Duration;

use sentinel_core::{Fingerprint, Key, Label, Payload, RecordedResult, StoreTime, Token, Verdict};
use serde::Serialize;

use super::super::outcome::CodecError;

/// An uncertain key, as a probe receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainKey {
    /// The key.
    pub key: Key,
    /// The idempotency key that the worker sent to the provider: use it to find the request there.
    pub idempotency_key: String,
    /// The fingerprint of the request.
    pub fingerprint: Option<Fingerprint>,
    /// The label of the worker that ran it.
    pub worker: Option<Label>,
    /// When the side effect may have begun, by the store's clock.
    pub begun_at: Option<StoreTime>,
    /// Why the outcome is unknown, if the worker reported it.
    pub doubt: Option<Label>,
    /// The token of the uncertain run.
    pub token: Token,
    /// Whether this reconciler has already taken the key, so that the old worker is fenced out.
    pub fenced: bool,
    /// How long the key has been in doubt, by the store's clock.
    pub age: Duration,
    /// Whether an effect of the run may still land. While it may, only a success is recorded.
    pub effects_may_land: bool,
}

/// What a probe found. The evidence is recorded in the event of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The work happened, with this result. A success is recorded at once; a failure only under the conditions of
    /// [`DidNotHappen`](Self::DidNotHappen).
    Happened {
        /// The result to replay from now on.
        result: RecordedResult,
        /// How this is known.
        evidence: Label,
    },
    /// The work did not happen: the key is reset, and any call can run it again. The finding counts only if two probes
    /// agree, both made after the last effect may have landed, and at least the grace apart.
    DidNotHappen {
        /// How this is known.
        evidence: Label,
    },
    /// The outcome is still unknown. The key is probed again later, with growing pauses.
    StillUnknown,
}

impl ProbeResult {
    /// The work happened, with this value as JSON. Returns an error if the value cannot be encoded.
    pub fn happened<T: Serialize>(value: &T, evidence: impl AsRef<str>) -> Result<Self, CodecError> {
        let result = RecordedResult::success(Payload::new(Payload::JSON, serde_json::to_vec(value)?));
        Ok(Self::Happened { result, evidence: Label::lossy(evidence) })
    }

    /// The work did not happen.
    pub fn did_not_happen(evidence: impl AsRef<str>) -> Self {
        Self::DidNotHappen { evidence: Label::lossy(evidence) }
    }
}

impl ProbeResult {
    /// Whether the finding is a success. An observed effect proves itself, so a success may be recorded at any time.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Happened { result, .. } if result.verdict == Verdict::Success)
    }

    /// Whether a second probe found the same.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::DidNotHappen { .. }, Self::DidNotHappen { .. }) => true,
            (Self::Happened { result, .. }, Self::Happened { result: before, .. }) => result == before,
            _ => false,
        }
    }

    /// The evidence of the finding.
    pub(super) fn evidence(&self) -> Label {
        match self {
            Self::Happened { evidence, .. } | Self::DidNotHappen { evidence } => evidence.clone(),
            Self::StillUnknown => Label::lossy("unknown"),
        }
    }
}
