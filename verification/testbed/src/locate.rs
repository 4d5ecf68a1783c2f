//! Where the servers' programs are. `xtask setup` compiles this file too: it searches where the tests will search.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version of PostgreSQL that will do.
pub(crate) const OLDEST_POSTGRES: u32 = 14;

/// What has to be in one folder, so that all of it is of one version.
const POSTGRES: [&str; 5] = ["postgres", "initdb", "psql", "pg_basebackup", "pgbench"];

/// Folders of PostgreSQL outside of PATH: Debian's, PostgreSQL's own packages, Homebrew's. `*` begins with a version.
const POSTGRES_FOLDERS: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
];

/// Folders of PgBouncer, which are often not in PATH.
const PGBOUNCER_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

/// The oldest version of Redis that will do, major and minor.
pub(crate) const OLDEST_REDIS: (u32, u32) = (7, 0);

/// What has to be in one folder, so that all of it is of one version. Benches need `redis-benchmark`, too.
const REDIS: [&str; 2] = ["redis-server", "redis-cli"];

/// Folders of Redis that are often not in PATH: the distributions', Homebrew's.
const REDIS_FOLDERS: [&str; 4] =
    ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/redis/bin"];

/// The folder with PostgreSQL's programs: the one that PATH means, else the newest. None: there is none that will do.
pub(crate) fn postgres() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| POSTGRES.iter().all(|name| folder.join(name).is_file());
    let young = |folder: &PathBuf| version_in(folder).is_some_and(|version| version >= OLDEST_POSTGRES);
    postgres_candidates().into_iter().filter(complete).find(young)
}

/// The PgBouncer program.
pub(crate) fn pgbouncer() -> Option<PathBuf> {
    let folders = path().into_iter().chain(PGBOUNCER_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}

/// The folder with Redis' programs: the first of PATH that will do, else of the usual folders.
pub(crate) fn redis() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| REDIS.iter().all(|name| folder.join(name).is_file());
    let young = |folder: &PathBuf| redis_version_in(folder).is_some_and(|version| version >= OLDEST_REDIS);
    path().into_iter().chain(REDIS_FOLDERS.map(PathBuf::from)).filter(complete).find(young)
}

/// Folders of libfaketime: Debian's, others'.
const FAKETIME_FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
];

/// The library that lets a test set a server's clock, for programs of many threads.
pub(crate) fn faketime() -> Option<PathBuf> {
    let libraries = FAKETIME_FOLDERS.iter().map(|folder| Path::new(folder).join("libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.is_file())
}

/// What has to be in one folder, so that both are of one version.
const PROMETHEUS: [&str; 2] = ["prometheus", "promtool"];

/// The folder with Prometheus' programs: the first of PATH, else of the usual folders, else where setup unpacked them.
pub(crate) fn prometheus() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| PROMETHEUS.iter().all(|name| folder.join(name).is_file());
    let usual = REDIS_FOLDERS.map(PathBuf::from);
    path()
        .into_iter()
        .chain(usual)
        .chain(prometheus_unpacked().map(|root| root.join("usr/bin")))
        .find(complete)
}

/// Where setup unpacks Debian's package of Prometheus: installed, it would start a server.
pub(crate) fn prometheus_unpacked() -> Option<PathBuf> {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    Some(above.find(|folder| folder.join("Cargo.lock").is_file())?.join("target/tools/prometheus"))
}

/// The version of the Redis in a folder, major and minor.
pub(crate) fn redis_version_in(folder: &Path) -> Option<(u32, u32)> {
    let output = Command::new(folder.join("redis-server")).arg("--version").output().ok()?;
    redis_version(&String::from_utf8_lossy(&output.stdout))
}

/// The major version of the PostgreSQL in a folder.
pub(crate) fn version_in(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// Links in PATH are followed: the folder of the target counts.
fn postgres_candidates() -> Vec<PathBuf> {
    let linked = |folder: PathBuf| Some(fs::canonicalize(folder.join("postgres")).ok()?.parent()?.to_owned());
    let mut found: Vec<PathBuf> = path().into_iter().filter_map(linked).collect();
    POSTGRES_FOLDERS.iter().for_each(|folder| found.extend(expanded(folder)));
    found
}

fn path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

/// The folders that match a folder with a `*`, the newest version first.
fn expanded(folder: &str) -> Vec<PathBuf> {
    let Some((before, after)) = folder.split_once('*') else { return vec![folder.into()] };
    let (parent, start) = before.rsplit_once('/').unwrap_or(("/", before));
    let names = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut versions: Vec<(u32, String)> = names
        .filter_map(|name| Some((name.strip_prefix(start)?.split('.').next()?.parse().ok()?, name)))
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, name)| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}

/// 15 of "postgres (PostgreSQL) 15.18 (Debian 15.18-0)", 18 of "postgres (PostgreSQL) 18beta1".
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// (7, 0) of "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=e08dbad3e06f3fb".
fn redis_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.split_once(" server v=")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_redis_are_read() {
        let debian =
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=e08dbad3e06f3fb\n";
        assert_eq!(redis_version(debian), Some((7, 0)));
        assert_eq!(redis_version("Redis server v=8.10-rc1 sha="), Some((8, 10)));
        assert_eq!(redis_version("Redis server v=unknown"), None);
        assert_eq!(redis_version("something else 7.0"), None);
    }

    #[test]
    fn versions_of_postgresql_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("something else 3"), None);
    }

    #[test]
    fn the_newest_version_comes_first() {
        let root = std::env::temp_dir().join(format!("sentinel-folders-{}", std::process::id()));
        for name in ["pg-9.6", "pg-14", "pg-100", "pg-x", "other-15"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let found = expanded(&format!("{}/pg-*/bin", root.display()));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["pg-100", "pg-14", "pg-9.6"].map(|name| root.join(name).join("bin")));
    }
}
