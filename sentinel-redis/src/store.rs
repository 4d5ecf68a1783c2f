use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::survey::{CausePage, Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Address, CauseQuery, CoordinationStore, Event, Namespace, StoreError, Survey};
use sentinel_store_kit::CompletedHints;

use crate::batch::call::Caller;
use crate::batch::{ScriptBatcher, ScriptReply, ScriptRequest};
use crate::builder::{Parts, RedisStoreBuilder};
use crate::coordination::{ScriptedOperation, explain, record, replay_of};
use crate::data_loss::Registration;
use crate::doctor;
use crate::notify::ChangeNotifier;
use crate::script::Script;

/// A store on a Redis server. Cheap to clone: clones share their connections.
///
/// It owns its connections, each opened when it is first needed: one for most requests, one for heartbeats, one that
/// receives notifications of changes, and, where a durability was asked for, a few that wait for it. They live on the
/// runtime of their first caller, and are opened again on another if that runtime ends.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    main: Arc<Caller>,
    heartbeats: Arc<Caller>,
    batcher: ScriptBatcher,
    completed: CompletedHints,
    notifier: ChangeNotifier,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("data_loss", &self.inner.main.data_loss).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Opens the store at a URL with the usual settings: `redis://user:password@host:port/database`, `rediss://` for
    /// TLS,
    /// `redis-cluster://host:port?node=host:port`, `redis-sentinel://host:port?sentinelServiceName=name`, or
    /// `redis+unix:///path/to/socket`.
    ///
    /// Fails, with nothing changed, as [`RedisStoreBuilder::open`] does: also where the store was never set up.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).open().await
    }

    /// Sets the store at a URL up, or registers its servers again, and opens it: [`RedisStoreBuilder::init`].
    pub async fn init(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).init().await
    }

    /// Starts with the usual settings, to change some of them.
    ///
    /// A URL can hold some of the settings: `?sentinel_key_prefix=billing&sentinel_ca=/etc/ssl/redis.pem`,
    /// `sentinel_durability=replicas:1` (or `disk`), `sentinel_allow_lossy=yes`. Any other parameter is refused,
    /// because it would be ignored.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::from_url(url)
    }

    fn from_parts(parts: Parts) -> Self {
        let Parts { main, heartbeats, connector } = parts;
        let inner = Inner {
            batcher: ScriptBatcher::new(main.clone()),
            completed: CompletedHints::default(),
            notifier: ChangeNotifier::new(connector, main.data_loss.names.prefix()),
            main,
            heartbeats,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where the changes of a record are published.
    fn channel(&self, address: &Address) -> Bytes {
        self.inner.main.bucket_of(address).record(address.key.as_str())
    }

    async fn transition<O: ScriptedOperation>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, StoreError> {
        op.admit(address.kind)?;
        let reply = self.inner.batcher.call(ScriptRequest {
            script: O::SCRIPT,
            comes_last: O::COMES_LAST,
            address: address.clone(),
            arg: op.pack(),
            barrier: op.needs_barrier(address.kind),
        });
        let stamped = explain(address, op, reply.await?)?;
        if stamped.stamp.changed {
            self.inner.main.data_loss.acknowledged(address, &stamped.stamp);
        }
        Ok(stamped)
    }

    /// The name of the channel on which the changes of a record are published. For tests.
    #[doc(hidden)]
    pub fn channel_name(&self, address: &Address) -> String {
        String::from_utf8_lossy(&self.channel(address)).into_owned()
    }

    /// Whether this store is subscribed to the changes of a record. For tests.
    #[doc(hidden)]
    pub fn is_listening(&self, address: &Address) -> bool {
        self.inner.notifier.is_subscribed(&self.channel(address))
    }

    /// Why the last reads may lack changes that were acknowledged, where the store was opened to
    /// [`read_in_doubt`](RedisStoreBuilder::read_in_doubt); None: no reason is known. Changes of a record fail with
    /// the same error until an operator has registered the servers again.
    pub fn doubt(&self) -> Option<StoreError> {
        self.inner.main.data_loss.doubt()
    }

    async fn read(&self, script: Script, address: &Address) -> Result<ScriptReply, StoreError> {
        let address = address.clone();
        let request = ScriptRequest { script, comes_last: false, address, arg: Bytes::new(), barrier: false };
        self.inner.batcher.call(request).await
    }

    /// The reply to a claim of a completed key, by a read alone; None: the claim has to run. A store with a barrier
    /// always runs the claim.
    async fn replayed(
        &self,
        address: &Address,
        op: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        if self.inner.main.barrier.is_some() || !self.inner.completed.expects(address) {
            return Ok(None);
        }
        op.admit(address.kind)?;
        replay_of(address, op, self.read(Script::Read, address).await?)
    }
}

impl RedisStoreBuilder {
    /// Connects, and checks that the server is the one that was registered and can keep what it acknowledges.
    ///
    /// **Effect:** none, but where a server that loses nothing was restarted: it is trusted again. **Errors:** nothing
    /// was changed: `Unreachable`, `NotInitialised` (run [`init`](Self::init), or `sentinel init`), `NewerSchema`,
    /// `PossibleDataLoss`, or `DeploymentRefused`.
    pub async fn open(self) -> Result<RedisStore, StoreError> {
        let parts = self.parts()?;
        let connection = parts.main.connection.get().await?;
        if let Err(why) = parts.main.register(&*connection).await {
            parts.main.register_to_read(&*connection, why).await?;
        }
        Ok(RedisStore::from_parts(parts))
    }

    /// Sets the store up, or, where it is set up, **registers the present servers**: from now on they are trusted to
    /// hold everything that was acknowledged. Only an operator who has compared the data can decide that. Opens the
    /// store.
    ///
    /// **Repeating it**, also at once from many processes, changes nothing more. **Errors:** as [`open`](Self::open).
    pub async fn init(self) -> Result<RedisStore, StoreError> {
        self.register().await.map(|(store, _)| store)
    }

    /// As [`init`](Self::init), and reports which of the two it did.
    pub async fn register(self) -> Result<(RedisStore, Registration), StoreError> {
        let buckets = self.buckets;
        let parts = self.parts()?;
        let connection = parts.main.connection.get().await?;
        let registration = parts.main.data_loss.init(&*connection, buckets).await?;
        parts.main.register(&*connection).await?;
        Ok((RedisStore::from_parts(parts), registration))
    }
}

#[async_trait]
impl CoordinationStore for RedisStore {
    fn describe(&self) -> Description {
        Description { backend: "redis", in_process: false }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        let stamped = match self.replayed(address, op).await? {
            Some(stamped) => stamped,
            None => {
                if op.cause.is_some() {
                    op.admit(address.kind)?;
                    self.inner.main.enter_causes(&address.namespace).await?;
                }
                self.transition(address, op).await?
            }
        };
        if matches!(stamped.reply, ClaimReply::Completed { .. }) {
            self.inner.completed.expect(address);
        }
        Ok(stamped)
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.inner.heartbeats.beat(beats).await
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        let stamped = self.transition(address, op).await?;
        self.inner.completed.expect(address);
        Ok(stamped)
    }

    async fn cancel(&self, address: &Address, op: &Cancel) -> Result<Stamped<CancelReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn release(&self, address: &Address, op: &Release) -> Result<Stamped<ReleaseReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn abandon(&self, address: &Address, op: &Abandon) -> Result<Stamped<AbandonReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn reconcile(
        &self,
        address: &Address,
        op: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn force_complete(
        &self,
        address: &Address,
        op: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn reset_to_claimed(
        &self,
        address: &Address,
        op: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn evict(&self, address: &Address, op: &Evict) -> Result<Stamped<EvictReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn purge(&self, op: &Purge) -> Result<Purged, StoreError> {
        self.inner.main.purge(op).await
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let reply = self.read(Script::Inspect, address).await.map_err(StoreError::of_a_read)?;
        let record = record(&reply)?;
        let now = reply.now.max(record.last_now);
        Ok(Inspection { record: Some(record).filter(|record| !record.is_absent()), now })
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        self.inner.main.list(list).await.map_err(StoreError::of_a_read)
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.inner.main.history(address, limit).await.map_err(StoreError::of_a_read)
    }

    async fn changed(&self, address: &Address, within: Duration) -> Notice {
        self.inner.notifier.wait(self.channel(address), within).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        doctor::health(&self.inner.main).await
    }
}

#[async_trait]
impl Survey for RedisStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        self.inner.main.namespaces(after, limit).await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }

    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        self.inner.main.by_cause(query, after, limit).await.map_err(StoreError::of_a_read)
    }
}
