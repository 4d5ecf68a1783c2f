//! What `doctor` is told: what is there, how it is set, what it promises.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use sentinel_core::store::{Check, Health};
use sentinel_core::{Clock, ErrorKind, StoreError};
use tokio::sync::oneshot;

use crate::connection::{Spec, Writer};
use crate::error::not_applied;
use crate::filesystem;

/// Files up to this size are checked page by page; a larger one would keep the caller waiting.
const CHECKED_BYTES: u64 = 64 << 20;

/// Looks, on a thread and a connection of its own: no operation waits for it.
pub(crate) async fn health(spec: Arc<Spec>, clock: Arc<dyn Clock>) -> Result<Health, StoreError> {
    let (reply, answer) = oneshot::channel();
    let look = move || drop(reply.send(look(&spec, &*clock)));
    thread::Builder::new().name("sentinel-sqlite-probe".into()).spawn(look).map_err(|error| {
        StoreError::not_applied(ErrorKind::Unreachable, "a thread could not be started").caused_by(error)
    })?;
    let silent = || StoreError::not_applied(ErrorKind::BrokenStore, "the probe panicked");
    answer.await.unwrap_or_else(|_| Err(silent()))
}

fn look(spec: &Spec, clock: &dyn Clock) -> Result<Health, StoreError> {
    if let Err(error) = std::fs::metadata(&spec.path) {
        let detail = format!("{}: {error}", spec.path.display());
        return Err(StoreError::not_applied(ErrorKind::Unreachable, detail));
    }
    let mut checks = vec![file(spec), place(spec), names(spec)];
    let existing = Spec { create: false, ..spec.clone() };
    match Writer::open(&existing) {
        Ok(writer) => checks.extend(inside(writer, spec)?),
        Err(error) if error.is_worth_repeating() => return Err(error),
        Err(error) => checks.push(Check { name: "use", ok: false, found: error.to_string() }),
    }
    let now = clock.now();
    checks.push(Check { name: "clock", ok: now.as_micros() > 0, found: now.to_string() });
    let accepted = checks.iter().all(|check| check.ok);
    let guarantees = if accepted { guarantees() } else { Vec::new() };
    Ok(Health { deployment: "SQLite: WAL, synchronous=FULL, one host".into(), checks, guarantees, accepted })
}

/// What can be seen of a file that can be used.
fn inside(mut writer: Writer, spec: &Spec) -> Result<Vec<Check>, StoreError> {
    let mut checks = settings(writer.connection()).map_err(|error| not_applied(&spec.path, error))?;
    checks.push(integrity(writer.connection(), spec));
    checks.push(commit(&mut writer, spec)?);
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

fn file(spec: &Spec) -> Check {
    let found = match std::fs::metadata(&spec.path) {
        Ok(data) => format!("{}, {} bytes{}", spec.path.display(), data.len(), mode(&data)),
        Err(error) => format!("{}: {error}", spec.path.display()),
    };
    Check { name: "file", ok: spec.path.is_file(), found }
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

fn place(spec: &Spec) -> Check {
    let network = filesystem::network(&spec.path);
    let found = match network {
        Some(kind) => format!("{kind}: WAL works within one host only"),
        None if filesystem::in_memory(&spec.path) => {
            "in memory: outlives every process, and not a restart of the host".into()
        }
        None => "local, as far as can be seen".into(),
    };
    Check { name: "file system", ok: network.is_none(), found }
}

/// Whether another name of the file would have another log.
fn names(spec: &Spec) -> Check {
    let other = filesystem::other_names(&spec.path);
    let found = other.clone().unwrap_or_else(|| "one, as far as can be seen".into());
    Check { name: "names", ok: other.is_none() || spec.allow_other_names, found }
}

fn integrity(connection: &Connection, spec: &Spec) -> Check {
    let bytes = std::fs::metadata(&spec.path).map_or(0, |data| data.len());
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
fn commit(writer: &mut Writer, spec: &Spec) -> Result<Check, StoreError> {
    let (done, took) = timed(|| writer.commit_nothing(spec));
    done?;
    Ok(Check { name: "commit", ok: true, found: format!("{} us", took.as_micros()) })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the disk takes is told to people, and decides nothing"
)]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let done = run();
    (done, start.elapsed())
}

fn guarantees() -> Vec<String> {
    [
        "At most one execution per key, across all processes of this host that use this file, until an operator decides \
         otherwise: through kill -9, and through power loss as far as the disk keeps what it has synced.",
        "What was answered does not disappear: a begin, a result or a decision is on the disk before it is acknowledged.",
        "Fencing tokens increase strictly for each key, through release, purge and restart.",
        "One host and a local disk only: copies of the file, and files on network file systems, know nothing of each \
         other.",
    ]
    .map(String::from)
    .to_vec()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn found(path: &str) -> String {
        let spec = Spec {
            path: path.into(),
            busy_timeout: Duration::ZERO,
            line_timeout: Duration::ZERO,
            create: true,
            allow_network: false,
            allow_other_names: false,
            accept_lost_log: false,
            reads_only: false,
            max_events: sentinel_core::EventLimit::default(),
        };
        place(&spec).found
    }

    #[test]
    fn a_file_in_memory_is_said_to_be() {
        assert!(found("/proc/sentinel.db").starts_with("local"));
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        if mounts.contains(" /dev/shm tmpfs ") {
            assert!(found("/dev/shm/sentinel.db").starts_with("in memory"));
        }
    }
}
