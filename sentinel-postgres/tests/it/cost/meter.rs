//! A server of its own, on which nothing happens but what is measured, and its counters.
//!
//! None of them is a time, or depends on one: what is busy beside it changes no figure.

use std::sync::OnceLock;

use sentinel_testbed::{CostBudget as Price, Postgres, Proxy, postgres};
use tokio::sync::{Mutex, MutexGuard};

use crate::cost::prices::units;
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
    pub(crate) fixture: Fixture,
    watcher: Stranger,
    server: &'static Postgres,
    proxy: &'static Proxy,
    untrue: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// Running counters: round trips, statements, transactions that write, bytes of WAL.
type Reading = [i64; 4];

impl Meter {
    pub(crate) async fn open(schema: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let (server, proxy) = SERVER.get_or_init(|| {
            let server = Postgres::start(
                QUIET.into_iter().fold(postgres::Options::default(), |all, line| all.conf(line)),
            );
            let proxy = Proxy::start(server.port());
            (server, proxy)
        });
        let way = server.url_at(proxy.port(), postgres::SUPERUSER, postgres::PASSWORD, "postgres");
        let fixture = Fixture::open_through(&way, &server.url(), schema, |builder| builder).await;
        let mut watcher = fixture.stranger().await;
        watcher.run("SET log_statement = 'none'").await;
        Self { watcher, fixture, server, proxy, untrue: Vec::new(), _alone: alone }
    }

    /// Sets the scene for so many of an operation, measures them alone, and notes it if the price is not true.
    pub(crate) async fn measure<T>(
        &mut self,
        price: &Price<4>,
        many: usize,
        scene: impl AsyncFn(&Fixture) -> T,
        operation: impl AsyncFn(&Fixture, T),
    ) {
        // The first round pays for connections, prepared statements and first pages.
        self.round(many, &scene, &operation).await;
        let mut trial = price.trial(units(price));
        while trial.goes_on() {
            trial.note(self.round(many, &scene, &operation).await);
        }
        self.untrue.extend(trial.verdict().err());
    }

    async fn round<T>(
        &mut self,
        many: usize,
        scene: impl AsyncFn(&Fixture) -> T,
        operation: impl AsyncFn(&Fixture, T),
    ) -> [f64; 4] {
        let mut scenes = Vec::new();
        for _ in 0..many {
            scenes.push(scene(&self.fixture).await);
        }
        // Whoever reads a page tidies it: what the scene left there is not charged to the operation.
        self.watcher.number(&format!("SELECT count(*) FROM {}", self.fixture.records())).await;
        let before = self.read().await;
        for scene in scenes {
            operation(&self.fixture, scene).await;
        }
        let after = self.read().await;
        std::array::from_fn(|n| (after[n] - before[n]) as f64 / many as f64)
    }

    /// Panics if a price was not true.
    #[track_caller]
    pub(crate) fn settle(&self) {
        assert!(self.untrue.is_empty(), "{}", self.untrue.join("\n"));
    }

    /// How many rows were updated in this schema, and how many of them without touching an index. The store is closed
    /// first: a connection tells what it did when it ends.
    pub(crate) async fn updates(self) -> (i64, i64) {
        let Self { fixture, mut watcher, .. } = self;
        let (gone, schema) = (fixture.connections("true"), fixture.schema.clone());
        drop(fixture);
        watcher.until(&gone, |open| open == 0).await;
        let mut sum = async |what: &str| {
            let sql =
                format!("SELECT sum({what})::int8 FROM pg_stat_user_tables WHERE schemaname = '{schema}'");
            watcher.number(&sql).await
        };
        (sum("n_tup_upd").await, sum("n_tup_hot_upd").await)
    }

    async fn read(&mut self) -> Reading {
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
