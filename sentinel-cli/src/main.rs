//! `sentinel`: runs a command at most once per key, replays its result, and tells doubts, from any language, cron line
//! or deploy script.

mod args;
mod commands;
mod exit;
mod output;
mod parse;
mod runner;
mod secrets;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(exit) = runner::hidden::run(&arguments) {
        return exit.into();
    }
    secrets::remember(&arguments[1..], std::env::var_os("SENTINEL_STORE").as_deref());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(&Failure::new(Exit::UNAVAILABLE, error.to_string())).into(),
    };
    let exit = runtime.block_on(async {
        runner::inherited::settle().map_err(|error| Failure::new(Exit::UNAVAILABLE, error.to_string()))?;
        commands::run(cli).await
    });
    let exit = exit.unwrap_or_else(|failure| tell(&failure));
    // A thread that waits for a pipe which nobody will close must not hold the program up.
    runtime.shutdown_background();
    exit.into()
}

fn tell(failure: &Failure) -> Exit {
    output::note(&failure.message);
    failure.exit
}

/// Help and version are answers; everything else is a bad argument, and never clap's own 2.
fn usage(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => tell(&why.into()),
            _ => Exit::OK,
        };
    }
    output::message(&error.render().to_string());
    Exit::USAGE
}
