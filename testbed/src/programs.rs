//! Where the servers' programs are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::process::{plain, run};

/// The oldest PostgreSQL that will do.
const OLDEST: u32 = 14;

/// What has to stand in one folder, so that all of it is of one version.
const POSTGRES: [&str; 4] = ["postgres", "initdb", "psql", "pg_basebackup"];

/// Folders of PostgreSQL, outside of PATH: Debian, Red Hat's and PostgreSQL's own packages, Homebrew. `*` is a version.
const PLACES: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
];

/// A program of PostgreSQL. All of them come from one folder.
///
/// # Panics
/// When there is none, or only one that is too old: with what to install.
pub(crate) fn postgres(name: &str) -> PathBuf {
    let program = folder().join(name);
    assert!(program.is_file(), "{} is missing: {}", program.display(), how("postgresql-contrib"));
    program
}

/// The PgBouncer program.
pub(crate) fn pgbouncer() -> PathBuf {
    let places = in_path().chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from));
    let found = places.map(|place| place.join("pgbouncer")).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("PgBouncer is not installed: {}", how("pgbouncer")))
}

/// The major version of the PostgreSQL that is used.
pub(crate) fn version() -> u32 {
    static VERSION: OnceLock<u32> = OnceLock::new();
    *VERSION.get_or_init(|| version_in(folder()).unwrap_or_default())
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let complete = |folder: &PathBuf| POSTGRES.iter().all(|name| folder.join(name).is_file());
        let young = |folder: &PathBuf| version_in(folder).is_some_and(|version| version >= OLDEST);
        let found = candidates().into_iter().filter(complete).find(young);
        found
            .unwrap_or_else(|| panic!("PostgreSQL {OLDEST} or newer is not installed: {}", how("postgresql")))
    })
}

/// First what the PATH means, links followed: a link in a folder of its own stands for where it leads.
fn candidates() -> Vec<PathBuf> {
    let linked = |folder: PathBuf| Some(fs::canonicalize(folder.join("postgres")).ok()?.parent()?.to_owned());
    let mut found: Vec<PathBuf> = in_path().filter_map(linked).collect();
    PLACES.iter().for_each(|place| found.extend(expanded(place)));
    found
}

fn in_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// The folders that a place with a `*` stands for, the newest version first.
fn expanded(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else { return vec![place.into()] };
    let (parent, start) = before.rsplit_once('/').unwrap_or(("/", before));
    let names = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut versions: Vec<(u32, String)> = names
        .filter_map(|name| Some((name.strip_prefix(start)?.split('.').next()?.parse().ok()?, name)))
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, name)| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}

fn version_in(folder: &Path) -> Option<u32> {
    let mut command = plain(&folder.join("postgres"));
    command.arg("--version");
    major(&run(command))
}

/// 15 of "postgres (PostgreSQL) 15.18 (Debian 15.18-0)", 18 of "postgres (PostgreSQL) 18beta1".
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn how(package: &str) -> String {
    format!(
        "`cargo xtask setup` does that, or install the package `{package}` (Homebrew: `brew install {package}`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("something else 3"), None);
    }
}
