//! The seam: what a store promises.

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
/// The methods from `claim` to `evict` are the rows of spec §3. A store that runs
/// [`kernel::apply`](crate::kernel::apply) under the record's lock, and writes record and event in one transaction, has
/// nothing else to know. One that ports the guards is held to the kernel by the conformance suite. To ensure
/// correctness, all of them:
///
/// - **Atomicity.** Guard, write, token and event are one atomic step on one record, under its lock. Operations on one
///   address change no other. Each method stands alone: none relies on an earlier call on the same connection, and a
///   future that is dropped leaves either all of it or nothing.
/// - **Time.** The store's clock is read once per operation, *after* the lock is held, and is lifted to the record's
///   `last_now`. No caller's clock is compared with it. What expires is computed when a record is read; no background
///   task rewrites records.
/// - **Tokens.** Drawn under the lock as `max(row.token, namespace floor, clock in microseconds) + 1`.
/// - **Barrier.** A fused claim, a lease's claim and heartbeat, begin, complete, cancel, a vouched release and every
///   decision, each also when it repeats an earlier one, and a replayed result, are answered only once they are as
///   durable as the deployment promises. An execution's heartbeat, and a claim that has not begun, may be asynchronous.
/// - **Repeating.** Every request may be sent again, now or late, any number of times, under its ids, and has the effect
///   of once.
/// - **Refusals** are replies. `Err` means that the store could not answer, and says whether the request may have been
///   carried out ([`Applied`](crate::Applied)). After the first byte has left, only the store's own answer proves that
///   it was not.
/// - **Requests are checked first.** A request that the address' kind does not know
///   ([`Operation::admit`](crate::kernel::Operation::admit)) is an error before anything is sent.
/// - **Stamps.** Every reply carries the reading, and the record's rev, token and state after it, and whether this very
///   request changed it.
#[async_trait]
pub trait CoordinationStore: Debug + Send + Sync + 'static {
    /// What kind of store this is, without asking it.
    ///
    /// **Effect:** none. **Atomicity:** nothing is read. **Repeating it:** always the same. **Refusals:** none.
    fn describe(&self) -> Description;

    /// Asks for a grant on behalf of one call of `once` or `lease`.
    ///
    /// **Effect:** absent, free, lapsed claim of another, or completed past retention: `claimed`, or `executing` in the
    /// fused form, with a new token, `lease_until = now + ttl`, `hard_until = now + hard_ttl`. An executing record is
    /// never changed, however long it has lapsed.
    /// **Atomicity:** of any number of concurrent claims on one address at most one is granted.
    /// **Repeating it:** the same claim id, while it holds the record, gets the same grant and what remains of it.
    /// **Refusals:** `AlreadyReleased`, `InProgress`, `Uncertain`, `Completed` (with what remains of its retention at the
    /// stamp's reading, exactly), `Reconciling`, `FingerprintMismatch`.
    async fn claim(&self, address: &Address, claim: &Claim) -> Result<Stamped<ClaimReply>, StoreError>;

    /// Records that the side effect may start.
    ///
    /// **Effect:** claimed, matching, live and within hard: `executing`. **Atomicity:** the check and the write are one:
    /// a claim that lapsed a microsecond before is not begun. **Repeating it:** the same reply while live.
    /// **Refusals:** `Superseded`, `Expired`, `Completed`.
    async fn begin(&self, address: &Address, begin: &Begin) -> Result<Stamped<BeginReply>, StoreError>;

    /// Extends many leases in one call; the replies stand in the order of the beats.
    ///
    /// **Effect:** claimed or executing, matching, within hard: `lease = max(lease, min(now + ttl, hard))`. No event.
    /// **Atomicity:** each beat for itself; the batch is not a transaction. A beat that the store did not look at (its
    /// record was locked by somebody) is `Unknown`, never `Lost`. **Repeating it:** harmless.
    /// **Refusals:** `Lost(reason)` for a beat; another beat's fate does not matter.
    /// **Errors:** not applied only if no beat was carried out; a store that sends in parts has
    /// [`GatheredBeats`](crate::GatheredBeats) for that.
    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError>;

    /// Records the result of an execution.
    ///
    /// **Effect:** executing and matching, live or not: `completed`. **Atomicity:** the first result stands for ever.
    /// **Repeating it:** the same bytes get the same reply. **Refusals:** `Conflict`, `NotBegun`, `Superseded`.
    async fn complete(
        &self,
        address: &Address,
        complete: &Complete,
    ) -> Result<Stamped<CompleteReply>, StoreError>;

    /// Withdraws a call whose function did not run and will not; its grant may never have been told to it.
    ///
    /// **Effect:** claimed or executing under this claim id: `free`. Free or absent: the id is remembered, so that the
    /// claim is refused if it arrives later. **Atomicity:** a claim that comes before is undone, one that comes after
    /// is refused. **Repeating it:** the same reply. **Refusals:** `Untouched`.
    async fn cancel(&self, address: &Address, cancel: &Cancel) -> Result<Stamped<CancelReply>, StoreError>;

    /// Gives a claim back.
    ///
    /// **Effect:** claimed and matching, or executing, matching and vouched: `free`. A vouched release ends the
    /// incarnation. **Atomicity:** the next claim is possible at once. **Repeating it:** the same reply while free.
    /// **Refusals:** `MayHaveRun`, `Superseded`.
    async fn release(
        &self,
        address: &Address,
        release: &Release,
    ) -> Result<Stamped<ReleaseReply>, StoreError>;

    /// Says that nobody knows what happened, after the function has ended.
    ///
    /// **Effect:** executing and matching: lease and hard deadline end now, the key is uncertain at once.
    /// **Atomicity:** as `complete`. **Repeating it:** the same reply. **Refusals:** `Superseded`.
    async fn abandon(
        &self,
        address: &Address,
        abandon: &Abandon,
    ) -> Result<Stamped<AbandonReply>, StoreError>;

    /// Takes an uncertain key for an operator.
    ///
    /// **Effect:** uncertain (or what the flags allow) and the token seen is current: `reconciling`, with a new token:
    /// the old holder is fenced out. **Atomicity:** of concurrent operators one takes it. **Repeating it:** the same op
    /// id gets the same token. **Refusals:** `StaleDecision`, `HeldBy`, `StillAlive`, `AlreadyCompleted`,
    /// `NotExecuting`.
    async fn reconcile(
        &self,
        address: &Address,
        reconcile: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError>;

    /// Records an operator's "it did happen".
    ///
    /// **Effect:** reconciling under this token: `completed`, marked as decided. **Atomicity:** as `complete`.
    /// **Repeating it:** same op id, token and bytes get the same reply. **Refusals:** `StaleDecision`.
    async fn force_complete(
        &self,
        address: &Address,
        force_complete: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError>;

    /// Records an operator's "it did not happen".
    ///
    /// **Effect:** reconciling under this token, and the old run's hard deadline passed or an overlap accepted: `free`,
    /// with a new token; one more run is authorised. **Atomicity:** claimable at once. **Repeating it:** same op id and
    /// token get the same reply, whatever the record has become. **Refusals:** `StaleDecision`,
    /// `HardDeadlineNotReached`.
    async fn reset_to_claimed(
        &self,
        address: &Address,
        reset: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError>;

    /// Frees a claim or lease whose holder will not come back.
    ///
    /// **Effect:** claimed and the token seen is current, live or not: `free`, with a new token. **Atomicity:** the old
    /// holder's next request is refused. **Repeating it:** same op id and token get the same reply.
    /// **Refusals:** `StaleDecision`, `Executing`, `NotClaimed`.
    async fn evict(&self, address: &Address, evict: &Evict) -> Result<Stamped<EvictReply>, StoreError>;

    /// Deletes records of a namespace that have served: completed past retention, or tombstones, both unchanged for over
    /// an hour ([`Record::is_purgeable`]).
    ///
    /// **Effect:** the namespace's floor rises to the record's token, and the record and its events are deleted; one
    /// `Purged` event remains for at least [`PURGE_REST`](crate::PURGE_REST), and a later purge deletes that. At most
    /// `limit` records a call. **Atomicity:** floor, record and event in one transaction, for each record or for all.
    /// **Repeating it:** deletes what is left. **Refusals:** none; what may not be deleted is passed over.
    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError>;

    /// Reads one record.
    ///
    /// **Effect:** none. **Atomicity:** a consistent record. It may rest on a commit that is not yet durable: decisions
    /// carry the token that was seen. **Repeating it:** reads again. **Refusals:** absent is an answer.
    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError>;

    /// Reads a page of records by key in byte order, without the bytes of their results.
    ///
    /// **Effect:** none. **Atomicity:** each record for itself. **Repeating it:** reads again. **Refusals:** an empty page.
    async fn list(&self, list: &List) -> Result<Listing, StoreError>;

    /// Reads the newest `limit` events of a record, oldest first.
    ///
    /// **Effect:** none. **Atomicity:** no gap between the events returned. **Repeating it:** reads again.
    /// **Refusals:** an address without events has none.
    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Waits until a record may have changed, or so long at most. What it says is never relied on: whoever waits looks.
    /// A store that is not notified of changes sleeps for `within` and answers [`Notice::Polling`].
    ///
    /// **Effect:** none on any record. **Atomicity:** what changes after the first poll of the future may end the wait, so
    /// whoever looks while it waits misses nothing. It may also end early for no reason. **Repeating it:** waits again.
    /// **Refusals:** none, and no error: a store in trouble lets the time pass.
    async fn changed(&self, address: &Address, within: Duration) -> Notice;

    /// Looks at the deployment: is it there, set up, durable, and what does it guarantee (spec §7).
    ///
    /// **Effect:** none that stays. **Atomicity:** each check for itself. **Repeating it:** looks again.
    /// **Refusals:** a finding; `Err` only if the store cannot be reached at all.
    async fn health(&self) -> Result<Health, StoreError>;
}

/// What kind of store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// `memory`, `sqlite`, ...
    pub backend: &'static str,
    /// The store lives in the caller's process and follows the caller's (possibly paused) clock: heartbeats then run on
    /// the caller's runtime instead of a thread of their own.
    pub in_process: bool,
}

/// How a wait for a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Somebody said that the record has changed.
    Changed,
    /// Nobody said so, and as far as the store knows it would have been told: looking now and then is enough.
    Listening,
    /// Nobody could have said so: whoever waits has to look often.
    Polling,
}

/// Which records of a namespace to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The namespace.
    pub namespace: Namespace,
    /// The most records of one call.
    pub limit: u32,
    /// Count only.
    pub dry_run: bool,
}

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// How many records were deleted, or would be; at most the limit.
    pub records: u64,
    /// There may be more.
    pub more: bool,
}

/// A record as it was read, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The record; None: absent.
    pub record: Option<Record>,
    /// The store's reading: what `live` and `uncertain` are computed from.
    pub now: StoreTime,
}

/// Which records to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The namespace.
    pub namespace: Namespace,
    /// Executions or leases.
    pub kind: Kind,
    /// Only these; None: all but tombstones.
    pub state: Option<Shown>,
    /// Only keys after this one, in byte order.
    pub after: Option<Key>,
    /// The most records, 1 to [`List::MAX`].
    pub limit: u32,
}

impl List {
    /// The largest page.
    pub const MAX: u32 = 1000;

    /// Whether a record belongs on the page.
    pub fn wants(&self, record: &Record, now: StoreTime) -> bool {
        match self.state {
            None => record.state != State::Free,
            Some(shown) => Shown::of(record, now) == shown,
        }
    }
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Keys and records in byte order; the results' bytes are left out.
    pub records: Vec<(Key, Record)>,
    /// The store's reading.
    pub now: StoreTime,
}

/// The states that people see: `Executing` is split by whether its worker is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
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
    /// An operator holds it.
    Reconciling,
}

impl Shown {
    /// How a record shows at a reading.
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

    /// The word used by the program.
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

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The deployment, as in spec §7.
    pub deployment: String,
    /// Each thing looked at.
    pub checks: Vec<Check>,
    /// What this deployment guarantees, in sentences.
    pub guarantees: Vec<String>,
    /// Whether Sentinel works with it.
    pub accepted: bool,
}

/// One thing that a probe looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

macro_rules! forward {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        /// A shared store is a store.
        #[async_trait]
        impl<S: CoordinationStore + ?Sized> CoordinationStore for Arc<S> {
            fn describe(&self) -> Description {
                (**self).describe()
            }
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                (**self).$method(address, op).await
            })*
            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                (**self).heartbeat(beats).await
            }
            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                (**self).purge(purge).await
            }
            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                (**self).inspect(address).await
            }
            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                (**self).list(list).await
            }
            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                (**self).history(address, limit).await
            }
            async fn changed(&self, address: &Address, within: Duration) -> Notice {
                (**self).changed(address, within).await
            }
            async fn health(&self) -> Result<Health, StoreError> {
                (**self).health().await
            }
        }
    };
}

forward! {
    claim, Claim, ClaimReply;
    begin, Begin, BeginReply;
    complete, Complete, CompleteReply;
    cancel, Cancel, CancelReply;
    release, Release, ReleaseReply;
    abandon, Abandon, AbandonReply;
    reconcile, Reconcile, ReconcileReply;
    force_complete, ForceComplete, ForceCompleteReply;
    reset_to_claimed, ResetToClaimed, ResetReply;
    evict, Evict, EvictReply;
}
