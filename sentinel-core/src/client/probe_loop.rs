//! Reconcilers as code: look at the world, then decide. Probe before replay.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::clock::LocalTime;
use super::lease::LeaseOutcome;
use super::outcome::Error;
use super::reconciler::{Decided, Holding, Reconciled, Reconciler};
use super::retry::jittered;
use super::{Sentinel, codec::CodecError, observe};
use crate::address::{Key, Kind};
use crate::payload::{Payload, Recorded, sha256};
use crate::record::{Record, State};
use crate::store::Shown;
use crate::terms::{Fingerprint, Label};
use crate::time::StoreTime;
use crate::token::{OpId, Token};

/// A key in doubt, as a probe is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainKey {
    /// The key.
    pub key: Key,
    /// What the provider was told: look there for it.
    pub idempotency_key: String,
    /// What the request was about.
    pub fingerprint: Option<Fingerprint>,
    /// Who ran it.
    pub worker: Option<Label>,
    /// When the side effect may have begun, by the store's clock.
    pub begun_at: Option<StoreTime>,
    /// Why there is doubt, where somebody said so.
    pub doubt: Option<Label>,
    /// The token in doubt.
    pub token: Token,
    /// Whether the key is held by this loop already: the old worker is fenced out.
    pub fenced: bool,
}

/// What a probe found. The evidence stands in the event of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It happened, and this is to be replayed.
    Happened {
        /// The result.
        result: Recorded,
        /// How that is known.
        evidence: Label,
    },
    /// It did not happen: anyone may run it again.
    DidNotHappen {
        /// How that is known.
        evidence: Label,
    },
    /// Still unknown: the probe is asked again later, with growing pauses.
    StillUnknown,
}

impl Finding {
    /// It happened, with this result as JSON.
    pub fn happened<T: Serialize>(value: &T, evidence: impl AsRef<str>) -> Result<Self, CodecError> {
        let result = Recorded::success(Payload::new(Payload::JSON, serde_json::to_vec(value)?));
        Ok(Self::Happened { result, evidence: Label::lossy(evidence) })
    }

    /// It did not happen.
    pub fn did_not_happen(evidence: impl AsRef<str>) -> Self {
        Self::DidNotHappen { evidence: Label::lossy(evidence) }
    }
}

pub(super) type Probe = Box<dyn Fn(UncertainKey) -> BoxFuture<'static, Finding> + Send + Sync>;

/// Settles the uncertain keys of a namespace by a probe, under a lease: of any number of processes one does it.
///
/// *Happened* completes the key. *Did not happen* counts only once the old worker cannot act any more: past its hard
/// deadline the key is taken, which fences the worker out, and the probe is asked *again*; only if it says the same is
/// the key reset. The decisions' op ids follow from operator, key and token, so a loop that crashed goes on where it was.
#[must_use = "nothing happens before `start` or `pass`"]
pub struct ProbeLoop {
    sentinel: Sentinel,
    operator: Label,
    probe: Arc<Probe>,
    every: Duration,
    longest_pause: Duration,
    pauses: HashMap<Key, Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    until: LocalTime,
}

impl fmt::Debug for ProbeLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, operator) = (&self.sentinel.namespace, &self.operator);
        f.debug_struct("ProbeLoop").field("namespace", namespace).field("operator", operator).finish()
    }
}

/// The lease that one loop of a namespace holds.
const LEASE_KEY: &str = "sentinel/reconciler";
const LEASE_TTL: Duration = Duration::from_secs(30);
const LEASE_HARD_TTL: Duration = Duration::from_secs(60 * 60);
const PAGE: u32 = 100;

impl ProbeLoop {
    pub(super) fn new(sentinel: Sentinel, operator: Label, probe: Probe) -> Self {
        let (every, longest_pause) = (Duration::from_secs(10), Duration::from_secs(10 * 60));
        Self { sentinel, operator, probe: Arc::new(probe), every, longest_pause, pauses: HashMap::new() }
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

    /// Starts the loop on the caller's runtime. It ends when it is stopped, or the handle is dropped, between two keys.
    pub fn start(mut self) -> ProbeLoopHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while stopped.run_until_cancelled(tokio::time::sleep(jittered(self.every))).await.is_some() {
                if let Err(error) = self.pass_until(&stopped).await {
                    tracing::warn!(%error, "a pass over uncertain keys ended early");
                }
            }
        });
        ProbeLoopHandle { stop, task }
    }

    /// One pass over what is uncertain now, for a cron line or a test: how many keys were settled. Zero if another
    /// process is at it.
    pub async fn pass(&mut self) -> Result<u64, Error> {
        self.pass_until(&CancellationToken::new()).await
    }

    async fn pass_until(&mut self, stop: &CancellationToken) -> Result<u64, Error> {
        let lease = self.sentinel.lease(LEASE_KEY).ttl(LEASE_TTL).hard_ttl(LEASE_HARD_TTL);
        let LeaseOutcome::Held(lease) = lease.worker(&self.operator).acquire().await? else { return Ok(0) };
        let settled = self.settle_all(&lease.cancelled(), stop).await;
        lease.release().await?;
        settled
    }

    async fn settle_all(&mut self, lost: &CancellationToken, stop: &CancellationToken) -> Result<u64, Error> {
        let mut settled = 0;
        let mut oldest = Duration::ZERO;
        let mut seen = HashSet::new();
        for shown in [Shown::Uncertain, Shown::Reconciling] {
            let mut after = None;
            loop {
                let page = self.sentinel.list(Kind::Execution, Some(shown), after, PAGE).await?;
                for (key, record) in &page.records {
                    if lost.is_cancelled() || stop.is_cancelled() {
                        return Ok(settled);
                    }
                    oldest = oldest.max(page.now.since(record.lease_until));
                    seen.insert(key.clone());
                    settled += u64::from(self.settle_key(key, record, page.now).await?);
                }
                match page.records.last() {
                    Some((key, _)) if page.records.len() == PAGE as usize => after = Some(key.clone()),
                    _ => break,
                }
            }
        }
        // What is in doubt no longer needs no pause, whoever settled it.
        self.pauses.retain(|key, _| seen.contains(key));
        observe::oldest_uncertain(self.sentinel.namespace.as_str(), oldest);
        Ok(settled)
    }

    /// Whether the key was settled.
    async fn settle_key(&mut self, key: &Key, record: &Record, now: StoreTime) -> Result<bool, Error> {
        let local = self.sentinel.core.keeper.clock().now();
        if self.pauses.get(key).is_some_and(|pause| local < pause.until) {
            return Ok(false);
        }
        let settled = match record.state {
            State::Executing => self.settle_uncertain(key, record, now).await?,
            State::Reconciling if self.is_ours(key, record) => {
                let held = self.reconciler(key).resume(record.token);
                self.decide(key, record, held).await?
            }
            // Another operator is at it.
            _ => return Ok(false),
        };
        match settled {
            true => drop(self.pauses.remove(key)),
            false => {
                let before = self.pauses.get(key).map_or(self.every / 2, |pause| pause.length);
                let length = self.longest_pause.min(before * 2);
                self.pauses.insert(key.clone(), Pause { length, until: local.plus(jittered(length)) });
            }
        }
        Ok(settled)
    }

    async fn settle_uncertain(&self, key: &Key, record: &Record, now: StoreTime) -> Result<bool, Error> {
        let (found, reason) = match self.ask(key, record).await {
            Finding::StillUnknown => return Ok(false),
            // The old worker may still act: too early to say that it did not happen.
            Finding::DidNotHappen { .. } if record.is_within_hard(now) => return Ok(false),
            Finding::DidNotHappen { evidence } => (None, evidence),
            Finding::Happened { result, evidence } => (Some(result), evidence),
        };
        let seeking = self.reconciler(key).reason(&reason).op_id(self.op_id(key, "reconcile", record.token));
        match (seeking.expect(record.token).reconcile().await?, found) {
            (Reconciled::Taken(held), Some(result)) => self.complete(key, *held, result, &reason).await,
            (Reconciled::Taken(held), None) => self.decide(key, record, *held).await,
            // The worker came back, or an operator was faster: nothing is left to settle here.
            (Reconciled::Refused(_), _) => Ok(false),
        }
    }

    /// Asks the probe about a key that is fenced, and decides.
    async fn decide(&self, key: &Key, record: &Record, held: Reconciler<Holding>) -> Result<bool, Error> {
        let fenced = Record { state: State::Reconciling, token: held.token(), ..record.clone() };
        match self.ask(key, &fenced).await {
            Finding::StillUnknown => Ok(false),
            Finding::Happened { result, evidence } => self.complete(key, held, result, &evidence).await,
            Finding::DidNotHappen { evidence } => {
                let op_id = self.op_id(key, "reset_to_claimed", held.token());
                let decided = held.reason(&evidence).op_id(op_id).reset_to_claimed().await?;
                Ok(matches!(decided, Decided::Done { .. }))
            }
        }
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

    async fn ask(&self, key: &Key, record: &Record) -> Finding {
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
        };
        // In a task of its own: a probe that panics does not know, and the loop goes on.
        tokio::spawn((self.probe)(shown)).await.unwrap_or(Finding::StillUnknown)
    }

    fn reconciler(&self, key: &Key) -> Reconciler<super::Seeking> {
        self.sentinel.reconciler(key).operator(&self.operator)
    }

    fn is_ours(&self, key: &Key, record: &Record) -> bool {
        let ours = |d: &crate::Decision| d.op_id == self.op_id(key, "reconcile", d.presented);
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
pub struct ProbeLoopHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl ProbeLoopHandle {
    /// Stops the loop and waits for the key that it is at.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for ProbeLoopHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
