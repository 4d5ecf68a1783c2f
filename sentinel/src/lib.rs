//! Coordinate work that is **not safe to run twice**: a payment, a webhook, a deploy step, an invoice.
//!
//! [`once`](Sentinel::once) runs a function at most once for a key, across any number of competing workers. All later
//! callers get the recorded result. If a worker disappears after its side effect may have begun, the outcome is
//! *uncertain*. Sentinel reports that and waits for reconciliation; it never runs the work again on its own.
//!
//! # What to pick
//!
//! | You need | Use |
//! |---|---|
//! | work that runs at most once, with a result that later callers get | [`once`](Sentinel::once) |
//! | a right that one worker has at a time, until it releases it or its hard ttl ends | [`lease`](Sentinel::lease) |
//! | a task that one process runs at a time, and another one when that is gone | [`lead`](Sentinel::lead) |
//! | the result of a run that another call makes | [`wait`](Sentinel::wait) |
//! | your own writes to PostgreSQL and the record, in one transaction | `once_in_transaction`, in [`postgres`] |
//!
//! | Store | Feature | For | Keeps its records |
//! |---|---|---|---|
//! | [`MemoryStore`] | `memory` (default) | one process: unit tests | no |
//! | [`SqliteStore`] | `sqlite` | the processes of one host, in one file | yes |
//! | [`PostgresStore`] | `postgres`, `postgres-tls` | processes of all hosts | yes |
//! | [`RedisStore`] | `redis`, `redis-tls` | processes of all hosts | as far as the server does; a loss is detected |
//!
//! [`connect`] opens the store that a URL names. Code that uses a [`Sentinel`] does not depend on the store behind it.
//!
//! # Run something once
//!
//! ```
//! use std::time::Duration;
//!
//! use sentinel::prelude::*;
//!
//! /// Your payment provider. It gets the idempotency key, so that it can detect a repeated request too.
//! async fn charge(cents: u64, idempotency_key: &str) -> Result<String, std::io::Error> {
//!     Ok(format!("{cents} cents under {idempotency_key}"))
//! }
//!
//! async fn pay(sentinel: &Sentinel, invoice: &str) -> Result<String, sentinel::Error> {
//!     let outcome = sentinel
//!         .once(invoice)
//!         .ttl(Duration::from_secs(10))                          // uncertain after 10 s without a heartbeat
//!         .hard_ttl(Duration::from_secs(60))                     // the whole run
//!         .fingerprint(&1999)                                    // the same key for another amount is an error
//!         .nothing_happened_if(|error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused)
//!         .run(|run: Run| async move { charge(1999, &run.idempotency_key()).await })
//!         .await?;
//!     Ok(match outcome {
//!         Outcome::Completed(receipt) | Outcome::Replayed(receipt) => receipt,
//!         Outcome::InProgress(_) | Outcome::NotRun(_) => "try again later".to_owned(),
//!         Outcome::Failed(failure) => format!("not charged: {failure}"),
//!         // The table below has the others. In all of them the charge may have been made.
//!         other => format!("we are checking your payment: {}", other.name()),
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sentinel::Error> {
//! let store = sentinel::connect("memory:").await?; // in production: "postgres://app:secret@db/app"
//! let sentinel = Sentinel::from_arc(store).namespace("billing")?;
//! let receipt = pay(&sentinel, "invoice-42").await?;
//! assert_eq!(pay(&sentinel, "invoice-42").await?, receipt); // the recorded result; nothing was charged again
//! # Ok(())
//! # }
//! ```
//!
//! # What each outcome asks of you
//!
//! | [`Outcome`] | Did this call run? | What to do |
//! |---|---|---|
//! | `Completed(value)` | yes | Use the value. |
//! | `CompletedNotStored(value, _)` | yes | Use the value. Later callers get [`Error::ResultNotStored`]. |
//! | `Replayed(value)` | no, an earlier one did | Use the value, as the earlier call did. |
//! | `Failed(failure)` | see [`Failure`] | The failure is certain. The variant shows whether it can run again. |
//! | `InProgress(_)` | no | Another call runs. Try again later, or set [`wait`](once::Once::wait). |
//! | `Reconciling(_)` | no | An operator is deciding about the key. Try again later. |
//! | `NotRun(reason)` | no, and it never will | Call again with the same key: that is safe. |
//! | `Uncertain(_)` | no, an earlier one may have | Find out what happened, then [`reconcile`] the key. |
//! | `RanUncertain(_)` | yes, its effect is unknown | The same. |
//! | `Unconfirmed(result)` | yes | Use the result. [Drain](Sentinel::drain) the client before the process exits. |
//! | `Superseded(result, _)` | yes | An operator had decided about the key meanwhile. The record counts. |
//!
//! An [`Error`] means that the function did not run. [`fold`](outcome::Fold) makes one of four answers of all of them:
//! done, refused, later, in doubt.
//!
//! # Hold a lease
//!
//! ```
//! use sentinel::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sentinel::Error> {
//! let sentinel = Sentinel::new(MemoryStore::new());
//! // Heartbeats keep the lease up to the hard ttl. Without it a lease ends after its ttl, 30 s.
//! let hour = std::time::Duration::from_secs(3_600);
//! match sentinel.lease("poll-the-bank").hard_ttl(hour).acquire().await? {
//!     LeaseOutcome::Held(lease) => {
//!         // Pass the token with each write: a resource that has seen a greater one refuses a stale worker.
//!         let token = lease.token();
//!         assert!(lease.lost().is_none(), "work on while this is so: {token}");
//!         lease.release().await?;
//!     }
//!     LeaseOutcome::InProgress(_) => println!("another worker polls"),
//!     LeaseOutcome::NotHeld(reason) => println!("{reason}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Test your code
//!
//! [`MemoryStore`] follows the same rules as the other stores and reads tokio's clock, which a test moves:
//!
//! ```
//! # // A doctest has no test harness, so this one runs its test as a function.
//! # mod tokio { pub use ::tokio::{*, main as test}; }
//! use std::time::Duration;
//!
//! use sentinel::prelude::*;
//!
//! #[tokio::test(flavor = "current_thread", start_paused = true)]
//! async fn a_worker_that_vanished_leaves_the_key_uncertain() {
//!     let sentinel = Sentinel::new(MemoryStore::new());
//!     let vanishes = sentinel.once::<std::io::Error>("42").ttl(Duration::from_secs(10));
//!     tokio::spawn(vanishes.run(|_| std::future::pending::<Result<(), _>>()));
//!
//!     tokio::time::sleep(Duration::from_secs(9)).await;
//!     let send = |_| async { Ok::<_, std::io::Error>(()) };
//!     assert!(matches!(sentinel.once("42").run(send).await.unwrap(), Outcome::InProgress(_)));
//!
//!     tokio::time::advance(Duration::from_secs(1)).await;
//!     assert!(matches!(sentinel.once("42").run(send).await.unwrap(), Outcome::Uncertain(_)));
//! }
//! # fn main() { a_worker_that_vanished_leaves_the_key_uncertain() }
//! ```
//!
//! With the feature `testing`, one call runs your function through every crash and every lost message: see [`testing`].
//!
//! # Features
//!
//! | Feature | What it adds |
//! |---|---|
//! | `memory` (default) | [`MemoryStore`] |
//! | `sqlite` | [`SqliteStore`], with SQLite bundled |
//! | `postgres`, `postgres-tls` | [`PostgresStore`]; with TLS by rustls |
//! | `redis`, `redis-tls` | [`RedisStore`]; with TLS by rustls |
//! | `http`, `axum`, `reqwest` | [`http`], the layer for `Idempotency-Key`; with extractors for axum, or a client |
//! | `admin` | [`admin`]: what operators see and decide, as the program prints it |
//! | `testing` | [`testing`], for `[dev-dependencies]`: it turns on what tokio has for tests |
//!
//! # Where the rest is
//!
//! [`prelude`] has what most programs import. [`once`], [`lease`] and [`outcome`] have the requests and the details of
//! their outcomes; [`policy`] has the settings that calls share; [`mod@wait`] waits for another call's run;
//! [`reconcile`] decides about uncertain keys; [`drain`] finishes open work before an exit; [`record`] has what
//! `inspect`, `list` and `history` return; [`codec`] and [`cache`] change how results are stored and replayed.
//! [`deployment`] opens, sets up and checks a store. [`signals`] has metrics, log events and surveys. [`store`] and
//! [`kernel`] are for authors of stores.
//!
//! # When it is not the right tool
//!
//! Work that may safely run twice does not need Sentinel: a queue that retries is simpler. No library can give
//! exactly-once effects in a system that checks neither tokens nor idempotency keys. Sentinel gives at most one run,
//! and reports when its outcome is unknown.

pub mod cache;
pub mod codec;
pub mod deployment;
pub mod drain;
#[cfg(feature = "http")]
pub mod http;
pub mod lease;
pub mod once;
pub mod outcome;
pub mod policy;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod prelude;
pub mod reconcile;
pub mod record;
pub mod signals;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wait;

/// What operators see and decide: views of records, the story of a key, settling an uncertain key.
#[cfg(feature = "admin")]
pub mod admin {
    pub use sentinel_admin::*;
}

/// The Redis store and its settings.
#[cfg(feature = "redis")]
pub mod redis {
    pub use sentinel_redis::{Durability, RedisStore, RedisStoreBuilder, Registration};
}

/// The SQLite store and its settings.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use sentinel_sqlite::{SCHEMA_VERSION, SqliteStore, SqliteStoreBuilder};
}

pub use deployment::{Deployment, connect};
pub use sentinel_client::{Error, Failure, LeaseOutcome, Outcome, Run, Sentinel};
/// The rules of Sentinel, as a pure function: for authors of stores and of tools that judge histories.
pub use sentinel_core::kernel;
pub use sentinel_core::{Key, Namespace};
#[cfg(feature = "memory")]
pub use sentinel_memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use sentinel_postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use sentinel_redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sentinel_sqlite::SqliteStore;
