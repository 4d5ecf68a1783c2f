//! A store that remembers completed results, so that a replay needs no round trip.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::operation::*;
use sentinel_core::store::{
    CoordinationStore, Description, Health, Inspection, List, Listing, Notice, Purge, Purged,
};
use sentinel_core::{Address, Clock, Event, Grant, Kind, State, StoreError};

mod limits;
mod shelf;
mod timer;

pub use limits::ReplayLimits;
use shelf::{Admits, Done, Known, Running, Shelf};
use timer::{Moment, Timer};

/// A wrapper around another store. It remembers a bounded number of completed results in this process, and answers
/// claims on them without a request to that store.
///
/// This is correct because a completed result is final: until its retention is over, every claim gets the same bytes,
/// regardless of its claim id. An entry is used for at most the retention that remained when the request that returned
/// it was *sent*, less one thousandth, because the clocks of two hosts drift apart. The time is measured by two clocks
/// of this host, so that neither its sleep nor a clock that is set back extends it. A result without retention stays
/// until another entry displaces it. A claim whose fingerprint the record might refuse goes to the store. So does
/// everything that is not a claim on an execution: leases, completions, decisions and reads.
///
/// An entry is made from a replay that the store returned, or from a completion that it acknowledged. The cache
/// therefore returns results that the store cannot return now: because it cannot be reached, was closed, was restored
/// from an older backup, or lost the record in a failover. If you edit records in the store directly, or set its clock
/// far forward to end a retention, [`clear`](Self::clear) the cache of each process, or restart it.
///
/// ```
/// # use std::sync::Arc;
/// # use sentinel_client::{ReplayCache, ReplayLimits, Sentinel};
/// # use sentinel_core::CoordinationStore;
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

impl<S: CoordinationStore> ReplayCache<S> {
    /// Wraps a store in a cache with the default limits.
    pub fn new(store: S) -> Self {
        Self::with_limits(store, ReplayLimits::default())
    }

    /// Wraps a store in a cache with these limits.
    pub fn with_limits(store: S, limits: ReplayLimits) -> Self {
        let timer = Timer::new(store.describe().in_process);
        Self { inner: store, shelf: Shelf::new(limits), timer }
    }

    /// Measures retention by this clock instead of the host's, and clears the cache. For a store that has a clock of
    /// its own: use the same clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.shelf.clear();
        self.timer = Timer::given(clock);
        self
    }

    /// The wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The number of entries: completed results and executions in flight.
    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The approximate size of all entries in bytes.
    pub fn bytes(&self) -> u64 {
        self.shelf.bytes()
    }

    /// Removes all entries: the next claim on each goes to the store.
    pub fn clear(&self) {
        self.shelf.clear();
    }

    /// The store's answer, if it is certain.
    fn replay(&self, address: &Address, claim: &Claim) -> Option<Stamped<ClaimReply>> {
        // A lease has no result.
        if address.kind == Kind::Lease {
            return None;
        }
        match &*self.shelf.get(address)? {
            Known::Done(done) => done.answer(claim, &self.timer),
            Known::Running(_) => None,
        }
    }

    /// Remembers what the reply to a claim shows about the record.
    fn remember(&self, address: &Address, claim: &Claim, sent: Moment, stamped: &Stamped<ClaimReply>) {
        let stamp = stamped.stamp;
        match &stamped.reply {
            ClaimReply::Completed { result, remaining } => {
                let admits = Admits::NoneOr(claim.fingerprint.clone());
                self.shelf.done(address, Done::new(admits, sent, stamp, result, *remaining));
            }
            ClaimReply::Granted(granted) if stamp.changed && address.kind == Kind::Execution => {
                let grant = Grant { token: granted.token, claim_id: claim.claim_id };
                self.shelf.running(address, Running::new(grant, claim));
            }
            // The result is still valid for other claims.
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
    (
        []
        claim, Claim, ClaimReply;
        $begin:ident, $begin_op:ident, $begin_reply:ident;
        complete, Complete, CompleteReply;
        $($method:ident, $op:ident, $reply:ident;)*
    ) => {
        passes_on! { @ $begin, $begin_op, $begin_reply; $($method, $op, $reply;)* }
    };
    (@ $($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods, reason = "the cache answers some claims, and passes on the rest")]
        impl<S: CoordinationStore> CoordinationStore for ReplayCache<S> {
            async fn claim(&self, address: &Address, claim: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
                if let Some(stamped) = self.replay(address, claim) {
                    return Ok(stamped);
                }
                let sent = self.timer.now();
                let stamped = self.inner.claim(address, claim).await?;
                self.remember(address, claim, sent, &stamped);
                Ok(stamped)
            }

            async fn complete(
                &self,
                address: &Address,
                complete: &Complete,
            ) -> Result<Stamped<CompleteReply>, StoreError> {
                let sent = self.timer.now();
                let stamped = self.inner.complete(address, complete).await?;
                // Retention counts from the completion. The reply to a repeated completion does not show when that was.
                if matches!(stamped.reply, CompleteReply::Recorded { .. }) && stamped.stamp.changed
                    && let Some(known) = self.shelf.get(address)
                    && let Known::Running(running) = &*known
                    && let Some(done) = running.done(&complete.grant, sent, stamped.stamp, &complete.result)
                {
                    self.shelf.done(address, done);
                }
                Ok(stamped)
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

sentinel_core::for_each_operation!(passes_on []);
