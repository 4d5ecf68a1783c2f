//! The matrix is complete: no start state, no operation and no kind of reply is missing.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, Change, CoordinationStore, Event, ManualClock, StoreError, StoreTime, Token};
use sentinel_memory::MemoryStore;

use super::cells::OPERATIONS;
use super::{check, start_state};
use crate::coordination::harness::{DynHarness, Harness};
use crate::coordination::law_context::LawContext;
use crate::coordination::sequences::StartState;
use crate::sizes::Sizes;
use sentinel_core::{Layer, Layered};

struct Memory {
    store: MemoryStore,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Harness for Memory {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
        Self { store: MemoryStore::with_clock(clock.clone()), clock }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// All replies of the rules, for each operation.
fn replies(operation: &str) -> BTreeSet<&'static str> {
    let replies: &[&str] = match operation {
        "claim" => &[
            "change",
            "repeat",
            "invalid",
            "AlreadyReleased",
            "InProgress",
            "Uncertain",
            "Completed",
            "Reconciling",
            "FingerprintMismatch",
        ],
        "begin" => &["change", "repeat", "invalid", "Superseded", "Expired", "Completed"],
        "heartbeat" => {
            &["change", "repeat", "Superseded", "Completed", "HardDeadline", "Lapsed", "Abandoned"]
        }
        "complete" => &["change", "repeat", "invalid", "Conflict", "NotBegun", "Superseded"],
        "cancel" => &["change", "repeat", "Untouched"],
        "release" => &["change", "repeat", "MayHaveRun", "Superseded"],
        "abandon" => &["change", "repeat", "invalid", "Superseded"],
        "reconcile" => &[
            "change",
            "repeat",
            "invalid",
            "StaleDecision",
            "HeldBy",
            "StillAlive",
            "AlreadyCompleted",
            "NotExecuting",
        ],
        "force_complete" => &["change", "repeat", "invalid", "StaleDecision", "NotDecodable"],
        "reset_to_claimed" => &["change", "repeat", "invalid", "StaleDecision", "EffectsMayLand"],
        "evict" => &["change", "repeat", "StaleDecision", "Executing", "NotClaimed"],
        other => panic!("{other} is no operation"),
    };
    replies.iter().copied().collect()
}

/// The start states of records that the rules distinguish.
const START_STATES: [StartState; 12] = [
    StartState::Absent,
    StartState::Free,
    StartState::ClaimedLive,
    StartState::ClaimedLapsed,
    StartState::ClaimedPastHard,
    StartState::ExecutingLive,
    StartState::ExecutingLapsed,
    StartState::ExecutingPastHard,
    StartState::CompletedKept,
    StartState::CompletedPastRetention,
    StartState::ReconcilingWithinHard,
    StartState::ReconcilingPastHard,
];

#[tokio::test]
async fn no_start_state_and_no_reply_is_missing() {
    let mut total = 0;
    for (operation, requests_of) in OPERATIONS {
        let context = LawContext::new(Arc::new(Memory::open().await), Sizes::DEFAULT);
        let tally = check(&context, operation, requests_of).await;
        println!("matrix: {} cells for {operation}\n{}", tally.cells, tally.replies);
        let events_before: BTreeSet<_> = tally.replies.cells().map(|(_, op, rule, _)| (op, rule)).collect();
        let known = replies(operation).into_iter().map(|rule| (operation, rule)).collect();
        assert_eq!(events_before, known, "the replies to {operation}");
        for start_state in START_STATES {
            let met = tally.replies.cells().any(|(s, _, rule, _)| s == start_state && rule != "invalid");
            assert!(met, "{start_state:?} never got {operation}");
        }
        assert!(tally.cells >= 300, "{} cells for {operation}", tally.cells);
        total += tally.cells;
    }
    println!("matrix: {total} cells");
}

#[test]
fn each_start_state_has_its_own_words() {
    let words: BTreeSet<_> = start_state::ALL.iter().map(|start_state| start_state.words).collect();
    assert_eq!(words.len(), start_state::ALL.len());
}

/// One flaw before a correct store.
#[derive(Debug, Clone, Copy)]
enum StorageFault {
    /// Treats a release as a vouched one.
    VouchesForAll,
    /// Treats every caller with the current token as the holder.
    TrustsTokens,
    /// Refusals contain a newer token than there is.
    ReportsAnotherToken,
    /// Treats every reset as one that accepts an overlap.
    AcceptsOverlaps,
    /// Keeps a worker whose hard deadline is this very instant.
    KeepsAtTheDeadline,
    /// Keeps no event of an eviction.
    ForgetsEvictions,
}

#[derive(Debug)]
struct Flawed {
    flaw: StorageFault,
    inner: Arc<dyn CoordinationStore>,
}

#[async_trait]
impl Layer for Flawed {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let op = match (self.flaw, op) {
            (StorageFault::VouchesForAll, Op::Release(op)) => Op::Release(Release { vouched: true, ..op }),
            (StorageFault::AcceptsOverlaps, Op::ResetToClaimed(op)) => {
                Op::ResetToClaimed(ResetToClaimed { accept_overlap: true, ..op })
            }
            (StorageFault::TrustsTokens, Op::Heartbeat(Heartbeat { mut grant })) => {
                let record = self.inner.inspect(address).await?.record;
                if let Some(claim_id) = record.filter(|r| r.token == grant.token).and_then(|r| r.claim_id) {
                    grant.claim_id = claim_id;
                }
                Op::Heartbeat(Heartbeat { grant })
            }
            (_, op) => op,
        };
        let mut stamped = op.send(&*self.inner, address).await?;
        if let (StorageFault::ReportsAnotherToken, Reply::Begin(BeginReply::Superseded(current))) =
            (self.flaw, &mut stamped.reply)
        {
            current.token = Token::from_stored(current.token.get() + 1);
        }
        if let (StorageFault::KeepsAtTheDeadline, Reply::Heartbeat(reply @ HeartbeatReply::Lost(_))) =
            (self.flaw, &mut stamped.reply)
        {
            let until = self.inner.inspect(address).await?.record.map(|record| record.hard_until);
            if let Some(lease_until) = until.filter(|until| *until == stamped.stamp.now) {
                *reply = HeartbeatReply::Kept { lease_until };
            }
        }
        Ok(stamped)
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut events = self.inner.history(address, limit).await?;
        if matches!(self.flaw, StorageFault::ForgetsEvictions) {
            events.retain(|event| event.change != Change::Evicted);
        }
        Ok(events)
    }
}

struct Flawy {
    memory: Memory,
    store: Arc<Layered<Flawed>>,
}

#[async_trait]
impl DynHarness for Flawy {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.store.clone()
    }

    async fn advance(&self, by: Duration) {
        Harness::advance(&self.memory, by).await;
    }

    async fn set_back(&self, _: Duration) -> bool {
        false
    }
}

/// The finding of the matrix about a store with this flaw. Panics if there is none.
fn finding(flaw: StorageFault, operation: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let memory = runtime.block_on(Memory::open());
    let store = Arc::new(Layered(Flawed { flaw, inner: Harness::store(&memory) }));
    let harness: Arc<dyn DynHarness> = Arc::new(Flawy { memory, store });
    let (_, requests_of) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(check(&LawContext::new(harness, Sizes::DEFAULT), operation, *requests_of));
    }));
    *verdict.expect_err("the flaw was not noticed").downcast::<String>().expect("the matrix explains itself")
}

#[test]
fn a_flaw_is_reported_with_its_cell() {
    let events_before = |flaw, operation, cell: &str, differs: &str| {
        let finding = finding(flaw, operation);
        println!("{finding}\n");
        assert!(finding.starts_with(cell), "{flaw:?} was reported as {finding}");
        assert!(finding.contains(differs), "{flaw:?} was reported as {finding}");
    };
    events_before(
        StorageFault::VouchesForAll,
        "release",
        "executing at once, at once: release by the holder:",
        "MayHaveRun",
    );
    events_before(
        StorageFault::TrustsTokens,
        "heartbeat",
        "claimed, at once: heartbeat by another claim id with the right token:",
        "Superseded",
    );
    events_before(
        StorageFault::ReportsAnotherToken,
        "begin",
        "an absent execution, at once: begin by",
        "token:",
    );
    events_before(
        StorageFault::AcceptsOverlaps,
        "reset_to_claimed",
        "reconciling after a lapse, at once: reset_to_claimed under the current token:",
        "EffectsMayLand",
    );
    events_before(
        StorageFault::KeepsAtTheDeadline,
        "heartbeat",
        "claimed, exactly at its hard deadline: heartbeat by the holder:",
        "HardDeadline",
    );
    events_before(
        StorageFault::ForgetsEvictions,
        "evict",
        "on the way to free after an eviction:",
        "the history",
    );
}
