//! Two handles of one store, as two processes have them: each replies as if it were the only one. All other laws run
//! through two handles in turn as well; these choose the handle of each request.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::CoordinationStore;
use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, Record};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};

/// The same context through each of two handles; nothing, if the store has but one.
async fn both(context: &LawContext) -> Vec<[LawContext; 2]> {
    let Some([one, two]) = context.two_handles().await else { return Vec::new() };
    let in_order = |first: &Arc<dyn CoordinationStore>, second| {
        let context = context.apart();
        [context.through(first), context.through(second)]
    };
    vec![in_order(&one, &two), in_order(&two, &one)]
}

/// One record through each of two handles.
fn record<'a>(labs: &'a [LawContext; 2], of: impl Fn(&'a LawContext) -> Subject<'a>) -> [Subject<'a>; 2] {
    [of(&labs[0]), of(&labs[1])]
}

/// Reads a record through both handles, so that each has it in any cache that it keeps.
async fn read_through_both(keys: &[Subject<'_>; 2]) -> [Record; 2] {
    let records = [keys[0].record().await, keys[1].record().await];
    assert_eq!(records[0], records[1], "the record of {} through two handles", keys[0].address);
    for key in keys {
        key.assert_rebuilt().await;
    }
    records
}

/// Each step of a run uses the other handle than the one before, and both return it at once.
pub(crate) async fn a_run_continues_through_another_handle(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let [a, b] = &keys;
        read_through_both(&keys).await;
        let grant = a.granted(&call("ann")).await;
        read_through_both(&keys).await;
        expect_reply!(b.claim(&call("bob")).await, ClaimReply::InProgress { .. });
        expect_reply!(b.begin(grant).await, BeginReply::Begun(_));
        read_through_both(&keys).await;
        context.advance(HALF).await;
        expect_reply!(a.heartbeat(grant).await, HeartbeatReply::Kept { .. });
        read_through_both(&keys).await;
        expect_reply!(b.complete(grant, &result("x")).await, CompleteReply::Recorded { late: false });
        read_through_both(&keys).await;
        expect_reply!(a.claim(&call("bob")).await, ClaimReply::Completed { .. });
        expect_reply!(a.complete(grant, &result("y")).await, CompleteReply::Conflict);
    }
}

/// A reading of the clock through one handle is never before the last reading through the other.
pub(crate) async fn the_time_never_goes_back_between_two_handles(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.lease("k"));
        let mut last = keys[0].now().await;
        for wait in [Duration::ZERO, TTL, HARD, KEPT] {
            context.advance(wait).await;
            let mut expected = last.plus(wait);
            for key in keys.iter().chain(&keys) {
                let now = key.now().await;
                // A clock that a host corrects may step back a little; it does not differ by a second.
                let least = expected.as_micros() - Duration::from_millis(500).as_micros() as u64;
                assert!(now.as_micros() > least, "a handle reads {now} after {expected} was read");
                expected = expected.max(now);
            }
            let ahead = expected.since(last.plus(wait));
            assert!(ahead < TTL / 2, "a handle reads a clock that is {ahead:?} ahead");
            last = expected;
        }
    }
}

/// A holder that was superseded through one handle is refused through both, also by the handle that granted it.
pub(crate) async fn a_superseded_grant_is_refused_through_both_handles(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let [a, b] = &keys;
        let old = a.granted(&call("ann")).await;
        read_through_both(&keys).await;
        b.evict(&evict("olga", old.token)).await;
        for key in &keys {
            expect_reply!(key.begin(old).await, BeginReply::Superseded(_));
            expect_reply!(key.heartbeat(old).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
            expect_reply!(key.release(old).await, ReleaseReply::Superseded(_));
        }
        let new = b.begun(&call("bob")).await;
        read_through_both(&keys).await;
        a.taken(&Reconcile { even_if_alive: true, ..reconcile("olga", new.token) }).await;
        for key in &keys {
            expect_reply!(key.complete(new, &result("x")).await, CompleteReply::Superseded(_));
            expect_reply!(key.abandon(new, "late").await, AbandonReply::Superseded(_));
            expect_reply!(key.heartbeat(new).await, HeartbeatReply::Lost(_));
        }
    }
}

/// A lease that one handle extended has not lapsed for the other; one that lapsed is taken over through either.
pub(crate) async fn a_lease_is_extended_and_taken_over_through_both_handles(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.lease("k"));
        let [a, b] = &keys;
        let ann = a.granted(&call("ann")).await;
        read_through_both(&keys).await;
        context.advance(HALF).await;
        a.heartbeat(ann).await;
        context.advance(HALF).await;
        expect_reply!(b.claim(&call("bob")).await, ClaimReply::InProgress { .. });
        context.advance(HALF).await;
        let bob = b.granted(&call("bob")).await;
        assert!(bob.token > ann.token);
        expect_reply!(a.heartbeat(ann).await, HeartbeatReply::Lost(_));
        expect_reply!(a.claim(&call("eve")).await, ClaimReply::InProgress { .. });
        read_through_both(&keys).await;
    }
}

/// A handle that replayed a result does not replay it past its retention, nor instead of the next one.
pub(crate) async fn no_handle_replays_a_result_past_its_retention(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let [a, b] = &keys;
        a.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("old")).await;
        for key in &keys {
            expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
        }
        context.advance(KEPT).await;
        let grant = b.begun(&call("bob")).await;
        for key in &keys {
            expect_reply!(key.claim(&call("eve")).await, ClaimReply::InProgress { .. });
        }
        a.complete(grant, &result("new")).await;
        for key in &keys {
            let got =
                expect_reply!(key.claim(&call("eve")).await, ClaimReply::Completed { result, .. } => result);
            assert_eq!(got, result("new"), "the result of the second run");
        }
        read_through_both(&keys).await;
    }
}

/// A history that was read through one handle has what was done since through the other.
pub(crate) async fn both_handles_return_the_current_history(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let mut expected = Vec::new();
        for n in 0..4 {
            let ann = call("ann");
            keys[n % 2].granted(&ann).await;
            keys[(n / 2) % 2].cancel(ann.claim_id).await;
            expected.extend(["claimed", "cancelled"]);
            for key in &keys {
                assert_eq!(key.changes().await, expected, "the events of {}", key.address);
            }
        }
    }
}

/// A page that was read through one handle shows what was done since through the other.
pub(crate) async fn both_handles_return_the_current_page(context: &LawContext) {
    for labs in both(context).await {
        let mut expected: Vec<String> = Vec::new();
        for n in 0..4 {
            let key = format!("k{n}");
            labs[n % 2].execution(&key).granted(&call("ann")).await;
            expected.push(key);
            for context in &labs {
                assert_eq!(context.keys(&context.everything()).await, expected, "the keys of a page");
            }
        }
        let [first, second] = record(&labs, |context| context.execution("k0"));
        first
            .release(sentinel_core::Grant {
                token: first.record().await.token,
                claim_id: first.record().await.claim_id.expect("a holder"),
            })
            .await;
        expected.remove(0);
        assert!(second.record().await.claim_id.is_none());
        for context in &labs {
            assert_eq!(context.keys(&context.everything()).await, expected, "the keys of a page");
        }
    }
}

/// A decision through one handle is known to the other: repeated it gets the same reply, and another one is stale.
pub(crate) async fn both_handles_know_the_last_decision(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let [a, b] = &keys;
        let doubt = a.abandoned(&call("ann")).await;
        read_through_both(&keys).await;
        let decision = reconcile("olga", doubt.token);
        let token = b.taken(&decision).await;
        expect_reply!(a.reconcile(&decision).await, ReconcileReply::Taken { token: same, .. } if same == token);
        expect_reply!(a.reconcile(&reconcile("omar", token)).await, ReconcileReply::HeldBy { .. });
        let stolen = a.taken(&Reconcile { steal: true, ..reconcile("omar", token) }).await;
        expect_reply!(b.reset_to_claimed(&reset("olga", token)).await, ResetReply::StaleDecision(_));
        let freed = reset("omar", stolen);
        let reply = b.reset_to_claimed(&freed).await.reply;
        assert_eq!(a.reset_to_claimed(&freed).await.reply, reply, "the same reset through another handle");
        read_through_both(&keys).await;
    }
}

/// Tokens that two handles draw in turn for one record grow by the rule of clock and record.
pub(crate) async fn both_handles_draw_increasing_tokens_for_one_record(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.lease("k"));
        let mut last = 0;
        for n in [0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0] {
            let stamp = keys[n].claim(&call("ann")).await.stamp;
            assert_eq!(stamp.token.get(), last.max(stamp.now.as_micros()) + 1, "the token of a claim");
            let stamp = keys[1 - n].evict(&evict("olga", stamp.token)).await.stamp;
            assert!(stamp.changed, "an eviction of the current token");
            last = stamp.token.get();
        }
    }
}

/// What was purged through one handle is absent for the other, and its token is the floor for both.
pub(crate) async fn a_purge_applies_to_both_handles(context: &LawContext) {
    for labs in both(context).await {
        let keys = record(&labs, |context| context.execution("k"));
        let [a, b] = &keys;
        // The other handle has drawn a token in the namespace before.
        labs[1].lease("warm").granted(&call("eve")).await;
        let old = a.granted(&call("ann")).await;
        a.release(old).await;
        read_through_both(&keys).await;
        context.advance(REST).await;
        labs[0].forget();
        let purge = Purge { namespace: labs[0].namespace().clone(), limit: 10, dry_run: false };
        assert_eq!(labs[0].store().purge(&purge).await.expect("the store purges").records, 1);
        assert!(b.record().await.is_absent(), "the other handle still returns what was purged");
        context.set_back(REST).await;
        let address =
            Address::lease(labs[0].namespace().clone(), sentinel_core::Key::new("other").expect("a key"));
        for next in [b.granted(&call("bob")).await, labs[1].subject(address).granted(&call("bob")).await] {
            assert!(next.token > old.token, "a token fell below what was purged through another handle");
        }
        read_through_both(&keys).await;
        context.advance(REST).await;
    }
}

/// Of two claims at once through two handles one is granted.
pub(crate) async fn of_two_claims_through_two_handles_one_is_granted(context: &LawContext) {
    const ROUNDS: u32 = 32;
    for labs in both(context).await {
        for n in 0..ROUNDS {
            let keys = record(&labs, |context| context.execution(&n.to_string()));
            let claims = [fused("ann"), fused("bob")];
            let store = |n: usize| (labs[n].store(), &keys[n].address, &claims[n]);
            let ((one, address, ann), (two, _, bob)) = (store(0), store(1));
            let (first, second) = tokio::join!(one.claim(address, ann), two.claim(address, bob));
            labs[0].forget();
            let replies = [first.expect("a reply"), second.expect("a reply")];
            let granted = replies.iter().filter(|r| matches!(r.reply, ClaimReply::Granted(_))).count();
            assert_eq!(granted, 1, "of two claims through two handles: {replies:?}");
            read_through_both(&keys).await;
        }
    }
}
