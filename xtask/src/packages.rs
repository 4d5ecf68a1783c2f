//! What would be published: each package has what a reader of the registry needs, and its readme and licences.

use std::path::Path;

use crate::json::Json;
use crate::shell::{Failure, Result, cargo};
use crate::workspace::{Workspace, root};

/// Metadata that the registry shows.
const TEXTS: [&str; 5] = ["description", "license", "readme", "repository", "rust_version"];

/// Metadata by which packages are found.
const LISTS: [&str; 2] = ["keywords", "categories"];

/// Files that a package has, beside its sources.
const FILES: [&str; 4] = ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// The largest numbers of keywords and categories that the registry accepts.
const MAX_LISTED: usize = 5;

/// Refuses a published package that lacks one of them.
pub(crate) fn packages(workspace: &Workspace) -> Result {
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]).read()?;
    let metadata = Json::parse(&metadata)?;
    let mut found = Vec::new();
    let mut count = 0;
    for member in workspace.members.iter().filter(|member| member.is_published()) {
        let package = of_folder(&metadata, &member.folder)
            .ok_or_else(|| Failure::from(format!("{}: cargo does not list its package", member.folder)))?;
        found.extend(missing(package).into_iter().map(|what| format!("{}: {what}", member.folder)));
        let name = package.get("name").and_then(Json::text).unwrap_or_default();
        let list = cargo(&["package", "--list", "--allow-dirty", "--offline", "--package", name]).read()?;
        found.extend(missing_files(&list).into_iter().map(|what| format!("{}: {what}", member.folder)));
        count += 1;
    }
    if found.is_empty() {
        println!("{count} packages are complete");
        return Ok(());
    }
    Err(Failure::from(found.join("\n")))
}

/// The package of a folder: names may change, folders do not.
fn of_folder<'a>(metadata: &'a Json, folder: &str) -> Option<&'a Json> {
    let manifest = root().join(folder).join("Cargo.toml");
    let is_here = |package: &&Json| {
        package.get("manifest_path").and_then(Json::text).is_some_and(|path| Path::new(path) == manifest)
    };
    metadata.get("packages")?.list().iter().find(is_here)
}

/// What a package's metadata lacks.
fn missing(package: &Json) -> Vec<String> {
    let has_text = |name: &&&str| package.get(name).and_then(Json::text).is_some_and(|text| !text.is_empty());
    let texts = TEXTS.iter().filter(|name| !has_text(name)).map(|name| format!("its manifest has no {name}"));
    let lists = LISTS.iter().filter_map(|name| match package.get(name).map_or(0, |list| list.list().len()) {
        0 => Some(format!("its manifest has no {name}")),
        many if many > MAX_LISTED => Some(format!("its manifest has {many} {name}, more than {MAX_LISTED}")),
        _ => None,
    });
    texts.chain(lists).collect()
}

/// What a package's list of files lacks.
fn missing_files(list: &str) -> Vec<String> {
    let files: Vec<String> = list.lines().map(|line| line.replace('\\', "/")).collect();
    let has = |name: &str| files.iter().any(|file| file == name);
    let mut missing: Vec<String> =
        FILES.iter().filter(|name| !has(name)).map(|name| format!("its package lacks {name}")).collect();
    if !has("src/lib.rs") && !has("src/main.rs") {
        missing.push("its package lacks src/lib.rs or src/main.rs".into());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = r#"{"name": "a", "description": "b", "license": "MIT", "readme": "README.md",
        "repository": "https://example.org", "rust_version": "1.90", "keywords": ["c"], "categories": ["d"]}"#;

    #[test]
    fn a_complete_package_lacks_nothing() {
        assert_eq!(missing(&Json::parse(COMPLETE).unwrap()), [""; 0]);
        assert_eq!(
            missing_files("Cargo.toml\nLICENSE-APACHE\nLICENSE-MIT\nREADME.md\nsrc/lib.rs\n"),
            [""; 0]
        );
    }

    #[test]
    fn what_the_metadata_lacks_is_named() {
        for name in TEXTS {
            let text = COMPLETE.replace(&format!("\"{name}\": \""), &format!("\"{name}\": null, \"x\": \""));
            assert_eq!(missing(&Json::parse(&text).unwrap()), [format!("its manifest has no {name}")]);
        }
        let text = COMPLETE.replace("[\"c\"]", "[]").replace("[\"d\"]", r#"["1", "2", "3", "4", "5", "6"]"#);
        assert_eq!(
            missing(&Json::parse(&text).unwrap()),
            ["its manifest has no keywords", "its manifest has 6 categories, more than 5"]
        );
    }

    #[test]
    fn the_files_that_a_package_lacks_are_named() {
        let found = missing_files("Cargo.toml\nREADME.md\nLICENSE-MIT\nexamples/lib.rs\n");
        assert_eq!(
            found,
            ["its package lacks LICENSE-APACHE", "its package lacks src/lib.rs or src/main.rs"]
        );
    }

    #[test]
    fn a_package_is_found_by_its_folder() {
        let manifest = root().join("a/Cargo.toml");
        let manifest = manifest.to_string_lossy().replace('\\', "\\\\");
        let json = format!(r#"{{"packages": [{{"name": "b", "manifest_path": "{manifest}"}}]}}"#);
        let json = Json::parse(&json).unwrap();
        assert_eq!(of_folder(&json, "a").and_then(|found| found.get("name")).and_then(Json::text), Some("b"));
        assert_eq!(of_folder(&json, "b"), None);
    }
}
