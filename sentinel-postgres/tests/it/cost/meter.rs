//! A server of its own, on which nothing happens but what is measured, and its counters.
//!
//! None of them is a time, or depends on one: what is busy beside it changes no figure.

use std::sync::OnceLock;

use sentinel_core::{Address, ClaimId, CoordinationStore, Kind};
use sentinel_store_tests::cost;
use sentinel_testbed::{CostBudget, Postgres, Proxy, Unit, postgres};
use tokio::sync::{Mutex, MutexGuard};

use crate::cost::budgets;
use crate::harness::{Fixture, Stranger};

/// No process of the server writes, or counts as writing, on its own; and the log has each statement.
const QUIET: [&str; 7] = [
    "autovacuum = off",
    "checkpoint_timeout = 1d",
    "max_wal_size = 16GB",
    "wal_level = minimal",
    "max_wal_senders = 0",
    "log_statement = all",
    "log_parameter_max_length = 0",
];

static SERVER: OnceLock<(Postgres, Proxy)> = OnceLock::new();

/// A store on the metered server, which no other test uses meanwhile.
pub(crate) struct Meter {
    fixture: Fixture,
    watcher: Stranger,
    server: &'static Postgres,
    proxy: &'static Proxy,
    _alone: MutexGuard<'static, ()>,
}

impl cost::Subject for Fixture {
    fn store(&self) -> &dyn CoordinationStore {
        &self.store
    }

    fn fresh(&self, kind: Kind) -> Address {
        Address { kind, ..self.execution(&format!("invoice-{}", ClaimId::random())) }
    }
}

impl cost::Meter<4> for Meter {
    type Subject = Fixture;

    async fn open(test: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let (server, proxy) = SERVER.get_or_init(|| {
            let server = Postgres::start(
                QUIET.into_iter().fold(postgres::Options::default(), |all, line| all.conf(line)),
            );
            let proxy = Proxy::start(server.port());
            (server, proxy)
        });
        let proxied = server.url_at(proxy.port(), postgres::SUPERUSER, postgres::PASSWORD, "postgres");
        let fixture = Fixture::open_through(&proxied, &server.url(), test, |builder| builder).await;
        let mut watcher = fixture.stranger().await;
        watcher.run("SET log_statement = 'none'").await;
        Self { watcher, fixture, server, proxy, _alone: alone }
    }

    fn units(budget: &CostBudget<4>) -> &'static [Unit; 4] {
        budgets::units(budget)
    }

    async fn next_round(&mut self) -> bool {
        false
    }

    fn subject(&self) -> &Fixture {
        &self.fixture
    }

    async fn count(&mut self, operations: impl AsyncFnOnce(&Fixture)) -> [f64; 4] {
        // Reading a page prunes it: the operations do not pay for what their preparation left there.
        self.watcher.number(&format!("SELECT count(*) FROM {}", self.fixture.records())).await;
        let before = self.read().await;
        operations(&self.fixture).await;
        let after = self.read().await;
        std::array::from_fn(|n| (after[n] - before[n]) as f64)
    }

    /// Only heartbeats updated anything in this schema, and few of them touched an index. The store is closed first: a
    /// connection reports what it did when it ends.
    async fn check_after_heartbeats(self) {
        let Self { fixture, mut watcher, .. } = self;
        let (open, schema) = (fixture.connections("true"), fixture.schema.clone());
        drop(fixture);
        watcher.until(&open, |open| open == 0).await;
        let mut sum = async |what: &str| {
            let sql =
                format!("SELECT sum({what})::int8 FROM pg_stat_user_tables WHERE schemaname = '{schema}'");
            watcher.number(&sql).await
        };
        let (updates, hot) = (sum("n_tup_upd").await, sum("n_tup_hot_upd").await);
        assert!(hot * 100 >= updates * 95, "{hot} of {updates} updates touched no index");
    }
}

impl Meter {
    /// Running counters: round trips, statements, transactions that write, bytes of WAL.
    async fn read(&mut self) -> [i64; 4] {
        let turns = i64::try_from(self.proxy.turns()).unwrap();
        let xids = self.watcher.number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8").await;
        let wal = self.watcher.number("SELECT (pg_current_wal_insert_lsn() - '0/0')::int8").await;
        [turns, self.statements(), xids, wal]
    }

    /// Those of the store: the watcher's are not logged.
    fn statements(&self) -> i64 {
        let log = self.server.log();
        let reply = log.matches("LOG:  execute ").count() + log.matches("LOG:  statement: ").count();
        i64::try_from(reply).unwrap()
    }
}
