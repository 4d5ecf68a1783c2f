use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::survey::{CausePage, Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{
    Address, CauseQuery, CoordinationStore, Event, Grant, Namespace, RecordedResult, StoreError, Survey,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::builder::PostgresStoreBuilder;
use crate::connection::migrate;
use crate::connection::session::LockTimeout;
use crate::connection::source::Source;
use crate::coordination::context::Context;
use crate::coordination::operations::Coordination;
use crate::transaction::claim_in::{self, ClaimInTransaction};
use crate::transaction::complete_in;
use crate::transaction::fence::{self, Fence, Rejected};
use crate::{doctor, schema};

/// A store in a PostgreSQL database. Cheap to clone: clones share their connections.
///
/// It owns its connections, thirteen at most unless [`connections`](PostgresStoreBuilder::connections) sets another
/// number, and each opened when it is first needed, apart from any pool of yours: a pool that is exhausted must not
/// starve heartbeats. They live on the runtime that used them first, and are opened
/// again on another if that runtime ends.
#[derive(Clone)]
pub struct PostgresStore {
    coordination: Arc<Coordination>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.coordination.context.sql.names();
        f.debug_struct("PostgresStore").field("names", names).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store at a URL (`postgres://user:password@host:port/database`) with the usual settings.
    ///
    /// Fails, with nothing changed, as [`PostgresStoreBuilder::open`] does: also where the schema was never created.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).open().await
    }

    /// Opens the store in the database that a pool of yours connects to, with the pool's options, on connections of its
    /// own: none of the pool's is used.
    pub async fn from_pool(pool: &PgPool) -> Result<Self, StoreError> {
        Self::builder_from_pool(pool).open().await
    }

    /// Starts with the usual settings, to change some of them.
    ///
    /// Beside the parameters of a connection, `?sslmode=verify-full` and the like, a URL can set where the tables are:
    /// `?sentinel_schema=billing&sentinel_table_prefix=snl_`; how many events of a record are kept:
    /// `?sentinel_max_events=1000`; and how many connections are opened at most: `?sentinel_connections=13`. Any other
    /// parameter is refused, for it would be ignored.
    ///
    /// A password in `~/.pgpass` or `PGPASSFILE`, and the files that the URL names, are read again for each connection.
    pub fn builder(url: &str) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_url(url)
    }

    /// Starts with the options of a pool. They are read again for each connection: what `set_connect_options` sets
    /// applies from then on.
    pub fn builder_from_pool(pool: &PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_source(Ok(Source::pool(pool)))
    }

    /// Starts with connection options. They stay as they are, with the password that was found when they were made:
    /// where passwords change, use a URL or a pool.
    pub fn builder_with(options: PgConnectOptions) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_source(Ok(Source::options(options)))
    }

    fn new(context: Context) -> Self {
        Self { coordination: Arc::new(Coordination::new(context)) }
    }
}

impl PostgresStoreBuilder {
    /// Connects, and checks that the server can be written to and has the schema of this release.
    ///
    /// **Effect:** none on the database. **Errors:** nothing was changed: `Unreachable`, `NotInitialised` (run
    /// [`init`](Self::init), or `sentinel init`), `NewerSchema`, or `DeploymentRefused` for a standby, a
    /// server older than PostgreSQL 14, or one that is read only or loses what it acknowledged
    /// ([`allow_lossy`](Self::allow_lossy)).
    pub async fn open(self) -> Result<PostgresStore, StoreError> {
        let context = self.context()?;
        let (connector, names) = (&context.connector, context.sql.names());
        let mut connection = connector.connect(LockTimeout(context.lock_timeout)).await?;
        let found = migrate::version(&mut connection, names).await?;
        schema::check(found, names)?;
        connector.idle.keep(connection);
        Ok(PostgresStore::new(context))
    }

    /// Creates the schema, or brings it up to date, and opens the store.
    ///
    /// **Effect:** missing migrations are applied in one transaction. **Repeating it**, also at once from many
    /// processes, changes nothing. **Grants:** `CREATE` on the schema, or on the database if the schema is not there.
    pub async fn init(self) -> Result<PostgresStore, StoreError> {
        let context = self.context()?;
        let (connector, names) = (&context.connector, context.sql.names());
        let mut connection = connector.connect(LockTimeout(context.lock_timeout)).await?;
        migrate::migrate(&mut connection, names).await?;
        connector.idle.keep(connection);
        Ok(PostgresStore::new(context))
    }

    /// Checks the deployment, also where the schema is not there yet: what [`open`](Self::open) would refuse is a
    /// finding.
    pub async fn health(self) -> Result<Health, StoreError> {
        health_of(&self.context()?).await
    }
}

/// In a transaction of yours.
impl PostgresStore {
    /// Claims an execution in a transaction of yours, and begins it. For authors of runtimes: a program calls
    /// `once_in_transaction` of the facade, which is made of this.
    ///
    /// **Effect:** none before you commit. Claim, what is written through
    /// [`GrantInTransaction::connection`](crate::GrantInTransaction::connection), and completion commit together or not
    /// at all. While the transaction is open, other claims of the key are *in progress* after a lock timeout.
    /// `synchronous_commit = off` is raised to `on` for a transaction that holds a claim. **The claim** waits for
    /// another transaction that holds the key, for `lock_timeout` or else the store's; the transaction's own timeout is
    /// put back. Its terms matter only if it is neither completed nor undone. **Refusals** leave nothing of this call
    /// in the transaction. **Errors:** nothing of this call is left in the transaction, or its connection is gone and
    /// the server rolls it back. `InvalidRequest`, before anything is sent: a claim that does not begin, a lease's
    /// address, a lock timeout of zero or above a minute.
    pub async fn claim_in<'t>(
        &'t self,
        transaction: &'t mut Transaction<'_, Postgres>,
        address: &'t Address,
        claim: &Claim,
        lock_timeout: Option<Duration>,
    ) -> Result<ClaimInTransaction<'t>, StoreError> {
        claim_in::claim_in(&self.coordination, transaction, address, claim, lock_timeout).await
    }

    /// Completes, in a transaction of yours, an execution that was claimed outside of it: what you wrote and the result
    /// commit together. Commit with [`commit`](crate::commit). For a run of the client's `once`, call `complete_in` of
    /// the facade: the client then leaves the result to your transaction.
    ///
    /// **Effect:** none before you commit; the record's row is locked until then, and heartbeats pass it over. What was
    /// completed is true only when the record is completed after the commit.
    /// **Refusals** change nothing and leave no trace in the transaction: roll it back unless the reply is `Recorded`.
    /// **Errors:** nothing was changed, and the transaction goes on if its connection does.
    pub async fn complete_grant_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        address: &Address,
        grant: Grant,
        result: &RecordedResult,
    ) -> Result<CompleteReply, StoreError> {
        complete_in::complete_in(&self.coordination.context, transaction, address, grant, result).await
    }

    /// The SQL that makes a fence, for those who run migrations themselves. Making it again changes its columns, and
    /// forgets nothing.
    pub fn fence_sql(&self, fence: &Fence) -> String {
        fence::fence_sql(self.coordination.context.sql.names(), fence)
    }

    /// Makes a fence. **Grants:** those of the table's owner, and `EXECUTE` on `create_fence` and `enforce_fence`; who
    /// then writes the table needs none.
    pub async fn create_fence(&self, connection: &mut PgConnection, fence: &Fence) -> Result<(), Rejected> {
        fence::create_fence(self.coordination.context.sql.names(), connection, fence).await
    }

    /// Checks, in a transaction of yours, that a grant is the record's current one, and keeps it so until the
    /// transaction ends: no other worker takes the key over, and no operator decides about it, before you commit.
    ///
    /// A stale grant fails the transaction: it can only be rolled back. **Errors:** also where a statement has ended
    /// the transaction. **Grants:** `USAGE` on the schema and `EXECUTE` on `check_grant`; none on the tables.
    pub async fn check_grant_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        address: &Address,
        grant: Grant,
    ) -> Result<(), Rejected> {
        fence::check_grant_in(self.coordination.context.sql.names(), transaction, address, grant).await
    }
}

// For tests.
impl PostgresStore {
    /// The channel on which processes notify each other of changes.
    #[doc(hidden)]
    pub fn channel(&self) -> &str {
        self.coordination.notifications.channel()
    }

    /// Whether this store would receive a notification of a change.
    #[doc(hidden)]
    pub fn is_listening(&self) -> bool {
        self.coordination.notifications.is_listening()
    }

    /// How many records other processes wait for, as far as this process knows.
    #[doc(hidden)]
    pub fn wanted(&self) -> usize {
        self.coordination.notifications.wanted()
    }
}

async fn health_of(context: &Context) -> Result<Health, StoreError> {
    doctor::health(&context.connector, context.sql.names(), LockTimeout(context.lock_timeout)).await
}

#[async_trait]
impl CoordinationStore for PostgresStore {
    fn describe(&self) -> Description {
        Description { backend: "postgres", in_process: false }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        self.coordination.claim(address, op).await
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.coordination.update(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.coordination.heartbeat(beats).await
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        self.coordination.complete(address, op).await
    }

    async fn cancel(&self, address: &Address, op: &Cancel) -> Result<Stamped<CancelReply>, StoreError> {
        self.coordination.cancel(address, op).await
    }

    async fn release(&self, address: &Address, op: &Release) -> Result<Stamped<ReleaseReply>, StoreError> {
        self.coordination.update(address, op).await
    }

    async fn abandon(&self, address: &Address, op: &Abandon) -> Result<Stamped<AbandonReply>, StoreError> {
        self.coordination.transition(address, op).await
    }

    async fn reconcile(
        &self,
        address: &Address,
        op: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError> {
        self.coordination.transition(address, op).await
    }

    async fn force_complete(
        &self,
        address: &Address,
        op: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError> {
        self.coordination.transition(address, op).await
    }

    async fn reset_to_claimed(
        &self,
        address: &Address,
        op: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError> {
        self.coordination.transition(address, op).await
    }

    async fn evict(&self, address: &Address, op: &Evict) -> Result<Stamped<EvictReply>, StoreError> {
        self.coordination.transition(address, op).await
    }

    async fn purge(&self, op: &Purge) -> Result<Purged, StoreError> {
        self.coordination.purge(op).await
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.coordination.inspect(address).await
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        self.coordination.list(list).await
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.coordination.history(address, limit).await
    }

    async fn changed(&self, address: &Address, within: Duration) -> Notice {
        self.coordination.changed(address, within).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        health_of(&self.coordination.context).await
    }
}

#[async_trait]
impl Survey for PostgresStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        self.coordination.namespaces(after, limit).await
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
        self.coordination.by_cause(query, after, limit).await
    }
}
