//! An exhaustive model of the specification, run over the kernel itself.
//!
//! Each configuration is explored to its end and must be clean. Then each rule, of the kernel or of the client, is taken
//! away in turn, and the model must find what breaks. `docs/verification.md` tells what is modelled and what is not.

mod catalogue;
mod coverage;
mod ghost;
mod liveness;
mod operator;
mod request;
mod rules;
mod setup;
mod store;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use rules::Missing;
use setup::Setup;
use world::{Action, System};

/// What came of an exploration.
#[derive(Debug)]
struct Explored {
    states: usize,
    depth: usize,
    took: Duration,
    coverage: u64,
    /// The invariant that was broken, and how.
    found: Option<(&'static str, Vec<Action>)>,
}

/// Explores a configuration, breadth first: a counterexample is as short as it can be. Stops at the first, or after about
/// `limit` states.
#[expect(clippy::disallowed_methods, reason = "a program measures itself; nothing is decided by it")]
fn explore(setup: &Setup, limit: Option<usize>) -> Explored {
    let started = Instant::now();
    let builder = System::new(setup.clone()).checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let builder = match limit {
        Some(limit) => builder.target_state_count(limit),
        None => builder,
    };
    let checker = builder.spawn_bfs().join();
    let shortest = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        coverage: checker.model().coverage.bits(),
        found: shortest.min_by_key(|(name, actions)| (actions.len(), *name)),
    }
}

/// What is asked for.
#[derive(Debug, Default)]
struct Wish {
    quick: bool,
    trace: bool,
    name: Option<String>,
}

impl Wish {
    /// About how many states a quick run looks at in each configuration.
    const QUICK: usize = 20_000;

    fn wants(&self, setup: &Setup) -> bool {
        self.name.as_ref().is_none_or(|name| name == setup.name)
    }

    fn limit(&self) -> Option<usize> {
        self.quick.then_some(Self::QUICK)
    }
}

/// Explores what must be clean. The number of faults, and what was met.
#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn clean(wish: &Wish) -> (usize, u64) {
    let (mut faults, mut met) = (0, 0);
    for setup in catalogue::clean().iter().chain(&catalogue::defended()).filter(|setup| wish.wants(setup)) {
        let explored = explore(setup, wish.limit());
        met |= explored.coverage;
        let Explored { states, depth, took, .. } = explored;
        let (name, about, seconds) = (setup.name, setup.about, took.as_secs_f32());
        let verdict = if explored.found.is_some() { "BROKEN" } else { "clean" };
        println!("{verdict:8} {name:15} {states:8} states, depth {depth:2}, {seconds:5.1} s: {about}");
        if let Some((invariant, actions)) = explored.found {
            faults += 1;
            println!("         {invariant}");
            actions.iter().for_each(|action| println!("           {action:?}"));
        }
    }
    (faults, met)
}

/// Explores what must fail. The number of faults: rules that nothing missed.
#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn broken(wish: &Wish, title: &str, all: &[Missing]) -> usize {
    println!("\n{title}");
    let mut faults = 0;
    for Missing { setup, rule } in all.iter().filter(|missing| wish.wants(&missing.setup)) {
        let explored = explore(setup, wish.limit());
        let seconds = explored.took.as_secs_f32();
        match explored.found {
            Some((invariant, actions)) => {
                let steps = actions.len();
                println!("caught   {rule} [{}]: {invariant}, in {steps} steps, {seconds:.1} s", setup.name);
                let shown = wish.trace.then_some(&actions).into_iter().flatten();
                shown.for_each(|action| println!("           {action:?}"));
            }
            // A quick run does not look far enough for each.
            None if wish.quick => println!("deeper   {rule} [{}]", setup.name),
            None => {
                faults += 1;
                println!("MISSED   {rule} [{}]: {} states are clean without it", setup.name, explored.states);
            }
        }
    }
    faults
}

/// Runs everything that is wished for. The number of faults.
#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn run(wish: &Wish) -> usize {
    println!("With all rules:");
    let (mut faults, met) = clean(wish);
    let missing = coverage::missing(met);
    if wish.name.is_none() && !wish.quick {
        missing.iter().for_each(|words| println!("NEVER    {words}"));
        faults += missing.len();
    }
    faults += broken(wish, "Without a rule of the kernel:", &rules::sabotages());
    faults += broken(wish, "Without a rule of the client:", &rules::broken());
    faults += broken(wish, "What a deployment does not promise is lost there:", &rules::unpromised());
    faults
}

#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn main() -> ExitCode {
    let mut wish = Wish::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => wish.quick = true,
            "--trace" => wish.trace = true,
            name if catalogue::clean().iter().any(|setup| setup.name == name) => {
                wish.name = Some(argument.clone());
            }
            _ => {
                println!("usage: sentinel-model [--quick] [--trace] [NAME]\n\nThe names:");
                catalogue::clean().iter().for_each(|setup| println!("  {:15} {}", setup.name, setup.about));
                return ExitCode::from(2);
            }
        }
    }
    match run(&wish) {
        0 => ExitCode::SUCCESS,
        faults => {
            println!("\n{faults} faults");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of each configuration that a rule broken by a change is likely seen at once; all of it is
    /// `cargo xtask model`.
    #[test]
    fn the_beginning_of_each_configuration_is_clean() {
        for setup in catalogue::clean().iter().chain(&catalogue::defended()) {
            let explored = explore(setup, Some(4_000));
            assert!(explored.states > 1_000, "{} is hardly explored: {}", setup.name, explored.states);
            assert!(explored.found.is_none(), "{}: {:?}", setup.name, explored.found);
        }
    }

    /// The rules whose absence shows within a few steps.
    #[test]
    fn a_rule_that_is_taken_away_is_missed() {
        let shallow = [
            "past claim ids are remembered",
            "a cancel of an absent claim is remembered",
            "a live execution is reconciled only by explicit wish",
            "nothing begins after its lease",
            "the rightful worker's truth beats doubt",
            "each change has its event",
            "a fingerprint never blocks a claimable key",
            "an ambiguous complete never runs again",
            "each call has its own claim id",
            "an asynchronous failover may lose what was answered",
        ];
        let all = [rules::sabotages(), rules::broken(), rules::unpromised()].concat();
        for rule in shallow {
            let missing =
                all.iter().find(|missing| missing.rule == rule).expect("the rule is in the catalogue");
            let explored = explore(&missing.setup, Some(60_000));
            assert!(explored.found.is_some(), "nothing is broken without: {rule}");
        }
    }
}
