//! The guide holds what is compiled here, and its manifest names all that it uses.

const GUIDE: &str = include_str!("../../../docs/writing-a-store.md");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");
const FILES: [(&str, &str); 3] = [
    ("tests/conformance.rs", include_str!("conformance.rs")),
    ("tests/wire.rs", include_str!("wire.rs")),
    ("src/lib.rs", include_str!("store.rs")),
];

/// The code block of the guide that follows a line which names its file.
fn block(file: &str) -> Option<&'static str> {
    let (_, rest) = GUIDE.split_once(&format!("`{file}`:\n\n```"))?;
    let (_, code) = rest.split_once('\n')?;
    code.split_once("```").map(|(code, _)| code)
}

#[test]
fn the_files_of_the_guide_are_the_ones_that_are_compiled() {
    for (file, compiled) in &FILES[..2] {
        let block = block(file).unwrap_or_else(|| panic!("the guide has no `{file}`"));
        assert!(block == *compiled, "`{file}` in the guide is not the file that is compiled:\n{compiled}");
    }
    assert!(
        GUIDE.contains("conformance-tests/tests/guide/store.rs"),
        "the guide names the store to read first"
    );
}

#[test]
fn the_manifest_of_the_guide_names_all_that_its_files_use() {
    let manifest = block("Cargo.toml").expect("the guide has a manifest");
    // The library of `sentinel-coordination-core` is `sentinel_core`.
    let library = |(package, _): (&str, &str)| package.replace("sentinel-coordination", "sentinel");
    let dependencies: Vec<String> =
        manifest.lines().filter_map(|line| line.split_once(" = ")).map(library).collect();
    for (file, text) in FILES {
        for line in text.lines() {
            let Some(path) = line.strip_prefix("use ").or_else(|| line.trim().strip_prefix("#[")) else {
                continue;
            };
            let name = path.split("::").next().unwrap_or_default().replace('_', "-");
            let is_ours = ["std", "my-store"].contains(&&*name) || !path.contains("::");
            assert!(is_ours || dependencies.contains(&name), "{file} uses {name}, which the manifest lacks");
        }
    }
    // In the registry, names of ours belong to other projects.
    let of_ours = manifest.lines().filter(|line| line.starts_with("sentinel-")).collect::<Vec<_>>();
    assert!(!of_ours.is_empty(), "the manifest names none of our crates:\n{manifest}");
    for line in of_ours {
        let repository = line.split_once("git = ").and_then(|(_, rest)| rest.split('"').nth(1));
        let known = repository.is_some_and(|url| WORKSPACE.contains(&format!("repository = \"{url}\"")));
        assert!(known, "{line}: is not taken from the workspace's repository");
    }
    for line in manifest.lines().filter(|line| line.contains("version = ") || line.contains(" = \"")) {
        let (name, rest) = line.split_once(" = ").expect("a line of a manifest");
        let version = rest.split('"').find(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        let Some(version) = version else { continue };
        if ["edition", "rust-version"].contains(&name) {
            assert!(
                WORKSPACE.contains(&format!("{name} = \"{version}\"")),
                "{line}: the workspace has another"
            );
            continue;
        }
        let ours = WORKSPACE.lines().find(|ours| ours.starts_with(&format!("{name} = ")));
        let known = name == "version" || ours.is_some_and(|ours| ours.contains(&format!("\"{version}")));
        assert!(known, "{line}: the workspace has {ours:?}");
    }
}
