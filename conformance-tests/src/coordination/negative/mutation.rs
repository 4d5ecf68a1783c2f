//! One rule removed: from the kernel, from the store around it, or by a layer before it.

use std::sync::Arc;

use sentinel_core::kernel::{self, Op, Operation, Reading, Reply, Rule};
use sentinel_core::operation::*;
use sentinel_core::{CoordinationStore, Event, Record, StoreError};

use crate::coordination::harness::DynHarness;

/// What a guard is shown.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "what a guard of the kernel is given")]
pub struct Snapshot {
    pub record: Record,
    pub op: Op,
    pub at: Reading,
}

/// What was written.
#[derive(Debug)]
#[expect(missing_docs, reason = "before and after a write of the kernel")]
pub struct Written<'a> {
    pub op: &'a Op,
    pub at: Reading,
    pub before: &'a Record,
    pub after: &'a mut Record,
}

/// What is wrong around the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the mutation that uses each describes it")]
pub enum StorageFault {
    KindsShareARecord,
    NamespaceAndKeyAreJoined,
    KeysAreFolded,
    KeysAreCut,
    NotAtomic,
    ClockOfItsOwn,
    EventsAreForgotten,
    EventsAreDoubled,
    HeartbeatsAreLogged,
    RefusalsAreLogged,
    HistoryIsTheOldest,
    HistoryIsNewestFirst,
    PagesAreUnordered,
    PagesIgnoreAfter,
    PagesIgnoreTheirLimit,
    PagesShowTombstones,
    PagesListUncertainAsExecuting,
    PagesAreNotLifted,
    PagesCarryBytes,
    ReadsSweep,
    WaitsSweep,
    WaitsForAChange,
    BatchStopsAtALoss,
    BatchIsSorted,
    FloorIsForgotten,
    PurgeIsHasty,
    PurgeIgnoresRetention,
    PurgeTakesExecutions,
    PurgeDeletesUncertain,
    PurgeTakesClaims,
    PurgeTakesResets,
    PurgeIgnoresItsLimit,
    PurgeLeavesNoEvent,
    PurgeKeepsEvents,
    PurgeTakesAllNamespaces,
    DryRunsDelete,
    PurgeTakesBothKinds,
    PurgeTakesWhatADryRunFound,
    FloorIsTheLast,
    FloorIsRaisedLater,
    PurgeNeverReportsMore,
    PurgeAlwaysReportsMore,
    PurgeCountsWhatStays,
    PurgeSkipsLongKeys,
    DryRunsForgetEvents,
    PurgeForgetsAllNamespaces,
    EventsAreForgottenByAge,
    PurgeKeepsWhatHasNoRetention,
    LeasesLeaveNoFloor,
    OneNamespaceHasAFloor,
    FloorIsForgottenByAnEmptyPurge,
    DecisionsOutliveAPurge,
    EventsAreNeverTrimmed,
    EventsAreTrimmedWithoutABase,
    EventsAreTrimmedEarly,
    HalfOfTheEventsAreKept,
    TheBaseIsThePresent,
    TokensNeverEnd,
    RefusedClaimsSetTheCause,
    CausesStay,
    CausesOutliveAPurge,
    CausesOfOneNamespace,
    CausesOfExecutions,
    CausesIgnoreAfter,
    CausesAreUnordered,
    CausesCarryBytes,
    CausesHaveNoTrace,
    CausesAreFoundByTheirBeginning,
    CausesAreCut,
}

/// One rule removed.
#[derive(Clone)]
pub struct Mutation {
    /// What the store does wrong.
    pub name: &'static str,
    /// The sentence of the specification that it breaks.
    pub rule: &'static str,
    guard: Option<fn(&mut Snapshot)>,
    write: Option<fn(&mut Written<'_>)>,
    reply: Option<fn(&Record, &mut Stamped<Reply>)>,
    pub(super) flaw: Option<StorageFault>,
    layer: Option<LayerOver>,
    /// Opens the store, where it is not a [`FlawedStore`](super::BrokenStore).
    pub(super) build: Option<fn() -> Arc<dyn DynHarness>>,
}

/// Puts a layer before a store.
pub(super) type LayerOver = fn(Arc<dyn CoordinationStore>) -> Arc<dyn CoordinationStore>;

impl Mutation {
    pub(crate) const fn new(name: &'static str, rule: &'static str) -> Self {
        Self { name, rule, guard: None, write: None, reply: None, flaw: None, layer: None, build: None }
    }

    /// Puts a layer before a store that is whole.
    pub(super) const fn layer(mut self, layer: LayerOver) -> Self {
        self.layer = Some(layer);
        self
    }

    /// The store with the layer of this mutation before it.
    pub(super) fn over(&self, store: Arc<dyn CoordinationStore>) -> Arc<dyn CoordinationStore> {
        match self.layer {
            Some(layer) => layer(store),
            None => store,
        }
    }

    /// Opens another store instead of a [`FlawedStore`](super::BrokenStore).
    pub(super) const fn built(mut self, build: fn() -> Arc<dyn DynHarness>) -> Self {
        self.build = Some(build);
        self
    }

    /// Misleads the guard: it decides on changed input, and the write uses the real record.
    pub(crate) const fn guard(mut self, guard: fn(&mut Snapshot)) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Spoils what is written.
    pub(crate) const fn write(mut self, write: fn(&mut Written<'_>)) -> Self {
        self.write = Some(write);
        self
    }

    /// Spoils what is answered.
    pub(crate) const fn reply(mut self, reply: fn(&Record, &mut Stamped<Reply>)) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Breaks the store around the kernel.
    pub(crate) const fn flaw(mut self, flaw: StorageFault) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// The kernel without this rule: what [`Op::apply`] does, done wrong.
    pub fn apply(
        &self,
        record: &mut Record,
        op: &Op,
        at: Reading,
    ) -> Result<kernel::Transition<Reply>, StoreError> {
        let mut seen = Snapshot { record: record.clone(), op: op.clone(), at };
        if let Some(lie) = self.guard {
            lie(&mut seen);
        }
        let at = Reading { now: at.now.max(record.last_now), ..at };
        seen.at.now = seen.at.now.max(seen.record.last_now);
        macro_rules! step {
            ([] $($_method:ident, $name:ident, $_reply:ident;)*) => {
                match (op, &seen.op) {
                    $((Op::$name(op), Op::$name(shown)) => self.step(record, op, shown, &seen, at, Reply::$name),)*
                    (Op::Heartbeat(op), Op::Heartbeat(shown)) => {
                        self.step(record, op, shown, &seen, at, Reply::Heartbeat)
                    }
                    _ => unreachable!("changed input keeps the operation"),
                }
            };
        }
        let mut outcome = sentinel_core::for_each_operation!(step [])?;
        if let Some(lie) = self.reply {
            lie(record, &mut outcome.stamped);
        }
        Ok(outcome)
    }

    fn step<O: Operation + Into<Op>>(
        &self,
        record: &mut Record,
        op: &O,
        shown: &O,
        seen: &Snapshot,
        at: Reading,
        into: impl FnOnce(O::Reply) -> Reply,
    ) -> Result<kernel::Transition<Reply>, StoreError> {
        op.admit(at.kind)?;
        let (reply, changed, event) = match shown.rule(&seen.record, &seen.at) {
            Rule::Refuse(reply) => (reply, false, None),
            Rule::Repeat => (op.confirm(record, &at), false, None),
            Rule::Change => {
                let before = record.clone();
                let event = op.write(record, &at);
                if let Some(lie) = self.write {
                    lie(&mut Written { op: &op.clone().into(), at, before: &before, after: record });
                }
                let event = event.map(|event| Event { token: record.token, to: Some(record.state), ..event });
                (op.confirm(record, &at), true, event)
            }
        };
        let stamp = Stamp { now: at.now, rev: record.rev, token: record.token, state: record.state, changed };
        Ok(kernel::Transition { stamped: Stamped { reply: into(reply), stamp }, event })
    }
}

impl std::fmt::Debug for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
