//! Spec §3, claim: the same key must be the same request.

use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// A call about something.
fn asks(worker: &str, request: &str) -> Claim {
    Claim { fingerprint: about(request), ..call(worker) }
}

/// Four records that are not claimable, each about `a`.
async fn unclaimable<'a>(context: &'a LawContext) -> [Subject<'a>; 5] {
    let keys = ["claimed", "running", "uncertain", "held", "done"].map(|name| context.execution(name));
    keys[0].granted(&asks("ann", "a")).await;
    keys[1].begun(&asks("ann", "a")).await;
    keys[2].abandoned(&asks("ann", "a")).await;
    let doubt = keys[3].abandoned(&asks("ann", "a")).await;
    keys[3].taken(&reconcile("olga", doubt.token)).await;
    keys[4].completed(&asks("ann", "a"), &result("secret")).await;
    keys
}

/// Both sides have a fingerprint, the two differ, and the record is not claimable: a mismatch, checked before the
/// state.
pub(crate) async fn another_fingerprint_is_a_mismatch(context: &LawContext) {
    for key in unclaimable(context).await {
        let before = key.record().await;
        expect_reply!(key.claim(&asks("bob", "b")).await, ClaimReply::FingerprintMismatch);
        key.assert_untouched_since(&before).await;
    }
}

/// The same fingerprint gets the reply that the state determines.
pub(crate) async fn the_same_fingerprint_is_not_a_mismatch(context: &LawContext) {
    let [claimed, running, uncertain, held, done] = unclaimable(context).await;
    expect_reply!(claimed.claim(&asks("bob", "a")).await, ClaimReply::InProgress { .. });
    expect_reply!(running.claim(&asks("bob", "a")).await, ClaimReply::InProgress { .. });
    expect_reply!(uncertain.claim(&asks("bob", "a")).await, ClaimReply::Uncertain { .. });
    expect_reply!(held.claim(&asks("bob", "a")).await, ClaimReply::Reconciling { .. });
    expect_reply!(
        done.claim(&asks("bob", "a")).await,
        ClaimReply::Completed { result: got, .. } if got == result("secret")
    );
}

/// It is compared only where both sides have one.
pub(crate) async fn a_missing_fingerprint_matches_any(context: &LawContext) {
    for key in unclaimable(context).await {
        let reply = key.claim(&call("bob")).await.reply;
        assert_ne!(reply, ClaimReply::FingerprintMismatch);
    }
    let plain = context.execution("plain");
    plain.completed(&call("ann"), &result("x")).await;
    expect_reply!(plain.claim(&asks("bob", "b")).await, ClaimReply::Completed { .. });
}

/// The fingerprint of the call that holds the record is compared as well.
pub(crate) async fn a_repeated_claim_with_another_fingerprint_is_a_mismatch(context: &LawContext) {
    let (key, ann) = (context.execution("k"), asks("ann", "a"));
    key.granted(&ann).await;
    expect_reply!(
        key.claim(&Claim { fingerprint: about("b"), ..ann }).await,
        ClaimReply::FingerprintMismatch
    );
}

/// It never blocks a claimable record: lapsed, free or past retention, another request claims it and replaces it.
pub(crate) async fn a_claimable_key_accepts_any_fingerprint(context: &LawContext) {
    let (lapsed, free, past) =
        (context.execution("lapsed"), context.execution("free"), context.execution("past"));
    lapsed.granted(&asks("ann", "a")).await;
    let grant = free.granted(&asks("ann", "a")).await;
    free.release(grant).await;
    past.completed(&Claim { retention: Some(KEPT), ..asks("ann", "a") }, &result("x")).await;
    context.advance(KEPT).await;
    for key in [lapsed, free, past] {
        key.granted(&asks("bob", "b")).await;
        assert_eq!(key.record().await.fingerprint, about("b"));
        expect_reply!(key.claim(&asks("eve", "a")).await, ClaimReply::FingerprintMismatch);
        expect_reply!(key.claim(&asks("eve", "b")).await, ClaimReply::InProgress { .. });
    }
}

/// Fingerprints are compared byte by byte, to the last.
pub(crate) async fn fingerprints_are_compared_byte_by_byte(context: &LawContext) {
    let long = "f".repeat(1023);
    let (key, ours) = (context.execution("k"), format!("{long}a"));
    key.granted(&asks("ann", &ours)).await;
    for other in [format!("{long}b"), format!("{long}A"), long, "a".into()] {
        expect_reply!(key.claim(&asks("bob", &other)).await, ClaimReply::FingerprintMismatch);
    }
    expect_reply!(key.claim(&asks("bob", &ours)).await, ClaimReply::InProgress { .. });
}

/// A lease may have one too.
pub(crate) async fn a_lease_has_its_fingerprint_compared(context: &LawContext) {
    let lease = context.lease("k");
    lease.granted(&asks("ann", "a")).await;
    expect_reply!(lease.claim(&asks("bob", "b")).await, ClaimReply::FingerprintMismatch);
    context.advance(TTL).await;
    lease.granted(&asks("bob", "b")).await;
}
