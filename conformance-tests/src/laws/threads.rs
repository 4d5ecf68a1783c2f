//! Two threads that ask about one record in the same instant, many times: both requests are carried out one after the other.
//!
//! `matrix::overlaps` makes sure that two requests overlap where a store waits within one of them. A store that lets go of
//! its lock between reading and writing without waiting is met here: two threads start each round together, a little
//! earlier or later than in the round before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore, Event, Record, StoreError};

use crate::cast::*;
use crate::lab::{Lab, Subject};
use crate::matrix::overlaps::explained;

/// How often each pair of requests meets at most: half of it through one handle, half through two.
const ROUNDS: usize = 32;

/// How often it meets in a store of this kind. Two requests to a server, or to another thread, overlap for so long that a
/// few rounds are enough.
fn rounds(lab: &Lab) -> usize {
    match (lab.store().describe().in_process, lab.sizes().law_passes) {
        (true, _) => ROUNDS,
        (false, 0..2) => ROUNDS / 8,
        (false, _) => ROUNDS / 2,
    }
}

/// A pair of requests about one record, and what they found.
struct Round {
    /// Which record.
    address: Address,
    /// The record before the two requests.
    before: Record,
    /// Its events before them.
    told: Vec<Event>,
    /// The two requests.
    ops: [Op; 2],
}

/// Lets two threads go on together, round by round.
#[derive(Default)]
struct Lockstep {
    /// How often a thread has come to a round.
    arrived: AtomicUsize,
}

/// Lets the other thread go on alone, also if the store panics in this one.
struct Leaving(Arc<Lockstep>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.arrived.fetch_add(2 * ROUNDS, Ordering::SeqCst);
    }
}

impl Lockstep {
    /// Waits until both threads have come to a round.
    fn meet(&self, round: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut spun = 0_u32;
        while self.arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
            spun += 1;
            match spun {
                0..2_000 => std::hint::spin_loop(),
                _ => std::thread::yield_now(),
            }
        }
    }
}

/// Sends one request of each round from a thread of its own.
fn side(
    lockstep: Arc<Lockstep>,
    requests: Vec<(Arc<dyn CoordinationStore>, Address, Op)>,
    is_late: fn(usize) -> usize,
) -> tokio::task::JoinHandle<Vec<Result<Stamped<Reply>, StoreError>>> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let leaving = Leaving(lockstep);
        let mut replies = Vec::new();
        for (round, (store, address, op)) in requests.into_iter().enumerate() {
            leaving.0.meet(round);
            (0..is_late(round)).for_each(|_| std::hint::spin_loop());
            replies.push(runtime.block_on(op.send(&*store, &address)));
        }
        replies
    })
}

/// Prepares a record for each round, lets time pass, and has both requests of each round sent at once.
async fn together(lab: &Lab, words: &str, wait: Duration, prepare: impl AsyncFn(&Subject<'_>) -> [Op; 2]) {
    let mut subjects = Vec::new();
    for round in 0..rounds(lab) {
        let key = lab.execution(&format!("{words}, round {round}"));
        let ops = prepare(&key).await;
        subjects.push((key, ops));
    }
    lab.advance(wait).await;
    let mut rounds = Vec::new();
    for (key, ops) in subjects {
        let (before, told) = (key.record().await, key.events().await);
        rounds.push(Round { address: key.address, before, told, ops });
    }
    let one = Arc::clone(lab.store());
    let two = lab.two_handles().await.unwrap_or_else(|| [Arc::clone(&one), Arc::clone(&one)]);
    let requests = |side: usize| {
        let through = |round: usize| if round.is_multiple_of(2) { &one } else { &two[side] };
        let request = |(n, round): (usize, &Round)| {
            (Arc::clone(through(n)), round.address.clone(), round.ops[side].clone())
        };
        rounds.iter().enumerate().map(request).collect()
    };
    let lockstep = Arc::new(Lockstep::default());
    let first = side(Arc::clone(&lockstep), requests(0), |round| round % 8 * 10);
    let second = side(lockstep, requests(1), |round| round / 8 * 20);
    let (first, second) = (first.await.expect("no panic"), second.await.expect("no panic"));
    lab.forget();
    for (round, (one, two)) in rounds.iter().zip(first.into_iter().zip(second)) {
        let [one_op, two_op] = &round.ops;
        let said = [(one_op, one.expect("an answer")), (two_op, two.expect("an answer"))];
        let key = lab.subject(round.address.clone());
        let (after, events) = (key.record().await, key.events().await);
        let judged = explained(&round.address, (&round.before, &round.told), &said, (&after, &events));
        judged.unwrap_or_else(|broken| panic!("{words}: {broken}"));
    }
}

/// A claim beside another, beside its own cancel, and beside what ends the claim before.
pub(crate) async fn claims_and_other_requests_at_once(lab: &Lab) {
    let now = Duration::ZERO;
    together(lab, "two claims", now, async |_| [fused("ann").into(), fused("bob").into()]).await;
    let cancelled = async |_: &Subject<'_>| {
        let ann = fused("ann");
        [Cancel { claim_id: ann.claim_id }.into(), ann.into()]
    };
    together(lab, "a claim and its cancel", now, cancelled).await;
    let evicted = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [call("bob").into(), evict("olga", grant.token).into()]
    };
    together(lab, "a take-over and an eviction", TTL, evicted).await;
    let revived = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [call("bob").into(), Heartbeat { grant }.into()]
    };
    together(lab, "a take-over and a heartbeat", TTL, revived).await;
}

/// A begin beside an eviction, a cancel and a release.
pub(crate) async fn begins_and_other_requests_at_once(lab: &Lab) {
    let now = Duration::ZERO;
    let evicted = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), evict("olga", grant.token).into()]
    };
    together(lab, "a begin and an eviction", now, evicted).await;
    let cancelled = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), Cancel { claim_id: grant.claim_id }.into()]
    };
    together(lab, "a begin and a cancel", now, cancelled).await;
    let released = async |key: &Subject<'_>| {
        let grant = key.granted(&call("ann")).await;
        [Begin { grant }.into(), Release { grant, vouched: false }.into()]
    };
    together(lab, "a begin and a release", now, released).await;
}

/// A heartbeat beside all that ends the grant.
pub(crate) async fn heartbeats_and_other_requests_at_once(lab: &Lab) {
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
        together(lab, &format!("a heartbeat and {words}"), HALF, beat).await;
    }
}

/// A completion beside another result, and beside all that takes the execution away.
pub(crate) async fn completions_and_other_requests_at_once(lab: &Lab) {
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
        together(lab, &format!("a completion and {words}"), TTL, complete).await;
    }
}

/// A decision beside another one, and beside one that steals the doubt.
pub(crate) async fn decisions_and_other_requests_at_once(lab: &Lab) {
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
            let doubt = key.doubtful(&call("ann")).await;
            let token = key.taken(&reconcile("olga", doubt.token)).await;
            [one(token), other(token)]
        };
        together(lab, words, Duration::ZERO, decide).await;
    }
}
