//! The client of Sentinel (spec §4): `once`, `lease`, the operator's reconciler, the keeper that sends heartbeats, and
//! a cache of replays.
//!
//! Most programs depend on the facade, `sentinel`, which exports all of this.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::store::{CoordinationStore, Inspection, List, Listing, Purge, Purged, Shown};
use sentinel_core::{Address, Event, Invalid, Key, Kind, Label, Namespace, StoreError, Terms};

mod auto_reconciler;
mod clock;
mod codec;
mod drain;
mod engine;
mod faithful;
mod fence;
mod keeper;
mod lease;
mod observe;
mod once;
mod outcome;
mod reconciler;
mod replay_cache;
mod retry;
mod run;
mod slots;
mod watch;

pub use auto_reconciler::{AutoReconciler, AutoReconcilerHandle, Finding, UncertainKey};
pub(crate) use clock::{LocalClock, LocalTime};
pub use codec::{Codec, CodecError, Json, Raw, decode_result, encode_checked, encode_result};
pub use drain::{Drained, Unfinished, Work};
pub use engine::Ending;
pub use fence::FenceValues;
pub use lease::{Lease, LeaseOutcome, LeaseRequest, ReleaseOutcome};
pub use once::{Once, Prepared};
pub use outcome::{
    Error, Failure, InProgress, NotRun, NotStored, Outcome, RanUncertain, ReconcilingBy, RecordedFailure,
    Uncertain,
};
pub use reconciler::{Decided, Eviction, Holding, Reconciled, Reconciler, Refused, Seeking};
pub use replay_cache::{ReplayCache, ReplayLimits};
pub use run::{Lost, Run};

use drain::OpenWork;
use keeper::Keeper;
use watch::Watchers;

/// The client: a store, a namespace, and the heartbeats of whatever runs. Cheap to clone; clones share their keeper.
///
/// Needs a tokio runtime with time enabled wherever it is used.
#[derive(Debug, Clone)]
pub struct Sentinel {
    core: Arc<Core>,
    namespace: Namespace,
    worker: Label,
    retry_timeout: Duration,
}

/// What clones share.
#[derive(Debug)]
pub(crate) struct Core {
    store: Arc<dyn CoordinationStore>,
    keeper: Keeper,
    watchers: Watchers,
    open_work: Arc<OpenWork>,
    show_keys: bool,
}

impl Sentinel {
    /// How long a request whose reply was lost is sent again before the call gives up on the store.
    pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(10);

    /// A client of a store, in the namespace `default`.
    pub fn new(store: impl CoordinationStore) -> Self {
        Self::build(Arc::new(store), false)
    }

    /// A client of a store that was picked at run time.
    pub fn from_arc(store: Arc<dyn CoordinationStore>) -> Self {
        Self::build(store, false)
    }

    fn build(store: Arc<dyn CoordinationStore>, show_keys: bool) -> Self {
        let core = Core {
            keeper: Keeper::new(store.clone()),
            watchers: Watchers::default(),
            open_work: Arc::default(),
            store,
            show_keys,
        };
        Self {
            core: Arc::new(core),
            namespace: Namespace::new("default").unwrap_or_else(|_| unreachable!("a valid name")),
            worker: Label::lossy(format!("pid {}", std::process::id())),
            retry_timeout: Self::DEFAULT_RETRY_TIMEOUT,
        }
    }

    /// The same client in another namespace.
    pub fn namespace(mut self, namespace: impl AsRef<str>) -> Result<Self, Invalid> {
        self.namespace = Namespace::new(namespace)?;
        Ok(self)
    }

    /// The label that records and events show for this worker. It decides nothing.
    pub fn worker(mut self, label: impl AsRef<str>) -> Result<Self, Invalid> {
        self.worker = Label::new(label)?;
        Ok(self)
    }

    /// How long a request whose reply was lost is sent again (10 s), and how long a call waits for the store's word that
    /// its result is recorded. A result is sent in the background after that; see [`Once::confirm_within`].
    #[must_use]
    pub fn retry_timeout(mut self, retry_timeout: Duration) -> Self {
        self.retry_timeout = retry_timeout;
        self
    }

    /// Puts keys into spans and events of `tracing`. Off by default: a key may be private. The keeper is not shared
    /// with clients made before.
    #[must_use]
    pub fn trace_keys(self) -> Self {
        let core = Self::build(self.core.store.clone(), true).core;
        Self { core, ..self }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn CoordinationStore> {
        &self.core.store
    }

    /// The namespace.
    pub fn current_namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs a function at most once for a key. See [`Once`].
    pub fn once<E>(&self, key: impl AsRef<str>) -> Once<E> {
        Once::new(self.clone(), Key::new(key))
    }

    /// Holds a place that one worker holds at a time. See [`LeaseRequest`].
    pub fn lease(&self, key: impl AsRef<str>) -> LeaseRequest {
        LeaseRequest::new(self.clone(), Key::new(key))
    }

    /// Settles an uncertain key as an operator. See [`Reconciler`].
    pub fn reconciler(&self, key: impl AsRef<str>) -> Reconciler<Seeking> {
        Reconciler::new(self.clone(), Key::new(key))
    }

    /// Settles uncertain keys of this namespace by code: `probe` looks at the world and answers whether the effect
    /// happened. See [`AutoReconciler`].
    pub fn reconcile_with<P, F>(&self, operator: impl AsRef<str>, probe: P) -> AutoReconciler
    where
        P: Fn(UncertainKey) -> F + Send + Sync + 'static,
        F: Future<Output = Finding> + Send + 'static,
    {
        AutoReconciler::new(self.clone(), Label::lossy(operator), Box::new(move |key| Box::pin(probe(key))))
    }

    /// Frees a claim or lease whose holder will not come back. `expect` is the token that was seen. See [`Eviction`].
    pub fn evict(&self, kind: Kind, key: impl AsRef<str>, expect: sentinel_core::Token) -> Eviction {
        Eviction::new(self.clone(), kind, Key::new(key), expect)
    }

    /// Reads one record. Changes nothing.
    pub async fn inspect(&self, kind: Kind, key: impl AsRef<str>) -> Result<Inspection, Error> {
        let address = self.address(kind, Key::new(key)?);
        Ok(self.core.store.inspect(&address).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads the newest `limit` events of a record, oldest first. Changes nothing.
    pub async fn history(&self, kind: Kind, key: impl AsRef<str>, limit: u32) -> Result<Vec<Event>, Error> {
        let address = self.address(kind, Key::new(key)?);
        Ok(self.core.store.history(&address, limit).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads a page of this namespace's records by key in byte order, after a key. Changes nothing.
    pub async fn list(
        &self,
        kind: Kind,
        state: Option<Shown>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Listing, Error> {
        let list = List { namespace: self.namespace.clone(), kind, state, after, limit };
        Ok(self.core.store.list(&list).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads the page for whoever is on call: executions whose outcome is in doubt.
    pub async fn uncertain(&self, after: Option<Key>, limit: u32) -> Result<Listing, Error> {
        self.list(Kind::Execution, Some(Shown::Uncertain), after, limit).await
    }

    /// Deletes what has served in this namespace, page by page until nothing is left to delete; with `dry_run` only counts
    /// it. Repeating it deletes what has become old since.
    pub async fn purge(&self, dry_run: bool) -> Result<Purged, Error> {
        let limit = if dry_run { u32::MAX } else { 1_000 };
        let purge = Purge { namespace: self.namespace.clone(), limit, dry_run };
        let mut total = Purged { records: 0, more: false };
        loop {
            let page = self.core.store.purge(&purge).await;
            let page = if dry_run { page.map_err(StoreError::of_a_read)? } else { page? };
            total.records += page.records;
            if dry_run || !page.more {
                return Ok(total);
            }
        }
    }

    fn address(&self, kind: Kind, key: Key) -> Address {
        Address { namespace: self.namespace.clone(), kind, key }
    }
}

/// ttl and hard ttl as a builder collects them: hard ttl defaults to ttl.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    ttl: Duration,
    hard_ttl: Option<Duration>,
    late_effects: Duration,
}

impl Asked {
    const DEFAULT: Self =
        Self { ttl: Duration::from_secs(30), hard_ttl: None, late_effects: Terms::DEFAULT_LATE_EFFECTS };

    fn terms(self) -> Result<Terms, Invalid> {
        Terms::new(self.ttl, self.hard_ttl.unwrap_or(self.ttl))?.with_late_effects(self.late_effects)
    }
}

pub(crate) fn store_broke(what: &str) -> StoreError {
    StoreError::ambiguous(sentinel_core::ErrorKind::BrokenStore, what.to_owned())
}
