use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sentinel_core::{ErrorKind, EventLimit, Invalid, StoreError};

use crate::connection::connector::Connector;
use crate::connection::source::Source;
use crate::coordination::connections;
use crate::coordination::context::Context;
use crate::coordination::purge::Resumed;
use crate::coordination::statement::{Edit, Sql};
use crate::parts::Names;
use crate::transaction::claim_in::check_lock_timeout;
use crate::{schema, url};

/// How to open a [`PostgresStore`](crate::PostgresStore).
#[derive(Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct PostgresStoreBuilder {
    pub(crate) source: Result<Source, String>,
    schema: String,
    prefix: String,
    deadline: Duration,
    lock_timeout: Duration,
    connections: usize,
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
            Ok(url::Parsed { options, schema, prefix, max_events, connections }) => {
                let builder = Self::from_source(Ok(Source::url(url, options)));
                Self {
                    schema: schema.unwrap_or(builder.schema),
                    prefix: prefix.unwrap_or(builder.prefix),
                    max_events: max_events.unwrap_or(builder.max_events),
                    connections: connections.unwrap_or(builder.connections),
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
            connections: connections::DEFAULT,
            event_retention: None,
            max_events: EventLimit::default(),
            pooled: None,
            allow_lossy: false,
            offset: Arc::default(),
            edit: None,
        }
    }

    /// The schema that holds the tables; `sentinel` unless set. Letters, digits and underscores.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The prefix of the names of tables, types and functions; empty unless set.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a statement may take before its outcome counts as ambiguous, and how long connecting may; 10 seconds
    /// unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one record's statement waits for a transaction of yours that holds the row; 2 seconds unless set, and
    /// a minute at most. A claim then answers *in progress*, everything else `Busy`, with nothing changed.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How many connections this store opens at most, each when it is first needed: 3 to 100; 13 unless set. With 3,
    /// one listens for changes, one sends heartbeats, and one does everything else in turn. Each further one takes over
    /// a kind of work, in this order: statements on single records; replays; begins and releases; other reads;
    /// heartbeats of rows that a transaction of yours has locked; claims and completions under a backlog; replays under
    /// a backlog; and then more statements on single records. Where work shares a connection, a statement that waits
    /// for a lock delays the rest by up to the lock timeout, but never heartbeats. `sentinel doctor` uses one more for
    /// a moment.
    pub fn connections(mut self, at_most: usize) -> Self {
        self.connections = at_most;
        self
    }

    /// How long the events of a record's earlier grants are kept; for as long as the record unless set. They
    /// are deleted by `purge`. The events of a record's present grant stay in any case.
    pub fn event_retention(mut self, kept: Duration) -> Self {
        self.event_retention = Some(kept);
        self
    }

    /// How many events of one record are kept: at most this many, and at least three quarters of them; 1,000 unless
    /// set. Older ones are dropped by the transition that exceeds the limit. The oldest event that is kept then carries
    /// the state from which a replay starts.
    pub fn max_events(mut self, limit: EventLimit) -> Self {
        self.max_events = limit;
        self
    }

    /// Whether a pooler in transaction mode (PgBouncer) is between this process and the server. Found out when
    /// connecting, unless set.
    pub fn pooler(mut self, pooled: bool) -> Self {
        self.pooled = Some(pooled);
        self
    }

    /// Accepts a server with `fsync` or `full_page_writes` off, which is refused otherwise. Through a crash of its
    /// host it may then lose begins, results and decisions that were acknowledged, or all it holds: keys run again,
    /// and nothing reports it. For tests and trials.
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

    /// Inspects, or changes, each statement before it is used. For tests that break one.
    #[doc(hidden)]
    pub fn edit_statements(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Whether all settings are valid. [`open`](Self::open) and the others do so first; nothing is connected.
    pub fn check(&self) -> Result<(), StoreError> {
        self.clone().context().map(drop)
    }

    /// The SQL that [`init`](Self::init) would run on a database without the schema, for those who run migrations
    /// themselves. It is one transaction, and changes nothing where it was run before.
    pub fn schema_sql(&self) -> Result<String, StoreError> {
        Ok(schema::script(&Names::new(&self.schema, &self.prefix)?))
    }

    pub(crate) fn context(self) -> Result<Context, StoreError> {
        let bad =
            |why| StoreError::not_applied(ErrorKind::InvalidRequest, format!("the PostgreSQL URL {why}"));
        let source = self.source.map_err(bad)?;
        check_lock_timeout(self.lock_timeout)?;
        if self.deadline < Duration::from_millis(1) {
            return Err(Invalid::new("deadline", "must be at least a millisecond").into());
        }
        if !(connections::MIN..=connections::MAX).contains(&self.connections) {
            let range =
                format!("must be {} to {}, is {}", connections::MIN, connections::MAX, self.connections);
            return Err(Invalid::new("connections", range).into());
        }
        let names = Names::new(&self.schema, &self.prefix)?;
        Ok(Context {
            connector: Arc::new(Connector::new(source, self.deadline, self.pooled, self.allow_lossy)),
            sql: Arc::new(Sql::new(names, self.edit.as_ref(), self.max_events)),
            offset: self.offset,
            lock_timeout: self.lock_timeout.min(self.deadline),
            connections: self.connections,
            event_retention: self.event_retention,
            resumed: Resumed::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused_before_a_connection_is_made() {
        let builder = || PostgresStoreBuilder::from_url("postgres://app@127.0.0.1:1/none");
        let (zero, minute) = (Duration::ZERO, Duration::from_secs(60));
        for fine in [
            builder(),
            builder().connections(3),
            builder().connections(100),
            builder().lock_timeout(minute),
            builder().deadline(Duration::from_millis(1)),
        ] {
            fine.check().unwrap();
        }
        for bad in [
            builder().lock_timeout(zero),
            builder().lock_timeout(minute + Duration::from_nanos(1)),
            builder().deadline(Duration::from_micros(999)),
            builder().connections(2),
            builder().connections(101),
            PostgresStoreBuilder::from_url("postgres://h/db?sentinel_connections=2"),
            builder().schema("not a name"),
            builder().table_prefix("not-a-prefix"),
            PostgresStoreBuilder::from_url("mysql://h"),
        ] {
            let refused = bad.check().unwrap_err();
            assert_eq!(
                (refused.applied(), refused.kind()),
                (sentinel_core::Applied::No, ErrorKind::InvalidRequest)
            );
        }
    }
}
