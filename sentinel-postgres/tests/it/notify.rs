//! Waking those who wait for a run of another process.

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
use sentinel_postgres::PostgresStore;
use sentinel_testbed::{PgBouncer, pgbouncer, postgres};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Told = Outcome<String, String>;

/// A store of its own, as another process would have it, whose sessions go by a name.
async fn open(schema: &str, name: &str) -> PostgresStore {
    let separator = if postgres().url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}application_name={name}", postgres().url());
    PostgresStore::builder(&url).schema(schema).init().await.unwrap()
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

/// A client whose reads of a record return what the first one returned: only a message can notify it that a run has
/// ended.
#[derive(Debug)]
struct Blind {
    store: Arc<dyn CoordinationStore>,
    first: OnceCell<Inspection>,
    looks: AtomicU32,
}

impl Blind {
    fn client(store: &PostgresStore) -> (Arc<Layered<Self>>, Sentinel) {
        let (first, looks) = Default::default();
        let blind = Arc::new(Layered(Self { store: Arc::new(store.clone()), first, looks }));
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
        self.looks.fetch_add(1, Ordering::SeqCst);
        let first = self.first.get_or_try_init(|| self.store.inspect(address)).await?;
        Ok(Inspection { record: first.record.clone(), now: first.now })
    }
}

/// Starts a run that ends on request, and waits until it has begun.
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

/// Another who listens on the channel of a store, and talks there.
struct Stranger {
    listener: PgListener,
    channel: String,
}

impl Stranger {
    async fn on(store: &PostgresStore) -> Self {
        let pool = PgPoolOptions::new().max_connections(1).connect(&postgres().url()).await.unwrap();
        let mut listener = PgListener::connect_with(&pool).await.unwrap();
        listener.listen(store.channel()).await.unwrap();
        Self { listener, channel: store.channel().to_owned() }
    }

    async fn send(&mut self, text: &str) {
        let query = sqlx::query("SELECT pg_notify($1, $2)").bind(&self.channel).bind(text);
        query.execute(&mut self.listener).await.unwrap();
    }

    async fn receive(&mut self) -> String {
        let received =
            tokio::time::timeout(MINUTE, self.listener.recv()).await.expect("a message in a minute");
        received.unwrap().payload().to_owned()
    }

    /// All messages up to now.
    async fn received(&mut self) -> Vec<String> {
        self.send("that was all").await;
        let mut all = Vec::new();
        loop {
            match self.receive().await {
                last if last == "that was all" => return all,
                text => all.push(text),
            }
        }
    }
}

#[tokio::test]
async fn a_result_wakes_waiters_in_another_process() {
    let (theirs, ours) =
        (open("listen_wakes", "listen-wakes").await, open("listen_wakes", "listen-wakes").await);
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let (blind, client) = Blind::client(&ours);
    let joined = [join(&client, "k"), join(&client, "k")];
    until("both listen", || theirs.is_listening() && ours.is_listening()).await;
    until("a process waits", || theirs.wanted() > 0).await;
    assert!(blind.0.looks.load(Ordering::SeqCst) > 0);
    end.send(()).unwrap();
    for joined in joined {
        assert_replayed(joined).await;
    }
}

#[tokio::test]
async fn a_waiter_that_comes_just_after_the_change_is_notified_at_once() {
    let (theirs, ours) = (open("listen_late", "listen-late").await, open("listen_late", "listen-late").await);
    let (end, run) = start(&Sentinel::new(theirs.clone()), "k").await;
    until("it listens", || theirs.is_listening()).await;
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(theirs.wanted(), 0);
    // As if it had read just before the change.
    assert_eq!(wait(&ours, &address("k")).await, Notice::Changed);
}

#[tokio::test]
async fn one_message_reports_a_change_and_none_is_sent_without_a_waiter() {
    let (theirs, ours) =
        (open("listen_quiet", "listen-quiet").await, open("listen_quiet", "listen-quiet").await);
    let mut stranger = Stranger::on(&theirs).await;
    let client = Sentinel::new(theirs.clone());
    let (end, run) = start(&client, "k").await;
    until("it listens", || theirs.is_listening()).await;
    for n in 0..20 {
        let done = client.once::<String>(format!("k{n}")).run(|_| async { Ok("receipt".to_owned()) });
        assert!(matches!(done.await.unwrap(), Outcome::Completed(_)));
    }
    assert_eq!(stranger.received().await, Vec::<String>::new());

    let waiting = tokio::spawn(async move { wait(&ours, &address("k")).await });
    until("a process waits", || theirs.wanted() == 1).await;
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(waiting.await.unwrap(), Notice::Changed);
    let done = client.once::<String>("another").run(|_| async { Ok("receipt".to_owned()) });
    assert!(matches!(done.await.unwrap(), Outcome::Completed(_)));
    let received = stranger.received().await;
    let mut changed: Vec<_> = received.iter().filter(|text| text.starts_with("changed ")).collect();
    // A waiter that repeats its interest in the moment of the change may be answered twice.
    changed.dedup();
    assert_eq!(changed.len(), 1, "{received:?}");
    assert!(
        received.iter().all(|text| !text.contains("k ") && text.len() <= 24),
        "hashes of keys: {received:?}"
    );
}

#[tokio::test]
async fn clients_of_one_store_need_no_message() {
    let store = open("listen_local", "listen-local").await;
    let mut stranger = Stranger::on(&store).await;
    let (end, run) = start(&Sentinel::new(store.clone()), "k").await;
    let (_, client) = Blind::client(&store);
    let joined = join(&client, "k");
    while !stranger.receive().await.starts_with("wanted ") {}
    end.send(()).unwrap();
    assert_replayed(joined).await;
    // The message of its end was sent.
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    let received = stranger.received().await;
    assert!(received.iter().all(|text| text.starts_with("wanted ")), "{received:?}");
}

#[tokio::test]
async fn behind_a_pooler_waiters_poll() {
    // It takes whatever a connection asks for, and passes it on to no session: a LISTEN would succeed, and receive
    // nothing.
    let options = pgbouncer::Options::default().ignore_startup_parameters("options,extra_float_digits");
    let bouncer = PgBouncer::start(postgres(), options);
    let open = || PostgresStore::builder(&bouncer.url()).schema("listen_pooled").init();
    let (theirs, ours) = (open().await.unwrap(), open().await.unwrap());
    let mut stranger = Stranger::on(&theirs).await;
    let (end, run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let joined = join(&Sentinel::new(ours.clone()), "k");
    assert_eq!(ours.changed(&address("k"), Duration::from_millis(100)).await, Notice::Polling);
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    assert_replayed(joined).await;
    assert_eq!(stranger.received().await, Vec::<String>::new());
    assert!(!theirs.is_listening() && !ours.is_listening());
}

/// The backends that listen under a name.
fn listening(name: &str) -> String {
    postgres().psql(&format!(
        "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity \
         WHERE application_name = '{name}' AND (query LIKE 'LISTEN%' OR query LIKE '%pg_notify(%')"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listening_connection_that_was_killed_is_replaced() {
    let (theirs, ours) =
        (open("listen_killed", "listen-killed").await, open("listen_killed", "listen-killed").await);
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let (_, client) = Blind::client(&ours);
    let joined = join(&client, "k");
    until("both listen", || theirs.is_listening() && ours.is_listening()).await;
    let before = listening("listen-killed");
    assert_eq!(before.split(',').count(), 2, "{before}");
    postgres().psql(&format!("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{before}]) AS pid"));
    let replaced = || {
        let now = listening("listen-killed");
        now.split(',').filter(|pid| !pid.is_empty() && !before.split(',').any(|old| old == *pid)).count() == 2
    };
    until("two others listen", replaced).await;
    until("both have noticed", || theirs.is_listening() && ours.is_listening()).await;
    end.send(()).unwrap();
    assert_replayed(joined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_listens_no_more() {
    let store = open("listen_gone", "listen-gone").await;
    let (end, run) = start(&Sentinel::new(store.clone()), "k").await;
    until("it listens", || store.is_listening()).await;
    assert_ne!(listening("listen-gone"), "");
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    drop(store);
    until("its session has ended", || listening("listen-gone").is_empty()).await;
}

#[tokio::test]
async fn messages_of_strangers_are_ignored() {
    let (theirs, ours) =
        (open("listen_noise", "listen-noise").await, open("listen_noise", "listen-noise").await);
    let mut stranger = Stranger::on(&theirs).await;
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    until("it listens", || theirs.is_listening()).await;
    let long = "wanted".to_owned() + &" x".repeat(3_900);
    for noise in
        ["", "hello", "wanted", "wanted all", "changed 1", "changed ffffffffffffffff", "\u{1F980}", &long]
    {
        stranger.send(noise).await;
    }
    stranger.send("wanted 00000000000000aa").await;
    until("the last one was received", || theirs.wanted() > 0).await;
    assert_eq!(theirs.wanted(), 1);
    let (_, client) = Blind::client(&ours);
    let joined = join(&client, "k");
    until("a process waits", || theirs.wanted() == 2).await;
    end.send(()).unwrap();
    assert_replayed(joined).await;
}

#[tokio::test]
async fn what_other_processes_wait_for_is_bounded() {
    let (theirs, ours) =
        (open("listen_bound", "listen-bound").await, open("listen_bound", "listen-bound").await);
    let mut stranger = Stranger::on(&theirs).await;
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    until("it listens", || theirs.is_listening()).await;
    for page in 0..12 {
        let hashes: String = (0..400).map(|n| format!(" {:016x}", 1 + page * 400 + n)).collect();
        stranger.send(&format!("wanted{hashes}")).await;
    }
    until("the list is full", || theirs.wanted() == 4_096).await;
    // A waiter above the limit polls.
    let joined = join(&Sentinel::new(ours.clone()), "k");
    until("it waits", || ours.is_listening()).await;
    end.send(()).unwrap();
    assert_replayed(joined).await;
    assert!(theirs.wanted() <= 4_096);
}

const ENDS: [&str; 8] =
    ["complete", "cancel", "release", "abandon", "reconcile", "force_complete", "reset_to_claimed", "evict"];

/// A record that a worker has claimed, and that can be ended in this way.
async fn prepare(store: &PostgresStore, at: &Address, end: &str) -> (Token, ClaimId) {
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
async fn end(store: &PostgresStore, at: &Address, end: &str, token: Token, claim_id: ClaimId) -> bool {
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
async fn every_end_of_a_run_notifies_waiters() {
    let (theirs, ours) = (open("listen_ends", "listen-ends").await, open("listen_ends", "listen-ends").await);
    for how in ENDS {
        let at = match how {
            "evict" => Address::lease(Namespace::new("default").unwrap(), Key::new(how).unwrap()),
            _ => address(how),
        };
        let (token, claim_id) = prepare(&theirs, &at, how).await;
        until("it listens", || theirs.is_listening()).await;
        // What happened before was notified.
        while ours.changed(&at, SECOND / 5).await != Notice::Listening {}
        let (waiter, place) = (ours.clone(), at.clone());
        let waiting = tokio::spawn(async move { wait(&waiter, &place).await });
        until("a process waits", || theirs.wanted() > 0).await;
        assert!(!waiting.is_finished());
        assert!(end(&theirs, &at, how, token, claim_id).await, "{how} changed nothing");
        assert_eq!(waiting.await.unwrap(), Notice::Changed, "{how}");
    }
}

fn address(key: &str) -> Address {
    Address::execution(Namespace::new("default").unwrap(), Key::new(key).unwrap())
}

/// Waits until a message came; a minute at most, from when the store listens.
async fn wait(store: &PostgresStore, at: &Address) -> Notice {
    for _ in 0..3 {
        // It ends early when the connection is there.
        if store.changed(at, MINUTE).await == Notice::Changed {
            return Notice::Changed;
        }
    }
    Notice::Listening
}
