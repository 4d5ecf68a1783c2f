//! Counterexamples that the model found when a rule was removed: the shortest trace of each, run against a store.

use std::sync::Arc;

use sentinel_core::operation::*;
use sentinel_core::{Grant, State};
use tokio::sync::Barrier;

use super::Fence;
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Two calls of one worker shared the claim id `host:pid:thread`. Each accepted the reply to the other, and both ran
/// (I1, I3). A claim id identifies one call: each repetition gets the same grant and records the same result, and once
/// it is released the id is refused. Two calls with different ids are distinct.
pub(crate) async fn calls_that_share_a_claim_id_share_one_grant(context: &LawContext) {
    let (shared, apart) = (context.execution("shared"), context.execution("apart"));
    let ann = fused("host:1:7");
    let twin = Claim { worker: label("host:1:7, again"), ..ann.clone() };
    let (first, second) = (shared.granted(&ann).await, shared.claim(&twin).await);
    assert!(!second.stamp.changed, "one id draws one token");
    expect_reply!(second, ClaimReply::Granted(granted) if granted.token == first.token);
    expect_reply!(shared.complete(first, &result("mine")).await, CompleteReply::Recorded { late: false });
    expect_reply!(shared.complete(first, &result("my twin's")).await, CompleteReply::Conflict);
    expect_reply!(shared.claim(&twin).await, ClaimReply::Completed { result: got, .. } if got == result("mine"));

    let ours = apart.granted(&ann).await;
    expect_reply!(apart.claim(&fused("host:1:7")).await, ClaimReply::InProgress { .. });
    expect_reply!(apart.vouch(ours).await, ReleaseReply::Released);
    expect_reply!(apart.claim(&twin).await, ClaimReply::AlreadyReleased);
}

/// The first attempt of a call got no reply and its receiver was dropped; the call sent the claim again, was granted,
/// and ran. A pool then released the grant of the dropped receiver: it was the grant that was running, and the freed
/// key ran twice (I1). An execution is not released without vouching; a claim that has not begun is released, and then
/// cannot begin.
pub(crate) async fn a_release_for_a_dropped_caller_does_not_free_a_running_key(context: &LawContext) {
    let (running, waiting) = (context.execution("running"), context.execution("waiting"));
    let ann = fused("ann");
    let dropped = running.granted(&ann).await;
    let received = running.granted(&ann).await;
    assert_eq!(dropped, received, "two attempts of one call hold one grant");
    let before = running.record().await;
    expect_reply!(running.release(dropped).await, ReleaseReply::MayHaveRun);
    running.assert_untouched_since(&before).await;
    expect_reply!(running.claim(&fused("bob")).await, ClaimReply::InProgress { state: State::Executing, .. });
    expect_reply!(running.complete(received, &result("once")).await, CompleteReply::Recorded { late: false });

    let ann = call("ann");
    let dropped = waiting.granted(&ann).await;
    let received = waiting.granted(&ann).await;
    expect_reply!(waiting.release(dropped).await, ReleaseReply::Released);
    let bob = waiting.begun(&call("bob")).await;
    expect_reply!(waiting.begin(received).await, BeginReply::Superseded(now) if now.token == bob.token);
}

/// An operator's reconcile of the first run was delayed. Meanwhile another operator reset the key and the next run
/// began; the late request took that run from its worker, and its result was lost (I8). A decision names the token that
/// the operator read, and applies to no other run, whatever its flags.
pub(crate) async fn a_late_reconcile_does_not_take_a_newer_run(context: &LawContext) {
    let key = context.execution("k");
    let first = key.abandoned(&call("ann")).await;
    let late = Reconcile { even_if_alive: true, steal: true, ..reconcile("olga", first.token) };
    let taken = key.taken(&reconcile("omar", first.token)).await;
    expect_reply!(key.reset_to_claimed(&reset("omar", taken)).await, ResetReply::Reset { .. });
    let second = key.begun(&call("bob")).await;
    for wait in [HALF, HARD] {
        let before = key.record().await;
        expect_reply!(key.reconcile(&late).await, ReconcileReply::StaleDecision(now) if now.token == second.token);
        key.assert_untouched_since(&before).await;
        context.advance(wait).await;
    }
    expect_reply!(key.complete(second, &result("bob's")).await, CompleteReply::Recorded { late: true });
    expect_reply!(key.reconcile(&late).await, ReconcileReply::StaleDecision(_));
    expect_reply!(key.claim(&call("eve")).await, ClaimReply::Completed { result: got, .. } if got == result("bob's"));
}

/// A worker claimed with a fingerprint and died before it began. Every other request got a mismatch from then on: an
/// orphan that blocks for more than its ttl (L3). A fingerprint protects what is held or completed, never a lapsed
/// claim, a tombstone or a result past its retention.
pub(crate) async fn a_fingerprint_does_not_block_a_lapsed_claim(context: &LawContext) {
    let other = || Claim { fingerprint: about("another request"), ..call("bob") };
    for key in [context.execution("k"), context.lease("k")] {
        let ann = Claim { fingerprint: about("a request"), ..call("ann") };
        key.granted(&ann).await;
        expect_reply!(key.claim(&other()).await, ClaimReply::FingerprintMismatch);
        context.advance(TTL).await;
        let bob = key.granted(&other()).await;
        expect_reply!(key.release(bob).await, ReleaseReply::Released);
        key.granted(&Claim { fingerprint: about("a third one"), ..call("eve") }).await;
    }
    let done = context.execution("done");
    let ann = Claim { fingerprint: about("a request"), retention: Some(KEPT), ..call("ann") };
    done.completed(&ann, &result("receipt")).await;
    expect_reply!(done.claim(&other()).await, ClaimReply::FingerprintMismatch);
    context.advance(KEPT).await;
    done.granted(&other()).await;
}

/// The reply to a begin was lost; the worker guessed that it had begun and ran, but the begin had not arrived, and
/// another took the claim over (I1). A worker sends the begin again and gets the same reply; or it cancels, and then a
/// begin that arrives later is refused.
pub(crate) async fn an_ambiguous_begin_is_repeated_or_cancelled(context: &LawContext) {
    let (settled, withdrawn) = (context.execution("settled"), context.execution("withdrawn"));
    let grant = settled.granted(&call("ann")).await;
    let dropped = settled.begin(grant).await;
    let again = settled.begin(grant).await;
    assert!(dropped.stamp.changed && !again.stamp.changed);
    assert_eq!(dropped.reply, again.reply);
    assert_eq!(settled.changes().await, ["claimed", "begun"]);

    let ann = call("ann");
    let grant = withdrawn.granted(&ann).await;
    expect_reply!(withdrawn.cancel(ann.claim_id).await, CancelReply::Cancelled);
    expect_reply!(withdrawn.begin(grant).await, BeginReply::Superseded(now) if now.state == State::Free);
    let bob = withdrawn.begun(&call("bob")).await;
    let before = withdrawn.record().await;
    expect_reply!(withdrawn.begin(grant).await, BeginReply::Superseded(now) if now.token == bob.token);
    withdrawn.assert_untouched_since(&before).await;
}

/// A call got no reply to its claim, read the key, found it absent, and reported to its user that nothing would run.
/// Then the claim arrived and held the key as an execution without a caller (I6), which became uncertain. A read does
/// not withdraw a claim; a cancel does, also if it arrives before its claim.
pub(crate) async fn a_read_does_not_replace_the_cancel_of_a_lost_claim(context: &LawContext) {
    for (key, ann) in [(context.execution("k"), fused("ann")), (context.lease("k"), call("ann"))] {
        assert!(key.record().await.is_absent(), "the claim is still under way");
        expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        assert_eq!(key.record().await.state, State::Free);
        key.granted(&call("bob")).await;
    }
}

/// A claim was granted and released, and then delivered once more by the network: it held the key without a caller, and
/// as a fused claim it left an uncertain key without any run (I6). The ids of claims that were released, cancelled or
/// evicted are remembered.
pub(crate) async fn a_late_duplicate_of_a_claim_is_refused(context: &LawContext) {
    for way in ["cancelled", "vouched", "reset"] {
        let (key, ann) = (context.execution(way), fused("ann"));
        let grant = key.granted(&ann).await;
        match way {
            "cancelled" => expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled),
            "vouched" => expect_reply!(key.vouch(grant).await, ReleaseReply::Released),
            _ => {
                expect_reply!(key.abandon(grant, "lost contact").await, AbandonReply::Abandoned);
                let taken = key.taken(&reconcile("olga", grant.token)).await;
                expect_reply!(key.reset_to_claimed(&reset("olga", taken)).await, ResetReply::Reset { .. });
            }
        }
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        let bob = key.granted(&fused("bob")).await;
        expect_reply!(key.complete(bob, &result("bob's")).await, CompleteReply::Recorded { late: false });
    }
}

/// A call cancelled its claim; the cancel was delayed, arrived while the next worker was running the key, and freed it
/// for a third (I1, I8). A cancel names its own call and changes no other, whether or not that call ever held the key.
pub(crate) async fn a_late_cancel_does_not_free_the_next_run(context: &LawContext) {
    let (held, never) = (context.execution("held"), context.execution("never"));
    let (ann, bob) = (call("ann"), call("bob"));
    held.granted(&ann).await;
    context.advance(TTL).await;
    for key in [held, never] {
        let run = key.begun(&Claim { claim_id: sentinel_core::ClaimId::random(), ..bob.clone() }).await;
        for _ in 0..2 {
            let before = key.record().await;
            assert!(!key.cancel(ann.claim_id).await.stamp.changed);
            key.assert_untouched_since(&before).await;
            expect_reply!(
                key.claim(&call("eve")).await,
                ClaimReply::InProgress { state: State::Executing, .. }
            );
        }
        expect_reply!(key.complete(run, &result("bob's")).await, CompleteReply::Recorded { late: false });
        assert!(!key.cancel(ann.claim_id).await.stamp.changed);
        expect_reply!(
            key.claim(&call("eve")).await,
            ClaimReply::Completed { result: got, .. } if got == result("bob's")
        );
    }
}

/// A guard released its key when the worker's task was dropped, in the middle of the side effect; the next worker did
/// it again (I1, I11). An execution ends by its result, by a vouched release or by an abandon: never because a guard
/// was dropped.
pub(crate) async fn a_drop_guard_does_not_release_an_execution(context: &LawContext) {
    for (key, ann) in
        [(context.execution("two steps"), call("ann")), (context.execution("fused"), fused("ann"))]
    {
        let grant = key.begun(&ann).await;
        expect_reply!(key.release(grant).await, ReleaseReply::MayHaveRun);
        expect_reply!(key.claim(&fused("bob")).await, ClaimReply::InProgress { .. });
        expect_reply!(key.abandon(grant, "the task was dropped").await, AbandonReply::Abandoned);
        let before = key.record().await;
        expect_reply!(key.release(grant).await, ReleaseReply::MayHaveRun);
        key.assert_untouched_since(&before).await;
        expect_reply!(key.claim(&fused("bob")).await,
            ClaimReply::Uncertain { token, .. } if token == grant.token);
    }
}

/// A side effect took longer than its lease, and the key was granted to the next worker only because time had passed
/// (I1, I11). However long its worker is silent, an execution is not taken over, purged or evicted; its own worker may
/// still record the result.
pub(crate) async fn an_execution_is_not_taken_over_because_time_passed(context: &LawContext) {
    let key = context.execution("k");
    let ann = key.begun(&Claim { retention: Some(KEPT), ..call("ann") }).await;
    context.advance(KEPT * 300).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
    assert_eq!(context.purge().await.records, 0);
    expect_reply!(key.evict(&evict("olga", ann.token)).await, EvictReply::Executing);
    expect_reply!(key.complete(ann, &result("slow")).await, CompleteReply::Recorded { late: true });
}

/// Heartbeats named the key and not the grant. A worker that had been taken over continued its heartbeats, and extended
/// the lease of its dead successor without end (I7, L3). A beat needs the token and the claim id of the record.
pub(crate) async fn a_heartbeat_by_key_alone_extends_no_lease(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = key.granted(&call("ann")).await;
        context.advance(TTL).await;
        let bob = key.granted(&call("bob")).await;
        let before = key.record().await;
        context.advance(HALF).await;
        for wrong in [ann, Grant { token: bob.token, ..ann }, Grant { token: ann.token, ..bob }] {
            expect_reply!(key.heartbeat(wrong).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        }
        key.assert_untouched_since(&before).await;
        context.advance(HALF).await;
        key.granted(&call("eve")).await;
    }
}

/// Decisions named the key and not the reconcile token. An operator whose key had been stolen decided for the other
/// operator, and later for the next run, which they had not examined (I5). A decision counts only under the current
/// reconcile token.
pub(crate) async fn a_decision_without_its_token_is_refused(context: &LawContext) {
    let key = context.execution("k");
    let first = key.abandoned(&call("ann")).await;
    let olga = key.taken(&reconcile("olga", first.token)).await;
    let omar = key.taken(&Reconcile { steal: true, ..reconcile("omar", olga) }).await;
    let happened = force("olga", olga, &result("it happened"));
    let overlap = ResetToClaimed { accept_overlap: true, ..reset("olga", olga) };
    let seen = ForceComplete { token: first.token, ..force("olga", olga, &result("it happened")) };
    expect_reply!(key.force_complete(&happened).await, ForceCompleteReply::StaleDecision(now) if now.token == omar);
    expect_reply!(key.force_complete(&seen).await, ForceCompleteReply::StaleDecision(_));
    expect_reply!(key.reset_to_claimed(&reset("omar", omar)).await, ResetReply::Reset { .. });

    let second = key.abandoned(&call("bob")).await;
    let omar = key.taken(&reconcile("omar", second.token)).await;
    let before = key.record().await;
    expect_reply!(key.force_complete(&happened).await, ForceCompleteReply::StaleDecision(now) if now.token == omar);
    expect_reply!(key.reset_to_claimed(&overlap).await, ResetReply::StaleDecision(now) if now.token == omar);
    key.assert_untouched_since(&before).await;
}

/// A sequence was read before the row's lock was held. Of two that waited, the one that drew first got in last, with
/// the smaller token; the resource refused the newer holder and trusted the older (I2, I9). Tokens rise in the order in
/// which the record changed, whichever request waited.
pub(crate) async fn a_token_is_not_drawn_before_the_lock(context: &LawContext) {
    let key = context.lease("k");
    let together = Arc::new(Barrier::new(8));
    let work = |n: usize| {
        let (store, address, together) =
            (Arc::clone(context.store()), key.address.clone(), Arc::clone(&together));
        tokio::spawn(async move {
            let mut stamps = Vec::new();
            together.wait().await;
            for _ in 0..16 {
                let ours = call(&format!("w{n}"));
                let reply = store.claim(&address, &ours).await.expect("a reply");
                if let ClaimReply::Granted(granted) = reply.reply {
                    stamps.push(reply.stamp);
                    let grant = Grant { token: granted.token, claim_id: ours.claim_id };
                    store.release(&address, &Release { grant, vouched: false }).await.expect("a reply");
                }
            }
            stamps
        })
    };
    let workers: Vec<_> = (0..8).map(work).collect();
    let mut granted = Vec::new();
    for worker in workers {
        granted.extend(worker.await.expect("the store does not panic"));
    }
    context.forget();
    granted.sort_unstable_by_key(|stamp| stamp.rev);
    let mut fence = Fence::default();
    for stamp in &granted {
        assert!(fence.accepts(stamp.token), "a later holder got a smaller token: {granted:?}");
    }
    assert!(!granted.is_empty());
}

/// The counter of a key was purged with its record and restarted; a worker of the old life had the larger token, and
/// the resource took its stale write (I2, I9). A purge leaves the floor: the next life draws above the last one, also
/// on a clock that was set back, if the harness has `set_back`.
pub(crate) async fn a_purge_does_not_reset_the_token_counter(context: &LawContext) {
    for rounds in [1, 3] {
        let context = context.apart();
        let keys = [context.execution("k"), context.lease("k")];
        let mut fences = [Fence::default(), Fence::default()];
        for _ in 0..rounds {
            for (key, fence) in keys.iter().zip(&mut fences) {
                let old = key.granted(&call("ann")).await;
                assert!(fence.accepts(old.token));
                expect_reply!(key.release(old).await, ReleaseReply::Released);
            }
            context.advance(REST).await;
            assert_eq!(context.purge().await.records, 2);
            context.set_back(REST).await;
        }
        for (key, fence) in keys.iter().zip(&mut fences) {
            assert!(key.record().await.is_absent());
            let new = key.granted(&call("bob")).await;
            assert!(fence.accepts(new.token), "the new life drew below the old one");
        }
    }
}

/// After a failover two workers held grants with the same token, and the store confused them: one completed the run of
/// the other (I3, I5). A token is not a grant without the claim id that it was granted to.
pub(crate) async fn a_token_without_its_claim_id_is_not_a_grant(context: &LawContext) {
    let (claimed, running, lease) =
        (context.execution("claimed"), context.execution("running"), context.lease("k"));
    let held = [
        (claimed.granted(&call("ann")).await, claimed),
        (running.begun(&call("ann")).await, running),
        (lease.granted(&call("ann")).await, lease),
    ];
    for (grant, key) in held {
        let (before, stranger) = (key.record().await, other_id(grant));
        expect_reply!(key.heartbeat(stranger).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        expect_reply!(key.release(stranger).await, ReleaseReply::Superseded(_));
        expect_reply!(key.vouch(stranger).await, ReleaseReply::Superseded(_));
        if key.address.kind == sentinel_core::Kind::Execution {
            expect_reply!(key.begin(stranger).await, BeginReply::Superseded(_));
            expect_reply!(key.complete(stranger, &result("theirs")).await, CompleteReply::Superseded(_));
            expect_reply!(key.abandon(stranger, "theirs").await, AbandonReply::Superseded(_));
        }
        key.assert_untouched_since(&before).await;
    }
}

/// A begin was held up until the claim had lapsed; the store accepted it, while another worker had taken the claim over
/// or was about to, and both ran (I1). A begin counts only while its claim is live and its own.
pub(crate) async fn a_late_begin_is_refused(context: &LawContext) {
    let (lapsed, taken, done, evicted) = (
        context.execution("lapsed"),
        context.execution("taken"),
        context.execution("done"),
        context.execution("evicted"),
    );
    let mut late = Vec::new();
    for key in [&lapsed, &taken, &done, &evicted] {
        late.push(key.granted(&call("ann")).await);
    }
    expect_reply!(evicted.evict(&evict("olga", late[3].token)).await, EvictReply::Evicted { .. });
    expect_reply!(evicted.begin(late[3]).await, BeginReply::Superseded(now) if now.state == State::Free);
    context.advance(TTL).await;
    expect_reply!(lapsed.begin(late[0]).await, BeginReply::Expired);
    let bob = taken.begun(&call("bob")).await;
    expect_reply!(taken.begin(late[1]).await, BeginReply::Superseded(now) if now.token == bob.token);
    done.completed(&call("bob"), &result("bob's")).await;
    expect_reply!(done.begin(late[2]).await, BeginReply::Superseded(now) if now.state == State::Completed);
    assert_eq!(lapsed.record().await.begun_at, None);
    lapsed.begun(&call("bob")).await;
}

/// A result was recorded and its reply lost. The worker ran the function again, so as to have something to record, and
/// the side effect happened twice (I1, I4). The same result is confirmed as often as it is sent; another one changes
/// nothing.
pub(crate) async fn an_ambiguous_complete_is_sent_again_and_not_run_again(context: &LawContext) {
    let (key, receipt) = (context.execution("k"), result("receipt 1"));
    let ann = call("ann");
    let grant = key.begun(&ann).await;
    let dropped = key.complete(grant, &receipt).await;
    for _ in 0..3 {
        context.advance(HARD).await;
        let again = key.complete(grant, &receipt).await;
        assert!(!again.stamp.changed);
        assert_eq!(again.reply, dropped.reply, "not late because it was repeated late");
        expect_reply!(key.complete(grant, &result("receipt 2")).await, CompleteReply::Conflict);
        expect_reply!(key.claim(&ann).await, ClaimReply::Completed { result: got, .. } if got == receipt);
        expect_reply!(key.begin(grant).await, BeginReply::Completed);
    }
    assert_eq!(key.changes().await, ["claimed", "begun", "completed"]);
}
