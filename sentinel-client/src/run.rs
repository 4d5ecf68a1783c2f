//! What a running function is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel_core::operation::Current;
use sentinel_core::{Address, ClaimId, Grant, Key, Namespace, Token, idempotency_key};
use tokio_util::sync::CancellationToken;

use super::clock::LocalClock;
use super::fence::FenceValues;
use super::keeper::Authority;

/// Why a worker has lost its authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Someone else holds the key, an operator took it, or nobody holds it.
    Superseded(Current),
    /// The key is completed.
    Decided,
    /// The hard deadline has passed.
    HardDeadline,
    /// No heartbeat was answered until the lease was over, and others may have taken the key since: a lease, or an
    /// execution that had not begun. An execution that has begun is not lost by that.
    Unheard,
    /// The run was abandoned: its end was reported with an unknown outcome.
    Abandoned,
}

impl Lost {
    /// The word used in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Superseded(_) => "superseded",
            Self::Decided => "decided",
            Self::HardDeadline => "hard_deadline",
            Self::Unheard => "unheard",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The handle of a run: its proof of right, its deadlines, and the signal that it has lost its authority. The function
/// is never dropped midway: it is told, and ends as it must.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) address: Address,
    pub(crate) grant: Grant,
    pub(crate) incarnation: u64,
    pub(crate) clock: LocalClock,
    pub(crate) authority: Authority,
    /// The function records its result itself.
    pub(crate) records_itself: AtomicBool,
}

impl Run {
    /// The fencing token: hand it to every resource that can check one.
    pub fn token(&self) -> Token {
        self.inner.grant.token
    }

    /// This call.
    pub fn claim_id(&self) -> ClaimId {
        self.inner.grant.claim_id
    }

    /// Token and claim id together: what a transaction of yours completes, or checks, this run with.
    pub fn grant(&self) -> Grant {
        self.inner.grant
    }

    /// Both columns of a fenced write: the token, and the address as `namespace/kind/key`.
    pub fn fence(&self) -> FenceValues {
        FenceValues::new(&self.inner.address, self.inner.grant.token)
    }

    /// Says that the function records its result itself, in a transaction of its own: a store's `complete_in` says it.
    ///
    /// From then on the client records no success of this run. When the function has returned `Ok`, the client looks
    /// whether the result is recorded: `Completed` if it is, and `RanUncertain` if it is not.
    pub fn records_its_result(&self) {
        self.inner.records_itself.store(true, Ordering::Release);
    }

    pub(super) fn has_recorded_itself(&self) -> bool {
        self.inner.records_itself.load(Ordering::Acquire)
    }

    /// The address of the record.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.inner.address.namespace
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.inner.address.key
    }

    /// The key to hand to a provider that understands idempotency keys. It is the same for every run of this attempt,
    /// a reset included, and another one after "nothing happened" or past the retention of the result.
    pub fn idempotency_key(&self) -> String {
        idempotency_key(&self.inner.address, self.inner.incarnation)
    }

    /// What remains of the lease, by this process' clock, on the safe side of the store's. Heartbeats extend it. When
    /// nothing remains, contact with the store is lost; the authority of an execution is not.
    pub fn remaining(&self) -> Duration {
        self.inner.authority.deadline().since(self.inner.clock.now())
    }

    /// What remains until the hard deadline, by this process' clock, on the safe side of the store's.
    pub fn hard_remaining(&self) -> Duration {
        self.inner.authority.hard().since(self.inner.clock.now())
    }

    /// Fires when contact with the store is lost: no heartbeat was answered until the lease was over. Others see the key
    /// as uncertain then, and none of them can run it, so the function may go on. It fires before
    /// [`cancelled`](Self::cancelled) does, if that fires at all. Where contact comes back, the next call gives a new signal.
    pub fn contact_lost(&self) -> CancellationToken {
        self.inner.authority.contact_signal()
    }

    /// Fires when the authority is lost: stop starting side effects. Of an execution that has begun it is lost when the
    /// store says so (an operator has decided), or at the hard deadline; never because the store does not answer.
    pub fn cancelled(&self) -> CancellationToken {
        self.inner.authority.signal().clone()
    }

    /// Why the authority was lost; None: it was not.
    pub fn lost(&self) -> Option<Lost> {
        self.inner.authority.lost()
    }
}
