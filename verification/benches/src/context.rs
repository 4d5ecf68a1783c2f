//! The servers of a run, each started when it is first asked for, and the stores on them.

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::CoordinationStore;
use sentinel_memory::MemoryStore;
use sentinel_postgres::PostgresStore;
use sentinel_redis::RedisStore;
use sentinel_sqlite::SqliteStore;
use sentinel_testbed::redis::Fsync;
use sentinel_testbed::{Postgres, Proxy, Redis, postgres, redis};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::baselines::tables::TABLES;
use crate::plan::Plan;
use crate::target::Target;

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "billing";

/// The servers of a run, each started when it is first asked for, and the stores on them.
pub(crate) struct BenchContext {
    pub(crate) plan: Plan,
    pub(crate) runtime: Runtime,
    postgres: OnceCell<Postgres>,
    /// In front of PostgreSQL, by how much each adds.
    proxies: [OnceCell<Proxy>; 2],
    redis: [OnceCell<Redis>; 2],
    /// SQLite with records that can be replayed.
    filled: OnceCell<Arc<dyn CoordinationStore>>,
    /// The servers that hold it, each by its usual way.
    servers_filled: RefCell<Vec<Target>>,
    folder: OnceCell<TempDir>,
}

impl BenchContext {
    pub(crate) fn new(plan: Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self {
            plan,
            runtime: runtime.unwrap(),
            postgres: OnceCell::new(),
            proxies: Default::default(),
            redis: Default::default(),
            filled: OnceCell::new(),
            servers_filled: RefCell::default(),
            folder: OnceCell::new(),
        }
    }

    /// PostgreSQL as it comes, but for the room that 512 connections need, and for checkpoints that would come in one
    /// figure and not in another.
    pub(crate) fn postgres(&self) -> &Postgres {
        self.postgres.get_or_init(|| {
            let options =
                postgres::Options::default().conf("max_connections = 600").conf("max_wal_size = '8GB'");
            let server = Postgres::start(options);
            server.psql(TABLES);
            server
        })
    }

    /// The port of a target on PostgreSQL; None: the socket.
    pub(crate) fn postgres_port(&self, target: Target) -> Option<u16> {
        let port = self.postgres().port();
        match target {
            Target::PostgresTcp => Some(port),
            Target::PostgresPlus1ms => Some(self.proxy(0, Duration::from_millis(1)).port()),
            Target::PostgresPlus10ms => Some(self.proxy(1, Duration::from_millis(10)).port()),
            _ => None,
        }
    }

    fn proxy(&self, which: usize, adds: Duration) -> &Proxy {
        self.proxies[which].get_or_init(|| {
            let proxy = Proxy::start(self.postgres().port());
            proxy.requests().delay(adds);
            proxy
        })
    }

    pub(crate) fn postgres_url(&self, target: Target) -> String {
        match self.postgres_port(target) {
            None => self.postgres().socket_url(),
            Some(port) => self.postgres().url_at(port, postgres::SUPERUSER, postgres::PASSWORD, "postgres"),
        }
    }

    pub(crate) fn redis(&self, target: Target) -> &Redis {
        let (which, fsync) = match target {
            Target::RedisEverysec => (1, Fsync::EverySecond),
            _ => (0, Fsync::Always),
        };
        self.redis[which].get_or_init(|| {
            let server = Redis::start(redis_options(fsync));
            drop(self.runtime.block_on(RedisStore::init(&server.url())).unwrap());
            server
        })
    }

    /// A new file, for SQLite.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let folder = self.folder.get_or_init(|| tempfile::tempdir().unwrap());
        folder.path().join(format!("{name}-{}.db", salt()))
    }

    /// A store, as a process of its own would have it.
    pub(crate) fn store(&self, target: Target) -> Arc<dyn CoordinationStore> {
        match target {
            Target::Memory => Arc::new(MemoryStore::new()),
            Target::Sqlite => Arc::new(self.sqlite(&self.file("store"))),
            Target::RedisAlways | Target::RedisEverysec => Arc::new(self.redis_store(target)),
            _ => Arc::new(self.postgres_store(target)),
        }
    }

    /// The same, and another one beside it that sees the same records.
    pub(crate) fn two_stores(&self, target: Target) -> [Arc<dyn CoordinationStore>; 2] {
        match target {
            Target::Memory => {
                let store = self.store(target);
                [store.clone(), store]
            }
            Target::Sqlite => {
                let file = self.file("shared");
                [Arc::new(self.sqlite(&file)), Arc::new(self.sqlite(&file))]
            }
            _ => [self.store(target), self.store(target)],
        }
    }

    /// A store with records that can be replayed. They are written once for each server.
    pub(crate) fn filled(
        &self,
        target: Target,
        fill: impl Fn(&Arc<dyn CoordinationStore>),
    ) -> Arc<dyn CoordinationStore> {
        if target == Target::Sqlite {
            let fresh = || {
                let store = self.store(target);
                fill(&store);
                store
            };
            return Arc::clone(self.filled.get_or_init(fresh));
        }
        let (store, server) = (self.store(target), target.server());
        if !self.servers_filled.borrow().contains(&server) {
            fill(&store);
            self.servers_filled.borrow_mut().push(server);
        }
        store
    }

    pub(crate) fn sqlite(&self, file: &PathBuf) -> SqliteStore {
        self.runtime.block_on(SqliteStore::open(file)).unwrap()
    }

    pub(crate) fn postgres_store(&self, target: Target) -> PostgresStore {
        self.runtime.block_on(PostgresStore::builder(&self.postgres_url(target)).init()).unwrap()
    }

    pub(crate) fn redis_store(&self, target: Target) -> RedisStore {
        self.runtime.block_on(RedisStore::connect(&self.redis(target).url())).unwrap()
    }

    /// A client of a store of its own.
    pub(crate) fn sentinel(&self, target: Target) -> Sentinel {
        client(self.store(target))
    }

    /// The servers that were started, and their versions.
    pub(crate) fn versions(&self) -> Vec<String> {
        let postgres =
            self.postgres.get().map(|server| format!("PostgreSQL {}", server.psql("SHOW server_version")));
        let redis = self.redis.iter().find_map(OnceCell::get);
        let redis = redis.map(|server| format!("Redis {}", server.info("redis_version")));
        let sqlite = Some(format!("SQLite {}", rusqlite::version()));
        [postgres, redis, sqlite].into_iter().flatten().collect()
    }
}

pub(crate) fn client(store: Arc<dyn CoordinationStore>) -> Sentinel {
    Sentinel::from_arc(store).namespace(NAMESPACE).unwrap()
}

/// Redis writes its file anew in a process of its own when it has doubled: in no figure by chance.
pub(crate) fn redis_options(fsync: Fsync) -> redis::Options {
    redis::Options::default().append_fsync(fsync).setting("auto-aof-rewrite-percentage", "0")
}

/// A number that no earlier key of this run has.
pub(crate) fn salt() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};

    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}
