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

/// What is outside of a floor: families of crates, each named by its first. `sqlx` is also `sqlx-core`.
const RUNTIME: [&str; 1] = ["tokio"];
const POSTGRES: [&str; 4] = ["sqlx", "postgres", "tokio-postgres", "diesel"];
const SQLITE: [&str; 2] = ["rusqlite", "libsqlite3-sys"];
const REDIS: [&str; 2] = ["fred", "redis"];
const HTTP: [&str; 6] = ["axum", "hyper", "tower", "http", "reqwest", "tonic"];

/// Crates by folder, and what they must not be built from. Contracts are pure: no runtime, no I/O. Runtimes and the
/// plumbing of stores hold no SQL. A store knows one database. The facade and the program are built from everything.
const BANS: [(&str, &[&[&str]]); 10] = [
    ("sentinel-core", &[&RUNTIME, &POSTGRES, &SQLITE, &REDIS, &HTTP]),
    ("sentinel-client", &[&POSTGRES, &SQLITE, &REDIS]),
    ("sentinel-store-kit", &[&POSTGRES, &SQLITE, &REDIS]),
    ("conformance-tests", &[&POSTGRES, &SQLITE, &REDIS]),
    ("sentinel-memory", &[&POSTGRES, &SQLITE, &REDIS]),
    ("sentinel-sqlite", &[&POSTGRES, &REDIS]),
    ("sentinel-postgres", &[&SQLITE, &REDIS]),
    ("sentinel-redis", &[&POSTGRES, &SQLITE]),
    ("sentinel", &[]),
    ("sentinel-cli", &[]),
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
        broken.extend(banned(&member.folder, &tree));
    }
    Ok(())
}

/// A crate that the table does not name.
fn unlisted(member: &Member, is_free: bool, broken: &mut Vec<String>) {
    match (is_free, member.is_published()) {
        (true, true) => broken.push(format!("{} must have `publish = false`", member.folder)),
        (false, _) => broken.push(format!("{} is in no row of the table in {}", member.folder, file!())),
        (true, false) => {}
    }
}

fn not_allowed(folder: &str, used: &[&str], allowed: &[&str]) -> Vec<String> {
    let wrong = used.iter().filter(|name| !allowed.contains(name));
    wrong.map(|name| format!("{folder} uses {name}; the table in {} allows {allowed:?}", file!())).collect()
}

/// What a crate is built from and must not know.
fn banned(folder: &str, tree: &BTreeSet<String>) -> Vec<String> {
    let Some((_, families)) = BANS.iter().find(|(banned, _)| *banned == folder) else {
        return vec![format!("{folder} is in no row of BANS in {}", file!())];
    };
    let names = families.iter().flat_map(|family| family.iter());
    let known = names.flat_map(|first| tree.iter().filter(move |name| is_of(name, first)));
    known.map(|name| format!("{folder} is built from {name}, which it must not know")).collect()
}

/// Whether a crate is of a family.
fn is_of(name: &str, first: &str) -> bool {
    name.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
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
    fn what_a_floor_must_not_know_is_named() {
        let tree =
            ["serde", "sqlx-core", "tokio", "tokio-util", "httparse", "http-body"].map(str::to_owned).into();
        let contract = banned("sentinel-core", &tree);
        let named = |name: &str| contract.iter().any(|line| line.contains(&format!("built from {name},")));
        assert!(["sqlx-core", "tokio", "tokio-util", "http-body"].into_iter().all(named), "{contract:?}");
        assert_eq!(contract.len(), 4, "{contract:?}");
        assert_eq!(banned("sentinel-client", &tree).len(), 1, "a runtime knows tokio");
        assert_eq!(banned("sentinel-new", &tree).len(), 1, "each crate has a row");
    }

    #[test]
    fn this_tree_keeps_to_the_table() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}
