//! That the matrix is as wide as it says: no standing, no operation and no kind of answer is missing.

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
use super::{check, standing};
use crate::harness::{Bench, Harness};
use crate::lab::Lab;
use crate::sequences::Standing;
use crate::suite::Sizes;
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

/// All answers that the rules know, for each operation.
fn answers(operation: &str) -> BTreeSet<&'static str> {
    let answers: &[&str] = match operation {
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
    answers.iter().copied().collect()
}

/// Where a record can stand, as finely as the rules look.
const STANDINGS: [Standing; 12] = [
    Standing::Absent,
    Standing::Free,
    Standing::ClaimedLive,
    Standing::ClaimedLapsed,
    Standing::ClaimedPastHard,
    Standing::ExecutingLive,
    Standing::ExecutingLapsed,
    Standing::ExecutingPastHard,
    Standing::CompletedKept,
    Standing::CompletedPastRetention,
    Standing::ReconcilingWithinHard,
    Standing::ReconcilingPastHard,
];

#[tokio::test]
async fn no_standing_and_no_answer_is_missing() {
    let mut total = 0;
    for (operation, asks) in OPERATIONS {
        let lab = Lab::new(Arc::new(Memory::open().await), Sizes::DEFAULT);
        let tally = check(&lab, operation, asks).await;
        println!("matrix: {} cells for {operation}\n{}", tally.cells, tally.answers);
        let told: BTreeSet<_> = tally.answers.cells().map(|(_, op, rule, _)| (op, rule)).collect();
        let known = answers(operation).into_iter().map(|rule| (operation, rule)).collect();
        assert_eq!(told, known, "the answers to {operation}");
        for standing in STANDINGS {
            let met = tally.answers.cells().any(|(s, _, rule, _)| s == standing && rule != "invalid");
            assert!(met, "{standing:?} was never asked {operation}");
        }
        assert!(tally.cells >= 300, "{} cells for {operation}", tally.cells);
        total += tally.cells;
    }
    println!("matrix: {total} cells");
}

#[test]
fn each_standing_has_words_of_its_own() {
    let words: BTreeSet<_> = standing::ALL.iter().map(|standing| standing.words).collect();
    assert_eq!(words.len(), standing::ALL.len());
}

/// One flaw before a correct store.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// Takes a release for a vouched one.
    VouchesForAll,
    /// Takes whoever presents the right token for the holder.
    TrustsTokens,
    /// Tells those who were refused of a newer token than there is.
    TellsAnotherToken,
    /// Takes every reset for one that accepts an overlap.
    AcceptsOverlaps,
    /// Keeps a worker whose hard deadline is this very instant.
    KeepsAtTheDeadline,
    /// Keeps no event of an eviction.
    ForgetsEvictions,
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    inner: Arc<dyn CoordinationStore>,
}

#[async_trait]
impl Layer for Flawed {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let op = match (self.flaw, op) {
            (Flaw::VouchesForAll, Op::Release(op)) => Op::Release(Release { vouched: true, ..op }),
            (Flaw::AcceptsOverlaps, Op::ResetToClaimed(op)) => {
                Op::ResetToClaimed(ResetToClaimed { accept_overlap: true, ..op })
            }
            (Flaw::TrustsTokens, Op::Heartbeat(Heartbeat { mut grant })) => {
                let record = self.inner.inspect(address).await?.record;
                if let Some(claim_id) = record.filter(|r| r.token == grant.token).and_then(|r| r.claim_id) {
                    grant.claim_id = claim_id;
                }
                Op::Heartbeat(Heartbeat { grant })
            }
            (_, op) => op,
        };
        let mut stamped = op.send(&*self.inner, address).await?;
        if let (Flaw::TellsAnotherToken, Reply::Begin(BeginReply::Superseded(current))) =
            (self.flaw, &mut stamped.reply)
        {
            current.token = Token::from_stored(current.token.get() + 1);
        }
        if let (Flaw::KeepsAtTheDeadline, Reply::Heartbeat(reply @ HeartbeatReply::Lost(_))) =
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
        if matches!(self.flaw, Flaw::ForgetsEvictions) {
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
impl Bench for Flawy {
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

/// What the matrix says of a store with this flaw. Panics if it says nothing.
fn finding(flaw: Flaw, operation: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let memory = runtime.block_on(Memory::open());
    let store = Arc::new(Layered(Flawed { flaw, inner: Harness::store(&memory) }));
    let bench: Arc<dyn Bench> = Arc::new(Flawy { memory, store });
    let (_, asks) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let verdict = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(check(&Lab::new(bench, Sizes::DEFAULT), operation, *asks));
    }));
    *verdict.expect_err("the flaw was not noticed").downcast::<String>().expect("the matrix explains itself")
}

#[test]
fn a_flaw_is_told_by_its_cell() {
    let told = |flaw, operation, cell: &str, differs: &str| {
        let finding = finding(flaw, operation);
        println!("{finding}\n");
        assert!(finding.starts_with(cell), "{flaw:?} was told as {finding}");
        assert!(finding.contains(differs), "{flaw:?} was told as {finding}");
    };
    told(Flaw::VouchesForAll, "release", "executing at once, at once: release by the holder:", "MayHaveRun");
    told(
        Flaw::TrustsTokens,
        "heartbeat",
        "claimed, at once: heartbeat by another claim id with the right token:",
        "Superseded",
    );
    told(Flaw::TellsAnotherToken, "begin", "an absent execution, at once: begin by", "token:");
    told(
        Flaw::AcceptsOverlaps,
        "reset_to_claimed",
        "reconciling after a lapse, at once: reset_to_claimed under the current token:",
        "EffectsMayLand",
    );
    told(
        Flaw::KeepsAtTheDeadline,
        "heartbeat",
        "claimed, exactly at its hard deadline: heartbeat by the holder:",
        "HardDeadline",
    );
    told(Flaw::ForgetsEvictions, "evict", "on the way to free after an eviction:", "the history");
}
