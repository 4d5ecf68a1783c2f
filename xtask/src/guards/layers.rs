//! Which crate may use which: one table, and what each floor must not know of the world outside.

use std::collections::BTreeSet;

use crate::shell::{Result, cargo};
use crate::workspace::{Member, Workspace};

/// A crate by its folder, and the crates of the workspace that it may use: tests may use more.
const TABLE: [(&str, &[&str]); 10] = [
    ("sentinel-core", &[]),
    ("sentinel-client", &["sentinel-core"]),
    ("sentinel-store-kit", &["sentinel-core"]),
    ("sentinel-memory", &["sentinel-core", "sentinel-store-kit"]),
    ("sentinel-sqlite", &["sentinel-core", "sentinel-store-kit"]),
    ("sentinel-postgres", &["sentinel-core", "sentinel-store-kit"]),
    ("sentinel-redis", &["sentinel-core", "sentinel-store-kit"]),
    ("conformance-tests", &["sentinel-core", "sentinel-client"]),
    (
        "sentinel",
        &[
            "sentinel-core",
            "sentinel-store-kit",
            "sentinel-client",
            "sentinel-memory",
            "sentinel-sqlite",
            "sentinel-postgres",
            "sentinel-redis",
        ],
    ),
    (
        "sentinel-cli",
        &[
            "sentinel-core",
            "sentinel-store-kit",
            "sentinel-client",
            "sentinel-sqlite",
            "sentinel-postgres",
            "sentinel-redis",
        ],
    ),
];

/// Folders whose crates may use all others, and are published never.
const FREE: [&str; 2] = ["verification/", "xtask"];

/// What a contract must not know: a runtime, databases and their clients, HTTP.
const NOT_IN_CONTRACTS: [&str; 16] = [
    "tokio",
    "tokio-util",
    "sqlx",
    "rusqlite",
    "libsqlite3-sys",
    "postgres",
    "tokio-postgres",
    "fred",
    "redis",
    "axum",
    "hyper",
    "reqwest",
    "tonic",
    "diesel",
    "tower",
    "http",
];

/// What a runtime, and the plumbing of stores, must not know: databases and their clients.
const NOT_IN_RUNTIMES: [&str; 5] = ["sqlx", "rusqlite", "libsqlite3-sys", "fred", "redis"];

/// Crates by folder, and what they must not be built from.
const BANS: [(&str, &[&str]); 3] = [
    ("sentinel-core", &NOT_IN_CONTRACTS),
    ("sentinel-client", &NOT_IN_RUNTIMES),
    ("sentinel-store-kit", &NOT_IN_RUNTIMES),
];

/// Refuses a crate that uses another one which the table does not name, and what a floor must not know.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in &workspace.members {
        let is_free = FREE.iter().any(|folder| member.folder.starts_with(folder));
        let allowed = TABLE.iter().find(|(folder, _)| *folder == member.folder).map(|(_, allowed)| *allowed);
        if is_free || allowed.is_none() {
            unlisted(member, is_free, broken);
            continue;
        }
        let tree = dependencies(&member.name)?;
        let others = workspace.members.iter().filter(|other| other.name != member.name);
        let used: Vec<&str> =
            others.filter(|other| tree.contains(&other.name)).map(|other| other.folder.as_str()).collect();
        broken.extend(not_allowed(&member.folder, &used, allowed.unwrap_or_default()));
        let bans = BANS.iter().filter(|(folder, _)| *folder == member.folder).flat_map(|(_, bans)| *bans);
        let known = bans.filter(|name| tree.contains(**name));
        broken.extend(
            known.map(|name| format!("{} is built from {name}, which it must not know", member.folder)),
        );
    }
    Ok(())
}

/// A crate that the table does not name.
fn unlisted(member: &Member, is_free: bool, broken: &mut Vec<String>) {
    let is_published = member.manifest.value("package", "publish") != Some("false");
    match (is_free, is_published) {
        (true, true) => broken.push(format!("{} must have `publish = false`", member.folder)),
        (false, _) => broken.push(format!("{} is in no row of the table in {}", member.folder, file!())),
        (true, false) => {}
    }
}

fn not_allowed(folder: &str, used: &[&str], allowed: &[&str]) -> Vec<String> {
    let wrong = used.iter().filter(|name| !allowed.contains(name));
    wrong.map(|name| format!("{folder} uses {name}; the table in {} allows {allowed:?}", file!())).collect()
}

/// The names of all that a package is built from, tests left out.
fn dependencies(package: &str) -> Result<BTreeSet<String>> {
    let tree = cargo(&["tree", "--package", package, "--all-features", "--edges", "normal,build"]);
    let tree = tree.args(&["--prefix", "none", "--format", "{p}"]).read()?;
    Ok(tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_does_not_allow_is_named() {
        let wrong = not_allowed("sentinel-redis", &["sentinel-core", "sentinel-client"], &["sentinel-core"]);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("sentinel-redis uses sentinel-client"), "{wrong:?}");
    }

    #[test]
    fn this_tree_keeps_to_the_table() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}
