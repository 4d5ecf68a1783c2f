//! The bench on which a law works: a store, a namespace of its own, and a clock that it may move.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::kernel::{Op, Rebuilt, Reply, rebuild};
use sentinel_core::operation::*;
use sentinel_core::store::{List, Listing, Purge, Purged};
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Event, Grant, Key, Kind, Namespace, Record, RecordedResult,
    StoreTime,
};

use crate::coordination::handles::{Handles, Turn};
use crate::coordination::harness::Bench;
use crate::report::Lack;
use crate::sizes::Sizes;

/// A store under test, as one law sees it: a namespace that nobody else uses, and a clock that only the law moves.
pub struct LawContext {
    bench: Arc<dyn Bench>,
    handles: Arc<Handles>,
    store: Arc<dyn CoordinationStore>,
    namespace: Namespace,
    sizes: Sizes,
    /// The last stamp of each address: every reply of every law is held against the one before.
    seen: Arc<Mutex<HashMap<Address, Stamp>>>,
    /// What the harness could not do for this law.
    lacks: Arc<Mutex<BTreeSet<Lack>>>,
}

impl LawContext {
    /// A context in a fresh namespace.
    pub fn new(bench: Arc<dyn Bench>, sizes: Sizes) -> Self {
        let handles = Arc::new(Handles::new(vec![bench.store()], Turn::Alternate));
        Self::on(bench, handles, sizes, Arc::default())
    }

    fn on(
        bench: Arc<dyn Bench>,
        handles: Arc<Handles>,
        sizes: Sizes,
        lacks: Arc<Mutex<BTreeSet<Lack>>>,
    ) -> Self {
        let namespace = Namespace::new(format!("law-{}", ClaimId::random())).expect("lower case and short");
        let store: Arc<dyn CoordinationStore> = handles.clone();
        Self { bench, handles, store, namespace, sizes, seen: Arc::default(), lacks }
    }

    /// Another context on the same store, handles and clock, in a namespace of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        let (bench, handles) = (Arc::clone(&self.bench), Arc::clone(&self.handles));
        Self::on(bench, handles, self.sizes, Arc::clone(&self.lacks))
    }

    /// A context on the same store and clock whose requests go through two handles in turn; None: there is but one
    /// handle.
    pub(crate) async fn on_two_handles(&self, turn: Turn) -> Option<Self> {
        let handles = Arc::new(Handles::new(self.two_handles().await?.into(), turn));
        Some(Self::on(Arc::clone(&self.bench), handles, self.sizes, Arc::clone(&self.lacks)))
    }

    /// The same context with all requests going through one handle. Replies are held against those of the other
    /// contexts.
    pub(crate) fn through(&self, handle: &Arc<dyn CoordinationStore>) -> Self {
        let handles = Arc::new(Handles::new(vec![Arc::clone(handle)], Turn::Alternate));
        let context = Self::on(Arc::clone(&self.bench), handles, self.sizes, Arc::clone(&self.lacks));
        Self { namespace: self.namespace.clone(), seen: Arc::clone(&self.seen), ..context }
    }

    /// Two handles of the store that share nothing but the store; None: there is but one.
    pub(crate) async fn two_handles(&self) -> Option<[Arc<dyn CoordinationStore>; 2]> {
        let first = self.bench.store();
        if let Some(second) = self.bench.another().await {
            return Some([first, second]);
        }
        let second = self.bench.store();
        if Arc::ptr_eq(&first, &second) {
            self.lacks(Lack::SecondHandle);
            return None;
        }
        self.lacks(Lack::HandleOfItsOwn);
        Some([first, second])
    }

    /// Closes the store and opens it again, and says whether the harness could.
    pub(crate) async fn reopen(&self) -> bool {
        let count = self.handles.all().len();
        self.handles.replace(Vec::new());
        let reopened = self.bench.reopen().await;
        let mut open = vec![self.bench.store()];
        if count > 1 {
            open.push(self.bench.another().await.unwrap_or_else(|| self.bench.store()));
        }
        self.handles.replace(open);
        if !reopened {
            self.lacks(Lack::Reopen);
        }
        reopened
    }

    fn lacks(&self, lack: Lack) {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner).insert(lack);
    }

    /// What the harness could not do for the law so far.
    pub(crate) fn lacked(&self) -> BTreeSet<Lack> {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        self.bench.advance(by).await;
    }

    /// Sets the store's clock back, and says whether that could be done.
    pub async fn set_back(&self, by: Duration) -> bool {
        let set = self.bench.set_back(by).await;
        if !set {
            self.lacks(Lack::SetBack);
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

    /// Forgets the stamps that were seen: a purge ends the life of records, and a race is stamped out of order.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lists this namespace: all executions but tombstones, unless the law says otherwise.
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
        let replies = self.store.heartbeat(beats).await.expect("the store answers");
        assert_eq!(replies.len(), beats.len(), "one reply for each beat");
        let mut stamps: Vec<_> =
            beats.iter().zip(&replies).map(|(beat, reply)| (beat, reply.stamp)).collect();
        // A store may send a batch in parts, and a part again: repeats of one beat take effect in any order.
        stamps.sort_by_key(|(_, stamp)| (stamp.rev, !stamp.changed));
        stamps.into_iter().for_each(|(beat, stamp)| self.note(&beat.address, stamp));
        replies
    }

    /// Sends many operations, some at a time; the replies stand in their order.
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
                let stamped = reply.unwrap_or_else(|error| panic!("{op:?} was not answered: {error}"));
                self.note(address, stamped.stamp);
                replies.push(stamped);
            }
        }
        replies
    }

    /// Holds a stamp against the last one of its record.
    #[track_caller]
    pub(crate) fn note(&self, address: &Address, stamp: Stamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = seen.insert(address.clone(), stamp) {
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
    /// Where it lives.
    pub address: Address,
}

macro_rules! asks {
    ($($(#[$doc:meta])* $method:ident($op:ident) -> $reply:ident;)*) => {
        impl Subject<'_> {$(
            $(#[$doc])*
            pub(crate) async fn $method(&self, op: &$op) -> Stamped<$reply> {
                let answer = self.context.store.$method(&self.address, op).await;
                let stamped = answer.unwrap_or_else(|error| panic!("{op:?} was not answered: {error}"));
                self.context.note(&self.address, stamped.stamp);
                stamped
            }
        )*}
    };
}

asks! {
    /// Asks for a grant.
    claim(Claim) -> ClaimReply;
    /// Asks to take a doubt.
    reconcile(Reconcile) -> ReconcileReply;
    /// Says that it did happen.
    force_complete(ForceComplete) -> ForceCompleteReply;
    /// Says that it did not happen.
    reset_to_claimed(ResetToClaimed) -> ResetReply;
    /// Frees a claim whose holder will not come back.
    evict(Evict) -> EvictReply;
}

impl Subject<'_> {
    /// Sends any operation.
    pub(crate) async fn ask(&self, op: impl Into<Op>) -> Stamped<Reply> {
        let op = op.into();
        let answer = op.send(&*self.context.store, &self.address).await;
        let stamped = answer.unwrap_or_else(|error| panic!("{op:?} was not answered: {error}"));
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Says that the side effect is about to start.
    pub(crate) async fn begin(&self, grant: Grant) -> Stamped<BeginReply> {
        let stamped = self.context.store.begin(&self.address, &Begin { grant }).await.expect("an answer");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Says that the worker is still there.
    pub(crate) async fn heartbeat(&self, grant: Grant) -> Stamped<HeartbeatReply> {
        let beat = Beat { address: self.address.clone(), grant };
        self.context.beats(&[beat]).await.remove(0)
    }

    /// Hands in a result.
    pub(crate) async fn complete(&self, grant: Grant, result: &RecordedResult) -> Stamped<CompleteReply> {
        let op = Complete { grant, result: result.clone() };
        let stamped = self.context.store.complete(&self.address, &op).await.expect("an answer");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// Withdraws a call.
    pub(crate) async fn cancel(&self, claim_id: ClaimId) -> Stamped<CancelReply> {
        let stamped =
            self.context.store.cancel(&self.address, &Cancel { claim_id }).await.expect("an answer");
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
        let stamped = self.context.store.release(&self.address, &op).await.expect("an answer");
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
        let stamped = self.context.store.abandon(&self.address, op).await.expect("an answer");
        self.context.note(&self.address, stamped.stamp);
        stamped
    }

    /// The record; an absent one if there is none.
    pub(crate) async fn record(&self) -> Record {
        let inspection = self.context.store.inspect(&self.address).await.expect("the store reads");
        inspection.record.unwrap_or_else(Record::absent)
    }

    /// The store's clock, as a read tells it.
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

    /// The names of what happened, oldest first.
    pub(crate) async fn story(&self) -> Vec<&'static str> {
        self.events().await.iter().map(|event| event.change.name()).collect()
    }

    /// The events rebuild the record.
    pub(crate) async fn assert_rebuilt(&self) {
        let (record, events) = (self.record().await, self.events().await);
        let what = "replaying the events rebuilds the record, and it differs";
        crate::diff::same(what, &Rebuilt::from(&record), &rebuild(&events));
    }
}
