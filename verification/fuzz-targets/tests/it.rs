//! Every target on its seeds, on changed seeds, and on bytes that mean nothing. The same in each run; `SENTINEL_SEED`
//! gives others, `SENTINEL_CASES_FACTOR` more.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its seeds has failed")]

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentinel_fuzz_targets::{TARGETS, run};

/// For each target.
const CASES: u32 = 4_000;

fn setting(name: &str, default: u32) -> u32 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("seeds").join(target);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A seed in which something was changed, cut, repeated or mixed in; or bytes that mean nothing.
fn input(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    if bytes.is_empty() || rng.random_range(0..4) == 0 {
        bytes = (0..rng.random_range(0..600)).map(|_| rng.random()).collect();
    }
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 => bytes.splice(at..at, seeds[rng.random_range(0..seeds.len())].iter().copied()).for_each(drop),
            3 => bytes.splice(at..at, b"9007199254740992".iter().copied()).for_each(drop),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.random()),
        }
    }
    bytes
}

fn holds(target: &str) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds.iter().for_each(|seed| run(target, seed));
    let mut rng = StdRng::seed_from_u64(u64::from(setting("SENTINEL_SEED", 0)));
    for _ in 0..CASES * setting("SENTINEL_CASES_FACTOR", 1) {
        let input = input(&mut rng, &seeds);
        let result = std::panic::catch_unwind(|| run(target, &input));
        assert!(result.is_ok(), "{target}, of {:?}", String::from_utf8_lossy(&input));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        /// Each target is run here, has a program for libFuzzer, and seeds.
        #[test]
        fn every_target_is_run_everywhere() {
            let here = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(here));
            let programs = std::fs::read_dir(folder().join("fuzz_targets")).unwrap();
            let mut programs: Vec<_> = programs.map(|entry| entry.unwrap().path()).collect();
            programs.sort();
            let named = programs.iter().filter_map(|path| path.file_stem()?.to_str());
            assert!(named.eq(here), "{programs:?}");
            let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
            here.iter().for_each(|name| assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}"));
        }
    };
}

targets!(arguments causes fences kernel names payloads redis_events redis_records sqlite_events sqlite_records urls);
