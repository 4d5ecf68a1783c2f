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
mod kernel;
pub(crate) mod model;
mod shrink;
mod step_result;

pub(crate) use coverage::rule;
pub use coverage::{Coverage, StartState};
pub use kernel::{KernelHistory, kernel_histories};
use model::Model;
use shrink::shrink;
use step_result::StepResult;

/// How many sequences share one store. Each has a namespace of its own, but a store that scans for what it lists or
/// purges should not have to scan the records of all the others.
const SEQUENCES_PER_STORE: u32 = 100;

/// Runs `cases` generated sequences against a store, and panics with the shortest one that fails.
///
/// The same sequences in each run; the environment variable `SENTINEL_SEED` (a number) gives others, and
/// `SENTINEL_CASES_FACTOR` multiplies their number.
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
    let harness = RefCell::new(Runner::<H> { harness: None, used: 0, coverage: Coverage::default() });
    let tested = TestRunner::new(config).run(&generate::sequences(), |steps| {
        let mut harness = harness.borrow_mut();
        runtime.block_on(harness.play(&steps)).map_err(TestCaseError::fail)
    });
    match tested {
        Ok(()) => {}
        Err(TestError::Fail(how, steps)) => {
            let fails = |steps: &[Step]| {
                let play = || runtime.block_on(harness.borrow_mut().play(steps));
                catch_unwind(AssertUnwindSafe(play)).unwrap_or(Err("the store panicked".into())).err()
            };
            let (_, changes) = shrink(steps, how.to_string(), fails);
            panic!("{changes}\n(seed {seed})\n");
        }
        Err(TestError::Abort(reason)) => panic!("the sequences were aborted: {reason}"),
    }
    harness.into_inner().coverage
}

/// The seed of generated tests: always the same, unless the environment sets another.
pub(crate) fn seed() -> u64 {
    let results = std::env::var("SENTINEL_SEED").ok();
    results.map_or(0x5eed, |text| {
        text.parse().unwrap_or_else(|_| panic!("SENTINEL_SEED is {text:?}, not a number"))
    })
}

/// The number of cases, multiplied by the environment variable `SENTINEL_CASES_FACTOR`: for soaks.
pub(crate) fn times(cases: u32) -> u32 {
    let results = std::env::var("SENTINEL_CASES_FACTOR").ok();
    let factor = results.map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("SENTINEL_CASES_FACTOR is {text:?}, not a number"))
    });
    cases.saturating_mul(factor)
}

/// A runtime for a layer of its own.
pub(crate) fn runtime(builder: &mut Builder) -> Runtime {
    builder.enable_all().build().unwrap_or_else(|error| panic!("no runtime: {error}"))
}

struct Runner<H> {
    harness: Option<H>,
    used: u32,
    coverage: Coverage,
}

impl<H: Harness> Runner<H> {
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
        let mut results = Vec::new();
        let played = play(harness, steps, &mut results, &mut self.coverage).await;
        played.map_err(|mismatch| trace(steps, &results, &mismatch))
    }
}

async fn play<H: Harness>(
    harness: &H,
    steps: &[Step],
    results: &mut Vec<StepResult>,
    coverage: &mut Coverage,
) -> Result<(), String> {
    let mut model = Model::new(harness.store()).await?;
    for step in steps {
        let reply = match step {
            Step::Send { target, request } => model.send(*target, request, coverage).await?,
            Step::Advance(passing) => {
                let by = model.passing(*passing);
                harness.advance(by).await;
                StepResult::Passed(by)
            }
            Step::SetBack(by) => {
                let by = if harness.set_back(*by).await { *by } else { Duration::ZERO };
                model.set_back(by);
                StepResult::Passed(by)
            }
            Step::Beats(beats) => model.beats(beats, coverage).await?,
            Step::Purge { limit, dry_run } => model.purge(*limit, *dry_run, coverage).await?,
            Step::List { kind, shown, after, limit } => {
                let after = if *after { Key::new("a").ok() } else { None };
                let namespace = model.namespace().clone();
                model.list(&List { namespace, kind: *kind, state: *shown, after, limit: *limit }).await?
            }
        };
        results.push(reply);
    }
    model.end().await
}

/// The sequence, the replies, and the mismatch.
fn trace(steps: &[Step], results: &[StepResult], mismatch: &str) -> String {
    let mut text = String::from("a sequence for which the store differs from the kernel:\n");
    for (n, step) in steps.iter().take(results.len() + 1).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>4}. {step}", n + 1);
        if let Some(reply) = results.get(n) {
            let _ = writeln!(text, "      -> {reply}");
        }
    }
    text + mismatch
}
