//! A store that is closed and opened again: nothing is lost, nothing runs again, and tokens grow.

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{Kind, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;

/// What is executing, claimed or uncertain is not granted again.
pub(crate) async fn a_held_key_is_not_granted_again_after_reopening(context: &LawContext) {
    let (executing, lease) = (context.execution("executing"), context.lease("lease"));
    let (doubt, held) = (context.execution("doubt"), context.execution("held"));
    executing.begun(&call("ann")).await;
    lease.granted(&call("ann")).await;
    let cause = doubt.abandoned(&call("ann")).await;
    let decision = reconcile("olga", held.abandoned(&call("ann")).await.token);
    held.taken(&decision).await;
    if !context.reopen().await {
        return;
    }
    expect_reply!(
        executing.claim(&call("bob")).await,
        ClaimReply::InProgress { state: State::Executing, .. }
    );
    expect_reply!(lease.claim(&call("bob")).await, ClaimReply::InProgress { state: State::Claimed, .. });
    expect_reply!(doubt.claim(&call("bob")).await, ClaimReply::Uncertain { token, .. } if token == cause.token);
    assert_eq!(doubt.record().await.doubt, Some(label("lost contact")), "the cause of the abandon");
    expect_reply!(held.claim(&call("bob")).await, ClaimReply::Reconciling { .. });
    expect_reply!(
        held.reconcile(&reconcile("omar", held.record().await.token)).await,
        ReconcileReply::HeldBy { op_id, .. } if op_id == decision.op_id
    );
    context.advance(HARD).await;
    expect_reply!(executing.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
}

/// Results are replayed byte for byte, with the rest of their retention.
pub(crate) async fn results_are_replayed_after_reopening(context: &LawContext) {
    let (kept, brief) = (context.execution("kept"), context.execution("brief"));
    let ann = Claim { fingerprint: about("an order"), ..call("ann") };
    kept.completed(&ann, &result("x\0 \r\n")).await;
    brief.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("brief")).await;
    let completed = brief.record().await.completed_at.expect("it is completed");
    if !context.reopen().await {
        return;
    }
    context.advance(TTL).await;
    let expected = ClaimReply::Completed { result: result("x\0 \r\n"), remaining: None };
    assert_eq!(kept.claim(&call("bob")).await.reply, expected);
    let other = Claim { fingerprint: about("a refund"), ..call("bob") };
    expect_reply!(kept.claim(&other).await, ClaimReply::FingerprintMismatch);
    let reply = brief.claim(&call("bob")).await;
    let remaining = Some(KEPT - reply.stamp.now.since(completed));
    assert_eq!(reply.reply, ClaimReply::Completed { result: result("brief"), remaining });
    context.advance(KEPT).await;
    expect_reply!(brief.claim(&call("bob")).await, ClaimReply::Granted(_));
}

/// A grant from before is valid after: it begins, extends, completes, releases.
pub(crate) async fn a_grant_is_valid_after_reopening(context: &LawContext) {
    let (run, lease, extended) =
        (context.execution("run"), context.lease("lease"), context.execution("extended"));
    let (claimed, held) = (run.granted(&call("ann")).await, lease.granted(&call("ann")).await);
    let begun = extended.begun(&call("ann")).await;
    context.advance(HALF).await;
    for (key, grant) in [(&extended, begun), (&lease, held)] {
        expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
    }
    if !context.reopen().await {
        return;
    }
    expect_reply!(run.begin(claimed).await, BeginReply::Begun(_));
    context.advance(HALF).await;
    for key in [&extended, &lease] {
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::InProgress { .. });
    }
    expect_reply!(lease.heartbeat(held).await, HeartbeatReply::Kept { .. });
    expect_reply!(extended.complete(begun, &result("x")).await, CompleteReply::Recorded { late: false });
    expect_reply!(run.heartbeat(claimed).await, HeartbeatReply::Kept { .. });
    expect_reply!(run.complete(claimed, &result("x")).await, CompleteReply::Recorded { late: false });
    expect_reply!(lease.release(held).await, ReleaseReply::Released);
}

/// A request that is sent again after the reopening is answered as before it.
pub(crate) async fn a_repeated_request_gets_the_same_reply_after_reopening(context: &LawContext) {
    let (withdrawn, released, done) =
        (context.execution("withdrawn"), context.lease("released"), context.execution("done"));
    let (taken, forced, freed) =
        (context.execution("taken"), context.execution("forced"), context.execution("freed"));
    let evicted = context.lease("evicted");
    let [ann, bob] = ["ann", "bob"].map(call);
    withdrawn.cancel(ann.claim_id).await;
    let grant = released.granted(&bob).await;
    released.release(grant).await;
    let completed = done.completed(&call("ann"), &result("x")).await;
    let mut decisions = Vec::new();
    for key in [&taken, &forced, &freed] {
        let decision = reconcile("olga", key.abandoned(&call("ann")).await.token);
        decisions.push((key.taken(&decision).await, decision));
    }
    let (by_force, by_reset) = (force("olga", decisions[1].0, &result("x")), reset("olga", decisions[2].0));
    let force_reply = forced.force_complete(&by_force).await.reply;
    let reset_reply = freed.reset_to_claimed(&by_reset).await.reply;
    let eviction = evict("olga", evicted.granted(&call("ann")).await.token);
    let evict_reply = evicted.evict(&eviction).await.reply;
    if !context.reopen().await {
        return;
    }
    expect_reply!(withdrawn.claim(&ann).await, ClaimReply::AlreadyReleased);
    expect_reply!(withdrawn.cancel(ann.claim_id).await, CancelReply::Cancelled);
    expect_reply!(released.claim(&bob).await, ClaimReply::AlreadyReleased);
    expect_reply!(released.release(grant).await, ReleaseReply::Released);
    expect_reply!(done.complete(completed, &result("x")).await, CompleteReply::Recorded { late: false });
    expect_reply!(done.complete(completed, &result("y")).await, CompleteReply::Conflict);
    let (token, decision) = &decisions[0];
    expect_reply!(taken.reconcile(decision).await, ReconcileReply::Taken { token: same, .. } if same == *token);
    assert_eq!(forced.force_complete(&by_force).await.reply, force_reply);
    assert_eq!(freed.reset_to_claimed(&by_reset).await.reply, reset_reply);
    assert_eq!(evicted.evict(&eviction).await.reply, evict_reply);
}

/// Tokens exceed those that were drawn before, also if the clock was set back meanwhile.
pub(crate) async fn tokens_increase_after_reopening(context: &LawContext) {
    let key = context.lease("k");
    let mut last = key.claim(&call("ann")).await.stamp.token;
    for _ in 0..3 {
        last = key.evict(&evict("olga", last)).await.stamp.token;
        context.set_back(HARD).await;
        if !context.reopen().await {
            return;
        }
        let next = key.claim(&call("bob")).await.stamp.token;
        assert!(next > last, "token {next} was drawn after {last}");
        last = next;
    }
    key.assert_rebuilt().await;
}

/// What was purged before stays below every token that is drawn after.
pub(crate) async fn a_floor_is_kept_after_reopening(context: &LawContext) {
    let (key, other) = (context.execution("k"), context.lease("other"));
    let grant = key.granted(&call("ann")).await;
    key.release(grant).await;
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 1);
    context.set_back(REST * 2).await;
    if !context.reopen().await {
        return;
    }
    assert_eq!(key.changes().await, ["purged"], "the event of the purge");
    for subject in [key, other] {
        let next = subject.granted(&call("bob")).await;
        assert!(next.token > grant.token, "token {} was drawn, {} was purged", next.token, grant.token);
    }
}

/// The clock does not fall below a record's last reading.
pub(crate) async fn the_time_never_goes_back_after_reopening(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    context.advance(HALF).await;
    key.heartbeat(grant).await;
    let last = key.record().await.last_now;
    context.set_back(HARD).await;
    if !context.reopen().await {
        return;
    }
    let reply = key.heartbeat(grant).await;
    assert!(reply.stamp.now >= last, "the clock reads {}, and read {last} before", reply.stamp.now);
    assert_eq!(key.record().await.last_now, reply.stamp.now.max(last), "the last reading");
}

/// All records, pages and histories are what they were.
pub(crate) async fn pages_and_histories_are_the_same_after_reopening(context: &LawContext) {
    const RECORDS: usize = 40;
    for n in 0..RECORDS {
        let (key, lease) = (context.execution(&format!("{n:03}")), context.lease(&format!("{n:03}")));
        lease.granted(&call("ann")).await;
        let grant = key.begun(&call("ann")).await;
        let cause = label("lost contact");
        let op = match n % 4 {
            0 => Op::from(Complete { grant, result: result("x") }),
            1 => Abandon { grant, cause, late_effects: NONE_LATE }.into(),
            2 => Release { grant, vouched: true }.into(),
            _ => Heartbeat { grant }.into(),
        };
        key.send(op).await;
    }
    let pages = [
        context.everything(),
        List { kind: Kind::Lease, ..context.everything() },
        List { state: Some(VisibleState::Free), ..context.everything() },
        List { state: Some(VisibleState::Uncertain), ..context.everything() },
    ];
    let mut before = Vec::new();
    for page in &pages {
        before.push(context.list(page).await.records);
    }
    let mut histories = Vec::new();
    for n in 0..RECORDS {
        histories.push(context.execution(&format!("{n:03}")).events().await);
    }
    if !context.reopen().await {
        return;
    }
    for (page, before) in pages.iter().zip(before) {
        assert_eq!(context.list(page).await.records, before, "the page of {:?}", page.state);
    }
    for (n, history) in histories.into_iter().enumerate() {
        let key = context.execution(&format!("{n:03}"));
        assert_eq!(key.events().await, history, "the history of {}", key.address);
        key.assert_rebuilt().await;
    }
}
