//! Reconciles uncertain keys by code: a probe inspects the outside world, then the reconciler decides.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

mod probe_result;

pub use probe_result::{ProbeResult, UncertainKey};

use super::clock::LocalTime;
use super::jitter::jittered;
use super::lease::LeaseOutcome;
use super::outcome::Error;
use super::reconciler::{DecisionOutcome, Holding, ReconcileOutcome, Reconciler};
use super::sentinel::Sentinel;
use super::signals::events;
use sentinel_core::internal::sha256;
use sentinel_core::store::VisibleState;
use sentinel_core::{Key, Kind, Label, OpId, Record, RecordedResult, State, StoreTime, Token, Verdict};

impl Sentinel {
    /// Reconciles the uncertain keys of this namespace by code: `probe` inspects the outside world and returns whether
    /// the effect happened. See [`AutoReconciler`].
    pub fn reconcile_with<P, F>(&self, operator: impl AsRef<str>, probe: P) -> AutoReconciler
    where
        P: Fn(UncertainKey) -> F + Send + Sync + 'static,
        F: Future<Output = ProbeResult> + Send + 'static,
    {
        AutoReconciler::new(self.clone(), Label::lossy(operator), Box::new(move |key| Box::pin(probe(key))))
    }
}

pub(super) type Probe = Box<dyn Fn(UncertainKey) -> BoxFuture<'static, ProbeResult> + Send + Sync>;

/// Reconciles the uncertain keys of a namespace with a probe. It works under a lease, so of any number of processes one
/// does it at a time.
///
/// A success completes the key at any time. *Did not happen*, and a failure, count only if two probes agree. Both must
/// be made after the last effect of the run may have landed (`effects_until`, see
/// [`late_effects`](super::Once::late_effects)), and at least the [`grace`](Self::grace) apart. The first such probe
/// takes the key, which fences the old worker out. The second is made under the reconcile token. The op ids of the
/// decisions are derived from operator, key and token. So a reconciler that crashed continues with the keys that it
/// took, and probes them twice again.
#[must_use = "nothing happens before `start` or `pass`"]
pub struct AutoReconciler {
    sentinel: Sentinel,
    operator: Label,
    probe: Arc<Probe>,
    every: Duration,
    longest_pause: Duration,
    grace: Duration,
    pauses: HashMap<Key, Pause>,
}

/// A key that this reconciler has taken, and the last finding about it that counts.
struct Suspect {
    key: Key,
    record: Record,
    held: Reconciler<Holding>,
    earlier: Option<ProbeResult>,
}

/// The result of probing a key.
enum Step {
    /// The key is decided.
    Decided,
    /// The outcome is still unknown, or it is too early for this finding: probe again later.
    Later,
    /// The key is not probed in this pass: its pause is not over, or another operator holds it.
    Passed,
    /// The finding counts if a second probe agrees, the grace later.
    Again(Box<Suspect>),
}

/// The signals that end a pass early.
struct StopSignals<'a> {
    lost: &'a CancellationToken,
    stop: &'a CancellationToken,
}

impl StopSignals<'_> {
    fn has_fired(&self) -> bool {
        self.lost.is_cancelled() || self.stop.is_cancelled()
    }

    /// Waits; returns false if the pass ends first.
    async fn wait(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => false,
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    until: LocalTime,
}

impl fmt::Debug for AutoReconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, operator) = (&self.sentinel.namespace, &self.operator);
        f.debug_struct("AutoReconciler").field("namespace", namespace).field("operator", operator).finish()
    }
}

const LEASE_TTL: Duration = Duration::from_secs(30);
const LEASE_HARD_TTL: Duration = Duration::from_secs(60 * 60);
const PAGE: u32 = 100;

impl AutoReconciler {
    /// The key of the lease that the working reconciler of a namespace holds.
    pub const LEASE_KEY: &'static str = "sentinel/reconciler";

    pub(super) fn new(sentinel: Sentinel, operator: Label, probe: Probe) -> Self {
        let (every, longest_pause) = (Duration::from_secs(10), Duration::from_secs(10 * 60));
        let grace = Duration::from_secs(10);
        Self {
            sentinel,
            operator,
            probe: Arc::new(probe),
            every,
            longest_pause,
            grace,
            pauses: HashMap::new(),
        }
    }

    /// How often the reconciler lists uncertain keys, and the first pause of a key that is still unknown. Default 10 s.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// The longest pause of a key that is still unknown. Pauses double up to it. Default 10 min.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// The minimum time between two probes that must agree before a key is reset or recorded as failed. Default 10 s.
    pub fn grace(mut self, pause: Duration) -> Self {
        self.grace = pause;
        self
    }

    /// Starts the reconciler as a task on the current tokio runtime. When it is stopped, or the handle is dropped, it
    /// ends after the key that it is working on.
    pub fn start(mut self) -> AutoReconcilerHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while stopped.run_until_cancelled(tokio::time::sleep(jittered(self.every))).await.is_some() {
                if let Err(error) = self.pass_until(&stopped).await {
                    events::reconciler_failed(self.sentinel.namespace.as_str(), &error);
                }
            }
        });
        AutoReconcilerHandle { stop, task }
    }

    /// Makes one pass over the keys that are uncertain now, for a cron job or a test. Returns how many keys were
    /// decided: zero if another process is reconciling. A pass takes at least the grace if a probe must be repeated.
    pub async fn pass(&mut self) -> Result<u64, Error> {
        self.pass_until(&CancellationToken::new()).await
    }

    async fn pass_until(&mut self, stop: &CancellationToken) -> Result<u64, Error> {
        let lease = self.sentinel.lease(Self::LEASE_KEY).ttl(LEASE_TTL).hard_ttl(LEASE_HARD_TTL);
        let LeaseOutcome::Held(lease) = lease.worker(&self.operator).acquire().await? else { return Ok(0) };
        let lost = lease.cancelled();
        let decided = self.decide_all(&StopSignals { lost: &lost, stop }).await;
        lease.release().await?;
        decided
    }

    async fn decide_all(&mut self, signals: &StopSignals<'_>) -> Result<u64, Error> {
        let mut count = 0;
        let mut seen = HashSet::new();
        let mut suspects = Vec::new();
        for shown in [VisibleState::Uncertain, VisibleState::Reconciling] {
            let mut after = None;
            loop {
                let page = self.sentinel.list(Kind::Execution, Some(shown), after, PAGE).await?;
                for (key, record) in &page.records {
                    if signals.has_fired() {
                        return Ok(count);
                    }
                    if !seen.insert(key.clone()) {
                        // This pass took the key, and it is no longer uncertain.
                        continue;
                    }
                    match self.decide_key(key, record, page.now).await? {
                        Step::Again(suspect) => suspects.push(*suspect),
                        step => count += u64::from(self.note(key, &step)),
                    }
                }
                match page.records.last() {
                    Some((key, _)) if page.records.len() == PAGE as usize => after = Some(key.clone()),
                    _ => break,
                }
            }
        }
        // A key that is no longer in doubt needs no pause.
        self.pauses.retain(|key, _| seen.contains(key));
        Ok(count + self.probe_again(suspects, signals).await?)
    }

    /// Probes a key once. A success is recorded at once.
    async fn decide_key(&mut self, key: &Key, record: &Record, now: StoreTime) -> Result<Step, Error> {
        let local = self.sentinel.core.keeper.clock().now();
        if self.pauses.get(key).is_some_and(|pause| local < pause.until) {
            return Ok(Step::Passed);
        }
        match record.state {
            State::Executing => self.decide_uncertain(key, record, now).await,
            State::Reconciling if self.is_ours(key, record) => {
                let held = self.reconciler(key).resume(record.token);
                let suspect = Suspect { key: key.clone(), record: record.clone(), held, earlier: None };
                self.probe_taken(suspect, now).await
            }
            // Another operator holds it.
            _ => Ok(Step::Passed),
        }
    }

    async fn decide_uncertain(&self, key: &Key, record: &Record, now: StoreTime) -> Result<Step, Error> {
        let found = self.ask_probe(key, record, now).await;
        if found == ProbeResult::StillUnknown || !found.is_success() && record.effects_may_land(now) {
            return Ok(Step::Later);
        }
        let reason = found.evidence();
        let seeking = self.reconciler(key).reason(&reason).op_id(self.op_id(key, "reconcile", record.token));
        let ReconcileOutcome::Taken(held) = seeking.expect(record.token).reconcile().await? else {
            // The worker came back, or another operator decided first: there is nothing to decide.
            return Ok(Step::Later);
        };
        // The reply of `reconcile` is newer: an abandon may have come after the record was read.
        let effects_until = held.effects_until().unwrap_or(record.effects_until);
        let state = State::Reconciling;
        let record = Record { state, token: held.token(), effects_until, ..record.clone() };
        let suspect = Suspect { key: key.clone(), record, held: *held, earlier: None };
        self.judge(suspect, found, now).await
    }

    /// Probes a key that this reconciler has taken; `now` is the store's clock before the probe.
    async fn probe_taken(&self, suspect: Suspect, now: StoreTime) -> Result<Step, Error> {
        let found = self.ask_probe(&suspect.key, &suspect.record, now).await;
        self.judge(suspect, found, now).await
    }

    /// Decides from a finding about a key that this reconciler has taken. A probe made before the last effect may have
    /// landed proves no absence.
    async fn judge(&self, suspect: Suspect, found: ProbeResult, now: StoreTime) -> Result<Step, Error> {
        let Suspect { key, record, held, earlier } = suspect;
        let done = match found {
            ProbeResult::StillUnknown => return Ok(Step::Later),
            ProbeResult::Happened { result, evidence } if result.verdict == Verdict::Success => {
                self.complete(&key, held, result, &evidence).await?
            }
            _ if record.effects_may_land(now) => return Ok(Step::Later),
            found if !earlier.is_some_and(|before| before.agrees_with(&found)) => {
                return Ok(Step::Again(Box::new(Suspect { key, record, held, earlier: Some(found) })));
            }
            ProbeResult::Happened { result, evidence } => {
                self.complete(&key, held, result, &evidence).await?
            }
            ProbeResult::DidNotHappen { evidence } => {
                let op_id = self.op_id(&key, "reset_to_claimed", held.token());
                let decided = held.reason(&evidence).op_id(op_id).reset_to_claimed().await?;
                matches!(decided, DecisionOutcome::Done { .. })
            }
        };
        Ok(if done { Step::Decided } else { Step::Later })
    }

    /// Probes again, the grace later, the keys for which the first probe found no success. A third probe follows if the
    /// second was the first that counts. Returns how many keys were decided.
    async fn probe_again(
        &mut self,
        mut suspects: Vec<Suspect>,
        signals: &StopSignals<'_>,
    ) -> Result<u64, Error> {
        let mut count = 0;
        for _ in 0..2 {
            if suspects.is_empty() || !signals.wait(self.grace).await {
                break;
            }
            for suspect in std::mem::take(&mut suspects) {
                if signals.has_fired() {
                    return Ok(count);
                }
                let key = suspect.key.clone();
                let seen = self.sentinel.inspect(Kind::Execution, key.as_str()).await?;
                let held = |record: &Record| {
                    record.state == State::Reconciling && record.token == suspect.held.token()
                };
                let step = match seen.record.as_ref().is_some_and(held) {
                    true => self.probe_taken(suspect, seen.now).await?,
                    // Another operator took it.
                    false => Step::Later,
                };
                match step {
                    Step::Again(suspect) => suspects.push(*suspect),
                    step => count += u64::from(self.note(&key, &step)),
                }
            }
        }
        for suspect in &suspects {
            self.note(&suspect.key, &Step::Later);
        }
        Ok(count)
    }

    /// Remembers when to probe a key again. Returns whether it was decided.
    fn note(&mut self, key: &Key, step: &Step) -> bool {
        match step {
            Step::Decided => drop(self.pauses.remove(key)),
            Step::Later => {
                let local = self.sentinel.core.keeper.clock().now();
                let before = self.pauses.get(key).map_or(self.every / 2, |pause| pause.length);
                let length = self.longest_pause.min(before * 2);
                self.pauses.insert(key.clone(), Pause { length, until: local.plus(jittered(length)) });
            }
            Step::Passed | Step::Again(_) => {}
        }
        matches!(step, Step::Decided)
    }

    async fn complete(
        &self,
        key: &Key,
        held: Reconciler<Holding>,
        result: RecordedResult,
        evidence: &Label,
    ) -> Result<bool, Error> {
        let op_id = self.op_id(key, "force_complete", held.token());
        let decided = held.reason(evidence).op_id(op_id).force_complete_recorded(result).await?;
        Ok(matches!(decided, DecisionOutcome::Done { .. }))
    }

    async fn ask_probe(&self, key: &Key, record: &Record, now: StoreTime) -> ProbeResult {
        let address = self.sentinel.address_of(Kind::Execution, key.clone());
        let shown = UncertainKey {
            key: key.clone(),
            idempotency_key: record.idempotency_key(&address),
            fingerprint: record.fingerprint.clone(),
            worker: record.worker.clone(),
            begun_at: record.begun_at,
            doubt: record.doubt.clone(),
            token: record.token,
            fenced: record.state == State::Reconciling,
            age: now.since(record.lease_until),
            effects_may_land: record.effects_may_land(now),
        };
        // In a task of its own: a probe that panics counts as *still unknown*, and the reconciler continues.
        tokio::spawn((self.probe)(shown)).await.unwrap_or(ProbeResult::StillUnknown)
    }

    fn reconciler(&self, key: &Key) -> Reconciler<super::Seeking> {
        self.sentinel.reconciler(key).operator(&self.operator).by_code()
    }

    fn is_ours(&self, key: &Key, record: &Record) -> bool {
        let ours = |d: &sentinel_core::Decision| d.op_id == self.op_id(key, "reconcile", d.presented);
        record.decision.as_ref().is_some_and(ours)
    }

    /// The op id of a decision, derived from operator, key, decision and token, so that a repeated decision has the
    /// same id.
    fn op_id(&self, key: &Key, what: &str, token: Token) -> OpId {
        let (namespace, operator) = (self.sentinel.namespace.as_str(), self.operator.as_str());
        let token = token.get().to_be_bytes();
        let parts =
            [operator.as_bytes(), namespace.as_bytes(), key.as_str().as_bytes(), what.as_bytes(), &token];
        let digest = sha256(&parts);
        OpId::from_bits(u128::from_be_bytes(std::array::from_fn(|at| digest[at])))
    }
}

/// The handle of a running [`AutoReconciler`]. When it is dropped, the reconciler ends after the key that it is working
/// on.
#[derive(Debug)]
pub struct AutoReconcilerHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl AutoReconcilerHandle {
    /// Stops the reconciler, and waits until it has finished the key that it is working on.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for AutoReconcilerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
