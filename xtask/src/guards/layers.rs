//! Which crate may use which: one table, and what each floor must not know of the world outside.

use std::collections::BTreeSet;

use crate::shell::{Result, cargo};
use crate::workspace::{Member, Workspace};

/// A crate by its folder, and the crates of the workspace that it may depend on directly: tests may use more.
const TABLE: [(&str, &[&str]); 14] = [
    ("sentinel-core", &[]),
    ("sentinel-admin", &["sentinel-core", "sentinel-client"]),
    ("sentinel-client", &["sentinel-core"]),
    ("sentinel-http", &["sentinel-client"]),
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
            "sentinel-admin",
            "sentinel-client",
            "sentinel-http",
            "sentinel-memory",
            "sentinel-sqlite",
            "sentinel-postgres",
            "sentinel-redis",
        ],
    ),
    ("sentinel-cli", &["sentinel"]),
    ("verification/testbed", &[]),
    (
        "verification/store-tests",
        &["sentinel-core", "sentinel-client", "conformance-tests", "verification/testbed"],
    ),
];

/// Folders whose crates are never published. One without a row in the table may use all others. No row of a published
/// crate names one, so a published crate uses them in its tests only.
const UNPUBLISHED: [&str; 2] = ["verification/", "xtask"];

/// What is outside of a floor: families of crates, each named by its first. `sqlx` is also `sqlx-core`.
const RUNTIME: [&str; 1] = ["tokio"];
const POSTGRES: [&str; 4] = ["sqlx", "postgres", "tokio-postgres", "diesel"];
const SQLITE: [&str; 2] = ["rusqlite", "libsqlite3-sys"];
const REDIS: [&str; 2] = ["fred", "redis"];
const HTTP: [&str; 6] = ["axum", "hyper", "tower", "http", "reqwest", "tonic"];

/// Crates by folder, and what they must not be built from. Contracts are pure: no runtime, no I/O. Runtimes and the
/// plumbing of stores hold no SQL. A store knows one database. The facade and the program are built from everything.
const BANS: [(&str, &[&[&str]]); 12] = [
    ("sentinel-core", &[&RUNTIME, &POSTGRES, &SQLITE, &REDIS, &HTTP]),
    ("sentinel-admin", &[&POSTGRES, &SQLITE, &REDIS, &HTTP]),
    ("sentinel-client", &[&POSTGRES, &SQLITE, &REDIS]),
    ("sentinel-http", &[&POSTGRES, &SQLITE, &REDIS]),
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
        let is_unpublished = UNPUBLISHED.iter().any(|folder| member.folder.starts_with(folder));
        let row = TABLE.iter().find(|(folder, _)| *folder == member.folder);
        broken.extend(misplaced(member, is_unpublished, row.is_some()));
        let Some((_, allowed)) = row else { continue };
        let package = ["--package", &member.name];
        let direct = dependencies(&package, &["--depth", "1"])?;
        let others = workspace.members.iter().filter(|other| other.name != member.name);
        let used: Vec<&str> =
            others.filter(|other| direct.contains(&other.name)).map(|other| other.folder.as_str()).collect();
        broken.extend(not_allowed(&member.folder, &used, allowed));
        if !is_unpublished {
            let tree = dependencies(&package, &[])?;
            broken.extend(banned(&member.folder, &tree));
        }
    }
    Ok(())
}

/// A crate that could be published although its folder is for others, or that has no row.
fn misplaced(member: &Member, is_unpublished: bool, has_row: bool) -> Option<String> {
    match (is_unpublished, member.is_published(), has_row) {
        (true, true, _) => Some(format!("{} must have `publish = false`", member.folder)),
        (false, _, false) => Some(format!("{} is in no row of the table in {}", member.folder, file!())),
        _ => None,
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

/// The names of all that a package is built from on any target, or with `--depth 1` of what it names itself, tests left
/// out.
fn dependencies(package: &[&str], depth: &[&str]) -> Result<BTreeSet<String>> {
    let tree = cargo(&["tree", "--all-features", "--target", "all", "--edges", "normal,build"]).args(package);
    let tree = tree.args(&["--prefix", "none", "--format", "{p}"]).args(depth).read()?;
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
    fn what_is_used_on_another_target_is_found() {
        let folder = std::env::temp_dir().join(format!("xtask-layers-{}", std::process::id()));
        for (path, more) in [
            ("", "[workspace]\n[target.'cfg(target_os = \"none\")'.dependencies]\nb = { path = \"b\" }\n"),
            ("b", ""),
        ] {
            let name = if path.is_empty() { "a" } else { path };
            let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n{more}");
            std::fs::create_dir_all(folder.join(path).join("src")).unwrap();
            std::fs::write(folder.join(path).join("src/lib.rs"), "").unwrap();
            std::fs::write(folder.join(path).join("Cargo.toml"), manifest).unwrap();
        }
        let manifest = folder.join("Cargo.toml").to_string_lossy().into_owned();
        let direct = dependencies(&["--manifest-path", &manifest], &["--depth", "1"]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(direct.contains("b"), "{direct:?}");
    }

    #[test]
    fn no_published_crate_may_use_what_is_never_published() {
        let is_unpublished = |folder: &str| UNPUBLISHED.iter().any(|prefix| folder.starts_with(prefix));
        for (folder, allowed) in TABLE.iter().filter(|(folder, _)| !is_unpublished(folder)) {
            assert!(!allowed.iter().any(|used| is_unpublished(used)), "{folder}: {allowed:?}");
        }
    }

    #[test]
    fn this_tree_keeps_to_the_table() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}
