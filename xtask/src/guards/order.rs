//! The order of the modules inside a store: a module names only modules below its own level, so that each can be read
//! without those above it.

use crate::shell::Result;
use crate::workspace::Workspace;

use super::imports::{Module, Sources};

/// The levels of a store from the top down. Modules of one level do not name each other.
const LEVELS: [&[&str]; 12] = [
    // The root of the crate, which is named "", and what only fuzz targets use.
    &["", "fuzzing"],
    &["store"],
    &["builder"],
    // PostgreSQL only. Methods that take the user's transaction are built from operations of the contracts.
    &["transaction"],
    // One folder for each contract.
    &["coordination", "queue"],
    // What people and waiters use: they read the store's state, and decide nothing.
    &["doctor", "notify"],
    &["batch"],
    // Redis only. A batch is sent through its guard, and it has scripts and connections of its own.
    &["data_loss"],
    // Memory only: the table of one shard.
    &["connection", "shard"],
    // Redis only. Records and events as bytes, scripts and their texts: names and codecs that use no connection.
    &["script", "row"],
    &["schema", "url"],
    // Redis' durability is a plain value that a URL names and connections wait for.
    &["error", "parts", "durability"],
];

/// The stores, by folder.
const STORES: [&str; 4] = ["sentinel-memory", "sentinel-sqlite", "sentinel-postgres", "sentinel-redis"];

/// Refuses a module of a store that names one of its own level or above.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in workspace.members.iter().filter(|member| STORES.contains(&member.folder.as_str())) {
        broken.extend(upward(&Sources::load(member)?).iter().map(|(from, to)| {
            format!("{}: {from} names {to}, which is not below it in {}", member.folder, file!())
        }));
    }
    Ok(())
}

/// The pairs of modules of which the first names the second, which is not below it.
fn upward(sources: &Sources) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (module, paths) in sources.paths() {
        let from = top(module);
        for path in paths {
            // What the root exports by a name of its own is part of the root.
            let to = path.first().filter(|name| sources.has_module(name)).map_or("", String::as_str);
            let is_below = level(from).zip(level(to)).is_some_and(|(from, to)| from < to);
            if from != to && !is_below {
                found.push((name(module), name(&path)));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The module of the root that a module is part of.
fn top(module: &Module) -> &str {
    module.first().map_or("", String::as_str)
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn name(path: &Module) -> String {
    format!("crate::{}", path.join("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_trees_stores_keep_the_order() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    fn found(files: &[(&str, &str)]) -> Vec<(String, String)> {
        upward(&Sources::of(files))
    }

    #[test]
    fn a_name_of_a_lower_level_is_allowed() {
        let lib = ("lib.rs", "mod batch;\nmod error;\nmod store;\npub use store::Store;\n");
        let store = ("store.rs", "use crate::batch;\nuse crate::error::E;\nfn f() { batch::g() }\n");
        assert_eq!(
            found(&[
                lib,
                store,
                ("batch/mod.rs", "mod a;\nuse a::B;\n"),
                ("batch/a.rs", "use super::C;\n"),
                ("error.rs", "")
            ]),
            []
        );
    }

    #[test]
    fn a_name_of_the_same_level_or_of_one_above_is_refused() {
        let batch = ("batch/mod.rs", "pub(crate) use crate::coordination::A;\n");
        let coordination = ("coordination/mod.rs", "use crate::{queue, Store};\n");
        let upward = found(&[
            batch,
            coordination,
            ("queue.rs", ""),
            ("new.rs", ""),
            ("error.rs", "use crate::new::N;\n"),
        ]);
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            upward,
            [
                pair("crate::batch", "crate::coordination::A"),
                pair("crate::coordination", "crate::Store"),
                pair("crate::coordination", "crate::queue"),
                pair("crate::error", "crate::new::N"),
            ]
        );
    }
}
