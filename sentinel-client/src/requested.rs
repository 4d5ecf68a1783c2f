//! The settings that a builder collects.

use std::time::Duration;

use sentinel_core::operation::{Claim, Phase};
use sentinel_core::{Accepts, Cause, ClaimId, Fingerprint, Invalid, Label, Payload, Terms};

use super::causes::inherited;

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

/// What a builder of an execution collects beside its terms. `once` and the facade's `once_in_transaction` have one.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct RequestedExecution {
    pub retention: Option<Duration>,
    pub fingerprint: Option<Result<Fingerprint, Invalid>>,
    pub worker: Option<Result<Label, Invalid>>,
    pub payload_limit: usize,
    pub cause: Option<Cause>,
    pub about: Option<Result<Label, Invalid>>,
}

impl RequestedExecution {
    pub const DEFAULT: Self = Self {
        retention: None,
        fingerprint: None,
        worker: None,
        payload_limit: Payload::DEFAULT_LIMIT,
        cause: None,
        about: None,
    };

    /// The claim of a new call. `worker` is the label unless another one was requested.
    pub fn claim(
        self,
        terms: Terms,
        phase: Phase,
        accepts: Accepts,
        worker: Label,
    ) -> Result<Claim, Invalid> {
        Ok(Claim {
            accepts,
            claim_id: ClaimId::random(),
            terms,
            retention: self.retention,
            fingerprint: self.fingerprint.transpose()?,
            worker: self.worker.transpose()?.unwrap_or(worker),
            phase,
            cause: self.cause.or_else(inherited),
            about: self.about.transpose()?,
        })
    }
}

/// The methods by which a builder sets its [`RequestedExecution`], a field `execution`. The crate that uses this
/// depends on `sentinel-core` and `serde`.
#[doc(hidden)]
#[macro_export]
macro_rules! __execution_settings {
    () => {
        /// How long the result is kept after completion; `None`, the default: without limit. A claim after that is a
        /// new attempt.
        pub fn retention(
            mut self,
            retention: impl ::std::convert::Into<::std::option::Option<::std::time::Duration>>,
        ) -> Self {
            self.execution.retention = retention.into();
            self
        }

        /// Identifies the content of the request by the SHA-256 of its JSON. The same key with another fingerprint is
        /// an error, not a replay. The keys of maps are sorted first, so equal maps have equal fingerprints; a set must
        /// be sorted by the caller.
        pub fn fingerprint(mut self, request: &impl ::serde::Serialize) -> Self {
            self.execution.fingerprint = Some(::sentinel_core::Fingerprint::of_json(request));
            self
        }

        /// Identifies the content of the request by a text of your own.
        pub fn fingerprint_text(mut self, text: impl AsRef<str>) -> Self {
            self.execution.fingerprint = Some(::sentinel_core::Fingerprint::new(text));
            self
        }

        /// Why the call is made: a [`Root`](::sentinel_core::Root), such as `order-42`, or a whole
        /// [`Cause`](::sentinel_core::Cause). The record keeps it, it decides nothing, and all records of a root can
        /// be listed. By default a call inside a run inherits the run's root, with that run as its cause.
        pub fn cause(mut self, cause: impl Into<::sentinel_core::Cause>) -> Self {
            self.execution.cause = Some(cause.into());
            self
        }

        /// What the call is about, for people: 1 to 1024 bytes without control characters. The record shows it, and it
        /// decides nothing.
        pub fn about(mut self, text: impl AsRef<str>) -> Self {
            self.execution.about = Some(::sentinel_core::Label::new(text));
            self
        }

        /// The label that the record shows for this worker, instead of the client's.
        pub fn worker(mut self, label: impl AsRef<str>) -> Self {
            self.execution.worker = Some(::sentinel_core::Label::new(label));
            self
        }

        /// The maximum size of a stored result in bytes. Default 1 MiB. An execution with a larger result still
        /// completes, without its bytes.
        pub fn payload_limit(mut self, bytes: usize) -> Self {
            self.execution.payload_limit = bytes;
            self
        }
    };
}
