//! Everything that can be checked of the tree without running it. Writes nothing but build output.

use crate::shell::{Result, Stages, cargo};
use crate::workspace::{Member, Workspace};
use crate::{guards, packages, tidy};

pub(crate) fn verify(workspace: &Workspace) -> Result {
    let mut stages = Stages::default();
    stages.stage("format", format);
    stages.stage("tidy", || tidy::tidy(workspace));
    stages.stage("architecture", || guards::guards(workspace));
    stages.stage("packages", || packages::packages(workspace));
    stages.stage("lints", lints);
    stages.stage("documentation", documentation);
    for member in workspace.members.iter().filter(|member| !member.features().is_empty()) {
        stages.stage(format!("features of {}", member.name), || features(member));
    }
    stages.stage("dependencies", dependencies);
    stages.finish()
}

fn format() -> Result {
    cargo(&["fmt", "--all", "--check"]).run()?;
    // A workspace of its own; its targets are in this one.
    cargo(&["fmt", "--manifest-path", "verification/fuzz/Cargo.toml", "--check"]).run()
}

fn lints() -> Result {
    // One round reports all that is wrong, of every crate.
    let all = ["clippy", "--workspace", "--all-targets", "--all-features", "--keep-going"];
    cargo(&all).args(&["--", "-D", "warnings"]).run()
}

/// The libraries' documentation. A program's documentation is its `--help`.
fn documentation() -> Result {
    cargo(&["doc", "--workspace", "--lib", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

/// None, then each feature alone. All at once is what `lints` builds.
fn features(member: &Member) -> Result {
    let none = ["clippy", "--package", &member.name, "--no-default-features"];
    let warnings = ["--", "-D", "warnings"];
    cargo(&none).args(&warnings).run()?;
    for feature in member.features() {
        cargo(&none).args(&["--features", feature]).args(&warnings).run()?;
    }
    Ok(())
}

/// Licences, sources and doubles, offline. Advisories need a download, so they are for `cargo deny check` by hand.
fn dependencies() -> Result {
    if !cargo(&["deny", "--version"]).works() {
        println!("cargo-deny is not installed: skipped (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]).run()
}
