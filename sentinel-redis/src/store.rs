use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{Address, CompletedHints, CoordinationStore, Event, StoreError};

use crate::builder::RedisStoreBuilder;
use crate::call::Caller;
use crate::doctor;
use crate::lane::{Ask, Lane};
use crate::listen::Listening;
use crate::script::Script;
use crate::transition::{Sent, Told, explain, judged};
use crate::wire::Dialer;

/// A store on a Redis server. Cheap to clone: clones share their connections.
///
/// It owns its connections, each opened when it is first needed: one for everything, one for heartbeats, one to be told of
/// changes, and, where a barrier was asked for, a few that wait. They live on the runtime of whoever used them first, and are
/// opened again on another if that runtime ends.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) main: Arc<Caller>,
    pulse: Arc<Caller>,
    lane: Lane,
    replays: CompletedHints,
    listening: Listening,
}

/// What a store is made of.
pub(crate) struct Parts {
    pub(crate) main: Arc<Caller>,
    pub(crate) pulse: Arc<Caller>,
    pub(crate) dialer: Arc<Dialer>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("trust", &self.inner.main.trust).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Opens the store at a URL with the usual settings: `redis://user:password@host:port/database`, `rediss://` for TLS,
    /// `redis-cluster://host:port?node=host:port`, `redis-sentinel://host:port?sentinelServiceName=name`, or
    /// `redis+unix:///path/to/socket`.
    ///
    /// Fails, with nothing changed, as [`RedisStoreBuilder::open`] does: also where the store was never set up.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).open().await
    }

    /// Sets the store at a URL up, or arms it again, and opens it: [`RedisStoreBuilder::init`].
    pub async fn init(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).init().await
    }

    /// Starts with the usual settings, to change some of them.
    ///
    /// A URL can say some of it too: `?sentinel_key_prefix=billing&sentinel_ca=/etc/ssl/redis.pem`,
    /// `sentinel_durability=replicas:1` (or `disk`), `sentinel_allow_lossy=yes`. Any other parameter is refused, for it would be ignored.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::from_url(url)
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { main, pulse, dialer } = parts;
        let inner = Inner {
            lane: Lane::new(main.clone()),
            replays: CompletedHints::default(),
            listening: Listening::new(dialer, main.trust.names.prefix()),
            main,
            pulse,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.inner.listening
    }

    /// Where the changes of a record are told.
    pub(crate) fn channel(&self, address: &Address) -> Bytes {
        self.inner.main.bucket_of(address).record(address.key.as_str())
    }

    async fn transition<O: Sent>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        op.admit(address.kind)?;
        let answer = self.inner.lane.ask(Ask {
            script: O::SCRIPT,
            behind: O::BEHIND,
            address: address.clone(),
            arg: op.pack(),
            barrier: op.needs_barrier(address.kind),
        });
        let answer = answer.await?;
        let stamped = explain(address, op, answer)?;
        if stamped.stamp.changed {
            self.inner.main.trust.saw(address, &stamped.stamp);
        }
        Ok(stamped)
    }

    /// What made the last reads doubt what they were answered with, where the store was opened to
    /// [`read_in_doubt`](RedisStoreBuilder::read_in_doubt): it may lack changes that were acknowledged. None: nothing did. It
    /// is an error that changes of a record meet as well, which are refused until an operator has looked.
    pub fn doubt(&self) -> Option<StoreError> {
        self.inner.main.trust.doubt()
    }

    async fn look(&self, script: Script, address: &Address) -> Result<Told, StoreError> {
        let address = address.clone();
        let ask = Ask { script, behind: false, address, arg: Bytes::new(), barrier: false };
        self.inner.lane.ask(ask).await
    }

    /// A replay only reads: where nothing has to be waited for.
    async fn replayed(
        &self,
        address: &Address,
        op: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        if self.inner.main.barrier.is_some() || !self.inner.replays.expects(address) {
            return Ok(None);
        }
        op.admit(address.kind)?;
        judged(address, op, self.look(Script::Look, address).await?)
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
            None => self.transition(address, op).await?,
        };
        if matches!(stamped.reply, ClaimReply::Completed { .. }) {
            self.inner.replays.expect(address);
        }
        Ok(stamped)
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.inner.pulse.beat(beats).await
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        let stamped = self.transition(address, op).await?;
        self.inner.replays.expect(address);
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
        let told = self.look(Script::Inspect, address).await.map_err(StoreError::of_a_read)?;
        let (record, at) = (told.record()?, told.now);
        let now = at.max(record.last_now);
        Ok(Inspection { record: Some(record).filter(|record| !record.is_absent()), now })
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        self.inner.main.list(list).await.map_err(StoreError::of_a_read)
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.inner.main.history(address, limit).await.map_err(StoreError::of_a_read)
    }

    async fn changed(&self, address: &Address, within: Duration) -> Notice {
        self.inner.listening.wait(self.channel(address), within).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        doctor::health(&self.inner.main).await
    }
}
