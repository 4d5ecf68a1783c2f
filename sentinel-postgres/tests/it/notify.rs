//! Notifications: waiters for a run of another process. The tests that any store with notifications passes are in
//! [`sentinel_store_tests::notify`].

use std::collections::BTreeSet;

use async_trait::async_trait;
use sentinel_client::{Outcome, Sentinel};
use sentinel_core::Address;
use sentinel_core::store::Notice;
use sentinel_postgres::PostgresStore;
use sentinel_store_tests::notify::{
    Blind, MINUTE, Notifying, address, assert_replayed, join, start, until, wait, waiters_poll,
};
use sentinel_testbed::{PgBouncer, pgbouncer, postgres};
use sqlx::postgres::{PgListener, PgPoolOptions};

sentinel_store_tests::notify_tests!(Schema);

/// A schema of the shared server. The sessions of its stores have its name.
struct Schema(String);

#[async_trait]
impl Notifying for Schema {
    type Store = PostgresStore;

    fn start(name: &str) -> Self {
        Self(format!("notify_{name}"))
    }

    async fn open(&self) -> PostgresStore {
        let url = postgres().url();
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}application_name={}", self.0);
        PostgresStore::builder(&url).schema(&self.0).init().await.unwrap()
    }

    fn is_listening(theirs: &PostgresStore, ours: &PostgresStore, _: &Address) -> bool {
        theirs.is_listening() && ours.is_listening()
    }

    fn knows_of_a_waiter(store: &PostgresStore) -> bool {
        store.wanted() > 0
    }

    fn listeners(&self) -> BTreeSet<String> {
        let pids = postgres().psql(&format!(
            "SELECT pid FROM pg_stat_activity \
             WHERE application_name = '{}' AND (query LIKE 'LISTEN%' OR query LIKE '%pg_notify(%')",
            self.0
        ));
        pids.lines().map(str::to_owned).collect()
    }

    fn kill(&self, listeners: &BTreeSet<String>) {
        let pids: Vec<&str> = listeners.iter().map(String::as_str).collect();
        let pids = pids.join(",");
        postgres().psql(&format!("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{pids}]) AS pid"));
    }
}

/// Two stores of a schema, each as another process has it.
async fn two(name: &str) -> (PostgresStore, PostgresStore) {
    let schema = Schema::start(name);
    (schema.open().await, schema.open().await)
}

/// Another program that listens on the channel of a store, and sends messages there.
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
async fn a_waiter_that_comes_just_after_the_change_is_notified_at_once() {
    let (theirs, ours) = two("late").await;
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
    let (theirs, ours) = two("quiet").await;
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
    let store = Schema::start("local").open().await;
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
    let open = || PostgresStore::builder(&bouncer.url()).schema("notify_pooled").init();
    let (theirs, ours) = (open().await.unwrap(), open().await.unwrap());
    let mut stranger = Stranger::on(&theirs).await;
    waiters_poll::<Schema>(&theirs, &ours).await;
    assert_eq!(stranger.received().await, Vec::<String>::new());
    assert!(!theirs.is_listening() && !ours.is_listening());
}

#[tokio::test]
async fn messages_of_strangers_are_ignored() {
    let (theirs, ours) = two("noise").await;
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
    let (theirs, ours) = two("bound").await;
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
