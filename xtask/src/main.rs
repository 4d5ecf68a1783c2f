//! The automation of this workspace. `cargo xtask help` lists the commands.
//!
//! `verify` only reads, `fix` writes, `test` runs everything and sets up what it needs first.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod bench;
mod examples;
mod figures;
mod fix;
mod fuzz;
mod guards;
mod json;
mod mutants;
mod packages;
mod root;
mod setup;
mod shell;
mod soak;
mod test;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use shell::{Result, cargo};
use workspace::Workspace;

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]     set up what is missing, then run every test, doctest and example; ARGS go to `cargo test`
  verify          formatting, tidiness, architecture, lints, documentation, every feature alone; writes nothing
  fix             let clippy and rustfmt fix what they can
  setup           only set up what `test` needs
  tidy            only the checks of `verify` that read files
  words [FOLDER]  list every banned word (xtask/glossary.txt)
  model [ARGS]    explore the model, in release; ARGS go to it
  simulate [ARGS] simulate worlds full of faults, in release: `--seed N`, `--seeds COUNT`
  fuzz [ARGS]     libFuzzer over all that is read, with a nightly compiler: `--seconds N`, names of targets
  bench [ARGS]    measure, beside a baseline; ARGS go to the package `sentinel-benches`: `--quick`, `--help`
  soak [ARGS]     break real servers under many processes for long: `--minutes N`, `--seed N`, `--store all`
  deep            all that is explored, simulated, generated and broken, as much as docs/verification.md states: an hour
  mutants PART [ARGS] break the sources of PART (kernel, client, store-kit, memory, sqlite, postgres, redis) one by one,
                  in place, and see a test fail; ARGS go to `cargo mutants`: `--shard 0/20`, `--list`
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result {
    let workspace = Workspace::load()?;
    match args {
        ["test", rest @ ..] => test::test(&workspace, rest),
        ["verify"] => verify::verify(&workspace),
        ["fix"] => fix::fix(),
        ["setup"] => setup::setup(),
        ["tidy"] => tidy::tidy(&workspace),
        ["words", folders @ ..] => tidy::glossary::list(folders),
        ["model", rest @ ..] => {
            cargo(&["run", "--release", "--package", "sentinel-model", "--"]).args(rest).run()
        }
        ["simulate", rest @ ..] => {
            cargo(&["run", "--release", "--package", "sentinel-simulation", "--"]).args(rest).run()
        }
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["bench", rest @ ..] => bench::bench(rest),
        ["soak", rest @ ..] => soak::soak(rest),
        ["deep"] => soak::deep(),
        ["mutants", part, rest @ ..] => mutants::mutants(part, rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("cannot do {:?}\n\n{HELP}", args.join(" ")).into()),
    }
}
