//! A store that remembers completed results, so that a replay costs no round trip.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::operation::*;
use sentinel_core::store::{
    CoordinationStore, Description, Health, Inspection, List, Listing, Notice, Purge, Purged,
};
use sentinel_core::{Address, Clock, Event, Grant, Kind, State, StoreError};

mod shelf;
mod timer;

use shelf::{Admits, Done, Known, Running, Shelf};
use timer::{Moment, Timer};

/// A store before another store: it remembers a bounded number of completed results in this process, and answers claims
/// on them as that store would, without asking it.
///
/// That is right because completed is final: until the retention of a result is over, every claim is answered with the
/// same bytes, whoever asks and under whatever claim id. An entry lives for at most the retention that remained when the
/// request that was answered with it was *sent*, by clocks of this host that neither sleep nor are set back, less one
/// thousandth, since two hosts' clocks drift apart; a result without retention stays until another displaces it. A claim
/// whose fingerprint the record might refuse goes to the store. So does everything that is not a claim on an execution:
/// leases, completions, decisions, and whatever is looked at or listed.
///
/// An entry comes from a replay that the store answered, or from a completion that it acknowledged: what was acknowledged
/// then is answered now, also while the store is away, was closed, was restored from an older backup, or lost the record
/// in a failover. Whoever edits records behind the store's back, or sets its clock far forward to end a retention,
/// [`clear`](Self::clear)s the cache of each process, or starts it anew.
///
/// ```
/// # use std::sync::Arc;
/// # use sentinel_core::{CoordinationStore, ReplayCache, ReplayLimits, Sentinel};
/// # fn wrap(store: Arc<dyn CoordinationStore>) -> Sentinel {
/// let limits = ReplayLimits { entries: 100_000, bytes: 256 << 20, ..ReplayLimits::default() };
/// Sentinel::new(ReplayCache::with_limits(store, limits))
/// # }
/// ```
pub struct ReplayCache<S> {
    inner: S,
    shelf: Shelf,
    timer: Timer,
}

/// How much a [`ReplayCache`] remembers at most. Whatever is asked for least is displaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Results, and executions in flight, each of which takes a place for the result to come.
    pub entries: usize,
    /// Bytes, of results with their keys and about 400 for each entry.
    pub bytes: usize,
    /// Bytes of one result: a larger one is not remembered.
    pub largest: usize,
}

impl Default for ReplayLimits {
    /// 16,384 entries, 64 MiB, results of up to 64 KiB.
    fn default() -> Self {
        Self { entries: 1 << 14, bytes: 64 << 20, largest: 64 << 10 }
    }
}

impl<S: CoordinationStore> ReplayCache<S> {
    /// A cache of the default size before a store.
    pub fn new(store: S) -> Self {
        Self::with_limits(store, ReplayLimits::default())
    }

    /// A cache of a size of your own before a store.
    pub fn with_limits(store: S, limits: ReplayLimits) -> Self {
        let timer = Timer::new(store.describe().in_process);
        Self { inner: store, shelf: Shelf::new(limits), timer }
    }

    /// Measures retention by this clock instead of the host's: for a store that was given a clock of its own, which then
    /// is the one to give.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.shelf.clear();
        self.timer = Timer::given(clock);
        self
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// How many results are remembered, with the executions in flight.
    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take, about.
    pub fn bytes(&self) -> u64 {
        self.shelf.bytes()
    }

    /// Forgets all of them: the next claim on each goes to the store.
    pub fn clear(&self) {
        self.shelf.clear();
    }

    /// What the store would answer, where that is certain.
    fn replay(&self, address: &Address, claim: &Claim) -> Option<Stamped<ClaimReply>> {
        // A lease has no result.
        if address.kind == Kind::Lease {
            return None;
        }
        match &*self.shelf.look(address)? {
            Known::Done(done) => done.answer(claim, &self.timer),
            Known::Running(_) => None,
        }
    }

    /// Takes what the answer to a claim tells of the record.
    fn learn(&self, address: &Address, claim: &Claim, sent: Moment, told: &Stamped<ClaimReply>) {
        let stamp = told.stamp;
        match &told.reply {
            ClaimReply::Completed { result, remaining } => {
                let admits = Admits::NoneOr(claim.fingerprint.clone());
                self.shelf.done(address, Done::new(admits, sent, stamp, result, *remaining));
            }
            ClaimReply::Granted(granted) if stamp.changed && address.kind == Kind::Execution => {
                let grant = Grant { token: granted.token, claim_id: claim.claim_id };
                self.shelf.running(address, Running::new(grant, claim));
            }
            // The result stands, for others.
            ClaimReply::FingerprintMismatch if stamp.state == State::Completed => {}
            _ => self.shelf.not_done(address),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ReplayCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplayCache").field(&self.inner).finish()
    }
}

macro_rules! passes_on {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl<S: CoordinationStore> CoordinationStore for ReplayCache<S> {
            async fn claim(&self, address: &Address, claim: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
                if let Some(told) = self.replay(address, claim) {
                    return Ok(told);
                }
                let sent = self.timer.now();
                let told = self.inner.claim(address, claim).await?;
                self.learn(address, claim, sent, &told);
                Ok(told)
            }

            async fn complete(
                &self,
                address: &Address,
                complete: &Complete,
            ) -> Result<Stamped<CompleteReply>, StoreError> {
                let sent = self.timer.now();
                let told = self.inner.complete(address, complete).await?;
                // Retention counts from the completion: one that is only repeated does not tell when that was.
                if matches!(told.reply, CompleteReply::Recorded { .. }) && told.stamp.changed
                    && let Some(known) = self.shelf.look(address)
                    && let Known::Running(running) = &*known
                    && let Some(done) = running.done(&complete.grant, sent, told.stamp, &complete.result)
                {
                    self.shelf.done(address, done);
                }
                Ok(told)
            }

            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                self.inner.$method(address, op).await
            })*
            fn describe(&self) -> Description {
                self.inner.describe()
            }
            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                self.inner.heartbeat(beats).await
            }
            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                self.inner.purge(purge).await
            }
            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                self.inner.inspect(address).await
            }
            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                self.inner.list(list).await
            }
            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                self.inner.history(address, limit).await
            }
            async fn changed(&self, address: &Address, within: Duration) -> Notice {
                self.inner.changed(address, within).await
            }
            async fn health(&self) -> Result<Health, StoreError> {
                self.inner.health().await
            }
        }
    };
}

passes_on! {
    begin, Begin, BeginReply;
    cancel, Cancel, CancelReply;
    release, Release, ReleaseReply;
    abandon, Abandon, AbandonReply;
    reconcile, Reconcile, ReconcileReply;
    force_complete, ForceComplete, ForceCompleteReply;
    reset_to_claimed, ResetToClaimed, ResetReply;
    evict, Evict, EvictReply;
}
