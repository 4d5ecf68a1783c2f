//! Benchmarks: the crate `benches`, and the program whose start it measures, both built as the program is shipped.

use std::path::PathBuf;

use crate::shell::{Result, cargo};
use crate::workspace::root;

/// The names of stores begin so.
const STORES: [&str; 4] = ["memory", "sqlite", "postgres", "redis"];

pub(crate) fn bench(args: &[&str]) -> Result {
    let program = program();
    let program = program.to_string_lossy();
    if wants_program(args) {
        cargo(&["build", "--profile", "dist", "--package", "sentinel-coordination-cli"]).run()?;
    }
    let bench = cargo(&["run", "--profile", "dist", "--package", "sentinel-benches", "--"]).args(args);
    if wants_program(args) { bench.args(&["--program", &program]) } else { bench }.run()
}

/// Where cargo puts it.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    // What is not absolute is meant from where cargo runs: the root.
    root().join(target).join("dist").join(format!("sentinel{}", std::env::consts::EXE_SUFFIX))
}

/// It takes minutes to build: only if its start is measured. That is one of the workloads, on SQLite.
fn wants_program(args: &[&str]) -> bool {
    let measures_nothing =
        |arg: &&str| ["-h", "--help", "--from"].contains(arg) || arg.starts_with("--from=");
    if args.iter().any(measures_nothing) {
        return false;
    }
    let words = only(args);
    let stores = words.iter().filter(|word| STORES.iter().any(|store| word.starts_with(store))).count();
    let sqlite = stores == 0 || words.contains(&"sqlite");
    sqlite && (words.contains(&"program") || words.len() == stores)
}

/// The words after each `--only`.
fn only<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let after = args.windows(2).filter(|pair| pair[0] == "--only").map(|pair| pair[1]);
    let within = args.iter().filter_map(|arg| arg.strip_prefix("--only="));
    after.chain(within).flat_map(|words| words.split(',')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_built_where_its_start_is_measured() {
        for args in
            [&[][..], &["--quick"], &["--only", "program"], &["--only=sqlite"], &["--only", "redis,sqlite"]]
        {
            assert!(wants_program(args), "{args:?}");
        }
        let not: [&[&str]; 6] = [
            &["--help"],
            &["--from", "a.json"],
            &["--only", "postgres"],
            &["--only", "fresh,replay"],
            &["--only", "sqlite", "--only=fresh"],
            &["--only", "program,redis-always"],
        ];
        not.iter().for_each(|args| assert!(!wants_program(args), "{args:?}"));
    }
}
