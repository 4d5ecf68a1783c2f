//! Lost requests and replies: each operation, from each start state in which it changes something, is sent again.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::store::Purge;
use sentinel_core::{Address, Applied, CoordinationStore, Event, Record, StoreError, Token};

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::{RequestsOf, granted};
use crate::coordination::faults::{Fault, FaultPlan, Faulty};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::diff;

/// The number of start states for each state.
const START_STATES: u32 = 2;

/// From start states where the operation is granted: its request is lost, and nothing has changed; its reply is lost,
/// and it took effect; it is sent again, gets the same reply, and nothing changes twice.
///
/// # Panics
/// If this is not the case, with the start state. Also if nothing was sent.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn lost(context: &LawContext, operation: &str) {
    let (_, requests_of) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let mut sent = 0;
    for (start_state, _, indices) in granted(context, *requests_of, START_STATES) {
        for index in indices {
            let mut under_test = RecordUnderTest::at_work(context, sent, start_state).await;
            if let Err(broken) = one(context, &mut under_test, *requests_of, index).await {
                panic!(
                    "{}, {operation} {}: {broken}",
                    start_state.words,
                    requests_of(&under_test)[index].words
                );
            }
            sent += 1;
        }
    }
    println!("matrix: {sent} start_states from which a {operation} was lost");
    assert!(sent > 0, "no {operation} was sent");
}

async fn one(
    context: &LawContext,
    under_test: &mut RecordUnderTest<'_>,
    requests_of: RequestsOf,
    index: usize,
) -> Result<(), String> {
    let op = requests_of(under_test).swap_remove(index).op;
    let (address, before) = (under_test.address().clone(), under_test.record().clone());
    let network =
        Faulty::new(context.store().clone(), FaultPlan::none().nth(op.name(), 1, Fault::LoseRequest));
    is_ambiguous(op.send(&network, &address).await)?;
    under_test.check_stored().await.map_err(|broken| format!("its request was lost: {broken}"))?;
    let events = read(context, &address).await?.1.len();
    network.then(|_| FaultPlan::none().nth(op.name(), 2, Fault::LoseReply));
    is_ambiguous(op.send(&network, &address).await)?;
    let (once, events_before) = read(context, &address).await?;
    let appended = usize::from(!matches!(op, Op::Heartbeat(_)));
    same("changes of the record, its reply lost", &(before.rev + 1), &once.rev)?;
    same("events, its reply lost", &(events + appended), &events_before.len())?;
    let again = op.send(&network, &address).await.map_err(|error| format!("sent again: {error}"))?;
    // A clock that runs gives a heartbeat that is sent again a little more: the same, were it the only one.
    if matches!(op, Op::Heartbeat(_)) && again.stamp.changed {
        return Ok(());
    }
    same("reply, sent again", &first_reply(&address, before, &once, &op)?, &again.reply)?;
    if again.stamp.changed {
        return Err("sent again, it reports that it changed something".to_owned());
    }
    same("record and events, sent again", &(once, events_before), &read(context, &address).await?)
}

/// The reply that was lost: the kernel's reply for the instant at which the record was changed.
pub(super) fn first_reply(
    address: &Address,
    mut record: Record,
    once: &Record,
    op: &Op,
) -> Result<Reply, String> {
    let reading = Reading { kind: address.kind, now: once.last_now, floor: Token::NONE };
    let outcome = op.apply(&mut record, reading).map_err(|invalid| invalid.to_string())?;
    Ok(outcome.stamped.reply)
}

pub(super) async fn read(context: &LawContext, address: &Address) -> Result<(Record, Vec<Event>), String> {
    let record = context.store().inspect(address).await.map_err(|error| error.to_string())?.record;
    let events = context.store().history(address, u32::MAX).await.map_err(|error| error.to_string())?;
    Ok((record.unwrap_or_else(Record::absent), events))
}

fn is_ambiguous(reply: Result<Stamped<Reply>, StoreError>) -> Result<(), String> {
    match reply {
        Err(error) if error.applied() == Applied::Ambiguous => Ok(()),
        other => Err(format!("a lost request was answered: {other:?}")),
    }
}

pub(super) fn same<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: not as required{}", diff(expected, got)))
}

/// Sent again, it finds nothing left to do.
pub(crate) async fn a_purge_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    let k = context.execution("served");
    k.cancel(call("ann").claim_id).await;
    context.advance(REST).await;
    context.forget();
    let purge = Purge { namespace: context.namespace().clone(), limit: 10, dry_run: false };
    let plan = FaultPlan::none().nth("purge", 1, Fault::LoseRequest).nth("purge", 2, Fault::LoseReply);
    let network = Faulty::new(context.store().clone(), plan);
    let lost = network.purge(&purge).await.expect_err("its request is lost");
    assert_eq!((lost.applied(), k.record().await.is_absent()), (Applied::Ambiguous, false));
    let lost = network.purge(&purge).await.expect_err("its reply is lost");
    assert_eq!((lost.applied(), k.record().await.is_absent()), (Applied::Ambiguous, true));
    let again = network.purge(&purge).await.expect("a reply");
    assert_eq!((again.records, k.changes().await), (0, vec!["purged"]));
}

/// Sent again under its claim id, it gets the grant that it has.
pub(crate) async fn a_claim_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "claim").await;
}

/// Sent again, it is confirmed: the claim has begun.
pub(crate) async fn a_begin_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "begin").await;
}

/// Sent again, it extends no further than once.
pub(crate) async fn a_heartbeat_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "heartbeat").await;
}

/// Sent again, the same bytes are confirmed.
pub(crate) async fn a_completion_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "complete").await;
}

/// Sent again, it is confirmed.
pub(crate) async fn a_cancel_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "cancel").await;
}

/// Sent again, it is confirmed unless a later call changed the record.
pub(crate) async fn a_release_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "release").await;
}

/// Sent again, it is confirmed.
pub(crate) async fn an_abandonment_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "abandon").await;
}

/// Sent again under its op id, it gets the token that it has.
pub(crate) async fn a_reconciliation_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "reconcile").await;
}

/// Sent again under its op id, it is confirmed.
pub(crate) async fn a_forced_result_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "force_complete").await;
}

/// Sent again under its op id, it gets the token that it drew.
pub(crate) async fn a_reset_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "reset_to_claimed").await;
}

/// Sent again under its op id, it gets the token that it drew.
pub(crate) async fn an_eviction_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "evict").await;
}
