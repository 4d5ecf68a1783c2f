//! One world: a store, a clock, the effects that happened, and the planned faults.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::WorldClock;
use super::fault::{Fault, FaultPoint, Plan, Visit};
use super::reported::Reported;
use crate::kernel::Op;
use crate::reconcile::ReconcileOutcome;
use crate::record::{Address, Kind, Record};
use crate::store::{Clock as _, CoordinationStore as _, Inspection, StoreTime, VisibleState};
use crate::{Error, MemoryStore, Sentinel};

#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Arc<WorldClock>,
    pub(super) store: MemoryStore,
    pub(super) plan: Plan,
    /// Notified when the process that runs has crashed.
    pub(super) crashed: Notify,
    /// How long after its request a late effect lands.
    late: Duration,
    state: Mutex<State>,
}

/// The state of a world so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The process that runs; None: none.
    pub(super) process: Option<u32>,
    /// How often it visited each point.
    counts: HashMap<FaultPoint, u32>,
    /// The visits at which a fault could have occurred, in order.
    pub(super) visits: Vec<Visit>,
    /// How often each effect happened.
    pub(super) effects: BTreeMap<String, u32>,
    /// Effects that were requested and land later.
    pending_effects: Vec<Landing>,
    /// The runs of the process, with their hard deadlines.
    runs: HashMap<Address, StoreTime>,
    /// A process requested an effect after the hard deadline of its run: a description of it.
    pub(super) overdue: Option<String>,
    /// The idempotency keys that were used.
    used: HashSet<(String, String)>,
    /// Requests of which a copy arrives later.
    pub(super) late: Vec<Late>,
    /// The addresses of all records that were requested.
    pub(super) seen: BTreeSet<Address>,
    /// How each process ended.
    pub(super) ends: Vec<Ended>,
    /// The trace: what happened, one line for each step.
    pub(super) trace: Vec<String>,
    kept: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug, Clone)]
pub(super) struct Late {
    pub(super) address: Address,
    pub(super) op: Op,
}

/// An effect that lands later.
#[derive(Debug, Clone)]
struct Landing {
    at: StoreTime,
    key: String,
    under: Option<String>,
}

/// How a process ended, and the state at that time.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) process: u32,
    pub(super) end: End,
    pub(super) effects: BTreeMap<String, u32>,
    /// The uncertain keys.
    pub(super) doubts: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Reported(Reported),
    Panicked(String),
    Crashed,
    /// It did not end by itself.
    Hung,
}

impl World {
    pub(super) fn new(plan: Plan, late: Duration) -> Arc<Self> {
        let clock = Arc::new(WorldClock::new());
        let store = MemoryStore::with_clock(clock.clone());
        Arc::new(Self { clock, store, plan, crashed: Notify::new(), late, state: Mutex::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process: the world's clock follows the process' clock. Must be called in its runtime.
    pub(super) fn begins(&self, process: u32) {
        self.clock.follow();
        let mut state = self.state();
        state.process = Some(process);
        state.counts.clear();
        state.runs.clear();
    }

    /// Ends the process: nothing of it acts any more. Must be called in its runtime.
    pub(super) fn ends(&self) {
        self.state().process = None;
        self.clock.stop();
    }

    pub(super) fn lives(&self, process: u32) -> bool {
        self.state().process == Some(process)
    }

    /// The process reaches a point: returns the fault that occurs there. A process that has ended never gets an answer.
    pub(super) async fn reach(&self, point: FaultPoint) -> Option<Fault> {
        let reached = {
            let mut state = self.state();
            state.process.map(|process| {
                let nth = state.counts.entry(point.clone()).or_default();
                *nth += 1;
                let visit = Visit { process, point, nth: *nth };
                let fault = self.plan.at(&visit);
                state.visits.push(visit);
                fault
            })
        };
        match reached {
            Some(fault) => fault,
            None => pending().await,
        }
    }

    /// Crashes the process now.
    pub(super) async fn crash<T>(&self, when: &str) -> T {
        self.record(format!("crashes {when}"));
        self.state().process = None;
        self.crashed.notify_one();
        pending().await
    }

    /// A run has begun, or its claim was granted again: it may act until `hard_until`.
    pub(super) fn runs_until(&self, address: &Address, hard_until: StoreTime) {
        self.state().runs.insert(address.clone(), hard_until);
    }

    /// The process has reported the end of its run.
    pub(super) fn run_ended(&self, address: &Address) {
        self.state().runs.remove(address);
    }

    /// The process requests an effect. Records whether all its runs are past their hard deadlines.
    pub(super) fn acts(&self, key: &str) {
        let now = self.clock.now();
        let mut state = self.state();
        let over = !state.runs.is_empty() && state.runs.values().all(|hard_until| *hard_until <= now);
        if let (true, Some(process), None) = (over, state.process, &state.overdue) {
            state.overdue = Some(format!(
                "process {process} requested the effect on {key:?} after the hard deadline of its run: \
                the function ignored its cancellation, and another process may have run in the meantime"
            ));
        }
    }

    /// An effect will land after its caller's timeout.
    pub(super) fn lands_late(&self, key: String, under: Option<String>) {
        self.record(format!(
            "gets no answer in time about the effect on {key:?}, which lands {:?} later",
            self.late
        ));
        let at = self.clock.now().plus(self.late);
        self.state().pending_effects.push(Landing { at, key, under });
    }

    /// Lets the effects land that are due.
    pub(super) fn lands(&self) {
        let now = self.clock.now();
        let (due, left) =
            std::mem::take(&mut self.state().pending_effects).into_iter().partition(|one| one.at <= now);
        self.state().pending_effects = left;
        let due: Vec<Landing> = due;
        for Landing { key, under, .. } in due {
            self.note(format!("(the effect on {key:?} lands late)"));
            self.happen(key, under);
        }
    }

    /// Lets all requested effects land, at the end of the world.
    pub(super) fn all_lands(&self) {
        self.clock.advance(self.late);
        self.lands();
    }

    /// An effect happens, unless it was requested under an idempotency key that was used before.
    pub(super) fn happens(&self, key: String, under: Option<String>) {
        self.lands();
        self.happen(key, under);
    }

    fn happen(&self, key: String, under: Option<String>) {
        let first = under.is_none_or(|under| self.state().used.insert((key.clone(), under)));
        let how = if first { "happens" } else { "has happened under the same idempotency key" };
        self.record(format!("the effect on {key:?} {how}"));
        if first {
            *self.state().effects.entry(key).or_default() += 1;
        }
    }

    /// Adds a line about a process to the trace.
    pub(super) fn record(&self, what: impl AsRef<str>) {
        let mut state = self.state();
        let who = state.process.map_or("a process that has ended".to_owned(), |n| format!("process {n}"));
        state.trace.push(format!("{who}: {}", what.as_ref()));
    }

    /// Adds a line to the trace that is about no process.
    pub(super) fn note(&self, what: impl Into<String>) {
        self.state().trace.push(what.into());
    }

    pub(super) fn sees(&self, address: &Address) {
        let mut state = self.state();
        if !state.seen.contains(address) {
            state.seen.insert(address.clone());
        }
    }

    pub(super) fn keep<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let kind = TypeId::of::<T>();
        let kept = self.state().kept.get(&kind).cloned();
        let kept = kept.and_then(|kept| kept.downcast().ok());
        kept.unwrap_or_else(|| {
            // Created without the lock, because `make` may use the world.
            let made = Arc::new(make());
            self.state().kept.insert(kind, made.clone());
            made
        })
    }

    /// All records that were requested, as they are now.
    pub(super) async fn records(&self) -> Vec<(Address, Inspection)> {
        let seen = self.state().seen.clone();
        let mut records = Vec::new();
        for address in seen {
            if let Ok(inspection) = self.store.inspect(&address).await {
                records.push((address, inspection));
            }
        }
        records
    }

    /// The executions that are uncertain.
    pub(super) async fn doubts(&self) -> Vec<Address> {
        let in_doubt = |(address, Inspection { record, now }): (Address, Inspection)| {
            let shown = VisibleState::of(&record?, now);
            matches!(shown, VisibleState::Uncertain | VisibleState::Reconciling).then_some(address)
        };
        self.records().await.into_iter().filter_map(in_doubt).collect()
    }

    /// Moves the clock until every claim and every run is over.
    pub(super) async fn time_passes(&self) {
        self.passes(|record| record.hard_until.max(record.lease_until)).await;
    }

    /// Moves the clock until no effect of a run that is over can land any more.
    pub(super) async fn effects_land(&self) {
        self.passes(|record| record.effects_until.max(record.lease_until)).await;
    }

    async fn passes(&self, until: impl Fn(&Record) -> StoreTime) {
        let held = |(_, Inspection { record, now }): (Address, Inspection)| {
            let record = record?;
            let is_held =
                !matches!(VisibleState::of(&record, now), VisibleState::Completed | VisibleState::Free);
            is_held.then(|| until(&record).since(now))
        };
        let longest = self.records().await.into_iter().filter_map(held).max().unwrap_or_default();
        let pause = longest + Duration::from_millis(1);
        self.clock.advance(pause);
        self.lands();
        self.note(format!("(time passes: {pause:?})"));
    }

    /// Delivers the late copies, and moves the clock until their consequences are over too: a copy of a claim that was
    /// refused before may now be granted to a caller that is gone.
    pub(super) async fn deliver_late_copies(&self) {
        let late = self.state().late.clone();
        for Late { address, op } in &late {
            let answer = op.send(&self.store, address).await;
            let changed =
                if answer.is_ok_and(|stamped| stamped.stamp.changed) { "something" } else { "nothing" };
            self.note(format!(
                "(a copy of the {} arrives, and changes {changed})",
                op.name().replace('_', " ")
            ));
        }
        if !late.is_empty() {
            self.time_passes().await;
        }
    }

    /// An operator inspects the uncertain keys. If no effect has happened at all, the operator resets them.
    pub(super) async fn operator_decides(&self) -> Result<(), Error> {
        if self.doubts().await.is_empty() {
            return Ok(());
        }
        self.effects_land().await;
        if !self.state().effects.is_empty() {
            return Ok(());
        }
        let sentinel = Sentinel::new(self.store.clone());
        for address in self.doubts().await {
            let Address { namespace, key, .. } = &address;
            let operator =
                sentinel.clone().namespace(namespace)?.reconciler(key.as_str()).operator("operator");
            if let ReconcileOutcome::Taken(held) = operator.reason("nothing has happened").reconcile().await?
            {
                let decided = held.reset_to_claimed().await?;
                self.note(format!("(an operator finds that nothing has happened: {decided:?})"));
            }
        }
        Ok(())
    }

    /// Whether any result was recorded.
    pub(super) async fn has_result(&self) -> bool {
        let completed = |(address, Inspection { record, now }): &(Address, Inspection)| {
            address.kind == Kind::Execution
                && record
                    .as_ref()
                    .is_some_and(|record| VisibleState::of(record, *now) == VisibleState::Completed)
        };
        self.records().await.iter().any(completed)
    }
}
