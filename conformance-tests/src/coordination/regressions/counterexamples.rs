//! What the model found when a rule was taken away: the shortest story of each, told to a store.

use std::sync::Arc;

use sentinel_core::operation::*;
use sentinel_core::{Grant, State};
use tokio::sync::Barrier;

use super::Fence;
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Two calls of one worker shared the claim id `host:pid:thread`. Each took the answer to the other for its own, and
/// both ran (I1, I3). An id is one call: whoever repeats it gets the one grant, hands in the one result, and once it is
/// given back nobody gets in under it again. Two calls with ids of their own are told apart.
pub(crate) async fn calls_that_share_a_claim_id_share_one_grant(context: &LawContext) {
    let (shared, apart) = (context.execution("shared"), context.execution("apart"));
    let ann = fused("host:1:7");
    let twin = Claim { worker: label("host:1:7, again"), ..ann.clone() };
    let (first, second) = (shared.granted(&ann).await, shared.claim(&twin).await);
    assert!(!second.stamp.changed, "one id draws one token");
    answers!(second, ClaimReply::Granted(granted) if granted.token == first.token);
    answers!(shared.complete(first, &result("mine")).await, CompleteReply::Recorded { late: false });
    answers!(shared.complete(first, &result("my twin's")).await, CompleteReply::Conflict);
    answers!(shared.claim(&twin).await, ClaimReply::Completed { result: told, .. } if told == result("mine"));

    let ours = apart.granted(&ann).await;
    answers!(apart.claim(&fused("host:1:7")).await, ClaimReply::InProgress { .. });
    answers!(apart.vouch(ours).await, ReleaseReply::Released);
    answers!(apart.claim(&twin).await, ClaimReply::AlreadyReleased);
}

/// The first attempt of a call got no answer and its receiver was dropped; the call sent the claim again, was granted,
/// and ran. A pool then released "the grant that nobody waits for": it is the very grant that runs, and the freed key
/// ran twice (I1). What began is not freed without the vouch; what has not begun is freed, and then begins no more.
pub(crate) async fn a_release_for_a_dropped_caller_does_not_free_a_running_key(context: &LawContext) {
    let (running, waiting) = (context.execution("running"), context.execution("waiting"));
    let ann = fused("ann");
    let unheard = running.granted(&ann).await;
    let heard = running.granted(&ann).await;
    assert_eq!(unheard, heard, "two attempts of one call hold one grant");
    let before = running.record().await;
    answers!(running.release(unheard).await, ReleaseReply::MayHaveRun);
    running.assert_untouched_since(&before).await;
    answers!(running.claim(&fused("bob")).await, ClaimReply::InProgress { state: State::Executing, .. });
    answers!(running.complete(heard, &result("once")).await, CompleteReply::Recorded { late: false });

    let ann = call("ann");
    let unheard = waiting.granted(&ann).await;
    let heard = waiting.granted(&ann).await;
    answers!(waiting.release(unheard).await, ReleaseReply::Released);
    let bob = waiting.begun(&call("bob")).await;
    answers!(waiting.begin(heard).await, BeginReply::Superseded(now) if now.token == bob.token);
}

/// An operator's reconcile of the first run was held up on its way. Meanwhile the doubt was settled by a reset and the
/// next run began; the late request took that one from under its worker, and its result was lost (I8). A decision names
/// the token that was seen, and applies to no other run, however eager it is.
pub(crate) async fn a_late_reconcile_does_not_take_a_newer_run(context: &LawContext) {
    let key = context.execution("k");
    let first = key.doubtful(&call("ann")).await;
    let late = Reconcile { even_if_alive: true, steal: true, ..reconcile("olga", first.token) };
    let taken = key.taken(&reconcile("omar", first.token)).await;
    answers!(key.reset_to_claimed(&reset("omar", taken)).await, ResetReply::Reset { .. });
    let second = key.begun(&call("bob")).await;
    for wait in [HALF, HARD] {
        let before = key.record().await;
        answers!(key.reconcile(&late).await, ReconcileReply::StaleDecision(now) if now.token == second.token);
        key.assert_untouched_since(&before).await;
        context.advance(wait).await;
    }
    answers!(key.complete(second, &result("bob's")).await, CompleteReply::Recorded { late: true });
    answers!(key.reconcile(&late).await, ReconcileReply::StaleDecision(_));
    answers!(key.claim(&call("eve")).await, ClaimReply::Completed { result: told, .. } if told == result("bob's"));
}

/// A worker claimed with a fingerprint and died before it began. Every other request was told of a mismatch for ever:
/// an orphan that blocks for more than its ttl (L3). A fingerprint guards what is held or done; it never guards a
/// lapsed claim, a tombstone or a result past its retention.
pub(crate) async fn a_fingerprint_does_not_block_a_lapsed_claim(context: &LawContext) {
    let other = || Claim { fingerprint: about("another request"), ..call("bob") };
    for key in [context.execution("k"), context.lease("k")] {
        let ann = Claim { fingerprint: about("a request"), ..call("ann") };
        key.granted(&ann).await;
        answers!(key.claim(&other()).await, ClaimReply::FingerprintMismatch);
        context.advance(TTL).await;
        let bob = key.granted(&other()).await;
        answers!(key.release(bob).await, ReleaseReply::Released);
        key.granted(&Claim { fingerprint: about("a third one"), ..call("eve") }).await;
    }
    let done = context.execution("done");
    let ann = Claim { fingerprint: about("a request"), retention: Some(KEPT), ..call("ann") };
    done.completed(&ann, &result("receipt")).await;
    answers!(done.claim(&other()).await, ClaimReply::FingerprintMismatch);
    context.advance(KEPT).await;
    done.granted(&other()).await;
}

/// The reply to a begin was lost; the worker guessed that it had begun and ran, but the begin had not arrived, and
/// another took the claim over (I1). A worker asks again and gets the one answer; or it withdraws, and then a begin
/// that was still under way starts nothing.
pub(crate) async fn an_ambiguous_begin_is_repeated_or_cancelled(context: &LawContext) {
    let (settled, withdrawn) = (context.execution("settled"), context.execution("withdrawn"));
    let grant = settled.granted(&call("ann")).await;
    let unheard = settled.begin(grant).await;
    let again = settled.begin(grant).await;
    assert!(unheard.stamp.changed && !again.stamp.changed);
    assert_eq!(unheard.reply, again.reply);
    assert_eq!(settled.story().await, ["claimed", "begun"]);

    let ann = call("ann");
    let grant = withdrawn.granted(&ann).await;
    answers!(withdrawn.cancel(ann.claim_id).await, CancelReply::Cancelled);
    answers!(withdrawn.begin(grant).await, BeginReply::Superseded(now) if now.state == State::Free);
    let bob = withdrawn.begun(&call("bob")).await;
    let before = withdrawn.record().await;
    answers!(withdrawn.begin(grant).await, BeginReply::Superseded(now) if now.token == bob.token);
    withdrawn.assert_untouched_since(&before).await;
}

/// A call gave up on a claim without an answer, looked, saw nothing, and told its user that nothing would run. Then the
/// claim arrived and held the key, begun, for nobody (I6, and a doubt out of nothing). A look settles nothing; a cancel
/// does, also where it overtakes its claim.
pub(crate) async fn a_read_does_not_replace_the_cancel_of_a_lost_claim(context: &LawContext) {
    for (key, ann) in [(context.execution("k"), fused("ann")), (context.lease("k"), call("ann"))] {
        assert!(key.record().await.is_absent(), "the claim is still under way");
        answers!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
        answers!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        assert_eq!(key.record().await.state, State::Free);
        key.granted(&call("bob")).await;
    }
}

/// A claim was granted, given back, and then delivered once more by the network: a ghost held the key, and as a fused
/// claim it left a doubt about a run that never was (I6). What was given back is remembered, whichever way it went.
pub(crate) async fn a_late_duplicate_of_a_claim_is_refused(context: &LawContext) {
    for way in ["cancelled", "vouched", "reset"] {
        let (key, ann) = (context.execution(way), fused("ann"));
        let grant = key.granted(&ann).await;
        match way {
            "cancelled" => answers!(key.cancel(ann.claim_id).await, CancelReply::Cancelled),
            "vouched" => answers!(key.vouch(grant).await, ReleaseReply::Released),
            _ => {
                answers!(key.abandon(grant, "lost contact").await, AbandonReply::Abandoned);
                let taken = key.taken(&reconcile("olga", grant.token)).await;
                answers!(key.reset_to_claimed(&reset("olga", taken)).await, ResetReply::Reset { .. });
            }
        }
        answers!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        let bob = key.granted(&fused("bob")).await;
        answers!(key.complete(bob, &result("bob's")).await, CompleteReply::Recorded { late: false });
    }
}

/// A call gave up and withdrew its claim; the withdrawal was held up, arrived while the next worker was running the
/// key, and freed it for a third (I1, I8). A cancel names its own call and touches no other, whether or not that call
/// ever held the key.
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
            answers!(key.claim(&call("eve")).await, ClaimReply::InProgress { state: State::Executing, .. });
        }
        answers!(key.complete(run, &result("bob's")).await, CompleteReply::Recorded { late: false });
        assert!(!key.cancel(ann.claim_id).await.stamp.changed);
        answers!(key.claim(&call("eve")).await, ClaimReply::Completed { result: told, .. } if told == result("bob's"));
    }
}

/// A guard released its key when the worker's task was dropped, in the middle of the side effect; the next worker did
/// it again (I1, I11). What began ends by its result, by a vouch or by doubt: never because somebody let go of it.
pub(crate) async fn a_drop_guard_does_not_release_an_execution(context: &LawContext) {
    for (key, ann) in
        [(context.execution("two steps"), call("ann")), (context.execution("fused"), fused("ann"))]
    {
        let grant = key.begun(&ann).await;
        answers!(key.release(grant).await, ReleaseReply::MayHaveRun);
        answers!(key.claim(&fused("bob")).await, ClaimReply::InProgress { .. });
        answers!(key.abandon(grant, "the task was dropped").await, AbandonReply::Abandoned);
        let before = key.record().await;
        answers!(key.release(grant).await, ReleaseReply::MayHaveRun);
        key.assert_untouched_since(&before).await;
        answers!(key.claim(&fused("bob")).await,
            ClaimReply::Uncertain { token, .. } if token == grant.token);
    }
}

/// A side effect took longer than its lease, and time alone handed the key to the next worker (I1, I11). However long
/// nobody was heard of, an execution is not taken over, purged or evicted; its own worker may still tell the truth.
pub(crate) async fn an_execution_is_not_taken_over_because_time_passed(context: &LawContext) {
    let key = context.execution("k");
    let ann = key.begun(&Claim { retention: Some(KEPT), ..call("ann") }).await;
    context.advance(KEPT * 300).await;
    answers!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
    assert_eq!(context.purge().await.records, 0);
    answers!(key.evict(&evict("olga", ann.token)).await, EvictReply::Executing);
    answers!(key.complete(ann, &result("slow")).await, CompleteReply::Recorded { late: true });
}

/// Heartbeats named the key and not the grant. A worker that had been taken over went on beating, and kept its dead
/// successor alive for ever (I7, L3). A beat needs the token and the claim id of the record.
pub(crate) async fn a_heartbeat_by_key_alone_extends_no_lease(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = key.granted(&call("ann")).await;
        context.advance(TTL).await;
        let bob = key.granted(&call("bob")).await;
        let before = key.record().await;
        context.advance(HALF).await;
        for wrong in [ann, Grant { token: bob.token, ..ann }, Grant { token: ann.token, ..bob }] {
            answers!(key.heartbeat(wrong).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        }
        key.assert_untouched_since(&before).await;
        context.advance(HALF).await;
        key.granted(&call("eve")).await;
    }
}

/// Decisions named the key and not the reconcile token. An operator who had been relieved settled the doubt of the
/// other's, and later of the next run, of which they knew nothing (I5). A decision counts under the token that it was
/// given.
pub(crate) async fn a_decision_without_its_token_is_refused(context: &LawContext) {
    let key = context.execution("k");
    let first = key.doubtful(&call("ann")).await;
    let olga = key.taken(&reconcile("olga", first.token)).await;
    let omar = key.taken(&Reconcile { steal: true, ..reconcile("omar", olga) }).await;
    let happened = force("olga", olga, &result("it happened"));
    let overlap = ResetToClaimed { accept_overlap: true, ..reset("olga", olga) };
    let seen = ForceComplete { token: first.token, ..force("olga", olga, &result("it happened")) };
    answers!(key.force_complete(&happened).await, ForceCompleteReply::StaleDecision(now) if now.token == omar);
    answers!(key.force_complete(&seen).await, ForceCompleteReply::StaleDecision(_));
    answers!(key.reset_to_claimed(&reset("omar", omar)).await, ResetReply::Reset { .. });

    let second = key.doubtful(&call("bob")).await;
    let omar = key.taken(&reconcile("omar", second.token)).await;
    let before = key.record().await;
    answers!(key.force_complete(&happened).await, ForceCompleteReply::StaleDecision(now) if now.token == omar);
    answers!(key.reset_to_claimed(&overlap).await, ResetReply::StaleDecision(now) if now.token == omar);
    key.assert_untouched_since(&before).await;
}

/// A sequence was read before the row's lock was held. Of two that waited, the one that drew first got in last, with
/// the smaller token; the resource refused the newer holder and trusted the older (I2, I9). In the order in which the
/// record changed, tokens rise, whoever waited for whom.
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
                let answer = store.claim(&address, &ours).await.expect("an answer");
                if let ClaimReply::Granted(granted) = answer.reply {
                    stamps.push(answer.stamp);
                    let grant = Grant { token: granted.token, claim_id: ours.claim_id };
                    store.release(&address, &Release { grant, vouched: false }).await.expect("an answer");
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

/// The counter of a key was purged with its record and began anew; a worker of the old life had the larger token, and
/// the resource took its stale write (I2, I9). A purge leaves the floor: the next life draws above the last one, on a
/// clock that was set back as well, where the harness can do that.
pub(crate) async fn a_purge_does_not_reset_the_token_counter(context: &LawContext) {
    for rounds in [1, 3] {
        let context = context.apart();
        let keys = [context.execution("k"), context.lease("k")];
        let mut fences = [Fence::default(), Fence::default()];
        for _ in 0..rounds {
            for (key, fence) in keys.iter().zip(&mut fences) {
                let old = key.granted(&call("ann")).await;
                assert!(fence.accepts(old.token));
                answers!(key.release(old).await, ReleaseReply::Released);
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

/// After a failover two workers held grants with the same token, and each was taken for the other: the run of one was
/// completed by the other (I3, I5). A token proves nothing without the claim id it was granted to.
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
        answers!(key.heartbeat(stranger).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        answers!(key.release(stranger).await, ReleaseReply::Superseded(_));
        answers!(key.vouch(stranger).await, ReleaseReply::Superseded(_));
        if key.address.kind == sentinel_core::Kind::Execution {
            answers!(key.begin(stranger).await, BeginReply::Superseded(_));
            answers!(key.complete(stranger, &result("theirs")).await, CompleteReply::Superseded(_));
            answers!(key.abandon(stranger, "theirs").await, AbandonReply::Superseded(_));
        }
        key.assert_untouched_since(&before).await;
    }
}

/// A begin was held up until the claim had lapsed; the store took it all the same, while another had taken the claim
/// over or was about to, and both ran (I1). A begin counts only while its claim is live and its own.
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
    answers!(evicted.evict(&evict("olga", late[3].token)).await, EvictReply::Evicted { .. });
    answers!(evicted.begin(late[3]).await, BeginReply::Superseded(now) if now.state == State::Free);
    context.advance(TTL).await;
    answers!(lapsed.begin(late[0]).await, BeginReply::Expired);
    let bob = taken.begun(&call("bob")).await;
    answers!(taken.begin(late[1]).await, BeginReply::Superseded(now) if now.token == bob.token);
    done.completed(&call("bob"), &result("bob's")).await;
    answers!(done.begin(late[2]).await, BeginReply::Superseded(now) if now.state == State::Completed);
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
    let unheard = key.complete(grant, &receipt).await;
    for _ in 0..3 {
        context.advance(HARD).await;
        let again = key.complete(grant, &receipt).await;
        assert!(!again.stamp.changed);
        assert_eq!(again.reply, unheard.reply, "not late because it was repeated late");
        answers!(key.complete(grant, &result("receipt 2")).await, CompleteReply::Conflict);
        answers!(key.claim(&ann).await, ClaimReply::Completed { result: told, .. } if told == receipt);
        answers!(key.begin(grant).await, BeginReply::Completed);
    }
    assert_eq!(key.story().await, ["claimed", "begun", "completed"]);
}
