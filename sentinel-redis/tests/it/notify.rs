//! Waking waiters for a run of another process.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::{Outcome, Sentinel};
use sentinel_conformance::{Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, Notice};
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Kind, Label, Namespace, OpId, Payload, Recorded,
    StoreError, Terms, Token,
};
use sentinel_redis::RedisStore;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, redis};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Told = Outcome<String, String>;

/// A store of its own, as another process would have it.
async fn open(prefix: &str) -> RedisStore {
    RedisStore::builder(&redis().url()).key_prefix(prefix).init().await.unwrap()
}

/// Two of one prefix.
async fn two(prefix: &str) -> (RedisStore, RedisStore) {
    (open(prefix).await, open(prefix).await)
}

/// Waits for a condition that comes true by itself.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to this in a minute: {what}");
}

/// A client whose polls always return its first read: it can learn only by a message that a run has ended.
#[derive(Debug)]
struct Blind {
    store: Arc<dyn CoordinationStore>,
    first: OnceCell<Inspection>,
    polls: AtomicU32,
}

impl Blind {
    fn client(store: &RedisStore) -> (Arc<Layered<Self>>, Sentinel) {
        let (first, polls) = Default::default();
        let blind = Arc::new(Layered(Self { store: Arc::new(store.clone()), first, polls }));
        (blind.clone(), Sentinel::new(blind))
    }
}

#[async_trait]
impl Layer for Blind {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.store, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        let first = self.first.get_or_try_init(|| self.store.inspect(address)).await?;
        Ok(Inspection { record: first.record.clone(), now: first.now })
    }
}

/// Starts a run that ends on a signal, and waits until it has begun.
async fn start(client: &Sentinel, key: &str) -> (oneshot::Sender<()>, JoinHandle<Told>) {
    let (begun, began) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let once = client.once::<String>(key).ttl(MINUTE * 10);
    let run = tokio::spawn(async move {
        let run = once.run(|_| async move {
            begun.send(()).unwrap();
            ended.await.unwrap();
            Ok("receipt".to_owned())
        });
        run.await.unwrap()
    });
    began.await.unwrap();
    (end, run)
}

/// Joins a run, for a minute at most.
fn join(client: &Sentinel, key: &str) -> JoinHandle<Told> {
    let once = client.once::<String>(key).wait(MINUTE);
    tokio::spawn(async move { once.run(|_| async { Ok("ran twice".to_owned()) }).await.unwrap() })
}

async fn assert_replayed(joined: JoinHandle<Told>) {
    let reply = joined.await.unwrap();
    assert!(matches!(&reply, Outcome::Replayed(receipt) if receipt == "receipt"), "{reply:?}");
}

#[tokio::test]
async fn a_result_wakes_waiters_in_another_process() {
    let (theirs, ours) = two("listen_wakes").await;
    let (end, _run) = start(&Sentinel::new(theirs), "k").await;
    let (blind, client) = Blind::client(&ours);
    let joined = [join(&client, "k"), join(&client, "k")];
    until("it listens", || ours.is_listening(&address("k"))).await;
    until("it has looked", || blind.0.polls.load(Ordering::SeqCst) > 0).await;
    end.send(()).unwrap();
    for joined in joined {
        assert_replayed(joined).await;
    }
}

#[tokio::test]
async fn a_wait_reports_whether_it_was_subscribed() {
    let store = open("listen_notices").await;
    let at = address("k");
    let first = store.changed(&at, MINUTE).await;
    assert_eq!(
        first,
        Notice::Listening,
        "it ends when the subscription was taken: what changed before was not told"
    );
    assert!(store.is_listening(&at));
    assert_eq!(store.changed(&at, SECOND / 10).await, Notice::Listening);
}

/// What the server's subscribers listen on, by the beginnings of their names.
fn channels(server: &Redis, prefix: &str) -> String {
    server.cli(&["PUBSUB", "CHANNELS", &format!("{prefix}:*")])
}

/// How many connections subscribe.
fn subscribers(server: &Redis) -> usize {
    server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().filter(|line| !line.is_empty()).count()
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
    assert!(channels(redis(), "listen_last").ends_with(":r:e:k"), "somebody still waits");
    long.abort();
    until("the last one's has ended", || channels(redis(), "listen_last").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listening_connection_that_was_killed_is_replaced() {
    let server = Redis::start(Options::default());
    let (theirs, ours) =
        (RedisStore::init(&server.url()).await.unwrap(), RedisStore::init(&server.url()).await.unwrap());
    let (end, _run) = start(&Sentinel::new(theirs), "k").await;
    let (_, client) = Blind::client(&ours);
    let joined = join(&client, "k");
    until("it listens", || ours.is_listening(&address("k"))).await;
    for _ in 0..3 {
        let before = server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        let replaced = || {
            let now = server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
            let id = |text: &str| text.split(' ').next().map(str::to_owned);
            !now.is_empty() && id(&now) != id(&before) && ours.is_listening(&address("k"))
        };
        until("another listens", replaced).await;
    }
    end.send(()).unwrap();
    assert_replayed(joined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_unsubscribes() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    assert_eq!(subscribers(&server), 0, "nobody has waited yet");
    assert_eq!(store.changed(&address("k"), MINUTE).await, Notice::Listening);
    assert_eq!(subscribers(&server), 1);
    drop(store);
    until("its connection has ended", || subscribers(&server) == 0).await;
}

#[test]
fn a_waiter_on_another_runtime_is_notified() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let store = first.block_on(open("listen_runtimes"));
    assert_eq!(first.block_on(store.changed(&address("k"), MINUTE)), Notice::Listening);
    drop(first);
    let second = runtime();
    assert!(!store.is_listening(&address("k")), "it ended with its runtime");
    assert_eq!(second.block_on(store.changed(&address("k"), MINUTE)), Notice::Listening);
}

#[tokio::test]
async fn a_user_without_pubsub_rights_polls() {
    // Everything, but no channel.
    let server = Redis::start(Options::default().acl("app", "hunter2", "~* +@all resetchannels"));
    let url = server.url_for("app", "hunter2");
    let (theirs, ours) = (RedisStore::init(&url).await.unwrap(), RedisStore::init(&url).await.unwrap());
    let (end, run) = start(&Sentinel::new(theirs), "k").await;
    let joined = join(&Sentinel::new(ours.clone()), "k");
    assert_eq!(ours.changed(&address("k"), SECOND / 5).await, Notice::Polling);
    assert!(!ours.is_listening(&address("k")));
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)), "a result is recorded, told or not");
    assert_replayed(joined).await;
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
fn say(store: &RedisStore, key: &str, what: &[u8]) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let mut cli: Command = redis().command("redis-cli");
    let done =
        cli.arg("-e").args(["PUBLISH", &store.channel_name(&address(key))]).arg(OsStr::from_bytes(what));
    assert!(done.output().unwrap().status.success());
}

#[tokio::test]
async fn foreign_messages_are_harmless() {
    let (theirs, ours) = two("listen_noise").await;
    let (end, _run) = start(&Sentinel::new(theirs), "k").await;
    let joined = join(&Sentinel::new(ours.clone()), "k");
    until("it listens", || ours.is_listening(&address("k"))).await;
    let long = [b'x'; 100_000];
    for noise in [&b""[..], b"d", b"\xff\xfe\xc0", b"completed\r\n+OK\r\n", &long] {
        let waiting = ours.clone();
        let reply = tokio::spawn(async move { wait(&waiting, &address("k")).await });
        until("it was told", || {
            say(&ours, "k", noise);
            reply.is_finished()
        })
        .await;
        assert_eq!(reply.await.unwrap(), Notice::Changed);
        assert!(!joined.is_finished());
    }
    end.send(()).unwrap();
    assert_replayed(joined).await;
}

const ENDS: [&str; 8] =
    ["complete", "cancel", "release", "abandon", "reconcile", "force_complete", "reset_to_claimed", "evict"];

/// A claimed record that can be ended by this operation.
async fn prepare(store: &RedisStore, at: &Address, end: &str) -> (Token, ClaimId) {
    let phase = if at.kind == Kind::Lease { Phase::Claimed } else { Phase::Executing };
    let claim = Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(MINUTE * 10, MINUTE * 10).unwrap(),
        retention: None,
        fingerprint: None,
        worker: label(),
        phase,
        accepts: sentinel_core::Accepts::any(),
    };
    let ClaimReply::Granted(granted) = store.claim(at, &claim).await.unwrap().reply else {
        panic!("no grant")
    };
    let grant = Grant { token: granted.token, claim_id: claim.claim_id };
    if matches!(end, "reconcile" | "force_complete" | "reset_to_claimed") {
        store
            .abandon(at, &Abandon { grant, cause: label(), late_effects: std::time::Duration::ZERO })
            .await
            .unwrap();
    }
    if matches!(end, "force_complete" | "reset_to_claimed") {
        let taken = store.reconcile(at, &reconcile(grant.token)).await.unwrap();
        return (taken.stamp.token, claim.claim_id);
    }
    (grant.token, claim.claim_id)
}

fn label() -> Label {
    Label::new("somebody").unwrap()
}

fn reconcile(expect: Token) -> Reconcile {
    let (op_id, operator) = (OpId::random(), label());
    Reconcile { op_id, operator, reason: None, expect, even_if_alive: false, steal: false }
}

/// Ends it; whether that changed the record.
async fn end(store: &RedisStore, at: &Address, end: &str, token: Token, claim_id: ClaimId) -> bool {
    let (grant, op_id, operator) = (Grant { token, claim_id }, OpId::random(), label());
    let result = Recorded::success(Payload::empty());
    let stamp = match end {
        "complete" => store.complete(at, &Complete { grant, result }).await.unwrap().stamp,
        "cancel" => store.cancel(at, &Cancel { claim_id }).await.unwrap().stamp,
        "release" => store.release(at, &Release { grant, vouched: true }).await.unwrap().stamp,
        "abandon" => {
            store
                .abandon(at, &Abandon { grant, cause: label(), late_effects: std::time::Duration::ZERO })
                .await
                .unwrap()
                .stamp
        }
        "reconcile" => store.reconcile(at, &reconcile(token)).await.unwrap().stamp,
        "force_complete" => {
            let force = ForceComplete { op_id, token, operator, reason: None, result, as_is: false };
            store.force_complete(at, &force).await.unwrap().stamp
        }
        "reset_to_claimed" => {
            let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: false };
            store.reset_to_claimed(at, &reset).await.unwrap().stamp
        }
        "evict" => {
            let evict = Evict { op_id, operator, reason: None, expect: token };
            store.evict(at, &evict).await.unwrap().stamp
        }
        other => panic!("no way to end a run: {other}"),
    };
    stamp.changed
}

#[tokio::test]
async fn every_operation_that_ends_a_run_notifies_waiters() {
    let (theirs, ours) = two("listen_ends").await;
    for how in ENDS {
        let at = match how {
            "evict" => Address::lease(Namespace::new("default").unwrap(), Key::new(how).unwrap()),
            _ => address(how),
        };
        let (token, claim_id) = prepare(&theirs, &at, how).await;
        assert_eq!(ours.changed(&at, MINUTE).await, Notice::Listening);
        let (store, address) = (ours.clone(), at.clone());
        let mut waiting = Box::pin(async move { store.changed(&address, MINUTE).await });
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(end(&theirs, &at, how, token, claim_id).await, "{how} changed nothing");
        assert_eq!(waiting.await, Notice::Changed, "{how}");
    }
}

fn address(key: &str) -> Address {
    Address::execution(Namespace::new("default").unwrap(), Key::new(key).unwrap())
}

/// Waits until a message came, for a minute at most.
async fn wait(store: &RedisStore, at: &Address) -> Notice {
    // It ends early when the subscription is taken.
    match store.changed(at, MINUTE).await {
        Notice::Changed => Notice::Changed,
        _ => store.changed(at, MINUTE).await,
    }
}
