//! The crates' manifests: one version, one licence, one set of lints.

use std::fs;

use crate::workspace::{Manifest, Member, Workspace, root};

use super::Findings;
use super::files::File;

pub(crate) fn check(workspace: &Workspace, files: &[File], found: &mut Findings) {
    let folders: Vec<&str> = workspace.members.iter().map(|member| member.folder.as_str()).collect();
    if !folders.is_sorted() {
        found.push("Cargo.toml: the members are not in alphabetical order".into());
    }
    // `verification/fuzz/` is a workspace of its own.
    let rootless = files.iter().filter(|file| !file.text.lines().any(|line| line == "[workspace]"));
    let forgotten = rootless.filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    found.extend(
        forgotten
            .filter(|folder| !folders.contains(folder))
            .map(|folder| format!("{folder}/Cargo.toml: is not a member of the workspace")),
    );
    workspace.members.iter().for_each(|member| member_is_tidy(member, found));
    let private = workspace.members.iter().filter(|member| !member.is_published());
    let private: Vec<&str> = private.map(|member| member.name.as_str()).collect();
    own_versions(&workspace.manifest, workspace.version(), &private, found);
}

fn member_is_tidy(member: &Member, found: &mut Findings) {
    let path = format!("{}/Cargo.toml", member.folder);
    let inherits = |section: &str, field: &str| {
        let dotted = member.manifest.value(section, &format!("{field}.workspace"));
        dotted
            .or_else(|| member.manifest.value(section, field).filter(|v| *v == "{ workspace = true }"))
            .is_some()
    };
    for field in ["version", "edition", "rust-version", "license", "repository"] {
        if !inherits("package", field) {
            found.push(format!("{path}: `{field}.workspace = true` is missing"));
        }
    }
    if member.manifest.value("package", "description").is_none() {
        found.push(format!("{path}: the description is missing"));
    }
    if member.manifest.value("lints", "workspace") != Some("true") {
        found.push(format!("{path}: `[lints] workspace = true` is missing"));
    }
    if member.is_published() && !is_program(&member.manifest) && !documents_all_features(&member.manifest) {
        found.push(format!("{path}: `[package.metadata.docs.rs] all-features = true` is missing"));
    }
    versions_in_one_place(&path, &member.manifest, found);
}

fn is_program(manifest: &Manifest) -> bool {
    manifest.sections().any(|name| name == "bin")
}

/// Whether docs.rs builds the documentation with all features.
fn documents_all_features(manifest: &Manifest) -> bool {
    manifest.value("package.metadata.docs.rs", "all-features") == Some("true")
}

/// Versions of dependencies stand in the root manifest only.
fn versions_in_one_place(path: &str, manifest: &Manifest, found: &mut Findings) {
    for section in manifest.sections().filter(|name| name.ends_with("dependencies")) {
        let lines = manifest.section(section).filter(|line| line.contains('='));
        let strangers = lines.filter(|line| !line.contains("workspace = true") && !line.contains("path = "));
        found.extend(
            strangers.map(|line| format!("{path}: `{line}` does not take its version from the root")),
        );
    }
}

/// The crates of this workspace are released together: each is asked for in the version of all. One that is not
/// published is asked for in none: cargo leaves it out of what it publishes only then.
fn own_versions(manifest: &Manifest, version: &str, private: &[&str], found: &mut Findings) {
    let ours = manifest.section("workspace.dependencies").filter(|line| line.contains("path = "));
    let is_private = |line: &str| line.split_once(" =").is_some_and(|(name, _)| private.contains(&name));
    let (private, published): (Vec<&str>, Vec<&str>) = ours.partition(|line| is_private(line));
    for line in published.into_iter().filter(|line| !line.contains(&format!("version = \"{version}\""))) {
        found.push(format!("Cargo.toml: `{line}` does not ask for version {version}"));
    }
    for line in private.into_iter().filter(|line| line.contains("version = ")) {
        found.push(format!("Cargo.toml: `{line}` asks for a version of what is not published"));
    }
    if manifest.value("workspace.package", "license") != Some("MIT OR Apache-2.0") {
        found.push("Cargo.toml: the licence is not MIT OR Apache-2.0".into());
    }
    let licences = [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "Apache License")];
    for (file, title) in licences {
        if !fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(title)) {
            found.push(format!("{file}: is not the {title}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_version_is_found() {
        let manifest = Manifest::parse("[dependencies]\na.workspace = true\nb = \"1\"\n");
        let mut found = vec![];
        versions_in_one_place("x", &manifest, &mut found);
        assert_eq!(found, ["x: `b = \"1\"` does not take its version from the root"]);
    }

    #[test]
    fn the_documentation_of_a_library_has_all_features() {
        let docs = Manifest::parse("[package.metadata.docs.rs]\nall-features = true\n");
        let program = Manifest::parse("[[bin]]\nname = \"p\"\n");
        assert!(documents_all_features(&docs) && !is_program(&docs));
        assert!(!documents_all_features(&program) && is_program(&program));
    }

    #[test]
    fn an_old_version_is_found() {
        let text = "[workspace.package]\nlicense = \"MIT OR Apache-2.0\"\n[workspace.dependencies]\n\
                    a = { path = \"a\", version = \"0.1.0\" }\n";
        let mut found = vec![];
        own_versions(&Manifest::parse(text), "0.1.0", &[], &mut found);
        assert!(found.is_empty(), "{found:?}");
        own_versions(&Manifest::parse(text), "0.2.0", &[], &mut found);
        assert_eq!(found.len(), 1);
        own_versions(&Manifest::parse(text), "0.1.0", &["a"], &mut found);
        assert_eq!(found.len(), 2);
        own_versions(
            &Manifest::parse(&text.replace(", version = \"0.1.0\"", "")),
            "0.1.0",
            &["a"],
            &mut found,
        );
        assert_eq!(found.len(), 2);
    }
}
