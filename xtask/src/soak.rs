//! Long runs: soaks, and the deep run whose figures stand in `docs/verification.md`.

use crate::setup;
use crate::shell::{Result, Stages, cargo};

const USAGE: &str = "cargo xtask soak [--store memory|sqlite|postgres|redis|failover|all]... \
                     [--minutes N | --schedules N] [--seed N]";
/// The generated layers of the conformance suite, by what their tests are called.
const GENERATED: [&str; 2] = ["sequences", "histories"];
const STORES: [&str; 5] = ["memory", "sqlite", "postgres", "redis", "failover"];

/// What is to be broken, for how long.
#[derive(Debug, PartialEq, Eq)]
struct Soak<'a> {
    stores: Vec<&'a str>,
    /// In all.
    minutes: Option<u64>,
    /// For each store.
    schedules: u64,
    seed: u64,
}

impl<'a> Soak<'a> {
    fn parse(args: &[&'a str]) -> Option<Self> {
        let mut soak = Self { stores: Vec::new(), minutes: None, schedules: 20, seed: 1 };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return None };
            match (*name, *value) {
                ("--store", "all") => soak.stores.extend(STORES),
                ("--store", store) if STORES.contains(&store) => soak.stores.push(store),
                ("--minutes", minutes) => soak.minutes = Some(minutes.parse().ok()?),
                ("--schedules", schedules) => soak.schedules = schedules.parse().ok()?,
                ("--seed", seed) => soak.seed = seed.parse().ok()?,
                _ => return None,
            }
        }
        if soak.stores.is_empty() {
            soak.stores.extend(STORES);
        }
        Some(soak)
    }

    /// How long each store has, or how many schedules. The memory store is no server: its schedules are simulated
    /// worlds.
    fn share(&self, store: &str) -> (&'static str, String) {
        match self.minutes {
            Some(minutes) => ("--minutes", (minutes / self.stores.len() as u64).max(1).to_string()),
            None if store == "memory" => ("--seeds", (1_000 * self.schedules).to_string()),
            None => ("--schedules", self.schedules.to_string()),
        }
    }
}

/// Breaks stores until the time is over, or a promise is.
pub(crate) fn soak(args: &[&str]) -> Result {
    let Some(soak) = Soak::parse(args) else { return Err(USAGE.to_owned().into()) };
    let seed = soak.seed.to_string();
    let mut stages = Stages::default();
    stages.stage("setup", setup::setup);
    for store in &soak.stores {
        let (limit, share) = soak.share(store);
        stages.stage(*store, || match *store {
            "memory" => simulate(&[limit, &share, "--from", &seed]),
            store => chaos(&["--store", store, limit, &share, "--seed", &seed]),
        });
    }
    stages.finish()
}

/// Everything that is too long for a test run, as much of it as `docs/verification.md` describes.
pub(crate) fn deep() -> Result {
    let mut stages = Stages::default();
    stages.stage("setup", setup::setup);
    stages.stage("model", || cargo(&["run", "--release", "--package", "sentinel-model"]).run());
    stages.stage("simulation", || simulate(&["--seeds", "1000000"]));
    for (package, test, layers, factor) in [
        ("sentinel-coordination-conformance", "layers", &["sequences"][..], "50"),
        ("sentinel-coordination-conformance", "it", &["histories"], "50"),
        ("sentinel-coordination-admin", "it", &["histories"], "20"),
        ("sentinel-coordination-sqlite", "it", &GENERATED, "20"),
        ("sentinel-coordination-redis", "it", &GENERATED, "20"),
        ("sentinel-coordination-postgres", "it", &GENERATED, "20"),
    ] {
        stages.stage(package, || generated(package, test, layers, factor));
    }
    for (store, schedules) in [("sqlite", "300"), ("postgres", "300"), ("redis", "300"), ("failover", "30")] {
        stages.stage(store, || chaos(&["--store", store, "--schedules", schedules]));
    }
    stages.finish()
}

fn simulate(args: &[&str]) -> Result {
    cargo(&["run", "--release", "--package", "sentinel-simulation", "--"]).args(args).run()
}

fn chaos(args: &[&str]) -> Result {
    cargo(&["run", "--release", "--package", "sentinel-chaos", "--"]).args(args).run()
}

/// Generates this many times as many sequences and histories as a test run.
fn generated(package: &str, test: &str, layers: &[&str], factor: &str) -> Result {
    cargo(&["test", "--release", "--all-features", "--package", package, "--test", test, "--"])
        .args(layers)
        .env("SENTINEL_CASES_FACTOR", factor)
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stores_share_the_minutes() {
        let soak = Soak::parse(&["--minutes", "50", "--seed", "7", "--store", "all"]).unwrap();
        assert_eq!((soak.stores.len(), soak.seed), (5, 7));
        assert_eq!(soak.share("redis"), ("--minutes", "10".into()));
        assert_eq!(Soak::parse(&[]).unwrap().share("memory"), ("--seeds", "20000".into()));
    }

    #[test]
    fn unknown_arguments_are_refused() {
        for args in [&["--minutes"][..], &["--minutes", "x"], &["--store", "oracle"], &["20", "1"]] {
            assert_eq!(Soak::parse(args), None, "{args:?}");
        }
    }
}
