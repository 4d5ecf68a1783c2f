//! The README's Rust about PostgreSQL is compiled and run: its lines, imports too, are in this file.

use sentinel::postgres::TransactionOutcome;
use sentinel::postgres::{Fence, Rejection};
use sentinel::prelude::*;
use sentinel_client::{Lease, ReplayedFailure};
use sentinel_testbed::postgres;
use sqlx::postgres::PgPool;
use sqlx::{Connection as _, PgConnection};

use crate::transaction::Bed;

fn announce(entry: i32) -> String {
    format!("booked {entry}")
}

fn report(error: sqlx::Error) -> String {
    error.to_string()
}

fn refuse(failure: ReplayedFailure) -> String {
    failure.to_string()
}

fn come_back_later() -> String {
    "later".to_owned()
}

fn reconcile(token: sentinel_core::Token) -> String {
    token.to_string()
}

async fn book(db: &mut PgConnection, invoice: &i32) -> Result<i32, sqlx::Error> {
    let sql = "INSERT INTO readme_invoices VALUES ($1)";
    sqlx::query(sql).bind(invoice).execute(db).await.map(|_| *invoice)
}

type Broken = Box<dyn std::error::Error>;

#[rustfmt::skip]
async fn opened() -> Result<(PgPool, PostgresStore, Sentinel), Broken> {
    let url = "postgres://app:secret@db/app";
    let pool = PgPool::connect(url).await?;            // yours
    let store = PostgresStore::connect(url).await?;    // opens connections of its own
    let sentinel = Sentinel::new(store.clone()).namespace("billing")?;
    Ok((pool, store, sentinel))
}

/// How the README takes the lease under which it writes. The test below takes it with a store of its own.
#[expect(dead_code, reason = "it is compiled; its address leads nowhere")]
#[rustfmt::skip]
async fn taken(url: &str, store: &PostgresStore) -> Result<String, Broken> {
    let mut db = PgConnection::connect(url).await?;
    let bank = Sentinel::new(store.clone()).namespace("bank")?;
    let LeaseOutcome::Held(lease) = bank.lease("account-42").acquire().await? else { return Ok(come_back_later()) };
    db.ping().await?;
    drop(write(&lease, db).await);
    Ok(String::new())
}

#[rustfmt::skip]
async fn booked(pool: &PgPool, sentinel: &Sentinel, invoice: i32) -> Result<String, Broken> {
    let mut tx = pool.begin().await?;
    Ok(
    match sentinel.once_in_transaction(&mut tx, "invoice-42").run(async |db| book(db, &invoice).await).await? {
        TransactionOutcome::Pending(entry) => announce(entry.commit(tx).await?), // booking and record: both, or neither
        TransactionOutcome::Replayed(entry) => announce(entry),
        TransactionOutcome::Undone(error) => report(error),                       // it failed; its writes are undone
        TransactionOutcome::Failed(failure) => refuse(failure),                   // it failed for good before
        TransactionOutcome::InProgress(_) | TransactionOutcome::Reconciling(_) => come_back_later(),
        TransactionOutcome::Uncertain(doubt) => reconcile(doubt.token),           // a run outside a transaction is lost
    }
    )
}

#[rustfmt::skip]
async fn migrate(store: &PostgresStore, mut db: PgConnection) -> Result<PgConnection, Broken> {
    // Once, in a migration: accounts has the columns sentinel_token bigint and sentinel_address text.
    store.create_fence(&mut db, &Fence::new("accounts", ["id"])).await?;
    Ok(db)
}

/// Whether a newer holder has written.
#[rustfmt::skip]
async fn write(lease: &Lease, mut db: PgConnection) -> (bool, PgConnection) {
    // Each write names its token, and the address of its lease.
    let fence = lease.fence();
    let update = "UPDATE accounts SET balance = $2, sentinel_token = $3, sentinel_address = $4 WHERE id = $1";
    let written = sqlx::query(update)
        .bind(42).bind(100).bind(fence.token).bind(&fence.address)
        .execute(&mut db).await;
    if let Err(error) = &written && Rejection::of(error) == Some(Rejection::StaleToken) {
        // A newer holder has written: this worker was paused for too long. Nothing was changed.
        return (true, db);
    }
    written.unwrap();
    (false, db)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_readmes_blocks_are_those_that_are_compiled() {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once("\n## On PostgreSQL\n").unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    let here = lines(include_str!("readme.rs"));
    let blocks: Vec<_> =
        section.split("```rust\n").skip(1).map(|text| text.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 2);
    drop(opened());
    for line in blocks.into_iter().flat_map(lines) {
        assert!(here.contains(&line), "not compiled here: {line}");
    }
}

#[tokio::test]
async fn the_readmes_booking_is_made_once() {
    let bed = Bed::new("readme_invoices").await;
    let pool = PgPool::connect(&postgres().url()).await.unwrap();
    for _ in 0..2 {
        let reply = booked(&pool, &bed.sentinel(), 42).await.unwrap();
        assert_eq!(reply, "booked 42");
    }
    assert_eq!(bed.written(), "42");
}

#[tokio::test]
async fn the_readmes_paused_worker_cannot_write() {
    let bed = Bed::new("readme_fence").await;
    let db = bed.connect().await;
    postgres().psql(
        "DROP TABLE IF EXISTS accounts; DELETE FROM txn.fences WHERE fence = 'public.accounts'; \
         CREATE TABLE accounts (id int PRIMARY KEY, balance int, sentinel_token bigint, sentinel_address text); \
         INSERT INTO accounts VALUES (42, 0)",
    );
    let db = migrate(&bed.store, db).await.unwrap();
    let bank = Sentinel::new(bed.store.clone()).namespace("bank").unwrap();
    let take = async || match bank.lease("account-42").acquire().await.unwrap() {
        LeaseOutcome::Held(lease) => lease,
        other => panic!("{other:?}"),
    };
    let paused = take().await;
    let (stale, db) = write(&paused, db).await;
    assert!(!stale);
    // An operator takes the key away; the next holder writes.
    postgres().psql("UPDATE txn.records SET lease_until = last_now WHERE namespace = 'bank'");
    let second = take().await;
    let (stale, db) = write(&second, db).await;
    assert!(!stale);
    let (stale, _) = write(&paused, db).await;
    assert!(stale, "the first worker wakes up, and goes on where it was");
    let _ = second.release().await;
}
