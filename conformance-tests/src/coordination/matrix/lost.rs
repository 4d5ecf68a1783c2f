//! Lost requests and replies: each operation, from each start state in which it changes something, is sent again.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::store::Purge;
use sentinel_core::{Address, Applied, CoordinationStore, Event, Record, StoreError, Token};

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::{Asks, granted};
use crate::coordination::faults::{Fault, Faulty, Plan};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::diff;

/// From so many start states of each state.
const START_STATES: u32 = 2;

/// From start states where the operation is granted: its request is lost, and nothing has changed; its reply is lost,
/// and it took effect; it is sent again, is told the same, and nothing changes twice.
///
/// # Panics
/// If it is not so: says from where. Also if nothing was sent.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn lost(context: &LawContext, operation: &str) {
    let (_, asks) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let mut sent = 0;
    for (start_state, _, ways) in granted(context, *asks, START_STATES) {
        for way in ways {
            let mut stage = RecordUnderTest::at_work(context, sent, start_state).await;
            if let Err(broken) = one(context, &mut stage, *asks, way).await {
                panic!("{}, {operation} {}: {broken}", start_state.words, asks(&stage)[way].words);
            }
            sent += 1;
        }
    }
    println!("matrix: {sent} start_states from which a {operation} was lost");
    assert!(sent > 0, "no {operation} was sent");
}

async fn one(
    context: &LawContext,
    stage: &mut RecordUnderTest<'_>,
    asks: Asks,
    way: usize,
) -> Result<(), String> {
    let op = asks(stage).swap_remove(way).op;
    let (address, before) = (stage.address().clone(), stage.record().clone());
    let network = Faulty::new(context.store().clone(), Plan::quiet().nth(op.name(), 1, Fault::LoseRequest));
    is_ambiguous(op.send(&network, &address).await)?;
    stage.look().await.map_err(|broken| format!("its request was lost: {broken}"))?;
    let events = read(context, &address).await?.1.len();
    network.then(|_| Plan::quiet().nth(op.name(), 2, Fault::LoseReply));
    is_ambiguous(op.send(&network, &address).await)?;
    let (once, told) = read(context, &address).await?;
    let appended = usize::from(!matches!(op, Op::Heartbeat(_)));
    same("changes of the record, its reply lost", &(before.rev + 1), &once.rev)?;
    same("events, its reply lost", &(events + appended), &told.len())?;
    let again = op.send(&network, &address).await.map_err(|error| format!("sent again: {error}"))?;
    // A clock that runs gives a heartbeat that is sent again a little more: the same, were it the only one.
    if matches!(op, Op::Heartbeat(_)) && again.stamp.changed {
        return Ok(());
    }
    same("reply, sent again", &first_reply(&address, before, &once, &op)?, &again.reply)?;
    if again.stamp.changed {
        return Err("sent again, it says that it changed something".to_owned());
    }
    same("record and events, sent again", &(once, told), &read(context, &address).await?)
}

/// The reply that was lost: what the kernel says for the instant at which the record was changed.
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

fn is_ambiguous(answer: Result<Stamped<Reply>, StoreError>) -> Result<(), String> {
    match answer {
        Err(error) if error.applied() == Applied::Ambiguous => Ok(()),
        other => Err(format!("what was lost was answered: {other:?}")),
    }
}

pub(super) fn same<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: not what it has to be{}", diff(expected, got)))
}

/// Sent again, it finds nothing left to do.
pub(crate) async fn a_purge_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    let k = context.execution("served");
    k.cancel(call("ann").claim_id).await;
    context.advance(REST).await;
    context.forget();
    let purge = Purge { namespace: context.namespace().clone(), limit: 10, dry_run: false };
    let plan = Plan::quiet().nth("purge", 1, Fault::LoseRequest).nth("purge", 2, Fault::LoseReply);
    let network = Faulty::new(context.store().clone(), plan);
    let lost = network.purge(&purge).await.expect_err("its request is lost");
    assert_eq!((lost.applied(), k.record().await.is_absent()), (Applied::Ambiguous, false));
    let lost = network.purge(&purge).await.expect_err("its reply is lost");
    assert_eq!((lost.applied(), k.record().await.is_absent()), (Applied::Ambiguous, true));
    let again = network.purge(&purge).await.expect("an answer");
    assert_eq!((again.records, k.story().await), (0, vec!["purged"]));
}

/// Sent again under its claim id, it gets the grant that it has.
pub(crate) async fn a_claim_takes_effect_once_although_its_reply_was_lost(context: &LawContext) {
    lost(context, "claim").await;
}

/// Sent again, it is told that it has begun.
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

/// Sent again, it is confirmed as long as nobody came later.
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
