//! The harness of the store's own tests: a store in a schema of its own, its rows as another transaction sees them, and
//! requests to it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, Grant, Namespace};
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_testbed::postgres;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};

pub(crate) use sentinel_store_tests::fixtures::{HARD, TTL, call, fused, label, result, runtime};

/// A store, and access to its tables without it.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) store: PostgresStore,
    pub(crate) namespace: Namespace,
    pub(crate) schema: String,
    offset: Arc<AtomicI64>,
    url: String,
    /// What the store's connections are called in `pg_stat_activity`.
    name: String,
}

impl Fixture {
    /// A store on the shared server.
    pub(crate) async fn open(
        schema: &str,
        change: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder,
    ) -> Self {
        Self::open_at(&postgres().url(), schema, change).await
    }

    /// A store at a URL; the tables are read there too.
    pub(crate) async fn open_at(
        url: &str,
        schema: &str,
        change: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder,
    ) -> Self {
        Self::open_through(url, url, schema, change).await
    }

    /// A store that reaches its server by another URL; the tables are read directly.
    pub(crate) async fn open_through(
        proxied: &str,
        url: &str,
        schema: &str,
        change: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder,
    ) -> Self {
        let name = format!("fixture {}", ClaimId::random());
        let options = PgConnectOptions::from_str(proxied).unwrap().application_name(&name);
        let offset = Arc::new(AtomicI64::new(0));
        let builder = PostgresStore::builder_with(options).schema(schema).clock_offset(offset.clone());
        Self {
            store: change(builder).init().await.unwrap(),
            namespace: Namespace::new(format!("fixture-{}", ClaimId::random())).unwrap(),
            schema: schema.to_owned(),
            offset,
            url: url.to_owned(),
            name,
        }
    }

    /// Another store in the same schema and on the same clock, by another URL. It sends each statement in full, also
    /// where it has sent it before.
    pub(crate) async fn reached_by(&self, url: &str) -> PostgresStore {
        let options = PgConnectOptions::from_str(url).unwrap().statement_cache_capacity(0);
        let builder = PostgresStore::builder_with(options).schema(&self.schema);
        builder.clock_offset(self.offset.clone()).open().await.unwrap()
    }

    /// The same store, in another namespace.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { namespace: Namespace::new(format!("fixture-{}", ClaimId::random())).unwrap(), ..self.clone() }
    }

    /// Sends any operation, which must be answered.
    pub(crate) async fn ask(&self, address: &Address, op: impl Into<Op>) -> Stamped<Reply> {
        let op = op.into();
        let answer = op.send(&self.store, address).await;
        answer.unwrap_or_else(|error| panic!("{op:?} was not answered: {error}"))
    }

    /// A claim that must be granted.
    pub(crate) async fn granted(&self, address: &Address, claim: &Claim) -> Grant {
        sentinel_store_tests::fixtures::claimed(&self.store, address, claim).await
    }

    /// A connection of another program.
    pub(crate) async fn stranger(&self) -> Stranger {
        let options = PgConnectOptions::from_str(&self.url).unwrap().application_name("stranger");
        Stranger(options.connect().await.unwrap())
    }

    /// The table, as it is named in SQL.
    pub(crate) fn records(&self) -> String {
        format!("\"{}\".\"records\"", self.schema)
    }

    /// The condition that finds one row.
    pub(crate) fn row(&self, address: &Address) -> String {
        let Address { namespace, kind, key } = address;
        format!(
            "namespace = '{}' AND kind = '{}' AND key = '{}'",
            namespace.as_str(),
            kind.as_str(),
            key.as_str()
        )
    }

    /// Holds a row in an open transaction: locked only, or changed.
    pub(crate) async fn hold(&self, address: &Address, change: Option<&str>) -> Stranger {
        let mut holder = self.stranger().await;
        let (records, row) = (self.records(), self.row(address));
        holder
            .run(&match change {
                None => format!("BEGIN; SELECT FROM {records} WHERE {row} FOR UPDATE"),
                Some(change) => format!("BEGIN; UPDATE {records} SET {change} WHERE {row}"),
            })
            .await;
        holder
    }

    /// Until this many of the store's statements wait for a lock.
    pub(crate) async fn waits(&self, by: &mut Stranger, statements: i64) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND wait_event_type = 'Lock'",
            self.name
        );
        by.until(&sql, |waiting| waiting >= statements).await;
    }

    /// By this, any session becomes one of the store's connections.
    pub(crate) fn joining(&self) -> String {
        format!("SET application_name = '{}'", self.name)
    }

    /// How many of the store's connections are in such a state.
    pub(crate) fn connections(&self, condition: &str) -> String {
        format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND {condition}",
            self.name
        )
    }
}

sentinel_store_tests::harness!(Fixture);

/// A connection that is not the store's.
pub(crate) struct Stranger(PgConnection);

impl Stranger {
    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.unwrap();
    }

    /// The one number that a query answers.
    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.0).await.unwrap();
        row.get(0)
    }

    /// The one text that a query answers.
    pub(crate) async fn text(&mut self, sql: &str) -> String {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.0).await.unwrap();
        row.get(0)
    }

    /// The server's clock, as the store's is.
    pub(crate) async fn clock(&mut self) -> u64 {
        let micros = self.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8").await;
        micros.unsigned_abs()
    }

    /// Asks again until the number is as it should be.
    pub(crate) async fn until(&mut self, sql: &str, holds: impl Fn(i64) -> bool) {
        let wait = async {
            // Within a transaction the server's statistics stand still, unless they are reset.
            self.run("SELECT pg_stat_clear_snapshot()").await;
            while !holds(self.number(sql).await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.run("SELECT pg_stat_clear_snapshot()").await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| panic!("it never came to be: {sql}"));
    }
}
