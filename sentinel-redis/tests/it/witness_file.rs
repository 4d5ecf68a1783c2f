//! Short-lived programs: a change acknowledged to one is checked by the next on the same host.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sentinel_client::{Outcome, Sentinel};
use sentinel_core::operation::{Phase, Release};
use sentinel_core::store::Purge;
use sentinel_core::{CoordinationStore as _, ErrorKind, StoreError};
use sentinel_redis::{RedisStore, RedisStoreBuilder, Registration};
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;
use tempfile::TempDir;

use crate::faults::{AT_LAST, execution, hold};
use crate::harness::REST;

/// A server, and a folder for witness files.
struct Fixture {
    server: Redis,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { server: Redis::start(Options::default()), folder: TempDir::new().unwrap() }
    }

    /// As the next program on this host opens it.
    fn next(&self) -> RedisStoreBuilder {
        RedisStore::builder(&self.server.url()).witness_folder(self.folder.path().join("notes"))
    }

    fn elsewhere(&self) -> RedisStoreBuilder {
        RedisStore::builder(&self.server.url())
    }

    fn witness_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("notes")).map_or(0, |witness_files| witness_files.count())
    }

    /// Has the server write its append-only file anew, and waits until it has.
    fn rewrite(&self) {
        let file = |server: &Redis| server.info("aof_base_size");
        let before = file(&self.server);
        self.server.cli(&["BGREWRITEAOF"]);
        while file(&self.server) == before || self.server.info("aof_rewrite_in_progress") != "0" {
            std::thread::yield_now();
        }
    }

    /// The server crashes, this many bytes of its newest writes are lost, and it is started again.
    fn crash(&self, lost: u64) {
        self.server.kill();
        self.server.cut_append_only_file(lost);
        self.server.start_again();
    }
}

async fn run(store: RedisStore, key: &str) -> Outcome<String, String> {
    let client = Sentinel::new(store);
    client.once::<String>(key).run(|_| async { Ok("receipt".to_owned()) }).await.unwrap()
}

/// Whatever it knew of the key, it is free now.
async fn goes_on(store: &RedisStore) {
    let answered = async {
        while let Err(error) = store.inspect(&execution("k")).await {
            assert!(error.is_worth_repeating(), "{error}");
        }
    };
    tokio::time::timeout(AT_LAST, answered).await.expect("it is answered again");
    hold(store, &execution("k"), Phase::Executing).await;
}

fn doubt(opened: Result<RedisStore, StoreError>) -> String {
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PossibleDataLoss, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_change_lost_after_a_program_ended_is_detected_by_the_next() {
    let fixture = Fixture::new();
    let (store, registration) = fixture.next().register().await.unwrap();
    assert_eq!(
        (registration, fixture.witness_files()),
        (Registration::SetUp, 0),
        "a note is left of a change only"
    );
    assert!(matches!(run(store, "k").await, Outcome::Completed(_)));
    assert_eq!(fixture.witness_files(), 1);
    fixture.crash(1);
    // A client without a witness file trusts it, as a server that loses nothing.
    drop(fixture.elsewhere().open().await.unwrap());
    let why = doubt(fixture.next().open().await);
    assert!(
        why.contains("lost the change") && why.contains("execution \"k\"") && why.contains("sentinel init"),
        "{why}"
    );
    // By now all clients are refused.
    assert_eq!(doubt(fixture.elsewhere().open().await), why);

    let (store, registration) = fixture.next().register().await.unwrap();
    let Registration::Again { doubt: Some(was) } = registration else { panic!("{registration:?}") };
    assert!(why.contains(&was), "{was}");
    drop(store);
    // The cut went through a transaction, which Redis leaves open in its file: at the next start it would drop all that
    // was written behind it. A new file has none of that.
    fixture.rewrite();
    // The witness file is older than the registration.
    fixture.server.kill();
    fixture.server.start_again();
    let store = fixture.next().open().await.unwrap();
    assert!(matches!(run(store, "other").await, Outcome::Completed(_)));
    assert_eq!(fixture.next().register().await.unwrap().1, Registration::Again { doubt: None });
}

#[tokio::test]
async fn an_emptied_server_is_not_treated_as_new() {
    let empties: [fn(&Fixture); 2] = [
        |fixture| drop(fixture.server.cli(&["FLUSHALL"])),
        // Another server in its place, at the same address.
        |fixture| {
            fixture.server.cli(&["FLUSHALL"]);
            fixture.crash(0);
        },
    ];
    for empty in empties {
        let fixture = Fixture::new();
        assert!(matches!(run(fixture.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
        empty(&fixture);
        let error = fixture.next().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        let health = fixture.next().health().await.unwrap();
        let found = health.checks.iter().find(|check| check.name == "store").unwrap();
        assert!(!found.ok && found.found.contains("execution \"k\""), "{found:?}");
        // Another host cannot distinguish it from a new one, so the message names both.
        let error = fixture.elsewhere().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");
        assert!(error.to_string().contains("the server was emptied"), "{error}");
        let error = fixture.next().key_prefix("other").open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");

        let (store, registration) = fixture.next().register().await.unwrap();
        let Registration::Again { doubt: Some(gone) } = registration else { panic!("{registration:?}") };
        assert!(gone.contains("acknowledged the change") && gone.contains("execution \"k\""), "{gone}");
        assert_eq!(fixture.witness_files(), 0, "the operator has accepted that it is gone");
        assert!(matches!(run(store, "k").await, Outcome::Completed(_)));
        assert_eq!(fixture.next().register().await.unwrap().1, Registration::Again { doubt: None });
    }
}

#[tokio::test]
async fn a_restarted_server_that_lost_nothing_is_trusted() {
    let fixture = Fixture::new();
    assert!(matches!(run(fixture.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
    for _ in 0..2 {
        fixture.crash(0);
        assert!(matches!(run(fixture.next().open().await.unwrap(), "k").await, Outcome::Replayed(_)));
    }
}

#[tokio::test]
async fn an_unwritable_or_unreadable_witness_file_is_no_error() {
    let fixture = Fixture::new();
    let witness_files = fixture.folder.path().join("notes");
    std::fs::write(&witness_files, "a file where the folder should be").unwrap();
    assert!(matches!(run(fixture.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
    std::fs::remove_file(&witness_files).unwrap();
    assert!(matches!(run(fixture.next().open().await.unwrap(), "other").await, Outcome::Completed(_)));
    for file in std::fs::read_dir(&witness_files).unwrap() {
        std::fs::write(file.unwrap().path(), b"\xff\xfe nothing that was ever left").unwrap();
    }
    fixture.crash(0);
    assert!(matches!(run(fixture.next().open().await.unwrap(), "k").await, Outcome::Replayed(_)));
}

#[tokio::test]
async fn a_purged_record_is_not_reported_lost() {
    let fixture = Fixture::new();
    let (store, address) = (fixture.next().init().await.unwrap(), execution("k"));
    let grant = hold(&store, &address, Phase::Claimed).await;
    store.release(&address, &Release { grant, vouched: false }).await.unwrap();
    drop(store);
    let offset = Arc::new(AtomicI64::new(i64::try_from(REST.as_micros()).unwrap()));
    let later = fixture.elsewhere().clock_offset(offset).open().await.unwrap();
    let purge = Purge { namespace: address.namespace.clone(), limit: 9, dry_run: false };
    assert_eq!(later.purge(&purge).await.unwrap().records, 1);
    fixture.crash(0);
    let store = fixture.next().open().await.unwrap();
    assert!(store.inspect(&address).await.unwrap().record.is_none());
}

#[tokio::test]
async fn a_loss_that_was_accepted_is_not_reported_again() {
    let fixture = Fixture::new();
    let store = fixture.elsewhere().init().await.unwrap();
    hold(&store, &execution("k"), Phase::Executing).await;
    fixture.crash(1);
    // An operator has registered the servers again before this program sent anything.
    drop(RedisStore::init(&fixture.server.url()).await.unwrap());
    goes_on(&store).await;
}

#[tokio::test]
async fn allow_lossy_accepts_a_lost_change() {
    let fixture = Fixture::new();
    let store = fixture.elsewhere().allow_lossy(true).init().await.unwrap();
    hold(&store, &execution("k"), Phase::Executing).await;
    fixture.crash(1);
    goes_on(&store).await;
}
