//! Two threads send requests for one record in the same instant, many times: the requests are applied one after the
//! other.
//!
//! `matrix::overlaps` makes sure that two requests overlap where a store waits within one of them. A store that
//! releases its lock between reading and writing without waiting is found here: two threads start each round together,
//! one of them a fraction of a request's duration later, another fraction in each round. On a busy machine some rounds
//! do not overlap, so more rounds follow until enough did.

use std::time::Duration;

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::coordination::laws::lockstep::{Lockstep, Round};
use crate::coordination::matrix::overlaps::explained;

/// How many rounds each pair of requests has: half of them through one handle, half through two.
const ROUNDS: usize = 32;

/// How many batches of rounds there are at most, if too few requests overlapped.
const BATCHES: usize = 4;

/// The number of rounds for a store of this kind. Two requests to a server, or to another thread, overlap long enough
/// that a few rounds suffice.
fn rounds(context: &LawContext) -> usize {
    match (context.store().describe().in_process, context.sizes().law_passes) {
        (true, _) => ROUNDS,
        (false, 0..2) => ROUNDS / 8,
        (false, _) => ROUNDS / 2,
    }
}

/// Prepares a record for each round, lets time pass, and has both requests of each round sent at once, until enough of
/// them overlapped in time.
async fn together(
    context: &LawContext,
    words: &str,
    wait: Duration,
    prepare: impl AsyncFn(&Subject<'_>) -> [Op; 2],
) {
    let (mut overlapped, lockstep) = (0, Lockstep::default());
    for batch in 0..BATCHES {
        let mut subjects = Vec::new();
        for round in 0..rounds(context) {
            let key = context.execution(&format!("{words}, batch {batch}, round {round}"));
            let ops = prepare(&key).await;
            subjects.push((key, ops));
        }
        context.advance(wait).await;
        let mut rounds = Vec::new();
        for (key, ops) in subjects {
            let (before, events_before) = (key.record().await, key.events().await);
            rounds.push(Round { address: key.address, before, events_before, ops });
        }
        let [first, second] = lockstep.send(context, &rounds, batch * rounds.len()).await;
        for (round, sent) in rounds.iter().zip(first.into_iter().zip(second)) {
            overlapped += usize::from(sent.0.overlaps(&sent.1));
            let [one_op, two_op] = &round.ops;
            let replies =
                [(one_op, sent.0.reply.expect("a reply")), (two_op, sent.1.reply.expect("a reply"))];
            let key = context.subject(round.address.clone());
            let (after, events) = (key.record().await, key.events().await);
            let checked =
                explained(&round.address, (&round.before, &round.events_before), &replies, (&after, &events));
            checked.unwrap_or_else(|broken| panic!("{words}: {broken}"));
        }
        if overlapped >= rounds.len() * 3 / 4 {
            break;
        }
    }
}

/// A claim with a concurrent claim, its own cancel, or a request that ends the claim before.
pub(crate) async fn a_claim_and_a_concurrent_request_are_applied_one_after_the_other(context: &LawContext) {
    let now = Duration::ZERO;
    together(context, "two claims", now, async |_| [fused("ann").into(), fused("bob").into()]).await;
    let cancelled = async |_: &Subject<'_>| {
        let ann = fused("ann");
        [Cancel { claim_id: ann.claim_id }.into(), ann.into()]
    };
    together(context, "a claim and its cancel", now, cancelled).await;
    let evicted = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [call("bob").into(), evict("olga", grant.token).into()]
    };
    together(context, "a take-over and an eviction", TTL, evicted).await;
    let revived = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [call("bob").into(), Heartbeat { grant }.into()]
    };
    together(context, "a take-over and a heartbeat", TTL, revived).await;
}

/// A begin with a concurrent eviction, cancel or release.
pub(crate) async fn a_begin_and_a_concurrent_request_are_applied_one_after_the_other(context: &LawContext) {
    let now = Duration::ZERO;
    let evicted = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), evict("olga", grant.token).into()]
    };
    together(context, "a begin and an eviction", now, evicted).await;
    let cancelled = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), Cancel { claim_id: grant.claim_id }.into()]
    };
    together(context, "a begin and a cancel", now, cancelled).await;
    let released = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), Release { grant, vouched: false }.into()]
    };
    together(context, "a begin and a release", now, released).await;
}

/// A heartbeat with each concurrent request that ends the grant.
pub(crate) async fn a_heartbeat_and_a_concurrent_request_are_applied_one_after_the_other(
    context: &LawContext,
) {
    type Other = fn(sentinel_core::Grant) -> Op;
    let others: [(&str, Other); 5] = [
        ("a completion", |grant| Complete { grant, result: result("x") }.into()),
        ("a vouched release", |grant| Release { grant, vouched: true }.into()),
        ("a cancel", |grant| Cancel { claim_id: grant.claim_id }.into()),
        ("an abandonment", |grant| {
            Abandon { grant, cause: label("lost contact"), late_effects: NONE_LATE }.into()
        }),
        ("a reconciliation", |grant| {
            Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) }.into()
        }),
    ];
    for (words, other) in others {
        let beat = async |key: &Subject<'_>| {
            let grant = key.begun(&call("ann")).await;
            [Heartbeat { grant }.into(), other(grant)]
        };
        together(context, &format!("a heartbeat and {words}"), HALF, beat).await;
    }
}

/// A completion with a concurrent other result, and with each request that ends the execution.
pub(crate) async fn a_completion_and_a_concurrent_request_are_applied_one_after_the_other(
    context: &LawContext,
) {
    type Other = fn(sentinel_core::Grant) -> Op;
    let others: [(&str, Other); 5] = [
        ("another result", |grant| Complete { grant, result: result("y") }.into()),
        ("a vouched release", |grant| Release { grant, vouched: true }.into()),
        ("a cancel", |grant| Cancel { claim_id: grant.claim_id }.into()),
        ("an abandonment", |grant| {
            Abandon { grant, cause: label("lost contact"), late_effects: NONE_LATE }.into()
        }),
        ("a reconciliation", |grant| reconcile("olga", grant.token).into()),
    ];
    for (words, other) in others {
        let complete = async |key: &Subject<'_>| {
            let grant = key.begun(&call("ann")).await;
            [Complete { grant, result: result("x") }.into(), other(grant)]
        };
        together(context, &format!("a completion and {words}"), TTL, complete).await;
    }
}

/// A decision with another concurrent one, and with one that steals the key.
pub(crate) async fn a_decision_and_a_concurrent_request_are_applied_one_after_the_other(
    context: &LawContext,
) {
    type Other = fn(sentinel_core::Token) -> Op;
    let force_x: Other = |token| force("olga", token, &result("x")).into();
    let reset_it: Other = |token| reset("olga", token).into();
    let steal: Other = |token| Reconcile { steal: true, ..reconcile("omar", token) }.into();
    let pairs = [
        ("a forced result and a theft", force_x, steal),
        ("a reset and a theft", reset_it, steal),
        ("a forced result and a reset", force_x, reset_it),
        ("two thefts", steal, steal),
    ];
    for (words, one, other) in pairs {
        let decide = async |key: &Subject<'_>| {
            let doubt = key.abandoned(&call("ann")).await;
            let token = key.taken(&reconcile("olga", doubt.token)).await;
            [one(token), other(token)]
        };
        together(context, words, Duration::ZERO, decide).await;
    }
}
