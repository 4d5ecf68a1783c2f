use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sentinel_core::store::Health;
use sentinel_core::{ErrorKind, EventLimit, Invalid, StoreError};

use crate::link::{Dialer, Patience};
use crate::purge::Resumed;
use crate::source::Source;
use crate::statement::{Edit, Names, Sql};
use crate::store::PostgresStore;
use crate::{doctor, schema, url};

/// How to open a [`PostgresStore`].
#[derive(Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct PostgresStoreBuilder {
    pub(crate) source: Result<Source, String>,
    schema: String,
    prefix: String,
    deadline: Duration,
    lock_timeout: Duration,
    event_retention: Option<Duration>,
    max_events: EventLimit,
    pooled: Option<bool>,
    allow_lossy: bool,
    offset: Arc<AtomicI64>,
    edit: Option<Edit>,
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password.
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl PostgresStoreBuilder {
    pub(crate) fn from_url(url: &str) -> Self {
        match url::parse(url) {
            Ok(url::Parsed { options, schema, prefix, max_events }) => {
                let builder = Self::from_source(Ok(Source::url(url, options)));
                Self {
                    schema: schema.unwrap_or(builder.schema),
                    prefix: prefix.unwrap_or(builder.prefix),
                    max_events: max_events.unwrap_or(builder.max_events),
                    ..builder
                }
            }
            Err(why) => Self::from_source(Err(why)),
        }
    }

    pub(crate) fn from_source(source: Result<Source, String>) -> Self {
        Self {
            source,
            schema: "sentinel".into(),
            prefix: String::new(),
            deadline: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(2),
            event_retention: None,
            max_events: EventLimit::default(),
            pooled: None,
            allow_lossy: false,
            offset: Arc::default(),
            edit: None,
        }
    }

    /// The schema that holds the tables; `sentinel` unless told otherwise. Letters, digits and underscores.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// What the names of tables, types and functions start with; nothing unless told otherwise.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a statement may take before its outcome counts as ambiguous, and how long connecting may; 10 seconds
    /// unless told otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one record's statement waits for a transaction of yours that holds the row; 2 seconds unless told
    /// otherwise, a minute at most. A claim then answers *in progress*, everything else `Busy`, with nothing changed.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How long the events of a record's earlier grants are kept; for as long as the record unless told otherwise. They
    /// are deleted by `purge`. The events of a record's present grant stay in any case.
    pub fn event_retention(mut self, kept: Duration) -> Self {
        self.event_retention = Some(kept);
        self
    }

    /// How many events of one record are kept: at most this many, and at least three quarters of them; 1,000 unless set.
    /// Older ones are dropped by the transition that exceeds the limit. The oldest event that is kept then carries the
    /// state from which a replay starts.
    pub fn max_events(mut self, limit: EventLimit) -> Self {
        self.max_events = limit;
        self
    }

    /// Whether a pooler in transaction mode (PgBouncer) stands between this process and the server. Found out when
    /// connecting, unless told.
    pub fn pooler(mut self, pooled: bool) -> Self {
        self.pooled = Some(pooled);
        self
    }

    /// Accepts a server with `fsync` or `full_page_writes` off, which is refused otherwise. Through a crash of its
    /// host it may then lose begins, results and decisions that were acknowledged, or all it holds: keys run again,
    /// and nothing tells. For tests and trials.
    pub fn allow_lossy(mut self, allowed: bool) -> Self {
        self.allow_lossy = allowed;
        self
    }

    /// Moves the clock of this store by microseconds. For tests: all that use a schema must share one time.
    #[doc(hidden)]
    pub fn clock_offset(mut self, offset: Arc<AtomicI64>) -> Self {
        self.offset = offset;
        self
    }

    /// Looks at, or changes, each statement before it is used. For tests that break one.
    #[doc(hidden)]
    pub fn edit_statements(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Whether all that was said so far can be meant. [`open`](Self::open) and the others do so first; nothing is connected.
    pub fn check(&self) -> Result<(), StoreError> {
        self.clone().parts().map(drop)
    }

    /// Connects, and checks that the server can be written to and has the schema of this release.
    ///
    /// **Effect:** none on the database. **Errors:** nothing was changed: `Unreachable`, `NotInitialised` (run
    /// [`init`](Self::init), or `sentinel init`), `NewerSchema`, or `DeploymentRefused` for a standby, a
    /// server older than PostgreSQL 14, or one that is read only or loses what it acknowledged
    /// ([`allow_lossy`](Self::allow_lossy)).
    pub async fn open(self) -> Result<PostgresStore, StoreError> {
        let parts = self.parts()?;
        let mut link = parts.dialer.dial(Patience(parts.lock_timeout)).await?;
        let found = schema::version(&mut link, parts.sql.names()).await?;
        schema::check(found, parts.sql.names())?;
        parts.dialer.spare.keep(link);
        Ok(PostgresStore::from_parts(parts))
    }

    /// Creates the schema, or brings it up to date, and opens the store.
    ///
    /// **Effect:** missing migrations are applied in one transaction. **Repeating it**, also at once from many
    /// processes, changes nothing. **Grants:** `CREATE` on the schema, or on the database if the schema is not there.
    pub async fn init(self) -> Result<PostgresStore, StoreError> {
        let parts = self.parts()?;
        let mut link = parts.dialer.dial(Patience(parts.lock_timeout)).await?;
        schema::migrate(&mut link, parts.sql.names()).await?;
        parts.dialer.spare.keep(link);
        Ok(PostgresStore::from_parts(parts))
    }

    /// Looks at the deployment, also where the schema is not there yet: what [`open`](Self::open) would refuse is a
    /// finding.
    pub async fn health(self) -> Result<Health, StoreError> {
        doctor::health(&self.parts()?).await
    }

    /// The SQL that [`init`](Self::init) would run on a database without the schema, for those who run migrations
    /// themselves. It is one transaction, and changes nothing where it was run before.
    pub fn schema_sql(&self) -> Result<String, StoreError> {
        Ok(schema::script(&Names::new(&self.schema, &self.prefix)?))
    }

    fn parts(self) -> Result<Parts, StoreError> {
        let bad =
            |why| StoreError::not_applied(ErrorKind::InvalidRequest, format!("the PostgreSQL URL {why}"));
        let source = self.source.map_err(bad)?;
        if self.lock_timeout.is_zero() || self.lock_timeout > Duration::from_secs(60) {
            return Err(Invalid::new("lock timeout", "must be above zero and at most a minute").into());
        }
        if self.deadline < Duration::from_millis(1) {
            return Err(Invalid::new("deadline", "must be at least a millisecond").into());
        }
        let names = Names::new(&self.schema, &self.prefix)?;
        Ok(Parts {
            dialer: Arc::new(Dialer::new(source, self.deadline, self.pooled, self.allow_lossy)),
            sql: Arc::new(Sql::new(names, self.edit.as_ref(), self.max_events)),
            offset: self.offset,
            lock_timeout: self.lock_timeout.min(self.deadline),
            event_retention: self.event_retention,
            resumed: Resumed::default(),
        })
    }
}

/// What a store is made of.
pub(crate) struct Parts {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) sql: Arc<Sql>,
    pub(crate) offset: Arc<AtomicI64>,
    pub(crate) lock_timeout: Duration,
    pub(crate) event_retention: Option<Duration>,
    pub(crate) resumed: Resumed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused_before_anything_is_connected() {
        let builder = || PostgresStore::builder("postgres://nobody@127.0.0.1:1/none");
        let (zero, minute) = (Duration::ZERO, Duration::from_secs(60));
        for fine in [builder(), builder().lock_timeout(minute), builder().deadline(Duration::from_millis(1))]
        {
            fine.check().unwrap();
        }
        for bad in [
            builder().lock_timeout(zero),
            builder().lock_timeout(minute + Duration::from_nanos(1)),
            builder().deadline(Duration::from_micros(999)),
            builder().schema("not a name"),
            builder().table_prefix("not-a-prefix"),
            PostgresStore::builder("mysql://h"),
        ] {
            let refused = bad.check().unwrap_err();
            assert_eq!(
                (refused.applied(), refused.kind()),
                (sentinel_core::Applied::No, ErrorKind::InvalidRequest)
            );
        }
    }
}
