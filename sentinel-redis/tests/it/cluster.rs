//! A cluster whose slots are moved between servers as long as a test uses it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, CoordinationStore as _, ErrorKind, Grant, Key, Namespace, StoreError};
use sentinel_redis::RedisStore;
use sentinel_store_tests::fixtures::call;
use sentinel_store_tests::rng::Rng;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, RedisCluster, until};

use crate::access::documented_rules;
use crate::deployments::run_and_replay;

/// Few, so that a law's slots are often being moved.
pub(crate) const BUCKETS: u32 = 4;

/// Three masters, and a thread that moves their slots.
pub(crate) struct MigratingCluster {
    servers: RedisCluster,
    users: Mutex<u32>,
    come: Condvar,
    moved: AtomicU64,
    /// The panic of the thread and the state of each server, for later tests: the thread's own output appears only in
    /// the test that started it.
    failed: OnceLock<String>,
}

/// A test that uses the cluster, so that its slots move; and how many had moved before it.
pub(crate) struct ClusterUser(&'static MigratingCluster, u64);

impl Drop for ClusterUser {
    fn drop(&mut self) {
        // A law may be over sooner than a slot is moved: it ends when one has arrived.
        if !thread::panicking() {
            until("a slot arrives", || self.moved() > self.1 || self.0.failed.get().is_some());
        }
        *self.0.users.lock().unwrap() -= 1;
    }
}

impl MigratingCluster {
    /// The one that all tests share.
    pub(crate) fn join() -> ClusterUser {
        static SHARED: OnceLock<&'static MigratingCluster> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let servers = RedisCluster::start(3, Options::default());
            let (users, come, moved, failed) = Default::default();
            let cluster: &'static MigratingCluster =
                Box::leak(Box::new(MigratingCluster { servers, users, come, moved, failed }));
            thread::spawn(|| cluster.drive());
            cluster
        });
        if let Some(why) = shared.failed.get() {
            panic!("the slots do not move any more: {why}");
        }
        *shared.users.lock().unwrap() += 1;
        shared.come.notify_one();
        ClusterUser(shared, shared.moved.load(Ordering::SeqCst))
    }

    fn drive(&self) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.move_slots())) else { return };
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let views = self.servers.nodes().iter().map(|node| {
            let (nodes, log) = (node.try_cli(&["CLUSTER", "NODES"]).unwrap_or_default(), node.log());
            let last = log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
            format!("\nnode {}:\n{nodes}\nits log, the newest line first:\n{last}", node.port())
        });
        let _ = self.failed.set(format!("{message}{}", views.collect::<String>()));
    }

    fn move_slots(&self) {
        let (mut seen, mut rng) = (Vec::new(), Rng(7));
        loop {
            drop(self.come.wait_while(self.users.lock().unwrap(), |users| *users == 0).unwrap());
            for tag in self.tags(&mut seen, &mut rng) {
                let slot = self.servers.slot(&tag);
                let step = 1 + below(&mut rng, 2);
                let to = (self.servers.owner(slot) + step) % self.servers.nodes().len();
                self.servers.move_slot(slot, to);
                self.moved.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Keys whose slots go next: of the namespaces that were not there before, else of any; and sometimes the root's.
    fn tags(&self, seen: &mut Vec<String>, rng: &mut Rng) -> Vec<String> {
        let root = "{sentinel}".to_owned();
        let owner = &self.servers.nodes()[self.servers.owner(self.servers.slot(&root))];
        let reply = owner.cli(&["SMEMBERS", "sentinel:{sentinel}:namespaces"]);
        let is_new = |name: &&str| !name.starts_with(':') && !seen.iter().any(|one| one == name);
        let mut next: Vec<String> = reply.lines().filter(is_new).map(str::to_owned).collect();
        seen.extend(next.iter().cloned());
        next.truncate(4);
        if next.is_empty() && !seen.is_empty() {
            next.push(seen[below(rng, seen.len())].clone());
        }
        let bucket = |name: &String| format!("{{{name}:{}}}", below(rng, BUCKETS as usize));
        let mut tags: Vec<String> = next.iter().map(bucket).collect();
        tags.extend((below(rng, 8) == 0).then_some(root));
        tags
    }
}

impl ClusterUser {
    pub(crate) fn url(&self) -> String {
        self.0.servers.url()
    }

    fn moved(&self) -> u64 {
        self.0.moved.load(Ordering::SeqCst)
    }

    /// How often a client was redirected to another server, or asked to retry.
    fn redirects(&self) -> u64 {
        let errors = ["errorstat_MOVED", "errorstat_ASK", "errorstat_TRYAGAIN"];
        let count = |node: &Redis, error: &str| {
            node.info(error).strip_prefix("count=").map_or(0, |n| n.parse().unwrap())
        };
        self.0.servers.nodes().iter().flat_map(|node| errors.map(|error| count(node, error))).sum()
    }
}

fn below(rng: &mut Rng, limit: usize) -> usize {
    rng.below(limit as u64) as usize
}

#[tokio::test]
async fn each_key_runs_once_while_its_slot_moves() {
    let user = MigratingCluster::join();
    let store = RedisStore::builder(&user.url()).buckets(BUCKETS).init().await.unwrap();
    let sentinel = Sentinel::new(store).namespace("riders").unwrap();
    let (until, before) = (user.moved() + 20, user.redirects());
    let mut keys = 0;
    while user.moved() < until {
        keys += 1;
        run_and_replay(&sentinel, &format!("key-{keys}")).await;
    }
    assert!(user.redirects() > before, "no request met a slot that was being moved");
}

/// A cluster, and a store all of whose records are in one slot.
async fn one_slot(deadline: Duration) -> (RedisCluster, RedisStore, u16) {
    let cluster = RedisCluster::start(3, Options::default());
    let builder = RedisStore::builder(&cluster.url()).buckets(1).deadline(deadline);
    let store = builder.init().await.unwrap();
    take(&store, "first").await.unwrap();
    let slot = cluster.slot("{tests:0}");
    (cluster, store, slot)
}

/// Claims a fresh key.
async fn take(store: &RedisStore, key: &str) -> Result<Beat, StoreError> {
    take_in(store, "tests", key).await
}

async fn take_in(store: &RedisStore, namespace: &str, key: &str) -> Result<Beat, StoreError> {
    let address = Address::execution(Namespace::new(namespace).unwrap(), Key::new(key).unwrap());
    let claim = call();
    let stamped = store.claim(&address, &claim).await?;
    assert!(matches!(stamped.reply, ClaimReply::Granted(_)), "{stamped:?}");
    Ok(Beat { address, grant: Grant { token: stamped.stamp.token, claim_id: claim.claim_id } })
}

#[tokio::test]
async fn a_user_of_a_cluster_may_ask_for_its_slots() {
    let cluster = RedisCluster::start(2, Options::default().acl("app", "secret", &documented_rules()));
    let url = cluster.url().replace("://", "://app:secret@");
    let builder = RedisStore::builder(&url).deadline(Duration::from_secs(5));
    let error = builder.clone().init().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    for node in cluster.nodes() {
        node.cli(&["ACL", "SETUSER", "app", "+cluster|slots", "+cluster|info"]);
    }
    let store = builder.init().await.unwrap();
    let health = store.health().await.unwrap();
    assert!(health.accepted && health.checks.iter().all(|check| check.ok), "{health:?}");
    assert_eq!(health.deployment, "Redis Cluster");
    run_and_replay(&Sentinel::new(store), "k").await;
}

#[tokio::test]
async fn moved_slots_are_found() {
    let (cluster, store, slot) = one_slot(Duration::from_secs(10)).await;
    // The root's first: the names of namespaces are beside it.
    for (slot, namespace) in [(cluster.slot("{sentinel}"), "others"), (slot, "tests")] {
        cluster.move_slot(slot, (cluster.owner(slot) + 1) % 3);
        take_in(&store, namespace, "second").await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_stuck_in_migration_blocks_only_its_bucket() {
    let (cluster, store, slot) = one_slot(Duration::from_secs(2)).await;
    let migration = cluster.begin_move(slot, (cluster.owner(slot) + 1) % 3);
    for halfway in [0, 100] {
        migration.move_keys(halfway);
        let error = take(&store, "second").await.unwrap_err();
        assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::Busy), "{error}");
    }
    migration.finish();
    take(&store, "second").await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_does_not_wait_for_another_whose_slot_is_stuck_in_migration() {
    let (cluster, store, slot) = one_slot(Duration::from_secs(2)).await;
    let beats = [take_in(&store, "others", "key").await.unwrap(), take(&store, "key").await.unwrap()];
    let migration = cluster.begin_move(slot, (cluster.owner(slot) + 1) % 3);
    migration.move_keys(1);
    let replies = store.heartbeat(&beats).await.unwrap();
    assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    assert_eq!(replies[1].reply, HeartbeatReply::Unknown);
    migration.finish();
    let replies = store.heartbeat(&beats).await.unwrap();
    assert!(replies.iter().all(|kept| matches!(kept.reply, HeartbeatReply::Kept { .. })), "{replies:?}");
}

/// How often a server was asked to run a script that it has.
fn calls(server: &Redis) -> u64 {
    let reply = server.info("cmdstat_evalsha");
    let calls = reply.split(',').find_map(|field| field.strip_prefix("calls="));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn the_driver_does_not_resend_after_a_broken_connection() {
    let (cluster, store, slot) = one_slot(Duration::from_secs(1)).await;
    let server = &cluster.nodes()[cluster.owner(slot)];
    let before = calls(server);
    server.pause();
    let error = take(&store, "second").await.unwrap_err();
    assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply), "{error}");
    server.resume();
    until("what had arrived is carried out", || calls(server) > before);
    // Those that are sent when there is a connection again come before this.
    while take(&store, "third").await.is_err() {}
    assert_eq!(calls(server), before + 2);
}

#[tokio::test]
async fn a_master_that_was_not_registered_is_not_trusted() {
    let (cluster, store, slot) = one_slot(Duration::from_secs(2)).await;
    let server = &cluster.nodes()[cluster.owner(slot)];
    server.kill();
    server.start_again();
    cluster.wait_ok();
    // First there are connections to be made.
    let error = loop {
        let error = take(&store, "second").await.unwrap_err();
        if !matches!(error.kind(), ErrorKind::LostReply | ErrorKind::Unreachable | ErrorKind::Busy) {
            break error;
        }
    };
    assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::PossibleDataLoss), "{error}");
    let error = RedisStore::connect(&cluster.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PossibleDataLoss, "{error}");
    let registered = RedisStore::init(&cluster.url()).await.unwrap();
    take(&registered, "second").await.unwrap();
    take(&store, "third").await.unwrap();
}
