//! Generated sequences, one request after another, compared with the kernel after each step. A sequence that fails is
//! shrunk to the few steps that matter.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};
use sentinel_core::Key;
use sentinel_core::store::List;
use tokio::runtime::{Builder, Runtime};

use crate::coordination::generate::{self, Step};
use crate::coordination::harness::Harness;

mod coverage;
pub(crate) mod model;
mod shrink;
mod told;

pub(crate) use coverage::rule;
pub use coverage::{Coverage, StartState};
use model::Model;
use shrink::shrink;
use told::Told;

/// How many sequences share one store. Each has a namespace of its own, but a store that scans for what it lists or
/// purges should not have to scan the records of all the others.
const SEQUENCES_PER_STORE: u32 = 100;

/// Runs `cases` generated sequences against a store, and panics with the shortest one that it gets wrong.
///
/// The same sequences in each run; the environment variable `SENTINEL_SEED` (a number) gives others, and
/// `SENTINEL_CASES_FACTOR` so many times as many.
pub fn sequences<H: Harness>(cases: u32) {
    sequences_covering::<H>(cases);
}

/// [`sequences`], and what they reached.
pub fn sequences_covering<H: Harness>(cases: u32) -> Coverage {
    let seed = seed();
    let config = Config {
        cases: times(cases),
        failure_persistence: None,
        // ChaCha, the default, costs more than all else in an unoptimised build.
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let runtime = runtime(&mut Builder::new_current_thread());
    let bench = RefCell::new(Bench::<H> { harness: None, used: 0, coverage: Coverage::default() });
    let tested = TestRunner::new(config).run(&generate::sequences(), |steps| {
        let mut bench = bench.borrow_mut();
        runtime.block_on(bench.play(&steps)).map_err(TestCaseError::fail)
    });
    match tested {
        Ok(()) => {}
        Err(TestError::Fail(how, steps)) => {
            let fails = |steps: &[Step]| {
                let play = || runtime.block_on(bench.borrow_mut().play(steps));
                catch_unwind(AssertUnwindSafe(play)).unwrap_or(Err("the store panicked".into())).err()
            };
            let (_, story) = shrink(steps, how.to_string(), fails);
            panic!("{story}\n(seed {seed})\n");
        }
        Err(TestError::Abort(reason)) => panic!("the sequences were given up: {reason}"),
    }
    bench.into_inner().coverage
}

/// The seed of generated tests: always the same, unless the environment says otherwise.
pub(crate) fn seed() -> u64 {
    let told = std::env::var("SENTINEL_SEED").ok();
    told.map_or(0x5eed, |text| {
        text.parse().unwrap_or_else(|_| panic!("SENTINEL_SEED is {text:?}, not a number"))
    })
}

/// So many cases, times the environment variable `SENTINEL_CASES_FACTOR` (a number): for soaks.
pub(crate) fn times(cases: u32) -> u32 {
    let told = std::env::var("SENTINEL_CASES_FACTOR").ok();
    let factor = told.map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("SENTINEL_CASES_FACTOR is {text:?}, not a number"))
    });
    cases.saturating_mul(factor)
}

/// A runtime for a layer of its own.
pub(crate) fn runtime(builder: &mut Builder) -> Runtime {
    builder.enable_all().build().unwrap_or_else(|error| panic!("no runtime: {error}"))
}

struct Bench<H> {
    harness: Option<H>,
    used: u32,
    coverage: Coverage,
}

impl<H: Harness> Bench<H> {
    async fn play(&mut self, steps: &[Step]) -> Result<(), String> {
        self.used += 1;
        if self.used.is_multiple_of(SEQUENCES_PER_STORE) {
            self.harness = None;
        }
        let harness = match self.harness.take() {
            Some(harness) => harness,
            None => H::open().await,
        };
        let harness = self.harness.insert(harness);
        let mut told = Vec::new();
        let played = play(harness, steps, &mut told, &mut self.coverage).await;
        played.map_err(|mismatch| narrate(steps, &told, &mismatch))
    }
}

async fn play<H: Harness>(
    harness: &H,
    steps: &[Step],
    told: &mut Vec<Told>,
    coverage: &mut Coverage,
) -> Result<(), String> {
    let mut model = Model::new(harness.store()).await?;
    for step in steps {
        let answer = match step {
            Step::Ask { place, ask } => model.ask(*place, ask, coverage).await?,
            Step::Advance(passing) => {
                let by = model.passing(*passing);
                harness.advance(by).await;
                Told::Passed(by)
            }
            Step::SetBack(by) => {
                let by = if harness.set_back(*by).await { *by } else { Duration::ZERO };
                model.set_back(by);
                Told::Passed(by)
            }
            Step::Beats(beats) => model.beats(beats, coverage).await?,
            Step::Purge { limit, dry_run } => model.purge(*limit, *dry_run, coverage).await?,
            Step::List { kind, shown, after, limit } => {
                let after = if *after { Key::new("a").ok() } else { None };
                let namespace = model.namespace().clone();
                model.list(&List { namespace, kind: *kind, state: *shown, after, limit: *limit }).await?
            }
        };
        told.push(answer);
    }
    model.end().await
}

/// The sequence, what was answered, and where it went wrong.
fn narrate(steps: &[Step], told: &[Told], mismatch: &str) -> String {
    let mut text = String::from("a sequence that the store gets wrong:\n");
    for (n, step) in steps.iter().take(told.len() + 1).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>4}. {step}", n + 1);
        if let Some(answer) = told.get(n) {
            let _ = writeln!(text, "      -> {answer}");
        }
    }
    text + mismatch
}
