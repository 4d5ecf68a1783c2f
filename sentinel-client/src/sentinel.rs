//! The client itself. Each kind of request adds its own method to it, in its own module.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::store::{CoordinationStore, Inspection, List, Listing, Purge, Purged, VisibleState};
use sentinel_core::{Address, Event, Invalid, Key, Kind, Label, Namespace, StoreError};

use crate::outcome::Error;
use crate::policy::Policy;
use crate::shared::Core;
use crate::worker::default_worker;

/// The client: a store, a namespace, and the heartbeats of everything that runs. It is cheap to clone; clones share
/// their keeper.
///
/// Must be used within a tokio runtime with time enabled.
#[derive(Debug, Clone)]
pub struct Sentinel {
    pub(crate) core: Arc<Core>,
    pub(crate) namespace: Namespace,
    pub(crate) worker: Label,
    pub(crate) retry_timeout: Duration,
    pub(crate) policy: Option<Arc<Policy>>,
}

impl Sentinel {
    /// The default of [`retry_timeout`](Self::retry_timeout): 10 s.
    pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(10);

    /// Creates a client of a store, in the namespace `default`. Its worker label is `host:pid`.
    pub fn new(store: impl CoordinationStore) -> Self {
        Self::from_arc(Arc::new(store))
    }

    /// Creates a client of a store that is chosen at run time.
    pub fn from_arc(store: Arc<dyn CoordinationStore>) -> Self {
        let store_name = store.describe().backend;
        let namespace = Namespace::new("default").unwrap_or_else(|_| unreachable!("a valid name"));
        let core = Core::new(store, false, store_name);
        core.meters.register(&namespace);
        Self {
            core: Arc::new(core),
            namespace,
            worker: default_worker(),
            retry_timeout: Self::DEFAULT_RETRY_TIMEOUT,
            policy: None,
        }
    }

    /// The same client in another namespace. Returns an error if the name is invalid.
    pub fn namespace(mut self, namespace: impl AsRef<str>) -> Result<Self, Invalid> {
        self.namespace = Namespace::new(namespace)?;
        self.core.meters.register(&self.namespace);
        Ok(self)
    }

    /// Sets the label that records and events show for this worker, instead of the name of its host and its process id.
    /// It never affects a decision. Returns an error if the label is invalid.
    pub fn worker(mut self, label: impl AsRef<str>) -> Result<Self, Invalid> {
        self.worker = Label::new(label)?;
        Ok(self)
    }

    /// How long a request whose reply was lost is repeated, and how long a call waits for the confirmation that its
    /// result is recorded. Default 10 s. After that a result is sent in the background; see
    /// [`Once::confirm_within`](crate::Once::confirm_within).
    #[must_use]
    pub fn retry_timeout(mut self, retry_timeout: Duration) -> Self {
        self.retry_timeout = retry_timeout;
        self
    }

    /// Makes a policy the default of all calls of the returned client: `once`, `lease`, `wait`, and the facade's
    /// `once_in_transaction`. Clients made before are not affected. If the client has a policy already, what the new
    /// one sets wins, and the rules for errors of both apply.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        let below = self.policy.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        self.policy = Some(Arc::new(below.overridden_by(policy)));
        self
    }

    /// Adds keys to the spans and events of `tracing`. Off by default, because a key may be private. The returned
    /// client has a keeper of its own, which it does not share with clients made before.
    #[must_use]
    pub fn trace_keys(self) -> Self {
        let core = Core::new(self.core.store.clone(), true, self.core.meters.store());
        Self { core: Arc::new(core), ..self }.registered()
    }

    /// Sets the label `store` of this client's metrics; by default the name of the backend, for example `postgres`. Use
    /// one name for each store, the same in all processes, and give it to the survey's exporter too. The returned
    /// client has a keeper of its own, which it does not share with clients made before. **Errors:** the name is not a
    /// valid label.
    pub fn store_name(self, name: impl AsRef<str>) -> Result<Self, Invalid> {
        let name = Label::new(name)?;
        let core = Core::new(self.core.store.clone(), self.core.show_keys, name.as_str());
        Ok(Self { core: Arc::new(core), ..self }.registered())
    }

    fn registered(self) -> Self {
        self.core.meters.register(&self.namespace);
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn CoordinationStore> {
        &self.core.store
    }

    /// The namespace.
    pub fn current_namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The label of this worker.
    pub fn current_worker(&self) -> &Label {
        &self.worker
    }

    /// The address of an execution under a key, in this client's namespace. Returns an error if the key is invalid.
    pub fn address(&self, key: impl AsRef<str>) -> Result<Address, Invalid> {
        Ok(self.address_of(Kind::Execution, Key::new(key)?))
    }

    /// The address of a lease under a key, in this client's namespace. Returns an error if the key is invalid.
    pub fn lease_address(&self, key: impl AsRef<str>) -> Result<Address, Invalid> {
        Ok(self.address_of(Kind::Lease, Key::new(key)?))
    }

    /// The policy of this client; None: it has none.
    pub fn current_policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// Reads one record. Changes nothing. **Errors:** invalid input, or the store could not answer.
    pub async fn inspect(&self, kind: Kind, key: impl AsRef<str>) -> Result<Inspection, Error> {
        let address = self.address_of(kind, Key::new(key)?);
        Ok(self.core.store.inspect(&address).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads the newest `limit` events of a record, oldest first. Changes nothing. **Errors:** invalid input, or the
    /// store could not answer.
    pub async fn history(&self, kind: Kind, key: impl AsRef<str>, limit: u32) -> Result<Vec<Event>, Error> {
        let address = self.address_of(kind, Key::new(key)?);
        Ok(self.core.store.history(&address, limit).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads a page of this namespace's records, by key in byte order, starting after a key. Changes nothing.
    /// **Errors:** the store could not answer.
    pub async fn list(
        &self,
        kind: Kind,
        state: Option<VisibleState>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Listing, Error> {
        let list = List { namespace: self.namespace.clone(), kind, state, after, limit };
        Ok(self.core.store.list(&list).await.map_err(StoreError::of_a_read)?)
    }

    /// Reads a page of the executions that are uncertain, starting after a key. Changes nothing. **Errors:** as for
    /// [`list`](Self::list).
    pub async fn uncertain(&self, after: Option<Key>, limit: u32) -> Result<Listing, Error> {
        self.list(Kind::Execution, Some(VisibleState::Uncertain), after, limit).await
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

    pub(crate) fn address_of(&self, kind: Kind, key: Key) -> Address {
        Address { namespace: self.namespace.clone(), kind, key }
    }
}
