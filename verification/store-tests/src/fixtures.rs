//! Requests that tests send to a store, as plain data, and what is expected of its replies.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::{Check, Health};
use sentinel_core::{
    Accepts, Address, Applied, ClaimId, CoordinationStore, ErrorKind, Grant, Key, Kind, Label, Namespace,
    OpId, Payload, RecordedResult, StoreError, Terms, Token,
};

/// The ttl of a call: long enough that no pause of the machine matters.
pub const TTL: Duration = Duration::from_secs(600);
/// The hard ttl of a call.
pub const HARD: Duration = Duration::from_secs(3600);
/// How long a test waits at most for something that must happen.
pub const AT_LAST: Duration = Duration::from_secs(60);
/// How soon a store gives up in a test of that.
pub const SOON: Duration = Duration::from_secs(2);

/// An execution in the namespace `tests`.
pub fn execution(key: &str) -> Address {
    Address::execution(Namespace::new("tests").unwrap(), Key::new(key).unwrap())
}

/// A lease in the namespace `tests`.
pub fn lease(key: &str) -> Address {
    Address { kind: Kind::Lease, ..execution(key) }
}

/// A label.
pub fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

/// A fresh call: claim first, begin later.
pub fn call() -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(TTL, HARD).unwrap(),
        retention: None,
        fingerprint: None,
        worker: label("ann"),
        phase: Phase::Claimed,
        accepts: Accepts::any(),
        cause: None,
        about: None,
    }
}

/// A fresh call that claims and begins at once.
pub fn fused() -> Claim {
    Claim { phase: Phase::Executing, ..call() }
}

/// A successful result.
pub fn result(text: &str) -> RecordedResult {
    RecordedResult::success(Payload::new("text/plain", text.to_owned()))
}

/// A worker records its result.
pub fn complete(grant: Grant, text: &str) -> Complete {
    Complete { grant, result: result(text) }
}

/// A worker reports that its outcome is unknown.
pub fn abandon(grant: Grant) -> Abandon {
    Abandon { grant, cause: label("it broke"), late_effects: Duration::ZERO }
}

/// An operator takes an uncertain key.
pub fn reconcile(expect: Token) -> Reconcile {
    let (op_id, operator) = (OpId::random(), label("ada"));
    Reconcile { op_id, operator, reason: None, expect, even_if_alive: false, steal: false }
}

/// An operator records a result.
pub fn force(token: Token, text: &str) -> ForceComplete {
    let (op_id, operator) = (OpId::random(), label("ada"));
    ForceComplete { op_id, token, operator, reason: None, result: result(text), as_is: false }
}

/// The grant of a reply to a claim.
///
/// # Panics
/// If the claim was not granted.
#[track_caller]
pub fn granted(claim: &Claim, reply: &ClaimReply) -> Grant {
    match reply {
        ClaimReply::Granted(granted) => Grant { token: granted.token, claim_id: claim.claim_id },
        other => panic!("not granted: {other:?}"),
    }
}

/// Sends a claim that must be granted.
pub async fn claimed(store: &dyn CoordinationStore, address: &Address, claim: &Claim) -> Grant {
    granted(claim, &store.claim(address, claim).await.unwrap().reply)
}

/// Claims an address that is free.
pub async fn hold(store: &dyn CoordinationStore, address: &Address, phase: Phase) -> Grant {
    claimed(store, address, &Claim { phase, ..call() }).await
}

/// Checks that a reply was lost, so that the request may have been carried out.
///
/// # Panics
/// If it is another error, or none.
#[track_caller]
pub fn is_ambiguous<T: std::fmt::Debug>(reply: Result<T, StoreError>) {
    let error = reply.expect_err("there is no reply");
    assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply), "{error}");
}

/// Checks that nothing was changed, for this reason.
///
/// # Panics
/// If it is another error, or none.
#[track_caller]
pub fn is_not_applied<T: std::fmt::Debug>(reply: Result<T, StoreError>, error_kind: ErrorKind) {
    let error = reply.expect_err("there is no reply");
    assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{error}");
}

/// What a check of this name found.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn found<'h>(health: &'h Health, name: &str) -> &'h Check {
    let named = health.checks.iter().find(|check| check.name == name);
    named.unwrap_or_else(|| panic!("{name} was not checked: {health:?}"))
}

/// A runtime of one thread.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
