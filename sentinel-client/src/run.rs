//! The handle of a running function.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel_core::{
    Address, By, Cause, ClaimId, CoordinationStore, Grant, Invalid, Key, Namespace, Token, idempotency_key,
    idempotency_key_for,
};
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::authority::{Authority, Lost};
use super::causes::inherited_from;
use super::clock::{LocalClock, LocalTime};
use super::fence::FenceValues;

/// The handle of a run: its grant, its deadlines, and the signal that it has lost its authority. The function is never
/// dropped midway: it must react to the signal itself.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) inner: Arc<Inner>,
    pub(super) store: Arc<dyn CoordinationStore>,
    /// What the crate that started the run attached to its handle.
    pub(super) attached: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) address: Address,
    pub(crate) grant: Grant,
    pub(crate) incarnation: u64,
    pub(crate) clock: LocalClock,
    pub(crate) authority: Authority,
    /// The requests that the function sends to others.
    pub(crate) attempts: Attempts,
    /// Whether the function records its result itself.
    pub(crate) records_itself: AtomicBool,
    /// The span of the call, for events about the run that happen elsewhere.
    pub(crate) span: tracing::Span,
    pub(crate) cause: Option<Cause>,
    /// When the claim was sent.
    pub(crate) claimed_at: LocalTime,
}

impl Run {
    /// The fencing token: pass it to every resource that can check one.
    pub fn token(&self) -> Token {
        self.inner.grant.token
    }

    /// The id of this call.
    pub fn claim_id(&self) -> ClaimId {
        self.inner.grant.claim_id
    }

    /// Token and claim id: with both, your own transaction can check or complete this run.
    pub fn grant(&self) -> Grant {
        self.inner.grant
    }

    /// Both columns of a fenced write: the token, and the address as `namespace/kind/key`.
    pub fn fence(&self) -> FenceValues {
        FenceValues::new(&self.inner.address, self.inner.grant.token)
    }

    /// Declares that the function records its result itself, in a transaction of its own. `complete_in` of the
    /// facade calls this.
    ///
    /// From then on the client records no success of this run. When the function has returned `Ok`, the client checks
    /// whether the result is recorded, and returns `Completed` if it is and `RanUncertain` if it is not.
    pub fn records_its_result(&self) {
        self.inner.records_itself.store(true, Ordering::Release);
    }

    pub(super) fn has_recorded_itself(&self) -> bool {
        self.inner.records_itself.load(Ordering::Acquire)
    }

    /// The store of the client that started this run.
    pub fn store(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    /// The handle with a value attached, for runtimes that are built on this crate: a method of theirs finds it again
    /// in the handle that the function has. Replaces what was attached before.
    #[doc(hidden)]
    #[must_use]
    pub fn attach(mut self, value: impl Any + Send + Sync) -> Self {
        self.attached = Some(Arc::new(value));
        self
    }

    /// What [`attach`](Self::attach) attached, if it is of this type.
    #[doc(hidden)]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.attached.as_deref()?.downcast_ref()
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

    /// The idempotency key for a provider that supports them. It is the same for every run of this attempt, also after
    /// a reset. It changes after a vouched "nothing happened" and after the retention of the result.
    pub fn idempotency_key(&self) -> String {
        idempotency_key(&self.inner.address, self.inner.incarnation)
    }

    /// The idempotency key for one of several calls of a provider that this run makes: each label has its own. It is
    /// derived from [`idempotency_key`](Self::idempotency_key) and the label, so it changes when that does, and only
    /// then. Use labels that a retry uses again, such as the name of the step.
    pub fn idempotency_key_for(&self, label: impl AsRef<str>) -> String {
        idempotency_key_for(&self.idempotency_key(), label.as_ref())
    }

    /// Why this run was claimed.
    pub fn cause(&self) -> Option<&Cause> {
        self.inner.cause.as_ref()
    }

    /// The cause of what this run causes: its own root, one hop further, with this run as what caused it. None: this
    /// run has no cause. Returns an error if this run is at the last hop.
    ///
    /// Calls of `once` and `lease` that the function makes itself inherit it. Pass it to calls in tasks that the
    /// function spawns, and to other services.
    pub fn child_cause(&self) -> Result<Option<Cause>, Invalid> {
        let by = || By { address: self.inner.address.clone(), token: self.token() };
        self.inner.cause.as_ref().map(|cause| cause.child(by())).transpose()
    }

    pub(super) fn inherited_cause(&self) -> Option<Cause> {
        inherited_from(self.cause(), self.address(), self.token())
    }

    /// What remains of the lease by this process' clock, at most what remains by the store's. Heartbeats extend it.
    /// When nothing remains, contact with the store is lost; the authority of an execution is not.
    pub fn remaining(&self) -> Duration {
        self.inner.authority.deadline().since(self.inner.clock.now())
    }

    /// What remains until the hard deadline by this process' clock, at most what remains by the store's.
    pub fn hard_remaining(&self) -> Duration {
        self.inner.authority.hard().since(self.inner.clock.now())
    }

    /// A token that is cancelled when contact with the store is lost: no heartbeat was answered until the end of the
    /// lease. Others then see the key as uncertain and none of them can run it, so the function may continue. It fires
    /// before [`cancelled`](Self::cancelled), if that fires at all. After contact is restored, the next call of this
    /// method returns a new token.
    pub fn contact_lost(&self) -> CancellationToken {
        self.inner.authority.contact_signal()
    }

    /// A token that is cancelled when the authority is lost: then start no more side effects. An execution that has
    /// begun loses its authority when the store reports it (an operator has decided), or at the hard deadline. It never
    /// loses it because the store does not answer.
    pub fn cancelled(&self) -> CancellationToken {
        self.inner.authority.signal().clone()
    }

    /// Why the authority was lost; None: it was not lost so far.
    pub fn lost(&self) -> Option<Lost> {
        self.inner.authority.lost()
    }
}
