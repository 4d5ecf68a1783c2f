//! Spec §3, complete.

use sentinel_core::operation::*;
use sentinel_core::{Payload, RecordedResult, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Executing, match: completed, with the result.
pub(crate) async fn an_execution_completes(context: &LawContext) {
    let (key, ann, receipt) = (context.execution("k"), call("ann"), result("receipt"));
    let grant = key.begun(&ann).await;
    let reply = key.complete(grant, &receipt).await;
    let now = reply.stamp.now;
    assert!(reply.stamp.changed);
    expect_reply!(reply, CompleteReply::Recorded { late: false });
    let record = key.record().await;
    assert_eq!((record.state, record.completed_at), (State::Completed, Some(now)));
    assert_eq!((record.result, record.claim_id), (Some(receipt), Some(ann.claim_id)));
    assert_eq!(record.token, grant.token, "completing draws no token");
}

/// Completed, match, same bytes: the same reply, now or late.
pub(crate) async fn a_repeated_complete_gets_the_same_reply(context: &LawContext) {
    let (key, receipt) = (context.execution("k"), result("receipt"));
    let grant = key.completed(&call("ann"), &receipt).await;
    let before = key.record().await;
    for _ in 0..3 {
        context.advance(HARD).await;
        let reply = key.complete(grant, &receipt).await;
        assert!(!reply.stamp.changed);
        expect_reply!(reply, CompleteReply::Recorded { late: false });
    }
    key.assert_untouched_since(&before).await;
}

/// The same grant with other bytes, verdict, code or type: Conflict; the first result is kept.
pub(crate) async fn another_result_is_a_conflict(context: &LawContext) {
    let (key, receipt) = (context.execution("k"), result("receipt"));
    let grant = key.completed(&call("ann"), &receipt).await;
    let payload = || receipt.payload.clone();
    let others = [
        result("receipt "),
        RecordedResult::failure(None, payload()),
        RecordedResult { code: Some(0), ..receipt.clone() },
        RecordedResult { omitted: true, ..receipt.clone() },
        RecordedResult::success(Payload { content_type: label("text/html"), ..payload() }),
    ];
    for other in others {
        expect_reply!(key.complete(grant, &other).await, CompleteReply::Conflict);
    }
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == receipt);
}

/// A lapsed execution completes, and the reply reports that it was late.
pub(crate) async fn a_lapsed_execution_completes_late(context: &LawContext) {
    for wait in [TTL, HARD, HARD * 100] {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.begun(&call("ann")).await;
        context.advance(wait).await;
        expect_reply!(key.complete(grant, &result("late")).await, CompleteReply::Recorded { late: true });
        expect_reply!(key.complete(grant, &result("late")).await, CompleteReply::Recorded { late: true });
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
    }
}

/// The event is marked late too.
pub(crate) async fn the_event_of_a_late_completion_is_marked_late(context: &LawContext) {
    for (name, wait, expected) in [("in time", HALF, false), ("late", TTL, true)] {
        let key = context.execution(name);
        let grant = key.begun(&call("ann")).await;
        context.advance(wait).await;
        key.complete(grant, &result("done")).await;
        let last = key.events().await.pop().expect("an event");
        assert!(matches!(last.change, sentinel_core::Change::Completed { late, .. } if late == expected));
    }
}

/// An execution that a heartbeat revived is not late.
pub(crate) async fn a_revived_execution_is_not_late(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    context.advance(TTL).await;
    key.heartbeat(grant).await;
    expect_reply!(key.complete(grant, &result("done")).await, CompleteReply::Recorded { late: false });
}

/// The worker that holds the grant may complete an abandoned execution until an operator takes it.
pub(crate) async fn an_abandoned_execution_completes(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.abandoned(&call("ann")).await;
    expect_reply!(key.complete(grant, &result("it did")).await, CompleteReply::Recorded { late: true });
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
}

/// Claimed: not begun, live or lapsed.
pub(crate) async fn a_claim_that_has_not_begun_does_not_complete(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let before = key.record().await;
    expect_reply!(key.complete(grant, &result("done")).await, CompleteReply::NotBegun);
    context.advance(TTL).await;
    expect_reply!(key.complete(grant, &result("done")).await, CompleteReply::NotBegun);
    key.assert_untouched_since(&before).await;
}

/// Token and claim id must both be the record's.
pub(crate) async fn another_grant_does_not_complete(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let before = key.record().await;
    let now = Current { state: State::Executing, token: grant.token };
    for wrong in [other_id(grant), older(grant)] {
        let reply = key.complete(wrong, &result("stolen")).await;
        expect_reply!(reply, CompleteReply::Superseded(current) if current == now);
    }
    key.assert_untouched_since(&before).await;
}

/// Once completed, another grant is superseded, even with the same bytes.
pub(crate) async fn another_grant_does_not_repeat_a_completion(context: &LawContext) {
    let (key, receipt) = (context.execution("k"), result("receipt"));
    let grant = key.completed(&call("ann"), &receipt).await;
    for wrong in [other_id(grant), older(grant)] {
        expect_reply!(key.complete(wrong, &receipt).await,
            CompleteReply::Superseded(current) if current.state == State::Completed);
    }
}

/// An operator who took the key has fenced the worker out.
pub(crate) async fn an_execution_taken_by_an_operator_does_not_complete(context: &LawContext) {
    let key = context.execution("k");
    let lost = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", lost.token)).await;
    let before = key.record().await;
    let now = Current { state: State::Reconciling, token };
    expect_reply!(key.complete(lost, &result("late")).await, CompleteReply::Superseded(c) if c == now);
    key.assert_untouched_since(&before).await;
}

/// A released, evicted or reset run does not complete, and the run after it keeps its own result.
pub(crate) async fn a_run_that_ended_does_not_complete(context: &LawContext) {
    let key = context.execution("k");
    let lost = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", lost.token)).await;
    key.reset_to_claimed(&reset("olga", token)).await;
    expect_reply!(key.complete(lost, &result("old")).await,
        CompleteReply::Superseded(current) if current.state == State::Free);
    let next = key.begun(&call("bob")).await;
    expect_reply!(key.complete(lost, &result("old")).await, CompleteReply::Superseded(_));
    expect_reply!(key.complete(next, &result("new")).await, CompleteReply::Recorded { .. });
    expect_reply!(key.claim(&call("eve")).await, ClaimReply::Completed { result: got, .. } if got == result("new"));
}

/// Nothing completes on an address that has no record.
pub(crate) async fn an_absent_key_does_not_complete(context: &LawContext) {
    let (key, other) = (context.execution("k"), context.execution("other"));
    let grant = other.begun(&call("ann")).await;
    expect_reply!(key.complete(grant, &result("done")).await, CompleteReply::Superseded(_));
    assert!(key.record().await.is_absent());
}

/// A failure that is recorded for good is replayed as that failure, with its code.
pub(crate) async fn a_recorded_failure_is_replayed_as_a_failure(context: &LawContext) {
    let key = context.execution("k");
    let declined = RecordedResult::failure(Some(-402), Payload::new(Payload::JSON, "\"declined\""));
    key.completed(&call("ann"), &declined).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == declined);
}
