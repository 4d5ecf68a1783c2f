//! The data that the laws use: calls of workers, decisions of operators, results. All plain data; a law varies them
//! with struct update syntax.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::VisibleState;
use sentinel_core::{
    Accepts, ClaimId, Fingerprint, Grant, Label, OpId, PURGE_REST, Payload, Record, RecordedResult, Terms,
    Token,
};

use crate::coordination::law_context::Subject;

/// The states that a page can be filtered by.
pub(crate) const STATES: [VisibleState; 6] = [
    VisibleState::Free,
    VisibleState::Claimed,
    VisibleState::Executing,
    VisibleState::Uncertain,
    VisibleState::Completed,
    VisibleState::Reconciling,
];
/// The ttl of a call: long enough that no pause of the machine matters.
pub(crate) const TTL: Duration = Duration::from_secs(10 * 60);
/// The hard ttl of a call.
pub(crate) const HARD: Duration = Duration::from_secs(60 * 60);
/// No effect is late, unless a law is about late effects.
pub(crate) const NONE_LATE: Duration = Duration::ZERO;
/// How late an effect may land where a law is about that.
pub(crate) const LATE: Duration = Duration::from_secs(2 * 60 * 60);
/// Half a ttl: a grant is live then.
pub(crate) const HALF: Duration = Duration::from_secs(5 * 60);
/// The retention of a result that has one.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// More than the time without change after which a record may be purged.
pub(crate) const REST: Duration = Duration::from_secs(PURGE_REST.as_secs() + 600);

/// Panics unless a reply matches the pattern; returns what the pattern binds.
macro_rules! expect_reply {
    ($stamped:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $stamped.reply {
            $pattern $(if $guard)? => $value,
            other => panic!(
                "`{}`: expected {}, got {other:?}",
                stringify!($stamped),
                stringify!($pattern $(if $guard)?)
            ),
        }
    };
    ($stamped:expr, $pattern:pat $(if $guard:expr)?) => {
        expect_reply!($stamped, $pattern $(if $guard)? => ())
    };
}
pub(crate) use expect_reply;

/// A fresh call by a worker: claim first, begin later.
pub(crate) fn call(worker: &str) -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(TTL, HARD).and_then(|terms| terms.with_late_effects(NONE_LATE)).expect("terms"),
        retention: None,
        fingerprint: None,
        accepts: Accepts::new(["text/plain", Payload::JSON, Payload::OCTETS]).expect("content types"),
        worker: label(worker),
        phase: Phase::Claimed,
        cause: None,
        about: None,
    }
}

/// A fresh call by a worker that claims and begins at once.
pub(crate) fn fused(worker: &str) -> Claim {
    Claim { phase: Phase::Executing, ..call(worker) }
}

/// A fingerprint.
pub(crate) fn about(request: &str) -> Option<Fingerprint> {
    Some(Fingerprint::new(request).expect("a fingerprint"))
}

/// A key.
pub(crate) fn key(text: &str) -> sentinel_core::Key {
    sentinel_core::Key::new(text).expect("a key")
}

/// A label.
pub(crate) fn label(text: &str) -> Label {
    Label::new(text).expect("a label")
}

/// A successful result.
pub(crate) fn result(text: &str) -> RecordedResult {
    RecordedResult::success(Payload::new("text/plain", text.to_owned()))
}

/// A successful result that the callers of [`call`] cannot decode.
pub(crate) fn picture() -> RecordedResult {
    RecordedResult::success(Payload::new("image/png", &b"\x89PNG"[..]))
}

/// An operator takes an uncertain key.
pub(crate) fn reconcile(operator: &str, seen: Token) -> Reconcile {
    Reconcile {
        op_id: OpId::random(),
        operator: label(operator),
        reason: Some(label("asked the provider")),
        expect: seen,
        even_if_alive: false,
        steal: false,
    }
}

/// An operator decides that the effect happened.
pub(crate) fn force(operator: &str, token: Token, result: &RecordedResult) -> ForceComplete {
    ForceComplete {
        op_id: OpId::random(),
        token,
        operator: label(operator),
        reason: Some(label("found the receipt")),
        result: result.clone(),
        as_is: false,
    }
}

/// An operator decides that the effect did not happen.
pub(crate) fn reset(operator: &str, token: Token) -> ResetToClaimed {
    ResetToClaimed {
        op_id: OpId::random(),
        token,
        operator: label(operator),
        reason: None,
        accept_overlap: false,
    }
}

/// An operator frees a claim.
pub(crate) fn evict(operator: &str, seen: Token) -> Evict {
    Evict { op_id: OpId::random(), operator: label(operator), reason: None, expect: seen }
}

/// Another holder's claim id under the same token: what a failover can leave behind.
pub(crate) fn other_id(grant: Grant) -> Grant {
    Grant { claim_id: ClaimId::random(), ..grant }
}

/// The same claim id under the token before.
pub(crate) fn older(grant: Grant) -> Grant {
    Grant { token: Token::from_stored(grant.token.get() - 1), ..grant }
}

impl Subject<'_> {
    /// A claim that must be granted.
    pub(crate) async fn granted(&self, claim: &Claim) -> Grant {
        let granted = expect_reply!(self.claim(claim).await, ClaimReply::Granted(granted) => granted);
        Grant { token: granted.token, claim_id: claim.claim_id }
    }

    /// A claim that must be granted, and begun.
    pub(crate) async fn begun(&self, claim: &Claim) -> Grant {
        let grant = self.granted(claim).await;
        expect_reply!(self.begin(grant).await, BeginReply::Begun(_));
        grant
    }

    /// An execution that must be completed.
    pub(crate) async fn completed(&self, claim: &Claim, result: &RecordedResult) -> Grant {
        let grant = self.begun(claim).await;
        expect_reply!(self.complete(grant, result).await, CompleteReply::Recorded { late: false });
        grant
    }

    /// An execution that its worker abandoned: uncertain at once, its hard deadline over.
    pub(crate) async fn abandoned(&self, claim: &Claim) -> Grant {
        let grant = self.begun(claim).await;
        expect_reply!(self.abandon(grant, "lost contact").await, AbandonReply::Abandoned);
        grant
    }

    /// A reconcile that must be granted; returns the reconcile token.
    pub(crate) async fn taken(&self, decision: &Reconcile) -> Token {
        expect_reply!(self.reconcile(decision).await, ReconcileReply::Taken { token, .. } => token)
    }

    /// Nothing about the record changed since it was read.
    pub(crate) async fn assert_untouched_since(&self, before: &Record) {
        let what = "a request that does not match changes nothing, and the record differs";
        crate::diff::same(what, before, &self.record().await);
    }
}
