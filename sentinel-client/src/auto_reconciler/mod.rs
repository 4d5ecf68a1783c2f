//! Reconcilers as code: look at the world, then decide. Probe before replay.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

mod finding;

pub use finding::{Finding, UncertainKey};

use super::clock::LocalTime;
use super::lease::LeaseOutcome;
use super::outcome::Error;
use super::reconciler::{Decided, Holding, Reconciled, Reconciler};
use super::retry::jittered;
use super::{Sentinel, observe};
use sentinel_core::internal::sha256;
use sentinel_core::store::Shown;
use sentinel_core::{Key, Kind, Label, OpId, Record, Recorded, State, StoreTime, Token, Verdict};

pub(super) type Probe = Box<dyn Fn(UncertainKey) -> BoxFuture<'static, Finding> + Send + Sync>;

/// Settles the uncertain keys of a namespace by a probe, under a lease: of any number of processes one does it.
///
/// A success completes the key at any time. *Did not happen*, and a failure, count only if two looks agree, at least the
/// [`grace`](Self::grace) apart, and both are made after the last effect of the run may have landed (`effects_until`, see
/// [`late_effects`](super::Once::late_effects)). The first such look takes the key, which fences the old worker out; the
/// second is made under the reconcile token. The decisions' op ids follow from operator, key and token, so a loop that
/// crashed goes on with the keys that it took, and looks twice again.
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

/// A key that this loop holds, and the last look at it that counts.
struct Suspect {
    key: Key,
    record: Record,
    held: Reconciler<Holding>,
    look: Option<Finding>,
}

/// What a look at a key led to.
enum Step {
    /// The key is settled.
    Settled,
    /// It is still unknown, or too early to say: to be looked at later.
    Later,
    /// It is not for this pass: paused, or another operator's.
    Passed,
    /// The same has to be found once more, the grace later.
    Again(Box<Suspect>),
}

/// What ends a pass early.
struct Ends<'a> {
    lost: &'a CancellationToken,
    stop: &'a CancellationToken,
}

impl Ends<'_> {
    fn has_come(&self) -> bool {
        self.lost.is_cancelled() || self.stop.is_cancelled()
    }

    /// Waits; false if the pass ends first.
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

/// The lease that one loop of a namespace holds.
const LEASE_KEY: &str = "sentinel/reconciler";
const LEASE_TTL: Duration = Duration::from_secs(30);
const LEASE_HARD_TTL: Duration = Duration::from_secs(60 * 60);
const PAGE: u32 = 100;

impl AutoReconciler {
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

    /// How often uncertain keys are looked for (10 s), and the first pause of a key that is still unknown.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// The longest pause of a key that is still unknown (10 min): pauses double up to it.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// How far apart two looks are that have to agree before a key is reset, or recorded as failed (10 s).
    pub fn grace(mut self, pause: Duration) -> Self {
        self.grace = pause;
        self
    }

    /// Starts the loop on the caller's runtime. It ends when it is stopped, or the handle is dropped, between two keys.
    pub fn start(mut self) -> AutoReconcilerHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while stopped.run_until_cancelled(tokio::time::sleep(jittered(self.every))).await.is_some() {
                if let Err(error) = self.pass_until(&stopped).await {
                    tracing::warn!(%error, "a pass over uncertain keys ended early");
                }
            }
        });
        AutoReconcilerHandle { stop, task }
    }

    /// One pass over what is uncertain now, for a cron line or a test: how many keys were settled. Zero if another
    /// process is at it. Where a look has to be repeated, the pass takes as long as the grace.
    pub async fn pass(&mut self) -> Result<u64, Error> {
        self.pass_until(&CancellationToken::new()).await
    }

    async fn pass_until(&mut self, stop: &CancellationToken) -> Result<u64, Error> {
        let lease = self.sentinel.lease(LEASE_KEY).ttl(LEASE_TTL).hard_ttl(LEASE_HARD_TTL);
        let LeaseOutcome::Held(lease) = lease.worker(&self.operator).acquire().await? else { return Ok(0) };
        let lost = lease.cancelled();
        let settled = self.settle_all(&Ends { lost: &lost, stop }).await;
        lease.release().await?;
        settled
    }

    async fn settle_all(&mut self, ends: &Ends<'_>) -> Result<u64, Error> {
        let mut settled = 0;
        let mut oldest = Duration::ZERO;
        let mut seen = HashSet::new();
        let mut suspects = Vec::new();
        for shown in [Shown::Uncertain, Shown::Reconciling] {
            let mut after = None;
            loop {
                let page = self.sentinel.list(Kind::Execution, Some(shown), after, PAGE).await?;
                for (key, record) in &page.records {
                    if ends.has_come() {
                        return Ok(settled);
                    }
                    oldest = oldest.max(page.now.since(record.lease_until));
                    if !seen.insert(key.clone()) {
                        // It was uncertain, and this pass took it.
                        continue;
                    }
                    match self.settle_key(key, record, page.now).await? {
                        Step::Again(suspect) => suspects.push(*suspect),
                        step => settled += u64::from(self.note(key, &step)),
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
        observe::oldest_uncertain(self.sentinel.namespace.as_str(), oldest);
        Ok(settled + self.look_again(suspects, ends).await?)
    }

    /// Looks at a key once, and decides at once what a success decides.
    async fn settle_key(&mut self, key: &Key, record: &Record, now: StoreTime) -> Result<Step, Error> {
        let local = self.sentinel.core.keeper.clock().now();
        if self.pauses.get(key).is_some_and(|pause| local < pause.until) {
            return Ok(Step::Passed);
        }
        match record.state {
            State::Executing => self.settle_uncertain(key, record, now).await,
            State::Reconciling if self.is_ours(key, record) => {
                let held = self.reconciler(key).resume(record.token);
                let suspect = Suspect { key: key.clone(), record: record.clone(), held, look: None };
                self.look(suspect, now).await
            }
            // Another operator is at it.
            _ => Ok(Step::Passed),
        }
    }

    async fn settle_uncertain(&self, key: &Key, record: &Record, now: StoreTime) -> Result<Step, Error> {
        let found = self.ask(key, record, now).await;
        if found == Finding::StillUnknown || !found.is_success() && record.effects_may_land(now) {
            return Ok(Step::Later);
        }
        let reason = found.evidence();
        let seeking = self.reconciler(key).reason(&reason).op_id(self.op_id(key, "reconcile", record.token));
        let Reconciled::Taken(held) = seeking.expect(record.token).reconcile().await? else {
            // The worker came back, or an operator was faster: nothing is left to settle here.
            return Ok(Step::Later);
        };
        // What `reconcile` answered counts: an abandon may have come after the record was read.
        let effects_until = held.effects_until().unwrap_or(record.effects_until);
        let state = State::Reconciling;
        let record = Record { state, token: held.token(), effects_until, ..record.clone() };
        let suspect = Suspect { key: key.clone(), record, held: *held, look: None };
        self.judge(suspect, found, now).await
    }

    /// Looks at a key that is held; `now` is the store's clock before the look.
    async fn look(&self, suspect: Suspect, now: StoreTime) -> Result<Step, Error> {
        let found = self.ask(&suspect.key, &suspect.record, now).await;
        self.judge(suspect, found, now).await
    }

    /// Decides by a look at a key that is held. A look made before the last effect may have landed proves no absence.
    async fn judge(&self, suspect: Suspect, found: Finding, now: StoreTime) -> Result<Step, Error> {
        let Suspect { key, record, held, look } = suspect;
        let settled = match found {
            Finding::StillUnknown => return Ok(Step::Later),
            Finding::Happened { result, evidence } if result.verdict == Verdict::Success => {
                self.complete(&key, held, result, &evidence).await?
            }
            _ if record.effects_may_land(now) => return Ok(Step::Later),
            found if !look.is_some_and(|before| before.agrees_with(&found)) => {
                return Ok(Step::Again(Box::new(Suspect { key, record, held, look: Some(found) })));
            }
            Finding::Happened { result, evidence } => self.complete(&key, held, result, &evidence).await?,
            Finding::DidNotHappen { evidence } => {
                let op_id = self.op_id(&key, "reset_to_claimed", held.token());
                let decided = held.reason(&evidence).op_id(op_id).reset_to_claimed().await?;
                matches!(decided, Decided::Done { .. })
            }
        };
        Ok(if settled { Step::Settled } else { Step::Later })
    }

    /// Looks a second time, the grace later, at keys of which the first look found no success; and a third time where the
    /// second was the first that counts. How many were settled.
    async fn look_again(&mut self, mut suspects: Vec<Suspect>, ends: &Ends<'_>) -> Result<u64, Error> {
        let mut settled = 0;
        for _ in 0..2 {
            if suspects.is_empty() || !ends.wait(self.grace).await {
                break;
            }
            for suspect in std::mem::take(&mut suspects) {
                if ends.has_come() {
                    return Ok(settled);
                }
                let key = suspect.key.clone();
                let seen = self.sentinel.inspect(Kind::Execution, key.as_str()).await?;
                let held = |record: &Record| {
                    record.state == State::Reconciling && record.token == suspect.held.token()
                };
                let step = match seen.record.as_ref().is_some_and(held) {
                    true => self.look(suspect, seen.now).await?,
                    // Another operator took it.
                    false => Step::Later,
                };
                match step {
                    Step::Again(suspect) => suspects.push(*suspect),
                    step => settled += u64::from(self.note(&key, &step)),
                }
            }
        }
        for suspect in &suspects {
            self.note(&suspect.key, &Step::Later);
        }
        Ok(settled)
    }

    /// Remembers when to look at a key again; whether it was settled.
    fn note(&mut self, key: &Key, step: &Step) -> bool {
        match step {
            Step::Settled => drop(self.pauses.remove(key)),
            Step::Later => {
                let local = self.sentinel.core.keeper.clock().now();
                let before = self.pauses.get(key).map_or(self.every / 2, |pause| pause.length);
                let length = self.longest_pause.min(before * 2);
                self.pauses.insert(key.clone(), Pause { length, until: local.plus(jittered(length)) });
            }
            Step::Passed | Step::Again(_) => {}
        }
        matches!(step, Step::Settled)
    }

    async fn complete(
        &self,
        key: &Key,
        held: Reconciler<Holding>,
        result: Recorded,
        evidence: &Label,
    ) -> Result<bool, Error> {
        let op_id = self.op_id(key, "force_complete", held.token());
        let decided = held.reason(evidence).op_id(op_id).force_complete_recorded(result).await?;
        Ok(matches!(decided, Decided::Done { .. }))
    }

    async fn ask(&self, key: &Key, record: &Record, now: StoreTime) -> Finding {
        let address = self.sentinel.address(Kind::Execution, key.clone());
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
        // In a task of its own: a probe that panics does not know, and the loop goes on.
        tokio::spawn((self.probe)(shown)).await.unwrap_or(Finding::StillUnknown)
    }

    fn reconciler(&self, key: &Key) -> Reconciler<super::Seeking> {
        self.sentinel.reconciler(key).operator(&self.operator)
    }

    fn is_ours(&self, key: &Key, record: &Record) -> bool {
        let ours = |d: &sentinel_core::Decision| d.op_id == self.op_id(key, "reconcile", d.presented);
        record.decision.as_ref().is_some_and(ours)
    }

    /// Follows from who decides what about which token: a repeated decision is the same decision.
    fn op_id(&self, key: &Key, what: &str, token: Token) -> OpId {
        let (namespace, operator) = (self.sentinel.namespace.as_str(), self.operator.as_str());
        let token = token.get().to_be_bytes();
        let parts =
            [operator.as_bytes(), namespace.as_bytes(), key.as_str().as_bytes(), what.as_bytes(), &token];
        let digest = sha256(&parts);
        OpId::from_bits(u128::from_be_bytes(std::array::from_fn(|at| digest[at])))
    }
}

/// A loop that runs. Dropping it stops the loop between two keys.
#[derive(Debug)]
pub struct AutoReconcilerHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl AutoReconcilerHandle {
    /// Stops the loop and waits for the key that it is at.
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
