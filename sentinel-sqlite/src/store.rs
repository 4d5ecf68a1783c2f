use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{
    Address, Clock, CompletedHints, CoordinationStore, Event, EventLimit, StoreError, SystemClock,
};

use crate::connection::{Spec, absolute};
use crate::doctor;
use crate::lane::Lane;
use crate::purge::{self, Progress};

/// A store in one SQLite file. Cheap to clone: clones share their connections.
///
/// Any number of processes of one host may have the file open at once. Its connections live on threads of their own, so
/// it can be used from any runtime, and from several. When the last clone is dropped, what was sent is still carried
/// out, and the threads end.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    spec: Arc<Spec>,
    clock: Arc<dyn Clock>,
    lane: Lane,
    pub(crate) reads: Lane,
    replays: CompletedHints,
}

impl SqliteStore {
    /// Opens a file with the usual settings; creates it if there is none, and brings its schema up to date.
    ///
    /// The directory must exist. Fails, with nothing changed, if the file belongs to another program, was set up by a
    /// newer release, lies on a network file system, has other hard links, was mounted without its directory, was moved
    /// without the log that it needs, or cannot be written to.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// Starts with an address as people write it: `sqlite:PATH`, or `sqlite:PATH?OPTION=true&..` with the options
    /// `sentinel_create`, `sentinel_allow_other_names`, `sentinel_allow_network_filesystem`, `sentinel_accept_lost_log` (each
    /// `true` or `false`) and `sentinel_max_events` (a number), which are the builder's.
    ///
    /// The path is taken literally. **Errors:** control characters, blanks around address or path, an unknown option.
    pub fn at(address: &str) -> Result<SqliteStoreBuilder, StoreError> {
        Ok(crate::address::parse(address)?)
    }

    /// Starts with the usual settings, to change some of them.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder {
            path: path.as_ref().to_owned(),
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(9),
            line_timeout: None,
            create: true,
            allow_network: false,
            allow_other_names: false,
            accept_lost_log: false,
            reads_only: false,
            max_events: EventLimit::default(),
        }
    }

    /// The file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.inner.spec.path
    }

    async fn transition<O: Operation>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, StoreError> {
        let (address, op) = (address.clone(), op.clone());
        self.inner.lane.send(move |ledger| ledger.transition(&address, &op)).await
    }

    /// Answers from a plain read where an earlier answer says that the record is completed. None: ask the lane, also
    /// where the read failed.
    async fn replay(&self, address: &Address, claim: &Claim) -> Option<Stamped<ClaimReply>> {
        if !self.inner.replays.expects(address) {
            return None;
        }
        let (address, claim) = (address.clone(), claim.clone());
        self.inner.reads.send(move |ledger| ledger.replay(&address, &claim)).await.ok().flatten()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.inner.spec.path).finish_non_exhaustive()
    }
}

/// How to open a [`SqliteStore`].
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct SqliteStoreBuilder {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    busy_timeout: Duration,
    line_timeout: Option<Duration>,
    create: bool,
    allow_network: bool,
    allow_other_names: bool,
    accept_lost_log: bool,
    reads_only: bool,
    max_events: EventLimit,
}

impl SqliteStoreBuilder {
    /// The file, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store takes its time from; this host's clock unless told otherwise. All that have the file open must
    /// share one time: this is for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an operation waits for other processes that write to the file before it answers `Busy`; 9 seconds by
    /// default, a little less than the client waits for a reply. Processes are served in the order in which they came.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How long an operation waits for its turn while other processes of Sentinel write one after the other; the busy
    /// timeout by default.
    pub fn line_timeout(mut self, timeout: Duration) -> Self {
        self.line_timeout = Some(timeout);
        self
    }

    /// Whether to create a file that is not there; yes unless told otherwise.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether to open a file on a network file system; no unless told otherwise. Two hosts that open one file do not
    /// see each other's locks, and would both run the same key.
    pub fn allow_network_filesystem(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// Whether to open a file that has other hard links, or that is a mount point itself; no by default. SQLite keeps the
    /// log under the file's name: two programs that use two names do not see each other's commits.
    pub fn allow_other_names(mut self, allow: bool) -> Self {
        self.allow_other_names = allow;
        self
    }

    /// Whether to open a file whose log is missing; no by default. What was acknowledged last stood in the log: the keys
    /// concerned may run again. Opening the file once with this option is enough.
    pub fn accept_lost_log(mut self, accept: bool) -> Self {
        self.accept_lost_log = accept;
        self
    }

    /// Whether to open the file to read it and nothing else; no by default. Then it is not created, it may lie on a
    /// read-only file system, and every write is refused.
    pub fn reads_only(mut self, reads_only: bool) -> Self {
        self.reads_only = reads_only;
        self
    }

    /// How many events of one record are kept; 1,000 by default. The transition that exceeds it drops the oldest quarter.
    pub fn max_events(mut self, limit: EventLimit) -> Self {
        self.max_events = limit;
        self
    }

    /// Opens the file. Fails as [`SqliteStore::open`] does.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        let clock = self.clock.clone();
        let spec = Arc::new(self.spec()?);
        let reads = Lane::for_reads(spec.clone(), clock.clone())?;
        if spec.reads_only {
            reads.send(|_| Ok(())).await?;
        }
        let lane = Lane::open(spec.clone(), clock.clone()).await?;
        let inner = Inner { spec, clock, lane, reads, replays: CompletedHints::default() };
        Ok(SqliteStore { inner: Arc::new(inner) })
    }

    /// Looks at the file and at the place where it lies. What keeps it from being used is a finding.
    ///
    /// **Effect:** none that stays; no file is created. **Errors:** there is no file, or it cannot be reached.
    pub async fn health(self) -> Result<Health, StoreError> {
        let spec = Arc::new(self.spec()?);
        doctor::health(spec, self.clock).await
    }

    fn spec(&self) -> Result<Spec, StoreError> {
        Ok(Spec {
            path: absolute(&self.path)?,
            busy_timeout: self.busy_timeout,
            line_timeout: self.line_timeout.unwrap_or(self.busy_timeout),
            create: self.create && !self.reads_only,
            allow_network: self.allow_network,
            allow_other_names: self.allow_other_names,
            accept_lost_log: self.accept_lost_log,
            reads_only: self.reads_only,
            max_events: self.max_events,
        })
    }
}

#[async_trait]
impl CoordinationStore for SqliteStore {
    fn describe(&self) -> Description {
        Description { backend: "sqlite", in_process: false }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        if let Some(replayed) = self.replay(address, op).await {
            return Ok(replayed);
        }
        let answer = self.transition(address, op).await?;
        if matches!(answer.reply, ClaimReply::Completed { .. }) {
            self.inner.replays.expect(address);
        }
        Ok(answer)
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let beats = beats.to_vec();
        self.inner.lane.send(move |ledger| ledger.heartbeat(&beats)).await
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        self.transition(address, op).await
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

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let mut progress = Progress::default();
        let thread = if purge.dry_run { &self.inner.reads } else { &self.inner.lane };
        while !progress.done {
            let purge = purge.clone();
            progress = thread.send(move |ledger| purge::step(ledger, &purge, progress)).await?;
        }
        Ok(progress.purged())
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let address = address.clone();
        self.inner.reads.send(move |ledger| ledger.inspect(&address)).await.map_err(StoreError::of_a_read)
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let list = list.clone();
        self.inner.reads.send(move |ledger| ledger.list(&list)).await.map_err(StoreError::of_a_read)
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let address = address.clone();
        self.inner
            .reads
            .send(move |ledger| ledger.history(&address, limit))
            .await
            .map_err(StoreError::of_a_read)
    }

    async fn changed(&self, _: &Address, within: Duration) -> Notice {
        tokio::time::sleep(within).await;
        Notice::Polling
    }

    async fn health(&self) -> Result<Health, StoreError> {
        doctor::health(self.inner.spec.clone(), self.inner.clock.clone()).await
    }
}
