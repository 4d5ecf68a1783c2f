//! Notifications: waiters for a run of another process. The tests that any store with notifications passes are in
//! [`sentinel_store_tests::notify`].

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::Sentinel;
use sentinel_core::store::Notice;
use sentinel_core::{Address, CoordinationStore as _};
use sentinel_redis::RedisStore;
use sentinel_store_tests::notify::{
    MINUTE, Notifying, address, assert_replayed, join, start, until, wait, waiters_poll,
};
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, redis};

const SECOND: Duration = Duration::from_secs(1);

sentinel_store_tests::notify_tests!(Server);

/// A server of its own.
struct Server(Redis);

#[async_trait]
impl Notifying for Server {
    type Store = RedisStore;

    fn start(_: &str) -> Self {
        Self(Redis::start(Options::default()))
    }

    async fn open(&self) -> RedisStore {
        RedisStore::init(&self.0.url()).await.unwrap()
    }

    /// The store that changes a record publishes on any of its connections.
    fn is_listening(_: &RedisStore, ours: &RedisStore, address: &Address) -> bool {
        ours.is_listening(address)
    }

    /// Every change is published: the server knows who subscribes.
    fn knows_of_a_waiter(_: &RedisStore) -> bool {
        true
    }

    fn listeners(&self) -> BTreeSet<String> {
        let clients = self.0.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let ids = clients.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
        ids.map(str::to_owned).collect()
    }

    fn kill(&self, listeners: &BTreeSet<String>) {
        for id in listeners {
            assert_eq!(self.0.cli(&["CLIENT", "KILL", "ID", id]), "1");
        }
    }
}

/// A store on the shared server, as another process has it.
async fn open(prefix: &str) -> RedisStore {
    RedisStore::builder(&redis().url()).key_prefix(prefix).init().await.unwrap()
}

/// What the server's subscribers listen on, by the beginnings of their names.
fn channels(server: &Redis, prefix: &str) -> String {
    server.cli(&["PUBSUB", "CHANNELS", &format!("{prefix}:*")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_after_its_last_waiter() {
    let store = open("listen_last").await;
    let at = address("k");
    let waiter = |within| {
        let (store, at) = (store.clone(), at.clone());
        tokio::spawn(async move { store.changed(&at, within).await })
    };
    let (brief, long) = (waiter(MINUTE), waiter(MINUTE));
    brief.await.unwrap();
    long.await.unwrap();
    let long = waiter(MINUTE);
    assert_eq!(store.changed(&address("other"), MINUTE).await, Notice::Listening);
    // The other's ends meanwhile, which takes as long as this one's would.
    until("the other's has ended", || !channels(redis(), "listen_last").contains("other")).await;
    assert!(channels(redis(), "listen_last").ends_with(":r:e:k"), "a caller still waits");
    long.abort();
    until("the last one's has ended", || channels(redis(), "listen_last").is_empty()).await;
}

#[tokio::test]
async fn a_user_without_pubsub_rights_polls() {
    // Everything, but no channel.
    let server = Redis::start(Options::default().acl("app", "hunter2", "~* +@all resetchannels"));
    let url = server.url_for("app", "hunter2");
    let (theirs, ours) = (RedisStore::init(&url).await.unwrap(), RedisStore::init(&url).await.unwrap());
    waiters_poll::<Server>(&theirs, &ours).await;
}

#[tokio::test]
async fn a_refused_channel_leaves_no_other_confirmed() {
    let rules = "~* +@all resetchannels &listen:listening:* &listen:{default:*}:r:e:may";
    let server = Redis::start(Options::default().acl("app", "hunter2", rules));
    let builder = || RedisStore::builder(&server.url_for("app", "hunter2")).key_prefix("listen");
    let (store, other) = (builder().init().await.unwrap(), builder().init().await.unwrap());
    assert_eq!(store.changed(&address("must-not"), SECOND).await, Notice::Polling);
    assert!(!store.is_listening(&address("must-not")));
    assert_eq!(other.changed(&address("may"), MINUTE).await, Notice::Listening);
}

/// Publishes a message on a channel.
fn publish(store: &RedisStore, key: &str, what: &[u8]) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let mut cli: Command = redis().command("redis-cli");
    let done =
        cli.arg("-e").args(["PUBLISH", &store.channel_name(&address(key))]).arg(OsStr::from_bytes(what));
    assert!(done.output().unwrap().status.success());
}

#[tokio::test]
async fn foreign_messages_are_harmless() {
    let (theirs, ours) = (open("listen_noise").await, open("listen_noise").await);
    let (end, _run) = start(&Sentinel::new(theirs), "k").await;
    let joined = join(&Sentinel::new(ours.clone()), "k");
    until("it listens", || ours.is_listening(&address("k"))).await;
    let long = [b'x'; 100_000];
    for noise in [&b""[..], b"d", b"\xff\xfe\xc0", b"completed\r\n+OK\r\n", &long] {
        let waiting = ours.clone();
        let reply = tokio::spawn(async move { wait(&waiting, &address("k")).await });
        until("it was notified", || {
            publish(&ours, "k", noise);
            reply.is_finished()
        })
        .await;
        assert_eq!(reply.await.unwrap(), Notice::Changed);
        assert!(!joined.is_finished());
    }
    end.send(()).unwrap();
    assert_replayed(joined).await;
}
