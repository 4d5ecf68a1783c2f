//! Defects known from earlier systems of this kind, each described as its users met it.

use sentinel_core::operation::*;
use sentinel_core::{Address, Key, Namespace, State};

use super::Fence;
use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// Each heartbeat moved the lease on by a ttl, past the deadline that waiting callers rely on: a worker that hung but
/// continued its heartbeats was never replaced (I7, L3). The lease ends at the hard deadline at the latest.
pub(crate) async fn a_lease_does_not_outlive_its_hard_deadline(context: &LawContext) {
    for (key, begins) in [
        (context.lease("k"), false),
        (context.execution("claimed"), false),
        (context.execution("running"), true),
    ] {
        let ann = call("hangs, and beats");
        let grant = if begins { key.begun(&ann).await } else { key.granted(&ann).await };
        let hard = key.record().await.hard_until;
        while key.now().await.plus(HALF) < hard {
            context.advance(HALF).await;
            let until = expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { lease_until } => lease_until);
            assert!(until <= hard, "a lease until {until:?}, past its hard deadline {hard:?}");
        }
        context.advance(HALF).await;
        expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::HardDeadline));
        match begins {
            true => expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. }),
            false => expect_reply!(key.claim(&call("bob")).await, ClaimReply::Granted(_)),
        }
    }
}

/// Two results were accepted for one run, and the second replaced the first, which callers had already received (I4).
pub(crate) async fn a_run_does_not_complete_twice(context: &LawContext) {
    let (key, first) = (context.execution("k"), result("receipt 1"));
    let grant = key.completed(&call("ann"), &first).await;
    let failed = sentinel_core::RecordedResult { code: Some(1), ..first.clone() };
    for second in [result("receipt 2"), result(""), failed] {
        let before = key.record().await;
        expect_reply!(key.complete(grant, &second).await, CompleteReply::Conflict);
        key.assert_untouched_since(&before).await;
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == first);
    }
}

/// A result was accepted for work that had never begun: there was a receipt for a side effect that no worker had
/// started or would start (I5). Only what began has a result, live or lapsed.
pub(crate) async fn a_claim_does_not_complete(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    for _ in 0..2 {
        let before = key.record().await;
        expect_reply!(key.complete(grant, &result("too early")).await, CompleteReply::NotBegun);
        key.assert_untouched_since(&before).await;
        context.advance(TTL).await;
    }
    let bob = key.begun(&call("bob")).await;
    expect_reply!(key.complete(grant, &result("too early")).await, CompleteReply::Superseded(_));
    expect_reply!(key.complete(bob, &result("bob's")).await, CompleteReply::Recorded { late: false });
}

/// The reply to a complete was lost, the worker took it for a failure and released the key, which erased the result;
/// the next worker ran it again (I1, I4). No release, vouched release, cancel, abandon or eviction removes a result.
pub(crate) async fn a_release_does_not_erase_a_result(context: &LawContext) {
    let (key, ann, receipt) = (context.execution("k"), call("ann"), result("receipt"));
    let grant = key.completed(&ann, &receipt).await;
    let before = key.record().await;
    expect_reply!(key.release(grant).await, ReleaseReply::Superseded(now) if now.state == State::Completed);
    expect_reply!(key.vouch(grant).await, ReleaseReply::Superseded(now) if now.state == State::Completed);
    expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Untouched(_));
    expect_reply!(key.abandon(grant, "no reply").await, AbandonReply::Superseded(_));
    expect_reply!(key.evict(&evict("olga", grant.token)).await, EvictReply::NotClaimed(_));
    key.assert_untouched_since(&before).await;
    context.advance(HARD).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == receipt);
}

/// Addresses were joined to one string: `a:b` with `c` was `a` with `b:c`, and a tenant was replayed another's receipt
/// (I13). Whatever a store may join them with, and wherever a name is cut, each is a key of its own; the kinds too.
pub(crate) async fn a_namespace_and_its_key_are_not_joined(context: &LawContext) {
    // Every cut of the same letters, for each separator that a namespace may hold.
    let mut cuts = Vec::new();
    for separator in [".", "_", "-"] {
        cuts.push((format!("{separator}b"), "c".to_owned()));
        cuts.push((String::new(), format!("b{separator}c")));
        cuts.push((String::new(), format!("{separator}b{separator}c")));
        cuts.push((separator.to_owned(), format!("b{separator}c")));
    }
    // And keys that equal what a store may have joined.
    for key in [":b:c", "b:c", "b/c", "/b/c", "b\u{7c}c", "{b}c", "lease:c", "execution:c", "1:b:c", "b c"] {
        cuts.push((String::new(), key.to_owned()));
    }
    let mut subjects: Vec<Subject<'_>> = Vec::new();
    for (tail, key) in &cuts {
        let namespace = Namespace::new(format!("{}{tail}", context.namespace())).expect("a namespace");
        let key = Key::new(key).expect("a key");
        subjects.push(context.subject(Address::execution(namespace.clone(), key.clone())));
        subjects.push(context.subject(Address::lease(namespace, key)));
    }
    for (n, subject) in subjects.iter().enumerate() {
        assert!(subject.record().await.is_absent(), "{:?} is another key as well", subject.address);
        match subject.address.kind {
            sentinel_core::Kind::Lease => drop(subject.granted(&call(&format!("w{n}"))).await),
            _ => drop(subject.completed(&call(&format!("w{n}")), &result(&format!("receipt {n}"))).await),
        }
    }
    for (n, subject) in subjects.iter().enumerate() {
        let record = subject.record().await;
        assert_eq!(record.worker, Some(label(&format!("w{n}"))), "{:?}", subject.address);
        if subject.address.kind == sentinel_core::Kind::Execution {
            let got = result(&format!("receipt {n}"));
            expect_reply!(
                subject.claim(&call("bob")).await,
                ClaimReply::Completed { result: theirs, .. } if theirs == got
            );
        }
    }
}

/// A worker lost its lease while it was paused, a successor took it and died, and the first worker's next heartbeat
/// revived the dead successor's lease: no live worker held it and none could get it (I7). Neither the predecessor's
/// beat nor the dead one's own revives a lapsed lease, alone or within a batch.
pub(crate) async fn a_heartbeat_does_not_revive_the_lease_of_a_dead_successor(context: &LawContext) {
    let (key, other) = (context.lease("k"), context.lease("another"));
    let paused = key.granted(&call("ann")).await;
    context.advance(TTL).await;
    let dead = key.granted(&call("bob")).await;
    context.advance(TTL).await;
    let alive = other.granted(&call("ann")).await;
    let before = key.record().await;
    let beat = |subject: &Subject<'_>, grant| Beat { address: subject.address.clone(), grant };
    let batch = [beat(&key, paused), beat(&other, alive), beat(&key, dead)];
    let replies: Vec<_> = context.beats(&batch).await.into_iter().map(|beat| beat.reply).collect();
    assert!(matches!(replies[0], HeartbeatReply::Lost(LostReason::Superseded(_))), "{replies:?}");
    assert!(matches!(replies[1], HeartbeatReply::Kept { .. }), "{replies:?}");
    assert!(matches!(replies[2], HeartbeatReply::Lost(LostReason::Lapsed)), "{replies:?}");
    key.assert_untouched_since(&before).await;
    let mut fence = Fence(dead.token);
    assert!(fence.accepts(key.granted(&call("eve")).await.token));
}

/// "There is a record" was read as "it is done": callers got a success while the payment was still running, and when it
/// then failed no caller tried again (I6). Only completed has a result, and an empty result is one.
pub(crate) async fn in_progress_is_not_reported_as_completed(context: &LawContext) {
    let (key, bob) = (context.execution("k"), || call("bob"));
    let grant = key.granted(&call("ann")).await;
    expect_reply!(key.claim(&bob()).await, ClaimReply::InProgress { state: State::Claimed, .. });
    expect_reply!(key.begin(grant).await, BeginReply::Begun(_));
    expect_reply!(key.claim(&bob()).await, ClaimReply::InProgress { state: State::Executing, .. });
    assert_eq!((key.record().await.result, key.record().await.completed_at), (None, None));
    context.advance(TTL).await;
    expect_reply!(key.claim(&bob()).await, ClaimReply::Uncertain { .. });
    let taken = key.taken(&reconcile("olga", grant.token)).await;
    expect_reply!(key.claim(&bob()).await, ClaimReply::Reconciling { .. });
    assert_eq!((key.record().await.result, key.record().await.completed_at), (None, None));
    let nothing = result("");
    expect_reply!(key.force_complete(&force("olga", taken, &nothing)).await, ForceCompleteReply::Completed);
    expect_reply!(key.claim(&bob()).await, ClaimReply::Completed { result: got, .. } if got == nothing);
}

/// A history with a limit gave the first events of the key's life and not the last: an operator who decided about an
/// uncertain key read the events of a run of last year (I12). A limit keeps the newest, and they come oldest first.
pub(crate) async fn a_limited_history_does_not_return_the_oldest_events(context: &LawContext) {
    let key = context.execution("k");
    for _ in 0..12 {
        let grant = key.granted(&call("ann")).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
    }
    let doubt = key.abandoned(&call("bob")).await;
    key.taken(&reconcile("olga", doubt.token)).await;
    let all = key.events().await;
    assert_eq!(all.len(), 28);
    assert!(all.is_sorted_by(|a, b| a.rev < b.rev));
    for limit in [1, 2, 4, 27, 28, 100] {
        let newest = key.newest_events(limit).await;
        assert_eq!(newest, all[all.len().saturating_sub(limit as usize)..], "the newest {limit}");
    }
    let got: Vec<_> = key.newest_events(4).await.iter().map(|event| event.change.name()).collect();
    assert_eq!(got, ["claimed", "begun", "abandoned", "reconciling"]);
}
