//! Atomicity: guard, write, token and event are one step on one record. Each law sends its requests from many tasks on
//! several threads at once; what it asserts holds for every order in which they may arrive.

use std::future::Future;
use std::sync::Arc;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{ClaimId, CoordinationStore, State};
use tokio::sync::Barrier;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};

/// How many requests race.
const MANY: usize = 32;

/// Runs one task for each input, all at once.
async fn at_once<I, F, T>(
    context: &LawContext,
    inputs: Vec<I>,
    run: impl Fn(Arc<dyn CoordinationStore>, I) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let gate = Arc::new(Barrier::new(inputs.len()));
    let spawn = |input| {
        let (gate, work) = (Arc::clone(&gate), run(Arc::clone(context.store()), input));
        tokio::spawn(async move {
            gate.wait().await;
            work.await
        })
    };
    let tasks: Vec<_> = inputs.into_iter().map(spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("the store does not panic"));
    }
    context.forget();
    results
}

/// Sends requests about one record, all at once. Checks what is required of any race: the changes are numbered without
/// gap or duplicate, each has an event, and in that order neither clock nor token falls.
async fn race(context: &LawContext, key: &Subject<'_>, ops: Vec<Op>) -> Vec<Stamped<Reply>> {
    let (before, events_before) = (key.record().await, key.events().await.len());
    let replies = at_once(context, ops, |store, op| {
        let address = key.address.clone();
        async move { op.send(&*store, &address).await.expect("a reply") }
    })
    .await;
    let mut changes: Vec<Stamp> = replies.iter().map(|r| r.stamp).filter(|stamp| stamp.changed).collect();
    changes.sort_unstable_by_key(|stamp| stamp.rev);
    let revs: Vec<u64> = changes.iter().map(|stamp| stamp.rev).collect();
    let expected: Vec<u64> = (before.rev + 1..).take(changes.len()).collect();
    assert_eq!(revs, expected, "each change has a rev of its own");
    assert!(changes.is_sorted_by_key(|stamp| stamp.now) && changes.is_sorted_by_key(|stamp| stamp.token));
    assert_eq!(key.record().await.rev, before.rev + changes.len() as u64);
    let beats = replies.iter().filter(|r| r.stamp.changed && matches!(r.reply, Reply::Heartbeat(_))).count();
    assert_eq!(key.events().await.len(), events_before + changes.len() - beats, "one event for each change");
    key.assert_rebuilt().await;
    replies
}

/// Whether a claim was granted.
fn granted(reply: &Stamped<Reply>) -> bool {
    matches!(reply.reply, Reply::Claim(ClaimReply::Granted(_)))
}

/// How many requests changed the record.
fn changed(replies: &[Stamped<Reply>]) -> usize {
    replies.iter().filter(|reply| reply.stamp.changed).count()
}

/// Claims of many calls.
fn claims(of: fn(&str) -> Claim) -> Vec<Op> {
    (0..MANY).map(|n| of(&format!("w{n}")).into()).collect()
}

/// Of many concurrent claims on one key one is granted.
pub(crate) async fn of_many_claims_one_is_granted(context: &LawContext) {
    for (key, of) in [
        (context.execution("k"), call as fn(&str) -> Claim),
        (context.execution("fused"), fused),
        (context.lease("k"), call),
    ] {
        let replies = race(context, &key, claims(of)).await;
        assert_eq!(replies.iter().filter(|reply| granted(reply)).count(), 1);
        assert_eq!(changed(&replies), 1);
    }
}

/// Of many that take over a lapsed claim one wins.
pub(crate) async fn of_many_take_overs_one_wins(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let lost = key.granted(&call("ann")).await;
        context.advance(HARD).await;
        let replies = race(context, &key, claims(call)).await;
        assert_eq!(replies.iter().filter(|reply| granted(reply)).count(), 1);
        assert!(key.record().await.token > lost.token);
    }
}

/// Of many that claim a result past its retention one wins, and no reply has the old result after that.
pub(crate) async fn of_many_claims_past_retention_one_wins(context: &LawContext) {
    let key = context.execution("k");
    key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("old")).await;
    context.advance(KEPT).await;
    let replies = race(context, &key, claims(fused)).await;
    assert_eq!(replies.iter().filter(|reply| granted(reply)).count(), 1);
    assert!(!replies.iter().any(|r| matches!(r.reply, Reply::Claim(ClaimReply::Completed { .. }))));
}

/// Many copies of one claim get one grant: all the same token, and one copy changed the record.
pub(crate) async fn many_copies_of_a_claim_get_one_grant(context: &LawContext) {
    for (key, ann) in [(context.execution("k"), fused("ann")), (context.lease("k"), call("ann"))] {
        let replies = race(context, &key, vec![ann.into(); MANY]).await;
        assert!(replies.iter().all(granted));
        assert!(replies.iter().all(|reply| reply.stamp.token == replies[0].stamp.token));
        assert_eq!(changed(&replies), 1);
    }
}

/// A claim on one key does not delay a claim on another.
pub(crate) async fn many_keys_are_granted_at_once(context: &LawContext) {
    let addresses = (0..MANY).map(|n| context.execution(&format!("k{n}")).address).collect();
    let all = at_once(context, addresses, |store, address| async move {
        store.claim(&address, &call("ann")).await.expect("a reply").reply
    })
    .await;
    assert!(all.iter().all(|reply| matches!(reply, ClaimReply::Granted(_))));
}

/// Of many results for one execution the first is kept; it is the one that is replayed.
pub(crate) async fn of_many_results_the_first_is_kept(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let sent = |n: usize| Complete { grant, result: result(&format!("result {n}")) };
    let replies = race(context, &key, (0..MANY).map(|n| sent(n).into()).collect()).await;
    let won = replies.iter().position(|reply| reply.stamp.changed).expect("one is kept");
    for (n, reply) in replies.iter().enumerate() {
        let expected =
            if n == won { CompleteReply::Recorded { late: false } } else { CompleteReply::Conflict };
        assert_eq!(reply.reply, Reply::Complete(expected));
    }
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == sent(won).result);
}

/// A claim and its cancel, in any order: the claim is undone or refused, and the key is free.
pub(crate) async fn a_claim_and_its_cancel_leave_the_key_free(context: &LawContext) {
    for n in 0..MANY {
        let (key, ann) = (context.execution(&format!("k{n}")), fused("ann"));
        let ops = vec![ann.clone().into(), Cancel { claim_id: ann.claim_id }.into(), ann.clone().into()];
        race(context, &key, ops).await;
        let record = key.record().await;
        assert!(record.state == State::Free && record.past_claims.contains(ann.claim_id));
    }
}

/// A claim begins or is evicted, never both.
pub(crate) async fn a_claim_begins_or_is_evicted(context: &LawContext) {
    for n in 0..MANY {
        let key = context.execution(&format!("k{n}"));
        let grant = key.granted(&call("ann")).await;
        let ops = vec![Begin { grant }.into(), evict("olga", grant.token).into()];
        let replies = race(context, &key, ops).await;
        assert_eq!(changed(&replies), 1, "{replies:?}");
    }
}

/// A claim is released by its worker or evicted by an operator, never both.
pub(crate) async fn a_lease_is_released_or_evicted(context: &LawContext) {
    for n in 0..MANY {
        let key = context.lease(&format!("k{n}"));
        let grant = key.granted(&call("ann")).await;
        let ops = vec![Release { grant, vouched: false }.into(), evict("olga", grant.token).into()];
        let replies = race(context, &key, ops).await;
        assert_eq!(changed(&replies), 1, "{replies:?}");
    }
}

/// A worker completes or an operator takes the key, never both.
pub(crate) async fn a_worker_completes_or_is_fenced_out(context: &LawContext) {
    for n in 0..MANY {
        let key = context.execution(&format!("k{n}"));
        let grant = key.begun(&call("ann")).await;
        let take = Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) };
        let ops =
            vec![Complete { grant, result: result("x") }.into(), take.into(), Heartbeat { grant }.into()];
        let replies = race(context, &key, ops).await;
        assert!(replies[0].stamp.changed != replies[1].stamp.changed, "{replies:?}");
    }
}

/// Of many operators one takes an uncertain key, and of many decisions about it one is applied.
pub(crate) async fn of_many_operators_one_decides(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let take = |n: usize| reconcile(&format!("olga {n}"), doubt.token).into();
    assert_eq!(changed(&race(context, &key, (0..MANY).map(take).collect()).await), 1);
    let token = key.record().await.token;
    let decide = |n: usize| -> Op {
        if n.is_multiple_of(2) {
            force("olga", token, &result("x")).into()
        } else {
            reset("olga", token).into()
        }
    };
    assert_eq!(changed(&race(context, &key, (0..MANY).map(decide).collect()).await), 1);
}

/// Batches of heartbeats that name the same records in opposite orders all end; no beat is lost.
pub(crate) async fn batches_in_opposite_orders_do_not_block_each_other(context: &LawContext) {
    let mut beats = Vec::new();
    for n in 0..16 {
        let lease = context.lease(&format!("k{n}"));
        let grant = lease.granted(&call("ann")).await;
        beats.push(Beat { address: lease.address.clone(), grant });
    }
    context.advance(HALF).await;
    let mut reversed = beats.clone();
    reversed.reverse();
    let batches =
        (0..MANY).map(|n| if n.is_multiple_of(2) { beats.clone() } else { reversed.clone() }).collect();
    let answers = at_once(context, batches, |store, batch: Vec<Beat>| async move {
        store.heartbeat(&batch).await.expect("a reply")
    })
    .await;
    for reply in answers {
        assert_eq!(reply.len(), 16);
        assert!(reply.iter().all(|beat| !matches!(beat.reply, HeartbeatReply::Lost(_))), "{reply:?}");
    }
}

/// Purges and claims at once: one claim is granted, above what was purged, whatever came first.
pub(crate) async fn a_purge_does_not_delete_a_concurrent_claim(context: &LawContext) {
    for n in 0..8 {
        let (context, name) = (context.apart(), format!("k{n}"));
        let key = context.execution(&name);
        let old = key.granted(&call("ann")).await;
        key.release(old).await;
        context.advance(REST).await;
        let (address, namespace) = (key.address.clone(), context.namespace().clone());
        let all = at_once(&context, (0..8).collect(), |store, n: u32| {
            let purge = Purge { namespace: namespace.clone(), limit: 100, dry_run: false };
            let (address, bob) = (address.clone(), call(&format!("w{n}")));
            async move {
                if n.is_multiple_of(2) {
                    store.purge(&purge).await.expect("a reply");
                    return None;
                }
                Some(store.claim(&address, &bob).await.expect("a reply"))
            }
        })
        .await;
        let won: Vec<_> =
            all.iter().flatten().filter(|s| matches!(s.reply, ClaimReply::Granted(_))).collect();
        assert_eq!(won.len(), 1);
        let record = key.record().await;
        assert!(record.token == won[0].stamp.token && record.token > old.token);
        key.assert_rebuilt().await;
    }
}

/// Many calls of one key, one after another's release: no token is drawn twice.
pub(crate) async fn no_token_is_drawn_twice(context: &LawContext) {
    let key = context.lease("k");
    let drawn = at_once(context, (0..MANY).collect(), |store, n: usize| {
        let address = key.address.clone();
        async move {
            let mut drawn = Vec::new();
            for _ in 0..8 {
                let ann = Claim { claim_id: ClaimId::random(), ..call(&format!("w{n}")) };
                let reply = store.claim(&address, &ann).await.expect("a reply");
                if let ClaimReply::Granted(granted) = reply.reply {
                    drawn.push(granted.token);
                    let grant = sentinel_core::Grant { token: granted.token, claim_id: ann.claim_id };
                    store.release(&address, &Release { grant, vouched: false }).await.expect("a reply");
                }
            }
            drawn
        }
    })
    .await;
    let mut tokens: Vec<_> = drawn.into_iter().flatten().collect();
    let count = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert!(count > 0 && tokens.len() == count, "a token was granted twice");
}
