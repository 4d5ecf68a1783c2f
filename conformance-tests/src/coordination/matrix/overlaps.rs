//! Two requests at once for one record: whatever the store waits for within one of them, they are applied one after the
//! other.
//!
//! The overlap does not depend on chance. The first request is polled a number of times, the second is polled to its
//! end, then the first continues: for each number of polls, in each order, through one handle and through two. A store
//! that reads a record, waits, and writes what it made of it loses the second request each time. What happens between
//! two threads without any wait is up to `laws::races`.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Address, CoordinationStore, Event, Record, StoreError, Token};

use super::cells::OPERATIONS;
use super::dropped::polled;
use super::lost::{read, same};
use super::record_under_test::RecordUnderTest;
use super::start_state::{self, StartState};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;

/// A request is interrupted within this number of polls.
const POLLS: u32 = 12;
/// A request that does not end by itself within this time waits for the one that was interrupted.
const STALL: Duration = Duration::from_millis(5);
/// How much time passes before the two requests: none, until the lease is over, until all deadlines are over.
const RESTS: [Duration; 3] = [Duration::ZERO, TTL, Duration::from_secs(KEPT.as_secs() + HARD.as_secs())];

/// A record, and the operations that change it, each with two requests.
struct OverlapCase {
    start_state: &'static StartState,
    rest: Duration,
    /// The number of the operation, the index of its first request that changes the record, and of its last.
    changes: Vec<(usize, usize, usize)>,
}

/// All cases that differ in kind, state or in what changes the record.
fn cases(context: &LawContext) -> &'static [OverlapCase] {
    static CASES: OnceLock<Vec<OverlapCase>> = OnceLock::new();
    CASES.get_or_init(|| imagined(context))
}

fn imagined(context: &LawContext) -> Vec<OverlapCase> {
    let mut cases = Vec::new();
    let mut seen = HashSet::new();
    for start_state in start_state::ALL {
        for rest in RESTS {
            let mut under_test = RecordUnderTest::imagined(context, start_state);
            under_test.imagine_rest(rest);
            let mut changes = Vec::new();
            for (number, (_, requests_of)) in OPERATIONS.iter().enumerate() {
                let requests = requests_of(&under_test);
                let mut indices =
                    (0..requests.len()).filter(|index| under_test.clone().imagine(&requests[*index].op));
                if let Some(first) = indices.next() {
                    changes.push((number, first, indices.next_back().unwrap_or(first)));
                }
            }
            let operations: Vec<usize> = changes.iter().map(|(number, ..)| *number).collect();
            if seen.insert((start_state.kind, under_test.record().state, operations)) {
                cases.push(OverlapCase { start_state, rest, changes });
            }
        }
    }
    cases
}

/// Both handles of a pair of requests: the same one twice, and two.
async fn handles(context: &LawContext) -> Vec<[Arc<dyn CoordinationStore>; 2]> {
    let one = context.store();
    let mut handles = vec![[Arc::clone(one), Arc::clone(one)]];
    handles.extend(context.two_handles().await);
    handles
}

/// Interrupts one operation by every other that changes the same record.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn interrupted(context: &LawContext, operation: &str) {
    let (handles, mut numbers) = (handles(context).await, 0..);
    for case in cases(context) {
        let Some((first, index, _)) =
            case.changes.iter().find(|(number, ..)| OPERATIONS[*number].0 == operation).copied()
        else {
            continue;
        };
        for (second, _, other_way) in &case.changes {
            for through in &handles {
                for polls in 1..POLLS {
                    let number = numbers.next().unwrap_or_default();
                    let under_test =
                        RecordUnderTest::at_rest(context, number, case.start_state, case.rest).await;
                    let one = OPERATIONS[first].1(&under_test).swap_remove(index).op;
                    let two = OPERATIONS[*second].1(&under_test).swap_remove(*other_way).op;
                    match overlap(context, &under_test, through, [&one, &two], polls).await {
                        Ok(true) => break,
                        Ok(false) => {}
                        Err(broken) => panic!(
                            "{}, after {:?}: {operation}, interrupted at poll {polls} by {}: {broken}",
                            case.start_state.words,
                            case.rest,
                            two.name()
                        ),
                    }
                }
            }
        }
    }
    println!("matrix: {} overlaps of {operation} with another request", numbers.start);
}

/// Whether the first request ended before it could be interrupted.
async fn overlap(
    context: &LawContext,
    under_test: &RecordUnderTest<'_>,
    through: &[Arc<dyn CoordinationStore>; 2],
    [one, two]: [&Op; 2],
    polls: u32,
) -> Result<bool, String> {
    let (address, before) = (under_test.address(), under_test.record());
    let events_before = read(context, address).await?.1;
    let [first, second] = through;
    let (one_reply, two_reply, ended) =
        interleaved(polls, one.send(&**first, address), two.send(&**second, address)).await;
    let unanswered = |error: StoreError| format!("a request failed: {error}");
    let replies = [(one, one_reply.map_err(unanswered)?), (two, two_reply.map_err(unanswered)?)];
    let (record, events) = read(context, address).await?;
    explained(address, (before, &events_before), &replies, (&record, &events))?;
    Ok(ended)
}

/// Polls the first future this number of times, the second to its end, then the first to its end. If the second waits
/// for the first, both continue together. Returns also whether the first had ended before the second began.
pub(crate) async fn interleaved<A, B>(polls: u32, first: A, second: B) -> (A::Output, B::Output, bool)
where
    A: Future,
    B: Future,
{
    let (mut first, mut second) = (pin!(first), pin!(second));
    let begun = tokio::time::timeout(STALL, polled(polls, first.as_mut())).await.ok().flatten();
    if let Some(one) = begun {
        return (one, second.await, true);
    }
    match tokio::time::timeout(STALL, second.as_mut()).await {
        Ok(two) => (first.await, two, false),
        Err(_) => {
            let (one, two) = tokio::join!(first, second);
            (one, two, false)
        }
    }
}

/// Whether two requests were applied one after the other, in either order: replies, record and events are what the
/// kernel makes of the record before. A heartbeat that is answered as unknown had no effect.
///
/// # Errors
/// What differs in each order.
pub(crate) fn explained(
    address: &Address,
    (before, events_before): (&Record, &[Event]),
    replies: &[(&Op, Stamped<Reply>); 2],
    (after, events): (&Record, &[Event]),
) -> Result<(), String> {
    let mut findings = String::new();
    for order in [[0, 1], [1, 0]] {
        let order = order.map(|n| &replies[n]);
        let (mut record, mut log) = (before.clone(), events_before.to_vec());
        let one_by_one = order.iter().try_for_each(|(op, got)| {
            if got.reply == Reply::Heartbeat(HeartbeatReply::Unknown) {
                return Ok(());
            }
            let reading = Reading { kind: address.kind, now: got.stamp.now, floor: Token::NONE };
            let outcome = op.apply(&mut record, reading).map_err(|invalid| invalid.to_string())?;
            log.extend(outcome.event);
            same(&format!("the reply to {}", op.name()), &outcome.stamped, got)
        });
        let whole = one_by_one
            .and_then(|()| same("the record", &record, after))
            .and_then(|()| same("the history", &log.as_slice(), &events));
        match whole {
            Ok(()) => return Ok(()),
            Err(broken) => {
                let [(one, _), (two, _)] = order;
                findings += &format!("\n  as {} and then {}: {broken}", one.name(), two.name());
            }
        }
    }
    Err(format!("no order of the two requests explains the replies and the record{findings}"))
}

/// A purge that is interrupted, and one that interrupts.
pub(crate) async fn an_interrupted_purge_loses_no_other_request(context: &LawContext) {
    type Request = fn() -> Op;
    let requests_of: [Request; 3] =
        [|| call("bob").into(), || fused("bob").into(), || Cancel { claim_id: call("bob").claim_id }.into()];
    for through in handles(context).await {
        for request in requests_of {
            for purges_first in [true, false] {
                for polls in 1..POLLS {
                    let ended =
                        purge_overlap(&context.apart(), &through, &request(), purges_first, polls).await;
                    match ended {
                        Ok(true) => break,
                        Ok(false) => {}
                        Err(broken) => panic!(
                            "a purge beside {}, the {} interrupted at poll {polls}: {broken}",
                            request().name(),
                            if purges_first { "purge" } else { "request" }
                        ),
                    }
                }
            }
        }
    }
}

async fn purge_overlap(
    context: &LawContext,
    [first, second]: &[Arc<dyn CoordinationStore>; 2],
    op: &Op,
    purges_first: bool,
    polls: u32,
) -> Result<bool, String> {
    let (key, purge) =
        (context.execution("k"), Purge { namespace: context.namespace().clone(), limit: 10, dry_run: false });
    key.completed(&Claim { retention: Some(TTL), ..call("ann") }, &result("x")).await;
    context.advance(REST).await;
    let (before, events_before) = read(context, &key.address).await?;
    let (purged, replies, ended) = if purges_first {
        interleaved(polls, first.purge(&purge), op.send(&**second, &key.address)).await
    } else {
        let (replies, purged, ended) =
            interleaved(polls, op.send(&**first, &key.address), second.purge(&purge)).await;
        (purged, replies, ended)
    };
    let unanswered = |error: StoreError| format!("a request failed: {error}");
    let (purged, replies) = (purged.map_err(unanswered)?, replies.map_err(unanswered)?);
    let (after, events) = read(context, &key.address).await?;
    beside_a_purge(&key.address, (before, events_before), purged, (op, &replies), (&after, &events))
        .map(|()| ended)
}

/// Whether the purge came first; or the request did, and either changed nothing or left nothing to purge.
fn beside_a_purge(
    address: &Address,
    (before, events_before): (Record, Vec<Event>),
    purged: Purged,
    (op, replies): (&Op, &Stamped<Reply>),
    (after, events): (&Record, &[Event]),
) -> Result<(), String> {
    let last = before.token;
    let answered = |mut record: Record, mut log: Vec<Event>, floor: Token| {
        let reading = Reading { kind: address.kind, now: replies.stamp.now, floor };
        let outcome = op.apply(&mut record, reading).map_err(|invalid| invalid.to_string())?;
        log.extend(outcome.event);
        same("the reply", &outcome.stamped, replies)?;
        Ok::<_, String>((record, log))
    };
    let first = answered(before, events_before, Token::NONE);
    if purged.records == 0 {
        let (record, log) = first?;
        same("the record, nothing was purged", &record, after)?;
        return same("the history, nothing was purged", &log.as_slice(), &events);
    }
    same("the first event after a purge", &Some("purged"), &events.first().map(|event| event.change.name()))?;
    if first.is_ok() && !replies.stamp.changed {
        return same("the record and its events, purged", &(&Record::absent(), 1), &(after, events.len()));
    }
    let (record, log) = answered(Record::absent(), events.iter().take(1).cloned().collect(), last)?;
    same("the record, the one before was purged", &record, after)?;
    same("the history, the one before was purged", &log.as_slice(), &events)
}

/// Claims that are interrupted.
pub(crate) async fn an_interrupted_claim_loses_no_other_request(context: &LawContext) {
    interrupted(context, "claim").await;
}

/// Begins that are interrupted.
pub(crate) async fn an_interrupted_begin_loses_no_other_request(context: &LawContext) {
    interrupted(context, "begin").await;
}

/// Heartbeats that are interrupted.
pub(crate) async fn an_interrupted_heartbeat_loses_no_other_request(context: &LawContext) {
    interrupted(context, "heartbeat").await;
}

/// Completions that are interrupted.
pub(crate) async fn an_interrupted_completion_loses_no_other_request(context: &LawContext) {
    interrupted(context, "complete").await;
}

/// Cancels that are interrupted.
pub(crate) async fn an_interrupted_cancel_loses_no_other_request(context: &LawContext) {
    interrupted(context, "cancel").await;
}

/// Releases that are interrupted.
pub(crate) async fn an_interrupted_release_loses_no_other_request(context: &LawContext) {
    interrupted(context, "release").await;
}

/// Abandonments that are interrupted.
pub(crate) async fn an_interrupted_abandonment_loses_no_other_request(context: &LawContext) {
    interrupted(context, "abandon").await;
}

/// Reconciliations that are interrupted.
pub(crate) async fn an_interrupted_reconciliation_loses_no_other_request(context: &LawContext) {
    interrupted(context, "reconcile").await;
}

/// Forced results that are interrupted.
pub(crate) async fn an_interrupted_forced_result_loses_no_other_request(context: &LawContext) {
    interrupted(context, "force_complete").await;
}

/// Resets that are interrupted.
pub(crate) async fn an_interrupted_reset_loses_no_other_request(context: &LawContext) {
    interrupted(context, "reset_to_claimed").await;
}

/// Evictions that are interrupted.
pub(crate) async fn an_interrupted_eviction_loses_no_other_request(context: &LawContext) {
    interrupted(context, "evict").await;
}
