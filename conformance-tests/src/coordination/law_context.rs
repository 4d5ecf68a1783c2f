//! The context of a law: a store, a namespace of its own, and a clock that it may move.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::kernel::{Op, Rebuilt, Reply, rebuild};
use sentinel_core::operation::*;
use sentinel_core::store::{List, Listing, Purge, Purged};
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Event, Grant, Key, Kind, Namespace, Record, RecordedResult,
    StoreTime, Survey,
};

use crate::coordination::handles::{Handles, Turn};
use crate::coordination::harness::DynHarness;
use crate::report::Unsupported;
use crate::sizes::Sizes;

/// A store under test, as one law uses it: with a namespace of its own, and a clock that only the law moves.
pub struct LawContext {
    harness: Arc<dyn DynHarness>,
    handles: Arc<Handles>,
    store: Arc<dyn CoordinationStore>,
    namespace: Namespace,
    sizes: Sizes,
    /// The last stamp of each address: every reply of every law is compared with the one before.
    last_stamps: Arc<Mutex<HashMap<Address, Stamp>>>,
    /// What the harness could not do for this law.
    unsupported: Arc<Mutex<BTreeSet<Unsupported>>>,
}

impl LawContext {
    /// A context in a fresh namespace.
    pub fn new(harness: Arc<dyn DynHarness>, sizes: Sizes) -> Self {
        let handles = Arc::new(Handles::new(vec![harness.store()], Turn::Alternate));
        Self::on(harness, handles, sizes, Arc::default())
    }

    fn on(
        harness: Arc<dyn DynHarness>,
        handles: Arc<Handles>,
        sizes: Sizes,
        unsupported: Arc<Mutex<BTreeSet<Unsupported>>>,
    ) -> Self {
        let namespace = Namespace::new(format!("law-{}", ClaimId::random())).expect("lower case and short");
        let store: Arc<dyn CoordinationStore> = handles.clone();
        Self { harness, handles, store, namespace, sizes, last_stamps: Arc::default(), unsupported }
    }

    /// Another context on the same store, handles and clock, in a namespace of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        let (harness, handles) = (Arc::clone(&self.harness), Arc::clone(&self.handles));
        Self::on(harness, handles, self.sizes, Arc::clone(&self.unsupported))
    }

    /// A context on the same store and clock whose requests go through two handles in turn; None: there is but one
    /// handle.
    pub(crate) async fn on_two_handles(&self, turn: Turn) -> Option<Self> {
        let handles = Arc::new(Handles::new(self.two_handles().await?.into(), turn));
        Some(Self::on(Arc::clone(&self.harness), handles, self.sizes, Arc::clone(&self.unsupported)))
    }

    /// The same context with all requests going through one handle. Replies are compared with those of the other
    /// contexts.
    pub(crate) fn through(&self, handle: &Arc<dyn CoordinationStore>) -> Self {
        let handles = Arc::new(Handles::new(vec![Arc::clone(handle)], Turn::Alternate));
        let context = Self::on(Arc::clone(&self.harness), handles, self.sizes, Arc::clone(&self.unsupported));
        Self { namespace: self.namespace.clone(), last_stamps: Arc::clone(&self.last_stamps), ..context }
    }

    /// Two handles of the store that share nothing but the store; None: there is but one.
    pub(crate) async fn two_handles(&self) -> Option<[Arc<dyn CoordinationStore>; 2]> {
        let first = self.harness.store();
        if let Some(second) = self.harness.another().await {
            return Some([first, second]);
        }
        let second = self.harness.store();
        if Arc::ptr_eq(&first, &second) {
            self.unsupported(Unsupported::SecondHandle);
            return None;
        }
        self.unsupported(Unsupported::HandleOfItsOwn);
        Some([first, second])
    }

    /// Closes the store and opens it again, and returns whether the harness can do this.
    pub(crate) async fn reopen(&self) -> bool {
        let count = self.handles.all().len();
        self.handles.replace(Vec::new());
        let reopened = self.harness.reopen().await;
        let mut open = vec![self.harness.store()];
        if count > 1 {
            open.push(self.harness.another().await.unwrap_or_else(|| self.harness.store()));
        }
        self.handles.replace(open);
        if !reopened {
            self.unsupported(Unsupported::Reopen);
        }
        reopened
    }

    /// The store as a survey; None: the harness has none.
    pub(crate) fn survey(&self) -> Option<Arc<dyn Survey>> {
        let survey = self.harness.survey();
        if survey.is_none() {
            self.unsupported(Unsupported::Survey);
        }
        survey
    }

    fn unsupported(&self, capability: Unsupported) {
        self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).insert(capability);
    }

    /// What the harness could not do for the law so far.
    pub(crate) fn unsupported_so_far(&self) -> BTreeSet<Unsupported> {
        self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    /// The namespace of this context.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// How much the generated layers do.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Moves the store's clock forward.
    pub async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    /// Sets the store's clock back, and returns whether the harness can do this.
    pub async fn set_back(&self, by: Duration) -> bool {
        let set = self.harness.set_back(by).await;
        if !set {
            self.unsupported(Unsupported::SetBack);
        }
        set
    }

    /// The execution under a key of this context's namespace.
    pub fn execution(&self, key: &str) -> Subject<'_> {
        self.subject(Address::execution(self.namespace.clone(), Key::new(key).expect("a key")))
    }

    /// The lease under a key of this context's namespace.
    pub fn lease(&self, key: &str) -> Subject<'_> {
        self.subject(Address::lease(self.namespace.clone(), Key::new(key).expect("a key")))
    }

    /// The record at any address.
    pub fn subject(&self, address: Address) -> Subject<'_> {
        Subject { context: self, address }
    }

    /// Purges this namespace.
    pub(crate) async fn purge(&self) -> Purged {
        self.purge_with(u32::MAX, false).await
    }

    /// Purges this namespace, up to a limit, or only counts.
    pub(crate) async fn purge_with(&self, limit: u32, dry_run: bool) -> Purged {
        self.purge_of(&self.namespace, limit, dry_run).await
    }

    /// Purges a namespace, up to a limit, or only counts.
    pub(crate) async fn purge_of(&self, namespace: &Namespace, limit: u32, dry_run: bool) -> Purged {
        self.forget();
        let purge = Purge { namespace: namespace.clone(), limit, dry_run };
        self.store.purge(&purge).await.expect("the store purges")
    }

    /// Forgets the last stamps: a purge ends the life of records, and the stamps of a race arrive out of order.
    pub(crate) fn forget(&self) {
        self.last_stamps.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lists this namespace: all executions but tombstones, unless the law changes the request.
    pub(crate) fn everything(&self) -> List {
        let (namespace, kind) = (self.namespace.clone(), Kind::Execution);
        List { namespace, kind, state: None, after: None, limit: List::MAX }
    }

    /// A page.
    pub(crate) async fn list(&self, list: &List) -> Listing {
        self.store.list(list).await.expect("the store lists")
    }

    /// The keys of a page.
    pub(crate) async fn keys(&self, list: &List) -> Vec<String> {
        self.list(list).await.records.iter().map(|(key, _)| key.as_str().to_owned()).collect()
    }

    /// Sends a batch of heartbeats.
    pub(crate) async fn beats(&self, beats: &[Beat]) -> Vec<Stamped<HeartbeatReply>> {
        let replies = self.store.heartbeat(beats).await.expect("the store replies");
        assert_eq!(replies.len(), beats.len(), "one reply for each beat");
        let mut stamps: Vec<_> =
            beats.iter().zip(&replies).map(|(beat, reply)| (beat, reply.stamp)).collect();
        // A store may send a batch in parts, and a part again: repeats of one beat take effect in any order.
        stamps.sort_by_key(|(_, stamp)| (stamp.rev, !stamp.changed));
        stamps.into_iter().for_each(|(beat, stamp)| self.note(&beat.address, stamp));
        replies
    }

    /// Sends many operations, some at a time; the replies are in their order.
    pub(crate) async fn each(&self, ops: Vec<(Address, Op)>) -> Vec<Stamped<Reply>> {
        const AT_ONCE: usize = 64;
        let mut replies = Vec::with_capacity(ops.len());
        for chunk in ops.chunks(AT_ONCE) {
            let send = |(address, op): (Address, Op)| {
                let store = Arc::clone(&self.store);
                tokio::spawn(async move { op.send(&*store, &address).await })
            };
            let sent: Vec<_> = chunk.iter().cloned().map(send).collect();
            for ((address, op), reply) in chunk.iter().zip(sent) {
                let reply = reply.await.expect("an operation does not panic");
                let stamped = reply.unwrap_or_else(|error| panic!("{op:?} failed: {error}"));
                self.note(address, stamped.stamp);
                replies.push(stamped);
            }
        }
        replies
    }

    /// Compares a stamp with the last one of its record.
    #[track_caller]
    pub(crate) fn note(&self, address: &Address, stamp: Stamp) {
        let mut last_stamps = self.last_stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last_stamps.insert(address.clone(), stamp) {
            assert!(last.now <= stamp.now, "the clock ran backwards: {last:?}, then {stamp:?}");
            assert!(last.token <= stamp.token, "the token fell: {last:?}, then {stamp:?}");
            let step = u64::from(stamp.changed);
            assert_eq!(stamp.rev, last.rev + step, "rev counts the changes: {last:?}, then {stamp:?}");
            let same = (last.token, last.state) == (stamp.token, stamp.state);
            assert!(stamp.changed || same, "nothing changed, and the stamp did: {last:?}, then {stamp:?}");
        }
    }
}

/// One record under test.
#[derive(Clone)]
pub struct Subject<'a> {
    context: &'a LawContext,
    /// Its address.
    pub address: Address,
}

macro_rules! send_methods {
    ($($(#[$doc:meta])* $method:ident($op:ident) -> $reply:ident;)*) => {
        impl Subject<'_> {$(
            $(#[$doc])*
            pub(crate) async fn $method(&self, op: &$op) -> Stamped<$reply> {
                let reply = self.context.store.$method(&self.address, op).await;
                let stamped = reply.unwrap_or_else(|error| panic!("{op:?} failed: {error}"));
                self.context.note(&self.address, stamped.stamp);
                stamped
            }
        )*}
    };
}

send_methods! {
    /// Requests a grant.
    claim(Claim) -> ClaimReply;
    /// Takes an uncertain key.
    reconcile(Reconcile) -> ReconcileReply;
    /// Decides that the effect happened.
    force_complete(ForceComplete) -> ForceCompleteReply;
    /// Decides that the effect did not happen.
    reset_to_claimed(ResetToClaimed) -> ResetReply;
    /// Frees a claim whose holder will not come back.
    evict(Evict) -> EvictReply;
}

impl Subject<'_> {
    /// Sends any operation.
    pub(crate) async fn send(&self, op: impl Into<Op>) -> Stamped<Reply> {
        let op = op.into();
        let reply = op.send(&*self.context.store, &self.address).await;
        let stamped = reply.unwrap_or_else(|error| panic!("{op:?} failed: {error}"));
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Begins: the side effect is about to start.
    pub(crate) async fn begin(&self, grant: Grant) -> Stamped<BeginReply> {
        let stamped = self.context.store.begin(&self.address, &Begin { grant }).await.expect("a reply");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Extends the lease: the worker is still alive.
    pub(crate) async fn heartbeat(&self, grant: Grant) -> Stamped<HeartbeatReply> {
        let beat = Beat { address: self.address.clone(), grant };
        self.context.beats(&[beat]).await.remove(0)
    }

    /// Records a result.
    pub(crate) async fn complete(&self, grant: Grant, result: &RecordedResult) -> Stamped<CompleteReply> {
        let op = Complete { grant, result: result.clone() };
        let stamped = self.context.store.complete(&self.address, &op).await.expect("a reply");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Withdraws a call.
    pub(crate) async fn cancel(&self, claim_id: ClaimId) -> Stamped<CancelReply> {
        let stamped = self.context.store.cancel(&self.address, &Cancel { claim_id }).await.expect("a reply");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Gives a claim back, without vouching for anything.
    pub(crate) async fn release(&self, grant: Grant) -> Stamped<ReleaseReply> {
        self.release_as(Release { grant, vouched: false }).await
    }

    /// Gives a claim back and vouches that nothing happened.
    pub(crate) async fn vouch(&self, grant: Grant) -> Stamped<ReleaseReply> {
        self.release_as(Release { grant, vouched: true }).await
    }

    async fn release_as(&self, op: Release) -> Stamped<ReleaseReply> {
        let stamped = self.context.store.release(&self.address, &op).await.expect("a reply");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Reports that the outcome is unknown, and that no effect is late.
    pub(crate) async fn abandon(&self, grant: Grant, cause: &str) -> Stamped<AbandonReply> {
        let (cause, late_effects) = (sentinel_core::Label::new(cause).expect("a label"), Duration::ZERO);
        self.abandon_as(&Abandon { grant, cause, late_effects }).await
    }

    /// Reports that the outcome is unknown.
    pub(crate) async fn abandon_as(&self, op: &Abandon) -> Stamped<AbandonReply> {
        let stamped = self.context.store.abandon(&self.address, op).await.expect("a reply");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// The record; an absent one if there is none.
    pub(crate) async fn record(&self) -> Record {
        let inspection = self.context.store.inspect(&self.address).await.expect("the store reads");
        inspection.record.unwrap_or_else(Record::absent)
    }

    /// The store's clock, as a read returns it.
    pub(crate) async fn now(&self) -> StoreTime {
        self.context.store.inspect(&self.address).await.expect("the store reads").now
    }

    /// All events, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.newest_events(u32::MAX).await
    }

    /// The newest events, oldest first.
    pub(crate) async fn newest_events(&self, limit: u32) -> Vec<Event> {
        self.context.store.history(&self.address, limit).await.expect("the store reads")
    }

    /// The names of the changes, oldest first.
    pub(crate) async fn changes(&self) -> Vec<&'static str> {
        self.events().await.iter().map(|event| event.change.name()).collect()
    }

    /// The events rebuild the record.
    pub(crate) async fn assert_rebuilt(&self) {
        let (record, events) = (self.record().await, self.events().await);
        let what = "replaying the events rebuilds the record, and it differs";
        crate::diff::same(what, &Rebuilt::from(&record), &rebuild(&events));
    }
}
