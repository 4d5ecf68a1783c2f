//! The root of the facade stays small: a user who opens its documentation sees a dozen names, and modules for the rest.

/// What is exported at the root: `connect`, the client, its outcomes and errors, names, and the four stores.
const NAMES: [&str; 14] = [
    "Deployment",
    "Error",
    "Failure",
    "Key",
    "LeaseOutcome",
    "MemoryStore",
    "Namespace",
    "Outcome",
    "PostgresStore",
    "RedisStore",
    "Run",
    "Sentinel",
    "SqliteStore",
    "connect",
];

#[test]
fn the_root_exports_a_dozen_names_and_modules() {
    let source = include_str!("../../src/lib.rs");
    let mut names = Vec::new();
    // Uses in modules are indented, and a list of names may go on over several lines.
    for export in source.split("\npub use ").skip(1) {
        let export = export.split_once(';').unwrap().0;
        let (_, list) = export.rsplit_once("::").unwrap();
        let list = export.split_once('{').map_or(list, |(_, list)| list);
        names.extend(list.split([',', '}']).map(str::trim).filter(|name| !name.is_empty()));
    }
    names.sort_unstable();
    names.retain(|name| *name != "kernel");
    assert_eq!(names, NAMES);
    for item in [
        "\npub fn",
        "\npub async fn",
        "\npub struct",
        "\npub enum",
        "\npub trait",
        "\npub type",
        "\npub const",
    ] {
        assert!(!source.contains(item), "{item} at the root: it belongs in a module");
    }
}
