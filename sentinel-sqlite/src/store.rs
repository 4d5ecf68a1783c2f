use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::survey::{CausePage, Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Address, CauseQuery, Clock, CoordinationStore, Event, Namespace, StoreError, Survey};
use sentinel_store_kit::CompletedHints;

use crate::batch::ConnectionThread;
use crate::builder::SqliteStoreBuilder;
use crate::connection::options::OpenOptions;
use crate::coordination::purge::{self, Progress};
use crate::doctor;
use crate::url;

/// A store in one SQLite file. Cheap to clone: clones share their connections.
///
/// Any number of processes of one host may have the file open at once. Its connections live on threads of their own, so
/// it can be used from any runtime, and from several. When the last clone is dropped, what was sent is still carried
/// out, and the threads end.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<OpenOptions>,
    clock: Arc<dyn Clock>,
    writer: ConnectionThread,
    reader: ConnectionThread,
    completed_hints: CompletedHints,
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
    /// `sentinel_create`, `sentinel_allow_other_names`, `sentinel_allow_network_filesystem`, `sentinel_accept_lost_log`
    /// (each `true` or `false`) and `sentinel_max_events` (a number), which are the builder's.
    ///
    /// The path is taken literally. **Errors:** control characters, blanks around address or path, an unknown option.
    pub fn at(address: &str) -> Result<SqliteStoreBuilder, StoreError> {
        Ok(SqliteStoreBuilder::from_url(url::parse(address)?))
    }

    /// Starts with the usual settings, to change some of them.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(path.as_ref())
    }

    /// The file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.inner.options.path
    }

    async fn transition<O: Operation>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, StoreError> {
        let (address, op) = (address.clone(), op.clone());
        self.inner.writer.send(move |context| context.transition(&address, &op)).await
    }

    /// Replies from a plain read where an earlier reply was that the record is completed. None: the claim has to go to
    /// the writer, also where the read failed.
    async fn replay(&self, address: &Address, claim: &Claim) -> Option<Stamped<ClaimReply>> {
        if !self.inner.completed_hints.expects(address) {
            return None;
        }
        let (address, claim) = (address.clone(), claim.clone());
        self.inner.reader.send(move |context| context.replay(&address, &claim)).await.ok().flatten()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.inner.options.path).finish_non_exhaustive()
    }
}

impl SqliteStoreBuilder {
    /// Opens the file. Fails as [`SqliteStore::open`] does.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        let clock = self.clock.clone();
        let options = Arc::new(self.options()?);
        let reader = ConnectionThread::start_reader(options.clone(), clock.clone())?;
        if options.reads_only {
            reader.send(|_| Ok(())).await?;
        }
        let writer = ConnectionThread::start_writer(options.clone(), clock.clone()).await?;
        let completed_hints = CompletedHints::default();
        let inner = Inner { options, clock, writer, reader, completed_hints };
        Ok(SqliteStore { inner: Arc::new(inner) })
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
        let stamped = self.transition(address, op).await?;
        if matches!(stamped.reply, ClaimReply::Completed { .. }) {
            self.inner.completed_hints.expect(address);
        }
        Ok(stamped)
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let beats = beats.to_vec();
        self.inner.writer.send(move |context| context.heartbeat(&beats)).await
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
        let thread = if purge.dry_run { &self.inner.reader } else { &self.inner.writer };
        while !progress.done {
            let purge = purge.clone();
            progress = thread.send(move |context| purge::step(context, &purge, progress)).await?;
        }
        Ok(progress.purged())
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let address = address.clone();
        self.inner.reader.send(move |context| context.inspect(&address)).await.map_err(StoreError::of_a_read)
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let list = list.clone();
        self.inner.reader.send(move |context| context.list(&list)).await.map_err(StoreError::of_a_read)
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let address = address.clone();
        self.inner
            .reader
            .send(move |context| context.history(&address, limit))
            .await
            .map_err(StoreError::of_a_read)
    }

    async fn changed(&self, _: &Address, within: Duration) -> Notice {
        tokio::time::sleep(within).await;
        Notice::Polling
    }

    async fn health(&self) -> Result<Health, StoreError> {
        doctor::health(self.inner.options.clone(), self.inner.clock.clone()).await
    }
}

#[async_trait]
impl Survey for SqliteStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.inner.reader.send(move |context| context.namespaces(&after, limit)).await
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
        let (query, after) = (query.clone(), after.cloned());
        let read = self.inner.reader.send(move |context| context.by_cause(&query, after.as_ref(), limit));
        read.await.map_err(StoreError::of_a_read)
    }
}
