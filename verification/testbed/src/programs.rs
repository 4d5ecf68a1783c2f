//! The servers' programs, or a panic with how to install them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::locate;

/// A program of PostgreSQL. All of them come from one folder.
///
/// # Panics
/// When there is none, or only one that is too old: with what to do.
#[track_caller]
pub(crate) fn postgres(name: &str) -> PathBuf {
    let program = folder().join(name);
    assert!(program.is_file(), "{} is missing, and it came with the server's package", program.display());
    program
}

/// The PgBouncer program.
///
/// # Panics
/// When there is none: with what to do.
#[track_caller]
pub(crate) fn pgbouncer() -> PathBuf {
    locate::pgbouncer().expect("PgBouncer is not installed: `cargo xtask setup` installs it, or prints how")
}

/// A program of Redis. All of them come from one folder.
///
/// # Panics
/// When there is none, or only one that is too old: with what to do.
#[track_caller]
pub(crate) fn redis(name: &str) -> PathBuf {
    let program = redis_folder().join(name);
    assert!(program.is_file(), "{} is missing, and it came with the server's package", program.display());
    program
}

/// A program of Prometheus: `prometheus` or `promtool`.
///
/// # Panics
/// When there is none: with what to do.
#[track_caller]
pub(crate) fn prometheus(name: &str) -> PathBuf {
    let folder = locate::prometheus();
    folder
        .expect("Prometheus is not installed: `cargo xtask setup` unpacks it, or prints how to get it")
        .join(name)
}

/// The version of the Redis that is used.
#[track_caller]
pub(crate) fn redis_version() -> (u32, u32) {
    locate::redis_version_in(redis_folder()).expect("Redis prints its version")
}

#[track_caller]
fn redis_folder() -> &'static Path {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOLDER.get_or_init(locate::redis).as_deref();
    found.unwrap_or_else(|| {
        let (major, minor) = locate::OLDEST_REDIS;
        panic!(
            "Redis {major}.{minor} or newer is not installed: `cargo xtask setup` installs it, or prints how"
        )
    })
}

/// The major version of the PostgreSQL that is used.
#[track_caller]
pub(crate) fn version() -> u32 {
    locate::version_in(folder()).expect("PostgreSQL prints its version")
}

#[track_caller]
fn folder() -> &'static Path {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOLDER.get_or_init(locate::postgres).as_deref();
    found.unwrap_or_else(|| {
        let oldest = locate::OLDEST_POSTGRES;
        panic!(
            "PostgreSQL {oldest} or newer is not installed: `cargo xtask setup` installs it, or prints how"
        )
    })
}
