//! Stores on real servers, in each deployment mode, with a clock that a test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_conformance::Harness;
use sentinel_core::{CoordinationStore, ErrorKind};
use sentinel_redis::{Durability, RedisStore, RedisStoreBuilder};
use sentinel_testbed::redis::{Fsync, Options};
use sentinel_testbed::{Redis, redis};

use crate::cluster::{BUCKETS, ClusterUser, MigratingCluster};

/// A store in one deployment mode.
pub(crate) struct Store {
    pub(crate) store: RedisStore,
    pub(crate) offset: Arc<AtomicI64>,
    builder: RedisStoreBuilder,
    /// The store after it was opened again.
    reopened: Mutex<Option<RedisStore>>,
    _user: Option<ClusterUser>,
}

impl Store {
    pub(crate) async fn open(builder: RedisStoreBuilder) -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let builder = builder.clock_offset(offset.clone());
        // Each registration is a new epoch, and makes all others load their scripts again.
        let store = match builder.clone().open().await {
            Err(error) if error.kind() == ErrorKind::NotInitialised => builder.clone().init().await.unwrap(),
            store => store.unwrap(),
        };
        Self { store, offset, builder, reopened: Mutex::new(None), _user: None }
    }

    /// A store on connections of its own, on the same clock.
    async fn another(&self) -> RedisStore {
        self.builder.clone().open().await.unwrap()
    }
}

impl Store {
    async fn join() -> Self {
        let user = MigratingCluster::join();
        let store = Self::open(RedisStore::builder(&user.url()).buckets(BUCKETS)).await;
        Self { _user: Some(user), ..store }
    }
}

/// A key runs, and is replayed.
pub(crate) async fn run_and_replay(sentinel: &Sentinel, key: &str) {
    let once = async |reply: &str| {
        let reply = reply.to_owned();
        sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>(reply) }).await.unwrap()
    };
    let outcome = once("done").await;
    assert!(matches!(&outcome, Outcome::Completed(reply) if reply == "done"), "{outcome:?}");
    let outcome = once("done again").await;
    assert!(matches!(&outcome, Outcome::Replayed(reply) if reply == "done"), "{outcome:?}");
}

macro_rules! modes {
    ($($(#[$about:meta])* $mode:ident = $open:expr;)*) => {$(
        $(#[$about])*
        pub(crate) struct $mode(Store);

        $(#[$about])*
        #[async_trait]
        impl Harness for $mode {
            async fn open() -> Self {
                Self($open.await)
            }

            fn store(&self) -> Arc<dyn CoordinationStore> {
                let reopened = self.0.reopened.lock().unwrap().clone();
                Arc::new(reopened.unwrap_or_else(|| self.0.store.clone()))
            }

            async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
                Some(Arc::new(self.0.another().await))
            }

            async fn reopen(&self) -> bool {
                let store = self.0.another().await;
                *self.0.reopened.lock().unwrap() = Some(store);
                true
            }

            async fn advance(&self, by: Duration) {
                self.0.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
            }

            // Not set back: the suite knows one floor for a namespace, and here each bucket has its own, which rises as
            // soon as a result may expire. `clock` has what is true of both.
        }
    )*};
}

modes! {
    /// One server, each write on disk before it is answered.
    Always = Store::open(RedisStore::builder(&redis().url()).buckets(4));
    /// One server, synced once a second.
    EverySecond = Store::open(RedisStore::builder(&every_second().url()));
    /// TLS, and a user who may do what the documentation lists, and nothing else.
    #[cfg(feature = "tls")]
    TlsAcl = Store::open(crate::tls::limited());
    /// A primary with a replica, which has what is answered.
    Replica = Store::open(RedisStore::builder(&primary().url()).durability(Durability::Replicas(1)));
    /// A cluster whose slots are on the move.
    Cluster = Store::join();
}

fn every_second() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start(Options::default().append_fsync(Fsync::EverySecond)))
}

fn primary() -> &'static Redis {
    static SERVERS: OnceLock<(Redis, Redis)> = OnceLock::new();
    let (primary, _) = SERVERS.get_or_init(|| {
        let primary = Redis::start(Options::default());
        let replica = primary.replica(Options::default());
        (primary, replica)
    });
    primary
}
