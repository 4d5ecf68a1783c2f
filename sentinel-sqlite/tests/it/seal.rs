//! A main file without its log: it is complete once every process has closed it, and refused otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sentinel_conformance::Harness as _;
use sentinel_core::operation::*;
use sentinel_core::{Applied, CoordinationStore, ErrorKind, StoreError};
use sentinel_sqlite::SqliteStore;

use crate::harness::*;
use crate::processes::spawn;

/// Another process copies it: closing a file in this one would release the locks that SQLite has on it.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

async fn refused(path: &Path, error_kind: ErrorKind) -> StoreError {
    let error = SqliteStore::open(path).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (error_kind, Applied::No), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

async fn replays(path: &Path, key: &str, bytes: &[u8]) {
    let store = SqliteStore::open(path).await.unwrap();
    let reply = store.claim(&execution(key), &fused()).await.unwrap().reply;
    assert_eq!(reply, ClaimReply::Completed { result: success(bytes), remaining: None });
}

/// The main file without its log, as it is right now.
fn alone(on: &OnDisk, name: &str) -> PathBuf {
    let copied = on.path().with_extension(name);
    copy(&on.path(), &copied);
    copied
}

#[tokio::test]
async fn a_process_that_ends_leaves_all_records_in_the_main_file() {
    let dir = tempfile::tempdir().unwrap();
    for ending in ["end by returning", "end by exit", "end without a runtime"] {
        let file = dir.path().join(format!("{ending}.db"));
        assert!(spawn(ending, &file).wait_with_output().unwrap().status.success(), "{ending}");
        assert!(!log_of(&file).exists(), "{ending}");
        let moved = dir.path().join(format!("{ending}.moved.db"));
        std::fs::rename(&file, &moved).unwrap();
        replays(&moved, "a", b"done").await;
    }
}

#[tokio::test]
async fn a_main_file_that_was_moved_without_its_log_is_refused() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    // What a killed process leaves: the file and its log. The log is moved later.
    let (file, log) = (alone(&on, "moved"), log_of(&on.path()));
    for _ in 0..2 {
        let error = refused(&file, ErrorKind::PossibleDataLoss).await;
        assert!(error.to_string().contains("its log"), "{error}");
    }
    assert!(SqliteStore::builder(&file).create(false).open().await.is_err());
    copy(&log, &log_of(&file));
    replays(&file, "a", b"done").await;
}

#[tokio::test]
async fn an_empty_log_counts_as_missing() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let file = alone(&on, "moved");
    for bytes in [0, 32] {
        std::fs::write(log_of(&file), vec![0; bytes]).unwrap();
        refused(&file, ErrorKind::PossibleDataLoss).await;
    }
}

#[tokio::test]
async fn a_lost_log_can_be_accepted_once() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("before"), &fused(), b"done").await;
    on.plain().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    once(&on.store, &execution("lost"), &fused(), b"done").await;
    let file = alone(&on, "moved");
    refused(&file, ErrorKind::PossibleDataLoss).await;
    drop(SqliteStore::builder(&file).accept_lost_log(true).open().await.unwrap());
    replays(&file, "before", b"done").await;
}

#[tokio::test]
async fn a_log_applied_by_the_sqlite3_program_is_not_reported_missing() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let file = alone(&on, "killed");
    copy(&log_of(&on.path()), &log_of(&file));
    // The last connection that closes applies the log and deletes it.
    plain(&file).query_row("SELECT count(*) FROM records", [], |_| Ok(())).unwrap();
    assert!(!log_of(&file).exists());
    replays(&file, "a", b"done").await;
}

#[tokio::test]
async fn a_checkpoint_of_another_program_does_not_break_the_seal() {
    let on = OnDisk::open().await;
    for round in 0..3 {
        once(&on.store, &execution(&format!("key {round}")), &fused(), b"done").await;
        refused(&alone(&on, &format!("sealed-{round}")), ErrorKind::PossibleDataLoss).await;
        on.plain().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        replays(&alone(&on, &format!("whole-{round}")), &format!("key {round}"), b"done").await;
    }
}

#[tokio::test]
async fn a_long_log_is_emptied_and_the_file_stays_sealed() {
    let on = OnDisk::open().await;
    let large = vec![7; 1 << 20];
    for n in 0..24 {
        once(&on.store, &execution(&format!("key {n}")), &fused(), &large).await;
        // The log may be applied while the file is copied: then the copy is damaged, too.
        let error = SqliteStore::open(alone(&on, "copy")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::PossibleDataLoss | ErrorKind::Corrupt), "{error}");
    }
    let log = std::fs::metadata(log_of(&on.path())).unwrap().len();
    assert!(log < 8 << 20, "the log has {log} bytes after 24 MiB were written");
}

/// A program that reads the main file in one transaction, after the log was applied: no checkpoint can overwrite that.
fn reader(on: &OnDisk) -> rusqlite::Connection {
    on.plain().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let reader = on.plain();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    reader
}

#[tokio::test]
async fn nothing_is_committed_while_a_reader_keeps_the_file_from_being_sealed() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let reader = reader(&on);
    let short = || SqliteStore::builder(on.path()).busy_timeout(Duration::from_millis(100));
    for key in ["b", "c", "d"] {
        // Each is another process: what one leaves behind must not keep the next from opening the file.
        let store = short().open().await.unwrap();
        let error = store.claim(&execution(key), &fused()).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Busy, Applied::No), "{error}");
        assert!(error.to_string().contains("another program has been reading it"), "{error}");
        assert_eq!(store.inspect(&execution(key)).await.unwrap().record, None);
    }
    replays(&alone(&on, "complete"), "a", b"done").await;
    reader.execute_batch("COMMIT").unwrap();
    for key in ["b", "c"] {
        once(&short().open().await.unwrap(), &execution(key), &fused(), b"done").await;
    }
    refused(&alone(&on, "sealed"), ErrorKind::PossibleDataLoss).await;
}

#[tokio::test]
async fn a_reader_of_an_old_state_does_not_keep_a_sealed_file_from_being_written() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    // The file is sealed when it begins to read.
    let reader = on.plain();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let large = vec![7; 1 << 20];
    for n in 0..12 {
        let key = execution(&format!("key {n}"));
        once(&on.store, &key, &fused(), &large).await;
        once(&on.another().await, &execution(&format!("other {n}")), &fused(), b"done").await;
        refused(&alone(&on, "copy"), ErrorKind::PossibleDataLoss).await;
    }
    // A killed process leaves the file, its log and the index of the log behind.
    let file = alone(&on, "killed");
    copy(&log_of(&on.path()), &log_of(&file));
    replays(&file, "other 11", b"done").await;
    reader.execute_batch("COMMIT").unwrap();
    once(&on.store, &execution("b"), &fused(), b"done").await;
    refused(&alone(&on, "copy"), ErrorKind::PossibleDataLoss).await;
}

#[tokio::test]
async fn a_process_that_died_while_it_sealed_leaves_a_usable_file() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let (file, other) = (alone(&on, "killed"), on.plain());
    let broken = "UPDATE main_file SET previous = generation, generation = randomblob(16), needs_log = 1";
    other.execute_batch(broken).unwrap();
    // Killed before the checkpoint, and after it.
    copy(&log_of(&on.path()), &log_of(&file));
    replays(&file, "a", b"done").await;
    other.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).unwrap();
    let file = alone(&on, "killed-later");
    copy(&log_of(&on.path()), &log_of(&file));
    replays(&file, "a", b"done").await;
    // This process goes on, and seals again.
    once(&on.store, &execution("b"), &fused(), b"done").await;
    replays(&on.path(), "b", b"done").await;
}

#[tokio::test]
async fn a_log_of_another_file_is_refused() {
    let (on, other) = (OnDisk::open().await, OnDisk::open().await);
    for store in [&on.store, &other.store] {
        once(store, &execution("a"), &fused(), b"done").await;
    }
    on.plain().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    for name in ["whole", "sealed"] {
        let file = alone(&on, name);
        copy(&log_of(&other.path()), &log_of(&file));
        let before = [&file, &log_of(&file)].map(|file| std::fs::read(file).unwrap());
        let error = refused(&file, ErrorKind::Corrupt).await;
        assert!(error.to_string().contains("belongs to another file"), "{error}");
        let after = [&file, &log_of(&file)].map(|file| std::fs::read(file).unwrap());
        assert!(before == after, "the wrong log was applied or deleted");
        once(&on.store, &execution(name), &fused(), b"done").await;
    }
}

#[tokio::test]
async fn a_file_is_not_created_beside_the_log_of_one_that_was_moved_away() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let file = on.path().with_extension("left");
    copy(&log_of(&on.path()), &log_of(&file));
    let before = std::fs::read(log_of(&file)).unwrap();
    refused(&file, ErrorKind::Corrupt).await;
    std::fs::write(&file, b"").unwrap();
    refused(&file, ErrorKind::Corrupt).await;
    assert_eq!(std::fs::read(log_of(&file)).unwrap(), before, "the log is still there");
}

#[tokio::test]
async fn a_file_of_ours_without_tables_is_not_set_up_again() {
    let dir = tempfile::tempdir().unwrap();
    for version in [0, 1] {
        let file = dir.path().join(format!("{version}.db"));
        let script = format!("PRAGMA application_id = 0x536E746C; PRAGMA user_version = {version}");
        plain(&file).execute_batch(&script).unwrap();
        let before = std::fs::read(&file).unwrap();
        refused(&file, ErrorKind::Corrupt).await;
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
    let on = OnDisk::open().await;
    on.plain().execute_batch("DROP TABLE floors").unwrap();
    refused(&on.path(), ErrorKind::Corrupt).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_with_two_names_is_refused_unless_that_is_accepted() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let link = on.path().with_extension("link");
    std::fs::hard_link(on.path(), &link).unwrap();
    for name in [on.path(), link.clone()] {
        let error = refused(&name, ErrorKind::DeploymentRefused).await;
        assert!(error.to_string().contains("has 2 hard links"), "{error}");
    }
    let accepted = SqliteStore::builder(on.path()).allow_other_names(true).open().await.unwrap();
    let health = accepted.health().await.unwrap();
    let names = health.checks.iter().find(|check| check.name == "names").unwrap();
    assert!(health.accepted && names.found.contains("has 2 hard links"), "{health:?}");
    std::fs::remove_file(link).unwrap();
    replays(&on.path(), "a", b"done").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_leads_to_the_log_of_its_file() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"done").await;
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(on.path(), &link).unwrap();
    replays(&link, "a", b"done").await;
    assert!(!log_of(&link).exists());
}
