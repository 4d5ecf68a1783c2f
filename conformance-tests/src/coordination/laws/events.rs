//! Spec §3, events: exactly one for each transition but heartbeats, and a record's events rebuild it.

use sentinel_core::operation::*;
use sentinel_core::{Change, Event, State, Verdict};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// The one event that the last request appended, which carries that request's stamp.
async fn appended<R>(key: &Subject<'_>, before: usize, reply: Stamped<R>) -> Event {
    let mut events = key.events().await;
    assert_eq!(events.len(), before + 1, "one transition, one event: {events:?}");
    let event = events.pop().expect("the new one");
    let stamp = reply.stamp;
    assert_eq!((event.rev, event.token, event.at), (stamp.rev, stamp.token, stamp.now));
    assert_eq!(event.to, Some(stamp.state));
    key.assert_rebuilt().await;
    event
}

/// Each step of a worker's run appends one event: state before and after, grant, worker, the fields of the claim.
pub(crate) async fn each_step_of_a_run_appends_one_event(context: &LawContext) {
    let key = context.execution("k");
    let ann = Claim { fingerprint: about("a"), retention: Some(KEPT), ..call("ann") };
    let claimed = appended(&key, 0, key.claim(&ann).await).await;
    let change = Change::Claimed {
        terms: ann.terms,
        retention: ann.retention,
        fingerprint: ann.fingerprint,
        accepts: ann.accepts,
        incarnation: claimed.token.get(),
        begun: false,
        cause: None,
        about: None,
    };
    assert_eq!((claimed.change.clone(), claimed.from), (change, None));
    let grant = sentinel_core::Grant { token: claimed.token, claim_id: ann.claim_id };
    let begun = appended(&key, 1, key.begin(grant).await).await;
    assert_eq!((begun.change.clone(), begun.from), (Change::Begun, Some(State::Claimed)));
    let done = appended(&key, 2, key.complete(grant, &result("x")).await).await;
    let change = Change::Completed { verdict: Verdict::Success, code: None, late: false };
    assert_eq!((done.change.clone(), done.from), (change, Some(State::Executing)));
    for event in [claimed, begun, done] {
        assert_eq!((event.claim_id, event.op_id), (Some(ann.claim_id), None));
        assert_eq!((event.worker, event.operator, event.reason), (Some(label("ann")), None, None));
    }
}

/// A fused claim appends one event, which is marked as begun.
pub(crate) async fn a_fused_claim_appends_one_event(context: &LawContext) {
    let key = context.execution("k");
    let event = appended(&key, 0, key.claim(&fused("ann")).await).await;
    assert!(matches!(event.change, Change::Claimed { begun: true, .. }));
    assert_eq!(event.to, Some(State::Executing));
}

/// A release, a vouched release and a cancel each append an event with the worker whose claim it was.
pub(crate) async fn a_release_or_cancel_appends_an_event_with_the_worker(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let released = appended(&key, 1, key.release(grant).await).await;
    assert_eq!(released.change, Change::Released { vouched: false });
    let grant = key.begun(&call("ann")).await;
    let vouched = appended(&key, 4, key.vouch(grant).await).await;
    assert_eq!(vouched.change, Change::Released { vouched: true });
    let grant = key.granted(&call("ann")).await;
    let cancelled = appended(&key, 6, key.cancel(grant.claim_id).await).await;
    assert_eq!(cancelled.change, Change::Cancelled);
    for (event, from) in
        [(released, State::Claimed), (vouched, State::Executing), (cancelled, State::Claimed)]
    {
        assert_eq!((event.from, event.to), (Some(from), Some(State::Free)));
        assert!(event.claim_id.is_some() && event.worker == Some(label("ann")));
    }
}

/// A take-over appends one event, from claimed to claimed.
pub(crate) async fn a_take_over_appends_one_event(context: &LawContext) {
    let key = context.lease("k");
    key.granted(&call("ann")).await;
    context.advance(TTL).await;
    let event = appended(&key, 1, key.claim(&call("bob")).await).await;
    assert_eq!((event.from, event.worker), (Some(State::Claimed), Some(label("bob"))));
}

/// A cancel of an absent key appends an event too: the tombstone has a history.
pub(crate) async fn a_cancel_of_an_absent_key_appends_an_event(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let event = appended(&key, 0, key.cancel(ann.claim_id).await).await;
    assert_eq!((event.change, event.from), (Change::Cancelled, None));
    assert_eq!((event.claim_id, event.worker), (Some(ann.claim_id), None));
}

/// The event of an abandon has its cause.
pub(crate) async fn the_event_of_an_abandon_has_its_cause(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let event = appended(&key, 2, key.abandon(grant, "panicked").await).await;
    let effects_until = event.at.plus(NONE_LATE);
    assert_eq!((event.change, event.reason), (Change::Abandoned { effects_until }, Some(label("panicked"))));
    assert_eq!((event.from, event.to), (Some(State::Executing), Some(State::Executing)));
}

/// Each decision of an operator appends an event with op id, operator and reason.
pub(crate) async fn each_decision_appends_an_event_with_operator_and_reason(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let first = reconcile("olga", doubt.token);
    let taken = appended(&key, 3, key.reconcile(&first).await).await;
    assert_eq!((taken.change, taken.from), (Change::Reconciling, Some(State::Executing)));
    let steal = Reconcile { steal: true, ..reconcile("omar", taken.token) };
    let stolen = appended(&key, 4, key.reconcile(&steal).await).await;
    assert_eq!((stolen.change.clone(), stolen.from), (Change::Reconciling, Some(State::Reconciling)));
    assert_eq!((stolen.op_id, stolen.operator), (Some(steal.op_id), Some(steal.operator)));
    let no = reset("omar", stolen.token);
    let freed = appended(&key, 5, key.reset_to_claimed(&no).await).await;
    assert_eq!((freed.change, freed.op_id, freed.reason), (Change::ResetToClaimed, Some(no.op_id), None));
    let grant = key.granted(&call("bob")).await;
    let out = evict("olga", grant.token);
    let evicted = appended(&key, 7, key.evict(&out).await).await;
    assert_eq!((evicted.change, evicted.from), (Change::Evicted, Some(State::Claimed)));
    assert_eq!((evicted.op_id, evicted.claim_id), (Some(out.op_id), None));
    assert_eq!((taken.op_id, taken.claim_id), (Some(first.op_id), None));
    assert_eq!((taken.operator, taken.reason), (Some(first.operator), first.reason));
}

/// The event of a forced result has its digest; only the record has its bytes.
pub(crate) async fn the_event_of_a_forced_result_has_its_digest(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    let no = sentinel_core::RecordedResult::failure(Some(7), sentinel_core::Payload::empty());
    let event = appended(&key, 4, key.force_complete(&force("olga", token, &no)).await).await;
    let change = Change::ForceCompleted { verdict: Verdict::Failure, code: Some(7), digest: no.digest() };
    assert_eq!((event.change, event.from), (change, Some(State::Reconciling)));
}

/// Refusals and repeats append nothing.
pub(crate) async fn refusals_and_repeats_append_no_event(context: &LawContext) {
    let (key, ann, receipt) = (context.execution("k"), call("ann"), result("x"));
    let grant = key.completed(&ann, &receipt).await;
    let (before, now) = (key.events().await, Current { state: State::Completed, token: grant.token });
    key.claim(&ann).await;
    key.claim(&call("bob")).await;
    key.begin(grant).await;
    key.heartbeat(grant).await;
    key.complete(grant, &receipt).await;
    key.complete(grant, &result("y")).await;
    key.cancel(ann.claim_id).await;
    expect_reply!(key.release(grant).await, ReleaseReply::Superseded(current) if current == now);
    key.abandon(grant, "no").await;
    key.reconcile(&reconcile("olga", grant.token)).await;
    key.evict(&evict("olga", grant.token)).await;
    assert_eq!(key.events().await, before);
}

/// The events of a long life rebuild the record at each step.
pub(crate) async fn a_record_is_rebuilt_from_its_events_at_each_step(context: &LawContext) {
    let key = context.execution("k");
    for n in 0..10 {
        let ann = Claim { fingerprint: about("a"), retention: Some(KEPT), ..call(&format!("w{n}")) };
        let grant = key.granted(&ann).await;
        key.release(grant).await;
        key.assert_rebuilt().await;
    }
    let doubt = key.abandoned(&fused("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.reset_to_claimed(&reset("olga", token)).await;
    key.assert_rebuilt().await;
    let grant = key.granted(&Claim { retention: Some(KEPT), ..call("bob") }).await;
    key.heartbeat(grant).await;
    key.assert_rebuilt().await;
    key.begin(grant).await;
    key.complete(grant, &result("done")).await;
    key.assert_rebuilt().await;
    // The reset was of the life before: this one is another.
    context.advance(KEPT).await;
    key.granted(&call("eve")).await;
    key.assert_rebuilt().await;
}
