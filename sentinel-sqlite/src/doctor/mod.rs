//! What `sentinel doctor` prints: what the file is, how it is set up, what it guarantees.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use sentinel_core::internal::measured;
use sentinel_core::store::{Check, Health};
use sentinel_core::{Clock, ErrorKind, StoreError};
use tokio::sync::oneshot;

use crate::connection::filesystem;
use crate::connection::options::OpenOptions;
use crate::connection::writer::Writer;
use crate::error::{no_thread, not_applied};

/// Files up to this size are checked page by page; a larger one would keep the caller waiting.
const CHECKED_BYTES: u64 = 64 << 20;

/// Checks the file, on a thread and a connection of its own: no operation waits for it.
pub(crate) async fn health(options: Arc<OpenOptions>, clock: Arc<dyn Clock>) -> Result<Health, StoreError> {
    let (reply, received) = oneshot::channel();
    let run = move || drop(reply.send(check(&options, &*clock)));
    thread::Builder::new().name("sentinel-sqlite-health".into()).spawn(run).map_err(no_thread)?;
    let panicked = || StoreError::not_applied(ErrorKind::BrokenStore, "the check panicked");
    received.await.unwrap_or_else(|_| Err(panicked()))
}

fn check(options: &OpenOptions, clock: &dyn Clock) -> Result<Health, StoreError> {
    if let Err(error) = std::fs::metadata(&options.path) {
        let detail = format!("{}: {error}", options.path.display());
        return Err(StoreError::not_applied(ErrorKind::Unreachable, detail));
    }
    let mut checks = vec![file(options), file_system(options), names(options)];
    // A check changes nothing: an empty file is a finding, and is not set up.
    let existing = OpenOptions { create: false, ..options.clone() };
    match Writer::open(&existing) {
        Ok(writer) => checks.extend(inside(writer, options)?),
        Err(error) if error.is_worth_repeating() => return Err(error),
        Err(error) => checks.push(Check { name: "use", ok: false, found: error.to_string() }),
    }
    let now = clock.now();
    checks.push(Check { name: "clock", ok: now.as_micros() > 0, found: now.to_string() });
    let accepted = checks.iter().all(|check| check.ok);
    let guarantees = if accepted { guarantees() } else { Vec::new() };
    Ok(Health { deployment: "SQLite: WAL, synchronous=FULL, one host".into(), checks, guarantees, accepted })
}

/// The checks of a file that can be opened.
fn inside(mut writer: Writer, options: &OpenOptions) -> Result<Vec<Check>, StoreError> {
    let mut checks = settings(writer.connection()).map_err(|error| not_applied(&options.path, error))?;
    checks.push(integrity(writer.connection(), options));
    checks.push(commit(&mut writer, options)?);
    Ok(checks)
}

fn settings(connection: &Connection) -> Result<Vec<Check>, rusqlite::Error> {
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let synced = match synchronous {
        2 => "FULL".to_owned(),
        3 => "EXTRA".to_owned(),
        other => other.to_string(),
    };
    Ok(vec![
        Check { name: "version", ok: true, found: format!("SQLite {}", rusqlite::version()) },
        Check { name: "schema", ok: true, found: schema.to_string() },
        Check { name: "journal mode", ok: journal == "wal", found: journal },
        Check { name: "synchronous", ok: synchronous >= 2, found: synced },
    ])
}

fn file(options: &OpenOptions) -> Check {
    let found = match std::fs::metadata(&options.path) {
        Ok(data) => format!("{}, {} bytes{}", options.path.display(), data.len(), mode(&data)),
        Err(error) => format!("{}: {error}", options.path.display()),
    };
    Check { name: "file", ok: options.path.is_file(), found }
}

#[cfg(unix)]
fn mode(data: &std::fs::Metadata) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    format!(", mode {:03o}", data.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(data: &std::fs::Metadata) -> String {
    if data.permissions().readonly() { ", read only".into() } else { String::new() }
}

fn file_system(options: &OpenOptions) -> Check {
    let network = filesystem::network(&options.path);
    let found = match network {
        Some(kind) => format!("{kind}: WAL works within one host only"),
        None if filesystem::in_memory(&options.path) => {
            "in memory: outlives every process, and not a restart of the host".into()
        }
        None => "local, as far as can be seen".into(),
    };
    Check { name: "file system", ok: network.is_none(), found }
}

/// Whether another name of the file would have another log.
fn names(options: &OpenOptions) -> Check {
    let other = filesystem::other_names(&options.path);
    let found = other.clone().unwrap_or_else(|| "no other name was found".into());
    Check { name: "names", ok: other.is_none() || options.allow_other_names, found }
}

fn integrity(connection: &Connection, options: &OpenOptions) -> Check {
    let bytes = std::fs::metadata(&options.path).map_or(0, |data| data.len());
    if bytes > CHECKED_BYTES {
        let found =
            format!("not checked: larger than {} MiB; `PRAGMA quick_check` does it", CHECKED_BYTES >> 20);
        return Check { name: "integrity", ok: true, found };
    }
    let found = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .unwrap_or_else(|error| error.to_string());
    Check { name: "integrity", ok: found == "ok", found }
}

/// A commit that changes nothing, but goes to the disk all the same.
fn commit(writer: &mut Writer, options: &OpenOptions) -> Result<Check, StoreError> {
    let (done, took) = timed(|| writer.commit_nothing(options));
    done?;
    Ok(Check { name: "commit", ok: true, found: measured(took) })
}

#[expect(clippy::disallowed_methods, reason = "how long the disk takes is printed, and decides nothing")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let done = run();
    (done, start.elapsed())
}

fn guarantees() -> Vec<String> {
    [
        "At most one execution per key, across all processes of this host that use this file, until an operator \
         decides otherwise: through kill -9, and through power loss as far as the disk keeps what it \
         has synced.",
        "An acknowledged begin, result or decision does not disappear: it is on the disk before it is \
        acknowledged.",
        "Fencing tokens increase strictly for each key, through release, purge and restart.",
        "One host and a local disk only: copies of the file, and files on network file systems, are not \
        coordinated.",
    ]
    .map(String::from)
    .to_vec()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn found(path: &str) -> String {
        let options = OpenOptions {
            path: path.into(),
            busy_timeout: Duration::ZERO,
            turn_timeout: Duration::ZERO,
            create: true,
            allow_network: false,
            allow_other_names: false,
            accept_lost_log: false,
            reads_only: false,
            max_events: sentinel_core::EventLimit::default(),
        };
        file_system(&options).found
    }

    #[test]
    fn a_file_in_memory_is_reported_as_such() {
        assert!(found("/proc/sentinel.db").starts_with("local"));
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        if mounts.contains(" /dev/shm tmpfs ") {
            assert!(found("/dev/shm/sentinel.db").starts_with("in memory"));
        }
    }
}
