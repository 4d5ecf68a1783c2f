//! Faults of a server, and of the network before it.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, ErrorKind, Grant, StoreError};
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_store_tests::crash;
use sentinel_store_tests::fixtures::*;
use sentinel_store_tests::load::{Load, is_kept};
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Mode, PgBouncer, Postgres, Proxy, postgres, until};
use sqlx::{Connection as _, PgConnection};

use crate::fixtures::starts;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let server = Postgres::start(Options::default());
    PostgresStore::builder(&server.url()).init().await.unwrap();
    for round in 0..10_usize {
        let store = PostgresStore::connect(&server.url()).await.unwrap();
        let load = Load::start(std::slice::from_ref(&store), &round.to_string());
        let moment = 1 + (round * 97) % 211;
        until("enough was acknowledged", || load.count() >= moment);
        if round % 2 == 0 {
            server.kill9();
            server.start_again();
        } else {
            let ours = "select pid from pg_stat_activity where application_name = 'sentinel' \
                        order by random() limit 1";
            let before = starts(&server);
            // One that was chosen may have ended by itself: then another.
            until("a backend is killed", || server.try_kill_backend(server.psql(ours).parse().unwrap()));
            until("it has recovered", || starts(&server) > before);
        }
        // The same store continues without any intervention.
        let before = load.count();
        until("it goes on", || load.count() > before);
        let log = load.end().await;
        let new_client = PostgresStore::connect(&server.url()).await.unwrap();
        for entry in &log {
            is_kept(&store, entry).await;
            is_kept(&new_client, entry).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_server_was_killed_meanwhile_records_its_result() {
    let server = Arc::new(Postgres::start(Options::default()));
    let store = PostgresStore::builder(&server.url()).init().await.unwrap();
    let victim = server.clone();
    crash::a_worker_whose_server_was_killed_meanwhile_records_its_result(store, move || {
        victim.kill9();
        victim.start_again();
    })
    .await;
}

#[tokio::test]
async fn idle_connections_that_a_restart_has_cut_cost_no_answer() {
    let server = Postgres::start(Options::default());
    let store = PostgresStore::builder(&server.url()).init().await.unwrap();
    for n in 0..8 {
        hold(&store, &execution(&format!("before {n}")), Phase::Executing).await;
    }
    // For each statement that an operation can use.
    let (done, held, leased) = (execution("done"), execution("held"), lease("leased"));
    let grant = hold(&store, &done, Phase::Executing).await;
    store.complete(&done, &complete(grant, "done")).await.unwrap();
    let begin = Begin { grant: hold(&store, &held, Phase::Claimed).await };
    let release = Release { grant: hold(&store, &leased, Phase::Claimed).await, vouched: false };
    let idle = async || {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(6)).await;
        tokio::time::resume();
    };
    server.stop(Mode::Fast);
    idle().await;
    is_not_applied(store.claim(&execution("down"), &fused()).await, ErrorKind::Unreachable);
    is_not_applied(store.claim(&done, &fused()).await, ErrorKind::Unreachable);
    is_not_applied(store.claim(&leased, &call()).await, ErrorKind::Unreachable);
    is_not_applied(store.begin(&held, &begin).await, ErrorKind::Unreachable);
    is_not_applied(store.release(&leased, &release).await, ErrorKind::Unreachable);
    is_not_applied(store.complete(&held, &complete(begin.grant, "down")).await, ErrorKind::Unreachable);
    server.start_again();
    for n in 0..8 {
        hold(&store, &execution(&format!("after {n}")), Phase::Executing).await;
    }
}

#[tokio::test]
async fn one_broken_connection_does_not_break_the_others() {
    let server = Postgres::start(Options::default());
    let store = PostgresStore::builder(&server.url()).init().await.unwrap();
    let held = hold(&store, &execution("held"), Phase::Claimed).await;
    for _ in 0..8 {
        store.begin(&execution("held"), &Begin { grant: held }).await.unwrap();
    }
    server.stop(Mode::Fast);
    server.start_again();
    let mut lost = 0;
    for _ in 0..8 {
        match store.begin(&execution("held"), &Begin { grant: held }).await {
            Ok(again) => assert!(!again.stamp.changed),
            lost_reply => {
                is_ambiguous(lost_reply);
                lost += 1;
            }
        }
    }
    assert!(lost <= 1, "{lost} replies were lost");
}

#[tokio::test]
async fn behind_a_pooler_what_breaks_before_the_statement_is_not_applied() {
    let server = Postgres::start(Options::default());
    let bouncer = PgBouncer::start(&server, Default::default());
    let store = PostgresStore::builder(&bouncer.url()).deadline(SOON).init().await.unwrap();
    let (address, grant) = (execution("held"), hold(&store, &execution("held"), Phase::Claimed).await);
    let begin = async || store.begin(&address, &Begin { grant }).await;
    for _ in 0..8 {
        begin().await.unwrap();
    }
    bouncer.stop();
    bouncer.start_again();
    is_not_applied(begin().await, ErrorKind::Unreachable);
    for _ in 0..8 {
        begin().await.unwrap();
    }
    server.pause();
    is_not_applied(begin().await, ErrorKind::Unreachable);
    server.resume();
    let again = PostgresStore::connect(&bouncer.url()).await.unwrap();
    again.begin(&address, &Begin { grant }).await.unwrap();
}

/// A store behind a proxy, with all its connections made and its statements prepared.
async fn behind(proxy: &Proxy, deadline: Duration, schema: &str) -> PostgresStore {
    let url = postgres().url_at(proxy.port(), "postgres", "testbed", "postgres");
    let url = format!("{url}?application_name={schema}");
    let store = PostgresStore::builder(&url).schema(schema).deadline(deadline).init().await.unwrap();
    for n in 0..8 {
        let grant = hold(&store, &execution(&format!("first {n}")), Phase::Claimed).await;
        store.begin(&execution(&format!("first {n}")), &Begin { grant }).await.unwrap();
        let claim = fused();
        store.claim(&execution(&format!("fused {n}")), &claim).await.unwrap();
    }
    store
}

fn rows(schema: &str, key: &str) -> String {
    postgres().psql(&format!("select state from {schema}.records where key = '{key}'"))
}

/// Claims one key after the other, each with the next byte of a direction cut off, until the cut hits the claim, and
/// not a reply to another connection of the store; returns that claim.
async fn cut_off(store: &PostgresStore, cut: impl Fn()) -> (Address, Claim) {
    for n in 0.. {
        let (address, claim) = (execution(&format!("key {n}")), fused());
        cut();
        if let Err(error) = store.claim(&address, &claim).await {
            is_ambiguous::<()>(Err(error));
            return (address, claim);
        }
    }
    unreachable!("there is a next number");
}

#[tokio::test]
async fn a_lost_request_is_ambiguous_and_is_sent_again() {
    let proxy = Proxy::start(postgres().port());
    let store = behind(&proxy, AT_LAST, "lost_request").await;
    let (address, claim) = cut_off(&store, || proxy.requests().cut_after(0)).await;
    assert_eq!(rows("lost_request", address.key.as_str()), "");
    let again = store.claim(&address, &claim).await.unwrap();
    assert!(matches!(again.reply, ClaimReply::Granted(_)) && again.stamp.changed, "{again:?}");
}

#[tokio::test]
async fn a_lost_reply_is_ambiguous_and_the_same_request_is_answered_the_same() {
    let proxy = Proxy::start(postgres().port());
    let store = behind(&proxy, AT_LAST, "lost_reply").await;
    let (address, claim) = cut_off(&store, || proxy.replies().cut_after(0)).await;
    assert_eq!(rows("lost_reply", address.key.as_str()), "executing");
    let again = store.claim(&address, &claim).await.unwrap();
    assert!(matches!(again.reply, ClaimReply::Granted(_)) && !again.stamp.changed, "{again:?}");
}

#[tokio::test]
async fn a_late_duplicate_creates_no_record() {
    let proxy = Proxy::start(postgres().port());
    let store = behind(&proxy, SOON, "late").await;
    let direct = PostgresStore::builder(&postgres().url()).schema("late").open().await.unwrap();
    let (address, claim) = (execution("key"), fused());
    proxy.requests().hold();
    is_ambiguous(store.claim(&address, &claim).await);
    assert_eq!(rows("late", "key"), "", "it has not arrived");
    let cancelled = direct.cancel(&address, &Cancel { claim_id: claim.claim_id }).await.unwrap();
    assert_eq!(cancelled.reply, CancelReply::Cancelled);
    let before = proxy.requests().passed();
    drop(store);
    proxy.heal();
    let ours = "select count(*) from pg_stat_activity where application_name = 'late' and state <> 'idle'";
    until("it has arrived", || proxy.requests().passed() > before && proxy.requests().waiting() == 0);
    until("it was carried out", || postgres().psql(ours) == "0");
    assert_eq!(rows("late", "key"), "free");
    let again = direct.claim(&address, &claim).await.unwrap();
    assert_eq!(again.reply, ClaimReply::AlreadyReleased);
}

#[tokio::test]
async fn an_unresponsive_server_times_out_and_is_used_again_when_it_is_back() {
    let server = Postgres::start(Options::default());
    let store = PostgresStore::builder(&server.url()).deadline(SOON).init().await.unwrap();
    let (address, claim) = (execution("key"), call());
    let grant = granted(&claim, &store.claim(&address, &claim).await.unwrap().reply);
    for n in 0..8 {
        let grant = hold(&store, &execution(&format!("first {n}")), Phase::Claimed).await;
        store.begin(&execution(&format!("first {n}")), &Begin { grant }).await.unwrap();
    }
    server.pause();
    let within = tokio::time::timeout(AT_LAST, store.begin(&address, &Begin { grant })).await;
    is_ambiguous(within.expect("it is given up"));
    // Its connection is gone, and so is trust in the others.
    let opened = PostgresStore::builder(&server.url()).deadline(SOON).open();
    is_not_applied(
        tokio::time::timeout(AT_LAST, opened).await.expect("it is given up"),
        ErrorKind::Unreachable,
    );
    let within = tokio::time::timeout(AT_LAST, store.inspect(&address)).await.expect("it is given up");
    assert!(within.is_err());
    server.resume();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let begun = store.begin(&address, &Begin { grant }).await.unwrap();
    assert!(matches!(begun.reply, BeginReply::Begun(_)), "{begun:?}");
}

/// A row that a transaction holds, and a store that waits for it.
async fn held_row(schema: &str, lock_timeout: Duration) -> (PgConnection, PostgresStore, Grant) {
    let builder: PostgresStoreBuilder = PostgresStore::builder(&postgres().url()).schema(schema);
    let store = builder.deadline(AT_LAST).lock_timeout(lock_timeout).init().await.unwrap();
    let grant = hold(&store, &execution("key"), Phase::Claimed).await;
    let mut holder = PgConnection::connect(&postgres().url()).await.unwrap();
    let lock = format!("begin; select 1 from {schema}.records for update");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut holder).await.unwrap();
    (holder, store, grant)
}

/// Ends the statement that waits for the row by a function of the server.
async fn ended_by<T, F>(
    schema: &str,
    function: &str,
    ask: impl FnOnce(PostgresStore, Grant) -> F,
) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let (holder, store, grant) = held_row(schema, Duration::from_secs(60)).await;
    let waiting = tokio::spawn(ask(store, grant));
    // Each: what was rolled back in a batch is sent again alone.
    let sql = format!(
        "select {function}(pid) from pg_stat_activity where wait_event_type = 'Lock' \
         and query like '%\"{schema}\"%'"
    );
    until("it is ended", || {
        postgres().psql(&sql);
        waiting.is_finished()
    });
    let answer = waiting.await.unwrap();
    drop(holder);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_rolled_back_is_not_applied_and_what_it_cut_off_is_ambiguous() {
    let (_holder, store, grant) = held_row("impatient", Duration::from_millis(50)).await;
    is_not_applied(store.begin(&execution("key"), &Begin { grant }).await, ErrorKind::Busy);
    let begin =
        |store: PostgresStore, grant| async move { store.begin(&execution("key"), &Begin { grant }).await };
    is_not_applied(ended_by("cancelled", "pg_cancel_backend", begin).await, ErrorKind::Busy);
    is_ambiguous(ended_by("terminated", "pg_terminate_backend", begin).await);
}

/// Of a row that another transaction holds, a heartbeat replies `Unknown`; of a connection that broke, it does not
/// state even that.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_waited_for_its_row_reports_what_ended_it() {
    let beat = |store: PostgresStore, grant| async move {
        store.heartbeat(&[Beat { address: execution("key"), grant }]).await
    };
    let reply = ended_by("beat_cancelled", "pg_cancel_backend", beat).await.unwrap();
    assert!(matches!(reply[..], [Stamped { reply: HeartbeatReply::Unknown, .. }]), "{reply:?}");
    is_ambiguous(ended_by("beat_terminated", "pg_terminate_backend", beat).await);
}

#[tokio::test]
async fn a_server_without_a_free_connection_cannot_be_reached() {
    postgres().psql("create role crowd login password 'hush' connection limit 0");
    let opened = PostgresStore::connect(&postgres().url_for("crowd", "hush", "postgres")).await;
    let error = opened.as_ref().expect_err("there is no connection").to_string();
    assert!(error.contains("too many connections") && !error.contains("hush"), "{error}");
    is_not_applied(opened, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let opened = PostgresStore::connect(&format!("{}?sslmode=require", postgres().url())).await;
    is_not_applied(opened, ErrorKind::Unreachable);
}

/// What happens to each row that changes, of this kind or of any.
fn at_each_change(schema: &str, of: &str, does: &str) {
    postgres().psql(&format!(
        "create or replace function {schema}.struck() returns trigger language plpgsql as $$ begin {does} end $$;
         create or replace trigger struck before update on {schema}.records \
         for each row {of} execute function {schema}.struck()"
    ));
}

#[tokio::test]
async fn a_failed_heartbeat_is_not_reported_for_another_lease() {
    let schema = "beaten";
    let store = PostgresStore::builder(&postgres().url()).schema(schema).init().await.unwrap();
    let mut beats = Vec::new();
    for address in [execution("key"), lease("key")] {
        let grant = hold(&store, &address, Phase::Claimed).await;
        beats.push(Beat { address, grant });
    }
    let rolls_back = "raise exception 'struck';";
    at_each_change(schema, "when (new.kind = 'lease')", rolls_back);
    let replies = store.heartbeat(&beats).await.unwrap();
    assert!(
        matches!(replies[0].reply, HeartbeatReply::Kept { .. }) && replies[0].stamp.changed,
        "{replies:?}"
    );
    assert_eq!(replies[1].reply, HeartbeatReply::Unknown);
    at_each_change(
        schema,
        "when (new.kind = 'lease')",
        "perform pg_terminate_backend(pg_backend_pid()); return new;",
    );
    is_ambiguous(store.heartbeat(&beats).await);
    at_each_change(schema, "", rolls_back);
    is_not_applied(store.heartbeat(&beats).await, ErrorKind::BrokenStore);
}
