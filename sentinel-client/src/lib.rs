//! The client of Sentinel (spec §4): `once`, `lease`, the reconcilers, the keeper that sends heartbeats, and a cache of
//! completed results.
//!
//! Most programs depend on the facade, `sentinel`, which re-exports all of this.

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

/// The client: a store, a namespace, and the heartbeats of everything that runs. It is cheap to clone; clones share
/// their keeper.
///
/// Must be used within a tokio runtime with time enabled.
#[derive(Debug, Clone)]
pub struct Sentinel {
    core: Arc<Core>,
    namespace: Namespace,
    worker: Label,
    retry_timeout: Duration,
}

/// The part that clones share.
#[derive(Debug)]
pub(crate) struct Core {
    store: Arc<dyn CoordinationStore>,
    keeper: Keeper,
    watchers: Watchers,
    open_work: Arc<OpenWork>,
    show_keys: bool,
}

impl Sentinel {
    /// The default of [`retry_timeout`](Self::retry_timeout): 10 s.
    pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(10);

    /// Creates a client of a store, in the namespace `default`. Its worker label is `pid` and the process id.
    pub fn new(store: impl CoordinationStore) -> Self {
        Self::build(Arc::new(store), false)
    }

    /// Creates a client of a store that is chosen at run time.
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

    /// The same client in another namespace. Returns an error if the name is invalid.
    pub fn namespace(mut self, namespace: impl AsRef<str>) -> Result<Self, Invalid> {
        self.namespace = Namespace::new(namespace)?;
        Ok(self)
    }

    /// Sets the label that records and events show for this worker. It never affects a decision. Returns an error if
    /// the label is invalid.
    pub fn worker(mut self, label: impl AsRef<str>) -> Result<Self, Invalid> {
        self.worker = Label::new(label)?;
        Ok(self)
    }

    /// How long a request whose reply was lost is repeated, and how long a call waits for the confirmation that its
    /// result is recorded. Default 10 s. After that a result is sent in the background; see [`Once::confirm_within`].
    #[must_use]
    pub fn retry_timeout(mut self, retry_timeout: Duration) -> Self {
        self.retry_timeout = retry_timeout;
        self
    }

    /// Adds keys to the spans and events of `tracing`. Off by default, because a key may be private. The returned
    /// client has a keeper of its own, which it does not share with clients made before.
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

    /// A request to run a function at most once for a key. See [`Once`].
    pub fn once<E>(&self, key: impl AsRef<str>) -> Once<E> {
        Once::new(self.clone(), Key::new(key))
    }

    /// A request for a lease, which at most one worker holds at a time. See [`LeaseRequest`].
    pub fn lease(&self, key: impl AsRef<str>) -> LeaseRequest {
        LeaseRequest::new(self.clone(), Key::new(key))
    }

    /// Reconciles an uncertain key for an operator. See [`Reconciler`].
    pub fn reconciler(&self, key: impl AsRef<str>) -> Reconciler<Seeking> {
        Reconciler::new(self.clone(), Key::new(key))
    }

    /// Reconciles the uncertain keys of this namespace by code: `probe` inspects the outside world and returns whether
    /// the effect happened. See [`AutoReconciler`].
    pub fn reconcile_with<P, F>(&self, operator: impl AsRef<str>, probe: P) -> AutoReconciler
    where
        P: Fn(UncertainKey) -> F + Send + Sync + 'static,
        F: Future<Output = Finding> + Send + 'static,
    {
        AutoReconciler::new(self.clone(), Label::lossy(operator), Box::new(move |key| Box::pin(probe(key))))
    }

    /// Frees a claim or a lease whose holder will not come back. `expect` is the token that the operator saw. See
    /// [`Eviction`].
    pub fn evict(&self, kind: Kind, key: impl AsRef<str>, expect: sentinel_core::Token) -> Eviction {
        Eviction::new(self.clone(), kind, Key::new(key), expect)
    }

    /// Reads one record. Changes nothing. **Errors:** invalid input, or the store could not answer.
    pub async fn inspect(&self, kind: Kind, key: impl AsRef<str>) -> Result<Inspection, Error> {
        let address = self.address(kind, Key::new(key)?);
        Ok(self.core.store.inspect(&address).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads the newest `limit` events of a record, oldest first. Changes nothing. **Errors:** invalid input, or the
    /// store could not answer.
    pub async fn history(&self, kind: Kind, key: impl AsRef<str>, limit: u32) -> Result<Vec<Event>, Error> {
        let address = self.address(kind, Key::new(key)?);
        Ok(self.core.store.history(&address, limit).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads a page of this namespace's records, by key in byte order, starting after a key. Changes nothing.
    /// **Errors:** the store could not answer.
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

    /// Reads a page of the executions that are uncertain, starting after a key. Changes nothing. **Errors:** as for
    /// [`list`](Self::list).
    pub async fn uncertain(&self, after: Option<Key>, limit: u32) -> Result<Listing, Error> {
        self.list(Kind::Execution, Some(Shown::Uncertain), after, limit).await
    }

    /// Deletes the records of this namespace that are no longer needed: completed past their retention, or free, and
    /// unchanged for over an hour. With `dry_run` only counts them. Works page by page until nothing is left.
    /// **Repeating it** deletes records that have become old since. **Errors:** the store could not answer; pages
    /// before the error are deleted.
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

/// ttl and hard ttl as a builder collects them. The hard ttl defaults to the ttl.
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
