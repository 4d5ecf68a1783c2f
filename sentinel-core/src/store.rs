//! The contract of a store.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::address::{Address, Key, Kind, Namespace};
use crate::error::StoreError;
use crate::event::Event;
use crate::operation::*;
use crate::record::{Record, State};
use crate::time::StoreTime;

/// A store of records, one for each address, and of their events.
///
/// # The contract
///
/// The methods from `claim` to `evict` are the rows of spec §3. A store fulfils them if it runs
/// [`kernel::apply`](crate::kernel::apply) under the record's lock, and writes record and event in one transaction. If
/// a store ports the guards to another language, the conformance suite compares it with the kernel. The whole contract:
///
/// - **Atomicity.** Guard, write, token and event are one atomic step on one record, under its lock. An operation on
///   one address changes no other. No method depends on an earlier call on the same connection. A future that is
///   dropped leaves either the whole change or none of it.
/// - **Time.** The store's clock is read once per operation, *after* the lock is taken. If the reading is below the
///   record's `last_now`, that is used instead. It is never compared with a caller's clock. Expiry is computed when a
///   record is read; no background task rewrites records.
/// - **Tokens.** Drawn under the lock as `max(row.token, namespace floor, clock in microseconds) + 1`.
/// - **Barrier.** Some replies are given only once what they report is as durable as the deployment promises: those to
///   a fused claim, a lease's claim and heartbeat, a begin, a complete, a cancel, a vouched release, an abandon and
///   every decision, also if they repeat an earlier one, and a replayed result. A claim that has not begun and an
///   execution's heartbeat may be answered before.
/// - **Repeating.** Every request may be sent again with the same ids, at once or late, any number of times. Together
///   they have the effect of one.
/// - **Refusals** are replies. `Err` means that the store could not answer, and states whether the request may have
///   been carried out ([`Applied`](crate::Applied)). Once the first byte has been sent, only an answer of the store
///   proves that it was not.
/// - **Requests are checked first.** A request that the kind of the address does not support
///   ([`Operation::admit`](crate::kernel::Operation::admit)) is an error before anything is sent.
/// - **Stamps.** Every reply carries the clock reading, the record's rev, token and state after the operation, and
///   whether this request changed the record.
///
/// `Any` lets methods that only one store has find that store behind `dyn CoordinationStore`. A store that wraps
/// another one is a store of its own and hides it: such a method must not pass by the wrapper.
#[async_trait]
pub trait CoordinationStore: Any + Debug + Send + Sync {
    /// Describes what kind of store this is, without sending a request.
    ///
    /// **Effect:** none. **Atomicity:** nothing is read. **Repeating it:** always the same. **Refusals:** none.
    fn describe(&self) -> Description;

    /// Requests a grant for one call of `once` or `lease`.
    ///
    /// **Effect:** if the record is absent, free, a lapsed claim of another call, or completed past its retention, it
    /// becomes `claimed`, or `executing` in the fused form, with a new token, `lease_until = now + ttl` and
    /// `hard_until = now + hard_ttl`. An executing record is never changed, however long ago its lease lapsed.
    /// **Atomicity:** of any number of concurrent claims on one address at most one is granted.
    /// **Repeating it:** the same claim id, while it holds the record, gets the same grant with the current deadlines.
    /// **Refusals:** `AlreadyReleased`, `InProgress`, `Uncertain`, `Completed` (with exactly what remains of its
    /// retention at the stamp's reading), `Reconciling`, `FingerprintMismatch`.
    async fn claim(&self, address: &Address, claim: &Claim) -> Result<Stamped<ClaimReply>, StoreError>;

    /// Records that the side effect is about to start.
    ///
    /// **Effect:** a claim that matches the grant, is live and before its hard deadline becomes `executing`.
    /// **Atomicity:** check and write are one step: a claim that lapsed a microsecond before is not begun.
    /// **Repeating it:** the same reply while the lease is live. **Refusals:** `Superseded`, `Expired`, `Completed`.
    async fn begin(&self, address: &Address, begin: &Begin) -> Result<Stamped<BeginReply>, StoreError>;

    /// Extends many leases in one call; the replies are in the order of the beats.
    ///
    /// **Effect:** a claimed or executing record that matches the grant, is not abandoned and is before its hard
    /// deadline gets `lease = max(lease, min(now + ttl, hard))`. It revives a lapsed execution, but not a lapsed record
    /// of kind lease. No event. **Atomicity:** each beat by itself; the batch is not a transaction. A beat for which
    /// the store did not read the record, because another transaction had locked it, is `Unknown`, never `Lost`.
    /// **Repeating it:** extends the lease again. **Refusals:** `Lost(reason)` for one beat; the other beats are not
    /// affected. **Errors:** not applied only if no beat was carried out; a store that sends a batch in parts can use
    /// [`GatheredBeats`](crate::GatheredBeats).
    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError>;

    /// Records the result of an execution.
    ///
    /// **Effect:** a record that is executing and matches the grant, live or not, becomes `completed`. **Atomicity:**
    /// the first result is final. **Repeating it:** the same result gets the same reply. **Refusals:** `Conflict`,
    /// `NotBegun`, `Superseded`.
    async fn complete(
        &self,
        address: &Address,
        complete: &Complete,
    ) -> Result<Stamped<CompleteReply>, StoreError>;

    /// Withdraws a call whose function did not run and will not run. The call need not know its grant.
    ///
    /// **Effect:** a record claimed or executing under this claim id, and not abandoned, becomes `free`. If the record
    /// is free or absent, the id is remembered, so that the claim is refused if it arrives later. **Atomicity:** a
    /// claim that arrives before is undone, one that arrives after is refused. **Repeating it:** the same reply.
    /// **Refusals:** `Untouched`.
    async fn cancel(&self, address: &Address, cancel: &Cancel) -> Result<Stamped<CancelReply>, StoreError>;

    /// Releases a claim.
    ///
    /// **Effect:** a matching record becomes `free` if it is claimed, or if it is executing, not abandoned, and the
    /// worker vouches that nothing happened. A vouched release ends the incarnation. **Atomicity:** the next claim is
    /// possible at once. **Repeating it:** the same reply while free. **Refusals:** `MayHaveRun`, `Superseded`.
    async fn release(
        &self,
        address: &Address,
        release: &Release,
    ) -> Result<Stamped<ReleaseReply>, StoreError>;

    /// Marks the execution as uncertain: its function has ended and its outcome is unknown.
    ///
    /// **Effect:** executing and matching: lease and hard deadline end now, and the key is uncertain at once.
    /// **Atomicity:** check and write are one step. A completion under the same grant is still accepted afterwards.
    /// **Repeating it:** the same reply. **Refusals:** `Superseded`.
    async fn abandon(
        &self,
        address: &Address,
        abandon: &Abandon,
    ) -> Result<Stamped<AbandonReply>, StoreError>;

    /// Takes an uncertain key for an operator.
    ///
    /// **Effect:** if the record is uncertain (or in a state that a flag of the request allows) and has the expected
    /// token, it becomes `reconciling`, with a new token. The old holder is fenced out. **Atomicity:** of concurrent
    /// operators one takes it. **Repeating it:** the same op id gets the same token. **Refusals:** `StaleDecision`,
    /// `HeldBy`, `StillAlive`, `AlreadyCompleted`, `NotExecuting`.
    async fn reconcile(
        &self,
        address: &Address,
        reconcile: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError>;

    /// Records an operator's decision that the work happened.
    ///
    /// **Effect:** a record that is reconciling under this token becomes `completed`, marked as decided. **Atomicity:**
    /// the first decision under the token is final. **Repeating it:** the same op id, token and result get the same
    /// reply. **Refusals:** `StaleDecision`, `NotDecodable`.
    async fn force_complete(
        &self,
        address: &Address,
        force_complete: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError>;

    /// Records an operator's decision that the work did not happen.
    ///
    /// **Effect:** a record that is reconciling under this token becomes `free`, with a new token, if no effect of the
    /// old run can land any more or the request accepts an overlap. One more run is then authorised. **Atomicity:**
    /// claimable at once. **Repeating it:** the same op id and token get the same reply until another decision replaces
    /// this one, whatever state the record has by then. **Refusals:** `StaleDecision`, `EffectsMayLand`.
    async fn reset_to_claimed(
        &self,
        address: &Address,
        reset: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError>;

    /// Frees a claim or a lease whose holder will not come back.
    ///
    /// **Effect:** a claimed record with the expected token, live or not, becomes `free`, with a new token.
    /// **Atomicity:** the old holder's next request is refused. **Repeating it:** the same op id and token get the same
    /// reply. **Refusals:** `StaleDecision`, `Executing`, `NotClaimed`.
    async fn evict(&self, address: &Address, evict: &Evict) -> Result<Stamped<EvictReply>, StoreError>;

    /// Deletes records of a namespace that are no longer needed: completed past their retention, or tombstones, and
    /// unchanged for over an hour ([`Record::is_purgeable`]).
    ///
    /// **Effect:** the namespace's floor rises to the record's token, and the record and its events are deleted. One
    /// `Purged` event remains for at least [`PURGE_REST`](crate::PURGE_REST); a later purge deletes it. At most `limit`
    /// records per call. **Atomicity:** floor, record and event in one transaction, for each record or for all.
    /// **Repeating it:** deletes what is left. **Refusals:** none; records that may not be deleted are skipped.
    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Reads one record.
    ///
    /// **Effect:** none. **Atomicity:** a consistent record. It may include a commit that is not yet durable; therefore
    /// decisions carry the expected token. **Repeating it:** reads again. **Refusals:** none; an absent record is an
    /// answer.
    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError>;

    /// Reads a page of records, by key in byte order, without the bytes of their results.
    ///
    /// **Effect:** none. **Atomicity:** each record by itself. **Repeating it:** reads again. **Refusals:** none; a
    /// page may be empty.
    async fn list(&self, list: &List) -> Result<Listing, StoreError>;

    /// Reads the newest `limit` events of a record, oldest first.
    ///
    /// **Effect:** none. **Atomicity:** no gap between the events returned. **Repeating it:** reads again.
    /// **Refusals:** none; an address may have no events.
    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Waits until a record may have changed, or until `within` is over. The return is only a hint: a waiter must read
    /// the record itself. A store that is not notified of changes sleeps for `within` and returns [`Notice::Polling`].
    ///
    /// **Effect:** none on any record. **Atomicity:** a change after the first poll of the future may end the wait. So
    /// a waiter that reads the record after this first poll misses no change. The wait may also end early without a
    /// reason. **Repeating it:** waits again. **Refusals and errors:** none; a store that is not available lets the
    /// time pass.
    async fn changed(&self, address: &Address, within: Duration) -> Notice;

    /// Checks the deployment: whether it is reachable, set up and durable, and what it guarantees (spec §7).
    ///
    /// **Effect:** none that remains. **Atomicity:** each check by itself. **Repeating it:** checks again.
    /// **Refusals:** none; a problem is a failed check. **Errors:** only if the store cannot be reached at all.
    async fn health(&self) -> Result<Health, StoreError>;
}

/// The description of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// `memory`, `sqlite`, ...
    pub backend: &'static str,
    /// Whether the store is in the caller's process and follows the caller's clock, which tests may pause. Heartbeats
    /// then run on the caller's runtime instead of a thread of their own.
    pub in_process: bool,
}

/// How a wait for a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A notification arrived: the record may have changed.
    Changed,
    /// No notification arrived, and the store believes that its notifications work: polling now and then is enough.
    Listening,
    /// The store has no working notifications: the waiter must poll often.
    Polling,
}

/// Which records of a namespace to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The namespace.
    pub namespace: Namespace,
    /// The largest number of records to delete in one call.
    pub limit: u32,
    /// Counts the records and deletes none.
    pub dry_run: bool,
}

/// The result of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// How many records were deleted, or would be; at most the limit.
    pub records: u64,
    /// There may be more.
    pub more: bool,
}

/// A record and the time at which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The record; None: absent.
    pub record: Option<Record>,
    /// The reading of the store's clock from which `live` and `uncertain` are computed.
    pub now: StoreTime,
}

/// Which records to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The namespace.
    pub namespace: Namespace,
    /// Executions or leases.
    pub kind: Kind,
    /// Only records in this state; None: all except tombstones.
    pub state: Option<VisibleState>,
    /// Only keys after this one, in byte order.
    pub after: Option<Key>,
    /// The largest number of records. A value outside 1 to [`List::MAX`] is moved into that range.
    pub limit: u32,
}

impl List {
    /// The largest page.
    pub const MAX: u32 = 1000;

    /// Whether a record belongs on the page.
    pub fn wants(&self, record: &Record, now: StoreTime) -> bool {
        match self.state {
            None => record.state != State::Free,
            Some(shown) => VisibleState::of(record, now) == shown,
        }
    }
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Keys and records in key byte order, without the bytes of the results.
    pub records: Vec<(Key, Record)>,
    /// The reading of the store's clock.
    pub now: StoreTime,
}

/// The states that users see. `Executing` is split by whether the lease is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisibleState {
    /// A tombstone.
    Free,
    /// Claimed, live or lapsed.
    Claimed,
    /// Executing and live.
    Executing,
    /// Executing and not live.
    Uncertain,
    /// Completed.
    Completed,
    /// An operator has taken it.
    Reconciling,
}

impl VisibleState {
    /// The visible state of a record at a reading of the store's clock.
    pub fn of(record: &Record, now: StoreTime) -> Self {
        match record.state {
            State::Free => Self::Free,
            State::Claimed => Self::Claimed,
            State::Executing if record.is_live(now) => Self::Executing,
            State::Executing => Self::Uncertain,
            State::Completed => Self::Completed,
            State::Reconciling => Self::Reconciling,
        }
    }

    /// The name used by the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Claimed => "claimed",
            Self::Executing => "executing",
            Self::Uncertain => "uncertain",
            Self::Completed => "completed",
            Self::Reconciling => "reconciling",
        }
    }
}

/// The result of [`CoordinationStore::health`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The deployment, as spec §7 names it.
    pub deployment: String,
    /// All checks, in order.
    pub checks: Vec<Check>,
    /// What this deployment guarantees, one sentence each.
    pub guarantees: Vec<String>,
    /// Whether Sentinel works with this deployment.
    pub accepted: bool,
}

/// One check of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the check.
    pub name: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// The finding.
    pub found: String,
}

// A shared store is a store.
crate::__passes_on! { [S: CoordinationStore + ?Sized] Arc<S>; store, changes: (**store), reads: (**store) }
