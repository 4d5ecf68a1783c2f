//! `cargo-mutants` on one part of the workspace, with the tests that have to detect it.

use crate::shell::{Result, cargo};

/// What can be asked for: its name, the files that are mutated, the packages whose tests have to detect it, and which
/// tests.
struct Part {
    name: &'static str,
    files: &'static [&'static str],
    packages: &'static [&'static str],
    targets: &'static [&'static str],
    /// Seconds that the tests may take before a mutant counts as one that hangs.
    timeout: &'static str,
}

/// A store's mutants are for its own tests; those of the kernel for the suite, which takes seconds on the in-memory
/// store.
const PARTS: [Part; 7] = [
    Part {
        name: "kernel",
        files: &["sentinel-core/src/kernel/**"],
        packages: &["sentinel-coordination-core", "sentinel-coordination-conformance"],
        targets: &["--lib", "--test=it"],
        timeout: "60",
    },
    Part {
        name: "client",
        files: &["sentinel-client/src/**"],
        packages: &["sentinel-coordination-client", "sentinel-coordination"],
        targets: &["--lib", "--test=it"],
        timeout: "60",
    },
    Part {
        name: "store-kit",
        files: &["sentinel-store-kit/src/**"],
        packages: &["sentinel-coordination-store-kit", "sentinel-coordination-redis"],
        targets: &["--lib", "--test=it"],
        timeout: "1200",
    },
    Part {
        name: "memory",
        files: &["sentinel-memory/src/**"],
        packages: &["sentinel-coordination-memory", "sentinel-coordination-conformance"],
        targets: &["--lib", "--test=it"],
        timeout: "60",
    },
    Part {
        name: "sqlite",
        files: &["sentinel-sqlite/src/**"],
        packages: &["sentinel-coordination-sqlite"],
        targets: &["--lib", "--test=it"],
        timeout: "300",
    },
    Part {
        name: "postgres",
        // The facade has the methods that take a transaction and a type of the client; the store's tests run them.
        files: &["sentinel-postgres/src/**", "sentinel/src/postgres/**"],
        packages: &["sentinel-coordination-postgres"],
        targets: &["--lib", "--test=it"],
        timeout: "1200",
    },
    Part {
        name: "redis",
        files: &["sentinel-redis/src/**"],
        packages: &["sentinel-coordination-redis"],
        targets: &["--lib", "--test=it"],
        timeout: "1200",
    },
];

/// Mutates a part of the working tree in place, one mutant at a time; `cargo-mutants` puts each back. In place and
/// incrementally a mutant of the kernel is built in four seconds, and in a copy in fifteen.
pub(crate) fn mutants(name: &str, rest: &[&str]) -> Result {
    let names = PARTS.map(|part| part.name);
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        return Err(format!("there is no part {name:?}: {}", names.join(", ")).into());
    };
    if !cargo(&["mutants", "--version"]).works() {
        return Err("cargo-mutants is missing: `cargo install --locked cargo-mutants`".to_owned().into());
    }
    let output = format!("target/mutants/{name}");
    let settings = ["mutants", "--in-place", "--baseline", "skip", "--output", &output];
    let files = part.files.iter().flat_map(|files| ["--file", *files]);
    let tests = part.packages.iter().flat_map(|package| ["--test-package", *package]);
    let targets = part.targets.iter().flat_map(|target| ["--cargo-arg", *target]);
    let args: Vec<&str> = files.chain(tests).chain(targets).chain(["--timeout", part.timeout]).collect();
    std::fs::create_dir_all(crate::workspace::root().join(&output))?;
    cargo(&settings).args(&args).args(rest).env("CARGO_INCREMENTAL", "1").run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Workspace, root};

    #[test]
    fn each_part_is_there() {
        let workspace = Workspace::load().unwrap();
        for part in &PARTS {
            for files in part.files {
                assert!(root().join(files.trim_end_matches("**")).is_dir(), "{files}");
            }
            for package in part.packages {
                let member = workspace.members.iter().find(|member| member.name == **package).expect(package);
                assert!(member.path().join("src/lib.rs").is_file(), "{package} has no library to test");
            }
            let its = part
                .packages
                .iter()
                .filter_map(|package| workspace.members.iter().find(|member| member.name == **package));
            assert!(
                its.filter(|m| m.path().join("tests/it/main.rs").is_file()).count() == 1,
                "{}",
                part.name
            );
        }
    }

    #[test]
    fn an_unknown_part_is_refused_with_the_known_ones() {
        let error = mutants("kernal", &[]).unwrap_err().to_string();
        assert!(error.contains("kernal") && error.contains("kernel, client, store-kit"), "{error}");
    }
}
