//! An exhaustive model of the specification, run over the kernel itself.
//!
//! Each configuration is explored to its end and must be clean. Then each rule, of the kernel or of the client, is
//! taken away in turn, and the model must find what breaks. `docs/verification.md` lists what is modelled and what is
//! not.

mod configurations;
mod coverage;
mod ghost;
mod liveness;
mod operator;
mod request;
mod rules;
mod setup;
mod store;
mod trace;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use rules::Missing;
use setup::Setup;
use world::System;

/// How an invariant was broken.
#[derive(Debug)]
struct Counterexample {
    invariant: &'static str,
    steps: usize,
    /// The participants, and then a sentence for each step.
    trace: Vec<String>,
}

impl Counterexample {
    #[expect(clippy::print_stdout, reason = "this is the program's answer")]
    fn print(&self) {
        self.trace.iter().for_each(|sentence| println!("           {sentence}"));
        println!("           Broken: {}\n", self.invariant);
    }
}

/// The result of an exploration.
#[derive(Debug)]
struct Explored {
    states: usize,
    depth: usize,
    took: Duration,
    coverage: u64,
    /// What was broken, and how.
    found: Option<Counterexample>,
}

/// Explores a configuration, breadth first: a counterexample is as short as it can be. Stops at the first, or after
/// about `limit` states.
#[expect(clippy::disallowed_methods, reason = "a program measures itself; nothing is decided by it")]
fn explore(setup: &Setup, limit: Option<usize>) -> Explored {
    let started = Instant::now();
    let builder = System::new(setup.clone()).checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let builder = match limit {
        Some(limit) => builder.target_state_count(limit),
        None => builder,
    };
    let checker = builder.spawn_bfs().join();
    let found = checker.discoveries().into_iter().map(|(name, path)| (path.into_vec(), name));
    let found = found.min_by_key(|(path, name)| (path.len(), *name)).map(|(path, invariant)| {
        let (steps, trace) = (path.len() - 1, trace::sentences(checker.model(), path));
        Counterexample { invariant, steps, trace }
    });
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        coverage: checker.model().coverage.bits(),
        found,
    }
}

/// The arguments of the program.
#[derive(Debug, Default)]
struct Args {
    quick: bool,
    brief: bool,
    name: Option<String>,
}

impl Args {
    /// About how many states a quick run explores in each configuration.
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
fn clean(args: &Args) -> (usize, u64) {
    let (mut faults, mut met) = (0, 0);
    for setup in
        configurations::clean().iter().chain(&configurations::defended()).filter(|setup| args.wants(setup))
    {
        let explored = explore(setup, args.limit());
        met |= explored.coverage;
        let Explored { states, depth, took, .. } = explored;
        let (name, about, seconds) = (setup.name, setup.about, took.as_secs_f32());
        let result = if explored.found.is_some() { "BROKEN" } else { "clean" };
        println!("{result:8} {name:15} {states:8} states, depth {depth:2}, {seconds:5.1} s: {about}");
        if let Some(found) = explored.found {
            faults += 1;
            found.print();
        }
    }
    (faults, met)
}

/// Explores what must fail. The number of faults: rules whose absence was not detected.
#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn broken(args: &Args, title: &str, all: &[Missing]) -> usize {
    println!("\n{title}");
    let mut faults = 0;
    for Missing { setup, rule } in all.iter().filter(|missing| args.wants(&missing.setup)) {
        let explored = explore(setup, args.limit());
        let seconds = explored.took.as_secs_f32();
        match explored.found {
            Some(found) => {
                let Counterexample { invariant, steps, .. } = &found;
                println!("caught   {rule} [{}]: {invariant}, in {steps} steps, {seconds:.1} s", setup.name);
                if !args.brief {
                    found.print();
                }
            }
            // A quick run does not explore far enough for each.
            None if args.quick => println!("deeper   {rule} [{}]", setup.name),
            None => {
                faults += 1;
                println!("MISSED   {rule} [{}]: {} states are clean without it", setup.name, explored.states);
            }
        }
    }
    faults
}

/// Runs everything that the arguments ask for. The number of faults.
#[expect(clippy::print_stdout, reason = "this is the program's answer")]
#[expect(clippy::disallowed_methods, reason = "a program measures itself; nothing is decided by it")]
fn run(args: &Args) -> usize {
    let started = Instant::now();
    println!("With all rules:");
    let (mut faults, met) = clean(args);
    let missing = coverage::missing(met);
    if args.name.is_none() && !args.quick {
        missing.iter().for_each(|words| println!("NEVER    {words}"));
        faults += missing.len();
    }
    faults += broken(args, "Without a rule of the kernel:", &rules::mutations());
    faults += broken(args, "Without a rule of the client:", &rules::broken());
    faults += broken(args, "What a deployment does not promise is lost there:", &rules::unpromised());
    println!("\n{faults} faults, after {} s", started.elapsed().as_secs());
    faults
}

#[expect(clippy::print_stdout, reason = "this is the program's answer")]
fn main() -> ExitCode {
    let mut args = Args::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => args.quick = true,
            "--brief" => args.brief = true,
            name if configurations::clean().iter().any(|setup| setup.name == name) => {
                args.name = Some(argument.clone());
            }
            _ => {
                println!(
                    "usage: sentinel-model [--quick] [--brief] [NAME]\n\n\
                     --brief leaves out how each missing rule was noticed.\nThe names:"
                );
                configurations::clean()
                    .iter()
                    .for_each(|setup| println!("  {:15} {}", setup.name, setup.about));
                return ExitCode::from(2);
            }
        }
    }
    match run(&args) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_clean_to_its_end(name: &str) {
        let setup = configurations::clean().into_iter().find(|setup| setup.name == name);
        let explored = explore(&setup.expect("the configuration is in the list"), None);
        assert!(explored.found.is_none(), "{name}: {:#?}", explored.found);
        assert!(explored.states > 30_000, "{name} ends after {} states", explored.states);
    }

    #[test]
    fn executions_are_clean_to_their_end() {
        is_clean_to_its_end("executions");
    }

    #[test]
    fn three_calls_are_clean_to_their_end() {
        is_clean_to_its_end("crowd");
    }

    #[test]
    fn requests_that_differ_are_clean_to_their_end() {
        is_clean_to_its_end("fingerprints");
    }

    #[test]
    fn an_asynchronous_failover_is_clean_to_its_end() {
        is_clean_to_its_end("data-loss");
    }

    #[test]
    fn the_last_tokens_are_clean_to_their_end() {
        is_clean_to_its_end("brink");
    }

    /// Enough of each that a rule broken by a change is likely seen at once; all of it is `cargo xtask model`.
    #[test]
    fn the_beginning_of_each_configuration_is_clean() {
        for setup in configurations::clean().iter().chain(&configurations::defended()) {
            let explored = explore(setup, Some(4_000));
            assert!(explored.states > 1_000, "{} is hardly explored: {}", setup.name, explored.states);
            assert!(explored.found.is_none(), "{}: {:#?}", setup.name, explored.found);
        }
    }

    fn without(rule: &str) -> Counterexample {
        let all = [rules::mutations(), rules::broken(), rules::unpromised()].concat();
        let missing = all.iter().find(|missing| missing.rule == rule).expect("the rule is in the list");
        let explored = explore(&missing.setup, Some(60_000));
        explored.found.unwrap_or_else(|| panic!("nothing is broken without: {rule}"))
    }

    /// The rules whose absence shows within a few steps.
    #[test]
    fn a_missing_rule_is_detected() {
        let shallow = [
            "past claim ids are remembered",
            "a cancel of an absent claim is remembered",
            "a live execution is reconciled only by explicit args",
            "nothing begins after its lease",
            "the rightful worker completes an uncertain execution",
            "each change has its event",
            "a fingerprint never blocks a claimable key",
            "a claim that is sent again is granted again",
            "no token is drawn beyond 2^53-1",
            "tokens are drawn above the record's own",
            "a begin that is sent again is confirmed again",
            "an ambiguous complete never runs again",
            "each call has its own claim id",
            "an asynchronous failover may lose what was answered",
        ];
        shallow.into_iter().for_each(|rule| drop(without(rule)));
    }

    #[test]
    fn a_rule_is_named_once() {
        let all = [rules::mutations(), rules::broken(), rules::unpromised()].concat();
        let mut names: Vec<_> = all.iter().map(|missing| missing.rule).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_counterexample_is_printed_as_sentences() {
        let Counterexample { invariant, steps, trace } = without("an ambiguous complete never runs again");
        let text = trace.join("\n");
        assert!(invariant.starts_with("I1") && trace.len() == steps + 1, "{text}");
        for part in
            [" sends its claim.", "'s claim takes effect: granted, token ", "'s function returns; worker "]
        {
            assert!(text.contains(part), "{part:?} is missing:\n{text}");
        }
        assert!(trace.last().is_some_and(|last| last.ends_with("run 2 of this key.")), "{text}");
    }
}
