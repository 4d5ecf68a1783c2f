//! libFuzzer on everything that is parsed from people and servers: the programs in `verification/fuzz/`, by cargo-fuzz
//! and a nightly compiler.

use std::fs;

use crate::shell::{Result, program};
use crate::workspace::root;

/// How long each target runs, in seconds, without `--seconds`.
const SECONDS: u32 = 60;

const USAGE: &str = "cargo xtask fuzz [--seconds N] [TARGET..]";

pub(crate) fn fuzz(args: &[&str]) -> Result {
    let (seconds, targets) = parse(args, &all()?)?;
    if !cargo_fuzz(&["--version"]).works() {
        return Err("fuzzing needs a nightly compiler and cargo-fuzz:\n  \
                    rustup toolchain install nightly\n  cargo install --locked cargo-fuzz\n\
                    The same targets run without them, on seeds: `cargo test -p sentinel-fuzz-targets`"
            .to_owned()
            .into());
    }
    for target in &targets {
        // What is found that is new goes to the first folder, which is not checked in.
        let (corpus, seeds) =
            (format!("verification/fuzz/corpus/{target}"), format!("verification/fuzz/seeds/{target}"));
        fs::create_dir_all(root().join(&corpus))?;
        let limit = format!("-max_total_time={seconds}");
        cargo_fuzz(&[
            "run",
            "--fuzz-dir",
            "verification/fuzz",
            target,
            &corpus,
            &seeds,
            "--",
            &limit,
            "-max_len=4096",
            "-print_final_stats=1",
        ])
        // SQLite's one file of C has two tables of one name.
        .env("ASAN_OPTIONS", "detect_odr_violation=0")
        .run()?;
    }
    println!("\n{} targets, {seconds} s each: nothing was found", targets.len());
    Ok(())
}

/// The cargo that runs this program is a stable one; rustup knows the other.
fn cargo_fuzz(args: &[&str]) -> crate::shell::Run {
    program("rustup", &["run", "nightly", "cargo", "fuzz"]).args(args)
}

/// The programs that there are.
fn all() -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("verification/fuzz/fuzz_targets"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        all.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    all.sort();
    Ok(all)
}

fn parse(args: &[&str], all: &[String]) -> Result<(u32, Vec<String>)> {
    let (mut seconds, mut targets) = (SECONDS, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match (*arg, all.iter().find(|name| name == arg)) {
            ("--seconds", _) => {
                let number = args.next().and_then(|text| text.parse().ok());
                seconds = number.ok_or_else(|| format!("--seconds needs a number: {USAGE}"))?;
            }
            (_, Some(target)) => targets.push(target.clone()),
            _ => return Err(format!("{arg:?} is no target: {USAGE}\nThere are {}", all.join(", ")).into()),
        }
    }
    Ok((seconds, if targets.is_empty() { all.to_vec() } else { targets }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed() {
        let all = ["a".to_owned(), "b".to_owned()];
        assert_eq!(parse(&[], &all).unwrap(), (SECONDS, all.to_vec()));
        assert_eq!(parse(&["b", "--seconds", "5"], &all).unwrap(), (5, vec!["b".to_owned()]));
        for bad in [&["c"][..], &["--seconds"], &["--seconds", "x"]] {
            assert!(parse(bad, &all).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn there_are_targets() {
        assert!(all().unwrap().iter().any(|name| name == "urls"));
    }
}
