//! Stores on real servers, in each deployment mode, with a clock that a test moves.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_core::ErrorKind;
use sentinel_redis::{Durability, RedisStore, RedisStoreBuilder};
use sentinel_store_tests::deployment::Deployment;
use sentinel_testbed::redis::{Fsync, Options};
use sentinel_testbed::{Redis, redis};

use crate::cluster::{BUCKETS, MigratingCluster};

/// Opens a store. Its clock is not set back: the suite knows one floor for a namespace, and here each bucket has its
/// own, which rises as soon as a result may expire. `clock` has what is true of both.
async fn open(builder: RedisStoreBuilder) -> Deployment<RedisStore> {
    let offset = Arc::new(AtomicI64::new(0));
    let builder = builder.clock_offset(offset.clone());
    // Each registration is a new epoch, and makes all others load their scripts again.
    let store = match builder.clone().open().await {
        Err(error) if error.kind() == ErrorKind::NotInitialised => builder.clone().init().await.unwrap(),
        store => store.unwrap(),
    };
    let another = move || {
        let builder = builder.clone();
        async move { builder.open().await.unwrap() }
    };
    Deployment::new(store, offset, another).only_forward()
}

async fn on_the_cluster() -> Deployment<RedisStore> {
    let user = MigratingCluster::join();
    open(RedisStore::builder(&user.url()).buckets(BUCKETS)).await.needs(user)
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

sentinel_store_tests::deployments! { RedisStore;
    /// One server, each write on disk before it is answered.
    Always = open(RedisStore::builder(&redis().url()).buckets(4));
    /// One server, synced once a second.
    EverySecond = open(RedisStore::builder(&every_second().url()));
    /// TLS, and a user who may do what the documentation lists, and nothing else.
    #[cfg(feature = "tls")]
    TlsAcl = open(crate::tls::limited());
    /// A primary with a replica, which has what is answered.
    Replica = open(RedisStore::builder(&primary().url()).durability(Durability::Replicas(1)));
    /// A cluster whose slots are on the move.
    Cluster = on_the_cluster();
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
