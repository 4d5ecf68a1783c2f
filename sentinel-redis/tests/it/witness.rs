//! Programs that come and go: what one was told, the next on the same host misses.

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
use crate::rig::REST;

/// A server, and a folder for notes.
struct Scene {
    server: Redis,
    folder: TempDir,
}

impl Scene {
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

    fn notes(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("notes")).map_or(0, |notes| notes.count())
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

    /// The server crashes, so many bytes of its newest writes are lost, and it is started again.
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
async fn what_was_lost_after_a_program_ended_is_missed_by_the_next() {
    let scene = Scene::new();
    let (store, registration) = scene.next().register().await.unwrap();
    assert_eq!((registration, scene.notes()), (Registration::SetUp, 0), "a note is left of a change only");
    assert!(matches!(run(store, "k").await, Outcome::Completed(_)));
    assert_eq!(scene.notes(), 1);
    scene.crash(1);
    // Somebody who was told nothing trusts it, as a server that loses nothing.
    drop(scene.elsewhere().open().await.unwrap());
    let why = doubt(scene.next().open().await);
    assert!(
        why.contains("lost the change") && why.contains("execution \"k\"") && why.contains("sentinel init"),
        "{why}"
    );
    // By now all are told.
    assert_eq!(doubt(scene.elsewhere().open().await), why);

    let (store, registration) = scene.next().register().await.unwrap();
    let Registration::Again { doubt: Some(was) } = registration else { panic!("{registration:?}") };
    assert!(why.contains(&was), "{was}");
    drop(store);
    // The cut went through a transaction, which Redis leaves open in its file: at the next start it would drop all that
    // was written behind it. A new file has none of that.
    scene.rewrite();
    // The note is older than the registration.
    scene.server.kill();
    scene.server.start_again();
    let store = scene.next().open().await.unwrap();
    assert!(matches!(run(store, "other").await, Outcome::Completed(_)));
    assert_eq!(scene.next().register().await.unwrap().1, Registration::Again { doubt: None });
}

#[tokio::test]
async fn an_emptied_server_is_not_taken_for_a_new_one() {
    let empties: [fn(&Scene); 2] = [
        |scene| drop(scene.server.cli(&["FLUSHALL"])),
        // Another server in its place, at the same address.
        |scene| {
            scene.server.cli(&["FLUSHALL"]);
            scene.crash(0);
        },
    ];
    for empty in empties {
        let scene = Scene::new();
        assert!(matches!(run(scene.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
        empty(&scene);
        let error = scene.next().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        let health = scene.next().health().await.unwrap();
        let found = health.checks.iter().find(|check| check.name == "store").unwrap();
        assert!(!found.ok && found.found.contains("execution \"k\""), "{found:?}");
        // Nothing on another host tells it from a new one, so the message names both.
        let error = scene.elsewhere().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");
        assert!(error.to_string().contains("the server was emptied"), "{error}");
        let error = scene.next().key_prefix("other").open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");

        let (store, registration) = scene.next().register().await.unwrap();
        let Registration::Again { doubt: Some(gone) } = registration else { panic!("{registration:?}") };
        assert!(gone.contains("acknowledged the change") && gone.contains("execution \"k\""), "{gone}");
        assert_eq!(scene.notes(), 0, "the operator has accepted that it is gone");
        assert!(matches!(run(store, "k").await, Outcome::Completed(_)));
        assert_eq!(scene.next().register().await.unwrap().1, Registration::Again { doubt: None });
    }
}

#[tokio::test]
async fn a_server_that_lost_nothing_is_trusted() {
    let scene = Scene::new();
    assert!(matches!(run(scene.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
    for _ in 0..2 {
        scene.crash(0);
        assert!(matches!(run(scene.next().open().await.unwrap(), "k").await, Outcome::Replayed(_)));
    }
}

#[tokio::test]
async fn a_note_that_cannot_be_left_or_read_is_no_error() {
    let scene = Scene::new();
    let notes = scene.folder.path().join("notes");
    std::fs::write(&notes, "a file where the folder should be").unwrap();
    assert!(matches!(run(scene.next().init().await.unwrap(), "k").await, Outcome::Completed(_)));
    std::fs::remove_file(&notes).unwrap();
    assert!(matches!(run(scene.next().open().await.unwrap(), "other").await, Outcome::Completed(_)));
    for note in std::fs::read_dir(&notes).unwrap() {
        std::fs::write(note.unwrap().path(), b"\xff\xfe nothing that was ever left").unwrap();
    }
    scene.crash(0);
    assert!(matches!(run(scene.next().open().await.unwrap(), "k").await, Outcome::Replayed(_)));
}

#[tokio::test]
async fn what_was_purged_since_is_not_missed() {
    let scene = Scene::new();
    let (store, address) = (scene.next().init().await.unwrap(), execution("k"));
    let grant = hold(&store, &address, Phase::Claimed).await;
    store.release(&address, &Release { grant, vouched: false }).await.unwrap();
    drop(store);
    let offset = Arc::new(AtomicI64::new(i64::try_from(REST.as_micros()).unwrap()));
    let later = scene.elsewhere().clock_offset(offset).open().await.unwrap();
    let purge = Purge { namespace: address.namespace.clone(), limit: 9, dry_run: false };
    assert_eq!(later.purge(&purge).await.unwrap().records, 1);
    scene.crash(0);
    let store = scene.next().open().await.unwrap();
    assert!(store.inspect(&address).await.unwrap().record.is_none());
}

#[tokio::test]
async fn what_somebody_has_accepted_as_lost_is_missed_no_more() {
    let scene = Scene::new();
    let store = scene.elsewhere().init().await.unwrap();
    hold(&store, &execution("k"), Phase::Executing).await;
    scene.crash(1);
    // Somebody has looked, and said that it is well, before this program asked anything.
    drop(RedisStore::init(&scene.server.url()).await.unwrap());
    goes_on(&store).await;
}

#[tokio::test]
async fn who_allows_loss_misses_nothing() {
    let scene = Scene::new();
    let store = scene.elsewhere().allow_lossy(true).init().await.unwrap();
    hold(&store, &execution("k"), Phase::Executing).await;
    scene.crash(1);
    goes_on(&store).await;
}
